/* Every allocation of every public function fails once: the n-th alone, the n-th with the one behind it (the
 * context asks twice), and all from the n-th on, for every n until none is left to fail. Each time the
 * library says so, or gives the right values; no block stays behind; and the same call in the same context
 * gives the right values afterwards.
 *
 *     PLEAT_FAULTS_REPORT=FILE build/tests/test_faults      # appends a line for each row */
#define _POSIX_C_SOURCE 200809L

#include "faults.h"

#include <ctype.h>

#include "mallocs.h"
#include "pleat_config.h"
#include "scratch.h"

/* Thousands of files are written here, and a disk would make that minutes. */
int fsync(int fd) { return (void)fd, 0; }

/* ---- results --------------------------------------------------------------------------------------------- */

static void take_bytes(world *w, const void *bytes, size_t n) {
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++) w->digest = (w->digest ^ b[i]) * 0x100000001b3u;
}

void take_number(world *w, double v) { take_bytes(w, &v, sizeof v); }

static void expect_described(const pleat_call *c, const pleat_call **seen, size_t *n) {
    pleat_attr a[PLEAT_MAX_ATTRS];
    char text[300];
    if (!c) return;
    for (size_t i = 0; i < *n; i++)
        if (seen[i] == c) return;
    cr_assert(*n < 2000);
    seen[(*n)++] = c;
    size_t attributes = pleat_call_attributes(c, a);
    cr_expect(attributes || !c->attrs, "%s has attrs, and does not describe them", c->op->name);
    cr_expect(attributes <= PLEAT_MAX_ATTRS && strstr(pleat_call_text(c, text, sizeof text), c->op->name));
    for (size_t i = 0; i < attributes; i++) {
        cr_expect(a[i].name && strlen(a[i].name) < 20, "%s: attribute %zu", c->op->name, i);
        cr_expect(a[i].list || a[i].count <= PLEAT_MAX_RANK, "%s: %s", c->op->name, a[i].name);
        for (size_t k = 0; k < i; k++) cr_expect_str_neq(a[i].name, a[k].name, "%s", c->op->name);
    }
    for (size_t i = 0; i < c->n; i++) expect_described(pleat_call_of(c->in[i]), seen, n);
}

void take(world *w, pleat_tensor *t) {
    static const pleat_call *seen[2000];
    if (w->described) expect_described(pleat_call_of(t), seen, &(size_t){0});
    static double values[4096];
    w->failed = w->failed || pleat_is_poison(t);
    if (pleat_is_poison(t) || pleat_numel(t) > 4096) return;
    pleat_read_f64(t, values);
    take_bytes(w, pleat_shape(t), pleat_rank(t) * sizeof(size_t));
    take_bytes(w, values, pleat_numel(t) * sizeof *values);
}

void take_status(world *w, pleat_status s) {
    w->failed = w->failed || s != PLEAT_OK;
    if (s != PLEAT_OK && s != PLEAT_ERR_MEMORY) pleat_fail(w->ctx, s, "status", "it is not of memory");
}

bool take_pointer(world *w, const void *p) {
    w->failed = w->failed || !p;
    return p;
}

pleat_tensor *drawn(world *w, size_t rank, const size_t *shape) {
    pleat_tensor *t = pleat_uniform(w->ctx, PLEAT_F32, rank, shape, 0.1, 0.9);
    if (w->dead > 0 && --w->dead == 0) pleat_drop(t);
    return t;
}

void take_with_gradients(world *w, pleat_tensor *y, size_t n, pleat_tensor *const *xs) {
    pleat_tensor *g[4] = {NULL}, *gg[4] = {NULL};
    take(w, y);
    take_status(w, pleat_grads(pleat_sum(pleat_square(y)), NULL, n, xs, g, PLEAT_GRADS_RECORD));
    for (size_t i = 0; i < n; i++) take(w, g[i]);
    take_status(w, pleat_grads(pleat_sum(pleat_square(g[0])), NULL, n, xs, gg, 0));
    for (size_t i = 0; i < n; i++) take(w, gg[i]);
}

/* What libraries lose by themselves: libzip 1.7.3 forgets its list of entries in zip_close, and a layer in
 * zip_fopen_index, when it has no memory for the next. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libzip.so\n"; }

/* ---- a row ----------------------------------------------------------------------------------------------- */

/* What a row has met. */
typedef struct count {
    size_t runs, failures, borne; /* borne: nobody noticed, and the values were right */
} count;

static void run(world *w, const row *r) {
    w->failed = false;
    w->digest = 0xcbf29ce484222325u;
    *pleat_ctx_rng(w->ctx) = pleat_rng_new(7, 0);
    pleat_clear_error(w->ctx);
    pleat_trim(w->ctx);
    pleat_scope s = pleat_begin(w->ctx);
    r->run(w, r);
    pleat_end(s);
}

static uint64_t undisturbed(world *w, const row *r) {
    run(w, r);
    cr_assert(!w->failed && pleat_error(w->ctx)->code == PLEAT_OK, "%s: %s", r->covers,
              pleat_error(w->ctx)->text);
    return w->digest;
}

/* Whether any call was left to fail. */
static bool fail(world *w, const row *r, size_t first, size_t some, uint64_t expected, count *c) {
    size_t tensors = pleat_memory(w->ctx).tensors, in_use = pleat_memory(w->ctx).in_use;
    pleat_trim(w->ctx);
    size_t living = mallocs_living();
    mallocs_start_failing_some(first, some);
    run(w, r);
    mallocs_stop();
    pleat_trim(w->ctx);
    size_t failures = mallocs_failed(), left = mallocs_living();
    const pleat_error_info *e = pleat_error(w->ctx);
    const char *name = r->covers;
    if (e->code == PLEAT_OK) {
        cr_assert(!w->failed, "%s: call %zu: it failed without an error", name, first);
        cr_assert(w->digest == expected, "%s: call %zu: other values, and no error", name, first);
    } else {
        cr_assert(failures, "%s: %s", name, e->text);
        cr_assert(e->code == PLEAT_ERR_MEMORY, "%s: call %zu: the error is not \"out of memory\" but %s: %s",
                  name, first, pleat_status_name(e->code), e->text);
        cr_assert(e->text[0] && !strchr(e->text, '\n'), "%s: call %zu: \"%s\"", name, first, e->text);
    }
    cr_assert_eq(pleat_memory(w->ctx).tensors, tensors, "%s: call %zu: tensors live on", name, first);
    cr_assert_eq(pleat_memory(w->ctx).in_use, in_use, "%s: call %zu: memory is in use", name, first);
    cr_assert(r->leaking || left == living, "%s: call %zu: %td blocks leak", name, first,
              (ptrdiff_t)(left - living));
    c->runs++;
    c->failures += failures;
    c->borne += failures && e->code == PLEAT_OK;
    cr_assert(undisturbed(w, r) == expected, "%s: call %zu: other values afterwards", name, first);
    return failures;
}

static void report(const row *r, const count *c) {
    const char *path = getenv("PLEAT_FAULTS_REPORT");
    FILE *f = path ? fopen(path, "a") : NULL;
    if (!f) return;
    fprintf(f, "%zu runs, %zu failures, %zu runs unharmed:%s\n", c->runs, c->failures, c->borne, r->covers);
    fclose(f);
}

static void survive(world *w, const row *r) {
    static const size_t patterns[] = {1, 2, SIZE_MAX};
    count c = {0};
    undisturbed(w, r); /* what libraries keep for themselves is there from now on */
    uint64_t expected = undisturbed(w, r);
    for (size_t k = 0; k < 3; k++) {
        size_t n = 1;
        while (fail(w, r, n, patterns[k], expected, &c)) n++;
    }
    report(r, &c);
}

static void survive_all(const row *rows) {
    if (!mallocs_are_counted()) scratch_skip("the C library's malloc cannot be replaced here");
    if (!mallocs_are_counted()) return;
    world w = {.ctx = ctx};
    for (const row *r = rows; r->covers; r++) survive(&w, r);
}

TestSuite(faults, .init = scratch_begin, .fini = scratch_end, .timeout = 100);

Test(faults, ops) { survive_all(faults_ops); }
Test(faults, nn) { survive_all(faults_nn); }
Test(faults, world) { survive_all(faults_world); }
Test(faults, files) {
    faults_files_begin(ctx, scratch_folder);
    survive_all(faults_files);
}

Test(faults, calls_describe_themselves) {
    world w = {.ctx = ctx, .described = true};
    for (const row *r = faults_ops; r->covers; r++) undisturbed(&w, r);
    for (const row *r = faults_nn; r->covers; r++) undisturbed(&w, r);
    for (const row *r = faults_world; r->covers; r++) undisturbed(&w, r);
}

/* Each row again and again, until it draws no more: the first tensor that it draws is dead, the second,
 * ... */
static void expect_reported(world *w, const row *r) {
    for (size_t n = 1; w->dead == 0; n++) {
        w->dead = n;
        run(w, r);
        const pleat_error_info *e = pleat_error(w->ctx);
        cr_expect(w->dead > 0 || (e->code && strstr(e->text, "it was made by uniform [")),
                  "%s: tensor %zu was dead: \"%s\"", r->covers, n - 1, e->text);
    }
    w->dead = 0;
}

Test(faults, dead_tensors_are_reported) {
    world w = {.ctx = pleat_ctx_new(.threads = 1, .debug = true)};
    for (const row *r = faults_ops; r->covers; r++) expect_reported(&w, r);
    for (const row *r = faults_nn; r->covers; r++) expect_reported(&w, r);
    for (const row *r = faults_world; r->covers; r++) expect_reported(&w, r);
    faults_files_begin(w.ctx, scratch_folder);
    for (const row *r = faults_files; r->covers; r++) expect_reported(&w, r);
    pleat_ctx_free(w.ctx);
}

/* ---- is every function there? ------------------------------------------------------------------------------ */

/* What cannot allocate: it reads, counts or computes on memory that it is given. */
static const char unfailing[] =
    /* what is known of something */
    " pleat_build_info pleat_lockstep_index pleat_error pleat_count_of pleat_clear_error pleat_status_name pleat_has_defined_bits pleat_threads pleat_memory pleat_poison pleat_ctx_of"
    " pleat_dtype_of pleat_rank pleat_shape pleat_size pleat_numel pleat_is_poison pleat_is_contiguous"
    " pleat_shape_text pleat_ctx_rng pleat_axes_bits pleat_nn_param_count pleat_nn_param_numel pleat_nn_param"
    " pleat_nn_param_name pleat_nn_find_param pleat_nn_state_count pleat_nn_state pleat_nn_state_name"
    " pleat_nn_find_state pleat_nn_is_training pleat_nn_is_frozen pleat_nn_attrs pleat_nn_ctx pleat_nn_kind_of"
    " pleat_nn_child_count pleat_nn_child pleat_nn_own_param pleat_nn_own_buffer pleat_nn_lr pleat_nn_grad_norm"
    " pleat_nn_loader_batches pleat_nn_loader_items pleat_nn_loader_batch_size pleat_nn_loader_shape pleat_pool_threads pleat_cores"
    " pleat_framework_name pleat_layer_groups pleat_nn_world_rank pleat_nn_world_size pleat_nn_world_neighbours pleat_nn_world_speaks"
    " pleat_nn_world_traffic"
    /* switches, and reports into the context's own line */
    " pleat_fail pleat_error_where pleat_call_fail pleat_pair pleat_pair_f64 pleat_call_of pleat_call_attributes pleat_call_text pleat_set_recording pleat_nn_set_training pleat_nn_freeze pleat_nn_set_lr"
    " pleat_blas_single_thread"
    /* they give memory back */
    " pleat_ctx_free pleat_trim pleat_end pleat_drop pleat_pool_free pleat_nn_free pleat_nn_optimizer_free"
    " pleat_nn_ema_free pleat_nn_images_free pleat_nn_data_free pleat_nn_batches_free pleat_nn_loader_free pleat_nn_file_abort"
    " pleat_nn_run_free pleat_nn_report_free pleat_nn_world_free pleat_nn_share_free"
    /* a type of functions */
    " pleat_nn_loss_fn"
    /* elements and numbers */
    " pleat_f32 pleat_f64 pleat_write_now pleat_const_f32 pleat_const_f64 pleat_item pleat_at pleat_read_f64 pleat_run_f64 pleat_prepared_result pleat_call_attribute pleat_prepared_call pleat_prepared_x pleat_prepared_is_constant pleat_prepared_original pleat_prepared_caller pleat_set_caller pleat_op_is_known pleat_prepared_free pleat_print pleat_rng_new pleat_rng_u32 pleat_rng_below"
    " pleat_rng_uniform pleat_rng_normal pleat_pow_f64 pleat_cos_f64 pleat_log_f64 pleat_nn_schedule_lr pleat_nn_plateau_lr pleat_nn_shuffle"
    " pleat_nn_next pleat_nn_data_of_images pleat_layer_plan_for pleat_layer_geometry"
    /* lists within the context, references, and exchanges in place */
    " pleat_keep pleat_hold pleat_in_scope pleat_nn_ema_update pleat_nn_ema_swap"
    /* kernels, which are given their memory, and what is asked about them */
    " pleat_conv_check pleat_conv_map_size pleat_conv_image_size pleat_path_parse pleat_conv_plan_free pleat_conv_plan_shape pleat_conv_block"
    " pleat_conv_plan_path pleat_conv_plan_cost pleat_conv_plan_print pleat_conv_plan_bytes pleat_conv_packed_bytes pleat_conv_pack pleat_conv_run"
    " pleat_im2col_f32 pleat_im2col_f64 pleat_col2im_f32 pleat_col2im_f64 ";

static bool names(const char *list, const char *name) {
    char word[100];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(list, word);
}

static size_t rows_of(const row *rows, const char *name) {
    size_t n = 0;
    for (const row *r = rows; r->covers; r++) n += names(r->covers, name);
    return n;
}

/* The text without comments and macros; in place. */
static void strip(char *text) {
    char *to = text;
    bool fresh = true; /* at the beginning of a line */
    for (char *c = text; *c;) {
        if (c[0] == '/' && c[1] == '*') {
            c = strstr(c, "*/") + 2;
        } else if (*c == '#' && fresh) {
            while (*c && (*c != '\n' || c[-1] == '\\')) c++;
        } else {
            fresh = *c == '\n' || (fresh && *c == ' ');
            *to++ = *c++;
        }
    }
    *to = 0;
}

/* The next name of a function that is declared, into name[80]; NULL if there is none. */
static char *next_function(char *at, char *name) {
    while ((at = strstr(at, "pleat_"))) {
        size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");
        bool whole = !isalnum((unsigned char)at[-1]) && at[-1] != '_', call = at[n] == '(' && at[-1] != '(';
        snprintf(name, 80, "%.*s", (int)n, at);
        at += n;
        if (whole && call) return at;
    }
    return NULL;
}

static size_t expect_covered(const char *header) {
    char path[512], name[80];
    size_t bytes, n = 0;
    snprintf(path, sizeof path, "%s/../../%s", PLEAT_ORACLE_DIR, header);
    char *text = (char *)get_file(path, &bytes);
    strip(text);
    for (char *at = text; (at = next_function(at, name)); n++) {
        size_t rows = rows_of(faults_ops, name) + rows_of(faults_nn, name) + rows_of(faults_world, name) +
                      rows_of(faults_files, name);
        bool exempt = names(unfailing, name);
        cr_expect(rows || exempt,
                  "%s: %s is in no row of faults_*.c, and not among those that cannot allocate", header,
                  name);
        cr_expect(!rows || !exempt, "%s is in a row, and among those that cannot allocate", name);
    }
    free(text);
    return n;
}

Test(faults, name_every_public_function) {
    static const char *const headers[] = {"ops/pleat.h",
                                          "ops/pleat_op.h",
                                          "ops/autograd/pleat_check.h",
                                          "ops/kernels/pleat_kernels.h",
                                          "ops/frameworks/pleat_frameworks.h",
                                          "nn/pleat_nn.h",
                                          "nn/pleat_nn_data.h",
                                          "nn/pleat_nn_models.h",
                                          "nn/pleat_nn_train.h",
                                          "nn/pleat_nn_world.h"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) n += expect_covered(headers[i]);
    cr_expect_geq(n, 281, "only %zu declarations were found", n);
}

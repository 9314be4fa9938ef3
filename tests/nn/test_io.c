/* Every call of the system that a reader or a writer of files makes fails once, is interrupted, or does less than was asked: the n-th
 * alone and all from the n-th on, for every n until none is left. After an error the old file is as it was, and nothing stays behind:
 * no descriptor, no block, no temporary file. What was interrupted or cut short goes on, and ends with the right bytes.
 *
 *     PLEAT_FAULTS_REPORT=FILE build/tests/test_io          # appends a line for each reader and writer: runs, disturbed calls */
#define _POSIX_C_SOURCE 200809L

#include "io_faults.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "mallocs.h"
#include "pleat_config.h"
#include "scratch.h"
#ifdef PL_HAVE_ZLIB
#    include <zlib.h>
#endif
#ifdef PL_HAVE_ONNX
#    include "onnx_file.h"
#endif

TestSuite(io, .init = scratch_begin, .fini = scratch_end, .timeout = 100);

/* ---- readers and writers -------------------------------------------------------------------------------------- */

static uint64_t digest; /* of what was read */

static void take_bytes(const void *bytes, size_t n) {
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++) digest = (digest ^ b[i]) * 0x100000001b3u;
}

static pleat_status take(pleat_tensor *t) {
    static double values[200 * 200];
    if (pleat_is_poison(t)) return pleat_error(ctx)->code;
    pleat_read_f64(t, values);
    take_bytes(values, pleat_numel(t) * sizeof *values);
    return PLEAT_OK;
}

static pleat_status take_images(pleat_status s, pleat_nn_images *i) {
    if (!s) take_bytes(i->pixels, i->count * i->C * i->H * i->W);
    if (!s && i->labels) take_bytes(i->labels, i->count);
    pleat_nn_images_free(i);
    return s;
}

/* Enough for several buffers of a stream. */
static pleat_tensor *numbers(double first) {
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 50, 60));
    for (size_t i = 0; i < pleat_numel(t); i++) pleat_f64(t)[i] = first + (double)(i * i % 251) / 256;
    return t;
}

static pleat_status write_npy(const char *path) { return pleat_nn_write_npy(path, numbers(1)); }
static pleat_status read_npy(const char *path) { return take(pleat_nn_read_npy(ctx, path)); }

static pleat_status read_csv(const char *path) { return take(pleat_nn_read_csv(ctx, path, NULL)); }

#ifdef PL_HAVE_ONNX
/* A model whose tensor has a file of its own beside it. */
static pleat_status read_model(const char *path) {
    pleat_nn_module *m = pleat_nn_onnx_load(ctx, path);
    pleat_status s = m ? take(pleat_nn_param(m, 0)) : pleat_error(ctx)->code;
    pleat_nn_free(m);
    return s;
}
#endif

static pleat_status write_text(const char *path) {
    pleat_nn_file f;
    pleat_status s = pleat_nn_file_create(ctx, path, &f);
    if (s) return s;
    for (int i = 0; i < 3000; i++) fprintf(f.f, "line %d\n", i);
    return pleat_nn_file_commit(ctx, &f);
}

static pleat_status write_report(const char *path) {
    pleat_nn_report *r = pleat_nn_report_new(ctx, "title", "about");
    for (int i = 0; i < 100; i++) pleat_nn_report_text(r, "A text that makes the page a little longer.");
    pleat_status s = pleat_nn_report_write(r, path);
    pleat_nn_report_free(r);
    return s;
}

static pleat_status read_idx(const char *path) {
    pleat_nn_images i;
    return take_images(pleat_nn_read_idx(ctx, path, NULL, &i), &i);
}

#ifdef PL_HAVE_ZIP
static pleat_status write_npz(const char *path) {
    pleat_tensor *ts[] = {numbers(0), numbers(1)};
    return pleat_nn_write_npz(path, 2, (const char *[]){"one", "two"}, ts);
}
static pleat_status read_npz(const char *path) { return take(pleat_nn_read_npz(ctx, path, "two")); }
#endif

#ifdef PL_HAVE_PNG
static pleat_status write_png(const char *path) { return pleat_nn_write_png_grid(path, numbers(0), 1, 3); }
static pleat_status read_png(const char *path) { return take(pleat_nn_read_png(ctx, path)); }

/* path holds the folders a and b. */
static pleat_status read_png_pairs(const char *path) {
    pleat_nn_data d;
    char a[500], b[500];
    snprintf(a, sizeof a, "%s/a", path), snprintf(b, sizeof b, "%s/b", path);
    pleat_status s = pleat_nn_read_png_pairs(ctx, a, b, PLEAT_NN_BYTES, &d);
    if (!s) take_bytes(d.field[1].data, 100);
    pleat_nn_data_free(&d);
    return s;
}
static pleat_status read_png_folder(const char *path) {
    pleat_nn_images i;
    pleat_status s = pleat_nn_read_png_folder(ctx, path, &i);
    if (!s) take_bytes(&i.count, sizeof i.count), take_bytes(&i.classes, sizeof i.classes);
    return take_images(s, &i);
}
#endif

#ifdef PL_HAVE_CJSON
static pleat_nn_module *net;
static pleat_nn_optimizer *adam;

static pleat_status write_parameters(const char *path) { return pleat_nn_save(path, net); }
static pleat_status read_parameters(const char *path) {
    pleat_status s = pleat_nn_load(path, net);
    return s ? s : take(pleat_nn_param(net, 0));
}

/* The second of two layers, behind the elements of the first. */
static pleat_status read_part(const char *path) {
    pleat_nn_misfits found;
    pleat_f32(pleat_nn_param(net, 0))[0] = 7; /* what an earlier call loaded must not look like a result */
    pleat_status s = pleat_nn_load_from(path, net, .prefix = "1.", .misfits = &found);
    return s ? s : take(pleat_nn_param(net, 0));
}
static void put_two_layers(const char *path) {
    pleat_nn_module *two =
        pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 90, 70), pleat_nn_linear(ctx, 70, 30));
    cr_assert_eq(pleat_nn_save(path, two), PLEAT_OK);
    pleat_nn_free(two);
}

static pleat_status write_checkpoint(const char *path) {
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{"net", net, adam, NULL}}};
    return pleat_nn_save_checkpoint(path, &c);
}
static pleat_status read_checkpoint(const char *path) {
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{"net", net, adam, NULL}}};
    pleat_status s = pleat_nn_load_checkpoint(path, &c);
    return s ? s : take(pleat_nn_param(net, 0));
}
#endif

/* ---- one of them ------------------------------------------------------------------------------------------------ */

typedef struct subject {
    const char *name, *file;
    pleat_status (*run)(const char *path);
    bool writes;
    bool stops; /* a signal ends it: zlib forgets what it has read before, and libzip gives up */
    bool vague; /* libzip calls an error the end of the file, and then forgets blocks, see test_faults.c */
} subject;

typedef struct count {
    size_t runs, disturbed, errors;
} count;

static pleat_status run(const subject *s) {
    digest = 0xcbf29ce484222325u;
    pleat_clear_error(ctx);
    pleat_scope scope = pleat_begin(ctx);
    pleat_status status = s->run(in_scratch(s->file));
    pleat_end(scope);
    pleat_trim(ctx);
    return status;
}

static void put_old(const subject *s) {
    if (s->writes) put_file(in_scratch(s->file), "old", 3);
}

/* What the file holds, or what was read from it. */
static uint64_t result(const subject *s) {
    if (!s->writes) return digest;
    size_t bytes;
    uint8_t *data = get_file(in_scratch(s->file), &bytes);
    digest = 0xcbf29ce484222325u;
    take_bytes(data, bytes);
    free(data);
    return digest;
}

static void expect_undamaged(const subject *s, pleat_status status, io_fault fault, size_t n,
                             uint64_t expected) {
    const pleat_error_info *e = pleat_error(ctx);
    const char *name = s->name;
    size_t temporary;
    cr_assert_eq(status, e->code, "%s: fault %d of call %zu: it returns %s, and the error is %s", name, fault,
                 n, pleat_status_name(status), e->text);
    cr_assert(!status || status == PLEAT_ERR_IO || (s->vague && status == PLEAT_ERR_FORMAT),
              "%s: fault %d of call %zu: it is said to be %s: %s", name, fault, n, pleat_status_name(status),
              e->text);
    cr_assert(!strchr(e->text, '\n'), "%s: call %zu: \"%s\"", name, n, e->text);
    cr_assert(!status || fault < IO_INTERRUPT || (s->stops && fault == IO_INTERRUPT),
              "%s: fault %d of call %zu: it did not go on: %s", name, fault, n, e->text);
    if (!status)
        cr_assert(result(s) == expected, "%s: fault %d of call %zu: other bytes, and no error", name, fault,
                  n);
    else if (s->writes)
        cr_assert(holds(in_scratch(s->file), "old"), "%s: fault %d of call %zu: the old file is lost", name,
                  fault, n);
    scratch_count(&temporary);
    cr_assert_eq(temporary, 0, "%s: fault %d of call %zu: a temporary file is left", name, fault, n);
}

/* Whether any call was left to disturb. */
static bool disturb(const subject *s, io_fault fault, size_t n, uint64_t expected, count *c) {
    put_old(s);
    pleat_trim(ctx);
    size_t descriptors = io_descriptors(), living = mallocs_living();
    io_start(fault, n);
    pleat_status status = run(s);
    size_t calls = io_stop(), left = mallocs_living();
    expect_undamaged(s, status, fault, n, expected);
    cr_assert_eq(io_descriptors(), descriptors, "%s: fault %d of call %zu: descriptors stay open", s->name,
                 fault, n);
    cr_assert(s->vague || left == living, "%s: fault %d of call %zu: %td blocks leak", s->name, fault, n,
              (ptrdiff_t)(left - living));
    cr_assert(calls < n || fault != IO_ERROR || io_disturbed(), "%s: call %zu was not disturbed", s->name, n);
    c->runs++;
    c->disturbed += io_disturbed();
    c->errors += status != PLEAT_OK;
    return calls >= n;
}

static void report(const subject *s, const count *c) {
    const char *path = getenv("PLEAT_FAULTS_REPORT");
    FILE *f = path ? fopen(path, "a") : NULL;
    if (!f) return;
    fprintf(f, "%zu runs, %zu disturbed calls, %zu errors: %s\n", c->runs, c->disturbed, c->errors, s->name);
    fclose(f);
}

static void survive(const subject *s) {
    count c = {0};
    put_old(s);
    io_start(IO_NONE, 0);
    pleat_status status = run(s);
    size_t calls = io_stop();
    cr_assert_eq(status, PLEAT_OK, "%s: %s", s->name, pleat_error(ctx)->text);
    cr_assert_gt(calls, 3, "%s: only %zu calls were seen", s->name, calls);
    uint64_t expected = result(s);
    for (io_fault fault = IO_ERROR; fault < IO_FAULTS; fault++) {
        size_t n = 1;
        while (disturb(s, fault, n, expected, &c)) n++;
    }
    put_old(s);
    cr_assert_eq(run(s), PLEAT_OK, "%s: %s", s->name, pleat_error(ctx)->text);
    cr_assert(result(s) == expected, "%s: other bytes afterwards", s->name);
    report(s, &c);
    remove(in_scratch(s->file));
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */

static void put_idx(void) {
    static uint8_t idx[16 + 20 * 20 * 30] = {0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 20, 0, 0, 0, 30};
    for (size_t i = 16; i < sizeof idx; i++) idx[i] = (uint8_t)(i * i);
    put_file(in_scratch("images"), idx, sizeof idx);
#ifdef PL_HAVE_ZLIB
    gzFile f = gzopen(in_scratch("images.gz"), "wb");
    cr_assert(f && gzwrite(f, idx, sizeof idx) == (int)sizeof idx && !gzclose(f));
#endif
}

Test(io, files) {
    static const subject subjects[] = {
        {"a text", "text", write_text, .writes = true},
        {"a report", "page.html", write_report, .writes = true},
        {"write npy", "x.npy", write_npy, .writes = true},
        {"read IDX", "images", read_idx, .stops = true},
#ifdef PL_HAVE_ZLIB
        {"read IDX, packed", "images.gz", read_idx, .stops = true},
#endif
    };
    put_idx();
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) survive(&subjects[i]);
    static const subject read = {"read npy", "x.npy", read_npy, .writes = false};
    cr_assert_eq(write_npy(in_scratch("x.npy")), PLEAT_OK);
    survive(&read);
    static char table[3000 * 8];
    static const subject csv = {"read CSV", "t.csv", read_csv, .writes = false};
    for (size_t i = 0; i < 3000; i++) memcpy(table + 8 * i, "1.5;2.5\n", 8);
    put_file(in_scratch("t.csv"), table, sizeof table);
    survive(&csv);
}

#ifdef PL_HAVE_ZIP
Test(io, npz) {
    static const subject write = {"write npz", "x.npz", write_npz, .writes = true},
                         read = {"read npz", "x.npz", read_npz, .stops = true, .vague = true};
    survive(&write);
    cr_assert_eq(write_npz(in_scratch("x.npz")), PLEAT_OK);
    survive(&read);
}
#endif

#ifdef PL_HAVE_PNG
Test(io, png) {
    static const subject write = {"write PNG", "x.png", write_png, .writes = true},
                         read = {"read PNG", "x.png", read_png, .writes = false},
                         folder = {"read a PNG folder", "pngs", read_png_folder, .writes = false},
                         pairs = {"read PNG pairs", "pngs", read_png_pairs, .writes = false};
    survive(&write);
    cr_assert_eq(write_png(in_scratch("x.png")), PLEAT_OK);
    survive(&read);
    mkdir(in_scratch("pngs"), 0777), mkdir(in_scratch("pngs/a"), 0777), mkdir(in_scratch("pngs/b"), 0777);
    static const char *const files[] = {"pngs/a/1.png", "pngs/a/2.png", "pngs/b/1.png"};
    for (size_t i = 0; i < 3; i++) cr_assert_eq(write_png(in_scratch(files[i])), PLEAT_OK);
    survive(&folder);
    remove(in_scratch(files[1]));
    survive(&pairs);
    for (size_t i = 0; i < 3; i++) remove(in_scratch(files[i]));
    remove(in_scratch("pngs/a")), remove(in_scratch("pngs/b")), remove(in_scratch("pngs"));
}
#endif

static pleat_nn_module *layer; /* without weights of products, which would be packed at some time */

static pleat_status write_model(const char *path) {
    return pleat_nn_onnx_save(path, layer, PLEAT_SHAPE(1, 70));
}

Test(io, onnx_written) {
    static const subject write = {"write an ONNX model", "m.onnx", write_model, .writes = true};
    layer = pleat_nn_batch_norm1d(ctx, 70);
    pleat_nn_set_training(layer, false);
    survive(&write);
    pleat_nn_free(layer);
}

#ifdef PL_HAVE_ONNX
Test(io, onnx) {
    static const subject read = {"read an ONNX model", "m.onnx", read_model, .writes = false};
    static float data[3000] = {1, 2, 3};
    const int64_t dims[] = {3000};
    message g = {.n = 0}, m = {.n = 0}, pair = {.n = 0}, model;
    add_text(&pair, 1, "location"), add_text(&pair, 2, "w.bin");
    add_number(&m, 1, 3000), add_number(&m, 2, 1), add_text(&m, 8, "w"), add_number(&m, 14, 1),
        add_message(&m, 13, &pair);
    add_message(&g, 5, &m);
    m = node_of("Add", "x w", "y"), add_message(&g, 1, &m);
    m = value_of("x", 1, 1, dims), add_message(&g, 11, &m);
    m = value_of("y", 1, 1, dims), add_message(&g, 12, &m);
    model = model_of(&g, 13);
    put_file(in_scratch("m.onnx"), model.at, model.n);
    put_file(in_scratch("w.bin"), data, sizeof data);
    survive(&read);
}
#endif

#ifdef PL_HAVE_CJSON
Test(io, safetensors) {
    static const subject subjects[] = {
        {"write safetensors", "p.safetensors", write_parameters, .writes = true},
        {"write a checkpoint", "c.safetensors", write_checkpoint, .writes = true},
        {"read safetensors", "q.safetensors", read_parameters, .writes = false},
        {"read a checkpoint", "d.safetensors", read_checkpoint, .writes = false},
        {"read a part", "e.safetensors", read_part, .writes = false},
    };
    net = pleat_nn_linear(ctx, 70, 30);
    adam = pleat_nn_adam(net, .lr = 0.1);
    cr_assert_eq(write_parameters(in_scratch("q.safetensors")), PLEAT_OK);
    cr_assert_eq(write_checkpoint(in_scratch("d.safetensors")), PLEAT_OK);
    put_two_layers(in_scratch("e.safetensors"));
    for (size_t i = 0; i < 5; i++) survive(&subjects[i]);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
}

/* ---- a run ---------------------------------------------------------------------------------------------------------- */

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    *metric = 0;
    return pleat_mean(pleat_square(pleat_nn_forward(user, b->x)));
}

/* Two epochs, of which the first may be in the folder. Returns the steps that the run has in the end. */
static pleat_status train(size_t epochs, size_t *steps) {
    pleat_nn_images images;
    pleat_nn_shapes(ctx, 4, 8, 8, 1, &images);
    pleat_nn_module *m = pleat_nn_sequential(ctx, pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 64, 1));
    pleat_nn_optimizer *o = pleat_nn_sgd(m, .lr = 0.1);
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = 2, .no_prefetch = true);
    pleat_nn_run made;
    pleat_status s = pleat_nn_fit(&made, .part = {{"net", m, o, NULL}}, .train = l, .epochs = epochs,
                                  .loss = loss, .user = m, .folder = in_scratch("run"), .resume = true);
    if (!s) take(pleat_nn_param(m, 0));
    *steps = made.steps;
    pleat_nn_run_free(&made);
    pleat_nn_loader_free(l);
    pleat_nn_optimizer_free(o);
    pleat_nn_free(m);
    pleat_nn_images_free(&images);
    return s;
}

/* The folder is empty behind it, unless a temporary file was left. */
static void remove_run(void) {
    static const char *const files[] = {"run/metrics.csv", "run/checkpoint.safetensors",
                                        "run/best.safetensors"};
    for (size_t i = 0; i < 3; i++) remove(in_scratch(files[i]));
    cr_assert_eq(remove(in_scratch("run")), 0, "a temporary file is left");
}

/* The run that goes on after the error has the bits of one that was never disturbed; above all, it does not begin anew. */
static bool disturb_resume(io_fault fault, size_t n, uint64_t expected) {
    size_t steps, descriptors = io_descriptors();
    *pleat_ctx_rng(ctx) = pleat_rng_new(1, 0);
    cr_assert_eq(train(1, &steps), PLEAT_OK, "%s", pleat_error(ctx)->text);
    io_start(fault, n);
    pleat_status s = train(2, &steps);
    size_t calls = io_stop();
    cr_assert(s == PLEAT_OK || (s == PLEAT_ERR_IO && fault <= IO_ERRORS), "fault %d of call %zu: %s", fault,
              n, pleat_error(ctx)->text);
    cr_assert(s || steps == 4, "call %zu: the run has %zu steps", n, steps);
    cr_assert_eq(io_descriptors(), descriptors, "call %zu: descriptors stay open", n);
    pleat_clear_error(ctx);
    digest = 1;
    cr_assert_eq(train(2, &steps), PLEAT_OK, "call %zu: %s", n, pleat_error(ctx)->text);
    cr_assert(digest == expected, "call %zu: other bits", n);
    remove_run();
    return calls >= n;
}

Test(io, run) {
    size_t steps, n = 1;
    digest = 1;
    *pleat_ctx_rng(ctx) = pleat_rng_new(1, 0);
    cr_assert_eq(train(2, &steps), PLEAT_OK, "%s", pleat_error(ctx)->text);
    uint64_t expected = digest;
    remove_run();
    for (io_fault fault = IO_ERROR; fault < IO_FAULTS; fault++)
        for (n = 1; disturb_resume(fault, n, expected);) n++;
    cr_assert_gt(n, 30, "only %zu calls were disturbed", n);
}
#endif

/* Rows of the readers and writers of files. */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"
#include "onnx_file.h"
#include "pleat_config.h"
#ifdef PL_HAVE_ZLIB
#    include <zlib.h>
#endif

static char folder[200];

static const char *in(const char *name) {
    static char paths[4][300];
    static size_t next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

/* Five images of 2x3, and their labels. */
static const unsigned char idx3[16 + 30] = {0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3};
static const unsigned char idx1[8 + 5] = {0, 0, 8, 1, 0, 0, 0, 5, 1, 0, 2, 0, 1};

static void put(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (f && fwrite(bytes, 1, n, f) != n) abort();
    if (!f || fclose(f)) abort();
}

static void put_gz(const char *path, const void *bytes, unsigned n) {
#ifdef PL_HAVE_ZLIB
    gzFile f = gzopen(path, "wb");
    if (!f || gzwrite(f, bytes, n) != (int)n || gzclose(f)) abort();
#else
    put(path, bytes, n);
#endif
}

#ifdef PL_HAVE_ONNX
static message whole_model(void);
#endif

void faults_files_begin(pleat_ctx *ctx, const char *where) {
    snprintf(folder, sizeof folder, "%s", where);
    put(in("images"), idx3, sizeof idx3), put(in("labels"), idx1, sizeof idx1);
    put(in("t.csv"), "a,b\n1,2\n3,4\n", 12);
    put_gz(in("images.gz"), idx3, sizeof idx3), put_gz(in("labels.gz"), idx1, sizeof idx1);
#ifdef PL_HAVE_ONNX
    message small = small_model(), whole = whole_model();
    put(in("small.onnx"), small.at, small.n), put(in("whole.onnx"), whole.at, whole.n);
    put(in("w.bin"), (float[]){1, 2}, 8);
#endif
#ifdef PL_HAVE_ZIP
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2));
    if (pleat_nn_write_npz(in("read.npz"), 2, (const char *[]){"one", "two"}, (pleat_tensor *[]){t, t}))
        abort();
    pleat_drop(t);
#else
    (void)ctx;
#endif
}

static pleat_tensor *image(world *w) { return drawn(w, PLEAT_SHAPE(1, 1, 4, 5)); }

#if !defined(PL_HAVE_ZIP) || !defined(PL_HAVE_PNG) || !defined(PL_HAVE_CJSON) || !defined(PL_HAVE_ONNX)
/* Without its library a function does nothing but to say so. */
static void absent(world *w, const row *r) { (void)w, (void)r; }
#endif

/* ---- data ------------------------------------------------------------------------------------------------------ */

static void take_images(world *w, pleat_status s, pleat_nn_images *i) {
    take_status(w, s);
    if (!s) take(w, pleat_nn_image_batch(w->ctx, PLEAT_F32, i, NULL, 0, i->count));
    for (size_t k = 0; !s && i->labels && k < i->count; k++) take_number(w, i->labels[k]);
    pleat_nn_images_free(i);
}

static void idx(world *w, const row *r) {
    (void)r;
    pleat_nn_images i;
    take_images(w, pleat_nn_read_idx(w->ctx, in("images"), in("labels"), &i), &i);
    if (!w->failed) take_images(w, pleat_nn_read_idx(w->ctx, in("images.gz"), in("labels.gz"), &i), &i);
}

static void csv(world *w, const row *r) {
    (void)r;
    take(w, pleat_nn_read_csv(w->ctx, in("t.csv"), "!a"));
}

static void file(world *w, const row *r) {
    (void)r;
    pleat_nn_file f;
    for (int i = 0; i < 2 && !w->failed; i++) { /* the second time, it is there */
        take_status(w, pleat_nn_file_create(w->ctx, in("text"), &f));
        if (w->failed) break;
        fputs("text", f.f);
        take_status(w, pleat_nn_file_commit(w->ctx, &f));
    }
    remove(in("text"));
}

static void npy(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = image(w), *turned = pleat_permute(x, (size_t[]){0, 1, 3, 2});
    if (pleat_is_poison(turned)) return;
    take_status(w, pleat_nn_write_npy(in("x.npy"), turned));
    if (!w->failed) take(w, pleat_nn_read_npy(w->ctx, in("x.npy")));
    FILE *f = fopen(in("x.npy"), "wb");
    if (f) take_status(w, pleat_nn_put_npy(f, turned));
    if (f) fclose(f);
    remove(in("x.npy"));
}

/* With a norm, a pool within the convolution, a view that is copied, and the self-test. */
static void export_c(world *w, const row *r) {
    (void)r;
    pleat_nn_module *m =
        pleat_nn_sequential(w->ctx, pleat_nn_conv2d(w->ctx, 4, 4, .kernel = {3, 3}, .pad = {1, 1}),
                            pleat_nn_batch_norm2d(w->ctx, 4), pleat_nn_max_pool2d(w->ctx, .kernel = {2, 2}),
                            pleat_nn_pixel_shuffle(w->ctx, 2), pleat_nn_sigmoid(w->ctx));
    pleat_nn_set_training(m, false);
    if (take_pointer(w, m))
        take_status(w, pleat_nn_export_c(m, PLEAT_SHAPE(1, 4, 4, 4), in("net.c"), .test = 3));
    pleat_nn_free(m);
    remove(in("net.c")), remove(in("net.h")), remove(in("net_test.c"));
}

#ifndef PL_HAVE_ZIP
#    define write_npz absent
#    define read_npz absent
#else
static const char *const names[] = {"one", "two"};

static void write_npz(world *w, const row *r) {
    (void)r;
    pleat_tensor *ts[] = {image(w), drawn(w, PLEAT_SHAPE(3))};
    if (pleat_is_poison(ts[0]) || pleat_is_poison(ts[1])) return;
    take_status(w, pleat_nn_write_npz(in("x.npz"), 2, names, ts));
    remove(in("x.npz"));
}

static void read_npz(world *w, const row *r) {
    (void)r;
    take(w, pleat_nn_read_npz(w->ctx, in("read.npz"), "two"));
    pleat_nn_npz *npz = w->failed ? NULL : pleat_nn_npz_open(w->ctx, in("read.npz"));
    if (!npz) w->failed = true;
    if (!w->failed) take_number(w, strcmp(pleat_nn_npz_name(npz, 1), "two"));
    if (!w->failed) take(w, pleat_nn_npz_array(npz, "one"));
    pleat_nn_npz_close(npz);
}
#endif

#ifndef PL_HAVE_PNG
#    define png absent
#else
static void png(world *w, const row *r) {
    (void)r;
    pleat_nn_images i;
    pleat_tensor *x = image(w);
    if (pleat_is_poison(x)) return;
    mkdir(in("pngs"), 0777), mkdir(in("pngs/a"), 0777), mkdir(in("pngs/b"), 0777);
    take_status(w, pleat_nn_write_png_grid(in("pngs/a/x.png"), x, 1, 1));
    if (!w->failed) take_status(w, pleat_nn_write_png_grid(in("pngs/b/x.png"), x, 1, 1));
    if (!w->failed) take(w, pleat_nn_read_png(w->ctx, in("pngs/a/x.png")));
    if (!w->failed) take_images(w, pleat_nn_read_png_folder(w->ctx, in("pngs"), &i), &i);
    pleat_nn_data d = {0};
    if (!w->failed)
        take_status(w, pleat_nn_read_png_pairs(w->ctx, in("pngs/a"), in("pngs/b"), PLEAT_NN_BYTES, &d));
    pleat_nn_data_free(&d);
    remove(in("pngs/a/x.png")), remove(in("pngs/b/x.png"));
    rmdir(in("pngs/a")), rmdir(in("pngs/b")), rmdir(in("pngs"));
}
#endif

/* ---- runs ------------------------------------------------------------------------------------------------------- */

#ifndef PL_HAVE_CJSON
#    define parameters absent
#    define checkpoint absent
#    define run absent
#else
static void parameters(world *w, const row *r) {
    (void)r;
    pleat_nn_module *m =
        pleat_nn_sequential(w->ctx, pleat_nn_linear(w->ctx, 3, 2), pleat_nn_batch_norm2d(w->ctx, 2));
    if (take_pointer(w, m)) take_status(w, pleat_nn_save(in("p.safetensors"), m));
    if (!w->failed) take_status(w, pleat_nn_load(in("p.safetensors"), m));
    pleat_nn_misfits found;
    if (!w->failed)
        take_status(w, pleat_nn_load_from(in("p.safetensors"), pleat_nn_child(m, 0), .prefix = "0.",
                                          .misfits = &found));
    for (size_t i = 0; i < pleat_nn_state_count(m); i++) take(w, pleat_nn_state(m, i));
    pleat_nn_free(m);
    remove(in("p.safetensors"));
}

static void save_and_load(world *w, pleat_nn_checkpoint *c) {
    pleat_nn_note note = {.key = "key", .text = "text"};
    c->notes = 1, c->note = &note;
    c->history = pleat_zeros(w->ctx, PLEAT_F64, PLEAT_SHAPE(2, 3));
    if (pleat_is_poison(c->history)) return;
    take_status(w, pleat_nn_save_checkpoint(in("c.safetensors"), c));
    if (w->failed) return;
    c->history = NULL;
    take_status(w, pleat_nn_load_checkpoint(in("c.safetensors"), c));
    if (!w->failed) take(w, c->history);
}

static void checkpoint(world *w, const row *r) {
    (void)r;
    pleat_nn_module *m = pleat_nn_linear(w->ctx, 3, 2);
    pleat_nn_optimizer *o = m ? pleat_nn_adam(m, .lr = 0.1) : NULL;
    pleat_nn_ema *e = m ? pleat_nn_ema_new(m, 0.9) : NULL;
    pleat_nn_checkpoint c = {.ctx = w->ctx, .part = {{"net", m, o, e}}};
    if (take_pointer(w, m) && take_pointer(w, o) && take_pointer(w, e)) save_and_load(w, &c);
    for (size_t i = 0; i < pleat_nn_state_count(m); i++) take(w, pleat_nn_state(m, i));
    pleat_nn_ema_free(e);
    pleat_nn_optimizer_free(o);
    pleat_nn_free(m);
    remove(in("c.safetensors"));
}

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    *metric = 1;
    return pleat_mean(pleat_square(pleat_nn_forward(user, b->x)));
}

static void take_run(world *w, const pleat_nn_fit_args *a) {
    take_status(w, pleat_nn_fit_with(*a));
    for (size_t i = 0; i < a->run->epochs; i++) take_number(w, a->run->epoch[i].loss);
    pleat_nn_run_free(a->run);
}

/* With a folder, and once more from where it ended. */
static void run(world *w, const row *r) {
    (void)r;
    pleat_nn_images i;
    take_status(w, pleat_nn_shapes(w->ctx, 4, 8, 8, 1, &i));
    pleat_nn_module *m =
        pleat_nn_sequential(w->ctx, pleat_nn_flatten(w->ctx), pleat_nn_linear(w->ctx, 64, 1));
    pleat_nn_optimizer *o = m ? pleat_nn_sgd(m, .lr = 0.1) : NULL;
    pleat_nn_loader *l = w->failed ? NULL : pleat_nn_loader_new(w->ctx, &i, .batch = 2);
    pleat_nn_run made = {.epochs = 0};
    pleat_nn_fit_args a = {.run = &made,
                           .part = {{"net", m, o, NULL}},
                           .train = l,
                           .epochs = 1,
                           .loss = loss,
                           .user = m,
                           .folder = in("run")};
    if (take_pointer(w, o) && take_pointer(w, l)) take_run(w, &a);
    a.resume = true, a.epochs = 2;
    if (!w->failed) take_run(w, &a);
    pleat_nn_loader_free(l);
    pleat_nn_optimizer_free(o);
    pleat_nn_free(m);
    pleat_nn_images_free(&i);
    remove(in("run/metrics.csv")), remove(in("run/checkpoint.safetensors")),
        remove(in("run/best.safetensors"));
    rmdir(in("run"));
}
#endif

/* ---- models ------------------------------------------------------------------------------------------------------- */

static bool own_shape(pleat_call *c) {
    c->rank = 4;
    for (size_t k = 0; k < 4; k++) c->shape[k] = pleat_size(c->in[0], k);
    return true;
}

static bool own_forward(const pleat_call *c) {
    return memset(pleat_f32(c->out), 0, pleat_numel(c->out) * sizeof(float)), true;
}

static bool own_onnx(const pleat_call *c, pleat_onnx *to) {
    (void)c;
    pleat_onnx_begin(to, "Transpose"), pleat_onnx_input(to, 0);
    pleat_onnx_put_ints(to, "perm", 4, (int64_t[]){0, 1, 3, 2});
    size_t turned = pleat_onnx_end(to);
    pleat_onnx_begin(to, "Pad"), pleat_onnx_input_value(to, turned);
    pleat_onnx_input_ints(to, 8, (int64_t[8]){0}), pleat_onnx_input_real(to, 1);
    pleat_onnx_put_text(to, "mode", "constant");
    pleat_onnx_end(to);
    pleat_onnx_begin(to, "Clip"), pleat_onnx_input(to, 0), pleat_onnx_input_none(to);
    pleat_onnx_end(to);
    pleat_onnx_begin(to, "Gemm"), pleat_onnx_input(to, 0);
    pleat_onnx_put_int(to, "transA", 0), pleat_onnx_put_real(to, "alpha", 1);
    pleat_onnx_end(to);
    return true;
}

static pleat_tensor *own_op(pleat_nn_module *m, pleat_tensor *x) {
    static const pleat_op op = {.name = "own", .shape = own_shape, .forward = own_forward, .onnx = own_onnx};
    return (void)m, pleat_apply(&op, 1, &x, NULL, 0);
}

static void write_model(world *w, const row *r) {
    (void)r;
    static const pleat_nn_kind own = {.name = "Own", .forward = own_op};
    pleat_nn_module *m =
        pleat_nn_sequential(w->ctx, pleat_nn_conv2d(w->ctx, 1, 2, .kernel = {3, 3}), pleat_nn_gelu(w->ctx),
                            pleat_nn_batch_norm2d(w->ctx, 2), pleat_nn_module_new(w->ctx, &own, NULL, 0),
                            pleat_nn_upsample_bilinear(w->ctx, 2));
    pleat_nn_set_training(m, false);
    if (take_pointer(w, m)) take_status(w, pleat_nn_onnx_save(in("m.onnx"), m, PLEAT_SHAPE(1, 1, 5, 4)));
    pleat_nn_free(m);
    remove(in("m.onnx"));
}

#ifndef PL_HAVE_ONNX
#    define model absent
#else
/* x and whole numbers i -> x[i - 1] in another shape, and the shape of i; constants that are folded, and one in a file of its own. */
static message whole_model(void) {
    message g = {.n = 0}, m, pair = {.n = 0};
    m = tensor_of("s", 7, 1, (const int64_t[]){1}, (const int64_t[]){-2}, 8), add_message(&g, 5, &m);
    m = tensor_of("one", 7, 0, NULL, (const int64_t[]){1}, 8), add_message(&g, 5, &m);
    m = (message){.n = 0}, add_number(&m, 1, 2), add_number(&m, 2, 1), add_text(&m, 8, "w"),
    add_number(&m, 14, 1);
    add_text(&pair, 1, "location"), add_text(&pair, 2, "w.bin"), add_message(&m, 13, &pair),
        add_message(&g, 5, &m);
    m = node_of("Add", "s one", "t"), add_message(&g, 1, &m);
    m = node_of("Sub", "i one", "j"), add_message(&g, 1, &m);
    m = node_of("Identity", "w", "v"), add_message(&g, 1, &m);
    m = node_of("Gather", "x j", "h"), add_message(&g, 1, &m);
    m = node_of("Add", "h v", "k"), add_message(&g, 1, &m);
    m = node_of("Reshape", "k t", "y"), add_message(&g, 1, &m);
    m = node_of("Shape", "i", "n"), add_message(&g, 1, &m);
    m = value_of("x", 1, 2, (const int64_t[]){3, 2}), add_message(&g, 11, &m);
    m = value_of("i", 7, 1, (const int64_t[]){-1}), add_message(&g, 11, &m);
    m = value_of("y", 1, 1, (const int64_t[]){-1}), add_message(&g, 12, &m);
    m = value_of("n", 7, 1, (const int64_t[]){1}), add_message(&g, 12, &m);
    return model_of(&g, 11);
}

static void model(world *w, const row *r) {
    (void)r;
    pleat_nn_module *m[2] = {pleat_nn_onnx_load(w->ctx, in("small.onnx")),
                             pleat_nn_onnx_load(w->ctx, in("whole.onnx"))};
    if (take_pointer(w, m[0])) {
        pleat_tensor *x = drawn(w, PLEAT_SHAPE(1, 1, 4, 4)), *weight = pleat_nn_param(m[0], 0), *g;
        pleat_tensor *y = pleat_nn_forward(m[0], x);
        take(w, y);
        take_status(w, pleat_grads(pleat_sum(y), NULL, 1, &weight, &g, 0));
        take(w, g);
    }
    if (take_pointer(w, m[1])) {
        pleat_tensor *x[2] = {drawn(w, PLEAT_SHAPE(3, 2)), pleat_full(w->ctx, PLEAT_F32, PLEAT_SHAPE(2), 2)},
                     *y[2];
        take_status(w, pleat_nn_onnx_run(m[1], 2, x, 2, y));
        for (size_t i = 0; i < 2 && !w->failed; i++) take(w, y[i]);
        take_pointer(w, pleat_nn_onnx_input(m[1], 1)), take_pointer(w, pleat_nn_onnx_output(m[1], 1));
    }
    for (size_t i = 0; i < 2; i++) pleat_nn_free(m[i]);
}
#endif

/* ---- reports ------------------------------------------------------------------------------------------------------ */

static void add_numbers(pleat_nn_report *page) {
    static const char *const pairs[][2] = {{"a", "b"}}, *const classes[] = {"x", "y"};
    static const double y[] = {1, 2, 3};
    static const size_t counts[] = {3, 1, 0, 2};
    const pleat_nn_series series = {"s", 3, y};
    pleat_nn_epoch epochs[2] = {{.loss = 2, .valid_loss = 1}, {.loss = 1, .valid_loss = 3}};
    pleat_nn_run made = {.epochs = 2, .epoch = epochs};
    pleat_nn_report_heading(page, "heading");
    pleat_nn_report_text(page, "text");
    pleat_nn_report_table(page, 1, pairs);
    pleat_nn_report_chart(page, &(pleat_nn_chart){.title = "c", .count = 1, .series = &series});
    pleat_nn_report_run(page, &made, "accuracy");
    pleat_nn_report_confusion(page, "confusion", 2, counts, classes);
}

static void page(world *w, const row *r) {
    (void)r;
    pleat_nn_module *m = pleat_nn_conv2d(w->ctx, 1, 3, .kernel = {3, 3});
    pleat_tensor *x = drawn(w, PLEAT_SHAPE(3, 1, 4, 4)), *points = drawn(w, PLEAT_SHAPE(5, 2));
    pleat_nn_report *page = pleat_nn_report_new(w->ctx, "title", "about");
    if (take_pointer(w, m) && take_pointer(w, page) && !pleat_is_poison(x) && !pleat_is_poison(points)) {
        add_numbers(page);
        pleat_nn_report_images(page, "images", x, 2, 1);
        pleat_nn_report_filters(page, "filters", pleat_nn_param(m, 0));
        pleat_nn_report_scatter(page, "scatter", points, NULL, 0, NULL);
        pleat_nn_report_summary(page, m, PLEAT_SHAPE(1, 1, 5, 5));
        take_status(w, pleat_nn_report_write(page, in("page.html")));
    }
    pleat_nn_report_free(page);
    pleat_nn_free(m);
    remove(in("page.html"));
}

const row faults_files[] = {
    {" pleat_nn_read_idx ", idx, .unary = NULL},
    {" pleat_nn_read_csv ", csv, .unary = NULL},
    {" pleat_nn_file_create pleat_nn_file_commit ", file, .unary = NULL},
    {" pleat_nn_write_npy pleat_nn_read_npy pleat_nn_put_npy ", npy, .unary = NULL},
    {" pleat_nn_export_c_with ", export_c, .unary = NULL},
    {" pleat_nn_write_npz ", write_npz, .unary = NULL, .leaking = "libzip"},
    {" pleat_nn_read_npz pleat_nn_npz_open pleat_nn_npz_name pleat_nn_npz_array pleat_nn_npz_close ",
     read_npz, .unary = NULL, .leaking = "libzip"},
    {" pleat_nn_write_png_grid pleat_nn_read_png pleat_nn_read_png_folder pleat_nn_read_png_pairs ", png,
     .unary = NULL},
    {" pleat_nn_save pleat_nn_load pleat_nn_load_from_with ", parameters, .unary = NULL},
    {" pleat_nn_save_checkpoint pleat_nn_load_checkpoint ", checkpoint, .unary = NULL},
    {" a_run_with_a_folder ", run, .unary = NULL},
    {" pleat_nn_onnx_save pleat_onnx_begin pleat_onnx_input pleat_onnx_input_value pleat_onnx_input_real pleat_onnx_input_ints"
     " pleat_onnx_input_none pleat_onnx_put_int pleat_onnx_put_real pleat_onnx_put_text pleat_onnx_put_ints pleat_onnx_end"
     " pleat_onnx_refuse ",
     write_model, .unary = NULL},
    {" pleat_nn_onnx_load pleat_nn_onnx_run pleat_nn_onnx_input pleat_nn_onnx_output ", model, .unary = NULL},
    {" pleat_nn_report_new pleat_nn_report_heading pleat_nn_report_text pleat_nn_report_table"
     " pleat_nn_report_chart pleat_nn_report_run pleat_nn_report_images pleat_nn_report_filters"
     " pleat_nn_report_scatter pleat_nn_report_summary pleat_nn_report_confusion pleat_nn_report_write ",
     page, .unary = NULL},
    {.covers = NULL},
};

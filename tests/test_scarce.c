/* Where memory is scarce: whichever call of malloc fails first, and all that follow it, what nn does ends with an error that the
 * context keeps, or without one; files are whole or not there; and afterwards it can be done. Allocations by way of a context
 * are test_errors' affair. */
#define _POSIX_C_SOURCE 200809L

#include <sys/stat.h>

#include "mallocs.h"
#include "pleat_config.h"
#include "scratch.h"

TestSuite(scarce, .init = scratch_begin, .fini = scratch_end, .timeout = 60);

static pleat_tensor *x;
static pleat_nn_module *net;
static pleat_nn_images images;

/* What is done; true if it came to its end. */
typedef bool (*action)(void);

static bool draws_shapes(void) {
    pleat_nn_images made;
    pleat_status status = pleat_nn_shapes(ctx, 3, 9, 8, 1, &made);
    cr_assert(status == PLEAT_OK || (!made.pixels && !made.labels && !made.names && !made.count),
              "half of a data set");
    pleat_nn_images_free(&made);
    return status == PLEAT_OK;
}

static bool makes_a_loader(void) {
    pleat_nn_loader *l =
        pleat_nn_loader_new(ctx, &images, .batch = 2, .no_prefetch = true, .transform = {.noise = 0.1});
    pleat_nn_loader_free(l);
    return l != NULL;
}

static bool makes_a_network(void) {
    pleat_nn_module *m =
        pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 2, .kernel = {3, 3}), pleat_nn_batch_norm2d(ctx, 2),
                            pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 8, 2));
    pleat_nn_free(m);
    return m != NULL;
}

static bool makes_what_trains(void) {
    pleat_nn_optimizer *adam = pleat_nn_adam(net);
    pleat_nn_ema *ema = adam ? pleat_nn_ema_new(net, 0.9) : NULL;
    pleat_nn_ema_free(ema);
    pleat_nn_optimizer_free(adam);
    return ema != NULL;
}

static bool writes_npy(void) { return !pleat_nn_write_npy(in_scratch("a.npy"), x); }
static bool reads_npy(void) { return !pleat_is_poison(pleat_nn_read_npy(ctx, in_scratch("b.npy"))); }

#ifdef PL_HAVE_ZIP
static bool writes_npz(void) {
    return !pleat_nn_write_npz(in_scratch("a.npz"), 2, (const char *[]){"p", "q"}, (pleat_tensor *[]){x, x});
}
static bool reads_npz(void) { return !pleat_is_poison(pleat_nn_read_npz(ctx, in_scratch("b.npz"), "q")); }
#endif

#ifdef PL_HAVE_PNG
static bool writes_png(void) { return !pleat_nn_write_png_grid(in_scratch("a.png"), x, 2, 1); }
static bool reads_png(void) { return !pleat_is_poison(pleat_nn_read_png(ctx, in_scratch("b.png"))); }

static bool reads_a_folder(void) {
    pleat_nn_images read;
    pleat_status status = pleat_nn_read_png_folder(ctx, in_scratch("pictures"), &read);
    cr_assert(status == PLEAT_OK || (!read.pixels && !read.labels && !read.names), "half of a data set");
    pleat_nn_images_free(&read);
    return status == PLEAT_OK;
}
#endif

#ifdef PL_HAVE_CJSON
static bool saves(void) { return !pleat_nn_save(in_scratch("a.safetensors"), net); }
static bool loads(void) { return !pleat_nn_load(in_scratch("b.safetensors"), net); }
#endif

static bool reports(void) {
    static pleat_nn_epoch epochs[] = {{1, 2, 3, 4, 0.1, 1, 10}, {0.5, 1, 3, 4, 0.1, 1, 10}};
    const pleat_nn_run run = {PLEAT_NN_FINISHED, 2, 4, 1, epochs};
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", "about");
    pleat_nn_report_run(r, &run, "accuracy");
    pleat_nn_report_summary(r, net, PLEAT_SHAPE(1, 1, 8, 9));
    pleat_nn_report_confusion(r, "c", 2, (size_t[]){3, 1, 0, 2}, NULL);
    pleat_nn_report_scatter(r, "s", pleat_reshape(x, PLEAT_SHAPE(144, 2)), NULL, 0, NULL);
    pleat_nn_report_filters(r, "f", pleat_nn_param(net, 0));
    bool fine = r && !pleat_nn_report_write(r, in_scratch("a.html"));
    pleat_nn_report_free(r);
    return fine;
}

static const struct {
    const char *name;
    action act;
    const char *leaves; /* a file that is whole or not there */
} actions[] = {
    {"shapes", draws_shapes, NULL},
    {"loader", makes_a_loader, NULL},
    {"network", makes_a_network, NULL},
    {"optimizer and averages", makes_what_trains, NULL},
    {"write_npy", writes_npy, "a.npy"},
    {"read_npy", reads_npy, NULL},
#ifdef PL_HAVE_ZIP
    {"write_npz", writes_npz, "a.npz"},
    {"read_npz", reads_npz, NULL},
#endif
#ifdef PL_HAVE_PNG
    {"write_png_grid", writes_png, "a.png"},
    {"read_png", reads_png, NULL},
    {"read_png_folder", reads_a_folder, NULL},
#endif
#ifdef PL_HAVE_CJSON
    {"save", saves, "a.safetensors"},
    {"load", loads, NULL},
#endif
    {"report", reports, "a.html"},
};

/* What is read. */
static void prepare(void) {
    x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(4, 1, 8, 9), 0, 1);
    net = pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 2, .kernel = {3, 3}), pleat_nn_flatten(ctx),
                              pleat_nn_linear(ctx, 2 * 6 * 7, 2));
    cr_assert(net && !pleat_nn_shapes(ctx, 4, 8, 9, 1, &images));
    cr_assert(!pleat_nn_write_npy(in_scratch("b.npy"), x));
#ifdef PL_HAVE_ZIP
    cr_assert(
        !pleat_nn_write_npz(in_scratch("b.npz"), 2, (const char *[]){"p", "q"}, (pleat_tensor *[]){x, x}));
#endif
#ifdef PL_HAVE_PNG
    cr_assert(!pleat_nn_write_png_grid(in_scratch("b.png"), x, 2, 1));
    cr_assert(!mkdir(in_scratch("pictures"), 0700) && !mkdir(in_scratch("pictures/one"), 0700));
    cr_assert(!pleat_nn_write_png_grid(in_scratch("pictures/one/p.png"), x, 1, 1));
#endif
#ifdef PL_HAVE_CJSON
    cr_assert(!pleat_nn_save(in_scratch("b.safetensors"), net));
#endif
}

static void clear_away(void) {
    remove(in_scratch("pictures/one/p.png"));
    rmdir(in_scratch("pictures/one"));
    rmdir(in_scratch("pictures"));
    pleat_nn_images_free(&images);
    pleat_nn_free(net);
}

static void expect_survival(size_t i) {
    const char *leaves = actions[i].leaves ? in_scratch(actions[i].leaves) : NULL;
    bool done = false;
    for (size_t n = 1; !done && n < 3000; n++) {
        pleat_scope scope = pleat_begin(ctx);
        mallocs_start_failing(n);
        done = actions[i].act();
        bool asked = mallocs_stop() >= n;
        const pleat_error_info *e = pleat_error(ctx);
        cr_assert(done || asked, "%s: ends with an error though all memory was there: %s", actions[i].name,
                  e->text);
        cr_assert(done == (e->code == PLEAT_OK), "%s, call %zu: %s, and the context says \"%s\"",
                  actions[i].name, n, done ? "done" : "not done", e->text);
        if (!done && leaves)
            cr_assert_neq(access(leaves, F_OK), 0, "%s, call %zu: a file is left", actions[i].name, n);
        pleat_clear_error(ctx);
        pleat_end(scope);
    }
    cr_assert(done, "%s: never done", actions[i].name);
}

#ifdef PL_HAVE_PNG
/* One of the errors is that of the pixels, which are the last to be asked for. */
Test(scarce, a_picture_without_memory_says_its_size) {
    if (!mallocs_are_counted()) scratch_skip("the sanitizer has a malloc of its own");
    if (!mallocs_are_counted()) return;
    bool said = false, done = false;
    pleat_tensor *p = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 300, 400));
    cr_assert(!pleat_nn_write_png_grid(in_scratch("b.png"), p, 1, 1));
    for (size_t n = 1; !done && n < 1000; n++) {
        mallocs_start_failing(n);
        done = reads_png();
        mallocs_stop();
        said = said || strstr(pleat_error(ctx)->text, "no memory for 300x400 pixels");
        pleat_clear_error(ctx);
    }
    cr_assert(said && done);
}
#endif

Test(scarce, any_malloc_may_fail) {
    if (!mallocs_are_counted()) scratch_skip("the sanitizer has a malloc of its own");
    if (!mallocs_are_counted()) return;
    prepare();
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) expect_survival(i);
    clear_away();
}

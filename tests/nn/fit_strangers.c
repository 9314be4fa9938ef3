/* Checkpoints that fit did not write, or that lack a part of what it wrote, are refused, and nothing is trained over them. */
#define _POSIX_C_SOURCE 200809L

#include "pleat_config.h"
#include "scratch.h"

TestSuite(strangers, .init = scratch_begin, .fini = scratch_end);

typedef struct training {
    pleat_nn_images images;
    pleat_nn_loader *loader;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
} training;

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    training *t = user;
    *metric = 0;
    return pleat_nn_mse_loss(pleat_nn_forward(t->net, b->x), b->x);
}

static void start(training *t) {
    cr_assert_eq(pleat_nn_shapes(ctx, 8, 8, 8, 1, &t->images), PLEAT_OK);
    t->loader = pleat_nn_loader_new(ctx, &t->images, .batch = 4);
    t->net = pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .pad = {1, 1}));
    t->opt = pleat_nn_sgd(t->net, .lr = 0.1);
    cr_assert(t->loader && t->opt, "%s", pleat_error(ctx)->text);
}

static void stop(training *t) {
    pleat_nn_optimizer_free(t->opt);
    pleat_nn_free(t->net);
    pleat_nn_loader_free(t->loader);
    pleat_nn_images_free(&t->images);
}

Test(strangers, evaluate_needs_a_network_a_loader_and_a_loss) {
    training t;
    start(&t);
    const pleat_nn_fit_args good = {.part = {{.name = "net", .net = t.net}}, .loss = loss, .user = &t};
    double found, metric;
    cr_assert_eq(pleat_nn_evaluate(&good, t.loader, &found, &metric), PLEAT_OK);
    pleat_nn_fit_args a = good;
    a.loss = NULL;
    expect_error(pleat_nn_evaluate(&a, t.loader, &found, &metric), PLEAT_ERR_ARGUMENT, ".loss must be given");
    expect_error(pleat_nn_evaluate(&good, NULL, &found, &metric), PLEAT_ERR_ARGUMENT, "loader");
    a = good, a.part[0].net = NULL; /* no context to keep the error */
    cr_assert_eq(pleat_nn_evaluate(&a, t.loader, &found, &metric), PLEAT_ERR_ARGUMENT);
    stop(&t);
}

#ifdef PL_HAVE_CJSON
/* What fit keeps of a run of two epochs. */
static void fill(pleat_nn_note note[5]) {
    static const char *const keys[] = {"options", "place", "sums", "best", "base"};
    static const char *const texts[] = {"", "2 0 4", "0 0", "1 0 0.5", "0.125 0 0 0"};
    for (size_t i = 0; i < 5; i++) {
        note[i].key = keys[i];
        strcpy(note[i].text, texts[i]);
    }
}

static void expect_resume(training *t, pleat_nn_checkpoint *c, pleat_status code, const char *part) {
    pleat_nn_run run = {0};
    size_t before, after;
    cr_assert_eq(pleat_nn_save_checkpoint(in_scratch("checkpoint.safetensors"), c), PLEAT_OK, "%s",
                 pleat_error(ctx)->text);
    uint8_t *old = get_file(in_scratch("checkpoint.safetensors"), &before);
    pleat_status status =
        pleat_nn_fit(&run, .part = {{.name = "net", .net = t->net, .opt = t->opt}}, .train = t->loader,
                     .loss = loss, .user = t, .epochs = 2, .folder = scratch_folder, .resume = true);
    if (code == PLEAT_OK)
        cr_expect(status == PLEAT_OK && run.epochs == 2, "%s", pleat_error(ctx)->text);
    else
        expect_error(status, code, part);
    uint8_t *now = get_file(in_scratch("checkpoint.safetensors"), &after);
    cr_expect(code == PLEAT_OK || (before == after && !memcmp(old, now, before)), "the file has changed");
    free(old), free(now);
    pleat_nn_run_free(&run);
}

Test(strangers, checkpoints_of_other_programs) {
    training t;
    start(&t);
    pleat_nn_note note[5];
    fill(note);
    pleat_nn_checkpoint c = {
        .ctx = ctx, .part = {{.name = "net", .net = t.net, .opt = t.opt}}, .notes = 5, .note = note};
    c.history = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(2, 7));
    expect_resume(&t, &c, PLEAT_OK, "");
    strcpy(note[1].text, "two epochs");
    expect_resume(&t, &c, PLEAT_ERR_FORMAT, "not of a training run");
    c.notes = 1;
    expect_resume(&t, &c, PLEAT_ERR_FORMAT, "not of a training run");
    c.notes = 5, fill(note);
    c.history = NULL;
    expect_resume(&t, &c, PLEAT_ERR_FORMAT, "does not hold 2 epochs");
    c.history = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1, 7));
    expect_resume(&t, &c, PLEAT_ERR_FORMAT, "does not hold 2 epochs");
    c.history = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(2, 8));
    expect_resume(&t, &c, PLEAT_ERR_FORMAT, "does not hold 2 epochs");
    stop(&t);
}
#endif

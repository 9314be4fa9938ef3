/* Where the decimal point is a comma, files and texts are what they are elsewhere: a run's files, and going on with them; tables,
 * pages, lines of progress, errors. */
#define _POSIX_C_SOURCE 200809L

#include <ctype.h>
#include <locale.h>
#include <math.h>

#include "files/numbers.h"
#include "pleat_config.h"
#include "report/report.h"
#include "scratch.h"

/* tests/meson.build makes the locale, which few machines have. */
static void speak_german(void) {
    cr_assert_eq(setenv("LOCPATH", PLEAT_LOCALES, 1), 0);
    cr_assert(setlocale(LC_ALL, "de_DE.UTF-8"),
              "no de_DE.UTF-8 in " PLEAT_LOCALES ": install locales, then meson setup --reconfigure");
    cr_assert_str_eq(localeconv()->decimal_point, ",");
}

static void speak_c(void) { cr_assert(setlocale(LC_ALL, "C")); }

static void begin(void) {
    scratch_begin();
    speak_german();
}

TestSuite(locale, .init = begin, .fini = scratch_end);

/* ---- numbers ---------------------------------------------------------------------------------------------- */

Test(locale, numbers_have_a_point) {
    const char *at = "0.5 -2.25 7";
    double v[3];
    for (size_t i = 0; i < 3; i++) cr_assert(pln_read_number(&at, &v[i]), "number %zu", i);
    cr_expect(v[0] == 0.5 && v[1] == -2.25 && v[2] == 7 && !*at);
    at = "0,5";
    cr_expect_not(pln_read_number(&at, &v[0]), "a comma was read");
    cr_expect_str_eq(pln_number(0.5).s, "0.5");
    cr_expect_str_eq(pln_tenths(12.34).s, "12.3");
    cr_expect_str_eq(pln_fixed(0.125, 4).s, "0.1250");
    cr_expect_str_eq(pln_short(1.25e-7, 3).s, "1.25e-7");
    cr_expect_str_eq(localeconv()->decimal_point, ",", "the program's locale has changed");
}

/* "0,5" anywhere in the text; NULL if it is nowhere. */
static const char *comma_in(const char *text) {
    for (const char *c = text; (c = strchr(c, ',')); c++)
        if (c > text && isdigit((unsigned char)c[-1]) && isdigit((unsigned char)c[1])) return c - 1;
    return NULL;
}

#ifdef PL_HAVE_CJSON
/* ---- a run ------------------------------------------------------------------------------------------------ */

typedef struct training {
    pleat_nn_images images;
    pleat_nn_loader *loader;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_plateau plateau;
    pleat_nn_run run;
} training;

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    training *t = user;
    *metric = 0.5;
    return pleat_nn_mse_loss(pleat_nn_forward(t->net, b->x), b->x);
}

static pleat_status train(training *t, size_t epochs, FILE *progress) {
    *t = (training){.plateau = {.patience = 1, .threshold = 0.9}};
    *pleat_ctx_rng(ctx) = pleat_rng_new(3, 0);
    cr_assert_eq(pleat_nn_shapes(ctx, 8, 8, 8, 1, &t->images), PLEAT_OK);
    t->loader = pleat_nn_loader_new(ctx, &t->images, .batch = 4, .shuffle = true);
    t->net = pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .pad = {1, 1}));
    t->opt = pleat_nn_sgd(t->net, .lr = 0.0123);
    cr_assert(t->loader && t->opt, "%s", pleat_error(ctx)->text);
    return pleat_nn_fit(&t->run, .part = {{.name = "net", .net = t->net, .opt = t->opt}}, .train = t->loader,
                        .valid = t->loader, .loss = loss, .user = t, .metric_name = "half", .epochs = epochs,
                        .plateau = &t->plateau, .folder = scratch_folder, .resume = true,
                        .progress = progress);
}

static void stop(training *t) {
    pleat_nn_run_free(&t->run);
    pleat_nn_optimizer_free(t->opt);
    pleat_nn_free(t->net);
    pleat_nn_loader_free(t->loader);
    pleat_nn_images_free(&t->images);
}

static size_t count(const char *text, char c) {
    size_t n = 0;
    for (; *text && *text != '\n'; text++) n += *text == c;
    return n;
}

Test(locale, metrics_have_a_value_for_each_name) {
    training t;
    size_t bytes, rows = 0;
    cr_assert_eq(train(&t, 2, NULL), PLEAT_OK, "%s", pleat_error(ctx)->text);
    char *text = (char *)get_file(in_scratch("metrics.csv"), &bytes);
    for (char *line = strchr(text, '\n') + 1; *line; line = strchr(line, '\n') + 1, rows++)
        cr_expect_eq(count(line, ','), count(text, ','), "%s", text);
    cr_expect_eq(rows, 2);
    pleat_tensor *table = pleat_nn_read_csv(ctx, in_scratch("metrics.csv"), "half");
    cr_expect(pleat_numel(table) == 2 && pleat_f64(table)[1] == 0.5, "%s", pleat_error(ctx)->text);
    free(text);
    stop(&t);
}

Test(locale, progress_has_points) {
    training t;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert(out && train(&t, 2, out) == PLEAT_OK, "%s", pleat_error(ctx)->text);
    fclose(out);
    cr_expect(strstr(text, ", lr 0.0123, "), "%s", text);
    cr_expect_null(comma_in(text), "%s", text);
    free(text);
    stop(&t);
}

static void expect_same(const training *a, const training *b, const char *what) {
    cr_expect_eq(a->run.best, b->run.best, "%s: the best is %zu and %zu", what, a->run.best, b->run.best);
    for (size_t i = 0; i < a->run.epochs; i++)
        cr_expect(a->run.epoch[i].valid_loss == b->run.epoch[i].valid_loss &&
                      a->run.epoch[i].lr == b->run.epoch[i].lr,
                  "%s: epoch %zu", what, i);
    cr_expect(a->plateau.best == b->plateau.best && a->plateau.bad == b->plateau.bad, "%s: plateau", what);
    for (size_t k = 0; k < pleat_nn_state_count(a->net); k++) {
        pleat_tensor *x = pleat_nn_state(a->net, k), *y = pleat_nn_state(b->net, k);
        cr_expect_eq(memcmp(pleat_f32(x), pleat_f32(y), pleat_numel(x) * sizeof(float)), 0, "%s", what);
    }
}

static void forget_run(void) {
    static const char *const files[] = {"metrics.csv", "checkpoint.safetensors", "best.safetensors"};
    for (size_t i = 0; i < 3; i++) remove(in_scratch(files[i]));
}

/* One epoch here, three more there: the bits of four here. */
static void go_on(void (*here)(void), void (*there)(void), const char *what) {
    training whole, begun, rest;
    here();
    cr_assert_eq(train(&whole, 4, NULL), PLEAT_OK, "%s: %s", what, pleat_error(ctx)->text);
    forget_run();
    cr_assert_eq(train(&begun, 1, NULL), PLEAT_OK, "%s: %s", what, pleat_error(ctx)->text);
    there();
    cr_assert_eq(train(&rest, 4, NULL), PLEAT_OK, "%s: %s", what, pleat_error(ctx)->text);
    expect_same(&whole, &rest, what);
    forget_run();
    stop(&whole), stop(&begun), stop(&rest);
}

Test(locale, checkpoints_go_from_one_to_the_other) {
    go_on(speak_c, speak_german, "from point to comma");
    go_on(speak_german, speak_c, "from comma to point");
    go_on(speak_german, speak_german, "among commas");
}
#endif

/* ---- texts ------------------------------------------------------------------------------------------------ */

static void write_table(FILE *out) {
    pleat_nn_module *net =
        pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 2000, 3), pleat_nn_leaky_relu(ctx, 0.01),
                            pleat_nn_elu(ctx, 1.5), pleat_nn_dropout(ctx, 0.25));
    cr_assert_eq(pleat_nn_summary(net, PLEAT_SHAPE(1, 2000), out), PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_free(net);
}

static void write_page(FILE *out) {
    static pleat_nn_epoch epochs[2] = {{.loss = 1.25, .valid_loss = 1.5, .lr = 1e-3, .seconds = 2.5},
                                       {.loss = 0.125, .valid_loss = 1e-7, .lr = 5e-4, .seconds = 0.25}};
    const pleat_nn_run run = {.epochs = 2, .steps = 1234, .best = 1, .epoch = epochs};
    const double points[] = {0.5, 0.25, -1.5, 3.75};
    pleat_nn_report *r = pleat_nn_report_new(ctx, "title", NULL);
    pleat_nn_report_run(r, &run, NULL);
    pleat_nn_report_scatter(r, "points", pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 2), points),
                            (const size_t[]){0, 1}, 2, NULL);
    pleat_nn_report_filters(r, "filters", pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1, 3, 3), 0.5));
    pleat_nn_report_confusion(r, "confusion", 2, (const size_t[]){3, 1, 2, 5}, NULL);
    pleat_clear_error(ctx); /* of pictures, where there is no libpng */
    cr_assert(pln_report_open(r) || !pleat_nn_report_write(r, in_scratch("page.html")));
    fwrite(r->page.text, 1, r->page.length, out);
    pleat_nn_report_free(r);
}

static void say_error(FILE *out) {
    fprintf(out, "%s\n", pleat_error(ctx)->text);
    cr_expect_null(comma_in(pleat_error(ctx)->text), "%s", pleat_error(ctx)->text);
    pleat_clear_error(ctx);
}

static void write_errors(FILE *out) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(2), 0.5);
    pleat_clamp(x, 2.5, 1.25);
    say_error(out);
    pleat_dropout(x, 1.5);
    say_error(out);
    pleat_nn_module *net = pleat_nn_batch_norm2d(ctx, 1);
    pleat_nn_ema_new(net, 1.5);
    say_error(out);
#ifdef PL_HAVE_CJSON
    pleat_f64(pleat_nn_own_buffer(net, 2))[0] = 0.5;
    pleat_nn_save(in_scratch("p"), net);
    say_error(out);
#endif
    pleat_nn_free(net);
    pleat_nn_report *r = pleat_nn_report_new(ctx, "title", NULL);
    pleat_nn_report_scatter(r, "", pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(2, 2)), (const size_t[]){0, 2}, 2,
                            NULL);
    say_error(out);
    pleat_nn_report_free(r);
    r = pleat_nn_report_new(ctx, "title", NULL);
    pleat_nn_report_chart(r, &(pleat_nn_chart){.title = "t", .x_first = 1.5, .x_step = INFINITY});
    say_error(out);
    pleat_nn_report_free(r);
}

static pleat_tensor *half_known(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    return pleat_mul(xs[0], pleat_detach(xs[0]));
}

static pleat_tensor *unsteady(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n;
    return pleat_scale(xs[0], *(double *)user += 0.25);
}

static pleat_tensor *third(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, 1.0 / 3); }
static pleat_tensor *quarter(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, 0.25); }

static void write_checks(FILE *out) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(2), 1.5);
    pleat_report r;
    double state = 0;
    cr_expect_eq(pleat_gradcheck(.f = half_known, .n = 1, .xs = &x, .report = &r), PLEAT_ERR_CHECK);
    fprintf(out, "%s\n", r.text);
    cr_expect_eq(pleat_gradcheck(.f = unsteady, .n = 1, .xs = &x, .user = &state, .report = &r),
                 PLEAT_ERR_CHECK);
    fprintf(out, "%s\n", r.text);
    cr_expect_eq(pleat_adjointcheck(.f = third, .adjoint = quarter, .x = x, .y = x, .report = &r),
                 PLEAT_ERR_CHECK);
    fprintf(out, "%s\n", r.text);
    pleat_print(pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2), (double[]){0.5, 12.25}), out);
    pleat_print(pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2), (double[]){0.5, 1234567.25}), out);
    pleat_print(pleat_full(ctx, PLEAT_F32, PLEAT_SCALAR, 1.0 / 3), out);
}

static char *text_of(void (*write)(FILE *)) {
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert_not_null(out);
    write(out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

static void expect_same_text(void (*write)(FILE *)) {
    char *there = text_of(write);
    speak_c();
    char *here = text_of(write);
    cr_expect_str_eq(there, here);
    cr_expect_gt(strlen(here), 20);
    free(there), free(here);
}

Test(locale, tables_are_the_same) { expect_same_text(write_table); }
Test(locale, pages_are_the_same) { expect_same_text(write_page); }
Test(locale, errors_are_the_same) { expect_same_text(write_errors); }
Test(locale, checks_say_the_same) { expect_same_text(write_checks); }

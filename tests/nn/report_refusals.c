/* What a report refuses, and what it says where there is little to say. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdint.h>

#include "pleat_config.h"
#include "report/report.h"
#include "scratch.h"

TestSuite(report_refusals, .init = scratch_begin, .fini = scratch_end);

static pleat_nn_report *begin(void) {
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
    cr_assert_not_null(r);
    return r;
}

/* The report has failed; it says so, and is gone. */
static void refused(pleat_nn_report *r, pleat_status code, const char *part) {
    expect_error(r->status, code, part);
    pleat_nn_report_free(r);
}

/* What the report holds, as a text that lives until the next call. */
static const char *said(pleat_nn_report *r) {
    static char text[1 << 16];
    cr_assert_eq(r->status, PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_assert_lt(r->page.length, sizeof text);
    memcpy(text, r->page.text, r->page.length);
    text[r->page.length] = 0;
    pleat_nn_report_free(r);
    return text;
}

Test(report_refusals, a_title_that_is_not_there) {
    cr_assert_null(pleat_nn_report_new(ctx, NULL, NULL));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "the title is NULL");
}

Test(report_refusals, lines_and_tabs_stay) {
    pleat_nn_report *r = begin();
    pleat_nn_report_text(r, "one\ntwo\tthree\x01");
    cr_expect_not_null(strstr(said(r), "one\ntwo\tthree<"));
}

/* ---- charts ------------------------------------------------------------------------------------------------ */

static pleat_nn_chart chart(double first, double step) {
    static const double y[] = {1, 2, 3};
    static const pleat_nn_series s = {"s", 3, y};
    return (pleat_nn_chart){.title = "c", .count = 1, .series = &s, .x_first = first, .x_step = step};
}

Test(report_refusals, an_axis_that_is_not_finite) {
    const double wrong[][2] = {{INFINITY, 1}, {NAN, 1}, {0, INFINITY}, {0, 1e308}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pleat_nn_report *r = begin();
        pleat_nn_chart c = chart(wrong[i][0], wrong[i][1]);
        pleat_nn_report_chart(r, &c);
        refused(r, PLEAT_ERR_ARGUMENT, "it must be finite");
    }
}

/* Seven labels of five digits would touch, so there are fewer. */
Test(report_refusals, long_labels_do_not_touch) {
    static const double y[7] = {1, 2, 3, 4, 5, 6, 7};
    const pleat_nn_series s = {"s", 7, y};
    pleat_nn_report *r = begin();
    pleat_nn_report_chart(
        r, &(pleat_nn_chart){.title = "c", .count = 1, .series = &s, .x_first = 10000, .x_step = 1});
    const char *page = said(r);
    size_t labels = 0;
    for (int x = 10000; x < 10007; x++) {
        char label[32];
        snprintf(label, sizeof label, ">%d<", x);
        labels += strstr(page, label) != NULL;
    }
    cr_expect(labels >= 2 && labels <= 5, "%zu labels", labels);
}

/* The labels of numbers that are nearly the same are not all the same. */
Test(report_refusals, an_axis_of_numbers_that_are_nearly_the_same) {
    pln_axis a = pln_axis_new((pln_axis_args){.range = {1, 1 + 1e-12}, .most = 6});
    cr_assert(a.low < 1 && a.high > 1 + 1e-12 && a.ticks >= 2);
    for (size_t i = 1; i < a.ticks; i++) cr_expect_str_neq(a.label[i].s, a.label[i - 1].s);
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

Test(report_refusals, no_images) {
    pleat_nn_report *r = begin();
    pleat_nn_report_images(r, "none <b>", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 1, 4, 4)), 2, 1);
    const char *page = said(r);
    cr_expect(strstr(page, "No images.") && strstr(page, "none &lt;b&gt;") && !strstr(page, "<img"));
}

Test(report_refusals, weights_that_are_no_filters) {
    pleat_nn_report *r = begin();
    pleat_nn_report_filters(r, "c", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4)));
    refused(r, PLEAT_ERR_SHAPE, "the weight is [3,4]; it must be [O,C,R,S]");
    r = begin();
    pleat_nn_report_filters(r, "c", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 1, 3, 3)));
    refused(r, PLEAT_ERR_SHAPE, "not empty");
    r = begin();
    pleat_nn_report_filters(r, "c", pleat_poison(ctx));
    refused(r, PLEAT_ERR_ARGUMENT, "poison");
}

/* ---- runs and tables ----------------------------------------------------------------------------------------- */

Test(report_refusals, how_a_run_ended) {
    static const char *const words[] = {"all that were asked for", "stopped: no better one came",
                                        "interrupted", "ended by an error"};
    for (int outcome = PLEAT_NN_FINISHED; outcome <= PLEAT_NN_FAILED; outcome++) {
        pleat_nn_epoch epoch = {1, NAN, NAN, NAN, 1e-3, 1, 10};
        pleat_nn_run run = {(pleat_nn_outcome)outcome, 1, 5, 0, &epoch};
        pleat_nn_report *r = begin();
        pleat_nn_report_run(r, &run, NULL);
        cr_expect_not_null(strstr(said(r), words[outcome]), "%s", words[outcome]);
        run.best = 1;
        r = begin();
        pleat_nn_report_run(r, &run, NULL);
        refused(r, PLEAT_ERR_ARGUMENT, "the best epoch is 1, but there are 1");
    }
}

Test(report_refusals, scatters) {
    pleat_tensor *points = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(5, 2));
    pleat_nn_report *r = begin();
    pleat_nn_report_scatter(r, "c", pleat_poison(ctx), NULL, 0, NULL);
    refused(r, PLEAT_ERR_ARGUMENT, "poison");
    r = begin();
    pleat_nn_report_scatter(r, "c", points, (const size_t[]){0, 1, 1, 2, 0}, 2, NULL);
    refused(r, PLEAT_ERR_ARGUMENT, "label 3 is 2; it must be below the 2 classes");
}

Test(report_refusals, more_classes_than_a_table_can_have) {
    const size_t counts[1] = {0};
    pleat_nn_report *r = begin();
    pleat_nn_report_confusion(r, "c", SIZE_MAX, counts, NULL);
    refused(r, PLEAT_ERR_ARGUMENT, "classes are too many");
}

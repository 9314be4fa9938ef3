/* What a report says: numbers as text, ticks that stand where their labels say, lines through their points, and what tables and
 * notes tell. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>

#include "pleat_config.h"
#include "report/report.h"
#include "scratch.h"

TestSuite(report_values, .init = scratch_begin, .fini = scratch_end);

#define EXPECT_TEXT(found, expected) cr_expect_str_eq((found).s, expected)

Test(report_values, numbers_as_text) {
    EXPECT_TEXT(pln_tenths(12.34), "12.3");
    EXPECT_TEXT(pln_tenths(-0.04), "0");
    EXPECT_TEXT(pln_tenths(5), "5");
    EXPECT_TEXT(pln_fixed(0.125, 4), "0.1250");
    EXPECT_TEXT(pln_fixed(-2, 0), "-2");
    EXPECT_TEXT(pln_short(NAN, 3), "\u2013");
    EXPECT_TEXT(pln_short(-INFINITY, 3), "-\u221e");
    EXPECT_TEXT(pln_short(0.125, 4), "0.125");
    EXPECT_TEXT(pln_short(1e-4, 4), "0.0001");
    EXPECT_TEXT(pln_short(9.5e-5, 4), "9.5e-5");
    EXPECT_TEXT(pln_short(999999, 3), "999999");
    EXPECT_TEXT(pln_short(1e6, 3), "1e6");
    EXPECT_TEXT(pln_short(1.25e-7, 3), "1.25e-7");
    EXPECT_TEXT(pln_scientific(0, 3), "0");
    EXPECT_TEXT(pln_scientific(0.125, 3), "1.25e-1");
    EXPECT_TEXT(pln_count(999), "999");
    EXPECT_TEXT(pln_count(12544), "12,544");
    EXPECT_TEXT(pln_count(1234567), "1,234,567");
    EXPECT_TEXT(pln_scaled(999), "999");
    EXPECT_TEXT(pln_scaled(1000), "1 k");
    EXPECT_TEXT(pln_scaled(1234567), "1.23 M");
    EXPECT_TEXT(pln_scaled(999600), "1 M");
    EXPECT_TEXT(pln_scaled(2.5e15), "2500 T");
}

/* A logarithm would be rounded. */
Test(report_values, decades_are_exact) {
    for (int e = -307; e <= 308; e++) {
        const double power = pln_power_of_ten(e);
        cr_expect(pln_decade(power) == e && pln_decade(-power) == e &&
                      pln_decade(nextafter(power, 0)) == e - 1,
                  "1e%d", e);
    }
    cr_expect_eq(pln_power_of_ten(-3), 0.001);
}

Test(report_values, durations_as_text) {
    EXPECT_TEXT(pln_duration(0), "0.0 s");
    EXPECT_TEXT(pln_duration(9.94), "9.9 s");
    EXPECT_TEXT(pln_duration(9.95), "10 s");
    EXPECT_TEXT(pln_duration(59.4), "59 s");
    EXPECT_TEXT(pln_duration(59.6), "1 min 00 s");
    EXPECT_TEXT(pln_duration(192), "3 min 12 s");
    EXPECT_TEXT(pln_duration(3599.6), "1 h 00 min");
    EXPECT_TEXT(pln_duration(3600 + 62 * 60), "2 h 02 min");
    EXPECT_TEXT(pln_duration(-1), "\u2013");
    EXPECT_TEXT(pln_duration(NAN), "\u2013");
}

/* ---- axes ----------------------------------------------------------------------------------------------------- */

/* Ticks rise, lie within the axis, and their labels are their values. */
static void expect_ticks(const pln_axis *a, double low, double high) {
    cr_assert(a->ticks >= 1 && a->ticks <= PLN_TICKS, "%g to %g: %zu ticks", low, high, a->ticks);
    for (size_t i = 0; i < a->ticks; i++) {
        double v = a->tick[i], slack = 1e-6 * (a->high - a->low);
        cr_expect(v >= a->low - slack && v <= a->high + slack, "%g to %g: tick %g", low, high, v);
        cr_expect(i == 0 || v > a->tick[i - 1], "%g to %g: tick %zu", low, high, i);
        cr_expect_float_eq(strtod(a->label[i].s, NULL), v, 1e-3 * fabs(v) + slack, "%g to %g: \"%s\" at %g",
                           low, high, a->label[i].s, v);
    }
}

static bool is_round(double v) {
    double first = v / pow(10, floor(log10(v) + 1e-9));
    return fabs(first - 1) < 1e-6 || fabs(first - 2) < 1e-6 || fabs(first - 5) < 1e-6;
}

Test(report_values, ticks_are_round_and_where_they_say) {
    static const double ranges[][2] = {{0, 1},        {0.31, 0.47},   {-3, 7},     {1, 120},
                                       {-1e-5, 3e-5}, {2e7, 9e7},     {0.04, 0.9}, {-40, -2},
                                       {1e-9, 5e-9},  {1234, 1234.5}, {0, 3}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (int grow = 0; grow < 2; grow++) {
            double low = ranges[i][0], high = ranges[i][1];
            pln_axis a = pln_axis_new((pln_axis_args){.range = {low, high}, .most = 6, .grow = grow});
            expect_ticks(&a, low, high);
            cr_assert(a.ticks >= 2, "%g to %g: %zu ticks", low, high, a.ticks);
            cr_expect(is_round(a.tick[1] - a.tick[0]), "%g to %g: steps of %g", low, high,
                      a.tick[1] - a.tick[0]);
            for (size_t k = 2; k < a.ticks; k++)
                cr_expect_float_eq(a.tick[k] - a.tick[k - 1], a.tick[1] - a.tick[0], 1e-9 * (high - low));
            cr_expect(a.low <= low && a.high >= high, "%g to %g: the axis is %g to %g", low, high, a.low,
                      a.high);
            cr_expect(!grow || (a.tick[0] <= low + 1e-5 * (high - low) &&
                                a.tick[a.ticks - 1] >= high - 1e-5 * (high - low)),
                      "%g to %g: ticks %g to %g", low, high, a.tick[0], a.tick[a.ticks - 1]);
        }
}

/* As many decimals as the step needs, or an exponent for all. */
Test(report_values, labels_are_no_longer_than_need_be) {
    static const struct {
        double low, high;
        const char *first, *last;
    } cases[] = {{0, 1, "0.0", "1.0"},     {0, 12, "0", "12"},   {0.31, 0.47, "0.30", "0.50"},
                 {0, 5e-4, "0", "5e-4"},   {0, 8e6, "0", "8e6"}, {0.004, 0.007, "0.0040", "0.0070"},
                 {-40, 300, "-100", "300"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pln_axis a =
            pln_axis_new((pln_axis_args){.range = {cases[i].low, cases[i].high}, .most = 6, .grow = true});
        EXPECT_TEXT(a.label[0], cases[i].first);
        EXPECT_TEXT(a.label[a.ticks - 1], cases[i].last);
    }
}

/* From the last of 1, 2, 5, 10, .. that is not above the values to the first that is not below. */
Test(report_values, logarithmic_axes_end_at_round_values) {
    static const double cases[][4] = {{0.012, 0.9, 0.01, 1},    {3, 300, 2, 500},        {1, 1000, 1, 1000},
                                      {7e-6, 4e-3, 5e-6, 5e-3}, {1.5, 80000, 1, 100000}, {0.2, 5, 0.2, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double *c = cases[i];
        pln_axis a =
            pln_axis_new((pln_axis_args){.range = {c[0], c[1]}, .most = 5, .grow = true, .log = true});
        cr_assert(a.log);
        expect_ticks(&a, c[0], c[1]);
        cr_expect_float_eq(a.low / c[2], 1, 1e-9, "%g to %g begins at %g", c[0], c[1], a.low);
        cr_expect_float_eq(a.high / c[3], 1, 1e-9, "%g to %g ends at %g", c[0], c[1], a.high);
        for (size_t k = 0; k < a.ticks; k++)
            cr_expect(is_round(a.tick[k]), "%g to %g: tick %g", c[0], c[1], a.tick[k]);
        a.from = 10, a.to = 30;
        cr_expect_float_eq(pln_axis_at(&a, a.low), 10, 1e-9);
        cr_expect_float_eq(pln_axis_at(&a, a.high), 30, 1e-9);
        cr_expect_float_eq(pln_axis_at(&a, sqrt(a.low * a.high)), 20, 1e-9);
    }
}

Test(report_values, whole_numbers_have_whole_ticks) {
    pln_axis a = pln_axis_new((pln_axis_args){.range = {1, 3}, .most = 7, .whole = true});
    cr_assert_eq(a.ticks, 3);
    for (size_t i = 0; i < 3; i++) cr_expect_eq(a.tick[i], (double)i + 1);
    a = pln_axis_new((pln_axis_args){.range = {4, 4}, .most = 7, .whole = true});
    cr_assert(a.ticks == 1 && a.tick[0] == 4);
    EXPECT_TEXT(a.label[0], "4");
}

/* ---- drawings --------------------------------------------------------------------------------------------------- */

/* The page so far, as a string that the caller frees. */
static char *text_of(pleat_nn_report *r) {
    cr_assert_eq(r->status, PLEAT_OK, "%s", pleat_error(ctx)->text);
    char *text = calloc(r->page.length + 1, 1);
    cr_assert_not_null(text);
    memcpy(text, r->page.text, r->page.length);
    pleat_nn_report_free(r);
    return text;
}

static size_t count(const char *text, const char *part) {
    size_t n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

/* What stands behind the k-th `part` (from 0). */
static const char *behind(const char *text, const char *part, size_t k) {
    for (text = strstr(text, part); text && k > 0; k--) text = strstr(text + 1, part);
    cr_assert(text, "there is no \"%s\"", part);
    return text + strlen(part);
}

static char *chart_of(size_t n, const pleat_nn_series *series) {
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_chart(r, &(pleat_nn_chart){.title = "c", .count = n, .series = series});
    return text_of(r);
}

Test(report_values, a_line_goes_through_its_points) {
    const double y[] = {1, 4, 2, NAN, 3, 5};
    char *page = chart_of(1, &(pleat_nn_series){"s", 6, y});
    const char *d = behind(behind(page, "role=\"img\"", 0), "class=\"line c0 d0\" d=\"", 0);
    double at[6][2];
    static const char commands[] = "MLLML";
    for (size_t i = 0; i < 5; i++) {
        char *end;
        cr_assert_eq(*d, commands[i], "command %zu is %c", i, *d);
        at[i][0] = strtod(d + 1, &end);
        at[i][1] = strtod(end, &end);
        d = end;
    }
    cr_assert_eq(*d, '"', "more than five points");
    double step = at[1][0] - at[0][0];
    cr_expect(step > 0);
    cr_expect_float_eq(at[2][0] - at[1][0], step, 0.11);
    cr_expect_float_eq(at[3][0] - at[2][0], 2 * step, 0.11);
    /* y points down: 1, 4, 2, 3, 5 */
    double unit = (at[0][1] - at[4][1]) / 4;
    static const double rise[] = {0, 3, 1, 2, 4};
    for (size_t i = 0; i < 5; i++) cr_expect_float_eq(at[0][1] - at[i][1], rise[i] * unit, 0.11);
    cr_expect_eq(count(page, "<title>s, "), 5);
    free(page);
}

/* Labels of last values stand apart, in the order of the values, within the drawing. */
Test(report_values, last_values_do_not_touch) {
    static const double y[6][2] = {{1, 5}, {2, 5.01}, {3, 5.02}, {4, 1}, {5, 1.001}, {0, 1.002}};
    pleat_nn_series series[6];
    for (size_t i = 0; i < 6; i++) series[i] = (pleat_nn_series){"s", 2, y[i]};
    char *page = chart_of(6, series);
    double last_y = HUGE_VAL, last_value = -HUGE_VAL;
    cr_assert_eq(count(page, "class=\"value\""), 6);
    for (size_t i = 6; i-- > 0;) {
        const char *at = behind(page, "class=\"value\"", i);
        double place = strtod(behind(at, " y=\"", 0), NULL), value = strtod(behind(at, ">", 0), NULL);
        cr_expect(value > last_value, "%g above %g", last_value, value);
        cr_expect(last_y - place >= PLN_LINE - 0.11, "labels at %g and %g", place, last_y);
        cr_expect(place > 0 && place < 280, "a label at %g", place);
        last_y = place, last_value = value;
    }
    free(page);
}

Test(report_values, scatters_say_what_they_leave_out) {
    pleat_tensor *few = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(40, 2)),
                 *many = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(9000, 2));
    pleat_f64(few)[6] = NAN;
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_scatter(r, "few", few, NULL, 0, NULL);
    char *page = text_of(r);
    cr_expect_eq(count(page, "points is drawn"), 0);
    cr_expect_not_null(strstr(page, "1 points are left out"));
    cr_expect_eq(count(page, "<path class=\"sign c0\" d=\"M"), 39);
    free(page);
    r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_scatter(r, "many", many, NULL, 0, NULL);
    page = text_of(r);
    cr_expect_not_null(strstr(page, "One of 2 points is drawn"));
    cr_expect_null(strstr(page, "left out"));
    cr_expect_eq(count(page, "a3.5 3.5 0 1 0 7 0"), 4500);
    cr_expect_eq(count(page, "class=\"dots "), count(page, "class=\"dots c0"), "a class that is none");
    free(page);
    size_t labels[40] = {0};
    static const size_t wrong[] = {2, SIZE_MAX};
    for (size_t i = 0; i < 2; i++) {
        labels[7] = wrong[i];
        r = pleat_nn_report_new(ctx, "t", NULL);
        pleat_nn_report_scatter(r, "x", few, labels, 2, NULL);
        expect_error(r->status, PLEAT_ERR_ARGUMENT, "label 7 is");
        pleat_nn_report_free(r);
    }
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

Test(report_values, a_run_has_a_column_for_what_it_measured) {
    pleat_nn_epoch epochs[3];
    for (size_t i = 0; i < 3; i++)
        epochs[i] = (pleat_nn_epoch){0.5 / (double)(i + 1), NAN, NAN, NAN, 1e-3, 2, 1000};
    pleat_nn_run run = {PLEAT_NN_FINISHED, 3, 12, 2, epochs};
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_run(r, &run, NULL);
    char *page = text_of(r);
    cr_expect_not_null(strstr(page, "<dd>0.1667<small>training, epoch 3 (best)</small>"));
    cr_expect_eq(count(page, "loss<small>training"), 1);
    cr_expect_eq(count(page, "loss<small>validation"), 0);
    cr_expect(strstr(page, "\">0.5000<") && strstr(page, "\">0.2500<") && strstr(page, "\">0.1667<"),
              "four digits of the least");
    cr_expect_eq(count(page, "class=\"winner\""), 1);
    free(page);
    epochs[0].valid_loss = 0.75; /* of the first epoch alone */
    r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_run(r, &run, NULL);
    page = text_of(r);
    cr_expect_eq(count(page, "loss<small>validation"), 1);
    cr_expect_not_null(strstr(page, "\">0.7500<"));
    free(page);
}

Test(report_values, many_classes_are_a_list_of_confusions) {
    enum { N = 70 };
    static size_t counts[N * N];
    for (size_t k = 0; k < N; k++) counts[k * N + k] = 100;
    counts[3 * N + 5] = 7, counts[60 * N + 2] = 9, counts[5 * N + 3] = 7;
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_confusion(r, "c", N, counts, NULL);
    char *page = text_of(r);
    static const char *const rows[] = {"<tr><td>60</td><td>2</td><td class=\"number\">9<",
                                       "<tr><td>3</td><td>5</td><td class=\"number\">7<",
                                       "<tr><td>5</td><td>3</td><td class=\"number\">7<"};
    const char *before = page;
    cr_expect_eq(count(page, "<tr><td>"), 3);
    for (size_t i = 0; i < 3; i++) {
        const char *at = strstr(page, rows[i]);
        cr_assert(at && at > before, "%s", rows[i]);
        before = at;
    }
    cr_expect_not_null(strstr(page, "7,000 of 7,023 are right: 99.7 %"));
    free(page);
}

/* ---- pictures ----------------------------------------------------------------------------------------------------- */

#ifdef PL_HAVE_PNG
static void save_base64(const char *from, const char *path) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    FILE *f = fopen(path, "wb");
    unsigned bits = 0, have = 0;
    cr_assert_not_null(f);
    for (const char *d; *from && (d = strchr(digits, *from)) != NULL; from++) {
        bits = bits << 6 | (unsigned)(d - digits), have += 6;
        if (have >= 8) have -= 8, fputc((int)(bits >> have & 255), f);
    }
    fclose(f);
}

/* Of a filter with two channels the first is seen, from its own lowest value to its own highest. */
Test(report_values, a_filter_is_seen_in_its_own_range) {
    pleat_tensor *w = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(3, 2, 2, 3));
    for (size_t i = 0; i < 36; i++)
        pleat_f64(w)[i] = (double)(i / 12 + 1) * (double)(i * i % 7) + (double)(i / 12);
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_filters(r, "f", w);
    char *page = text_of(r);
    save_base64(behind(page, "base64,", 0), in_scratch("f.png"));
    pleat_tensor *x = pleat_nn_read_png(ctx, in_scratch("f.png"));
    cr_assert(pleat_size(x, 2) == 2 && pleat_size(x, 3) == 3 * 3 + 2, "%s", pleat_error(ctx)->text);
    for (size_t o = 0; o < 3; o++) {
        double low = HUGE_VAL, high = -HUGE_VAL;
        for (size_t k = 0; k < 6; k++)
            low = fmin(low, pleat_f64(w)[o * 12 + k]), high = fmax(high, pleat_f64(w)[o * 12 + k]);
        for (size_t k = 0; k < 6; k++) {
            double expected = (pleat_f64(w)[o * 12 + k] - low) / (high - low);
            double found = pleat_at(x, (size_t[]){0, 0, k / 3, o * 4 + k % 3});
            cr_expect_float_eq(found, expected, 0.003, "filter %zu, pixel %zu: %g instead of %g", o, k, found,
                               expected);
        }
    }
    free(page);
}
#endif

Test(report_values, null_is_refused_by_name) {
    static const char *const ops[] = {"report_images",  "report_filters",   "report_scatter",
                                      "report_summary", "report_confusion", "report_run",
                                      "report_chart"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
        if (i == 0) pleat_nn_report_images(r, "c", NULL, 1, 1);
        if (i == 1) pleat_nn_report_filters(r, "c", NULL);
        if (i == 2) pleat_nn_report_scatter(r, "c", NULL, NULL, 0, NULL);
        if (i == 3) pleat_nn_report_summary(r, NULL, PLEAT_SHAPE(1));
        if (i == 4) pleat_nn_report_confusion(r, "c", 2, NULL, NULL);
        if (i == 5) pleat_nn_report_run(r, NULL, NULL);
        if (i == 6) pleat_nn_report_chart(r, NULL);
        expect_error(r->status, PLEAT_ERR_ARGUMENT, ops[i]);
        pleat_nn_report_free(r);
    }
}

static void add(pleat_nn_report *r, size_t i) {
    static const double y[] = {1, 2, 3};
    static const size_t counts[] = {3, 1, 0, 2};
    static const char *const pairs[][2] = {{"a", "b"}};
    const pleat_nn_series series = {"s", 3, y};
    pleat_nn_epoch epochs[2] = {{.loss = 2, .valid_loss = 1}, {.loss = 1, .valid_loss = 3}};
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1, 3, 3)),
                 *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 1, 3, 3)),
                 *points = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 2));
    pleat_nn_module *m = pleat_nn_conv2d(ctx, 1, 2, .kernel = {3, 3});
    if (i == 0) pleat_nn_report_heading(r, "h");
    if (i == 1) pleat_nn_report_text(r, "t");
    if (i == 2) pleat_nn_report_table(r, 1, pairs);
    if (i == 3) pleat_nn_report_images(r, "c", x, 1, 1);
    if (i == 4) pleat_nn_report_images(r, "c", none, 1, 1);
    if (i == 5) pleat_nn_report_filters(r, "c", x);
    if (i == 6) pleat_nn_report_scatter(r, "c", points, NULL, 0, NULL);
    if (i == 7) pleat_nn_report_summary(r, m, PLEAT_SHAPE(1, 1, 5, 5));
    if (i == 8) pleat_nn_report_confusion(r, "c", 2, counts, NULL);
    if (i == 9) pleat_nn_report_run(r, &(pleat_nn_run){.epochs = 2, .epoch = epochs}, NULL);
    if (i == 10) pleat_nn_report_chart(r, &(pleat_nn_chart){.title = "c", .count = 1, .series = &series});
    pleat_nn_free(m);
}

/* What had no memory is not looked for when the page is written. */
Test(report_values, each_addition_says_what_it_had_no_memory_for) {
    static const char *const ops[] = {"report_heading", "report_text",    "report_table",
                                      "report_images",  "report_images",  "report_filters",
                                      "report_scatter", "report_summary", "report_confusion",
                                      "report_chart",   "report_chart"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
        r->page.lost = true;
        add(r, i);
        expect_error(r->status, PLEAT_ERR_MEMORY, ops[i]);
        pleat_nn_report_free(r);
    }
}

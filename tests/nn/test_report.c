/* The report: a well-formed page whatever it is given, drawings that stay within their frame, pictures that are PNG, and clean
 * errors. */
#define _POSIX_C_SOURCE 200809L

#include <ctype.h>
#include <math.h>

#include "mallocs.h"
#include "pleat_config.h"
#include "scratch.h"

TestSuite(report, .init = scratch_begin, .fini = scratch_end);

/* ---- a small reader of pages ---------------------------------------------------------------------------------- */

static const char *const empty_elements[] = {"meta", "img", "br", "hr", "link", "input", "col", NULL};

static bool is_one_of(const char *name, size_t n, const char *const *list) {
    for (; *list; list++)
        if (strlen(*list) == n && !strncmp(name, *list, n)) return true;
    return false;
}

/* A text has no bare <, > or & and no control characters. */
static const char *wrong_text(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '<' || s[i] == '>') return "a bare < or >";
        if ((unsigned char)s[i] < ' ' && s[i] != '\n' && s[i] != '\t') return "a control character";
        if (s[i] != '&') continue;
        size_t k = i + 1;
        while (k < n && (isalnum((unsigned char)s[k]) || s[k] == '#')) k++;
        if (k == i + 1 || k == n || s[k] != ';') return "a bare &";
    }
    return NULL;
}

/* Attributes are name="value" or a name alone. Returns the end of the tag, or NULL. */
static const char *tag_end(const char *at) {
    bool quoted = false;
    for (; *at; at++) {
        if (*at == '"') quoted = !quoted;
        if (quoted && (*at == '<' || *at == '>')) return NULL;
        if (!quoted && *at == '>') return at;
        if (!quoted && *at == '<') return NULL;
    }
    return NULL;
}

/* What is wrong with the page, or NULL. */
static const char *wrong_page(const char *page) {
    struct {
        const char *name;
        size_t n;
    } open[64];
    size_t depth = 0;
    if (strncmp(page, "<!doctype html>", 15) && strncmp(page, "<!DOCTYPE html>", 15)) return "no doctype";
    for (const char *at = page + 15; *at;) {
        if (*at != '<') {
            size_t n = strcspn(at, "<");
            bool style = depth && open[depth - 1].n == 5 && !strncmp(open[depth - 1].name, "style", 5);
            const char *wrong = style ? NULL : wrong_text(at, n);
            if (wrong) return wrong;
            at += n;
            continue;
        }
        bool closing = at[1] == '/';
        const char *name = at + 1 + closing, *end = tag_end(at + 1);
        size_t n = strcspn(name, " />\n\t");
        if (!end) return "a tag without an end";
        if (closing) {
            if (!depth || open[depth - 1].n != n || strncmp(open[depth - 1].name, name, n))
                return "tags cross";
            depth--;
        } else if (end[-1] != '/' && !is_one_of(name, n, empty_elements)) {
            if (depth == 64) return "too deep";
            open[depth].name = name;
            open[depth++].n = n;
        }
        at = end + 1;
    }
    return depth ? "a tag is left open" : NULL;
}

static size_t count(const char *page, const char *part) {
    size_t n = 0;
    for (; (page = strstr(page, part)); page++) n++;
    return n;
}

/* The page that r makes; frees r. The caller frees the page. */
static char *page_of(pleat_nn_report *r) {
    size_t bytes;
    cr_assert_eq(pleat_nn_report_write(r, in_scratch("r.html")), PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_report_free(r);
    char *page = (char *)get_file(in_scratch("r.html"), &bytes);
    cr_assert_eq(strlen(page), bytes);
    const char *wrong = wrong_page(page);
    cr_assert_null(wrong, "%s", wrong);
    static const char *const reaches_out[] = {"<script",  "src=\"http", "href=\"http",
                                              "url(http", "@import",    "<link rel=\"style"};
    for (size_t i = 0; i < sizeof reaches_out / sizeof *reaches_out; i++)
        cr_assert_null(strstr(page, reaches_out[i]), "not self-contained: %s", reaches_out[i]);
    static const char *const no_numbers[] = {"\"nan", "\"inf", "\"-inf", " nan", ",nan", ">nan", ">inf"};
    for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; i++)
        cr_assert_null(strstr(page, no_numbers[i]), "a number that is none: %s", no_numbers[i]);
    return page;
}

/* ---- texts ---------------------------------------------------------------------------------------------------- */

Test(report, escapes_whatever_comes) {
    const char *bad = "<b>&\"'</td>\x01\x1b[31m \xff\xc3 \xe2\x82\xac";
    pleat_nn_report *r = pleat_nn_report_new(ctx, bad, bad);
    const char *const pairs[][2] = {{bad, bad}, {"a", ""}};
    pleat_nn_report_heading(r, bad);
    pleat_nn_report_text(r, bad);
    pleat_nn_report_text(r, "");
    pleat_nn_report_table(r, 2, pairs);
    const double y[] = {1, 2};
    pleat_nn_series series = {bad, 2, y};
    pleat_nn_report_chart(
        r, &(pleat_nn_chart){.title = bad, .x_name = bad, .y_name = bad, .count = 1, .series = &series});
    char *page = page_of(r);
    cr_assert(strstr(page, "&lt;b&gt;&amp;") && strstr(page, "\xef\xbf\xbd") && strstr(page, "\xe2\x82\xac"));
    cr_assert(strstr(page, "viewport") && strstr(page, "charset") &&
              strstr(page, "prefers-color-scheme:dark"));
    free(page);
}

/* ---- drawings --------------------------------------------------------------------------------------------------- */

/* All numbers of the attribute lie in low..high. */
static void expect_within(const char *page, const char *attribute, double low, double high) {
    for (; (page = strstr(page, attribute)); page++) {
        char *end;
        double v = strtod(page + strlen(attribute), &end);
        if (end == page + strlen(attribute)) continue;
        cr_assert(v >= low && v <= high, "%s%g", attribute, v);
    }
}

Test(report, charts_take_any_numbers) {
    static double many[5000];
    for (size_t i = 0; i < 5000; i++) many[i] = sin((double)i / 300) * (i % 7 == 0 ? NAN : 1);
    const double odd[] = {NAN, 1, INFINITY, -INFINITY, 2, NAN}, huge[] = {1e300, -1e300, 1e-300},
                 flat[] = {3, 3, 3};
    const pleat_nn_series series[] = {{"none", 0, NULL}, {"odd", 6, odd},  {"huge", 3, huge},
                                      {"flat", 3, flat}, {"one", 1, flat}, {"many", 5000, many},
                                      {"lost", 1, odd}};
    for (int log = 0; log < 2; log++) {
        pleat_nn_report *r = pleat_nn_report_new(ctx, "charts", NULL);
        for (size_t i = 0; i < 7; i++)
            pleat_nn_report_chart(
                r, &(pleat_nn_chart){.title = "c", .count = 1, .series = &series[i], .log_y = log});
        pleat_nn_report_chart(r,
                              &(pleat_nn_chart){.title = "all", .count = 7, .series = series, .log_y = log});
        pleat_nn_report_chart(r, &(pleat_nn_chart){.title = "nothing", .count = 0});
        char *page = page_of(r);
        cr_assert_geq(count(page, "<svg"), 7);
        cr_assert_lt(strlen(page), 400000, "%zu bytes", strlen(page));
        expect_within(page, " x=\"", -100, 2000);
        expect_within(page, " y=\"", -100, 2000);
        free(page);
    }
}

Test(report, scatters_take_any_points) {
    pleat_tensor *points = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(300, 2));
    pleat_f32(points)[4] = (float)NAN;
    pleat_f32(points)[9] = (float)INFINITY;
    size_t labels[300];
    for (size_t i = 0; i < 300; i++) labels[i] = i % 12;
    const char *const names[12] = {"a", "<b>", NULL, "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    pleat_nn_report *r = pleat_nn_report_new(ctx, "points", NULL);
    pleat_nn_report_scatter(r, "map", points, labels, 12, names);
    pleat_nn_report_scatter(r, "no names", points, labels, 12, NULL);
    pleat_nn_report_scatter(r, "no labels", points, NULL, 0, NULL);
    pleat_nn_report_scatter(r, "nothing", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2)), NULL, 0, NULL);
    free(page_of(r));
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

Test(report, shows_a_run_and_its_network) {
    pleat_nn_epoch epochs[120];
    for (size_t i = 0; i < 120; i++)
        epochs[i] = (pleat_nn_epoch){1.0 / (double)(i + 1), 0.5, 1.1 / (double)(i + 1), NAN, 1e-3, 2, 1000};
    pleat_nn_run run = {PLEAT_NN_STOPPED, 120, 1200, 77, epochs}, none = {.outcome = PLEAT_NN_FAILED};
    pleat_nn_module *net = pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 4, .kernel = {3, 3}),
                                               pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 16, 2));
    const size_t confusions[9] = {5, 1, 0, 0, 9, 2, 0, 0, 0};
    pleat_nn_report *r = pleat_nn_report_new(ctx, "run", NULL);
    pleat_nn_report_run(r, &run, "accuracy <%>");
    pleat_nn_report_run(r, &none, NULL);
    pleat_nn_report_summary(r, net, PLEAT_SHAPE(1, 1, 4, 4));
    pleat_nn_report_confusion(r, "confusions", 3, confusions, NULL);
    pleat_nn_report_filters(r, "filters", pleat_nn_param(net, 0));
    char *page = page_of(r);
    cr_assert(strstr(page, "Conv2d(1, 4, kernel 3x3)") && strstr(page, "multiply-adds"));
    cr_assert_leq(count(page, "<tr"), 80, "%zu rows", count(page, "<tr"));
    free(page);
    pleat_nn_free(net);
}

/* ---- pictures ----------------------------------------------------------------------------------------------------- */

static int base64_value(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

Test(report, pictures_are_png) {
    pleat_nn_report *r = pleat_nn_report_new(ctx, "pictures", NULL);
    pleat_nn_report_images(r, "grey", pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(5, 1, 7, 4), 0, 1), 3, 2);
    pleat_nn_report_images(r, "colour", pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3, 4, 4), 0, 1), 2, 1);
    char *page = page_of(r);
#ifdef PL_HAVE_PNG
    static const unsigned char signature[8] = {137, 80, 78, 71, 13, 10, 26, 10};
    cr_assert_eq(count(page, "src=\"data:image/png;base64,"), 2);
    const char *at = strstr(page, "base64,") + 7;
    unsigned bits = 0;
    for (size_t i = 0, have = 0, n = 0; n < 8; i++) {
        cr_assert(base64_value(at[i]) >= 0);
        bits = bits << 6 | (unsigned)base64_value(at[i]);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        cr_assert_eq(bits >> have & 255, signature[n++]);
    }
    cr_assert_not_null(strstr(page, " alt=\"grey: 5 images of 4 by 7 pixels, 3 in a row\""));
    cr_assert_not_null(strstr(page, " alt=\"colour: 2 images of 4 by 4 pixels, 2 in a row\""));
    FILE *f = fopen(in_scratch("p.png"), "wb");
    size_t digits = strcspn(at, "=\""), have = 0;
    bits = 0;
    for (size_t i = 0; i < digits; i++) {
        bits = bits << 6 | (unsigned)base64_value(at[i]);
        have += 6;
        if (have >= 8) have -= 8, fputc((int)(bits >> have & 255), f);
    }
    fclose(f);
    pleat_tensor *x = pleat_nn_read_png(ctx, in_scratch("p.png"));
    cr_assert(pleat_size(x, 2) == 2 * 7 + 1 && pleat_size(x, 3) == 3 * 4 + 2, "%s", pleat_error(ctx)->text);
#else
    (void)base64_value;
    cr_assert(strstr(page, "libpng"));
#endif
    free(page);
}

/* ---- errors ------------------------------------------------------------------------------------------------------- */

Test(report, says_what_is_wrong) {
    pleat_nn_report *r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_text(r, "fine");
    expect_error(pleat_nn_report_write(r, "/nowhere/r.html"), PLEAT_ERR_IO, "cannot write /nowhere/r.html");
    pleat_nn_report_free(r);
    r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_images(r, "x", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2)), 2, 1);
    expect_error(pleat_nn_report_write(r, in_scratch("r.html")), PLEAT_ERR_SHAPE, "[2,2]");
    cr_assert_neq(access(in_scratch("r.html"), F_OK), 0);
    pleat_nn_report_free(r);
    r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_scatter(r, "x", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3)), NULL, 0, NULL);
    expect_error(pleat_nn_report_write(r, in_scratch("r.html")), PLEAT_ERR_SHAPE, "[2,3]");
    pleat_nn_report_free(r);
    r = pleat_nn_report_new(ctx, "t", NULL);
    pleat_nn_report_run(r, NULL, NULL);
    expect_error(pleat_nn_report_write(r, in_scratch("r.html")), PLEAT_ERR_ARGUMENT, "report_run");
    pleat_nn_report_free(r);
    pleat_nn_report_free(NULL);
    pleat_nn_report_text(NULL, "x");
    pleat_nn_report_chart(NULL, NULL);
}

Test(report, survives_any_failing_allocation) {
    if (!mallocs_are_counted()) scratch_skip("the sanitizer has a malloc of its own");
    if (!mallocs_are_counted()) return;
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(3, 1, 4, 4), 0, 1);
    const double y[] = {1, 2, 3};
    const pleat_nn_series series = {"s", 3, y};
    bool done = false;
    for (size_t n = 1; !done && n < 500; n++) {
        mallocs_start_failing(n);
        pleat_nn_report *r = pleat_nn_report_new(ctx, "t", "about");
        pleat_nn_report_chart(r, &(pleat_nn_chart){.title = "c", .count = 1, .series = &series});
        pleat_nn_report_images(r, "x", x, 2, 1);
        pleat_status s = r ? pleat_nn_report_write(r, in_scratch("r.html")) : PLEAT_ERR_MEMORY;
        mallocs_stop();
        pleat_nn_report_free(r);
        done = s == PLEAT_OK;
        cr_assert(done || s == PLEAT_ERR_MEMORY || s == PLEAT_ERR_IO, "%zu: %s", n, pleat_error(ctx)->text);
        cr_assert(done || pleat_error(ctx)->code != PLEAT_OK);
        pleat_clear_error(ctx);
        if (!done) remove(in_scratch("r.html"));
    }
    cr_assert(done);
}

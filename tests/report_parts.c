/* What reports are made of: numbers as text, axes, and the escaping of texts. */
#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/report.h"

TestSuite(report_parts);

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static void expect_text(pln_digits found, const char *expected) {
    cr_expect_str_eq(found.s, expected, "\"%s\" instead of \"%s\"", found.s, expected);
}

static void check_numbers(void) {
    expect_text(pln_tenths(12.34), "12.3");
    expect_text(pln_tenths(-0.01), "0");
    expect_text(pln_tenths(480), "480");
    expect_text(pln_tenths(-7.96), "-8");
    expect_text(pln_fixed(0.5, 4), "0.5000");
    expect_text(pln_fixed(-2.25, 0), "-2");
    expect_text(pln_short(0, 4), "0");
    expect_text(pln_short(0.012345, 4), "0.01235");
    expect_text(pln_short(-0.5, 4), "-0.5");
    expect_text(pln_short(123456.7, 4), "123457");
    expect_text(pln_short(1200, 2), "1200");
    expect_text(pln_short(1.5e-7, 4), "1.5e-7");
    expect_text(pln_short(-2e6, 4), "-2e6");
    expect_text(pln_short(1e300, 3), "1e300");
    expect_text(pln_short(NAN, 4), "\u2013");
    expect_text(pln_short(INFINITY, 4), "\u221e");
    expect_text(pln_short(-INFINITY, 4), "-\u221e");
    expect_text(pln_scientific(0, 3), "0");
    expect_text(pln_scientific(-1234, 3), "-1.23e3");
    expect_text(pln_count(0), "0");
    expect_text(pln_count(999), "999");
    expect_text(pln_count(1000), "1,000");
    expect_text(pln_count(12345678), "12,345,678");
    expect_text(pln_scaled(999), "999");
    expect_text(pln_scaled(28224), "28.2 k");
    expect_text(pln_scaled(999999), "1 M");
    expect_text(pln_scaled(3.5e15), "3500 T");
    expect_text(pln_duration(3.21), "3.2 s");
    expect_text(pln_duration(59.4), "59 s");
    expect_text(pln_duration(59.6), "1 min 00 s");
    expect_text(pln_duration(192), "3 min 12 s");
    expect_text(pln_duration(3599.7), "1 h 00 min");
    expect_text(pln_duration(NAN), "\u2013");
    expect_text(pln_duration(-1), "\u2013");
}

Test(report_parts, numbers_are_short) { check_numbers(); }

/* A locale with a decimal comma, if this machine has one. */
Test(report_parts, numbers_have_a_point_in_every_locale) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8",
                                        "es_ES.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
        found = setlocale(LC_NUMERIC, names[i]);
    if (!found) cr_skip_test("no locale with a comma here");
    check_numbers();
}

/* ---- axes ------------------------------------------------------------------------------------------------------- */

/* Ticks rise, differ by their labels, and lie where they should; the range is covered. */
static void check_axis(pln_axis_args args) {
    pln_axis a = pln_axis_new(args);
    a.from = 50, a.to = 450;
    double low = args.range.low, high = args.range.high;
    cr_assert(isfinite(a.low) && isfinite(a.high) && a.low < a.high, "%g..%g: %g..%g", low, high, a.low,
              a.high);
    if (low <= high)
        cr_assert(a.low <= low && a.high >= high, "%g..%g is not in %g..%g", low, high, a.low, a.high);
    cr_assert(a.ticks >= 1 && a.ticks < PLN_TICKS, "%g..%g: %zu ticks", low, high, a.ticks);
    for (size_t i = 0; i < a.ticks; i++) {
        double place = pln_axis_at(&a, a.tick[i]), said = strtod(a.label[i].s, NULL);
        cr_assert(place >= 50 && place <= 450 && strlen(a.label[i].s) < 16, "%s at %g", a.label[i].s, place);
        cr_assert(fabs(said - a.tick[i]) <= 1e-6 * fmax(fabs(a.low), fabs(a.high)), "%.17g is called %s",
                  a.tick[i], a.label[i].s);
        if (i)
            cr_assert(a.tick[i] > a.tick[i - 1] && strcmp(a.label[i].s, a.label[i - 1].s), "%g..%g", low,
                      high);
    }
}

static void check_range(double low, double high) {
    for (int kind = 0; kind < 8; kind++)
        for (size_t most = 2; most < 9; most += 3) {
            pln_axis_args args = {{low, high}, most, kind & 1, kind & 2, kind & 4};
            if (args.whole &&
                (low != floor(low) || high != floor(high) || fabs(low) > 1e9 || fabs(high) > 1e9))
                continue;
            check_axis(args);
        }
}

Test(report_parts, axes_take_any_range) {
    static const double v[] = {0,      1,     2,      -3,    0.1,    1e-5,   1e-12, 1e-290, 5e-324,
                               1e-200, 1e300, -1e300, 1e200, 1e6,    999999, 1e-3,  0.999,  100,
                               3000,   12,    -1e-7,  7e8,   1.0001, 1e-289, 2e-4,  1e299,  0.3};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        for (size_t j = 0; j < sizeof v / sizeof *v; j++)
            if (v[i] <= v[j]) check_range(v[i], v[j]);
    check_range(HUGE_VAL, -HUGE_VAL);
    pleat_rng rng = pleat_rng_new(1, 0);
    for (int i = 0; i < 3000; i++) {
        double low = pleat_rng_normal(&rng) * pow(10, 12 * pleat_rng_normal(&rng));
        double high = low + fabs(low) * pow(10, 4 * pleat_rng_normal(&rng));
        check_range(low, high);
    }
}

Test(report_parts, axes_have_round_numbers) {
    pln_axis a = pln_axis_new((pln_axis_args){.range = {0.21, 0.78}, .most = 5, .grow = true});
    cr_assert(a.ticks == 4 && a.low == 0.2 && fabs(a.high - 0.8) < 1e-12);
    expect_text(a.label[3], "0.8");
    a = pln_axis_new((pln_axis_args){.range = {1, 10}, .most = 7, .whole = true});
    cr_assert(a.ticks == 5 && a.low == 1 && a.high == 10);
    expect_text(a.label[0], "2");
    a = pln_axis_new((pln_axis_args){.range = {1, 2}, .most = 7, .whole = true});
    cr_assert(a.ticks == 2);
    a = pln_axis_new((pln_axis_args){.range = {7, 7}, .most = 7, .whole = true});
    cr_assert(a.ticks == 1);
    expect_text(a.label[0], "7");
    a = pln_axis_new((pln_axis_args){.range = {0.03, 40}, .most = 5, .log = true});
    cr_assert(a.log && a.ticks == 3 && a.low == 0.02 && a.high == 50);
    expect_text(a.label[0], "0.1");
    cr_expect_float_eq(pln_axis_at(&a, 1), (0 - log10(0.02)) / log10(2500), 1e-12);
    a = pln_axis_new((pln_axis_args){.range = {0, 40}, .most = 5, .log = true});
    cr_assert(!a.log, "0 has no logarithm");
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

static void expect_page(pln_page p, const char *expected) {
    cr_expect(!p.lost && p.length == strlen(expected) && (!p.length || !memcmp(p.text, expected, p.length)),
              "\"%.*s\" instead of \"%s\"", (int)p.length, p.text ? p.text : "", expected);
    free(p.text);
}

#define NO "\xef\xbf\xbd" /* U+FFFD */

Test(report_parts, texts_are_escaped) {
    static const char *const cases[][2] = {
        {"", ""},
        {"a <b> & \"c\" 'd'", "a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;"},
        {"line\nnext\tcolumn\r", "line\nnext\tcolumn"},
        {"\x01\x07\x1b[31m\x7f", "[31m"},
        {"\xc2\x85\xc2\xa0", "\xc2\xa0"}, /* a control character, a space */
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82"},
        {"\xff", NO},
        {"a\x80z", "a" NO "z"},
        {"\xc3", NO}, /* cut off */
        {"\xe2\x82", NO NO},
        {"\xe2\x82<", NO NO "&lt;"},
        {"\xc0\xbc", NO NO}, /* a "<" that is longer than need be */
        {"\xe0\x80\xbc", NO NO NO},
        {"\xf0\x80\x80\xbc", NO NO NO NO},
        {"\xed\xa0\x80", NO NO NO},                               /* a surrogate */
        {"\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"}, /* their neighbours */
        {"\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd"},
        {"\xf4\x90\x80\x80", NO NO NO NO}, /* beyond the last */
        {"\xf8\x88\x80\x80\x80", NO NO NO NO NO},
        {"\xef\xbf\xbe", NO NO NO}, /* no character */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pln_page p = {0};
        pln_text(&p, cases[i][0]);
        expect_page(p, cases[i][1]);
    }
    pln_page p = {0};
    pln_text(&p, NULL);
    expect_page(p, "");
}

/* RFC 4648, section 10. */
Test(report_parts, bytes_become_base64) {
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe\xfb", "//77"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pln_page p = {0};
        pln_base64(&p, cases[i][0], strlen(cases[i][0]));
        expect_page(p, cases[i][1]);
    }
}

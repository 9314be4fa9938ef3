/* Numbers as text, for people and for drawings. printf's decimal point is the locale's, which a drawing does not understand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/report.h"

#define NO_VALUE "\u2013" /* a dash */

/* A point for whatever the locale has, no zeros at the end of a fraction, if `trim`, and none before an exponent:
 * "1,50e-07" -> "1.5e-7". */
static pln_digits tidy(const char *s, bool trim) {
    pln_digits d = {{0}};
    size_t n = strspn(s, "-0123456789");
    memcpy(d.s, s, n);
    s += n + strcspn(s + n, "e0123456789");
    size_t fraction = strspn(s, "0123456789"), kept = fraction;
    while (trim && kept && s[kept - 1] == '0') kept--;
    if (kept) {
        d.s[n++] = '.';
        memcpy(d.s + n, s, kept), n += kept;
    }
    s += fraction;
    if (*s != 'e') return d;
    int exponent = atoi(s + 1);
    if (exponent) snprintf(d.s + n, sizeof d.s - n, "e%d", exponent);
    return d;
}

pln_digits pln_fixed(double v, int decimals) {
    char text[32];
    snprintf(text, sizeof text, "%.*f", decimals, v);
    return tidy(text, false);
}

pln_digits pln_tenths(double v) {
    char text[32];
    snprintf(text, sizeof text, "%.1f", v);
    return tidy(strcmp(text, "-0.0") ? text : "0", true);
}

pln_digits pln_scientific(double v, int digits) {
    char text[64];
    snprintf(text, sizeof text, "%.*e", digits > 1 ? digits - 1 : 0, v);
    return v == 0 ? (pln_digits){"0"} : tidy(text, true);
}

pln_digits pln_short(double v, int digits) {
    char text[64];
    double size = fabs(v);
    if (isnan(v)) return (pln_digits){NO_VALUE};
    if (isinf(v)) return v > 0 ? (pln_digits){"\u221e"} : (pln_digits){"-\u221e"};
    if (size >= 1e6 || size < 1e-4) return pln_scientific(v, digits);
    int decimals = digits - 1 - (int)floor(log10(size));
    snprintf(text, sizeof text, "%.*f", decimals > 0 ? decimals : 0, v);
    return tidy(text, true);
}

pln_digits pln_count(double v) {
    char text[32];
    pln_digits d = {{0}};
    if (!(v < 1e15)) return pln_short(v, 4);
    int n = snprintf(text, sizeof text, "%.0f", v);
    char *to = d.s;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) *to++ = ',';
        *to++ = text[i];
    }
    return d;
}

pln_digits pln_scaled(double v) {
    static const char *const units[] = {"k", "M", "G", "T"};
    size_t unit = 0;
    if (!(v >= 1000)) return pln_count(v);
    for (v /= 1000; v >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++) v /= 1000;
    pln_digits number = pln_short(v, 3), d;
    snprintf(d.s, sizeof d.s, "%.30s %s", number.s, units[unit]);
    return d;
}

pln_digits pln_duration(double seconds) {
    pln_digits d;
    if (!(seconds >= 0 && seconds < 1e9)) return (pln_digits){NO_VALUE};
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (seconds < 9.95)
        snprintf(d.s, sizeof d.s, "%.30s s", pln_fixed(seconds, 1).s);
    else if (s < 60)
        snprintf(d.s, sizeof d.s, "%lu s", s);
    else if (s < 3600)
        snprintf(d.s, sizeof d.s, "%lu min %02lu s", s / 60, s % 60);
    else
        snprintf(d.s, sizeof d.s, "%lu h %02lu min", s / 3600, s / 60 % 60);
    return d;
}

/* Numbers as text, for people and for drawings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"

#define NO_VALUE "\u2013" /* a dash */

/* No zeros at the end of a fraction, and none before an exponent: "1.50e-07" -> "1.5e-7". */
static pln_digits tidy(pln_digits d) {
    char *e = strchr(d.s, 'e'), *end = e ? e : d.s + strlen(d.s);
    int exponent = e ? atoi(e + 1) : 0;
    if (strchr(d.s, '.')) {
        while (end[-1] == '0') end--;
        if (end[-1] == '.') end--;
    }
    *end = '\0';
    if (exponent) snprintf(end, sizeof d.s - (size_t)(end - d.s), "e%d", exponent);
    return d;
}

pln_digits pln_tenths(double v) {
    pln_digits d = tidy(pln_fixed(v, 1));
    return strcmp(d.s, "-0") ? d : (pln_digits){"0"};
}

pln_digits pln_scientific(double v, int digits) {
    return v == 0 ? (pln_digits){"0"} : tidy(pln_exponent(v, digits > 1 ? digits - 1 : 0));
}

pln_digits pln_short(double v, int digits) {
    double size = fabs(v);
    if (isnan(v)) return (pln_digits){NO_VALUE};
    if (isinf(v)) return v > 0 ? (pln_digits){"\u221e"} : (pln_digits){"-\u221e"};
    if (size >= 1e6 || size < 1e-4) return pln_scientific(v, digits);
    int decimals = digits - 1 - pln_decade(size);
    return tidy(pln_fixed(v, decimals > 0 ? decimals : 0));
}

pln_digits pln_count(double v) {
    pln_digits d = {{0}}, digits = pln_fixed(v, 0);
    if (!(v < 1e15)) return pln_short(v, 4);
    size_t n = strlen(digits.s);
    char *to = d.s;
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) *to++ = ',';
        *to++ = digits.s[i];
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

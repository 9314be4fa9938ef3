/* Floating numbers as text and back, in the locale "C". It is part of the C library, so newlocale allocates
 * nothing. It is set for this thread only, so other threads of the program are not affected. */
#define _POSIX_C_SOURCE 200809L

#include "files/numbers.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static locale_t enter(void) { return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0)); }

static pln_digits print(const char *format, int precision, double v) {
    pln_digits text;
    locale_t before = enter();
    snprintf(text.s, sizeof text.s, format, precision, v);
    uselocale(before);
    return text;
}

pln_digits pln_number(double v) { return print("%.*g", 17, v); }
pln_digits pln_rounded(double v, int digits) { return print("%.*g", digits, v); }
pln_digits pln_fixed(double v, int decimals) { return print("%.*f", decimals, v); }
pln_digits pln_exponent(double v, int decimals) { return print("%.*e", decimals, v); }

double pln_power_of_ten(int e) {
    char text[16];
    double v;
    snprintf(text, sizeof text, "1e%d", e);
    return pln_decimal(text, strlen(text), &v) ? v : HUGE_VAL;
}

/* The double next to a power of ten may be below it; 17 decimals show that. */
int pln_decade(double v) {
    int e = atoi(strchr(pln_exponent(v, 17).s, 'e') + 1);
    return fabs(v) >= pln_power_of_ten(e + 1) ? e + 1 : e;
}

bool pln_read_number(const char **at, double *v) {
    pln_digits text;
    size_t n = strcspn(*at, " ");
    if (!n || n >= sizeof text.s) return false;
    memcpy(text.s, *at, n);
    text.s[n] = 0;
    locale_t before = enter();
    *v = strtod(text.s, NULL);
    uselocale(before);
    if (strcmp(pln_number(*v).s, text.s)) return false;
    *at += n + ((*at)[n] == ' ');
    return true;
}

bool pln_decimal(const char *text, size_t n, double *v) {
    char copy[64], *end;
    if (!n || n >= sizeof copy || strspn(text, "+-.0123456789eE") < n) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    locale_t before = enter();
    *v = strtod(copy, &end);
    uselocale(before);
    return end == copy + n && isfinite(*v);
}

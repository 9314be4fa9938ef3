/* numbers.h: floating numbers as text and back, with a decimal point in every locale. printf, scanf and
 * strtod use the decimal point of the locale, and a file could not be read in another one. So no other file
 * of nn/ passes a floating number to them. */
#ifndef PLN_NUMBERS_H
#define PLN_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

/* Returned by value, so that it can be an argument: pln_number(x).s */
typedef struct pln_digits {
    char s[40];
} pln_digits;

pln_digits pln_number(double v);                 /* reads back exactly: 17 digits tell all doubles apart */
pln_digits pln_rounded(double v, int digits);    /* printf's %g: "0.125", "1.25e-07" */
pln_digits pln_fixed(double v, int decimals);    /* %f: "0.1250"; |v| < 1e20 */
pln_digits pln_exponent(double v, int decimals); /* %e: "1.250e-01" */

double pln_power_of_ten(int e); /* the nearest double; infinity beyond all */
int pln_decade(double v);       /* the largest e whose power of ten is at most |v|, which is not 0 */

/* Read the number at *at, followed by a blank or the end, into *v, and move *at past the blank. False if it
 * is not in the form that pln_number writes. */
bool pln_read_number(const char **at, double *v);

/* The n characters as a finite decimal number, as people write it: "-1.50", "3", "2E5". False if they are
 * none. */
bool pln_decimal(const char *text, size_t n, double *v);

#endif

/* numbers.h: floating numbers as text and back, with a point in every locale. printf, scanf and strtod have the locale's point,
 * which would make files that another locale cannot read; so nothing else in nn/ gives them a floating number. */
#ifndef PLN_NUMBERS_H
#define PLN_NUMBERS_H

#include <stdbool.h>

/* A value, so that it can be an argument: pln_number(x).s */
typedef struct pln_digits {
    char s[40];
} pln_digits;

pln_digits pln_number(double v);                 /* reads back exactly: 17 digits tell all doubles apart */
pln_digits pln_rounded(double v, int digits);    /* printf's %g: "0.125", "1.25e-07" */
pln_digits pln_fixed(double v, int decimals);    /* %f: "0.1250"; |v| < 1e20 */
pln_digits pln_exponent(double v, int decimals); /* %e: "1.250e-01" */

/* The number at *at, which a blank or the end must follow, into *v; *at moves behind it and the blank. False if it is not as
 * pln_number writes it. */
bool pln_read_number(const char **at, double *v);

#endif

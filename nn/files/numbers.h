/* numbers.h: numbers as text that reads back exactly, and has a point in every locale. */
#ifndef PLN_NUMBERS_H
#define PLN_NUMBERS_H

#include <stdbool.h>

/* A value, so that it can be an argument: pln_number(x).s */
typedef struct pln_number_text {
    char s[40];
} pln_number_text;

pln_number_text pln_number(double v);

/* The number at *at, which a blank or the end must follow, into *v; *at moves behind it and the blank. False if it is not as
 * pln_number writes it. */
bool pln_read_number(const char **at, double *v);

#endif

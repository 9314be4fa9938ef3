/* functions_table.h: the functions of core/functions.h, in both types, with what they are to be. */
#ifndef FUNCTIONS_TABLE_H
#define FUNCTIONS_TABLE_H

#include <stdint.h>

typedef struct function {
    const char *name;
    double (*f64)(double x);
    float (*f32)(float x);
    double (*near)(double x);            /* to a few units of a double's last digit */
    long double (*exact)(long double x); /* to one of a long double's */
    double low, high;                    /* beyond there is nothing but 0, 1 or an infinity */
    double centre;                       /* where results are small */
    uint64_t hash;                       /* of results, see elementwise_functions.c */
} function;

enum { FUNCTIONS = 10 };
extern const function functions[FUNCTIONS];

#endif

/* What the parts of test_numerics share: problems of the convolution family as doubles, which the kernels compute on each path in
 * either type. */
#ifndef NUMERICS_H
#define NUMERICS_H

#include <criterion/criterion.h>

#include "geometry.h"
#include "reference.h"

enum { X, W, Y, OPERANDS };

typedef struct problem {
    pleat_conv_shape g;
    size_t n[OPERANDS];
    double *t[OPERANDS]; /* what an operator gives is overwritten */
} problem;

extern const pleat_conv_op conv_ops[3];
extern const char *const conv_names[3];
int result_of(pleat_conv_op op); /* X, W or Y */

/* Operands of small whole numbers. */
problem problem_new(const pleat_conv_shape *g, uint64_t seed);
void problem_free(problem p);
double *doubles(size_t n);

/* The definition's result is in p->t[result_of(op)] afterwards. */
void define(problem *p, pleat_conv_op op);

/* How the kernels are called, on the path that is tested. */
typedef struct calling {
    pleat_conv_op op;
    size_t element; /* sizeof(float), and all operands are rounded to it, or sizeof(double) */
    int threads;
    const double *bias; /* NULL: none */
    bool relu;
} calling;

/* What the kernels make of the other two operands; the caller frees it. Memory and result hold NaN before. */
double *compute(const problem *p, const calling *how);

/* Equal as numbers, and a NaN equals a NaN. The first element where they are not, or n. */
size_t first_difference(const double *a, const double *b, size_t n);

#endif

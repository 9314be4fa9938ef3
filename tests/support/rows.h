/* rows.h: the gradient of an op in a line: a row for each op and each way to use it, checked against difference quotients, and
 * the values and gradients that PyTorch gave. */
#ifndef ROWS_H
#define ROWS_H

#include "oracle.h"
#include "tensors.h"

enum {
    ROW_INPUTS = 3,
    ROW_ORDER = 3,
    SCALAR = 99, /* the rank of a scalar in a row */
};

typedef struct row {
    const char *name;
    pleat_function f;
    double low, high;        /* where the inputs are drawn */
    double kinks[2];         /* and what they keep away from, */
    bool sharp;              /* if there are kinks at all */
    size_t rank[ROW_INPUTS]; /* of the inputs; 0 behind the last one */
    size_t shape[ROW_INPUTS][4];
} row;

/* Derivatives of orders 1 to 3 of each row's function, and of its cube: linear ops have derivatives of all orders, too. */
void check_rows(const row *rows, size_t count);
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

/* A function of the inputs a, b, c. */
#define FUNCTION(name, expression)                                                     \
    static pleat_tensor *name(size_t n, pleat_tensor *const *xs, void *user) {         \
        pleat_tensor *a = xs[0], *b = n > 1 ? xs[1] : NULL, *c = n > 2 ? xs[2] : NULL; \
        (void)user, (void)a, (void)b, (void)c;                                         \
        return expression;                                                             \
    }

/* What PyTorch computed under `name` (oracle/arrays.py: gradients) and f agree, in f32 and f64: y = f(xs), its gradients along
 * u, and the gradients of their sum of squares. */
void expect_op(const oracle *o, const char *name, pleat_function f);

#endif

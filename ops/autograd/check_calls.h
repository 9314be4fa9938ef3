/* check_calls.h: a pair of functions on plain arrays, as the checks of pleat_check.h call it: with arrays of
 * double, whatever its own type is, and with a watch over everything that it does to memory. */
#ifndef PL_CHECK_CALLS_H
#define PL_CHECK_CALLS_H

#include "autograd/pleat_check.h"
#include "core/core.h"

/* An array of the functions' type, with PL_GUARD bytes on either side that must not change. */
enum { PL_GUARD = 64 };
typedef struct pl_guarded {
    const char *name;
    unsigned char *block;
    size_t n; /* reals */
} pl_guarded;

typedef struct pl_check_pair pl_check_pair;
struct pl_check_pair {
    const char *what;     /* "gradient", "vjp", "adjoint" */
    const char *names[2]; /* of the functions */
    /* they compute y from x, and gx from gy (and x) */
    void (*forward)(const pl_check_pair *p), (*back)(const pl_check_pair *p);
    const void *args; /* the caller's */
    size_t n, m;      /* reals: twice as many as numbers if these are complex */
    bool f32, is_complex;
    bool scalar; /* one function value, whose cotangent is 1 */
    bool linear;
    const void *at, *sizes; /* [n], of the functions' type; or NULL */
    int tries;
    double tolerance;
    uint64_t seed;
    pl_guarded x, y, gy, gx;
    double fill; /* what stands in an output before the call */
    pleat_check_report report;
};

/* The elements of a guarded array, for the functions. */
void *pl_data(const pl_guarded *g);

/* Element i of an array of the pair's type; v rounded to it; its epsilon. */
double pl_element_of(const pl_check_pair *p, const void *array, size_t i);
double pl_round(const pl_check_pair *p, double v);
double pl_epsilon(const pl_check_pair *p);

/* Make the arrays, and room for `of_n` arrays of n doubles and `of_m` of m. NULL, with a report, if memory is
 * short. pl_check_pair_end frees all, also then. */
double *pl_check_pair_begin(pl_check_pair *p, size_t of_n, size_t of_m);
pleat_verdict pl_check_pair_end(pl_check_pair *p, double *room, pleat_check_report *out);

/* Call a function: y = f(x), and gx = back(x, gy). All arrays are doubles that the type can represent. False,
 * with a report, if the function does what it must not do to memory. */
bool pl_forward(pl_check_pair *p, const double *x, double *y);
bool pl_back(pl_check_pair *p, const double *x, const double *gy, double *gx);

/* Call it twice, on outputs that hold other values before, and once more if the results differ. False, with a
 * report, if they do. `again` is room for another result. x is not read by the adjoint of a linear pair. */
bool pl_forward_steadily(pl_check_pair *p, const double *x, double *y, double *again);
bool pl_back_steadily(pl_check_pair *p, const double *x, const double *gy, double *gx, double *again);

/* Write the report; returns false. The text begins with what is checked. */
bool pl_verdict(pl_check_pair *p, pleat_verdict v, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* "element 3", or "the imaginary part of element 1". */
pl_text pl_place(const pl_check_pair *p, size_t i);

/* Sums with the rounding errors added at the end (Neumaier 1974); sums of squares, without overflow. */
double pl_dot(size_t n, const double *a, const double *b);
double pl_norm(size_t n, const double *a, const double *b); /* of the products a[i] b[i] */

/* +-(1 to 2) times s[i], or times 1, as the type has them. */
void pl_directions(const pl_check_pair *p, pleat_rng *r, size_t n, const double *s, double *v);

/* A discrepancy beyond PL_SURE times its estimated error counts. An error of the gradient must be PL_HIDDEN
 * times as large to be seen almost surely: in each try, random signs may let most of it vanish. */
#define PL_SURE 6.0
#define PL_HIDDEN 10.0

/* Nothing was seen: right, or it cannot be told, if less than the report's `visible` would have to be
 * seen. */
bool pl_nothing_seen(pl_check_pair *p, const char *reason);

/* The checks themselves. */
pleat_verdict pl_check_derivative(pl_check_pair *p, pleat_check_report *out);
pleat_verdict pl_check_linear(pl_check_pair *p, pleat_check_report *out);

#endif

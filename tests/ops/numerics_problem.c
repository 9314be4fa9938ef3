/* Problems of the convolution family, and calling the kernels. */
#include "numerics.h"

#include "conv_calls.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const pleat_conv_op conv_ops[3] = {PLEAT_CONV_FORWARD, PLEAT_CONV_TRANSPOSE, PLEAT_CONV_WEIGHT};
const char *const conv_names[3] = {"conv2d", "conv2d_transpose", "conv2d_weight"};

int result_of(pleat_conv_op op) { return op == PLEAT_CONV_FORWARD ? Y : op == PLEAT_CONV_TRANSPOSE ? X : W; }

double *doubles(size_t n) {
    double *a = malloc(n * sizeof *a + 1);
    cr_assert(a);
    return a;
}

problem problem_new(const pleat_conv_shape *g, uint64_t seed) {
    problem p = {*g, {geometry_image(g), geometry_kernel(g), geometry_map(g)}, {NULL, NULL, NULL}};
    for (size_t k = 0; k < OPERANDS; k++) {
        p.t[k] = doubles(p.n[k]);
        fill_integers(p.t[k], p.n[k], seed + k);
    }
    return p;
}

void problem_free(problem p) {
    for (size_t k = 0; k < OPERANDS; k++) free(p.t[k]);
}

void define(problem *p, pleat_conv_op op) { reference_conv(&p->g, op, p->t[X], p->t[W], p->t[Y]); }

/* ---- calling ------------------------------------------------------------------------------------------ */

static void *memory_of_nan(size_t bytes) {
    void *block = malloc(bytes + 1);
    cr_assert(block);
    return memset(block, 0xff, bytes);
}

static void *in_type(const double *a, size_t n, size_t element) {
    float *f = memory_of_nan(n * element);
    double *d = (double *)(void *)f;
    for (size_t i = 0; i < n; i++)
        if (element == sizeof(float))
            f[i] = (float)a[i];
        else
            d[i] = a[i];
    return f;
}

double *compute(const problem *p, const calling *how) {
    int result = result_of(how->op);
    size_t channels = how->op == PLEAT_CONV_FORWARD ? p->g.O : p->g.C, n = p->n[result];
    void *t[OPERANDS], *bias = how->bias ? in_type(how->bias, channels, how->element) : NULL;
    for (int k = 0; k < OPERANDS; k++)
        t[k] = k == result ? memory_of_nan(n * how->element) : in_type(p->t[k], p->n[k], how->element);
    pleat_work work = {.bias = bias, .relu = how->relu};
    work.bytes = conv_bytes(&p->g, how->element, how->op, forced_path(), how->threads);
    work.memory = memory_of_nan(work.bytes);
    if (how->threads > 1) work.pool = pleat_pool_new(how->threads);
    cr_assert_eq(conv_run(&p->g, how->element, how->op, forced_path(), (void *[]){t[X], t[W], t[Y]}, &work),
                 0);
    pleat_pool_free(work.pool);
    double *c = doubles(n);
    for (size_t i = 0; i < n; i++)
        c[i] = how->element == sizeof(float) ? (double)((float *)t[result])[i] : ((double *)t[result])[i];
    for (int k = 0; k < OPERANDS; k++) free(t[k]);
    free(bias), free(work.memory);
    return c;
}

size_t first_difference(const double *a, const double *b, size_t n) {
    size_t i = 0;
    while (i < n && (a[i] == b[i] || (isnan(a[i]) && isnan(b[i])))) i++;
    return i;
}

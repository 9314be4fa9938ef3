/* Ops against PyTorch: convolutions with first and second gradients bit for bit, the others up to rounding. The values
 * were computed by oracle/torch_ops.py. */
#include <stdio.h>
#include <string.h>

#include "oracle.h"
#include "tensors.h"

static oracle *torch;

static void begin(void) {
    tensors_begin();
    torch = oracle_read("ops.txt");
    cr_assert(torch);
}

static void end(void) {
    oracle_free(torch);
    tensors_end();
}

TestSuite(torch, .init = begin, .fini = end);

static pleat_tensor *array(pleat_dtype dtype, const char *name, const char *what) {
    const oracle_array *a = oracle_find(torch, "%s.%s", name, what);
    cr_assert(a, "there is no %s.%s", name, what);
    return oracle_tensor(ctx, dtype, a);
}

/* ---- convolutions ---------------------------------------------------------------------------------------- */

/* Equal as numbers: PyTorch and pleat disagree on the sign of some zeros. */
static void expect_array(pleat_tensor *found, const char *name, const char *what) {
    pleat_tensor *expected = array(pleat_dtype_of(found), name, what);
    cr_assert(same(pleat_shift(found, 0), pleat_shift(expected, 0)), "%s.%s: %s", name, what, difference());
}

static pleat_tensor *convolve(bool transposed, const char *name, pleat_tensor *a, pleat_tensor *b) {
    const oracle_array *geometry = oracle_find(torch, "%s.geometry", name),
                       *y = oracle_find(torch, "%s.y", name);
    cr_assert(geometry && y);
    pleat_conv_args args = {.a = a, .b = b, .groups = (size_t)geometry->values[6]};
    for (size_t k = 0; k < 2; k++) {
        args.stride[k] = (size_t)geometry->values[k];
        args.dilation[k] = (size_t)geometry->values[2 + k];
        args.pads[k] = args.pads[k + 2] = (ptrdiff_t)geometry->values[4 + k];
        if (transposed) args.size[k] = y->shape[2 + k]; /* output_padding */
    }
    return transposed ? pleat_conv2d_transpose_with(args) : pleat_conv2d_with(args);
}

/* The gradients of y = f(a, b) along u, and those of <ga, va> + <gb, vb>. */
static void expect_convolution(bool transposed, const char *name, pleat_dtype type) {
    pleat_tensor *xs[] = {array(type, name, "a"), array(type, name, "b"), array(type, name, "u")}, *g[2],
                 *gg[3];
    pleat_tensor *y = convolve(transposed, name, xs[0], xs[1]);
    expect_array(y, name, "y");
    EXPECT_OK(pleat_grads(y, xs[2], 2, xs, g, PLEAT_GRADS_RECORD));
    expect_array(g[0], name, "ga");
    expect_array(g[1], name, "gb");
    pleat_tensor *along_a = pleat_sum(pleat_mul(g[0], array(type, name, "va")));
    pleat_tensor *along_b = pleat_sum(pleat_mul(g[1], array(type, name, "vb")));
    EXPECT_OK(pleat_grads(pleat_add(along_a, along_b), NULL, 3, xs, gg, 0));
    expect_array(gg[0], name, "gga");
    expect_array(gg[1], name, "ggb");
    expect_array(gg[2], name, "ggu");
}

static void expect_convolutions(bool transposed, const char *family) {
    size_t i = 0;
    char name[40];
    for (; oracle_find(torch, "%s.%zu.geometry", family, i); i++) {
        snprintf(name, sizeof name, "%s.%zu", family, i);
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
            expect_convolution(transposed, name, type);
    }
    cr_assert_geq(i, 30);
}

Test(torch, conv2d) { expect_convolutions(false, "conv2d"); }
Test(torch, conv_transpose2d) { expect_convolutions(true, "conv_transpose2d"); }

/* ---- the other ops ----------------------------------------------------------------------------------------- */

static pleat_tensor *sum_of_squares(pleat_tensor *x) { return pleat_sum(pleat_square(x), PLEAT_AXES(0, 2)); }
static pleat_tensor *mean_of_exp(pleat_tensor *x) {
    return pleat_mean(pleat_exp(x), PLEAT_AXES(1), .keep = true);
}
static pleat_tensor *clamp(pleat_tensor *x) { return pleat_clamp(x, -0.5, 0.75); }
static pleat_tensor *softmax(pleat_tensor *x) {
    pleat_tensor *e = pleat_exp(x);
    return pleat_div(e, pleat_sum(e, PLEAT_AXES(1), .keep = true));
}
static pleat_tensor *matmul(pleat_tensor *a, pleat_tensor *b) { return pleat_matmul(a, b); }

static const struct other {
    const char *name;
    pleat_tensor *(*one)(pleat_tensor *);
    pleat_tensor *(*two)(pleat_tensor *, pleat_tensor *);
    size_t cases;
} others[] = {
    {"add", NULL, pleat_add, 4},   {"sub", NULL, pleat_sub, 4},      {"mul", NULL, pleat_mul, 4},
    {"div", NULL, pleat_div, 4},   {"exp", pleat_exp, NULL, 1},      {"square", pleat_square, NULL, 1},
    {"tanh", pleat_tanh, NULL, 1}, {"relu", pleat_relu, NULL, 1},    {"sigmoid", pleat_sigmoid, NULL, 1},
    {"clamp", clamp, NULL, 1},     {"log", pleat_log, NULL, 1},      {"sqrt", pleat_sqrt, NULL, 1},
    {"matmul", NULL, matmul, 3},   {"sum", sum_of_squares, NULL, 1}, {"mean", mean_of_exp, NULL, 1},
    {"softmax", softmax, NULL, 1},
};

static void expect_close(pleat_tensor *found, const char *name, const char *what) {
    const oracle_array *a = oracle_find(torch, "%s.%s", name, what);
    double tolerance = pleat_dtype_of(found) == PLEAT_F64 ? 1e-12 : 2e-5;
    cr_assert(a, "there is no %s.%s", name, what);
    cr_assert_leq(oracle_error(a, found), tolerance, "%s.%s: error %g", name, what, oracle_error(a, found));
}

/* y = f(xs), its gradients along u, and the gradients of their sum of squares. */
static void expect_other(const struct other *o, const char *name, pleat_dtype type) {
    size_t n = o->two != NULL ? 2 : 1;
    pleat_tensor *xs[2] = {array(type, name, "x0"), n == 2 ? array(type, name, "x1") : NULL}, *g[2], *gg[2];
    pleat_tensor *y = n == 2 ? o->two(xs[0], xs[1]) : o->one(xs[0]), *slope = NULL;
    expect_close(y, name, "y");
    EXPECT_OK(pleat_grads(y, array(type, name, "u"), n, xs, g, PLEAT_GRADS_RECORD));
    for (size_t i = 0; i < n; i++) {
        expect_close(g[i], name, i == 0 ? "g0" : "g1");
        pleat_tensor *square = pleat_sum(pleat_square(g[i]));
        slope = slope == NULL ? square : pleat_add(slope, square);
    }
    EXPECT_OK(pleat_grads(slope, NULL, n, xs, gg, 0));
    for (size_t i = 0; i < n; i++) expect_close(gg[i], name, i == 0 ? "gg0" : "gg1");
}

Test(torch, other_ops) {
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        for (size_t i = 0; i < others[k].cases; i++) {
            char name[32];
            snprintf(name, sizeof name, "%s.%zu", others[k].name, i);
            for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
                expect_other(&others[k], name, type);
        }
    }
}

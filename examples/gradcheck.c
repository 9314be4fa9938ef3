/* How to check code of your own: a function made of ops, an op with a hand-written gradient, and a pair of
 * linear functions that pleat knows nothing about. Each is checked as it should be and once with a bug. */
#include <math.h>
#include <stdio.h>

#include "pleat.h"

/* ---- 1. a function made of ops ---------------------------------------------------------------------------- */
/* xs[0]: image [N,C,H,W], xs[1]: weights [O,C,R,S]. Its gradients come from pleat; the check shows that the
 * function is smooth where it is used, and that all three orders of derivative are right. */
static pleat_tensor *energy(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    pleat_tensor *y = pleat_conv2d(xs[0], xs[1], .stride = {2, 2}, .pad = {1, 1});
    return pleat_mean(pleat_square(pleat_tanh(y)));
}

/* ---- 2. an op with a gradient of your own ----------------------------------------------------------------- */
/* softplus(x) = ln(1 + e^x); d/dx = sigmoid(x) */
static bool softplus_shape(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]);
    for (size_t i = 0; i < c->rank; i++) c->shape[i] = pleat_size(c->in[0], i);
    return true;
}

static bool softplus_forward(const pleat_call *c) {
    const double *x = pleat_const_f64(c->in[0]);
    double *y = pleat_f64(c->out);
    if (x == NULL || y == NULL) return false; /* an f32 tensor or a view: the error says so */
    for (size_t i = 0; i < pleat_numel(c->out); i++) y[i] = log1p(exp(x[i]));
    return true;
}

static pleat_tensor *softplus_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_sigmoid(c->in[i]));
}

static pleat_tensor *wrong_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_neg(softplus_vjp(c, i, g)); /* the classical slip */
}

static const pleat_op softplus_op = {
    .name = "softplus", .shape = softplus_shape, .forward = softplus_forward, .vjp = softplus_vjp};
static const pleat_op wrong_op = {
    .name = "softplus", .shape = softplus_shape, .forward = softplus_forward, .vjp = wrong_vjp};

static pleat_tensor *apply(size_t n, pleat_tensor *const *xs, void *user) {
    return pleat_apply(user, n, xs, NULL, 0);
}

/* ---- 3. a pair of linear functions ------------------------------------------------------------------------ */
/* Plain loops over arrays, as an accelerator's kernel might be: every second element of a blur with 1 2 1,
 * and its adjoint. x has IN elements, y has OUT. */
enum { IN = 9, OUT = 4 };

static void blur(const double *x, double *y) {
    for (int i = 0; i < OUT; i++) y[i] = x[2 * i] + 2 * x[2 * i + 1] + x[2 * i + 2];
}

static void blur_adjoint(const double *y, double *x) {
    for (int i = 0; i < IN; i++) x[i] = 0;
    for (int i = 0; i < OUT; i++) {
        x[2 * i] += y[i];
        x[2 * i + 1] += 2 * y[i];
        x[2 * i + 2] += y[i];
    }
}

/* A buffer that is written instead of added to: the overlaps get lost. */
static void wrong_adjoint(const double *y, double *x) {
    for (int i = 0; i < IN; i++) x[i] = 0;
    for (int i = 0; i < OUT; i++) {
        x[2 * i] = y[i];
        x[2 * i + 1] = 2 * y[i];
        x[2 * i + 2] = y[i];
    }
}

/* Three lines make a tensor function of a function on arrays. */
static pleat_tensor *run(pleat_tensor *x, size_t size, void (*f)(const double *, double *)) {
    pleat_tensor *y = pleat_empty(pleat_ctx_of(x), PLEAT_F64, PLEAT_SHAPE(size));
    if (!pleat_is_poison(x) && !pleat_is_poison(y)) f(pleat_const_f64(x), pleat_f64(y));
    return y;
}
static pleat_tensor *blur_t(pleat_tensor *x, void *user) { return (void)user, run(x, OUT, blur); }
static pleat_tensor *blur_adjoint_t(pleat_tensor *y, void *user) {
    return (void)user, run(y, IN, blur_adjoint);
}
static pleat_tensor *wrong_adjoint_t(pleat_tensor *y, void *user) {
    return (void)user, run(y, IN, wrong_adjoint);
}

/* ---- the checks ------------------------------------------------------------------------------------------- */

/* Prints a line, and says whether the check ended as it should. */
static bool outcome(const char *what, pleat_status status, pleat_status wanted, const pleat_report *r) {
    printf("%-42s %s\n    %s\n", what, status == PLEAT_OK ? "passes" : "fails, as it should", r->text);
    if (status != wanted) fprintf(stderr, "gradcheck: %s: not the expected outcome\n", what);
    return status == wanted;
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    if (ctx == NULL) {
        fprintf(stderr, "gradcheck: no memory\n");
        return 1;
    }
    pleat_report r;
    pleat_tensor *image[2] = {pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3, 5, 4)),
                              pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(4, 3, 3, 2))};
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(6));
    pleat_tensor *in = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(IN)),
                 *out = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(OUT));

    pleat_status s = pleat_gradcheck(energy, 2, image, .order = 3, .report = &r);
    bool good = outcome("a convolution network, orders 1 to 3:", s, PLEAT_OK, &r);
    s = pleat_gradcheck(apply, 1, &x, (void *)&softplus_op, .order = 2, .report = &r);
    good = outcome("softplus, orders 1 and 2:", s, PLEAT_OK, &r) && good;
    s = pleat_gradcheck(apply, 1, &x, (void *)&wrong_op, .report = &r);
    good = outcome("softplus with a negated gradient:", s, PLEAT_ERR_CHECK, &r) && good;
    s = pleat_adjointcheck(blur_t, blur_adjoint_t, in, out, .integers = true, .report = &r);
    good = outcome("a blur and its adjoint, on whole numbers:", s, PLEAT_OK, &r) && good;
    s = pleat_adjointcheck(blur_t, wrong_adjoint_t, in, out, .report = &r);
    good = outcome("the blur and an adjoint with a bug:", s, PLEAT_ERR_CHECK, &r) && good;

    pleat_ctx_free(ctx);
    return good ? 0 : 1;
}

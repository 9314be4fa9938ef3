/* Jacobians and Hessians times vectors: PyTorch's values, the law <u, J v> = <J^T u, v>, difference
 * quotients, refusals. The values were computed by oracle/torch_jvp_hvp.py. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "oracle.h"
#include "tensors.h"

TestSuite(jvp_hvp, .init = tensors_begin, .fini = tensors_end);

typedef pleat_tensor *(*function)(pleat_tensor *a, pleat_tensor *b);

static pleat_tensor *matmul(pleat_tensor *a, pleat_tensor *b) { return pleat_tanh(pleat_matmul(a, b)); }
static pleat_tensor *conv(pleat_tensor *a, pleat_tensor *b) {
    return pleat_tanh(pleat_conv2d(a, b, .stride = {2, 2}, .pad = {1, 1}));
}
static pleat_tensor *transposed(pleat_tensor *a, pleat_tensor *b) {
    return pleat_exp(pleat_scale(pleat_conv2d_transpose(a, b, .stride = {2, 2}), 0.1));
}
static pleat_tensor *softmax(pleat_tensor *a, pleat_tensor *b) { return pleat_mul(pleat_softmax(a, 1), b); }
static pleat_tensor *max_pool(pleat_tensor *a, pleat_tensor *b) {
    return pleat_max_pool2d(pleat_mul(pleat_mul(a, a), b), .kernel = {2, 2});
}
static pleat_tensor *linear(pleat_tensor *a, pleat_tensor *b) { return pleat_sub(a, pleat_scale(b, 2)); }

static const struct rule {
    const char *name;
    function f;
} rules[] = {{"matmul", matmul},   {"conv2d", conv},       {"conv_transpose2d", transposed},
             {"softmax", softmax}, {"max_pool", max_pool}, {"linear", linear}};
enum { RULES = sizeof rules / sizeof *rules };

static pleat_tensor *squares(pleat_tensor *y) { return pleat_sum(pleat_square(y)); }

/* ---- PyTorch's values --------------------------------------------------------------------------------------- */

static void expect_torch(const oracle *torch, const struct rule *r, pleat_dtype type) {
    pleat_tensor *t[4], *hv[2];
    static const char *const names[] = {"x0", "x1", "v0", "v1"};
    for (size_t i = 0; i < 4; i++)
        t[i] = oracle_tensor(ctx, type, oracle_find(torch, "%s.%s", r->name, names[i]));
    pleat_tensor *y = r->f(t[0], t[1]), *jv = pleat_jvp(y, 2, t, t + 2, 0);
    double tolerance = type == PLEAT_F64 ? 1e-13 : 2e-5;
    cr_expect_leq(oracle_error(oracle_find(torch, "%s.jv", r->name), jv), tolerance, "%s: jv", r->name);
    EXPECT_OK(pleat_hvp(squares(y), 2, t, t + 2, hv, 0));
    for (size_t i = 0; i < 2; i++) {
        const oracle_array *a = oracle_find(torch, "%s.hv%zu", r->name, i);
        cr_expect_leq(oracle_error(a, hv[i]), tolerance, "%s: hv%zu, error %g", r->name, i,
                      oracle_error(a, hv[i]));
    }
}

Test(jvp_hvp, of_torch) {
    oracle *torch = oracle_read("jvp_hvp.txt");
    cr_assert(torch);
    for (size_t k = 0; k < RULES; k++) {
        expect_torch(torch, &rules[k], PLEAT_F32);
        expect_torch(torch, &rules[k], PLEAT_F64);
    }
    oracle_free(torch);
}

/* ---- laws ---------------------------------------------------------------------------------------------------- */

static void draw(size_t k, pleat_tensor **xs, pleat_tensor **vs) {
    static const size_t shapes[RULES][2][4] = {
        {{2, 3}, {3, 4}}, {{2, 2, 5, 4}, {3, 2, 3, 2}}, {{1, 3, 2, 3}, {3, 2, 2, 3}},
        {{2, 4}, {4}},    {{1, 2, 4, 4}, {4, 1}},       {{3}, {3}}};
    for (size_t i = 0; i < 2; i++) {
        size_t rank = 0;
        while (rank < 4 && shapes[k][i][rank]) rank++;
        xs[i] = pleat_uniform(ctx, PLEAT_F64, rank, shapes[k][i], -1, 1);
        vs[i] = pleat_uniform(ctx, PLEAT_F64, rank, shapes[k][i], -1, 1);
    }
}

static double dot(pleat_tensor *a, pleat_tensor *b) { return pleat_item(pleat_sum(pleat_mul(a, b))); }

Test(jvp_hvp, are_adjoint_and_symmetric) {
    for (size_t k = 0; k < 10 * RULES; k++) {
        const struct rule *r = &rules[k % RULES];
        pleat_tensor *xs[2], *vs[2], *ws[2], *g[2], *hv[2], *hw[2];
        draw(k % RULES, xs, vs);
        for (size_t i = 0; i < 2; i++) ws[i] = pleat_shift(pleat_square(vs[i]), -0.5);
        pleat_tensor *y = r->f(xs[0], xs[1]),
                     *u = pleat_uniform(ctx, PLEAT_F64, pleat_rank(y), pleat_shape(y), -1, 1);
        EXPECT_OK(pleat_grads(y, u, 2, xs, g, 0));
        double one = dot(u, pleat_jvp(y, 2, xs, vs, 0)), other = dot(g[0], vs[0]) + dot(g[1], vs[1]);
        cr_expect_float_eq(one, other, 1e-12 * (1 + fabs(one)), "%s: <u, J v> = %.17g, <J^T u, v> = %.17g",
                           r->name, one, other);
        EXPECT_OK(pleat_hvp(squares(y), 2, xs, vs, hv, 0));
        EXPECT_OK(pleat_hvp(squares(y), 2, xs, ws, hw, 0));
        one = dot(hv[0], ws[0]) + dot(hv[1], ws[1]), other = dot(hw[0], vs[0]) + dot(hw[1], vs[1]);
        cr_expect_float_eq(one, other, 1e-11 * (1 + fabs(one)), "%s: <H v, w> = %.17g, <v, H w> = %.17g",
                           r->name, one, other);
    }
}

/* Recorded, both can be differentiated again, with respect to xs and to vs. */
typedef struct recorded {
    size_t k;
    bool hessian;
} recorded;

static pleat_tensor *product(size_t n, pleat_tensor *const *xs, void *user) {
    const recorded *c = user;
    bool was = pleat_set_recording(ctx, true);
    pleat_tensor *y = rules[c->k].f(xs[0], xs[1]), *result, *hv[2];
    if (!c->hessian)
        result = pleat_jvp(y, n / 2, xs, xs + 2, PLEAT_GRADS_RECORD);
    else if (pleat_hvp(squares(y), n / 2, xs, xs + 2, hv, PLEAT_GRADS_RECORD) != PLEAT_OK)
        result = pleat_poison(ctx);
    else
        result = pleat_add(pleat_sum(pleat_square(hv[0])), pleat_sum(hv[1]));
    pleat_set_recording(ctx, was);
    return result;
}

Test(jvp_hvp, have_gradients) {
    for (size_t k = 0; k < RULES; k++) {
        for (int hessian = 0; hessian < 2; hessian++) {
            pleat_tensor *xs[4];
            pleat_report r;
            recorded c = {k, hessian};
            draw(k, xs, xs + 2);
            cr_expect_eq(
                pleat_gradcheck(product, 4, xs, .user = &c, .order = 2, .tolerance = 2e-6, .report = &r),
                PLEAT_OK, "%s: %s", rules[k].name, r.text);
        }
    }
}

/* v is a constant, also where it was computed from x: y = x^3 with v = x has J v = 3 x^3 and H v = 6 x^2. */
Test(jvp_hvp, take_vectors_as_constants) {
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2), VALUES(2, 3)), *hv;
    pleat_tensor *y = pleat_mul(x, pleat_square(x)), *v = pleat_scale(x, 1);
    EXPECT_HOLDS(pleat_jvp(y, 1, &x, &v, 0), PLEAT_SHAPE(2), VALUES(24, 81));
    EXPECT_OK(pleat_hvp(pleat_sum(y), 1, &x, &v, &hv, 0));
    EXPECT_HOLDS(hv, PLEAT_SHAPE(2), VALUES(24, 54));
    EXPECT_OK(pleat_hvp(pleat_sum(y), 1, &x, &x, &hv, 0));
    EXPECT_HOLDS(hv, PLEAT_SHAPE(2), VALUES(24, 54));
}

Test(jvp_hvp, at_the_edges) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *other = counted(PLEAT_F64, PLEAT_SHAPE(2)), *hv[2];
    pleat_tensor *xs[] = {x, other}, *empty = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2));
    pleat_tensor *y = pleat_square(x);
    bool was = pleat_set_recording(ctx, false);
    size_t tensors = pleat_memory(ctx).tensors;
    pleat_tensor *jv = pleat_jvp(y, 2, xs, xs, 0);
    EXPECT_HOLDS(jv, PLEAT_SHAPE(3), VALUES(2, 8, 18)); /* an x on which y does not depend adds nothing */
    cr_assert_eq(pleat_memory(ctx).tensors, tensors + 1, "nothing but the result stays");
    cr_assert_not(pleat_set_recording(ctx, true), "the setting is as before");
    EXPECT_OK(pleat_hvp(pleat_sum(y), 2, xs, xs, hv, 0));
    EXPECT_HOLDS(hv[0], PLEAT_SHAPE(3), VALUES(2, 4, 6));
    EXPECT_HOLDS(hv[1], PLEAT_SHAPE(2), VALUES(0, 0));
    EXPECT_HOLDS(pleat_jvp(y, 0, NULL, NULL, 0), PLEAT_SHAPE(3), VALUES(0, 0, 0));
    EXPECT_HOLDS(pleat_jvp(x, 1, &x, &x, 0), PLEAT_SHAPE(3), VALUES(1, 2, 3));
    EXPECT_HOLDS(pleat_jvp(pleat_square(empty), 1, &empty, &empty, 0), PLEAT_SHAPE(0, 2), NULL);
    EXPECT_OK(pleat_hvp(pleat_sum(x), 1, &x, &x, hv, 0)); /* linear: no second derivative */
    EXPECT_HOLDS(hv[0], PLEAT_SHAPE(3), VALUES(0, 0, 0));
    pleat_set_recording(ctx, was);
}

Test(jvp_hvp, refusals) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *short_one = counted(PLEAT_F64, PLEAT_SHAPE(2)),
                 *f32 = counted(PLEAT_F32, PLEAT_SHAPE(3)), *y = pleat_square(x), *null = NULL, *hv,
                 *none = short_one;
    EXPECT_REFUSED(pleat_jvp(y, 1, &x, &short_one, 0), PLEAT_ERR_SHAPE, "jvp", "v 0 is [2]", "[3]", "x 0");
    EXPECT_REFUSED(pleat_jvp(y, 1, &x, &f32, 0), PLEAT_ERR_SHAPE, "jvp", "type of x 0");
    EXPECT_REFUSED(pleat_jvp(y, 1, &x, &null, 0), PLEAT_ERR_ARGUMENT, "jvp", "x 0 or v 0 is a null pointer");
    EXPECT_REFUSED(pleat_jvp(y, 1, &null, &x, 0), PLEAT_ERR_ARGUMENT, "jvp", "null pointer");
    EXPECT_REFUSED(pleat_jvp(y, 1, &none, &none, PLEAT_GRADS_STRICT), PLEAT_ERR_GRADIENT, "grads",
                   "does not depend on x 0");
    EXPECT_REFUSED(pleat_jvp(pleat_poison(ctx), 1, &x, &x, 0), PLEAT_ERR_ARGUMENT, "jvp", "y is poison");
    cr_assert(pleat_is_poison(pleat_jvp(NULL, 1, &x, &x, 0)));
    EXPECT_FAILED(pleat_hvp(y, 1, &x, &x, &hv, 0), PLEAT_ERR_SHAPE, "grads", "[3]", "one element");
    cr_assert(pleat_is_poison(hv));
    EXPECT_FAILED(pleat_hvp(pleat_sum(y), 1, &x, &short_one, &hv, 0), PLEAT_ERR_SHAPE, "hvp", "v 0 is [2]");
    cr_assert(pleat_is_poison(hv));
    cr_assert_eq(pleat_hvp(NULL, 1, &x, &x, &hv, 0), PLEAT_ERR_ARGUMENT);
}

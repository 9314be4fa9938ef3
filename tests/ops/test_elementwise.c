/* Element-wise ops, extremes and softmax: PyTorch's values and gradients, difference quotients to order 3, laws and corners. */
#include <float.h>
#include <math.h>

#include "core/functions.h"
#include "rows.h"

static oracle *torch;

static void begin(void) {
    tensors_begin();
    torch = oracle_read("elementwise.txt");
    cr_assert(torch);
}

static void end(void) {
    oracle_free(torch);
    tensors_end();
}

TestSuite(elementwise, .init = begin, .fini = end);

FUNCTION(absolute, pleat_abs(a))
FUNCTION(sign, pleat_sign(a))
FUNCTION(pow3, pleat_pow(a, 3))
FUNCTION(pow2, pleat_pow(a, 2))
FUNCTION(pow1, pleat_pow(a, 1))
FUNCTION(pow0, pleat_pow(a, 0))
FUNCTION(pow_half, pleat_pow(a, 0.5))
FUNCTION(pow_minus, pleat_pow(a, -1.5))
FUNCTION(error, pleat_erf(a))
FUNCTION(gelu, pleat_gelu(a))
FUNCTION(softplus, pleat_softplus(a))
FUNCTION(silu, pleat_silu(a))
FUNCTION(elu, pleat_elu(a, 0.7))
FUNCTION(leaky_relu, pleat_leaky_relu(a, 0.2))
FUNCTION(relu6, pleat_relu6(a))
FUNCTION(clamp, pleat_clamp(a, -0.5, 0.75))
FUNCTION(prelu, pleat_prelu(a, b))
FUNCTION(maximum, pleat_maximum(a, b))
FUNCTION(minimum, pleat_minimum(a, b))
FUNCTION(compared, pleat_mul(pleat_gt(a, b), a))
static pleat_tensor *mask_of(pleat_tensor *a) {
    return pleat_from_f64(ctx, pleat_dtype_of(a), PLEAT_SHAPE(2, 3), VALUES(1, 0, 1, 0, 0, 1));
}
FUNCTION(where, pleat_where(mask_of(a), pleat_square(a), pleat_square(b)))
FUNCTION(amax_02, pleat_amax(a, PLEAT_AXES(0, 2)))
FUNCTION(amax_keep, pleat_amax(a, PLEAT_AXES(1), .keep = true))
FUNCTION(amax_squares, pleat_amax(pleat_square(a)))
FUNCTION(amin_1, pleat_amin(a, PLEAT_AXES(1)))
FUNCTION(var_02, pleat_var(a, PLEAT_AXES(0, 2)))
FUNCTION(var_keep, pleat_var(a, PLEAT_AXES(1), .keep = true))
FUNCTION(softmax_0, pleat_softmax(a, 0))
FUNCTION(softmax_1, pleat_softmax(a, 1))
FUNCTION(softmax_2, pleat_softmax(a, 2))
FUNCTION(log_softmax_0, pleat_log_softmax(a, 0))
FUNCTION(log_softmax_1, pleat_log_softmax(a, 1))
FUNCTION(log_softmax_2, pleat_log_softmax(a, 2))
FUNCTION(sine, pleat_sin(a))
FUNCTION(cosine, pleat_cos(a))
FUNCTION(floored, pleat_mul(pleat_floor(a), a))
FUNCTION(nearest, pleat_mul(pleat_round(a), a))
FUNCTION(cumsum_0, pleat_square(pleat_cumsum(a, 0)))
FUNCTION(cumsum_1, pleat_square(pleat_cumsum(a, 1)))
FUNCTION(cumsum_2, pleat_square(pleat_cumsum(a, 2)))
FUNCTION(log_sum_exp_02, pleat_log_sum_exp(a, PLEAT_AXES(0, 2)))
FUNCTION(log_sum_exp_keep, pleat_log_sum_exp(a, PLEAT_AXES(1), .keep = true))
FUNCTION(stack, pleat_square(pleat_stack(2, (pleat_tensor *[]){a, b}, 1)))

#define INDEX(...) \
    (const size_t[]) { __VA_ARGS__ }
FUNCTION(gather_1, pleat_square(pleat_gather(a, 1, INDEX(2, 2), INDEX(2, 0, 1, 1))))
FUNCTION(gather_0, pleat_square(pleat_gather(a, 0, INDEX(3, 3), INDEX(1, 0, 1, 1, 1, 0, 0, 0, 0))))
FUNCTION(scatter_add, pleat_square(pleat_scatter_add(a, 1, INDEX(3, 4), INDEX(3, 0, 3, 1, 1, 1))))
FUNCTION(index_select, pleat_square(pleat_index_select(a, 1, 4, INDEX(2, 0, 2, 1))))

/* The exponential of floats is our own: nearest to the true value, or the float beside it; and its ends. */
Test(elementwise, exp_of_floats) {
    for (double x = -106; x < 90; x += 0.00731) {
        const float v = (float)x, y = pl_exp_f32(v), nearest = (float)exp((double)v);
        cr_assert(y == nearest || y == nextafterf(nearest, 0) || y == nextafterf(nearest, INFINITY),
                  "exp(%.9g) = %.9g", (double)v, (double)y);
    }
    cr_assert(isnan(pl_exp_f32(NAN)) && isnan(pl_exp_f32(-NAN)));
    cr_assert_eq(pl_exp_f32(0), 1);
    cr_assert_eq(pl_exp_f32(-INFINITY), 0);
    cr_assert_eq(pl_exp_f32(INFINITY), INFINITY);
    cr_assert_eq(pl_exp_f32(FLT_MAX), INFINITY);
    cr_assert_eq(pl_exp_f32(-FLT_MAX), 0);
}

Test(elementwise, agrees_with_pytorch) {
    static const struct {
        const char *name;
        pleat_function f;
    } cases[] = {
        {"abs.0", absolute},
        {"abs.1", absolute},
        {"pow3.0", pow3},
        {"pow2.0", pow2},
        {"pow_half.0", pow_half},
        {"pow_minus.0", pow_minus},
        {"erf.0", error},
        {"gelu.0", gelu},
        {"softplus.0", softplus},
        {"silu.0", silu},
        {"elu.0", elu},
        {"leaky_relu.0", leaky_relu},
        {"leaky_relu.1", leaky_relu},
        {"relu6.0", relu6},
        {"relu6.1", relu6},
        {"clamp.1", clamp},
        {"maximum.0", maximum},
        {"maximum.1", maximum},
        {"maximum.2", maximum},
        {"minimum.0", minimum},
        {"minimum.1", minimum},
        {"where.0", where},
        {"where.1", where},
        {"amax.0", amax_02},
        {"amax.1", amax_keep},
        {"amax.2", amax_squares},
        {"amin.0", amin_1},
        {"var.0", var_02},
        {"softmax.0", softmax_0},
        {"softmax.1", softmax_1},
        {"softmax.2", softmax_2},
        {"log_softmax.0", log_softmax_0},
        {"log_softmax.1", log_softmax_1},
        {"log_softmax.2", log_softmax_2},
        {"log_softmax.3", log_softmax_1},
        {"sin.0", sine},
        {"cos.0", cosine},
        {"cumsum.0", cumsum_0},
        {"cumsum.1", cumsum_1},
        {"cumsum.2", cumsum_2},
        {"log_sum_exp.0", log_sum_exp_02},
        {"log_sum_exp.1", log_sum_exp_keep},
        {"gather.0", gather_1},
        {"gather.1", gather_0},
        {"scatter_add.0", scatter_add},
        {"index_select.0", index_select},
        {"stack.0", stack},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_op(torch, cases[i].name, cases[i].f);
}

Test(elementwise, gradients) {
    static const row rows[] = {
        {"abs", absolute, -1, 1, {0}, true, .rank = {1}, .shape = {{6}}},
        {"sign", sign, -1, 1, {0}, true, .rank = {1}, .shape = {{6}}},
        {"x^3", pow3, -1, 1, .rank = {1}, .shape = {{4}}},
        {"x^2", pow2, -1, 1, .rank = {1}, .shape = {{4}}},
        {"x^1", pow1, -1, 1, .rank = {1}, .shape = {{4}}},
        {"x^0", pow0, -1, 1, .rank = {1}, .shape = {{4}}},
        {"x^0.5", pow_half, 0.5, 2, .rank = {1}, .shape = {{4}}},
        {"x^-1.5", pow_minus, 0.7, 2, .rank = {1}, .shape = {{4}}},
        {"erf", error, -1, 1, .rank = {1}, .shape = {{4}}},
        {"gelu", gelu, -2, 2, .rank = {1}, .shape = {{4}}},
        {"softplus", softplus, -3, 3, .rank = {1}, .shape = {{4}}},
        {"silu", silu, -2, 2, .rank = {1}, .shape = {{4}}},
        {"elu", elu, -2, 2, {0}, true, .rank = {1}, .shape = {{6}}},
        {"leaky_relu", leaky_relu, -2, 2, {0}, true, .rank = {1}, .shape = {{6}}},
        {"relu6", relu6, -4, 10, {0, 6}, true, .rank = {1}, .shape = {{8}}},
        {"prelu", prelu, -2, 2, {0}, true, .rank = {3, 1}, .shape = {{2, 2, 2}, {2}}},
        {"prelu, one weight", prelu, -2, 2, {0}, true, .rank = {2, 1}, .shape = {{2, 3}, {1}}},
        {"maximum", maximum, -1, 1, .rank = {2, 2}, .shape = {{2, 1}, {1, 3}}},
        {"minimum", minimum, -1, 1, .rank = {2, 1}, .shape = {{2, 3}, {3}}},
        {"a mask", compared, -1, 1, .rank = {1, 1}, .shape = {{5}, {5}}},
        {"where", where, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"where, broadcast", where, -1, 1, .rank = {1, 2}, .shape = {{3}, {2, 1}}},
        {"amax", amax_02, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"amax, kept", amax_keep, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"amin", amin_1, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"var", var_02, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"var, kept", var_keep, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"softmax", softmax_1, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"softmax, first axis", softmax_0, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"log_softmax", log_softmax_1, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"log_softmax, first axis", log_softmax_0, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"sin", sine, -3, 3, .rank = {1}, .shape = {{4}}},
        {"cos", cosine, -3, 3, .rank = {1}, .shape = {{4}}},
        {"floor", floored, -0.9, 0.9, {0}, true, .rank = {1}, .shape = {{6}}},
        {"round", nearest, -1.4, 1.4, {-0.5, 0.5}, true, .rank = {1}, .shape = {{6}}},
        {"cumsum", cumsum_1, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"cumsum, first axis", cumsum_0, -1, 1, .rank = {2}, .shape = {{3, 2}}},
        {"log_sum_exp", log_sum_exp_02, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"log_sum_exp, kept", log_sum_exp_keep, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"gather", gather_1, -1, 1, .rank = {2}, .shape = {{3, 3}}},
        {"gather, first axis", gather_0, -1, 1, .rank = {2}, .shape = {{2, 4}}},
        {"scatter_add", scatter_add, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"index_select", index_select, -1, 1, .rank = {3}, .shape = {{2, 3, 2}}},
        {"stack", stack, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
    };
    CHECK_ROWS(rows);
}

/* ---- laws ------------------------------------------------------------------------------------------------ */

Test(elementwise, laws) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = whole(type, PLEAT_SHAPE(3, 4, 5)), *y = whole(type, PLEAT_SHAPE(4, 1));
        EXPECT_SAME(pleat_add(pleat_maximum(x, y), pleat_minimum(x, y)), pleat_add(x, y));
        EXPECT_SAME(pleat_mul(x, pleat_sign(x)), pleat_abs(x));
        EXPECT_SAME(pleat_shift(pleat_add(pleat_gt(x, y), pleat_le(x, y)), 0),
                    pleat_full_like(pleat_add(x, y), 1));
        EXPECT_SAME(pleat_add(pleat_lt(x, y), pleat_ge(x, y)), pleat_add(pleat_eq(x, y), pleat_ne(x, y)));
        EXPECT_SAME(pleat_where(pleat_gt(x, y), x, pleat_broadcast_to(y, PLEAT_SHAPE(3, 4, 5))),
                    pleat_maximum(x, y));
        EXPECT_SAME(pleat_leaky_relu(x, 1), x);
        pleat_tensor *wide = pleat_scale(x, 4), *over = pleat_relu(pleat_shift(wide, -6));
        EXPECT_SAME(pleat_relu6(wide), pleat_sub(pleat_relu(wide), over));
        EXPECT_SAME(pleat_shift(pleat_leaky_relu(x, 0), 0), pleat_shift(pleat_relu(x), 0));
        double tolerance = type == PLEAT_F64 ? 1e-14 : 1e-6;
        EXPECT_NEAR(pleat_add(pleat_square(pleat_sin(x)), pleat_square(pleat_cos(x))), pleat_full_like(x, 1),
                    tolerance);
        EXPECT_SAME(
            pleat_floor(pleat_scale(x, 0.5)),
            pleat_scale(pleat_sub(x, pleat_ne(pleat_floor(pleat_scale(x, 0.5)), pleat_scale(x, 0.5))), 0.5));
        EXPECT_NEAR(pleat_sub(pleat_gelu(x), pleat_gelu(pleat_neg(x))), x, tolerance);
        EXPECT_NEAR(pleat_sub(pleat_softplus(x), pleat_softplus(pleat_neg(x))), x, tolerance);
        for (size_t axis = 0; axis < 3; axis++) {
            pleat_tensor *p = pleat_softmax(gappy(x), axis), *sum = pleat_sum(p, 1u << axis);
            EXPECT_NEAR(sum, pleat_full_like(sum, 1), tolerance);
            EXPECT_NEAR(pleat_log(p), pleat_log_softmax(x, axis), 20 * tolerance);
            EXPECT_NEAR(pleat_softmax(pleat_shift(x, 100), axis), p, 20 * tolerance);
            pleat_tensor *largest = pleat_amax(gappy(x), 1u << axis, .keep = true);
            EXPECT_SAME(pleat_amax(pleat_le(x, largest)), pleat_amin(pleat_le(x, largest)));
            EXPECT_SAME(pleat_amin(x, 1u << axis), pleat_neg(pleat_amax(pleat_neg(x), 1u << axis)));
            pleat_tensor *all = pleat_log_sum_exp(gappy(x), 1u << axis, .keep = true);
            EXPECT_NEAR(pleat_sub(x, all), pleat_log_softmax(x, axis), 20 * tolerance);
        }
    }
}

/* ---- corners --------------------------------------------------------------------------------------------- */

static pleat_tensor *vector(pleat_dtype type, size_t n, const double *v) {
    return pleat_from_f64(ctx, type, PLEAT_SHAPE(n), v);
}

Test(elementwise, what_is_not_a_number) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = vector(type, 5, VALUES(NAN, 1, -INFINITY, 0, INFINITY));
        pleat_tensor *y = vector(type, 5, VALUES(1, NAN, -INFINITY, 2, 3));
        EXPECT_HOLDS(pleat_maximum(x, y), PLEAT_SHAPE(5), VALUES(NAN, NAN, -INFINITY, 2, INFINITY));
        EXPECT_HOLDS(pleat_minimum(x, y), PLEAT_SHAPE(5), VALUES(NAN, NAN, -INFINITY, 0, 3));
        EXPECT_HOLDS(pleat_gt(x, y), PLEAT_SHAPE(5), VALUES(0, 0, 0, 0, 1));
        EXPECT_HOLDS(pleat_ne(x, y), PLEAT_SHAPE(5), VALUES(1, 1, 0, 1, 1));
        EXPECT_HOLDS(pleat_abs(x), PLEAT_SHAPE(5), VALUES(NAN, 1, INFINITY, 0, INFINITY));
        EXPECT_HOLDS(pleat_sign(x), PLEAT_SHAPE(5), VALUES(NAN, 1, -1, 0, 1));
        EXPECT_HOLDS(pleat_softplus(x), PLEAT_SHAPE(5),
                     VALUES(NAN, pleat_at(pleat_softplus(x), (size_t[]){1}), 0,
                            pleat_at(pleat_softplus(x), (size_t[]){3}), INFINITY));
        EXPECT_HOLDS(pleat_amax(x), PLEAT_SCALAR, VALUES(NAN));
        EXPECT_HOLDS(pleat_amax(y), PLEAT_SCALAR, VALUES(NAN));
        EXPECT_HOLDS(largest_at(y, 0), PLEAT_SCALAR, VALUES(1));
        EXPECT_HOLDS(largest_at(x, 0), PLEAT_SCALAR, VALUES(0));
        pleat_tensor *s = vector(type, 3, VALUES(-INFINITY, 0, -INFINITY)),
                     *all = pleat_full_like(s, -INFINITY);
        EXPECT_HOLDS(pleat_softmax(s, 0), PLEAT_SHAPE(3), VALUES(0, 1, 0));
        EXPECT_HOLDS(pleat_softmax(all, 0), PLEAT_SHAPE(3), VALUES(NAN, NAN, NAN));
        EXPECT_HOLDS(pleat_where(vector(type, 2, VALUES(1, 0)), vector(type, 2, VALUES(4, NAN)),
                                 vector(type, 2, VALUES(NAN, 5))),
                     PLEAT_SHAPE(2), VALUES(4, 5));
    }
}

Test(elementwise, where_lets_nothing_through) {
    pleat_tensor *x = vector(PLEAT_F64, 2, VALUES(4, 0)), *g, *gg;
    pleat_tensor *y = pleat_where(pleat_gt(x, pleat_full_like(x, 1)), pleat_log(x), pleat_square(x));
    EXPECT_OK(pleat_grads(pleat_sum(y), NULL, 1, &x, &g, PLEAT_GRADS_RECORD));
    cr_assert_eq(pleat_at(g, (size_t[]){0}), 0.25);
    EXPECT_OK(pleat_grads(pleat_slice(g, (size_t[]){0}, (size_t[]){1}, NULL), NULL, 1, &x, &gg, 0));
    cr_assert_eq(pleat_at(gg, (size_t[]){0}), -0.0625);
}

Test(elementwise, first_of_equals) {
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3), VALUES(1, 3, 3, 2, 2, 2));
    EXPECT_HOLDS(largest_at(x, 1), PLEAT_SHAPE(2), VALUES(1, 0));
    EXPECT_HOLDS(largest_at(x, 0), PLEAT_SHAPE(3), VALUES(1, 0, 0));
    EXPECT_HOLDS(largest_at(gappy(x), 1), PLEAT_SHAPE(2), VALUES(1, 0));
}

Test(elementwise, empty_and_scalar) {
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3)),
                 *one = pleat_full(ctx, PLEAT_F64, PLEAT_SCALAR, -2);
    EXPECT_SAME(pleat_softmax(none, 1), none);
    EXPECT_SAME(pleat_softmax(none, 0), none);
    EXPECT_SAME(pleat_gelu(none), none);
    EXPECT_SAME(pleat_maximum(none, none), none);
    EXPECT_HOLDS(pleat_amax(none, PLEAT_AXES(1)), PLEAT_SHAPE(0), VALUES(0));
    EXPECT_HOLDS(pleat_amax(one), PLEAT_SCALAR, VALUES(-2));
    EXPECT_HOLDS(pleat_abs(one), PLEAT_SCALAR, VALUES(2));
    EXPECT_REFUSED(pleat_amax(none), PLEAT_ERR_SHAPE, "amax", "empty");
    EXPECT_REFUSED(pleat_amin(none, PLEAT_AXES(0)), PLEAT_ERR_SHAPE, "amax", "empty");
    EXPECT_FAILED(pleat_argmax(none, 0, NULL), PLEAT_ERR_SHAPE, "argmax", "empty");
    EXPECT_FAILED(pleat_argmax(one, 0, NULL), PLEAT_ERR_ARGUMENT, "argmax", "[]: there is no axis 0");
    EXPECT_FAILED(pleat_argmax(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1)), 1, NULL), PLEAT_ERR_ARGUMENT,
                  "argmax", "index");
    EXPECT_OK(pleat_argmax(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 1)), 1, NULL));
    EXPECT_REFUSED(pleat_amax(none, PLEAT_AXES(2)), PLEAT_ERR_ARGUMENT, "amax", "beyond the rank 2");
    EXPECT_REFUSED(pleat_softmax(none, 2), PLEAT_ERR_ARGUMENT, "softmax", "[0,3]", "no axis 2");
    EXPECT_REFUSED(pleat_maximum(one, NULL), PLEAT_ERR_ARGUMENT, "maximum", "null");
    cr_assert(pleat_is_poison(pleat_softmax(pleat_poison(ctx), 0)));
    cr_assert(pleat_is_poison(pleat_amax(pleat_poison(ctx))));
    EXPECT_FAILED(pleat_argmax(pleat_poison(ctx), 0, NULL), PLEAT_ERR_ARGUMENT, "argmax", "poison");
}

/* f32 holds e^-1e4 as 0 and 1e4 as it is. */
Test(elementwise, nothing_overflows) {
    pleat_tensor *x = vector(PLEAT_F32, 3, VALUES(-1e4, 1e4, 88.9)), *g;
    EXPECT_HOLDS(pleat_softplus(x), PLEAT_SHAPE(3), VALUES(0, 1e4, (double)88.9f));
    EXPECT_HOLDS(pleat_silu(x), PLEAT_SHAPE(3), VALUES(-0.0, 1e4, (double)88.9f));
    EXPECT_HOLDS(pleat_elu(x, 1), PLEAT_SHAPE(3), VALUES(-1, 1e4, (double)88.9f));
    EXPECT_OK(pleat_grads(pleat_sum(pleat_elu(x, 1)), NULL, 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(3), VALUES(0, 1, 1));
    EXPECT_HOLDS(pleat_softmax(x, 0), PLEAT_SHAPE(3), VALUES(0, 1, 0));
}

Test(elementwise, threads_do_not_show) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(700, 300)), *first[5] = {NULL};
    for (int threads = 1; threads <= 5; threads++) {
        pleat_set_threads(ctx, threads);
        pleat_tensor *y[] = {pleat_softmax(x, 1), pleat_log_softmax(x, 0), pleat_amax(x, PLEAT_AXES(0)),
                             largest_at(x, 1), pleat_var(x, PLEAT_AXES(1))};
        for (size_t i = 0; i < 5; i++) {
            if (threads == 1) first[i] = y[i];
            EXPECT_SAME(y[i], first[i]);
        }
    }
}

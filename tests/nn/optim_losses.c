/* Losses: values and gradients against PyTorch and against difference quotients, what they do at the ends, and what they refuse. */
#include <math.h>
#include <string.h>

#include "optim.h"
#include "rows.h"

TestSuite(losses, .init = optim_begin, .fini = optim_end);

/* ---- against PyTorch ----------------------------------------------------------------------------------- */

static const pleat_nn_reduction hows[] = {PLEAT_NN_MEAN, PLEAT_NN_SUM, PLEAT_NN_NONE};
static const char *const how_names[] = {"mean", "sum", "none"};
static pleat_nn_reduction how;
static double smoothing;
static const double *weight;

static const size_t four[] = {2, 0, 1, 2}, of_planes[] = {0, 2, 1, 1, 1, 3};
#define LABELS(...) ((const size_t[]){__VA_ARGS__})

FUNCTION(mse, pleat_nn_mse_loss(a, b, .reduction = how))
FUNCTION(l1, pleat_nn_l1_loss(a, b, .reduction = how))
FUNCTION(huber, pleat_nn_huber_loss(a, b, .reduction = how, .delta = 0.75))
FUNCTION(bce, pleat_nn_bce_loss(a, b, .reduction = how))
FUNCTION(logits, pleat_nn_bce_with_logits_loss(a, b, .reduction = how))
FUNCTION(of_numbers, pleat_nn_cross_entropy_loss(a, .labels = four, .reduction = how,
                                                 .label_smoothing = smoothing, .weight = weight))
FUNCTION(planes, pleat_nn_cross_entropy_loss(a, .labels = of_planes, .reduction = how,
                                             .label_smoothing = smoothing, .weight = weight))
FUNCTION(shares,
         pleat_nn_cross_entropy_loss(a, b, .reduction = how, .label_smoothing = smoothing, .weight = weight))
FUNCTION(kl, pleat_nn_kl_loss(a, b))
FUNCTION(dice, pleat_nn_dice_loss(a, b, .reduction = how, .smooth = 0.5))

typedef struct named {
    const char *name;
    pleat_function f;
} named;

static void expect_loss(const named *loss, const char *more) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s%s", loss->name, how_names[how], more);
    expect_op(torch, name, loss->f);
}

Test(losses, agree_with_pytorch) {
    static const named plain[] = {{"mse", mse}, {"l1", l1},         {"huber", huber},
                                  {"bce", bce}, {"logits", logits}, {"dice", dice}};
    static const named smooth[] = {
        {"numbers", of_numbers}, {"planes", planes}, {"shares", shares}, {"share_planes", shares}};
    for (size_t h = 0; h < 3; h++) {
        how = hows[h];
        for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) expect_loss(&plain[i], "");
        for (size_t i = 0; i < sizeof smooth / sizeof *smooth; i++) {
            smoothing = 0;
            expect_loss(&smooth[i], "");
            smoothing = 0.1;
            expect_loss(&smooth[i], ".smooth");
        }
        weight = VALUES(0.5, 0, 3, 1.25);
        for (size_t i = 0; i < 3; i++) {
            smoothing = 0;
            expect_loss(&smooth[i], ".weight");
            smoothing = 0.1;
            expect_loss(&smooth[i], ".weight.smooth");
        }
        weight = NULL;
    }
    expect_op(torch, "kl", kl);
}

/* ---- against difference quotients ------------------------------------------------------------------------ */

FUNCTION(mse_row, pleat_nn_mse_loss(a, b))
FUNCTION(mse_views,
         pleat_nn_mse_loss(gappy(a), pleat_permute(b, (size_t[]){1, 0}), .reduction = PLEAT_NN_SUM))
FUNCTION(l1_row, pleat_nn_l1_loss(a, pleat_full_like(a, 0.5)))
FUNCTION(huber_row, pleat_nn_huber_loss(a, pleat_full_like(a, -0.25), .reduction = PLEAT_NN_SUM))
FUNCTION(huber_none, pleat_nn_huber_loss(pleat_zeros_like(a), a, .delta = 2, .reduction = PLEAT_NN_NONE))
FUNCTION(bce_row, pleat_nn_bce_loss(a, b))
FUNCTION(bce_views,
         pleat_nn_bce_loss(gappy(a), pleat_permute(b, (size_t[]){1, 0}), .reduction = PLEAT_NN_NONE))
FUNCTION(logits_row, pleat_nn_bce_with_logits_loss(a, b))
FUNCTION(logits_views, pleat_nn_bce_with_logits_loss(pleat_permute(a, (size_t[]){1, 0}), gappy(b),
                                                     .reduction = PLEAT_NN_NONE))
FUNCTION(numbers_row, pleat_nn_cross_entropy_loss(a, .labels = four))
FUNCTION(numbers_smooth, pleat_nn_cross_entropy_loss(gappy(a), .labels = four, .label_smoothing = 0.3))
FUNCTION(numbers_weighted, pleat_nn_cross_entropy_loss(gappy(a), .labels = four, .label_smoothing = 0.3,
                                                       .weight = VALUES(0.25, 2, 0)))
FUNCTION(planes_row, pleat_nn_cross_entropy_loss(a, .labels = of_planes, .reduction = PLEAT_NN_NONE))
FUNCTION(shares_row, pleat_nn_cross_entropy_loss(a, b, .label_smoothing = 0.3))
FUNCTION(share_planes, pleat_nn_cross_entropy_loss(gappy(a), b, .reduction = PLEAT_NN_NONE))
FUNCTION(dice_row, pleat_nn_dice_loss(a, gappy(b), .smooth = 0.25))
FUNCTION(kl_row, pleat_nn_kl_loss(a, gappy(b)))
FUNCTION(weighted_one_hot, pleat_mul(a, pleat_nn_one_hot(ctx, pleat_dtype_of(a), 4, four, 3)))

Test(losses, gradients) {
    static const row rows[] = {
        {"mse", mse_row, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"mse of views", mse_views, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {3, 2}}},
        {"mse of scalars", mse_row, -1, 1, .rank = {SCALAR, SCALAR}},
        {"l1", l1_row, -1, 1, {0.5, 0.5}, true, .rank = {1}, .shape = {{6}}},
        {"huber", huber_row, -2, 2, {-1.25, 0.75}, true, .rank = {1}, .shape = {{8}}},
        {"huber, none", huber_none, -4, 4, {-2, 2}, true, .rank = {2}, .shape = {{2, 3}}},
        {"bce", bce_row, 0.1, 0.9, .rank = {2, 2}, .shape = {{2, 2}, {2, 2}}},
        {"bce of views", bce_views, 0.1, 0.9, .rank = {2, 2}, .shape = {{2, 3}, {3, 2}}},
        {"logits", logits_row, -2, 2, .rank = {2, 2}, .shape = {{2, 2}, {2, 2}}},
        {"logits of views", logits_views, -2, 2, .rank = {2, 2}, .shape = {{3, 2}, {2, 3}}},
        {"class numbers", numbers_row, -1, 1, .rank = {2}, .shape = {{4, 3}}},
        {"class numbers, smooth", numbers_smooth, -1, 1, .rank = {2}, .shape = {{4, 3}}},
        {"class numbers, weighted", numbers_weighted, -1, 1, .rank = {2}, .shape = {{4, 3}}},
        {"class numbers of planes", planes_row, -1, 1, .rank = {4}, .shape = {{2, 4, 1, 3}}},
        {"probabilities", shares_row, 0.1, 0.9, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"probabilities of planes", share_planes, 0.1, 0.9, .rank = {3, 3}, .shape = {{2, 2, 2}, {2, 2, 2}}},
        {"kl", kl_row, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"dice", dice_row, 0.1, 0.9, .rank = {3, 3}, .shape = {{1, 2, 2}, {1, 2, 2}}},
        {"one_hot", weighted_one_hot, -1, 1, .rank = {2}, .shape = {{4, 3}}},
    };
    CHECK_ROWS(rows);
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static pleat_tensor *vector(pleat_dtype dtype, size_t n, const double *values) {
    return pleat_from_f64(ctx, dtype, 1, &n, values);
}

Test(losses, of_small_tensors) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = vector(type, 4, VALUES(0, 3, -1, 5)), *t = vector(type, 4, VALUES(0, 1, 1, 4.5));
        EXPECT_HOLDS(pleat_nn_mse_loss(x, t), PLEAT_SCALAR, VALUES(8.25 / 4));
        EXPECT_HOLDS(pleat_nn_l1_loss(x, t, .reduction = PLEAT_NN_SUM), PLEAT_SCALAR, VALUES(4.5));
        EXPECT_HOLDS(pleat_nn_huber_loss(x, t, .reduction = PLEAT_NN_NONE), PLEAT_SHAPE(4),
                     VALUES(0, 1.5, 1.5, 0.125));
        EXPECT_HOLDS(pleat_nn_huber_loss(x, t, .reduction = PLEAT_NN_NONE, .delta = 2), PLEAT_SHAPE(4),
                     VALUES(0, 2, 2, 0.125));
        EXPECT_HOLDS(pleat_nn_kl_loss(pleat_full(ctx, type, PLEAT_SHAPE(2, 3), 2),
                                      pleat_zeros(ctx, type, PLEAT_SHAPE(2, 3))),
                     PLEAT_SHAPE(2), VALUES(6, 6));
        /* the mean is over the items, and not over their elements */
        pleat_tensor *flat = pleat_zeros(ctx, type, PLEAT_SHAPE(2, 4, 3));
        EXPECT_NEAR(pleat_nn_cross_entropy_loss(flat, .labels = LABELS(0, 1, 2, 3, 3, 0)),
                    pleat_full(ctx, type, PLEAT_SCALAR, log(4)), 1e-7);
        EXPECT_NEAR(pleat_nn_cross_entropy_loss(flat, pleat_full_like(flat, 0.25), .reduction = PLEAT_NN_SUM),
                    pleat_full(ctx, type, PLEAT_SCALAR, 6 * log(4)), 1e-6);
    }
}

/* Whole numbers and powers of two: a perfect mask, an empty one, and one without overlap. */
Test(losses, dice_of_masks) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x =
            pleat_from_f64(ctx, type, PLEAT_SHAPE(2, 2, 1, 3), VALUES(1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0));
        pleat_tensor *t =
            pleat_from_f64(ctx, type, PLEAT_SHAPE(2, 2, 1, 3), VALUES(1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1));
        EXPECT_HOLDS(pleat_nn_dice_loss(x, t, .reduction = PLEAT_NN_NONE), PLEAT_SHAPE(2, 2),
                     VALUES(0, 0, 0.75, 1 - rounded(type, 0.6)));
        EXPECT_HOLDS(pleat_nn_dice_loss(pleat_slice(x, (size_t[4]){0}, (size_t[]){1, 2, 1, 3}, NULL),
                                        pleat_slice(t, (size_t[4]){0}, (size_t[]){1, 2, 1, 3}, NULL)),
                     PLEAT_SCALAR, VALUES(0));
        pleat_tensor *none = pleat_zeros(ctx, type, PLEAT_SHAPE(0, 2, 4));
        EXPECT_HOLDS(pleat_nn_dice_loss(none, none, .reduction = PLEAT_NN_NONE), PLEAT_SHAPE(0, 2),
                     VALUES(0));
        EXPECT_REFUSED(pleat_nn_dice_loss(x, none), PLEAT_ERR_SHAPE, "dice_loss", "must be equal");
        EXPECT_REFUSED(pleat_nn_dice_loss(x, t, .smooth = -1), PLEAT_ERR_ARGUMENT, "dice_loss", "smooth");
        pleat_tensor *flat = pleat_reshape(x, PLEAT_SHAPE(4, 3));
        EXPECT_REFUSED(pleat_nn_dice_loss(flat, flat), PLEAT_ERR_SHAPE, "dice_loss", "[4,3]", "[N,K,..]");
    }
}

Test(losses, of_empty_tensors) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3));
    EXPECT_HOLDS(pleat_nn_mse_loss(x, x, .reduction = PLEAT_NN_SUM), PLEAT_SCALAR, VALUES(0));
    EXPECT_HOLDS(pleat_nn_bce_with_logits_loss(x, x, .reduction = PLEAT_NN_NONE), PLEAT_SHAPE(0, 3),
                 VALUES(0));
    EXPECT_HOLDS(pleat_nn_cross_entropy_loss(x, .labels = four, .reduction = PLEAT_NN_NONE), PLEAT_SHAPE(0),
                 VALUES(0));
    EXPECT_HOLDS(pleat_nn_cross_entropy_loss(x, x, .reduction = PLEAT_NN_SUM), PLEAT_SCALAR, VALUES(0));
    EXPECT_HOLDS(pleat_nn_kl_loss(x, x), PLEAT_SHAPE(0), VALUES(0));
    EXPECT_HOLDS(pleat_nn_one_hot(ctx, PLEAT_F32, 0, NULL, 2), PLEAT_SHAPE(0, 2), VALUES(0));
    EXPECT_REFUSED(pleat_nn_cross_entropy_loss(x, .labels = four), PLEAT_ERR_SHAPE, "mean",
                   "nothing has no mean");
    EXPECT_REFUSED(pleat_nn_huber_loss(x, x), PLEAT_ERR_SHAPE, "mean", "nothing has no mean");
}

Test(losses, one_hot_tensors) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        EXPECT_HOLDS(pleat_nn_one_hot(ctx, type, 4, four, 3), PLEAT_SHAPE(4, 3),
                     VALUES(0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1));
        EXPECT_HOLDS(pleat_nn_one_hot(ctx, type, 1, LABELS(0), 1), PLEAT_SHAPE(1, 1), VALUES(1));
    }
}

/* f32 has no 2^24 + 1, so a label that had been a float would choose the element before. */
Test(losses, labels_beyond_the_floats) {
    enum { K = (1 << 24) + 2 };
    const size_t label = K - 1;
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, K));
    pleat_f32(x)[label] = 100;
    cr_expect_lt(pleat_item(pleat_nn_cross_entropy_loss(x, .labels = &label)), 1e-6);
    cr_expect_eq(pleat_at(pleat_nn_one_hot(ctx, PLEAT_F32, 1, &label, K), (size_t[]){0, label}), 1);
}

/* The labels of a batch are gone before the gradient is made. */
Test(losses, labels_are_copied) {
    size_t labels[] = {2, 0, 1, 2};
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(4, 3)), *expected, *found;
    EXPECT_OK(pleat_grads(pleat_nn_cross_entropy_loss(x, .labels = four), NULL, 1, &x, &expected, 0));
    pleat_tensor *loss = pleat_nn_cross_entropy_loss(x, .labels = labels);
    memset(labels, 0xff, sizeof labels);
    EXPECT_OK(pleat_grads(loss, NULL, 1, &x, &found, 0));
    EXPECT_SAME(found, expected);
}

Test(losses, accuracy_of_rows_and_planes) {
    pleat_tensor *x =
        pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2, 3), VALUES(1, 2, 3, 4, 1, 9, 5, 5, 0, 1, 6, 0.5));
    cr_expect_eq(pleat_nn_accuracy(x, LABELS(1, 0, 1, 0, 1, 1)), 1);
    cr_expect_eq(pleat_nn_accuracy(x, LABELS(1, 0, 1, 0, 0, 0)), 4. / 6);
    pleat_tensor *rows = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), VALUES(1, 2, 3, 9, 2, 1));
    cr_expect_eq(pleat_nn_accuracy(rows, LABELS(2, 1)), 0.5);
    cr_expect(isnan(pleat_nn_accuracy(rows, LABELS(2, 3))));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "accuracy", "the label at [1] is 3",
                  "from 0 to 2");
    cr_expect(isnan(pleat_nn_accuracy(rows, NULL)));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "accuracy", "labels is a null pointer");
    cr_expect(isnan(pleat_nn_accuracy(NULL, four)));
}

/* ---- the ends -------------------------------------------------------------------------------------------- */

static void expect_each(const char *what, pleat_tensor *found, const double *expected, double tolerance) {
    for (size_t i = 0; i < pleat_numel(found); i++) {
        double value = pleat_at(found, &i);
        cr_assert(fabs(value - expected[i]) <= tolerance * fabs(expected[i]),
                  "%s, element %zu: %.9g instead of %.9g", what, i, value, expected[i]);
    }
}

/* Each element is right to the last digits, however small it is beside x. */
Test(losses, logits_are_exact_far_from_zero) {
    static const double x[] = {1e4, 1e4, -1e4, -1e4, 1e4, 9999, 20,     -20,   20,
                               -20, 80,  -80,  0,    0,   0,    -1e-30, 1e-30, 7};
    static const double t[] = {1, 0, 0, 1, 0.25, 1 - 0x3p-14, 1, 0, 0, 1, 1, 0, 0, 1, 0.5, 0, 1, 1};
    enum { N = sizeof x / sizeof *x };
    double loss[N], slope[N], bend[N];
    for (size_t i = 0; i < N; i++) {
        double e = exp(-fabs(x[i])), positive = 1 / (1 + e), negative = e / (1 + e);
        loss[i] = (x[i] > 0 ? x[i] * (1 - t[i]) : -x[i] * t[i]) + log1p(e);
        slope[i] = (1 - t[i]) * (x[i] > 0 ? positive : negative) - t[i] * (x[i] > 0 ? negative : positive);
        bend[i] = positive * negative;
    }
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        double tolerance = type == PLEAT_F32 ? 3e-7 : 1e-15;
        pleat_tensor *in[] = {vector(type, N, x), vector(type, N, t)}, *g[2], *gg[2];
        pleat_tensor *y = pleat_nn_bce_with_logits_loss(in[0], in[1], .reduction = PLEAT_NN_NONE);
        expect_each("loss", y, loss, tolerance);
        EXPECT_OK(pleat_grads(pleat_sum(y), NULL, 2, in, g, PLEAT_GRADS_RECORD));
        expect_each("slope", g[0], slope, tolerance);
        EXPECT_SAME(g[1], pleat_neg(in[0]));
        EXPECT_OK(pleat_grads(pleat_sum(g[0]), NULL, 2, in, gg, 0));
        expect_each("bend", gg[0], bend, 3 * tolerance);
        EXPECT_SAME(gg[1], pleat_full_like(in[1], -1));
    }
}

/* The other logits may be as far away as they like. */
Test(losses, cross_entropy_is_stable) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = pleat_from_f64(ctx, type, PLEAT_SHAPE(3, 3),
                                         VALUES(1e4, 0, -INFINITY, -1e4, -1e4, -1e4, 0, 1e4, 0));
        pleat_tensor *g;
        pleat_tensor *y =
            pleat_nn_cross_entropy_loss(x, .labels = LABELS(0, 2, 0), .reduction = PLEAT_NN_NONE);
        EXPECT_NEAR(y, vector(type, 3, VALUES(0, log(3), 1e4)), 1e-6);
        EXPECT_OK(pleat_grads(pleat_sum(y), NULL, 1, &x, &g, 0));
        EXPECT_NEAR(
            g,
            pleat_from_f64(ctx, type, PLEAT_SHAPE(3, 3), VALUES(0, 0, 0, 1. / 3, 1. / 3, -2. / 3, -1, 1, 0)),
            1e-6);
    }
}

/* In the middle of the kink PyTorch's gradient is 0, and so is this. */
Test(losses, at_a_kink) {
    pleat_tensor *x = vector(PLEAT_F64, 3, VALUES(0, 1, -1)), *zero = pleat_zeros_like(x), *g;
    EXPECT_OK(pleat_grads(pleat_nn_l1_loss(x, zero, .reduction = PLEAT_NN_SUM), NULL, 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(3), VALUES(0, 1, -1));
    EXPECT_OK(pleat_grads(pleat_nn_huber_loss(x, zero, .reduction = PLEAT_NN_SUM), NULL, 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(3), VALUES(0, 1, -1));
}

Test(losses, not_a_number_comes_through) {
    pleat_tensor *x = vector(PLEAT_F32, 2, VALUES(NAN, 0.5)), *t = vector(PLEAT_F32, 2, VALUES(0.5, 0.5));
    pleat_tensor *rows = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2), VALUES(0.5, NAN));
    cr_expect(isnan(pleat_item(pleat_nn_mse_loss(x, t))));
    cr_expect(isnan(pleat_item(pleat_nn_l1_loss(x, t))));
    cr_expect(isnan(pleat_item(pleat_nn_huber_loss(x, t))));
    cr_expect(isnan(pleat_item(pleat_nn_bce_loss(x, t))));
    cr_expect(isnan(pleat_item(pleat_nn_bce_with_logits_loss(x, t))));
    cr_expect(isnan(pleat_item(pleat_nn_cross_entropy_loss(rows, .labels = LABELS(0)))));
    cr_expect(isnan(pleat_item(pleat_nn_kl_loss(rows, pleat_zeros_like(rows)))));
}

/* ---- refusals -------------------------------------------------------------------------------------------- */

typedef pleat_tensor *(*two)(pleat_nn_loss_args a);

Test(losses, refuse_operands) {
    static const struct {
        const char *name;
        two loss;
    } all[] = {{"mse_loss", pleat_nn_mse_loss_with},
               {"l1_loss", pleat_nn_l1_loss_with},
               {"huber_loss", pleat_nn_huber_loss_with},
               {"bce_loss", pleat_nn_bce_loss_with},
               {"bce_with_logits_loss", pleat_nn_bce_with_logits_loss_with},
               {"cross_entropy_loss", pleat_nn_cross_entropy_loss_with}};
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3));
    pleat_ctx *other = pleat_ctx_new();
    pleat_tensor *foreign = pleat_zeros(other, PLEAT_F32, PLEAT_SHAPE(2, 3));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *name = all[i].name;
        pleat_nn_loss_args a = {.x = x};
        EXPECT_REFUSED(all[i].loss(a), PLEAT_ERR_ARGUMENT, name, "tensor 1 is a null pointer");
        a = (pleat_nn_loss_args){.target = x};
        EXPECT_REFUSED(all[i].loss(a), PLEAT_ERR_ARGUMENT, name, "tensor 0 is a null pointer");
        cr_assert(pleat_is_poison(all[i].loss((pleat_nn_loss_args){.unset_ = 0})));
        a = (pleat_nn_loss_args){.x = x, .target = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3))};
        EXPECT_REFUSED(all[i].loss(a), PLEAT_ERR_DTYPE, name, "tensor 0 is f32", "tensor 1 is f64");
        a.target = foreign;
        EXPECT_REFUSED(all[i].loss(a), PLEAT_ERR_ARGUMENT, name, "another context");
        a.target = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1));
        EXPECT_REFUSED(all[i].loss(a), PLEAT_ERR_SHAPE, name, "[2,3]", "[2,1]");
        a = (pleat_nn_loss_args){.x = pleat_poison(ctx), .target = x};
        cr_assert(pleat_is_poison(all[i].loss(a)));
        a = (pleat_nn_loss_args){.x = x, .target = x, .reduction = (pleat_nn_reduction)7};
        EXPECT_REFUSED(all[i].loss(a), PLEAT_ERR_ARGUMENT, name, "reduction must be PLEAT_NN_MEAN");
    }
    pleat_ctx_free(other);
}

Test(losses, refuse_options) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3));
    EXPECT_REFUSED(pleat_nn_huber_loss(x, x, .delta = -1), PLEAT_ERR_ARGUMENT, "huber_loss", "delta must be");
    EXPECT_REFUSED(pleat_nn_huber_loss(x, x, .delta = NAN), PLEAT_ERR_ARGUMENT, "huber_loss",
                   "delta must be");
    EXPECT_REFUSED(pleat_nn_huber_loss(x, x, .delta = INFINITY), PLEAT_ERR_ARGUMENT, "huber_loss",
                   "delta must be");
    for (size_t i = 0; i < 3; i++)
        EXPECT_REFUSED(pleat_nn_cross_entropy_loss(x, x, .label_smoothing = VALUES(-0.1, 1.1, NAN)[i]),
                       PLEAT_ERR_ARGUMENT, "cross_entropy_loss", "label_smoothing must be from 0 to 1");
    EXPECT_REFUSED(pleat_nn_kl_loss(x, NULL), PLEAT_ERR_ARGUMENT, "kl_loss", "tensor 1 is a null pointer");
    EXPECT_REFUSED(pleat_nn_kl_loss(x, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3))), PLEAT_ERR_SHAPE,
                   "kl_loss", "[3]");
    pleat_tensor *image = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 4));
    EXPECT_REFUSED(pleat_nn_kl_loss(image, image), PLEAT_ERR_SHAPE, "kl_loss", "[2,3,4]", "[N,D]");
}

Test(losses, refuse_labels) {
    static const size_t wrong[] = {4, (size_t)1 << 31, SIZE_MAX};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            char text[64];
            snprintf(text, sizeof text, "the label at [1,0,1] is %zu; labels are from 0 to 3", wrong[i]);
            pleat_tensor *x = pleat_zeros(ctx, type, PLEAT_SHAPE(2, 4, 1, 3));
            EXPECT_REFUSED(pleat_nn_cross_entropy_loss(x, .labels = LABELS(0, 3, 1, 2, wrong[i], 9)),
                           PLEAT_ERR_ARGUMENT, "cross_entropy_loss", text);
            snprintf(text, sizeof text, "the label at [1] is %zu; labels are from 0 to 3", wrong[i]);
            EXPECT_REFUSED(pleat_nn_one_hot(ctx, type, 2, LABELS(0, wrong[i]), 4), PLEAT_ERR_ARGUMENT,
                           "one_hot", text);
        }
    }
    EXPECT_REFUSED(pleat_nn_one_hot(ctx, PLEAT_F32, 2, four, 0), PLEAT_ERR_SHAPE, "one_hot",
                   "a K of 1 or more");
    EXPECT_REFUSED(pleat_nn_one_hot(ctx, PLEAT_F32, 2, NULL, 3), PLEAT_ERR_ARGUMENT, "one_hot",
                   "null pointer");
    EXPECT_REFUSED(pleat_nn_one_hot(ctx, PLEAT_F32, 2, four, SIZE_MAX), PLEAT_ERR_SHAPE, "zeros",
                   "product of the sizes");
}

Test(losses, refuse_shapes_of_classes) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 4, 3)),
                 *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 0)),
                 *line = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2));
    static const size_t wrong[][2] = {{2, 4}, {2, 3}};
    for (size_t i = 0; i < 2; i++) {
        pleat_tensor *t = pleat_zeros(ctx, PLEAT_F32, 2, wrong[i]);
        EXPECT_REFUSED(pleat_nn_cross_entropy_loss(x, t), PLEAT_ERR_SHAPE, "cross_entropy_loss", "[2,4,3]",
                       "[N,K,..]", "class numbers are given as .labels");
    }
    EXPECT_REFUSED(pleat_nn_cross_entropy_loss(line, line), PLEAT_ERR_SHAPE, "cross_entropy_loss",
                   "x is [2]");
    EXPECT_REFUSED(pleat_nn_cross_entropy_loss(line, .labels = four), PLEAT_ERR_SHAPE, "cross_entropy_loss",
                   "x is [2]");
    EXPECT_REFUSED(pleat_nn_cross_entropy_loss(none, .labels = four), PLEAT_ERR_SHAPE, "cross_entropy_loss",
                   "[2,0]", "K of 1 or more");
    EXPECT_REFUSED(pleat_nn_cross_entropy_loss(x, x, .labels = four), PLEAT_ERR_ARGUMENT,
                   "cross_entropy_loss", "not both");
    for (size_t i = 0; i < 3; i++)
        EXPECT_REFUSED(
            pleat_nn_cross_entropy_loss(x, x, .weight = VALUES(1, 2, 3, VALUES(-1, INFINITY, NAN)[i])),
            PLEAT_ERR_ARGUMENT, "cross_entropy_loss", "the weight of class 3 is ", "finite and 0 or more");
    pleat_tensor *one = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3));
    EXPECT_REFUSED(pleat_nn_cross_entropy_loss(one, .labels = LABELS(1), .weight = VALUES(1, 0, 1)),
                   PLEAT_ERR_ARGUMENT, "cross_entropy_loss", "all items have weight 0", "no mean");
    EXPECT_HOLDS(pleat_nn_cross_entropy_loss(one, .labels = LABELS(1), .weight = VALUES(1, 0, 1),
                                             .reduction = PLEAT_NN_SUM),
                 PLEAT_SCALAR, VALUES(0));
    cr_assert(pleat_is_poison(pleat_nn_cross_entropy_loss(pleat_poison(ctx), .labels = four)));
}

/* Losses, reductions, softmax and pools of numbers of any magnitude: f32 has the value and the gradient of f64, but for rounding. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "geometry.h"
#include "pleat_nn.h"
#include "tensors.h"

TestSuite(magnitudes, .init = tensors_begin, .fini = tensors_end);

enum { ROWS = 4, COLUMNS = 6, NUMBERS = ROWS * COLUMNS, TRIALS = 250 };

typedef pleat_tensor *(*function)(pleat_tensor *x, pleat_tensor *y);

static const size_t first_classes[ROWS] = {0, 1, 5, 2};
/* Probabilities, which are the same numbers in either type. */
static pleat_tensor *odds(pleat_tensor *y) {
    return as_type(pleat_sigmoid(as_type(pleat_detach(y), PLEAT_F32)), pleat_dtype_of(y));
}

static pleat_tensor *sum(pleat_tensor *x, pleat_tensor *y) { return (void)y, pleat_sum(x, PLEAT_AXES(1)); }
static pleat_tensor *mean(pleat_tensor *x, pleat_tensor *y) { return (void)y, pleat_mean(x, PLEAT_AXES(0)); }
static pleat_tensor *softmax(pleat_tensor *x, pleat_tensor *y) { return (void)y, pleat_softmax(x, 1); }
static pleat_tensor *log_softmax(pleat_tensor *x, pleat_tensor *y) {
    return (void)y, pleat_log_softmax(x, 0);
}
static pleat_tensor *pool(pleat_tensor *x, pleat_tensor *y) {
    return (void)y, pleat_avg_pool2d(pleat_reshape(x, PLEAT_SHAPE(1, 1, ROWS, COLUMNS)), .kernel = {2, 3});
}
static pleat_tensor *l1(pleat_tensor *x, pleat_tensor *y) { return pleat_nn_l1_loss(x, y); }
static pleat_tensor *mse(pleat_tensor *x, pleat_tensor *y) { return pleat_nn_mse_loss(x, y); }
static pleat_tensor *huber(pleat_tensor *x, pleat_tensor *y) { return pleat_nn_huber_loss(x, y); }
static pleat_tensor *of_classes(pleat_tensor *x, pleat_tensor *y) {
    return (void)y, pleat_nn_cross_entropy_loss(x, .labels = first_classes, .label_smoothing = 0.1);
}
static pleat_tensor *of_probabilities(pleat_tensor *x, pleat_tensor *y) {
    return pleat_nn_cross_entropy_loss(x, odds(y));
}
static pleat_tensor *of_logits(pleat_tensor *x, pleat_tensor *y) {
    return pleat_nn_bce_with_logits_loss(x, odds(y));
}
static pleat_tensor *of_odds(pleat_tensor *x, pleat_tensor *y) {
    return pleat_nn_bce_loss(pleat_clamp(pleat_abs(x), 0, 1), odds(y));
}
static pleat_tensor *divergence(pleat_tensor *x, pleat_tensor *y) { return pleat_nn_kl_loss(x, y); }
static const struct {
    const char *name;
    function f;
    double beside; /* an error is measured beside this, if that is more */
    bool squares;  /* their sum may overflow before their mean does */
} functions[] = {
    {"sum", sum, 0, false},
    {"mean", mean, 0, false},
    {"avg_pool2d", pool, 0, false},
    {"l1_loss", l1, 0, false},
    {"mse_loss", mse, 0, true},
    {"huber_loss", huber, 0, false},
    {"bce_loss", of_odds, 1, false},
    {"bce_with_logits_loss", of_logits, 1, false},
    {"softmax", softmax, 1, false},
    {"log_softmax", log_softmax, 1, false},
    {"cross_entropy of classes", of_classes, 1, false},
    {"cross_entropy of probabilities", of_probabilities, 1, false},
    {"kl_loss", divergence, 1, true},
};

/* Numbers of about 2^power, or of any magnitude up to that. */
static void draw(double *values, int power, bool mixed, uint64_t seed) {
    for (size_t i = 0; i < NUMBERS; i++) {
        double digits = (double)random_between(&seed, -(1 << 23), 1 << 23) / (1 << 23);
        values[i] =
            rounded(PLEAT_F32, ldexp(digits, mixed ? (int)random_between(&seed, -149, power) : power));
    }
}

/* Cotangents 1, 2, 3, .. */
static pleat_tensor *counting(pleat_tensor *y) {
    return pleat_reshape(counted(pleat_dtype_of(y), PLEAT_SHAPE(pleat_numel(y))), pleat_rank(y),
                         pleat_shape(y));
}

static size_t derive(function f, const double *a, const double *b, pleat_dtype type,
                     double found[2][NUMBERS]) {
    pleat_tensor *x = pleat_from_f64(ctx, type, PLEAT_SHAPE(ROWS, COLUMNS), a), *g;
    pleat_tensor *y = f(x, pleat_from_f64(ctx, type, PLEAT_SHAPE(ROWS, COLUMNS), b));
    pleat_tensor *u = counting(y);
    EXPECT_OK(pleat_grads(y, u, 1, &x, &g, 0));
    pleat_read_f64(y, found[0]), pleat_read_f64(g, found[1]);
    return pleat_numel(y);
}

static void compare(size_t which, int power, bool mixed, uint64_t seed) {
    double a[NUMBERS], b[NUMBERS], narrow[2][NUMBERS], wide[2][NUMBERS];
    draw(a, power, mixed, seed), draw(b, mixed ? power : power < 5 ? power : 5, mixed, seed + 1);
    derive(functions[which].f, a, b, PLEAT_F32, narrow);
    size_t n[2] = {derive(functions[which].f, a, b, PLEAT_F64, wide), NUMBERS};
    for (size_t order = 0; order < 2; order++) {
        double most = functions[which].beside, error = 0;
        for (size_t i = 0; i < n[order]; i++) {
            double e = fabs(narrow[order][i] - rounded(PLEAT_F32, wide[order][i]));
            if (narrow[order][i] == rounded(PLEAT_F32, wide[order][i])) e = 0;
            most = fmax(most, fabs(wide[order][i]));
            if (!(e <= error)) error = e;
        }
        if (functions[which].squares && most > (double)FLT_MAX / NUMBERS) continue;
        cr_expect(error <= 4e-6 * most + 0x1p-146, "derivative %zu of %s at 2^%d%s: off by %g of %g", order,
                  functions[which].name, power, mixed ? " and less" : "", error, most);
    }
}

Test(magnitudes, f32_is_a_rounded_f64) {
    uint64_t seed = 3;
    for (size_t which = 0; which < sizeof functions / sizeof *functions; which++)
        for (size_t i = 0; i < TRIALS; i++)
            compare(which, (int)random_between(&seed, -148, 128), i % 2, 7 * i);
}

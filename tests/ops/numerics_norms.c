/* Normalisation of numbers whose mean is large beside their deviation, and of huge and tiny ones: f32 has the value, the first and
 * second gradients and the running statistics of f64, but for rounding. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "geometry.h"
#include "pleat_nn.h"
#include "tensors.h"

TestSuite(norms, .init = tensors_begin, .fini = tensors_end);

enum { N = 4, C = 6, H = 5, W = 3, NUMBERS = N * C * H * W };

/* ---- numbers --------------------------------------------------------------------------------------------- */

static double unit_normal(uint64_t *seed) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += (double)random_below(seed, 1 << 20) / (1 << 20);
    return sum;
}

static double two_neighbours(uint64_t *seed) {
    return random_below(seed, 2) ? 1e4 : (double)nextafterf(1e4f, 2e4f);
}
static double far_from_zero(uint64_t *seed) { return -3e5 + 0.5 * unit_normal(seed); }
static double huge(uint64_t *seed) { return 1e30 * unit_normal(seed); }
static double largest(uint64_t *seed) { return random_below(seed, 2) ? (double)FLT_MAX : -(double)FLT_MAX; }
static double tiny(uint64_t *seed) { return 1e-30 * unit_normal(seed); }
static double ordinary(uint64_t *seed) { return 2 + unit_normal(seed); }
static double one_giant(uint64_t *seed) { return random_below(seed, 40) ? unit_normal(seed) : 3e19; }

static const struct {
    const char *name;
    double (*draw)(uint64_t *seed);
    double eps;
} kinds[] = {
    {"ordinary", ordinary, 1e-5},
    {"two neighbours", two_neighbours, 1e-12},
    {"far from zero", far_from_zero, 1e-5},
    {"huge", huge, 1e-5},
    {"largest", largest, 1e-5},
    {"tiny", tiny, 1e-64},
    {"one giant", one_giant, 1e-5},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* Both types get the numbers of f32. */
static pleat_tensor *drawn(double (*draw)(uint64_t *seed), uint64_t seed, pleat_dtype type) {
    double values[NUMBERS];
    for (size_t i = 0; i < NUMBERS; i++) values[i] = rounded(PLEAT_F32, draw(&seed));
    return pleat_from_f64(ctx, type, PLEAT_SHAPE(N, C, H, W), values);
}

/* ---- values and gradients -------------------------------------------------------------------------------- */

typedef pleat_tensor *(*norm)(pleat_tensor *x, double eps);

static pleat_tensor *batch(pleat_tensor *x, double eps) { return pleat_batch_norm(x, .eps = eps); }
static pleat_tensor *layer(pleat_tensor *x, double eps) { return pleat_layer_norm(x, .axes = 3, .eps = eps); }
static pleat_tensor *group(pleat_tensor *x, double eps) {
    return pleat_group_norm(x, .groups = 2, .eps = eps);
}
static pleat_tensor *instance(pleat_tensor *x, double eps) {
    return pleat_group_norm(x, .groups = C, .eps = eps);
}
static pleat_tensor *every_other(pleat_tensor *x, double eps) {
    return pleat_normalize(x, PLEAT_AXES(1, 3), eps);
}
/* By given statistics, which are near to those of x: f32 has the same as f64, and an eps that it holds. */
static pleat_tensor *given(pleat_tensor *x, double eps) {
    pleat_dtype type = pleat_dtype_of(x);
    pleat_tensor *narrow = as_type(pleat_detach(x), PLEAT_F32);
    pleat_tensor *mean = as_type(pleat_mean(narrow, PLEAT_AXES(0, 2, 3)), type);
    pleat_tensor *var = as_type(pleat_var(narrow, PLEAT_AXES(0, 2, 3)), type),
                 *one = pleat_full_like(mean, 1);
    return pleat_batch_norm(x, one, one, mean, var, .eps = fmax(eps, (double)FLT_MIN));
}
static pleat_tensor *variance(pleat_tensor *x, double eps) {
    return (void)eps,
           pleat_broadcast_to(pleat_var(x, PLEAT_AXES(0, 2, 3), .keep = true), PLEAT_SHAPE(N, C, H, W));
}

static const struct {
    const char *name;
    norm f;
} norms[] = {{"batch_norm", batch},
             {"layer_norm", layer},
             {"group_norm", group},
             {"instance", instance},
             {"normalize over 1, 3", every_other},
             {"batch_norm by given statistics", given},
             {"var", variance}};

enum { NORMS = sizeof norms / sizeof *norms, ORDERS = 3 };

/* The value, its gradient along u, and that one's along v, as doubles. */
static void derive(norm f, size_t kind, pleat_dtype type, double found[ORDERS][NUMBERS]) {
    pleat_tensor *x = drawn(kinds[kind].draw, 1, type), *u = drawn(ordinary, 2, type);
    pleat_tensor *v = drawn(unit_normal, 3, type), *y = f(x, kinds[kind].eps), *g, *gg;
    EXPECT_OK(pleat_grads(y, u, 1, &x, &g, PLEAT_GRADS_RECORD));
    EXPECT_OK(pleat_grads(g, v, 1, &x, &gg, 0));
    pleat_read_f64(y, found[0]), pleat_read_f64(g, found[1]), pleat_read_f64(gg, found[2]);
}

static double largest_of(const double *a) {
    double most = 0;
    for (size_t i = 0; i < NUMBERS; i++) most = fmax(most, fabs(a[i]));
    return most;
}

static void compare(size_t which, size_t kind) {
    double narrow[ORDERS][NUMBERS], wide[ORDERS][NUMBERS];
    derive(norms[which].f, kind, PLEAT_F32, narrow), derive(norms[which].f, kind, PLEAT_F64, wide);
    for (size_t order = 0; order < ORDERS; order++) {
        double most = largest_of(wide[order]), error = 0;
        if (most > (double)FLT_MAX) continue; /* f32 does not hold it */
        for (size_t i = 0; i < NUMBERS; i++) {
            double e = fabs(narrow[order][i] - wide[order][i]);
            if (!(e <= error)) error = e;
        }
        cr_expect(error <= 3e-6 * most + 0x1p-147,
                  "derivative %zu of %s of numbers that are %s: off by %g of %g", order, norms[which].name,
                  kinds[kind].name, error, most);
    }
}

Test(norms, f32_is_a_rounded_f64) {
    for (size_t which = 0; which < NORMS; which++)
        for (size_t kind = 0; kind < KINDS; kind++) compare(which, kind);
}

/* Two neighbours in either type: half an ulp from their mean, which the type does not hold. */
Test(norms, neighbours_are_half_an_ulp_from_their_mean) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        double a = 1e4, b = type == PLEAT_F32 ? (double)nextafterf(1e4f, 2e4f) : nextafter(1e4, 2e4);
        pleat_tensor *x = pleat_from_f64(ctx, type, PLEAT_SHAPE(4), VALUES(a, b, b, a));
        EXPECT_HOLDS(pleat_var(x), PLEAT_SCALAR, VALUES((b - a) * (b - a) / 4));
        EXPECT_HOLDS(pleat_normalize(x, 1, 1e-60), PLEAT_SHAPE(4), VALUES(-1, 1, 1, -1));
        pleat_tensor *equal = pleat_full(ctx, type, PLEAT_SHAPE(7, 11, 3), 0.1),
                     *zeros = pleat_zeros_like(equal);
        EXPECT_HOLDS(pleat_var(equal), PLEAT_SCALAR, VALUES(0));
        EXPECT_SAME(pleat_normalize(equal, PLEAT_AXES(0, 2), 1e-60), zeros);
    }
}

/* ---- running statistics ---------------------------------------------------------------------------------- */

typedef struct statistics {
    double mean[C], var[C];
} statistics;

/* What one batch leaves in the buffers. */
static statistics train_on(size_t kind, pleat_dtype type) {
    statistics s;
    pleat_tensor *x = drawn(kinds[kind].draw, 1, type);
    pleat_nn_module *m = pleat_nn_batch_norm2d(ctx, C, .dtype = type, .momentum = 1, .eps = kinds[kind].eps);
    pleat_nn_forward(m, x);
    pleat_read_f64(pleat_nn_find_state(m, "running_mean"), s.mean);
    pleat_read_f64(pleat_nn_find_state(m, "running_var"), s.var);
    pleat_nn_free(m);
    return s;
}

static bool near_to(double found, double want, double beside) { return fabs(found - want) <= 1e-6 * beside; }

Test(norms, running_statistics) {
    for (size_t kind = 0; kind < KINDS; kind++) {
        statistics narrow = train_on(kind, PLEAT_F32), wide = train_on(kind, PLEAT_F64);
        for (size_t c = 0; c < C; c++) {
            double var = rounded(PLEAT_F32, wide.var[c]);
            cr_expect(near_to(narrow.mean[c], wide.mean[c], fabs(wide.mean[c]) + sqrt(wide.var[c])),
                      "the running mean of numbers that are %s is %g, not %g", kinds[kind].name,
                      narrow.mean[c], wide.mean[c]);
            cr_expect(narrow.var[c] == var || near_to(narrow.var[c], var, var),
                      "the running variance of numbers that are %s is %g, not %g", kinds[kind].name,
                      narrow.var[c], var);
        }
    }
}

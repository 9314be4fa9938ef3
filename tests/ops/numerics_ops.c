/* NaN, infinity and nothing in the other ops: as PyTorch has it, and as the definition of a product does. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/gemm/gemm.h"
#include "numerics.h"
#include "oracle.h"
#include "pleat_nn.h"
#include "tensors.h"

static oracle *torch;

static void begin(void) {
    tensors_begin();
    torch = oracle_read("numerics.txt");
    cr_assert(torch);
}

static void end(void) {
    oracle_free(torch);
    tensors_end();
}

TestSuite(other_ops, .init = begin, .fini = end);

/* ---- PyTorch -------------------------------------------------------------------------------------------- */

static const oracle_array *array(const char *name, const char *part) {
    const oracle_array *a = oracle_find(torch, "%s%s", name, part);
    cr_assert(a, "%s%s is missing", name, part);
    return a;
}

/* Numbers that are not finite, or not so in the type, are the same; the others are close. */
static bool alike(pleat_dtype type, double found, double expected) {
    double want = rounded(type, expected);
    if (!isfinite(want)) return isnan(want) ? isnan(found) : found == want;
    return fabs(found - want) <= (type == PLEAT_F32 ? 2e-6 : 1e-13) * fmax(1, fabs(want));
}

static void expect_array(const pleat_tensor *t, const oracle_array *a) {
    cr_assert(pleat_numel(t) == a->numel, "%s: %s", a->name, pleat_error(ctx)->text);
    double *values = doubles(a->numel);
    pleat_read_f64(t, values);
    for (size_t i = 0; i < a->numel; i++)
        cr_assert(alike(pleat_dtype_of(t), values[i], a->values[i]), "%s, %s: element %zu is %g, not %g",
                  a->name, pleat_dtype_of(t) == PLEAT_F32 ? "f32" : "f64", i, values[i], a->values[i]);
    free(values);
}

static pleat_tensor *given(const char *name, const char *part, pleat_dtype type) {
    return oracle_tensor(ctx, type, array(name, part));
}

typedef pleat_tensor *(*windowed)(pleat_tensor *x, const double *options);

static pleat_pool_args pool(pleat_tensor *x, const double *o) {
    return (pleat_pool_args){.x = x,
                             .kernel = {(size_t)o[0], (size_t)o[1]},
                             .stride = {(size_t)o[2], (size_t)o[3]},
                             .pad = {(size_t)o[4], o[5] > 0 ? (size_t)o[5] : PLEAT_NONE},
                             .dilation = {(size_t)o[6], (size_t)o[7]},
                             .ceil_mode = o[8] != 0,
                             .exclude_pad = o[9] != 0};
}

static pleat_tensor *max_pool(pleat_tensor *x, const double *o) {
    pleat_pool_args a = pool(x, o);
    a.exclude_pad = false;
    return pleat_max_pool2d_with(a);
}

static pleat_tensor *avg_pool(pleat_tensor *x, const double *o) { return pleat_avg_pool2d_with(pool(x, o)); }

static pleat_tensor *adaptive(pleat_tensor *x, const double *o) {
    return pleat_adaptive_avg_pool2d(x, (size_t)o[0], (size_t)o[1]);
}

static pleat_tensor *nearest(pleat_tensor *x, const double *o) {
    return pleat_resize_nearest(x, .size = {(size_t)o[0], (size_t)o[1]});
}

static pleat_tensor *bilinear(pleat_tensor *x, const double *o) {
    return pleat_resize_bilinear(x, .size = {(size_t)o[0], (size_t)o[1]}, .align_corners = o[2] != 0);
}

static pleat_tensor *bicubic(pleat_tensor *x, const double *o) {
    return pleat_resize_bicubic(x, .size = {(size_t)o[0], (size_t)o[1]}, .align_corners = o[2] != 0);
}

static void expect_windowed(const char *family, windowed f, size_t cases) {
    for (size_t i = 0; i < 2 * cases; i++) {
        pleat_dtype type = i % 2 ? PLEAT_F64 : PLEAT_F32;
        char name[48];
        snprintf(name, sizeof name, "%s.%zu", family, i / 2);
        pleat_tensor *x = given(name, ".x", type), *y = f(x, array(name, ".options")->values), *g;
        expect_array(y, array(name, ".y"));
        if (oracle_find(torch, "%s.g", name) == NULL) continue;
        EXPECT_OK(pleat_grads(y, given(name, ".u", type), 1, &x, &g, 0));
        expect_array(g, array(name, ".g"));
    }
}

Test(other_ops, pools_and_resizes) {
    expect_windowed("max_pool2d", max_pool, 5);
    expect_windowed("avg_pool2d", avg_pool, 4);
    expect_windowed("adaptive", adaptive, 3);
    expect_windowed("nearest", nearest, 3);
    expect_windowed("bilinear", bilinear, 6);
    expect_windowed("bicubic", bicubic, 6);
}

/* To the same size, a resize is a copy: the neighbours' weights are 0, and what they are does not matter. */
Test(other_ops, resizes_to_the_same_size) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (unsigned how = 0; how < 4; how++) {
            pleat_tensor *x = given("max_pool2d.0", ".x", type), *g;
            pleat_resize_args a = {.x = x, .size = {7, 8}, .align_corners = how & 1u, .antialias = how & 2u};
            pleat_tensor *y[] = {pleat_resize_bilinear_with(a), pleat_resize_bicubic_with(a)};
            for (size_t i = 0; i < 2; i++) {
                EXPECT_SAME(y[i], x);
                EXPECT_OK(pleat_grads(y[i], x, 1, &x, &g, 0));
                EXPECT_SAME(g, x);
            }
        }
}

static pleat_tensor *elu(pleat_tensor *x) { return pleat_elu(x, 1); }
static pleat_tensor *leaky(pleat_tensor *x) { return pleat_leaky_relu(x, 0.1); }
static pleat_tensor *clamped(pleat_tensor *x) { return pleat_clamp(x, -1, 2); }
static pleat_tensor *pow2(pleat_tensor *x) { return pleat_pow(x, 2); }
static pleat_tensor *pow3(pleat_tensor *x) { return pleat_pow(x, 3); }
/* Infinity in place of -Inf, where PyTorch has the same number; see where_pytorch_differs. */
static pleat_tensor *pow_odd(pleat_tensor *x) {
    pleat_tensor *infinite = pleat_full_like(x, INFINITY);
    return pleat_pow(pleat_where(pleat_eq(x, pleat_neg(infinite)), infinite, x), -0.7);
}
static pleat_tensor *softmax(pleat_tensor *x) { return pleat_softmax(x, 0); }
static pleat_tensor *cumsum(pleat_tensor *x) { return pleat_flip(pleat_cumsum(pleat_flip(x, 1), 0), 1); }

static const struct {
    const char *name;
    pleat_tensor *(*f)(pleat_tensor *x);
} unary[] = {
    {"exp", pleat_exp},
    {"log", pleat_log},
    {"sqrt", pleat_sqrt},
    {"square", pleat_square},
    {"tanh", pleat_tanh},
    {"sigmoid", pleat_sigmoid},
    {"relu", pleat_relu},
    {"relu6", pleat_relu6},
    {"abs", pleat_abs},
    {"erf", pleat_erf},
    {"softplus", pleat_softplus},
    {"silu", pleat_silu},
    {"gelu", pleat_gelu},
    {"elu", elu},
    {"leaky_relu", leaky},
    {"clamp", clamped},
    {"pow2", pow2},
    {"pow3", pow3},
    {"pow_odd", pow_odd},
    {"softmax", softmax},
    {"sin", pleat_sin},
    {"cos", pleat_cos},
    {"floor", pleat_floor},
    {"round", pleat_round},
    {"cumsum", cumsum},
};

static const struct {
    const char *name;
    pleat_tensor *(*f)(pleat_tensor *x, pleat_tensor *y);
} binary[] = {
    {"add", pleat_add},         {"sub", pleat_sub},         {"mul", pleat_mul}, {"div", pleat_div},
    {"maximum", pleat_maximum}, {"minimum", pleat_minimum}, {"gt", pleat_gt},   {"ge", pleat_ge},
    {"lt", pleat_lt},           {"le", pleat_le},           {"eq", pleat_eq},   {"ne", pleat_ne},
};

Test(other_ops, functions_of_numbers) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = given("x", "", type), *column = pleat_reshape(x, PLEAT_SHAPE(12, 1));
        for (size_t i = 0; i < sizeof unary / sizeof *unary; i++)
            expect_array(unary[i].f(x), array("unary.", unary[i].name));
        for (size_t i = 0; i < sizeof binary / sizeof *binary; i++)
            expect_array(binary[i].f(column, x), array("binary.", binary[i].name));
    }
}

static void expect_rows(const char *name, pleat_tensor *y) { expect_array(y, array("rows.", name)); }

Test(other_ops, reductions_norms_and_losses) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = given("rows", ".x", type), *t = given("rows", ".target", type);
        expect_rows("sum", pleat_sum(x, PLEAT_AXES(1)));
        expect_rows("mean", pleat_mean(x, PLEAT_AXES(1)));
        expect_rows("var", pleat_var(x, PLEAT_AXES(1)));
        expect_rows("amax", pleat_amax(x, PLEAT_AXES(1)));
        expect_rows("amin", pleat_amin(x, PLEAT_AXES(1)));
        expect_rows("argmax", largest_at(x, 1));
        expect_rows("log_sum_exp", pleat_log_sum_exp(x, PLEAT_AXES(1)));
        expect_rows("softmax", pleat_softmax(x, 1));
        expect_rows("log_softmax", pleat_log_softmax(x, 1));
        expect_rows("layer_norm", pleat_layer_norm(x));
        expect_rows("batch_norm", pleat_batch_norm(pleat_permute(x, (size_t[]){1, 0})));
        expect_rows("mse_loss", pleat_nn_mse_loss(x, t, .reduction = PLEAT_NN_NONE));
        expect_rows("l1_loss", pleat_nn_l1_loss(x, t, .reduction = PLEAT_NN_NONE));
        expect_rows("huber_loss", pleat_nn_huber_loss(x, t, .reduction = PLEAT_NN_NONE));
        static const size_t labels[] = {0, 1, 2, 3, 0, 1, 2, 3};
        expect_rows("cross_entropy",
                    pleat_nn_cross_entropy_loss(x, .labels = labels, .reduction = PLEAT_NN_NONE));
        pleat_tensor *a = given("matmul", ".a", type), *b = given("matmul", ".b", type);
        expect_array(pleat_matmul(a, b), array("matmul", ".c"));
        expect_array(pleat_pad(a, (size_t[]){8, 9}, (size_t[]){3, 1}, NULL), array("pad", ".y"));
    }
}

/* The sign of NaN, where PyTorch has 0; powers of -Inf, where it has one; and the limits of a loss, where it has NaN. */
Test(other_ops, where_pytorch_differs) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x =
            pleat_from_f64(ctx, type, PLEAT_SHAPE(4), VALUES(NAN, INFINITY, -INFINITY, -INFINITY));
        pleat_tensor *t = pleat_from_f64(ctx, type, PLEAT_SHAPE(4), VALUES(0, 0, 1, 0));
        EXPECT_HOLDS(pleat_sign(x), PLEAT_SHAPE(4), VALUES(NAN, 1, -1, -1));
        EXPECT_HOLDS(pleat_pow(x, -0.7), PLEAT_SHAPE(4), VALUES(NAN, 0, NAN, NAN));
        pleat_tensor *loss = pleat_nn_bce_with_logits_loss(x, t, .reduction = PLEAT_NN_NONE);
        EXPECT_HOLDS(pleat_slice(loss, (size_t[]){0}, (size_t[]){3}, NULL), PLEAT_SHAPE(3),
                     VALUES(NAN, INFINITY, INFINITY));
    }
}

/* ---- BLAS ----------------------------------------------------------------------------------------------- */

/* a [M,K], b [K,N]: small whole numbers, zeros among them. */
typedef struct matrices {
    size_t M, N, K;
    double *a, *b;
    uint64_t seed;
} matrices;

/* The product in f32 or f64, over memory that holds NaN, against loops. */
static void expect_product(const matrices *m, bool ta, bool tb, bool f32) {
    size_t M = m->M, N = m->N, K = m->K;
    double *c = doubles(M * N), *want = doubles(M * N);
    float *fa = malloc((M * K + K * N + M * N) * sizeof(float)), *fb = fa + M * K, *fc = fb + K * N;
    double *da = doubles(M * K + K * N), *db = da + M * K;
    for (size_t i = 0; i < M; i++)
        for (size_t k = 0; k < K; k++) da[ta ? k * M + i : i * K + k] = m->a[i * K + k];
    for (size_t k = 0; k < K; k++)
        for (size_t j = 0; j < N; j++) db[tb ? j * K + k : k * N + j] = m->b[k * N + j];
    for (size_t i = 0; i < M * K + K * N; i++) fa[i] = (float)da[i];
    for (size_t i = 0; i < M * N; i++) {
        c[i] = NAN, fc[i] = NAN, want[i] = 0;
        for (size_t k = 0; k < K; k++) want[i] += m->a[i / N * K + k] * m->b[k * N + i % N];
    }
    pl_gemm g = {.m = M, .n = N, .k = K, .ta = ta, .tb = tb, .lda = ta ? M : K, .ldb = tb ? K : N, .ldc = N};
    if (f32)
        pl_gemm_f32(&g, fa, fb, fc);
    else
        pl_gemm_f64(&g, da, db, c);
    for (size_t i = 0; f32 && i < M * N; i++) c[i] = (double)fc[i];
    size_t i = first_difference(c, want, M * N);
    cr_assert_eq(i, M * N, "[%zu,%zu]%s by [%zu,%zu]%s, %s: element %zu is %g, not %g", M, K, ta ? "^T" : "",
                 K, N, tb ? "^T" : "", f32 ? "f32" : "f64", i, c[i], want[i]);
    free(c), free(want), free(fa), free(da);
}

static void spoil(double *a, size_t n, uint64_t *seed) {
    static const double values[] = {INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < 1 + n / 20; i++) a[random_below(seed, n)] = values[random_below(seed, 3)];
}

/* No result is read before it is written, and no zero hides an infinity. */
static void check_product(size_t M, size_t N, size_t K, uint64_t seed) {
    matrices m = {M, N, K, doubles(M * K), doubles(K * N), seed};
    for (unsigned spoiled = 0; spoiled < 4; spoiled++) {
        fill_integers(m.a, M * K, seed), fill_integers(m.b, K * N, seed + 1);
        if (spoiled & 1u) spoil(m.a, M * K, &m.seed);
        if (spoiled & 2u) spoil(m.b, K * N, &m.seed);
        for (unsigned how = 0; how < 8; how++) expect_product(&m, how & 1u, how & 2u, how & 4u);
    }
    free(m.a), free(m.b);
}

Test(other_ops, products_keep_what_is_not_finite) {
    uint64_t seed = 5;
    for (size_t i = 0; i < 400; i++) {
        size_t most = i % 4 == 0 ? 70 : 20;
        size_t M = 1 + random_below(&seed, most), N = 1 + random_below(&seed, most);
        size_t K = 1 + random_below(&seed, most);
        if (i % 8 == 1) M = 1;
        if (i % 8 == 2) N = 1;
        check_product(M, N, K, i);
    }
    check_product(150, 140, 200, 1);
}

/* ---- nothing -------------------------------------------------------------------------------------------- */

/* y has no elements, and the gradient of x, which has none or is summed over nothing, is zeros in its shape. */
static void expect_nothing(pleat_tensor *y, pleat_tensor *x) {
    pleat_tensor *g;
    cr_assert(!pleat_is_poison(y), "%s", pleat_error(ctx)->text);
    cr_assert_eq(pleat_numel(y), 0);
    EXPECT_OK(pleat_grads(y, pleat_zeros_like(y), 1, &x, &g, 0));
    EXPECT_SAME(g, pleat_zeros_like(x));
}

Test(other_ops, no_images) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = pleat_zeros(ctx, type, PLEAT_SHAPE(0, 2, 5, 6)),
                     *w = whole(type, PLEAT_SHAPE(3, 2, 3, 3)), *v = whole(type, PLEAT_SHAPE(2, 3, 3, 3)),
                     *b = whole(type, PLEAT_SHAPE(3)), *c = whole(type, PLEAT_SHAPE(2)),
                     *none = pleat_zeros(ctx, type, PLEAT_SHAPE(0, 3, 5, 6));
        pleat_tensor *y[] = {pleat_conv2d(x, w, .pad = {1, 1}, .bias = b, .relu = true),
                             pleat_conv2d_transpose(x, v, .stride = {2, 2}, .bias = b)};
        pleat_tensor *ws[] = {w, v};
        for (size_t i = 0; i < 2; i++)
            expect_nothing(y[i], x), expect_nothing(y[i], ws[i]), expect_nothing(y[i], b);
        EXPECT_SAME(pleat_conv2d_weight(x, none, .pad = {1, 1}, .kernel = {3, 3}), pleat_zeros_like(w));
        expect_nothing(pleat_max_pool2d(x, .kernel = {2, 2}), x);
        expect_nothing(pleat_avg_pool2d(x, .kernel = {2, 3}, .pad = {1, 1}), x);
        expect_nothing(pleat_adaptive_avg_pool2d(x, 2, 2), x);
        expect_nothing(pleat_resize_nearest(x, .factor = {2, 2}), x);
        expect_nothing(pleat_resize_bilinear(x, .size = {3, 9}), x);
        expect_nothing(pleat_resize_bicubic(x, .size = {3, 9}), x);
        expect_nothing(pleat_group_norm(x, c, c, .groups = 2), x);
        expect_nothing(pleat_layer_norm(x), x);
        expect_nothing(pleat_batch_norm(x, c, c, c, pleat_square(c)), x);
        expect_nothing(pleat_softmax(x, 1), x);
        expect_nothing(pleat_cumsum(x, 0), x);
        expect_nothing(pleat_log_sum_exp(x, PLEAT_AXES(1)), x);
        expect_nothing(pleat_gather(x, 1, (size_t[]){0, 7, 5, 6}, NULL), x);
        expect_nothing(pleat_stack(2, (pleat_tensor *[]){x, x}, 1), x);
        EXPECT_SAME(pleat_scatter_add(x, 0, (size_t[]){2, 3, 5, 6}, NULL),
                    pleat_zeros(ctx, type, PLEAT_SHAPE(2, 3, 5, 6)));
        expect_nothing(pleat_log_softmax(x, 3), x);
        expect_nothing(pleat_nn_mse_loss(x, x, .reduction = PLEAT_NN_NONE), x);
        EXPECT_HOLDS(pleat_nn_l1_loss(x, x, .reduction = PLEAT_NN_SUM), PLEAT_SCALAR, VALUES(0));
        EXPECT_HOLDS(pleat_sum(x), PLEAT_SCALAR, VALUES(0));
        EXPECT_HOLDS(pleat_sum(x, PLEAT_AXES(0, 2, 3)), PLEAT_SHAPE(2), VALUES(0, 0));
    }
}

Test(other_ops, what_nothing_has_not_is_refused) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2, 5, 6)),
                 *t = whole(PLEAT_F32, PLEAT_SHAPE(1, 2, 5, 6));
    pleat_tensor *w = whole(PLEAT_F32, PLEAT_SHAPE(3, 2, 3, 3));
    EXPECT_REFUSED(pleat_mean(x), PLEAT_ERR_SHAPE, "mean", "empty");
    EXPECT_REFUSED(pleat_var(x, PLEAT_AXES(0)), PLEAT_ERR_SHAPE, "var", "empty");
    EXPECT_REFUSED(pleat_amax(x), PLEAT_ERR_SHAPE, "amax", "empty");
    EXPECT_FAILED(pleat_argmax(x, 0, NULL), PLEAT_ERR_SHAPE, "argmax", "empty");
    EXPECT_REFUSED(pleat_batch_norm(x), PLEAT_ERR_SHAPE, "batch_norm", "empty");
    EXPECT_REFUSED(pleat_nn_mse_loss(x, x), PLEAT_ERR_SHAPE, "mean", "empty");
    pleat_tensor *flat = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2, 0, 6));
    pleat_tensor *gray = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 0, 5, 6));
    EXPECT_REFUSED(pleat_conv2d(flat, w, .pad = {3, 3}), PLEAT_ERR_SHAPE, "conv2d", "[1,2,0,6]");
    EXPECT_REFUSED(pleat_conv2d(gray, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 0, 3, 3))), PLEAT_ERR_SHAPE,
                   "conv2d", "[1,0,5,6]");
    EXPECT_REFUSED(pleat_conv2d(t, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2, 3, 3))), PLEAT_ERR_SHAPE,
                   "conv2d", "[0,2,3,3]");
    EXPECT_REFUSED(pleat_conv2d_transpose(flat, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 3, 3))),
                   PLEAT_ERR_SHAPE, "conv2d_transpose", "[1,2,0,6]");
    EXPECT_REFUSED(pleat_max_pool2d(flat, .kernel = {2, 2}, .pad = {1, 1}), PLEAT_ERR_SHAPE, "max_pool2d",
                   "[1,2,0,6]");
    EXPECT_REFUSED(pleat_resize_bilinear(flat, .size = {2, 2}), PLEAT_ERR_SHAPE, "resize_bilinear",
                   "[1,2,0,6]");
    expect_nothing(pleat_avg_pool2d(gray, .kernel = {2, 2}), gray);
    expect_nothing(pleat_max_pool2d(gray, .kernel = {2, 2}), gray);
}

/* What the manual says of the order of sums and of what is rounded, in plain loops, bit for bit, on random numbers. */
#include <math.h>
#include <stdlib.h>

#include "core/functions.h"
#include "tensors.h"

TestSuite(plain, .init = tensors_begin, .fini = tensors_end);

/* Random numbers around 3, and a tensor for what a loop makes of them. */
static pleat_tensor *numbers(pleat_dtype type, size_t rank, const size_t *shape) {
    return pleat_shift(pleat_randn(ctx, type, rank, shape), 3);
}

static void put(pleat_tensor *t, size_t i, double v) {
    if (pleat_dtype_of(t) == PLEAT_F32)
        pleat_f32(t)[i] = (float)v;
    else
        pleat_f64(t)[i] = v;
}

static double *elements(const pleat_tensor *t) {
    double *x = malloc((pleat_numel(t) + 1) * sizeof *x);
    pleat_read_f64(t, x);
    return x;
}

/* ---- sums ----------------------------------------------------------------------------------------------- */

/* Of n adjacent numbers of x less `from`, or of their squares. */
static void fill_lanes(size_t n, const double *x, double first, double mean, bool squares, double lane[17]) {
    for (size_t j = 0; j < 17; j++) lane[j] = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = x[i] - first - mean;
        lane[i < n / 16 * 16 ? i % 16 : 16] += squares ? d * d : d;
    }
}

static double sum_of_row(size_t n, const double *x) {
    double l[17];
    fill_lanes(n, x, 0, 0, false, l);
    for (size_t j = 0; j < 8; j++) l[j] += l[j + 8];
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7])) + l[16];
}

Test(plain, sums) {
    static const size_t columns[] = {1, 5, 16, 37, 4099};
    for (size_t k = 0; k < 10; k++) {
        const pleat_dtype type = k % 2 ? PLEAT_F64 : PLEAT_F32;
        const size_t n = columns[k / 2];
        pleat_tensor *x = numbers(type, PLEAT_SHAPE(7, 3, n)), *rows = pleat_zeros(ctx, type, PLEAT_SHAPE(3)),
                     *kept = pleat_zeros(ctx, type, PLEAT_SHAPE(3, n)),
                     *all = pleat_zeros(ctx, type, PLEAT_SCALAR);
        double *v = elements(x);
        for (size_t b = 0; b < 3; b++) {
            double sum = 0;
            for (size_t a = 0; a < 7; a++) sum += sum_of_row(n, v + (a * 3 + b) * n);
            put(rows, b, sum / (double)(7 * n));
        }
        for (size_t i = 0; i < 3 * n; i++) {
            double sum = 0;
            for (size_t a = 0; a < 7; a++) sum += v[a * 3 * n + i];
            put(kept, i, sum);
        }
        put(all, 0, sum_of_row(21 * n, v));
        if (n > 1) EXPECT_SAME(pleat_mean(x, PLEAT_AXES(0, 2)), rows);
        EXPECT_SAME(pleat_sum(x, PLEAT_AXES(0)), kept);
        EXPECT_SAME(pleat_sum(x), all);
        free(v);
    }
}

Test(plain, softmax) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = numbers(type, PLEAT_SHAPE(7, 41)), *y = pleat_zeros_like(x),
                     *log = pleat_zeros_like(x);
        double *v = elements(x);
        for (size_t row = 0; row < 7; row++) {
            double most = v[row * 41], sum = 0, d[41], e[41];
            for (size_t i = 0; i < 41; i++) most = fmax(most, v[row * 41 + i]);
            for (size_t i = 0; i < 41; i++) {
                d[i] = rounded(type, v[row * 41 + i] - most);
                e[i] = type == PLEAT_F32 ? (double)pl_exp_f32((float)d[i]) : pl_exp_f64(d[i]);
                sum += e[i];
            }
            for (size_t i = 0; i < 41; i++) {
                put(y, row * 41 + i, e[i] * rounded(type, 1 / sum));
                put(log, row * 41 + i, d[i] - rounded(type, pl_log_f64(sum)));
            }
        }
        EXPECT_SAME(pleat_softmax(x, 1), y);
        EXPECT_SAME(pleat_log_softmax(x, 1), log);
        free(v);
    }
}

/* ---- norms ---------------------------------------------------------------------------------------------- */

/* Of x [A,K,B]: the sum of x - first - mean over slab k, or of the squares. */
static double sum_of_slab(const double *x, const size_t s[3], size_t k, double mean, bool squares) {
    double sum = 0, lane[17];
    for (size_t a = 0; a < s[0]; a++) {
        fill_lanes(s[2], x + (a * s[1] + k) * s[2], x[k * s[2]], mean, squares, lane);
        double row = lane[16];
        for (size_t j = 0; j < 16; j++) row += lane[j];
        sum += row;
    }
    return sum;
}

Test(plain, normalize) {
    static const size_t shapes[][3] = {{5, 3, 1}, {4, 3, 2}, {1, 3, 100}, {3, 70, 33}};
    for (size_t i = 0; i < 8; i++) {
        const size_t *s = shapes[i / 2], n = s[0] * s[2];
        pleat_tensor *x = numbers(i % 2 ? PLEAT_F64 : PLEAT_F32, 3, s), *y = pleat_zeros_like(x),
                     *var = pleat_zeros(ctx, pleat_dtype_of(x), PLEAT_SHAPE(s[1]));
        double *v = elements(x);
        for (size_t k = 0; k < s[1]; k++) {
            const double mean = sum_of_slab(v, s, k, 0, false) / (double)n;
            const double square = sum_of_slab(v, s, k, mean, true) / (double)n;
            put(var, k, square);
            for (size_t e = 0; e < n; e++) {
                const size_t at = (e / s[2] * s[1] + k) * s[2] + e % s[2];
                put(y, at, (v[at] - v[k * s[2]] - mean) * (1 / sqrt(square + 1e-3)));
            }
        }
        EXPECT_SAME(pleat_normalize(x, PLEAT_AXES(0, 2), 1e-3), y);
        EXPECT_SAME(pleat_var(x, PLEAT_AXES(0, 2)), var);
        free(v);
    }
}

static double fold(size_t n, const double *lane) {
    double e[8] = {0};
    for (size_t l = 0; l < n; l++) e[l % 8] += lane[l];
    return ((e[0] + e[4]) + (e[2] + e[6])) + ((e[1] + e[5]) + (e[3] + e[7]));
}

typedef struct moments {
    double m, r, var;
} moments;

/* Of slab k of x [A,K,B]; with `columns` a lane for each of B. */
static moments moments_of(const double *x, const size_t s[3], size_t k, bool columns) {
    const size_t L = columns ? s[2] : 64, piece = columns ? s[2] : 64;
    const double first = x[k * s[2]];
    double m = first, r = 0, v = 0, before = 0, n = 0, sum[128] = {0}, square[128] = {0};
    for (size_t a = 0; a < s[0]; a++)
        for (size_t i = 0; i < s[2]; i++) {
            const double d = x[(a * s[1] + k) * s[2] + i] - m;
            sum[i % L] += d, square[i % L] += d * d, n++;
            const bool whole = (i + 1) % piece == 0 || i + 1 == s[2], last = a + 1 == s[0] && i + 1 == s[2];
            if (!last && (!whole || n < 16384)) continue;
            const double total = fold(L, sum), q = fold(L, square), t = ((m - first) + total / n) - r;
            v += (q - total * (total / n)) + t * t * (before / (before + n) * n), r += t * (n / (before + n));
            m = first + r, before += n, n = 0;
            for (size_t l = 0; l < L; l++) sum[l] = square[l] = 0;
        }
    return (moments){m, r + (first - m), v / before};
}

/* x [A,K,P,Q] */
static void expect_norm(pleat_tensor *x, pleat_tensor *found, pleat_tensor *weight, pleat_tensor *bias,
                        const size_t s[4], size_t G) {
    const size_t slab[3] = {s[0], s[1], s[2] * s[3]};
    pleat_tensor *y = pleat_zeros_like(x);
    double *v = elements(x), *w = elements(weight), *b = elements(bias);
    for (size_t k = 0; k < s[1]; k++) {
        const moments o = moments_of(v, slab, k, s[0] > 1 && s[3] < 128);
        const double rate = 1 / sqrt(o.var + 1e-5);
        for (size_t e = 0; e < slab[0] * slab[2]; e++) {
            const size_t at = (e / slab[2] * s[1] + k) * slab[2] + e % slab[2],
                         p = k % G * s[2] + e % slab[2] / s[3];
            const double d = pleat_dtype_of(x) == PLEAT_F32 ? v[at] - o.m : (v[at] - o.m) - o.r;
            put(y, at, d * (rate * w[p]) + b[p]);
        }
    }
    EXPECT_SAME(found, y);
    free(v), free(w), free(b);
}

Test(plain, norms) {
    static const size_t images[][3] = {{9, 3, 99}, {40, 5, 1}, {700, 3, 50}, {1, 6, 70}, {5, 3, 5000}};
    for (size_t i = 0; i < 10; i++) {
        const pleat_dtype type = i % 2 ? PLEAT_F64 : PLEAT_F32;
        const size_t *s = images[i / 2];
        pleat_tensor *x = numbers(type, 3, s), *w = numbers(type, 1, s + 1), *b = numbers(type, 1, s + 1);
        expect_norm(x, pleat_batch_norm(x, .weight = w, .bias = b), w, b, (size_t[]){s[0], s[1], 1, s[2]},
                    s[1]);
        expect_norm(x, pleat_group_norm(x, .weight = w, .bias = b, .groups = 1), w, b,
                    (size_t[]){1, s[0], s[1], s[2]}, 1);
        w = numbers(type, 1, s + 2), b = numbers(type, 1, s + 2);
        expect_norm(x, pleat_layer_norm(x, .weight = w, .bias = b), w, b, (size_t[]){1, s[0] * s[1], s[2], 1},
                    1);
    }
}

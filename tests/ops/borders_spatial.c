/* Pools and resizes where sizes choose: windows in blocks and in fours, rows that lie inside of the image, planes of a task. */
#include "borders.h"
#include "windows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(borders_spatial, .init = tensors_begin, .fini = tensors_end);

/* ---- pools ------------------------------------------------------------------------------------------------- */

typedef struct images {
    size_t count, H, W, P, Q;
    double *x, *g;        /* [count,H,W]: pixels, and what the cotangent makes of them */
    double *y, *mean, *u; /* [count,P,Q]: the largest, the mean, and the cotangent */
    bool mean_gradient;
} images;

/* One window: the largest pixel, the first of equals, gets the cotangent; or each gets its share. */
static void window(const images *f, const pleat_pool_args *a, size_t plane, size_t p, size_t q) {
    double largest = -INFINITY, sum = 0, area = (double)(a->kernel[0] * a->kernel[1]);
    size_t to = (plane * f->P + p) * f->Q + q, at = SIZE_MAX;
    for (size_t r = 0; r < a->kernel[0]; r++)
        for (size_t s = 0; s < a->kernel[1]; s++) {
            ptrdiff_t h = (ptrdiff_t)(p * a->stride[0] + r * a->dilation[0]) - (ptrdiff_t)a->pad[0];
            ptrdiff_t w = (ptrdiff_t)(q * a->stride[1] + s * a->dilation[1]) - (ptrdiff_t)a->pad[1];
            if (h < 0 || w < 0 || h >= (ptrdiff_t)f->H || w >= (ptrdiff_t)f->W) continue;
            size_t pixel = (plane * f->H + (size_t)h) * f->W + (size_t)w;
            if (f->x[pixel] > largest) largest = f->x[pixel], at = pixel;
            sum += f->x[pixel];
            if (f->mean_gradient) f->g[pixel] += f->u[to] / area;
        }
    if (!f->mean_gradient && at != SIZE_MAX) f->g[at] += f->u[to];
    f->y[to] = largest, f->mean[to] = sum / area;
}

static void all_windows(images *f, const pleat_pool_args *a) {
    memset(f->g, 0, f->count * f->H * f->W * sizeof *f->g);
    for (size_t i = 0; i < f->count * f->P * f->Q; i++)
        window(f, a, i / (f->P * f->Q), i / f->Q % f->P, i % f->Q);
}

/* Largest pixels and their gradient; and means, if no window is cut off and all are powers of two, so that nothing is rounded. */
static void expect_pools(pleat_tensor *x, pleat_pool_args a, bool means) {
    pleat_scope s = pleat_begin(ctx);
    images f = {pleat_size(x, 0) * pleat_size(x, 1), pleat_size(x, 2), pleat_size(x, 3), .x = numbers_of(x)};
    for (size_t k = 0; k < 2; k++) {
        a.stride[k] = a.stride[k] ? a.stride[k] : a.kernel[k];
        a.dilation[k] = a.dilation[k] ? a.dilation[k] : 1;
    }
    f.P = windows_along(&a, 0, f.H), f.Q = windows_along(&a, 1, f.W);
    size_t map = f.count * f.P * f.Q, shape[] = {pleat_size(x, 0), pleat_size(x, 1), f.P, f.Q};
    pleat_tensor *u = whole(pleat_dtype_of(x), 4, shape), *g;
    f.u = numbers_of(u), f.g = room_for(f.count * f.H * f.W), f.y = room_for(map), f.mean = room_for(map);
    a.x = x;
    for (int mean = 0; mean <= (int)means; mean++) {
        f.mean_gradient = mean;
        all_windows(&f, &a);
        pleat_pool_args asked = a;
        if (a.pad[1] == 0) asked.pad[1] = PLEAT_NONE;
        pleat_tensor *y = mean ? pleat_avg_pool2d_with(asked) : pleat_max_pool2d_with(asked);
        expect_numbers(mean ? "avg_pool2d" : "max_pool2d", y, mean ? f.mean : f.y);
        EXPECT_OK(pleat_grads(y, u, 1, &x, &g, 0));
        expect_numbers(mean ? "avg_pool2d's gradient" : "max_pool2d's gradient", g, f.g);
    }
    free(f.x), free(f.u), free(f.g), free(f.y), free(f.mean);
    pleat_end(s);
}

/* 2x2 windows side by side: four at a time, the last four over those before; images with a row and a column too many. */
static void quarters(pleat_dtype type) {
    for (size_t W = 2; W < 38; W++)
        for (size_t H = 2; H < 6; H++)
            expect_pools(whole(type, PLEAT_SHAPE(1, 2, H, W)), (pleat_pool_args){.kernel = {2, 2}}, true);
}

Test(borders_spatial, of_quarters) { on_every_number_of_threads(quarters); }

/* Nearly the same, which the loops for quarters must not take: one option differs. */
static void hardly_quarters(pleat_dtype type) {
    static const pleat_pool_args almost[] = {
        {.kernel = {2, 2}, .stride = {2, 1}},   {.kernel = {2, 2}, .stride = {1, 2}},
        {.kernel = {2, 2}, .stride = {2, 3}},   {.kernel = {2, 2}, .pad = {1, 0}},
        {.kernel = {2, 2}, .pad = {0, 1}},      {.kernel = {2, 4}, .stride = {2, 2}},
        {.kernel = {4, 2}, .stride = {2, 2}},   {.kernel = {2, 1}, .stride = {2, 2}},
        {.kernel = {1, 2}, .stride = {2, 2}},   {.kernel = {2, 2}, .dilation = {1, 2}},
        {.kernel = {2, 2}, .dilation = {2, 1}}, {.kernel = {2, 2}, .ceil_mode = true},
    };
    for (size_t i = 0; i < sizeof almost / sizeof *almost; i++)
        for (size_t W = 4; W < 22; W++) {
            const pleat_pool_args *a = &almost[i];
            bool means = a->dilation[0] == 0 && !a->ceil_mode;
            expect_pools(whole(type, PLEAT_SHAPE(1, 1, 4 + W % 2, W)), *a, means);
        }
}

Test(borders_spatial, of_hardly_quarters) { on_every_number_of_threads(hardly_quarters); }

/* Windows that lie inside along their row go in blocks of 8, with steps of 1, 2, and others; those beside them one by one. */
static void blocks(pleat_dtype type) {
    for (size_t W = 3; W < 62; W++)
        for (size_t step = 1; step <= 3; step++) {
            if (W / step > 19) continue;
            for (size_t pad = 0; pad < 2; pad++) {
                pleat_pool_args a = {.kernel = {3, 3}, .stride = {1 + W % 2, step}, .pad = {1, pad}};
                a.ceil_mode = W % 3 == 0;
                expect_pools(whole(type, PLEAT_SHAPE(1, 1, 3 + W % 3, W)), a, false);
            }
        }
}

Test(borders_spatial, of_blocks) { on_every_number_of_threads(blocks); }

/* Planes of 16384 pixels together are a task. */
static void planes(pleat_dtype type) {
    static const size_t sizes[][3] = {{3, 64, 64},  {4, 64, 64},   {5, 64, 64},   {8, 64, 64},
                                      {9, 64, 64},  {2, 127, 129}, {1, 128, 128}, {2, 128, 128},
                                      {2, 5, 3277}, {2, 64, 128},  {3, 64, 128},  {2, 1, 8193},
                                      {3, 2, 4096}, {33, 2, 256},  {32, 2, 256},  {31, 2, 256}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pleat_tensor *x = whole(type, PLEAT_SHAPE(1, sizes[i][0], sizes[i][1], sizes[i][2]));
        if (sizes[i][1] > 1) expect_pools(x, (pleat_pool_args){.kernel = {2, 2}}, true);
        expect_pools(x, (pleat_pool_args){.kernel = {1, 2}, .stride = {1, 1}}, true);
    }
}

Test(borders_spatial, of_planes) { on_every_number_of_threads(planes); }

/* ---- resizes ------------------------------------------------------------------------------------------------ */

static double cubic(double a, double x) {
    if (x < 1) return (a + 2) * pow(x, 3) - (a + 3) * x * x + 1;
    return x < 2 ? a * pow(x, 3) - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

/* Row i of the matrix that takes `in` pixels to `out`, from the definition: PyTorch's. */
static void weights(const pleat_resize_args *a, bool bicubic, size_t in, size_t out, size_t i, double *w) {
    double scale = (double)in / (double)out, sum = 0;
    memset(w, 0, in * sizeof *w);
    if (a->align_corners) scale = out > 1 ? (double)(in - 1) / (double)(out - 1) : 0;
    if (a->antialias && in != out) {
        double ratio = fmax(scale, 1), centre = scale * ((double)i + 0.5);
        for (size_t k = 0; k < in; k++) {
            double x = fabs((double)k + 0.5 - centre) / ratio;
            sum += w[k] = bicubic ? cubic(-0.5, x) : fmax(1 - x, 0);
        }
        for (size_t k = 0; k < in; k++) w[k] /= sum;
        return;
    }
    double at = a->align_corners ? (double)i * scale : ((double)i + 0.5) * scale - 0.5;
    if (!bicubic) at = fmax(at, 0);
    for (int k = -1; k <= 2; k++) {
        double column = floor(at) + k, distance = fabs(at - column);
        double v = bicubic ? cubic(-0.75, distance) : fmax(1 - distance, 0);
        w[(size_t)fmin(fmax(column, 0), (double)in - 1)] += v;
    }
}

/* Along the rows of an image, or along its columns; and its gradient. */
static void expect_resize(pleat_dtype type, pleat_resize_args a, bool bicubic, size_t in, size_t out,
                          bool down) {
    pleat_scope s = pleat_begin(ctx);
    size_t other = 2, from[] = {1, 2, other, in}, to[] = {1, 2, other, out}, order[] = {0, 1, 3, 2};
    pleat_tensor *x = whole(type, 4, from), *u = whole(type, 4, to), *g;
    double *p = numbers_of(x), *q = numbers_of(u), *y = room_for(4 * out), *back = room_for(4 * in),
           *w = room_for(in);
    for (size_t row = 0; row < 4; row++)
        for (size_t i = 0; i < out; i++) {
            weights(&a, bicubic, in, out, i, w);
            for (size_t k = 0; k < in; k++) {
                y[row * out + i] += w[k] * p[row * in + k];
                back[row * in + k] += w[k] * q[row * out + i];
            }
        }
    pleat_tensor *image = down ? pleat_permute(x, order) : x;
    a.x = image, a.size[0] = down ? out : other, a.size[1] = down ? other : out;
    pleat_tensor *result = bicubic ? pleat_resize_bicubic_with(a) : pleat_resize_bilinear_with(a);
    EXPECT_NEAR(down ? pleat_permute(result, order) : result, pleat_from_f64(ctx, type, 4, to, y),
                type == PLEAT_F32 ? 1e-6 : 1e-14);
    EXPECT_OK(pleat_grads(result, down ? pleat_permute(u, order) : u, 1, &image, &g, 0));
    EXPECT_NEAR(down ? pleat_permute(g, order) : g, pleat_from_f64(ctx, type, 4, from, back),
                type == PLEAT_F32 ? 1e-6 : 1e-13);
    free(p), free(q), free(y), free(back), free(w);
    pleat_end(s);
}

/* Smaller, the same, larger; to one pixel and from one. */
static void resizes(pleat_dtype type) {
    for (size_t i = 0; i < 9 * 9 * 8; i++) {
        pleat_resize_args a = {.align_corners = i / 81 & 1, .antialias = i / 81 & 2};
        expect_resize(type, a, i / 81 & 4, 1 + i % 9, 1 + i / 9 % 9, i % 2);
    }
    for (size_t width = 2730; width <= 2731; width++) /* worth threads or not */
        expect_resize(type, (pleat_resize_args){.align_corners = false}, true, width, width / 2, width % 2);
}

Test(borders_spatial, of_resizes) { on_every_number_of_threads(resizes); }

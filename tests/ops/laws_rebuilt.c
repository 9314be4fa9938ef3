/* The convolution family rebuilt from other ops: groups, padding, dilation, strides and the transpose are nothing but
 * slices, zeros, and turned kernels around the plainest convolution. Bit for bit, in random geometries. */
#include "conv_cases.h"

TestSuite(rebuilt, .init = tensors_begin, .fini = tensors_end);

enum { RANDOM = 700 };

typedef void (*law)(const conv_case *c, const char *name);

/* A scope for each case. */
static void for_each_case(law l, const char *name) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        conv_case c;
        pleat_scope s = pleat_begin(ctx);
        for (size_t i = 0; conv_case_next(&c, i, RANDOM, type); i++) {
            l(&c, name);
            pleat_end(s);
            s = pleat_begin(ctx);
        }
        pleat_end(s);
    }
}

/* ---- groups -------------------------------------------------------------------------------------------- */

/* Part `i` of G equal parts of an axis. */
static pleat_tensor *part(pleat_tensor *t, size_t axis, size_t G, size_t i) {
    size_t start[4] = {0}, size[4];
    for (size_t k = 0; k < 4; k++) size[k] = pleat_size(t, k);
    size[axis] /= G;
    start[axis] = i * size[axis];
    return pleat_slice(t, start, size, NULL);
}

static void groups_are_separate(const conv_case *c, const char *name) {
    static const size_t axis[] = {[X] = 1, [W] = 0, [Y] = 1};
    pleat_conv_shape g = c->g;
    g.C /= g.G, g.O /= g.G, g.G = 1;
    for (letter k = X; k <= Y; k++) {
        pleat_tensor *results[8];
        cr_assert(c->g.G <= 8);
        for (size_t i = 0; i < c->g.G; i++) {
            pleat_tensor *t[3];
            for (letter m = X; m <= Y; m++) t[m] = part(c->t[m], axis[m], c->g.G, i);
            results[i] = derivative(&g, k, t);
        }
        EXPECT_EQUAL(pleat_concat(c->g.G, results, axis[k]), derivative(&c->g, k, c->t), c, name);
    }
}

/* Weights with zeros between the groups, for one group of all channels. */
static void groups_are_a_block_diagonal(const conv_case *c, const char *name) {
    pleat_tensor *rows[8];
    size_t shape[] = {c->g.O / c->g.G, c->g.C, c->g.R, c->g.S};
    for (size_t i = 0; i < c->g.G; i++) {
        size_t start[] = {0, i * (c->g.C / c->g.G), 0, 0};
        rows[i] = pleat_pad(part(c->t[W], 0, c->g.G, i), shape, start, NULL);
    }
    conv_case whole_case = *c;
    whole_case.g.G = 1;
    whole_case.t[W] = pleat_concat(c->g.G, rows, 0);
    for (letter k = X; k <= Y; k += Y - X)
        EXPECT_EQUAL(derivative(&whole_case.g, k, whole_case.t), derivative(&c->g, k, c->t), c, name);
}

Test(rebuilt, groups_are_separate) { for_each_case(groups_are_separate, "rebuilt/groups_are_separate"); }
Test(rebuilt, groups_are_a_block_diagonal) {
    for_each_case(groups_are_a_block_diagonal, "rebuilt/groups_are_a_block_diagonal");
}

/* ---- padding, shift, stride, dilation -------------------------------------------------------------------- */

/* Zeros around the image as far as any tap reaches, or the image cropped, and then no padding at all. */
static void padding_is_zeros_around(const conv_case *c, const char *name) {
    size_t start[4] = {0}, size[4], around[4], zero[4] = {0}, image[2] = {c->g.H, c->g.W};
    for (size_t k = 0; k < 4; k++) size[k] = around[k] = pleat_size(c->t[X], k);
    for (size_t k = 0; k < 2; k++) {
        size_t crop = c->g.pad[k] < 0 ? (size_t)-c->g.pad[k] : 0,
               margin = c->g.pad[k] > 0 ? (size_t)c->g.pad[k] : 0;
        if (crop >= image[k]) return;
        start[2 + k] = crop;
        size[2 + k] -= crop;
        zero[2 + k] = margin;
        around[2 + k] = size[2 + k] + margin;
    }
    conv_case bare = *c;
    bare.t[X] = pleat_pad(pleat_slice(c->t[X], start, size, NULL), around, zero, NULL);
    bare.g.H = around[2], bare.g.W = around[3];
    bare.g.pad[0] = bare.g.pad[1] = 0;
    for (letter k = W; k <= Y; k++)
        EXPECT_EQUAL(derivative(&bare.g, k, bare.t), derivative(&c->g, k, c->t), c, name);
}

/* An image read one stride further on gives a map that is one pixel further on. */
static void a_shift_of_the_image_shifts_the_map(const conv_case *c, const char *name) {
    for (size_t axis = 0; axis < 2; axis++) {
        pleat_conv_shape shifted = c->g, longer = c->g;
        size_t start[4] = {0};
        *(axis == 0 ? &longer.P : &longer.Q) += 1;
        shifted.pad[axis] -= (ptrdiff_t)c->g.stride[axis];
        start[2 + axis] = 1;
        pleat_tensor *rest = pleat_slice(derivative(&longer, Y, c->t), start, pleat_shape(c->t[Y]), NULL);
        EXPECT_EQUAL(derivative(&shifted, Y, c->t), rest, c, name);
    }
}

/* Every stride-th pixel of the map of stride 1. */
static void a_stride_leaves_out(const conv_case *c, const char *name) {
    pleat_conv_shape dense = c->g;
    size_t start[4] = {0}, step[] = {1, 1, c->g.stride[0], c->g.stride[1]};
    dense.P = (c->g.P - 1) * c->g.stride[0] + 1, dense.Q = (c->g.Q - 1) * c->g.stride[1] + 1;
    dense.stride[0] = dense.stride[1] = 1;
    pleat_tensor *map = derivative(&dense, Y, c->t);
    EXPECT_EQUAL(pleat_slice(map, start, pleat_shape(c->t[Y]), step), derivative(&c->g, Y, c->t), c, name);
    conv_case stuffed = *c;
    stuffed.g = dense;
    stuffed.t[Y] = pleat_pad(c->t[Y], (size_t[]){c->g.N, c->g.O, dense.P, dense.Q}, start, step);
    for (letter k = X; k <= W; k++)
        EXPECT_EQUAL(derivative(&dense, k, stuffed.t), derivative(&c->g, k, c->t), c, name);
}

/* Zeros between the taps of the kernel, and no dilation. */
static void dilation_is_a_stuffed_kernel(const conv_case *c, const char *name) {
    size_t start[4] = {0}, step[] = {1, 1, c->g.dilation[0], c->g.dilation[1]};
    conv_case stuffed = *c;
    stuffed.g.R = (c->g.R - 1) * c->g.dilation[0] + 1, stuffed.g.S = (c->g.S - 1) * c->g.dilation[1] + 1;
    stuffed.g.dilation[0] = stuffed.g.dilation[1] = 1;
    stuffed.t[W] =
        pleat_pad(c->t[W], (size_t[]){c->g.O, c->g.C / c->g.G, stuffed.g.R, stuffed.g.S}, start, step);
    for (letter k = X; k <= Y; k += Y - X)
        EXPECT_EQUAL(derivative(&stuffed.g, k, stuffed.t), derivative(&c->g, k, c->t), c, name);
    pleat_tensor *w = derivative(&stuffed.g, W, stuffed.t);
    EXPECT_EQUAL(pleat_slice(w, start, pleat_shape(c->t[W]), step), derivative(&c->g, W, c->t), c, name);
}

/* The corner cases hold strides of a million, which are no size for a map. */
static void unless_huge(law l, const conv_case *c, const char *name) {
    if (c->g.stride[0] < 100 && c->g.stride[1] < 100) l(c, name);
}
static void stride_law(const conv_case *c, const char *name) { unless_huge(a_stride_leaves_out, c, name); }

Test(rebuilt, padding_is_zeros_around) {
    for_each_case(padding_is_zeros_around, "rebuilt/padding_is_zeros_around");
}
Test(rebuilt, a_shift_of_the_image_shifts_the_map) {
    for_each_case(a_shift_of_the_image_shifts_the_map, "rebuilt/a_shift_of_the_image_shifts_the_map");
}
Test(rebuilt, a_stride_leaves_out) { for_each_case(stride_law, "rebuilt/a_stride_leaves_out"); }
Test(rebuilt, dilation_is_a_stuffed_kernel) {
    for_each_case(dilation_is_a_stuffed_kernel, "rebuilt/dilation_is_a_stuffed_kernel");
}

/* ---- the transpose ------------------------------------------------------------------------------------- */

/* [O,C/G,R,S] to [C,O/G,R,S], every tap turned by 180 degrees. */
static pleat_tensor *turned_kernel(const pleat_conv_shape *g, pleat_tensor *w) {
    size_t in = g->C / g->G, out = g->O / g->G;
    pleat_tensor *grouped = pleat_reshape(w, PLEAT_SHAPE(g->G, out, in, g->R, g->S));
    pleat_tensor *swapped = pleat_permute(grouped, (size_t[]){0, 2, 1, 3, 4});
    return pleat_flip(pleat_reshape(swapped, PLEAT_SHAPE(g->C, out, g->R, g->S)), PLEAT_AXES(2, 3));
}

/* Zeros between the pixels of the map, then a convolution of stride 1 with the turned kernel. */
static void transpose_is_zero_insertion(const conv_case *c, const char *name) {
    const pleat_conv_shape *g = &c->g;
    size_t start[4] = {0}, step[] = {1, 1, g->stride[0], g->stride[1]};
    size_t around[] = {g->N, g->O, (g->P - 1) * g->stride[0] + 1, (g->Q - 1) * g->stride[1] + 1};
    pleat_tensor *stuffed = pleat_pad(c->t[Y], around, start, step);
    ptrdiff_t top = (ptrdiff_t)((g->R - 1) * g->dilation[0]) - g->pad[0];
    ptrdiff_t left = (ptrdiff_t)((g->S - 1) * g->dilation[1]) - g->pad[1];
    pleat_tensor *image =
        pleat_conv2d(stuffed, turned_kernel(g, c->t[W]), .dilation = {g->dilation[0], g->dilation[1]},
                     .groups = g->G, .pads = {top, left, 0, 0}, .size = {g->H, g->W});
    EXPECT_EQUAL(image, derivative(g, X, c->t), c, name);
}
static void transpose_law(const conv_case *c, const char *name) {
    unless_huge(transpose_is_zero_insertion, c, name);
}

Test(rebuilt, transpose_is_zero_insertion) {
    for_each_case(transpose_law, "rebuilt/transpose_is_zero_insertion");
}

/* One pixel of the map, seen through the transpose, is the kernel laid into the image. */
static void an_impulse_shows_the_kernel(const conv_case *c, const char *name) {
    const pleat_conv_shape *g = &c->g;
    size_t o = g->O / 2, p = g->P / 2, q = g->Q / 2, in = g->C / g->G, first = o / (g->O / g->G) * in;
    conv_case one = *c;
    one.t[Y] = pleat_pad(pleat_full(ctx, pleat_dtype_of(c->t[Y]), PLEAT_SHAPE(1, 1, 1, 1), 1),
                         pleat_shape(c->t[Y]), (size_t[]){0, o, p, q}, NULL);
    pleat_tensor *image = derivative(g, X, one.t);
    double sum = 0;
    for (size_t i = 0; i < in * g->R * g->S; i++) {
        size_t channel = i / (g->R * g->S), r = i / g->S % g->R, s = i % g->S;
        long long pixel = reference_pixel(g, p, q, r, s);
        if (pixel < 0) continue;
        double tap = pleat_at(c->t[W], (size_t[]){o, channel, r, s});
        double found =
            pleat_at(image, (size_t[]){0, first + channel, (size_t)pixel / g->W, (size_t)pixel % g->W});
        cr_assert_eq(found, tap, "%s", geometry_reproduce(g, "test_laws", name).text);
        sum += tap * tap;
    }
    cr_assert_eq(pleat_item(pleat_sum(pleat_square(image))), sum, "and nothing else");
}

Test(rebuilt, an_impulse_shows_the_kernel) {
    for_each_case(an_impulse_shows_the_kernel, "rebuilt/an_impulse_shows_the_kernel");
}

/* ---- matrices ------------------------------------------------------------------------------------------ */

Test(rebuilt, one_tap_and_whole_images_are_matrix_products) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = whole(type, PLEAT_SHAPE(3, 4, 5, 6)), *w = whole(type, PLEAT_SHAPE(7, 4, 1, 1));
        pleat_tensor *product =
            pleat_matmul(pleat_reshape(w, PLEAT_SHAPE(7, 4)), pleat_reshape(x, PLEAT_SHAPE(3, 4, 30)));
        EXPECT_SAME(pleat_conv2d(x, w), pleat_reshape(product, PLEAT_SHAPE(3, 7, 5, 6)));
        pleat_tensor *dense = whole(type, PLEAT_SHAPE(2, 4, 5, 6));
        product = pleat_matmul(pleat_reshape(x, PLEAT_SHAPE(3, 120)),
                               pleat_reshape(dense, PLEAT_SHAPE(2, 120)), .tb = true);
        EXPECT_SAME(pleat_conv2d(x, dense), pleat_reshape(product, PLEAT_SHAPE(3, 2, 1, 1)));
    }
}

/* Operands that have gaps are copied first; the result is the same. */
Test(rebuilt, views_are_as_good_as_tensors) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        conv_case c = {.g = {2, 4, 6, 2, 7, 8, 4, 3, 3, 2, {2, 3}, {1, 2}, {1, 0}, {0, 0}}};
        c.t[X] = whole(type, PLEAT_SHAPE(2, 4, 7, 8));
        c.t[W] = whole(type, PLEAT_SHAPE(6, 2, 3, 2));
        c.t[Y] = whole(type, PLEAT_SHAPE(2, 6, 4, 3));
        pleat_tensor *views[3] = {gappy(c.t[X]), gappy(c.t[W]), gappy(c.t[Y])};
        for (letter k = X; k <= Y; k++) EXPECT_SAME(derivative(&c.g, k, views), derivative(&c.g, k, c.t));
        size_t nhwc[] = {0, 2, 3, 1}, nchw[] = {0, 3, 1, 2};
        views[X] = pleat_permute(pleat_contiguous(pleat_permute(c.t[X], nhwc)), nchw);
        EXPECT_SAME(derivative(&c.g, Y, views), derivative(&c.g, Y, c.t));
    }
}

/* Kinds of nodes: the convolution family, pools and resampling. */
#include "geometry.h"
#include "graph.h"
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- convolutions ------------------------------------------------------------------------------------ */

/* a: the operator, a pleat_conv_op; flag: relu, an explicit size; the third input is a bias */

static void read_options(graph *g, node *n) {
    uint8_t first = fuzz_byte(g->bytes);
    if (first == 255) { /* a layer as networks have it */
        uint64_t seed = fuzz_word(g->bytes);
        n->g = geometry_drawn(&seed, 1e6, 1e5);
        for (size_t k = 0; k < 4; k++) n->pads[k] = n->g.pad[k % 2];
        return;
    }
    for (size_t k = 0; k < 2; k++) {
        n->g.stride[k] = 1 + (k == 0 ? first % 3u : fuzz_below(g->bytes, 3));
        n->g.dilation[k] = 1 + fuzz_below(g->bytes, 6) / 4;
        n->pads[k] = fuzz_within(g->bytes, -1, 3), n->pads[k + 2] = fuzz_within(g->bytes, -1, 3);
        n->g.pad[k] = n->pads[k];
    }
    n->g.R = 1 + fuzz_below(g->bytes, 5), n->g.S = 1 + fuzz_below(g->bytes, 5);
}

static size_t a_divisor(graph *g, size_t channels) {
    size_t wish = 1 + fuzz_below(g->bytes, 4);
    return wish == 4 ? channels : channels % wish == 0 ? wish : 1;
}

/* Sizes of the axis that the operator makes, by the default rule or at will; false where there are none. */
static bool choose_sizes(graph *g, node *n, size_t made[2], const size_t from[2]) {
    const size_t kernel[2] = {n->g.R, n->g.S};
    bool forward = n->a[0] == PLEAT_CONV_FORWARD;
    n->flag[1] = fuzz_byte(g->bytes) % 4 == 0;
    for (size_t k = 0; k < 2; k++) {
        made[k] = (forward ? pleat_conv_map_size : pleat_conv_image_size)(
            from[k], kernel[k], n->g.stride[k], n->g.dilation[k], n->pads[k], n->pads[k + 2]);
        if (n->flag[1]) made[k] = 1 + fuzz_below(g->bytes, 9);
        if (made[k] == 0) return false;
    }
    return true;
}

/* The bias, and the bound of a sum of so many products. */
static bool finish_conv(graph *g, node *n, size_t terms, size_t channels) {
    uint8_t ending = fuzz_byte(g->bytes);
    bool weight = n->a[0] == PLEAT_CONV_WEIGHT;
    const node *x = graph_in(g, n, 0), *w = graph_in(g, n, 1);
    n->inputs = 2;
    n->bound = x->bound * w->bound * (double)terms, n->grain = x->grain + w->grain;
    n->flag[0] = ending & 1 && !weight;
    if (!(ending & 2) || weight) return true;
    if ((n->in[2] = graph_pick_shape(g, 1, &channels)) == SIZE_MAX) return false;
    n->inputs = 3;
    n->bound += graph_in(g, n, 2)->bound;
    if (graph_in(g, n, 2)->grain > n->grain) n->grain = graph_in(g, n, 2)->grain;
    return true;
}

static bool choose_operands(graph *g, node *n) {
    pleat_conv_shape *s = &n->g;
    n->a[0] = fuzz_below(g->bytes, 3);
    if (!node_unary(g, n, graph_pick_rank(g, 4))) return false;
    const size_t *shape = graph_in(g, n, 0)->shape;
    read_options(g, n);
    s->N = shape[0];
    if (shape[1] == 0 || shape[2] == 0 || shape[3] == 0) return false;
    s->G = a_divisor(g, shape[1]);
    bool transpose = n->a[0] == PLEAT_CONV_TRANSPOSE;
    *(transpose ? &s->O : &s->C) = shape[1],
                          *(transpose ? &s->C : &s->O) = s->G * (1 + fuzz_below(g->bytes, 3));
    *(transpose ? &s->P : &s->H) = shape[2], *(transpose ? &s->Q : &s->W) = shape[3];
    size_t made[2], from[2] = {shape[2], shape[3]};
    if (n->a[0] == PLEAT_CONV_WEIGHT)
        made[0] = 1 + fuzz_below(g->bytes, 6), made[1] = 1 + fuzz_below(g->bytes, 6);
    else if (!choose_sizes(g, n, made, from))
        return false;
    *(transpose ? &s->H : &s->P) = made[0], *(transpose ? &s->W : &s->Q) = made[1];
    const size_t weight[] = {s->O, s->C / s->G, s->R, s->S}, map[] = {s->N, s->O, s->P, s->Q};
    n->in[1] = graph_pick_shape(g, 4, n->a[0] == PLEAT_CONV_WEIGHT ? map : weight);
    return n->in[1] != SIZE_MAX;
}

static bool choose_conv(graph *g, node *n) {
    if (!choose_operands(g, n)) return false;
    const pleat_conv_shape *s = &n->g;
    size_t in = s->C / s->G, taps = s->R * s->S, most = s->N * s->O * s->P * s->Q * in * taps;
    const size_t terms[] = {in * taps, s->O / s->G * taps, s->N * s->P * s->Q + 1};
    const size_t shapes[3][4] = {{s->N, s->O, s->P, s->Q}, {s->N, s->C, s->H, s->W}, {s->O, in, s->R, s->S}};
    if (most > MOST_TERMS) return false;
    size_t channels = n->a[0] == PLEAT_CONV_TRANSPOSE ? s->C : s->O;
    return finish_conv(g, n, terms[n->a[0]], channels) && node_shape(n, 4, shapes[n->a[0]]);
}

static void compute_conv(const node *n, const values *v) {
    double *a = (double *)v->in[0], *b = (double *)v->in[1]; /* only the result is written */
    if (n->a[0] == PLEAT_CONV_FORWARD) reference_conv(&n->g, PLEAT_CONV_FORWARD, a, b, v->out);
    if (n->a[0] == PLEAT_CONV_TRANSPOSE) reference_conv(&n->g, PLEAT_CONV_TRANSPOSE, v->out, b, a);
    if (n->a[0] == PLEAT_CONV_WEIGHT) reference_conv(&n->g, PLEAT_CONV_WEIGHT, a, v->out, b);
    for (size_t i = 0; i < n->numel; i++) {
        if (n->inputs > 2) v->out[i] += v->in[2][i / (n->shape[2] * n->shape[3]) % n->shape[1]];
        if (!n->flag[0]) continue;
        kink(v->kinks, v->out[i]);
        if (v->out[i] < 0) v->out[i] = 0;
    }
}

static pleat_tensor *apply_conv(const node *n, pleat_tensor *const in[]) {
    const pleat_conv_shape *s = &n->g;
    pleat_conv_args args = {.a = in[0], .b = in[1], .groups = s->G, .relu = n->flag[0]};
    for (size_t k = 0; k < 2; k++) {
        args.stride[k] = s->stride[k], args.dilation[k] = s->dilation[k];
        args.pads[k] = n->pads[k], args.pads[k + 2] = n->pads[k + 2];
    }
    if (n->inputs > 2) args.bias = in[2];
    if (n->flag[1]) memcpy(args.size, n->shape + 2, sizeof args.size);
    if (n->a[0] == PLEAT_CONV_WEIGHT) {
        args.kernel[0] = s->R, args.kernel[1] = s->S;
        return pleat_conv2d_weight_with(args);
    }
    return n->a[0] == PLEAT_CONV_FORWARD ? pleat_conv2d_with(args) : pleat_conv2d_transpose_with(args);
}

/* ---- pools ------------------------------------------------------------------------------------------- */

/* a: kernel, stride; b: pad, dilation; flag: ceil, the mean */

static size_t windows(const node *n, size_t size, size_t k) {
    size_t extent = (n->a[k] - 1) * n->b[k + 2] + 1, room = size + 2 * n->b[k], stride = n->a[k + 2];
    if (size == 0 || room + (n->flag[0] ? stride - 1 : 0) < extent) return 0;
    size_t all = (room + (n->flag[0] ? stride - 1 : 0) - extent) / stride + 1;
    return n->flag[0] && (all - 1) * stride >= size + n->b[k] ? all - 1 : all;
}

static bool choose_pool(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick_rank(g, 4))) return false;
    const size_t *image = graph_in(g, n, 0)->shape;
    uint8_t way = fuzz_byte(g->bytes);
    n->flag[0] = way & 1, n->flag[1] = way & 2;
    for (size_t k = 0; k < 2; k++) {
        n->a[k] = 1 + fuzz_below(g->bytes, 4), n->a[k + 2] = 1 + fuzz_below(g->bytes, 3);
        n->b[k] = fuzz_below(g->bytes, n->a[k] / 2 + 1), n->b[k + 2] = 1;
        if (!n->flag[1] && n->b[k] == 0) n->b[k + 2] += fuzz_below(g->bytes, 2);
    }
    if (n->flag[1]) {
        n->flag[0] = false; /* windows that are cut off have divisors of their own */
        if (!g->real && (n->a[0] == 3 || n->a[1] == 3)) return false;
        n->grain += (int)(n->a[0] * n->a[1] > 1 ? 4 : 0);
    }
    size_t shape[4] = {image[0], image[1], windows(n, image[2], 0), windows(n, image[3], 1)};
    return shape[2] > 0 && shape[3] > 0 && node_shape(n, 4, shape);
}

/* The largest, or the mean, of a window of a channel. */
static double pool_window(const node *n, const values *v, const double *channel, const size_t place[2]) {
    const size_t *image = graph_in(v->graph, n, 0)->shape + 2;
    double sum = 0, most = -(double)INFINITY;
    for (int turn = 0; turn < 2; turn++)
        for (size_t r = 0; r < n->a[0]; r++)
            for (size_t s = 0; s < n->a[1]; s++) {
                size_t h = place[0] * n->a[2] + r * n->b[2] - n->b[0],
                       w = place[1] * n->a[3] + s * n->b[3] - n->b[1];
                if (h >= image[0] || w >= image[1]) continue; /* before the image, they are very large */
                double x = channel[h * image[1] + w];
                if (turn == 0) sum += x;
                if (x > most) most = x;
                if (turn == 1 && !n->flag[1]) kink(v->kinks, x - most);
            }
    return n->flag[1] ? sum / (double)(n->a[0] * n->a[1]) : most;
}

static void compute_pool(const node *n, const values *v) {
    const size_t *image = graph_in(v->graph, n, 0)->shape;
    size_t P = n->shape[2], Q = n->shape[3];
    for (size_t i = 0; i < n->numel; i++) {
        const double *channel = v->in[0] + i / (P * Q) * image[2] * image[3];
        v->out[i] = pool_window(n, v, channel, (size_t[]){i / Q % P, i % Q});
    }
}

static pleat_tensor *apply_pool(const node *n, pleat_tensor *const in[]) {
    pleat_pool_args args = {.x = in[0], .ceil_mode = n->flag[0]};
    memcpy(args.kernel, n->a, sizeof args.kernel);
    memcpy(args.stride, n->a + 2, sizeof args.stride);
    memcpy(args.pad, n->b, sizeof args.pad);
    if (args.pad[1] == 0) args.pad[1] = PLEAT_NONE;
    if (n->flag[1]) return pleat_avg_pool2d_with(args);
    memcpy(args.dilation, n->b + 2, sizeof args.dilation);
    return pleat_max_pool2d_with(args);
}

/* ---- resampling -------------------------------------------------------------------------------------- */

static bool choose_nearest(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick_rank(g, 4))) return false;
    const size_t *image = graph_in(g, n, 0)->shape;
    size_t shape[4] = {image[0], image[1], 1 + fuzz_below(g->bytes, 9), 1 + fuzz_below(g->bytes, 9)};
    return image[2] > 0 && image[3] > 0 && node_shape(n, 4, shape);
}

static void compute_nearest(const node *n, const values *v) {
    const size_t *image = graph_in(v->graph, n, 0)->shape;
    size_t P = n->shape[2], Q = n->shape[3];
    for (size_t i = 0; i < n->numel; i++) {
        size_t h = i / Q % P * image[2] / P, w = i % Q * image[3] / Q;
        v->out[i] = v->in[0][(i / (P * Q) * image[2] + h) * image[3] + w];
    }
}

static pleat_tensor *apply_nearest(const node *n, pleat_tensor *const in[]) {
    return pleat_resize_nearest(in[0], .size = {n->shape[2], n->shape[3]});
}

/* pads; flag: reflection */
static bool choose_edge_pad(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK];
    if (x->rank < 2 || x->shape[x->rank - 2] == 0 || x->shape[x->rank - 1] == 0) return false;
    n->flag[0] = fuzz_byte(g->bytes) & 1;
    memcpy(shape, x->shape, sizeof shape);
    for (size_t k = 0; k < 4; k++) {
        size_t axis = x->rank - 2 + k % 2, most = n->flag[0] ? x->shape[axis] : 4;
        n->pads[k] = (ptrdiff_t)fuzz_below(g->bytes, most < 4 ? most : 4);
        shape[axis] += (size_t)n->pads[k];
    }
    return node_shape(n, x->rank, shape);
}

static size_t edge_pixel(ptrdiff_t i, size_t size, bool reflection) {
    ptrdiff_t end = (ptrdiff_t)size - 1;
    if (reflection) return (size_t)(end - labs(end - labs(i)));
    return (size_t)(i < 0 ? 0 : i > end ? end : i);
}

static void compute_edge_pad(const node *n, const values *v) {
    const size_t *image = graph_in(v->graph, n, 0)->shape + n->rank - 2;
    size_t P = n->shape[n->rank - 2], Q = n->shape[n->rank - 1];
    for (size_t i = 0; i < n->numel; i++) {
        size_t h = edge_pixel((ptrdiff_t)(i / Q % P) - n->pads[0], image[0], n->flag[0]);
        size_t w = edge_pixel((ptrdiff_t)(i % Q) - n->pads[1], image[1], n->flag[0]);
        v->out[i] = v->in[0][(i / (P * Q) * image[0] + h) * image[1] + w];
    }
}

static pleat_tensor *apply_edge_pad(const node *n, pleat_tensor *const in[]) {
    pleat_edge_pad_args args = {.x = in[0]};
    memcpy(args.pads, n->pads, sizeof args.pads);
    return (n->flag[0] ? pleat_reflection_pad2d_with : pleat_replication_pad2d_with)(args);
}

/* a: r; flag: back */
static bool choose_shuffle(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick_rank(g, 4))) return false;
    const size_t *s = graph_in(g, n, 0)->shape;
    size_t r = n->a[0] = 1 + fuzz_below(g->bytes, 3);
    n->flag[0] = fuzz_byte(g->bytes) & 1;
    if (n->flag[0]) {
        const size_t shape[] = {s[0], s[1] * r * r, s[2] / r, s[3] / r};
        return s[2] % r == 0 && s[3] % r == 0 && node_shape(n, 4, shape);
    }
    const size_t shape[] = {s[0], s[1] / (r * r), s[2] * r, s[3] * r};
    return s[1] % (r * r) == 0 && node_shape(n, 4, shape);
}

static void compute_shuffle(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0), *big = n->flag[0] ? x : n, *small = n->flag[0] ? n : x;
    size_t index[PLEAT_MAX_RANK] = {0}, r = n->a[0], i = 0;
    if (n->numel == 0) return;
    do { /* over the large image */
        size_t c = (index[1] * r + index[2] % r) * r + index[3] % r;
        size_t at = ((index[0] * small->shape[1] + c) * small->shape[2] + index[2] / r) * small->shape[3] +
                    index[3] / r;
        v->out[n->flag[0] ? at : i] = v->in[0][n->flag[0] ? i : at];
        i++;
    } while (index_next(4, big->shape, index));
}

static pleat_tensor *apply_shuffle(const node *n, pleat_tensor *const in[]) {
    return (n->flag[0] ? pleat_pixel_unshuffle : pleat_pixel_shuffle)(in[0], n->a[0]);
}

/* More than one row, so that a random graph has more of them. */
#define CONV \
    { "convolution", false, choose_conv, compute_conv, apply_conv }

const kind image_kinds[] = {
    CONV,
    CONV,
    CONV,
    CONV,
    {"pool", false, choose_pool, compute_pool, apply_pool},
    {"resize_nearest", false, choose_nearest, compute_nearest, apply_nearest},
    {"edge_pad", false, choose_edge_pad, compute_edge_pad, apply_edge_pad},
    {"pixel_shuffle", false, choose_shuffle, compute_shuffle, apply_shuffle},
    {0},
};

/* Geometries by small changes of others. */
#include "decisions.h"

static size_t small_number(uint64_t *seed) {
    size_t n = (size_t)1 << random_below(seed, 6);
    return 1 + random_below(seed, n + 1);
}

/* The map of the usual rule, about. */
static void usual_map(uint64_t *seed, pleat_conv_shape *g, size_t k) {
    size_t size = k ? g->W : g->H, taps = k ? g->S : g->R;
    ptrdiff_t after = g->pad[k] + random_between(seed, -1, 3);
    size_t map = pleat_conv_map_size(size, taps, g->stride[k], g->dilation[k], g->pad[k], after);
    *(k ? &g->Q : &g->P) = map > 0 ? map : small_number(seed);
}

static void change_number(uint64_t *seed, size_t *n, size_t most) {
    size_t way = random_below(seed, 6);
    *n = way == 0   ? *n + 1
         : way == 1 ? *n - (*n > 1)
         : way == 2 ? *n * 2
         : way == 3 ? (*n + 1) / 2
         : way == 4 ? 1 + random_below(seed, most)
                    : small_number(seed);
}

/* The image is its own column matrix. */
static void one_by_one(pleat_conv_shape *g) {
    g->R = g->S = g->stride[0] = g->stride[1] = 1, g->pad[0] = g->pad[1] = 0;
    g->P = g->H, g->Q = g->W;
}

/* A narrow image under a tall kernel, without channels in and with a few out, or the other way round. */
static void tall(uint64_t *seed, pleat_conv_shape *g) {
    size_t channels = 7 + random_below(seed, 60), one = random_below(seed, 2);
    *g =
        (pleat_conv_shape){.N = small_number(seed), .C = one ? 1 : channels, .O = one ? channels : 1, .G = 1};
    g->H = small_number(seed), g->W = 2 + random_below(seed, 7), g->R = 1 + random_below(seed, 32),
    g->S = 2 + random_below(seed, 2);
    for (size_t k = 0; k < 2; k++)
        g->stride[k] = g->dilation[k] = 1, g->pad[k] = (ptrdiff_t)random_below(seed, k ? g->S : g->R),
        usual_map(seed, g, k);
}

/* Of 8 numbers; in every second case also of 16. */
static size_t whole_blocks(size_t channels) { return (channels + 7) / 8 * 8; }

void geometry_change(uint64_t *seed, pleat_conv_shape *g) {
    size_t in = g->C / g->G, out = g->O / g->G, k = random_below(seed, 2), i = random_below(seed, 30);
    size_t *numbers[] = {&g->N, &in,   &out,          &g->G,           &g->H, &g->W,
                         &g->R, &g->S, &g->stride[k], &g->dilation[k], &g->P, &g->Q};
    if (i == 0) one_by_one(g);
    if (i == 1) tall(seed, g);
    if (i < 2) return;
    if (i == 2) g->blocked[k] = !g->blocked[k];
    i %= 14;
    if (i >= 12)
        g->pad[k] = random_between(seed, -2, 6);
    else
        change_number(seed, numbers[i], i < 6 ? 64 : i < 8 ? 32 : 5);
    bool depthwise = in == 1 && out == 1; /* whose blocks are of groups */
    if (depthwise && (g->blocked[0] || g->blocked[1])) g->G = whole_blocks(g->G);
    g->C = g->G * (g->blocked[0] && !depthwise ? whole_blocks(in) : in),
    g->O = g->G * (g->blocked[1] && !depthwise ? whole_blocks(out) : out);
    for (k = 0; k < 2 && i != 10 && i != 11; k++)
        if (random_below(seed, 4)) usual_map(seed, g, k);
}

pleat_conv_shape geometry_changed(uint64_t *seed) {
    pleat_conv_shape g = geometry_random(seed);
    for (size_t i = random_below(seed, 12); i-- > 0;) geometry_change(seed, &g);
    return g;
}

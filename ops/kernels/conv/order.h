/* order.h: the order in which the terms of a weight gradient are added, by the shape and the type alone. Every engine takes it from here.
 *
 * A sum over the pixels (n, p, q) of y is cut into chunks, each a run of units. There are two ways.
 *
 * One chain. A unit is a row of the map where a map has more than CHAIN_PIXELS pixels; otherwise as many images as have so many, and of
 * these pixel (p, q) of every image comes before the next pixel. A chunk is one chain of fused multiply-adds through its units.
 *
 * Lanes, where few channels would fill a vector. A unit is a band of BAND*step rows of a map, of which each step-th makes a block: rows that
 * a dilated kernel reads together. A block goes from left to right, `lanes` columns at a time, and there from row to row; column q
 * adds to sum q mod lanes. At the end of a chunk the upper half of the sums is added to the lower half, until one is left. */
#ifndef PL_CONV_ORDER_H
#define PL_CONV_ORDER_H

#include "kernels/conv/axis.h"

enum {
    CHAIN_PIXELS = 512,
    BAND = 8,
    FEW_TERMS = 12, /* pairs (channel, tap) that are few */
    BAND_REACH =
        1 << 15, /* lanes: elements of a channel of x, at most, that a band of so many columns reaches */
    FLAT_TERMS = 7168, /* of a flat plane: pixels by taps, at most */
    MOST_CHUNKS = 8,
    CHUNK_PIXELS = 1024,   /* lanes: of a chunk, at least */
    CHUNK_BYTES = 1 << 20, /* of partial sums beside w, unless there is but one */
};

typedef struct weight_order {
    size_t lanes;        /* 1: a chain */
    bool flat;           /* lanes: the map is one long row */
    size_t height, step; /* lanes: rows of the map, 1 if it is flat; from one row of a block to the next */
    size_t images;       /* a chain: images of a unit; 0: it is a row */
    size_t units, each;  /* units, and those of a chunk */
} weight_order;

static inline size_t common_divisor(size_t a, size_t b) { return b == 0 ? a : common_divisor(b, a % b); }

/* From one row of the map to the next one that reads rows of x which it reads, too. */
static inline size_t row_step_of(const pleat_conv_shape *g) {
    return g->R > 1 ? g->dilation[0] / common_divisor(g->dilation[0], g->stride[0]) : 1;
}

/* Depthwise, with rows as long as each other and shorter than a vector. */
static inline bool is_flat(const pleat_conv_shape *g, size_t lanes) {
    bool depthwise = g->G == g->C && g->G == g->O, same = g->stride[0] * g->stride[1] == 1 && g->W == g->Q;
    return is_near(g) && depthwise && same && 4 * g->Q <= 3 * lanes && g->R * g->S <= MOST_TAPS &&
           g->P <= FLAT_TERMS && g->H <= FLAT_TERMS && g->P * g->Q * g->R * g->S <= FLAT_TERMS &&
           g->H * g->W * g->R * g->S <= FLAT_TERMS;
}

/* Whether vectors go over pixels rather than channels. */
static inline bool has_few_channels(const pleat_conv_shape *g, size_t lanes) {
    size_t out = g->O / g->G, in = g->C / g->G * g->R * g->S;
    if (!is_near(g)) return false;
    size_t rows = BAND * row_step_of(g) + (g->R - 1) * g->dilation[0] / g->stride[0],
           columns = lanes + (g->S - 1) * g->dilation[1] / g->stride[1];
    bool near = g->stride[0] * g->stride[1] * rows <= BAND_REACH / columns;
    return near && ((2 * out <= lanes && out <= g->Q) || (in <= FEW_TERMS && 4 * g->Q > 3 * lanes));
}

static inline weight_order order_of_weight(const pleat_conv_shape *g, size_t element) {
    size_t lanes = LINE / element, map = g->P * g->Q;
    weight_order k = {.lanes = 1, .height = g->P, .step = 1};
    if (is_flat(g, lanes)) {
        k.lanes = lanes, k.flat = true, k.height = 1;
        k.units = g->N;
    } else if (has_few_channels(g, lanes)) {
        k.lanes = lanes, k.step = row_step_of(g);
        k.units = g->N * ceil_div(g->P, BAND * k.step);
    } else if (map <= CHAIN_PIXELS && is_near(g)) {
        k.images = even_part(max(g->N, 1), CHAIN_PIXELS / map);
        k.units = ceil_div(g->N, k.images);
    } else {
        k.units = g->N * g->P;
    }
    size_t blocks = g->G * ceil_div(g->O / g->G, 128) * ceil_div(g->C / g->G * g->R * g->S, 576);
    size_t bytes = round_up(g->O * (g->C / g->G) * g->R * g->S * element, LINE);
    size_t chunks = min(ceil_div(MOST_CHUNKS, blocks), 1 + max(1, CHUNK_BYTES / bytes));
    chunks = min(chunks, max(1, ceil_div(g->N * map, k.lanes > 1 ? CHUNK_PIXELS : CHAIN_PIXELS)));
    k.each = max(1, ceil_div(k.units, chunks));
    return k;
}

static inline size_t chunks_of(const weight_order *k) { return max(1, ceil_div(k->units, k->each)); }

/* The images and rows of a unit. */
typedef struct weight_unit {
    range n, p;
} weight_unit;

static inline weight_unit unit_of(const pleat_conv_shape *g, const weight_order *k, size_t unit) {
    if (k->images > 0) return (weight_unit){part_of(g->N, k->images, unit), {0, g->P}};
    size_t rows = k->lanes > 1 ? BAND * k->step : 1, units = ceil_div(k->height, rows);
    return (weight_unit){{unit / units, 1}, part_of(k->height, rows, unit % units)};
}

#endif

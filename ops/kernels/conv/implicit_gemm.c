/* Implicit GEMM: a convolution as a matrix product C = A B whose operand B is read from the tensor itself, or packed straight from it, without a
 * column matrix and without a scatter. Compiled once for each instruction set and type; ENGINE is the name of the table.
 *
 * Forward and transpose. A are the weights, the rows of B are pairs (input channel, tap), its columns the pixels of a strip of the output.
 * "Input" is x forward and y transposed, "output" the other of the two. A transposed convolution is one dense product for each residue
 * of the output's pixels, its phases. Weights are packed in the order in which the micro-kernel reads them.
 *
 * Vectors over pixels (implicit_gemm_product.inc): a strip's share of the input is packed with its padding as zeros, and with each
 * residue of the stride in a plane of its own (a polyphase, or space-to-depth, layout). There each tap is a constant offset, and
 * neighbouring pixels are neighbours. Vectors over output channels (implicit_gemm_channels.inc) read the input where it lies.
 *
 * The weight gradient (implicit_gemm_weight.inc) packs the same input and takes outer products over pixels, or dot products. */
#include "kernels/conv/axis.h"
#include "kernels/conv/engine.h"
#include "kernels/conv/order.h"
#include "kernels/parallel.h"
#include "kernels/simd/vectors.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = LINE / sizeof(T) }; /* channels of a block of a blocked tensor */

/* Register tiles: MR rows by NR vectors of sums, NR vectors of one operand and a broadcast of the other. */
enum {
    MR_NR2 = REGISTERS == 32 ? 14 : 6,
    MR_NR4 = REGISTERS == 32 ? 6 : 2,
    NR_CHANNELS = REGISTERS == 32 ? 4 : 2, /* vectors over output channels, */
    MR_PIXELS = 6, /* by so many pixels; of the weight gradient, pairs (channel, tap) */
    MR_ONE = 8,    /* pixels by a single vector over output channels */
    MR_DOT = 6,    /* pairs (channel, tap) of a tile of dot products, by up to four channels of y */
};
static_assert(MR_NR2 * 2 + 2 + 1 <= REGISTERS && MR_NR4 * 4 + 4 + 1 <= REGISTERS,
              "a tile leaves the registers");
static_assert(MR_PIXELS * NR_CHANNELS + NR_CHANNELS + 1 <= REGISTERS && MR_ONE + 2 <= REGISTERS,
              "a tile over channels leaves the registers");

/* Sizes of blocks. Fitted with bench_conv on an AMD EPYC with AVX-512 (family 26) and an Intel Xeon (model 207), November 2026. */
enum {
    KC = LIMIT(576, 20), /* terms of a block of the sum: 64 channels of a 3x3 kernel */
    INPUT_BYTES =
        LIMIT(288 * 1024, 4096), /* of the packed input: with the sums, half of an L2 cache of 1 MiB */
    SUM_BYTES = LIMIT(160 * 1024, 8192),   /* of the sums of a tile's rows */
    STRIP_BYTES = LIMIT(384 * 1024, 4096), /* over channels: of the input that a strip reads */
    MOST_COLUMNS = LIMIT(4096, 128),       /* of a strip, all phases together */
    FEW_COLUMNS = LIMIT(128, 8),           /* tasks are not cut smaller than that */
    MOST_FUSED = LIMIT(48, 24),            /* rows of all phases together, where they are one product */
    TASKS = 6,                             /* at least so many, to share out among threads */
    PART = 4 * LIMIT(MR_NR2, 3),           /* output channels, at least, in a task */
    FEW_PLANES = LIMIT(32, 6),             /* of an input that is read in place more than once */
    FEW_STRIPS = 2, /* so many strips pack the weights themselves: that spares a pass over memory */
    MANY_TERMS = LIMIT(256, 8), /* sums so long leave out taps in padding */
    COPY_FROM = LIMIT(48, 8),   /* over channels: products of a number, from which on it may be copied, */
    COPY_BYTES = LIMIT(576 * 1024, 64 * 1024), /* at most, of a copy */
    FAR_BYTES = LIMIT(4 * 1024, 256),          /* and bytes of a plane */
    PLANE_BYTES = LIMIT(
        64 * 1024, 4096), /* of an x that is read in place: larger planes would share lines of a cache, */
    WEIGHT_OUTPUTS = LIMIT(128, 20),         /* weight gradient: channels of y in a block, */
    WEIGHT_ROWS = LIMIT(576, 20),            /* pairs (channel, tap) in a block, */
    WEIGHT_PIXELS = LIMIT(512, 64),          /* pixels of a strip of outer products, */
    MAP_BYTES = LIMIT(256 * 1024, 4096),     /* and of the packed y */
    THREAD_BYTES = 1023 * 1024,              /* of a thread's workspace, at most */
    PREFETCH_DISTANCE = LIMIT(2 * 1024, 64), /* elements between a prefetch and the use of the line, */
    PREFETCH_FROM = LIMIT(256 * 1024, 1024), /* in tensors with more elements than that */
    SAME_LINES = LIMIT(512, 64), /* bytes: planes a multiple of that apart share lines of the caches */
    ANY_FORM = LIMIT(0, 1), /* either is taken, whatever it costs, so that tests meet both with everything */
};

/* The cost model that chooses between vectors over pixels and over channels. The unit is a fused multiply-add of a lane. */
#define COST_UNALIGNED 1.03 /* of one whose vectors lie anywhere, */
#define COST_CROWDED 1.5    /* and whose planes share lines of the caches */
enum {
    COST_TRANSPOSE = 5,   /* of an output */
    COST_STORE_ROW = 100, /* of a row of outputs */
    COST_CALL = 100,      /* of the micro-kernel, of a pixel */
    COST_STRIP = 32,      /* of a strip, in columns */
};

/* A product of all phases has at least two, so its channels are one part: a task has the sums of all. */
static_assert(MOST_FUSED <= 2 * PART, "a product of all phases would be cut into parts");

extern const pl_engine ENGINE;

/* ---- layout of the packed input ------------------------------------------------------------------------------- */

/* How the output is cut into strips, and how a strip's share of the input is packed. It depends on the shape alone, so that results do
 * not depend on the number of threads. */
typedef struct layout {
    axis h, w;
    size_t channels, blocks;             /* input channels in a block; blocks */
    size_t strip_n, strip_h, strip_w;    /* of a strip: images; rows and columns of pixels of a phase */
    size_t strips_n, strips_h, strips_w; /* strips along the batch and both axes */
    size_t rows, pitch;    /* packed: rows of an image in a plane, and elements from row to row */
    size_t plane, channel; /* packed: elements of a plane with all images, of a channel with all planes */
} layout;

static size_t strips_of(const layout *l) { return l->strips_n * l->strips_h * l->strips_w; }
static size_t phases_of(const layout *l) { return l->h.phases * l->w.phases; }

/* How many of `size` things of so many pixels each make a strip: as many as fill `columns`, or fewer where that wastes less of the
 * last vectors. */
static size_t even_strip(size_t size, size_t pixels, size_t columns, size_t lanes) {
    size_t parts = ceil_div(size, max(1, columns / pixels)), best = SIZE_MAX, count = 1;
    for (size_t i = 0; i < 4; i++) {
        size_t each = ceil_div(size, parts + i), strips = ceil_div(size, each);
        size_t cost = strips * (round_up(each * pixels, 2 * lanes) + COST_STRIP);
        if (cost < best) best = cost, count = each;
    }
    return count;
}

/* For strips of a size. */
static void lay_out(layout *l, size_t N) {
    l->strips_n = ceil_div(N, l->strip_n), l->strips_h = ceil_div(l->h.pixels, l->strip_h),
    l->strips_w = ceil_div(l->w.pixels, l->strip_w);
    size_t beside = l->strip_w == l->w.pixels ? shared_padding(&l->w) : 0,
           below = l->strip_h == l->h.pixels ? shared_padding(&l->h) : 0;
    l->pitch = l->strip_w + l->w.extra - beside;
    l->rows = l->strip_h + l->h.extra - below;
    l->plane = (l->strip_n * l->rows + below) * l->pitch + beside;
    l->channel = l->h.split * l->w.split * l->plane;
}

/* Strips of whole images, of whole rows, or of a part of a row, with at most `columns` pixels. */
static void cut_strips(layout *l, size_t N, size_t columns, size_t lanes) {
    size_t H = l->h.pixels, W = l->w.pixels;
    l->strip_n = 1, l->strip_h = 1, l->strip_w = W;
    if (W > columns)
        l->strip_w = even_strip(W, 1, columns, lanes);
    else if (columns / W < H)
        l->strip_h = even_strip(H, W, columns, lanes);
    else
        l->strip_h = H, l->strip_n = even_strip(max(N, 1), H * W, columns, lanes);
    lay_out(l, N);
}

/* A strip: images; rows and columns of pixels of a phase. */
typedef struct strip {
    range n, h, w;
} strip;

static strip strip_of(const layout *l, size_t N, size_t i) {
    size_t w = i % l->strips_w, h = i / l->strips_w % l->strips_h, n = i / l->strips_w / l->strips_h;
    return (strip){part_of(N, l->strip_n, n), part_of(l->h.pixels, l->strip_h, h),
                   part_of(l->w.pixels, l->strip_w, w)};
}

/* For each channel of a block the taps of phase (ph, pw): where they are in the packed input and, if asked for, in w, whose input channels
 * are w_step apart. Returns how many. */
static size_t list_taps(const layout *l, size_t channels, size_t ph, size_t pw, size_t *offset,
                        size_t *w_index, size_t w_step) {
    tap_offset h[MOST_TAPS], w[MOST_TAPS];
    size_t n = 0, nh = taps_of_phase(&l->h, ph, h), nw = taps_of_phase(&l->w, pw, w);
    for (size_t c = 0; c < channels; c++)
        for (size_t r = 0; r < nh; r++)
            for (size_t s = 0; s < nw; s++, n++) {
                size_t plane = h[r].plane * l->w.split + w[s].plane;
                offset[n] = c * l->channel + plane * l->plane + h[r].at * l->pitch + w[s].at;
                if (w_index) w_index[n] = c * w_step + h[r].tap * l->w.taps + w[s].tap;
            }
    return n;
}

/* Where each pixel of a strip is packed: position by position, and of each all images. */
static void list_pixels(const layout *l, const strip *s, size_t *pixel) {
    size_t cols = s->w.count, images = s->n.count;
    for (size_t n = 0; n < images; n++)
        for (size_t i = 0; i < s->h.count; i++)
            for (size_t k = 0; k < cols; k++)
                pixel[(i * cols + k) * images + n] = (n * l->rows + i) * l->pitch + k;
}

/* ---- terms of a sum ------------------------------------------------------------------------------------------- */

/* Terms: blocks of runs of so many; the beginnings of runs and of blocks are so far apart. */
typedef struct term_runs {
    size_t blocks, runs, run, run_step, block_step;
    bool add; /* go on from the sums that are stored, not from 0 */
} term_runs;

static term_runs all_terms(size_t count) { return (term_runs){1, 1, count, count, count, false}; }

/* For each channel, the terms of a range of its nh by nw taps, in runs as long as possible. */
static term_runs some_terms(size_t channels, size_t nh, size_t nw, range h, range w) {
    size_t taps = nh * nw;
    if (w.count < nw) return (term_runs){channels, h.count, w.count, nw, taps, false};
    if (h.count < nh) return (term_runs){channels, 1, h.count * nw, h.count * nw, taps, false};
    return all_terms(channels * taps);
}

/* From the first to the last tap row that one of `count` packed columns meets. */
static range rows_present(const layout *l, const strip *s, const presence *h, size_t column, size_t count) {
    size_t from = column / l->pitch, to = (column + count - 1) / l->pitch, rows = s->h.count;
    if (from / l->rows != to / l->rows) return (range){0, h->taps};
    from = min(from % l->rows, rows), to = min(to % l->rows + 1, rows);
    return present(h, (range){from, to - from});
}

/* ---- prefetch ------------------------------------------------------------------------------------------------- */

/* Software prefetch. A strip uses about a kilobyte of a channel and then jumps a whole plane, which hardware prefetchers do not
 * follow. The second cache is near enough, and has room for what is ahead beside what is being packed. */
typedef struct prefetch {
    size_t channels;     /* how many channels ahead; 0: none */
    size_t first, piece; /* a channel's share in an image: where it begins, and its elements */
    size_t images, image_step;
} prefetch;

/* For whole rows of a tensor of so many elements. */
static prefetch prefetch_of(const layout *l, const strip *s, range rows, size_t width, size_t image_step,
                            size_t elements) {
    prefetch p = {.first = rows.first * width,
                  .piece = rows.count * width,
                  .images = s->n.count,
                  .image_step = image_step};
    if (l->strips_w == 1 && p.piece > 0 && elements > PREFETCH_FROM)
        p.channels = ceil_div(PREFETCH_DISTANCE, p.piece * p.images);
    return p;
}

static inline void prefetch_channel(const prefetch *p, const T *channel) {
    const T *from = channel + p->first;
    for (size_t n = 0; n < p->images; n++, from += p->image_step)
        for (size_t i = 0; i < p->piece; i += LINE / sizeof(T)) __builtin_prefetch(from + i, 0, 2);
}

/* ---- plans ---------------------------------------------------------------------------------------------------- */

/* Pixels of a phase along an axis that meet the input through the same taps. */
typedef struct segment {
    range pixels, taps;
} segment;

typedef struct product_plan {
    pleat_conv_plan plan;
    layout input;
    size_t in, out;     /* channels of a group: of the input, of the output */
    size_t taps, terms; /* of a phase, at most; of a block of the sum, at most */
    size_t part, parts; /* output channels in a task; tasks for a strip */
    /* vectors go over pixels, packed columns that are no pixel included; or over output channels */
    bool over_pixels;
    bool fused;              /* the phases are rows of one product */
    size_t shift_h, shift_w; /* fused: the farthest that a phase's taps are off */
    /* over pixels: of a phase of a strip, in whole vectors; over channels: pixels of a strip of the output */
    size_t columns;
    /* bytes of a thread's workspace, in this order: packed input, sums, weights that are packed for a tile */
    size_t input_bytes, sum_bytes, w_bytes;
    /* tables: where the terms of a block are, phase after phase, in the packed input, or over channels in the input, and in w */
    const size_t *offset, *w_index;
    bool in_place; /* over pixels: strips of one image are read where they lie; of 1x1 kernels */
    /* over channels */
    bool blocked_in, blocked_out;
    bool copied;    /* the strip's rows of the input */
    size_t unit_in; /* elements of the input from pixel to pixel, */
    size_t
        channel_step; /* and from channel to channel, or a BLOCKth of that from block to block; of the copy, if there is one */
    size_t sum_step;         /* elements of the sums from pixel to pixel */
    const segment *segments; /* those of phase a along an axis begin at [a] */
    size_t h_segments[MOST_SPLIT + 1], w_segments[MOST_SPLIT + 1];
} product_plan;

typedef struct weight_plan {
    pleat_conv_plan plan;
    weight_order
        order;    /* a chain: outer products, vectors over channels of y; lanes: dot products, over pixels */
    layout input; /* of x */
    size_t in, out;     /* channels of a group: of x, of y */
    size_t part, parts; /* channels of y in a block; blocks */
    bool in_place;      /* x is read where it lies, */
    size_t unit;        /* with so many elements from pixel to pixel */
    bool by_tap; /* a tile of outer products has one tap, and of that the pixels that do not meet padding */
    bool
        by_class; /* dot products: a strip is a part of a band's columns, and of that one class of rows at a time */
    size_t depth;                           /* elements of a row of sums of outer products */
    size_t columns;                         /* elements of a channel of a strip of y as it is packed */
    size_t chunks;                          /* partial sums */
    size_t y_bytes, input_bytes, sum_bytes; /* of a thread's workspace, in this order; the lists follow */
    const size_t *offset; /* table: where each (channel, tap) of a block begins in the packed input */
} weight_plan;

/* ---- decisions ------------------------------------------------------------------------------------------------ */

static unsigned char shared_decided(const layout *l) {
    bool beside = l->pitch < l->strip_w + l->w.extra, below = l->rows < l->strip_h + l->h.extra;
    return beside ? below ? PL_SHARED_BOTH : PL_SHARED_BESIDE : below ? PL_SHARED_BELOW : PL_SHARED_NONE;
}

static unsigned char fill_decided(const layout *l) {
    size_t step = l->w.split;
    overlap m = overlap_of(&l->w, 0, l->pitch, 0);
    bool whole = m.begin == 0 && m.end == l->pitch && l->h.split * l->w.source == l->pitch;
    if (step == 1 && whole && l->strips_w == 1) return PL_FILL_WHOLE;
    if (l->pitch <= LANES && step <= 2) return step == 2 ? PL_FILL_SHORT_EVENS : PL_FILL_SHORT;
    return step == 1 ? PL_FILL_LONG : step == 2 ? PL_FILL_LONG_EVENS : PL_FILL_LONG_STEPS;
}

static unsigned char cut_decided(const layout *l) {
    if (l->strip_n > 1) return PL_CUT_IMAGES;
    return l->strip_w < l->w.pixels ? PL_CUT_ROW : l->strip_h < l->h.pixels ? PL_CUT_ROWS : PL_CUT_IMAGE;
}

/* Which taps in padding are left out by somebody who looks at rows, at columns. */
static unsigned char rim_decided(const layout *l, bool rows, bool columns) {
    bool h = rows && lacks_taps(&l->h), w = columns && lacks_taps(&l->w);
    if (!rows && !columns) return PL_RIM_IGNORED;
    return h ? w ? PL_RIM_BOTH : PL_RIM_ROWS : w ? PL_RIM_COLUMNS : PL_RIM_NONE;
}

static void decide_layout(const layout *l, const pleat_conv_shape *g, size_t in, unsigned char *a) {
    size_t N = max(g->N, 1);
    bool rest = N % l->strip_n || l->h.pixels % l->strip_h || l->w.pixels % l->strip_w;
    a[PL_GROUPS] = pl_count(g->G);
    a[PL_LAYOUT] = (unsigned char)(PL_PLAIN + g->blocked[0] + 2 * g->blocked[1]);
    a[PL_TAPS] = taps_decided(&l->h, &l->w);
    a[PL_BLOCKS] = pl_count(l->blocks), a[PL_LAST_BLOCK] = pl_rest(in, l->channels);
    a[PL_CUT] = cut_decided(l), a[PL_STRIPS] = pl_count(strips_of(l));
    if (a[PL_STRIPS] > PL_ONE) a[PL_LAST_STRIP] = rest ? PL_LESS : PL_FULL;
    a[PL_LAST_VECTOR] = l->strip_n * l->strip_h * l->strip_w % LANES ? PL_LESS : PL_FULL;
    a[PL_SHARED] = shared_decided(l), a[PL_FILL] = fill_decided(l);
    bool ahead = l->strips_w == 1 && N * in * g->G * l->h.source * l->w.source > PREFETCH_FROM;
    a[PL_AHEAD] = ahead ? PL_IS_AHEAD : PL_NOT_AHEAD;
}

/* ---- the steps ------------------------------------------------------------------------------------------------ */

#include "kernels/conv/implicit_gemm_micro.inc"

#include "kernels/conv/implicit_gemm_pack.inc"

#include "kernels/conv/implicit_gemm_store.inc"

#include "kernels/conv/implicit_gemm_product.inc"

#include "kernels/conv/implicit_gemm_channels.inc"

#include "kernels/conv/implicit_gemm_plan.inc"

#include "kernels/conv/implicit_gemm_weight.inc"

/* ---- the engine ----------------------------------------------------------------------------------------------- */

static pl_decisions decide(const pleat_conv_plan *plan) {
    pl_decisions d = {0};
    if (plan->op == PLEAT_CONV_WEIGHT)
        decide_weight((const weight_plan *)plan, d.answer);
    else
        decide_product((const product_plan *)plan, d.answer);
    return d;
}

static void describe(const pleat_conv_plan *plan, char *text, size_t size) {
    const product_plan *p = (const product_plan *)plan;
    const weight_plan *w = (const weight_plan *)plan;
    if (plan->op == PLEAT_CONV_WEIGHT)
        snprintf(text, size, "%s products, %zu strips, %zu partial sums",
                 w->order.lanes > 1 ? "dot" : "outer", strips_of(&w->input), w->chunks);
    else if (p->over_pixels)
        snprintf(text, size, "%dx2 tiles over pixels, %zu strips, %zu blocks", MR_NR2, strips_of(&p->input),
                 p->input.blocks);
    else
        snprintf(text, size, "%dx%d tiles over channels, %zu strips, %zu blocks", MR_PIXELS, NR_CHANNELS,
                 strips_of(&p->input), p->input.blocks);
}

static bool make(const pleat_conv_shape *g, pleat_conv_op op, pleat_conv_plan **plan) {
    if (!is_near(g)) return false;
    return op == PLEAT_CONV_WEIGHT ? make_weight(g, plan) : make_product(g, op, plan);
}

/* A tile reads packed weights wherever there are some. */
static size_t packable(const pleat_conv_plan *plan) {
    const product_plan *p = (const product_plan *)plan;
    if (plan->op == PLEAT_CONV_WEIGHT) return 0;
    return round_up((plan->g.G * packed_size(p) + LANES) * sizeof(T), LINE);
}

static void run(const pleat_conv_plan *plan, const pl_conv_call *call) {
    (plan->op == PLEAT_CONV_WEIGHT ? run_weight : run_product)(plan, call);
}

static void turn(size_t rows, size_t columns, const void *from, size_t from_step, void *to, size_t to_step) {
    transpose(rows, columns, from, from_step, to, to_step);
}

const pl_engine ENGINE = {.name = PLEAT_ENGINE_IMPLICIT_GEMM,
                          .isa = ISA,
                          .element = sizeof(T),
                          .has_epilogue = true,
                          .takes_blocked = true,
                          .make = make,
                          .packable = packable,
                          .pack = pack_w_all,
                          .run = run,
                          .turn = turn,
                          .decide = decide,
                          .describe = describe};

/* Direct loops for groups of few channels, depthwise convolutions above all: this file is compiled once for each instruction set, and
 * PL_DEPTHWISE is the name of the table.
 *
 * With a channel or two in a group there is so little to compute for each number of the source that a copy of it (columns, or the cells
 * of panels.c) costs as much as the sums. Here rows of the source are read where they are: a block of ROWS rows of the result is made a
 * vector at a time, and what is loaded from a row of the source serves all of the block that it reaches. Lanes that meet padding
 * beside the image are masked; rows above and below it are one row of zeros; and a row at either end of the tensor, next to which
 * nothing may be read, is copied.
 *
 * A convolution with stride 2 takes every other element of what it loads, a transposed one makes two phases of pixels at a time and
 * stores them in turn. The weight gradient has the same blocks, and a vector of sums for each tap. */
#include "kernels/conv/engine.h"
#include "kernels/conv/axis.h"
#include "kernels/parallel.h"
#include "kernels/simd/vectors.h"

#include <stdint.h>
#include <string.h>

enum {
    FEW_VECTORS = LIMIT(12, 2),     /* weight gradient: a plane of fewer is not worth its beginning and end */
    ROWS = REGISTERS == 32 ? 7 : 4, /* of the result in a block */
    FEW = 4,                        /* pairs of channels of a group */
    MOST_DOTS = 5,                  /* weight gradient: taps along an axis */
    MOST_ALONG = 2,                 /* stride along a row */
    TASKS = 8,                      /* wanted at least, to share out among threads */
    GRAIN = LIMIT(64 * 1024, 512),  /* pixels of a task, about, where there are tasks enough */
    SUM_BYTES = LIMIT(32768, 2048), /* weight gradient: sums of a task */
    THREAD_BYTES = 1023 * 1024,     /* of a thread's memory, at most */
};

/* ---- plan -------------------------------------------------------------------------------------------- */

/* How the work is cut. It depends on the shape alone, so that results do not depend on the number of threads. */
typedef struct plan {
    axis down, along;      /* of the result; the weight gradient's is the map */
    size_t in, out;        /* channels of the source, of the result in a group; weight gradient: C/G, O/G */
    size_t apart;          /* rows of the source between neighbouring taps */
    size_t skip;           /* rows of a phase between those of a block */
    size_t hop;            /* what their first taps are apart, in steps of `apart` */
    size_t rows;           /* of the source, of a channel, that a block reaches */
    size_t columns;        /* vectors in a row of a phase */
    size_t bands, band;    /* of a plane of the result, and pixels of a phase down one */
    size_t each, tasks;    /* bands, or pairs of channels, in a task; tasks for each chunk */
    size_t pieces, chunks; /* weight gradient: pairs of image and band in a partial sum, and partial sums */
    size_t margin;         /* elements that are read beside a row */
    size_t slots, slot;    /* copied rows of a block, and elements of one */
    /* bytes of each part of a thread's memory, in this order */
    size_t masks, sums, w, copies, offset, column, order, row;
    size_t bytes, shared; /* of one thread; of all partial sums but the first */
} plan;

static size_t lanes(size_t element) { return VECTOR_BYTES / element; }

static size_t common_divisor(size_t a, size_t b) { return b == 0 ? a : common_divisor(b, a % b); }

/* Pixels of the source between neighbouring taps of a phase. */
static size_t taps_apart(const axis *a) {
    if (most_reaches(a) < 2) return 1;
    return a->from_image ? a->dilation : a->dilation / common_divisor(a->dilation, a->stride);
}

/* A vector of pixels of each phase along a row: the first of them, how many numbers of the result, where the masks are. */
typedef struct column {
    size_t at, count, mask;
} column;

static void cut_tasks(plan *p, const pleat_conv_shape *g, size_t element, bool weight) {
    size_t planes = weight ? g->G * p->in * p->out : g->G * p->out, N = most(g->N, 1);
    size_t pixels = p->down.pixels, enough = planes < TASKS ? divide_up(TASKS, planes * least(N, TASKS)) : 1;
    p->band = least(pixels, round_up(divide_up(pixels, enough), ROWS * p->skip));
    p->bands = divide_up(pixels, p->band);
    size_t units = weight ? planes : planes * N * p->bands, each = GRAIN / (p->band * p->along.result);
    if (weight) each = SUM_BYTES / (g->R * g->S * VECTOR_BYTES);
    p->each = most(1, least(each, units / TASKS));
    p->tasks = divide_up(units, p->each);
    p->pieces = N * p->bands, p->chunks = 1;
    if (!weight) return;
    p->pieces = divide_up(N * p->bands, least(N * p->bands, divide_up(TASKS, p->tasks)));
    p->chunks = divide_up(N * p->bands, p->pieces);
    p->shared = (p->chunks - 1) * round_up(planes * g->R * g->S * element, LINE);
}

static void count_bytes(plan *p, const pleat_conv_shape *g, size_t element, bool weight) {
    size_t taps = p->columns * g->S, sources = weight ? 1 : p->in;
    p->margin = lanes(element) * p->along.split;
    p->slot = round_up(most(p->along.source, p->along.result) + 2 * p->margin, lanes(element));
    /* of rows as long as the margin one at either end of a tensor is copied */
    p->slots = p->along.source < p->margin ? sources * p->rows : 2;
    if (weight) p->slots += p->along.result < p->margin ? ROWS : 2;
    p->masks = (taps + p->columns * (weight ? 1 : p->along.phases)) * VECTOR_BYTES;
    p->sums = weight ? p->each * g->R * g->S * VECTOR_BYTES : 0;
    p->w = weight ? 0 : round_up(p->in * g->R * g->S * element, LINE);
    p->copies = round_up((p->slots + 1) * p->slot * element, LINE);
    p->offset = round_up(taps * sizeof(ptrdiff_t), LINE);
    p->column = round_up(p->columns * sizeof(column), LINE);
    p->order = weight ? 0 : round_up(g->R * g->S * sizeof(size_t), LINE);
    p->row = round_up(sources * p->rows * sizeof(void *), LINE);
    p->bytes = p->masks + p->sums + p->w + p->copies + p->offset + p->column + p->order + p->row;
    p->bytes = round_up(p->bytes, LINE);
}

/* The weight gradient has loops for square kernels only. */
static bool takes_taps(const plan *p) {
    size_t n = p->down.taps;
    return n == p->along.taps && n >= 2 && n <= MOST_DOTS && p->hop == p->along.split;
}

/* Whether it pays. One channel of a group's result is made from its source without detours, where panels copy more than they multiply.
 * Of several each reads the source again; that is worth it where there are few, whose rows fill vectors. Of the smallest images panels
 * lay many side by side. */
static bool takes_channels(const plan *p, size_t element, bool weight) {
    size_t lane = lanes(element), unused[MOST_SPLIT];
    double rows = (double)p->down.pixels, pixels = (double)p->along.pixels;
    double filled =
        rows / (double)round_up(p->down.pixels, ROWS * p->skip) * pixels / (double)(p->columns * lane);
    if (filled < 0.125 || (weight && rows * pixels < (double)(FEW_VECTORS * lane))) return false;
    if (p->in * p->out == 1 || (p->in * p->out <= FEW && p->columns > 1 && filled >= 0.7)) return true;
    /* phases of the same taps are one product of panels */
    bool joint =
        p->down.phases * p->along.phases > 1 && shifts(&p->down, unused) && shifts(&p->along, unused);
    return !weight && p->out == 1 && !joint;
}

/* False where the engine does not take the shape. */
static bool make_plan(const pleat_conv_shape *g, size_t element, pleat_conv_op op, plan *p) {
    bool image = op == PLEAT_CONV_TRANSPOSE, weight = op == PLEAT_CONV_WEIGHT;
    if (!is_near(g) || g->stride[1] > MOST_ALONG) return false;
    *p = (plan){.in = g->C / g->G, .out = g->O / g->G};
    if (image) p->in = g->O / g->G, p->out = g->C / g->G;
    p->down = (image ? image_axis : map_axis)(g, 0), p->along = (image ? image_axis : map_axis)(g, 1);
    p->apart = taps_apart(&p->down);
    size_t common = common_divisor(p->down.split, p->apart);
    p->skip = p->apart / common, p->hop = p->down.split / common;
    if (weight && !takes_taps(p)) return false;
    p->rows = (ROWS - 1) * p->hop + most(1, most_reaches(&p->down));
    p->columns = divide_up(p->along.pixels, lanes(element));
    if (p->along.source > THREAD_BYTES || p->along.result > THREAD_BYTES) return false;
    if (!takes_channels(p, element, weight)) return false;
    cut_tasks(p, g, element, weight);
    count_bytes(p, g, element, weight);
    return p->bytes + p->shared <= THREAD_BYTES;
}

static size_t bytes_of(const plan *p, int threads) { return pl_bytes(p->bytes, p->shared, threads); }

static size_t workspace(const pleat_conv_shape *g, size_t element, pleat_conv_op op, int threads) {
    plan p;
    return make_plan(g, element, op, &p) ? bytes_of(&p, threads) : SIZE_MAX;
}

/* ---- bodies ------------------------------------------------------------------------------------------ */

/* What the tasks of one call share. */
typedef struct job {
    const pleat_conv_shape *g;
    plan plan;
    const void *a, *b; /* the operands, in the order of the public functions */
    void *c;           /* the result */
    char *memory;      /* partial sums, then the scratch memory of each thread */
    bool transpose, weight, relu;
    const void *bias;
} job;

/* The taps of a phase down a column, those that reach the upper rows of the source first. */
typedef struct reached_rows {
    size_t taps, tap[MOST_TAPS];
    ptrdiff_t first; /* the row that pixel 0 meets through the first one */
} reached_rows;

static reached_rows rows_of(const axis *a, size_t phase) {
    reach r[MOST_TAPS];
    reached_rows rows = {.taps = reaches(a, phase, r)};
    if (rows.taps == 0) return rows;
    const reach *first = a->from_image ? r : r + rows.taps - 1;
    for (size_t i = 0; i < rows.taps; i++) rows.tap[i] = r[a->from_image ? i : rows.taps - 1 - i].tap;
    rows.first = (ptrdiff_t)(first->cell * a->split + first->plane) + a->low;
    return rows;
}

#define T float
#define NAME(name) name##_f32
#include "kernels/simd/vectors.inc"

#include "kernels/conv/direct.inc"
#undef T
#undef NAME

#define T double
#define NAME(name) name##_f64
#include "kernels/simd/vectors.inc"

#include "kernels/conv/direct.inc"
#undef T
#undef NAME

static pl_decisions decide(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    plan p;
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    bool weight = op == PLEAT_CONV_WEIGHT;
    if (!make_plan(g, element, op, &p)) return d;
    bool unrolled = weight || rows_bodies_f32[rows_form_f32(&p, 0)].form.down > 0;
    a[PL_FORM] = unrolled ? PL_UNROLLED : PL_ANY_TAPS;
    a[PL_GROUPS] = pl_count(g->G);
    a[PL_PHASES] = phases_decided(&p.down, &p.along), a[PL_TAPS] = taps_decided(&p.down, &p.along);
    a[PL_BLOCKS] = pl_count(p.in), a[PL_PARTS] = pl_count(p.out);
    a[PL_STRIPS] = pl_count(p.bands), a[PL_LAST_STRIP] = pl_rest(p.down.pixels, p.band);
    a[PL_TILES] = pl_count(divide_up(p.band, ROWS * p.skip)),
    a[PL_LAST_TILE] = pl_rest(p.band, ROWS * p.skip);
    a[PL_VECTORS] = pl_width(p.columns),
    a[PL_LAST_VECTOR] = p.along.pixels % lanes(element) ? PL_LESS : PL_FULL;
    a[PL_CUT] = p.each > 1 ? PL_CUT_IMAGES : PL_CUT_IMAGE;
    a[PL_FILL] = p.along.split == 2 ? PL_FILL_LONG_EVENS : PL_FILL_LONG;
    a[PL_MARGIN] = p.slots > (size_t)(weight ? 4 : 2) ? PL_MARGIN_ROWS : PL_MARGIN_ENDS;
    a[PL_REACH] = p.skip > 1 ? PL_REACH_SKIPS : p.hop > 1 ? PL_REACH_HOPS : PL_REACH_NEXT;
    if (!weight) return d;
    a[PL_CHUNKS] = pl_count(p.chunks), a[PL_LAST_CHUNK] = pl_rest(g->N * p.bands, p.pieces);
    return d;
}

static pl_outcome run(const pleat_conv_shape *g, size_t element, pleat_conv_op op, const void *a,
                      const void *b, void *c, const pleat_work *work) {
    job j = {.g = g, .a = a, .b = b, .c = c, .memory = work->memory, .bias = work->bias, .relu = work->relu};
    j.transpose = op == PLEAT_CONV_TRANSPOSE, j.weight = op == PLEAT_CONV_WEIGHT;
    if (!make_plan(g, element, op, &j.plan)) return PL_NOT_TAKEN;
    if (bytes_of(&j.plan, pleat_pool_threads(work->pool)) > work->bytes) return PL_TOO_LITTLE_MEMORY;
    if (j.weight)
        (element == sizeof(float) ? weight_gradient_f32 : weight_gradient_f64)(&j, work->pool);
    else if (g->N > 0)
        pl_parallel(work->pool, j.plan.tasks, element == sizeof(float) ? rows_task_f32 : rows_task_f64, &j);
    return PL_DONE;
}

const pl_engine PL_DEPTHWISE = {workspace, run, true, decide};

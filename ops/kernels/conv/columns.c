/* Columns: the convolution family as matrix products of our own over columns that are gathered from the tensor which is read. It takes what
 * the faster engines refuse (long kernels, wide strides and dilations, far padding), in the defined order; only weight gradients of
 * few channels, whose sums have lanes, are not for it.
 *
 * Forward and transpose. A task is a part of the rows of a product and a strip of the result's pixels, of all images together. Terms
 * (channel, tap) are taken in blocks; a product goes on from the sums of the block before. The pixels of a transposed convolution fall
 * into phases, one for each residue of the stride; those that meet the same pixels are rows of one product, beside the channels, and
 * those that no tap reaches are zero. Its weights are packed, phase by phase.
 *
 * The weight gradient: a task is a part of y's channels and a block of terms, summed over a chunk. */
#include "kernels/conv/engine.h"
#include "kernels/conv/phase.h"
#include "kernels/gemm/gemm.h"
#include "kernels/parallel.h"

#include <stdio.h>
#include <string.h>

enum {
    PART = LIMIT(512, 3),                  /* rows of a product in a task, */
    PART_GATHERED = LIMIT(128, 3),         /* and where y is gathered, too */
    TERMS = LIMIT(256, 5),                 /* in a block */
    STRIP_BYTES = LIMIT(512, 64),          /* of a row of columns; twice that for the weight gradient */
    COLUMN_BYTES = LIMIT(144 * 1024, 640), /* of a block of columns */
};

/* Phases first, first + 1, ... that meet the same pixels, and taps of all phases before them. */
typedef struct joint {
    size_t first, count, before;
} joint;

typedef struct columns_plan {
    pleat_conv_plan plan;
    size_t in, out;   /* channels of a group: of the source, of the result; of the weight gradient x and y */
    size_t joints[2]; /* along each axis, */
    const joint *joint[2];
    size_t part, parts;       /* rows of a product in a task; tasks for all, at most */
    size_t terms;             /* of a block, at most */
    size_t strip, strips;     /* pixels; strips of a phase of all images, at most */
    weight_order order;       /* of the weight gradient */
    size_t columns, gathered; /* elements of a thread's workspace: columns; y */
} columns_plan;

static bool is_weight(const columns_plan *p) { return p->plan.op == PLEAT_CONV_WEIGHT; }

/* Joins neighbouring phases. Returns how many are left; to may be NULL. */
static size_t join_phases(const pleat_conv_shape *g, pleat_conv_op op, size_t k, joint *to) {
    size_t n = 0, taps = 0;
    phase last = {0};
    for (size_t i = 0; i < phases_of(g, op, k); i++) {
        phase f = phase_of(g, op, k, i);
        bool same = i > 0 && f.taps == last.taps && f.origin == last.origin;
        if (!same && to) to[n] = (joint){i, 0, taps};
        n += !same, taps += f.taps, last = f;
        if (to) to[n - 1].count++;
    }
    return n;
}

/* The rows and columns of the product of a pair of joints: phases and channels; pixels, of which some of the phases may
 * lack the last one. */
typedef struct factors {
    joint joint_h, joint_w;
    phase h, w;
    size_t rows, taps, pixels;
} factors;

static factors factors_of(const columns_plan *p, size_t number) {
    const pleat_conv_shape *g = &p->plan.g;
    factors f = {.joint_h = p->joint[0][number / p->joints[1]],
                 .joint_w = p->joint[1][number % p->joints[1]]};
    f.h = phase_of(g, p->plan.op, 0, f.joint_h.first), f.w = phase_of(g, p->plan.op, 1, f.joint_w.first);
    if (p->plan.op == PLEAT_CONV_TRANSPOSE)
        f.h.pixels = ceil_div(g->H, f.h.stride), f.w.pixels = ceil_div(g->W, f.w.stride);
    f.rows = f.joint_h.count * f.joint_w.count * p->out;
    f.taps = f.h.taps * f.w.taps, f.pixels = f.h.pixels * f.w.pixels;
    return f;
}

/* Terms of a strip in runs of so many, for each channel or for all: without the taps that lie in padding for all of its pixels. */
typedef struct term_runs {
    size_t first, run, runs, step, channels;
} term_runs;

static term_runs terms_of(const columns_plan *p, const factors *f, range strip, size_t height, size_t width) {
    size_t at = strip.first % f->pixels, last = at + strip.count - 1, row = at / f->w.pixels;
    range rows = {0, f->h.pixels}, columns = {0, f->w.pixels};
    if (last < f->pixels) rows = (range){row, last / f->w.pixels - row + 1};
    if (last < f->pixels && rows.count == 1) columns = (range){at % f->w.pixels, strip.count};
    range h = taps_of(&f->h, rows, height), w = taps_of(&f->w, columns, width);
    size_t first = h.first * f->w.taps + w.first;
    if (h.count * w.count == 0) return (term_runs){0};
    if (w.count < f->w.taps) return (term_runs){first, w.count, h.count, f->w.taps, p->in};
    if (h.count < f->h.taps) return (term_runs){first, h.count * f->w.taps, 1, 0, p->in};
    return (term_runs){0, p->in * f->taps, 1, 0, 1};
}

/* Where the packed weights of a pair of joints begin: [rows, in, taps]. */
static size_t packed_place(const columns_plan *p, const factors *f) {
    size_t own = f->joint_h.count * f->h.taps;
    return p->in * p->out * (f->joint_h.before * p->plan.g.S + own * f->joint_w.before);
}

/* Where the weights of a channel of the result and a tap go, one for each channel of the source. */
typedef struct packed_row {
    size_t at, step;
} packed_row;

static size_t joint_of(const columns_plan *p, size_t k, size_t number) {
    size_t i = 0;
    while (number >= p->joint[k][i].first + p->joint[k][i].count) i++;
    return i;
}

static packed_row packed_row_of(const columns_plan *p, size_t index) {
    const pleat_conv_shape *g = &p->plan.g;
    size_t m = index / (g->R * g->S), r = index / g->S % g->R, s = index % g->S;
    size_t down = tap_step(g, 0), along = tap_step(g, 1);
    size_t i = joint_of(p, 0, r % down), k = joint_of(p, 1, s % along);
    factors f = factors_of(p, i * p->joints[1] + k);
    size_t row = (r % down - f.joint_h.first) * f.joint_w.count + s % along - f.joint_w.first;
    size_t tap = r / down * f.w.taps + s / along;
    return (packed_row){packed_place(p, &f) + (row * p->out + m) * p->in * f.taps + tap, f.taps};
}

static columns_plan draft(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    bool image = op == PLEAT_CONV_TRANSPOSE;
    size_t C = g->C / g->G, O = g->O / g->G, strip = STRIP_BYTES / element;
    columns_plan p = {.plan = {.g = *g, .op = op}, .in = image ? O : C, .out = image ? C : O};
    size_t pixels = image ? ceil_div(g->H, g->stride[0]) * ceil_div(g->W, g->stride[1]) : g->P * g->Q;
    for (size_t k = 0; k < 2; k++) p.joints[k] = join_phases(g, op, k, NULL);
    p.part = min(p.out * phases_of(g, op, 0) * phases_of(g, op, 1), PART);
    p.strip = min(max(g->N, 1) * pixels, strip), p.strips = ceil_div(g->N * pixels, p.strip);
    if (op == PLEAT_CONV_WEIGHT) {
        p.order = order_of_weight(g, element);
        bool gathered = p.order.images > 1;
        p.strip = gathered ? p.order.images * pixels : min(pixels, 2 * strip);
        p.plan.shared_bytes = (chunks_of(&p.order) - 1) * round_up(g->O * C * g->R * g->S * element, LINE);
        if (gathered) p.part = min(p.part, PART_GATHERED), p.gathered = p.part * p.strip;
    }
    if (image) p.plan.packed_bytes = round_up(g->O * C * g->R * g->S * element, LINE);
    if (image) p.plan.shared_bytes = p.plan.packed_bytes;
    p.parts = ceil_div(p.out * phases_of(g, op, 0) * phases_of(g, op, 1), p.part);
    p.terms = min(p.in * g->R * g->S, max(1, min(TERMS, COLUMN_BYTES / element / p.strip)));
    p.columns = p.terms * p.strip;
    size_t sums = op == PLEAT_CONV_WEIGHT ? 0 : p.part * p.strip;
    p.plan.thread_bytes = round_up((p.columns + p.gathered + sums) * element, LINE) + PL_GEMM_BYTES;
    return p;
}

static bool make_plan(const pleat_conv_shape *g, pleat_conv_op op, const pl_engine *engine,
                      pleat_conv_plan **plan) {
    columns_plan d = draft(g, engine->element, op);
    if (is_weight(&d) && d.order.lanes > 1) return false;
    d.plan.engine = engine;
    columns_plan *p = pl_plan_new(&d, sizeof d, (d.joints[0] + d.joints[1]) * sizeof(joint));
    *plan = (pleat_conv_plan *)p;
    if (p == NULL) return true;
    joint *table = (joint *)(void *)(p + 1);
    p->joint[0] = table, p->joint[1] = table + d.joints[0];
    join_phases(g, op, 0, table), join_phases(g, op, 1, table + d.joints[0]);
    return true;
}

typedef struct pack_arguments {
    const columns_plan *plan;
    const void *w;
    void *packed;
} pack_arguments;

typedef struct task_arguments {
    const columns_plan *plan;
    const pl_conv_call *call;
    const pl_gemm_engine *gemm;
} task_arguments;

static pl_decisions decide(const pleat_conv_plan *plan) {
    const columns_plan *p = (const columns_plan *)plan;
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    bool images = p->order.images > 1;
    a[PL_FORM] = is_weight(p) ? images ? PL_OF_IMAGE : PL_OF_COLUMNS : PL_OF_COLUMNS;
    a[PL_GROUPS] = pl_count(plan->g.G);
    bool down = p->joints[0] > 1, along = p->joints[1] > 1;
    a[PL_PHASES] = down ? along ? PL_PHASES_BOTH : PL_PHASES_DOWN : along ? PL_PHASES_ALONG : PL_NO_PHASES;
    size_t terms = p->in * plan->g.R * plan->g.S;
    a[PL_BLOCKS] = pl_count(ceil_div(terms, p->terms)), a[PL_LAST_BLOCK] = pl_rest(terms, p->terms);
    a[PL_PARTS] = pl_count(p->parts), a[PL_LAST_PART] = pl_rest(p->out, p->part);
    a[PL_STRIPS] = pl_count(p->strips);
    if (!is_weight(p)) return d;
    a[PL_CHUNKS] = pl_count(chunks_of(&p->order)), a[PL_LAST_CHUNK] = pl_rest(p->order.units, p->order.each);
    return d;
}

static void describe(const pleat_conv_plan *plan, char *text, size_t size) {
    const columns_plan *p = (const columns_plan *)plan;
    snprintf(text, size, "columns of %zu by %zu, %zu products", p->terms, p->strip,
             p->joints[0] * p->joints[1]);
}

#ifndef PL_COLUMNS /* tests compile the file once more */
#    define PL_COLUMNS pl_columns
#endif
#define PL_JOIN_(a, b) a##b
#define PL_JOIN(a, b) PL_JOIN_(a, b)

#define T float
#define ENGINE PL_JOIN(PL_COLUMNS, _f32)
#define NAME(name) name##_f32
#include "kernels/conv/columns.inc"
#undef T
#undef NAME
#undef ENGINE

#define T double
#define ENGINE PL_JOIN(PL_COLUMNS, _f64)
#define NAME(name) name##_f64
#include "kernels/conv/columns.inc"
#undef T
#undef NAME
#undef ENGINE

/* Direct loops for narrow planes, with one channel in a group. Compiled once for each instruction set and type; ENGINE is the name of the
 * table.
 *
 * Where a row is shorter than a vector, loops over rows leave most lanes empty. Here a plane is one row of all its pixels: with a stride
 * of 1, and rows of the map and the image as long as each other, a tap is a constant distance in it. Lanes whose pixel meets padding are
 * masked. "Input" is x forward and y transposed, "output" the other; of the weight gradient x and y. */
#include "kernels/conv/axis.h"
#include "kernels/conv/engine.h"
#include "kernels/conv/order.h"
#include "kernels/parallel.h"
#include "kernels/simd/vectors.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Fitted with bench_conv on an AMD EPYC with AVX-512 (family 26), November 2026. */
enum {
    TASKS = 8,                     /* at least so many, to share out among threads */
    GRAIN = LIMIT(64 * 1024, 512), /* pixels of a task, about, where there are tasks enough */
    TABLE_BYTES =
        LIMIT(32 * 1024, 24 * 1024), /* an L1 cache; the weight gradient's are bounded by FLAT_TERMS */
};

extern const pl_engine ENGINE;

/* ---- plan ----------------------------------------------------------------------------------------------------- */

typedef struct planes_task planes_task;

/* A vector of pixels of the output, the first of them `at`. */
typedef struct column {
    size_t at;
    lane_mask kept; /* the lanes that are pixels */
} column;

typedef struct planes_plan {
    pleat_conv_plan plan;
    size_t input, output; /* pixels of a plane */
    size_t taps, columns;
    size_t each, tasks; /* planes in a task, or channels; tasks */
    size_t chunk;       /* weight gradient: images */
    size_t slot;        /* elements of a copied plane */
    void (*loop)(const planes_task *t);
    const column *column;
    const lane_mask *mask;   /* [columns, taps]: the lanes that meet the input */
    const ptrdiff_t *offset; /* [columns, taps]: what lane 0 meets, from the plane's beginning */
} planes_plan;

/* A tensor that is read, and where a plane of it is copied from whose ends nothing may be read. */
typedef struct tensor_planes {
    const T *begin, *end;
    size_t pixels;
    T *copy;
} tensor_planes;

struct planes_task {
    const planes_plan *plan;
    const pl_conv_call *call;
    tensor_planes input, y; /* y: of the weight gradient */
    range planes;           /* that it writes; of the weight gradient channels */
};

/* The plane, where a vector may be read before and behind it. */
static inline const T *plane_at(const tensor_planes *t, size_t plane) {
    const T *from = t->begin + plane * t->pixels;
    if ((size_t)(from - t->begin) >= LANES && (size_t)(t->end - from) >= t->pixels + LANES) return from;
    return memcpy(t->copy, from, t->pixels * sizeof *from);
}

/* ---- loops ---------------------------------------------------------------------------------------------------- */

/* A vector of the output. Nothing from `last` on is this task's, and what lies behind a short plane is written later. */
static inline void store_column(vec v, size_t pixels, const epilogue *e, T *to, const T *last) {
    v = epilogue_vec(v, e);
    if (pixels >= LANES || (size_t)(last - to) >= LANES)
        store(to, v);
    else
        memcpy(to, &v, pixels * sizeof *to);
}

/* Inlined with constant taps. */
SPECIALIZE void sum_plane(size_t taps, const planes_plan *p, const T *from, const T *w, const epilogue *e,
                          T *to, const T *last) {
    const lane_mask *mask = p->mask;
    const ptrdiff_t *offset = p->offset;
    vec factor[MOST_TAPS];
    UNROLL(32)
    for (size_t i = 0; i < taps; i++) factor[i] = w[i] - (vec){0};
    for (size_t k = 0; k < p->columns; k++, mask += taps, offset += taps) {
        vec sum = {0};
        UNROLL(32)
        for (size_t i = 0; i < taps; i++)
            sum = fmadd(factor[i], keep_lanes(load(from + offset[i]), mask[i]), sum);
        store_column(sum, p->output, e, to + p->column[k].at, last);
    }
}

SPECIALIZE void sum_planes(size_t taps, const planes_task *t) {
    const planes_plan *p = t->plan;
    const pl_conv_call *call = t->call;
    size_t channels = p->plan.g.C, end = t->planes.first + t->planes.count;
    T *output = pl_result(&p->plan, call);
    for (size_t i = t->planes.first; i < end; i++) {
        size_t c = i % channels;
        const T *bias = call->bias ? (const T *)call->bias + c : NULL;
        T *to = output + i * p->output;
        sum_plane(taps, p, plane_at(&t->input, i), (const T *)call->w + c * taps,
                  &(epilogue){.relu = call->relu, .bias = bias}, to, output + end * p->output);
        if (call->finish)
            pl_finish_rows(call->finish, sizeof(T), c, (pl_rows){1, p->output, p->output, false}, to, to);
    }
}

/* The products of a channel, summed over a chunk of images: a line for each tap. */
SPECIALIZE void sum_chunk(size_t taps, const planes_task *t, size_t c, range images, T *lines) {
    enum { VECTORS = LINE / VECTOR_BYTES };
    const planes_plan *p = t->plan;
    for (size_t first = 0; first < VECTORS; first++) {
        vec sum[MOST_TAPS] = {0};
        for (size_t n = images.first; n < images.first + images.count; n++) {
            size_t plane = n * p->plan.g.C + c;
            const T *x = plane_at(&t->input, plane), *y = plane_at(&t->y, plane);
            for (size_t k = first; k < p->columns; k += VECTORS) {
                const lane_mask *mask = p->mask + k * taps;
                const ptrdiff_t *offset = p->offset + k * taps;
                vec v = keep_lanes(load(y + p->column[k].at), p->column[k].kept);
                UNROLL(32)
                for (size_t i = 0; i < taps; i++)
                    sum[i] = fmadd(v, keep_lanes(load(x + offset[i]), mask[i]), sum[i]);
            }
        }
        UNROLL(32)
        for (size_t i = 0; i < taps; i++) store(lines + (i * VECTORS + first) * LANES, sum[i]);
    }
}

SPECIALIZE void sum_products(size_t taps, const planes_task *t) {
    const planes_plan *p = t->plan;
    for (size_t c = t->planes.first; c < t->planes.first + t->planes.count; c++) {
        T *w = (T *)t->call->w + c * taps, lines[MOST_TAPS * LINE / sizeof(T)], sums[MOST_TAPS];
        memset(w, 0, taps * sizeof *w);
        for (size_t chunk = 0; chunk * p->chunk < p->plan.g.N; chunk++) {
            sum_chunk(taps, t, c, part_of(p->plan.g.N, p->chunk, chunk), lines);
            sum_lines(taps, lines, sums);
            for (size_t i = 0; i < taps; i++) w[i] += sums[i];
        }
    }
}

#define LOOPS(name, taps)                                                    \
    static void planes_##name(const planes_task *t) { sum_planes(taps, t); } \
    static void products_##name(const planes_task *t) { sum_products(taps, t); }
LOOPS(9, 9)
LOOPS(25, 25)
LOOPS(any, t->plan->taps)

/* ---- tables --------------------------------------------------------------------------------------------------- */

/* From a pixel of the output to the one of the input that it meets through a tap, along an axis. */
static ptrdiff_t distance(const planes_plan *p, size_t k, size_t tap) {
    ptrdiff_t d = tap_origin(&p->plan.g, k, tap);
    return p->plan.op == PLEAT_CONV_TRANSPOSE ? -d : d;
}

static void find_column(const planes_plan *p, size_t k, column *to, lane_mask *mask, ptrdiff_t *offset) {
    const pleat_conv_shape *g = &p->plan.g;
    size_t width = g->W, height = p->input / width, at = k * LANES;
    /* the last vector overlaps its predecessor, but where sums would have its pixels twice */
    if (p->plan.op != PLEAT_CONV_WEIGHT && p->output >= LANES) at = min(at, p->output - LANES);
    to->at = at, to->kept = mask_of(0, p->output - at);
    memset(mask, 0, p->taps * sizeof *mask);
    memset(offset, 0, p->taps * sizeof *offset);
    for (size_t l = 0; l < LANES && at + l < p->output; l++)
        for (size_t i = 0; i < p->taps; i++) {
            ptrdiff_t dh = distance(p, 0, i / g->S), dw = distance(p, 1, i % g->S);
            size_t h = (at + l) / width + (size_t)dh, w = (at + l) % width + (size_t)dw;
            if (h >= height || w >= width) continue;
            mask[i][l] = -1;
            offset[i] = (ptrdiff_t)at + dh * (ptrdiff_t)width + dw;
        }
}

/* ---- the engine ----------------------------------------------------------------------------------------------- */

static size_t table_bytes(const planes_plan *p) {
    return p->columns * (sizeof(column) + p->taps * (sizeof(lane_mask) + sizeof(ptrdiff_t))) + VECTOR_BYTES;
}

/* Whether the engine takes the shape, and whether that pays. */
static bool draft(const pleat_conv_shape *g, pleat_conv_op op, planes_plan *p) {
    bool image = op == PLEAT_CONV_TRANSPOSE, weight = op == PLEAT_CONV_WEIGHT;
    if (!is_near(g) || g->G != g->C || g->G != g->O || g->stride[0] * g->stride[1] != 1 || g->W != g->Q)
        return false;
    weight_order order = order_of_weight(g, sizeof(T));
    if (g->R * g->S > MOST_TAPS || g->H > TABLE_BYTES || g->P > TABLE_BYTES) return false;
    if (weight ? !order.flat : 4 * g->W > 3 * LANES) return false;
    *p = (planes_plan){
        .plan = {.engine = &ENGINE, .g = *g, .op = op}, .taps = g->R * g->S, .chunk = order.each};
    p->input = (image ? g->P : g->H) * g->W, p->output = (image ? g->H : g->P) * g->W;
    p->columns = ceil_div(p->output, LANES);
    p->slot = round_up(max(g->H, g->P) * g->W + 2 * LANES, LANES);
    p->plan.thread_bytes = round_up(2 * p->slot * sizeof(T), LINE);
    size_t units = weight ? g->C : g->N * g->C, pixels = p->output * (weight ? g->N : 1);
    p->each = max(1, min(GRAIN / max(pixels, 1), units / TASKS));
    p->tasks = ceil_div(units, p->each);
    void (*planes)(const planes_task *) = p->taps == 9 ? planes_9 : p->taps == 25 ? planes_25 : planes_any;
    void (*products)(const planes_task *) = p->taps == 9    ? products_9
                                            : p->taps == 25 ? products_25
                                                            : products_any;
    p->loop = weight ? products : planes;
    return weight || table_bytes(p) <= TABLE_BYTES;
}

static bool make(const pleat_conv_shape *g, pleat_conv_op op, pleat_conv_plan **plan) {
    planes_plan d;
    if (!draft(g, op, &d)) return false;
    planes_plan *p = pl_plan_new(&d, sizeof d, table_bytes(&d));
    *plan = (pleat_conv_plan *)p;
    if (p == NULL) return true;
    size_t beyond = (size_t)(uintptr_t)(p + 1) % VECTOR_BYTES;
    lane_mask *mask = (lane_mask *)(void *)((char *)(p + 1) + (beyond ? VECTOR_BYTES - beyond : 0));
    column *columns = (column *)(void *)(mask + p->columns * p->taps);
    ptrdiff_t *offset = (ptrdiff_t *)(void *)(columns + p->columns);
    p->mask = mask, p->column = columns, p->offset = offset;
    for (size_t k = 0; k < p->columns; k++)
        find_column(p, k, columns + k, mask + k * p->taps, offset + k * p->taps);
    return true;
}

static void run_task(void *arg, size_t task, size_t thread) {
    planes_task t = *(const planes_task *)arg;
    const planes_plan *p = t.plan;
    const pleat_conv_shape *g = &p->plan.g;
    bool weight = p->plan.op == PLEAT_CONV_WEIGHT;
    const T *input = p->plan.op == PLEAT_CONV_TRANSPOSE ? t.call->y : t.call->x, *y = t.call->y;
    size_t planes = g->N * g->C;
    T *copy = (T *)(void *)pl_thread_workspace(&p->plan, t.call, thread) + LANES;
    t.planes = part_of(weight ? g->C : planes, p->each, task);
    t.input = (tensor_planes){input, input + planes * p->input, p->input, copy};
    t.y = (tensor_planes){y, y + planes * p->output, p->output, copy + p->slot};
    p->loop(&t);
}

static void run(const pleat_conv_plan *plan, const pl_conv_call *call) {
    const planes_plan *p = (const planes_plan *)plan;
    if (p->tasks > 0) pl_parallel(call->pool, p->tasks, run_task, &(planes_task){.plan = p, .call = call});
}

static pl_decisions decide(const pleat_conv_plan *plan) {
    const planes_plan *p = (const planes_plan *)plan;
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    a[PL_FORM] = p->taps == 9 || p->taps == 25 ? PL_UNROLLED : PL_ANY_TAPS;
    a[PL_GROUPS] = pl_count(plan->g.G);
    a[PL_VECTORS] = pl_width(p->columns), a[PL_LAST_VECTOR] = p->output % LANES ? PL_LESS : PL_FULL;
    a[PL_CUT] = p->each > 1 ? PL_CUT_IMAGES : PL_CUT_IMAGE;
    return d;
}

static void describe(const pleat_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, "planes of %zu vectors", ((const planes_plan *)plan)->columns);
}

const pl_engine ENGINE = {.name = PLEAT_ENGINE_DIRECT,
                          .isa = ISA,
                          .element = sizeof(T),
                          .has_epilogue = true,
                          .make = make,
                          .run = run,
                          .decide = decide,
                          .describe = describe};

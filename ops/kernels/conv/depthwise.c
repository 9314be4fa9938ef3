/* Many groups of few channels, depthwise layers above all, with vectors over groups. Compiled once for each instruction set and type; ENGINE
 * is the name of the table.
 *
 * Where rows are short or the stride is not 1, vectors along rows leave lanes empty, or shuffle for each tap. Here the planes of as many
 * groups as fill a line of the cache are turned, so that a pixel is a line; then each result is sums of lines, whatever kernel, stride
 * and dilation are, and is turned back. Taps in padding are left out. Groups of all images stand in one row. The blocks of a blocked tensor
 * are such lines, and are read and written where they are.
 *
 * "Source" is x forward and y transposed, "result" the other; of the weight gradient x and y. */
#include "kernels/conv/engine.h"
#include "kernels/conv/phase.h"
#include "kernels/parallel.h"
#include "kernels/simd/vectors.h"

#include "kernels/gemm/turn.inc"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    TILE = REGISTERS == 32 ? 8 : 6, /* pixels of a row whose sums are made together */
    MOST_CHANNELS =
        sizeof(vec) == LINE ? 16 : 4,     /* of a group: narrower vectors fill implicit GEMM's tiles */
    MOST_UNROLLED = 5,                    /* taps along an axis for which direct loops are unrolled */
    COST_CALL = 12,                       /* weight gradient: of a column's loop, in rows */
    MOST_WEIGHTS = 512,                   /* of a channel whose gradient is summed in lanes */
    TASKS = 8,                            /* at least so many, to share out among threads */
    GRAIN = LIMIT(128 * 1024, 32 * 1024), /* bytes of lines of a task, about, where there are tasks enough */
    STRIP_BYTES = LIMIT(192 * 1024, 8 * 1024), /* lines of a strip, source and result */
    THREAD_BYTES = 1023 * 1024,                /* of a thread's workspace, at most */
};

extern const pl_engine ENGINE;

/* ---- plan ----------------------------------------------------------------------------------------------------- */

typedef struct depthwise_phase {
    phase is;
    size_t tap, tile; /* taps of the phases before it; pixels of a tile */
    range inner;      /* pixels that meet the source through every tap */
} depthwise_phase;

typedef struct depthwise_axis {
    size_t source, result, taps, phases;
    depthwise_phase phase[MOST_SPLIT];
    range has[MOST_TAPS]; /* of the taps, phase by phase: the pixels that meet the source through it */
} depthwise_axis;

typedef struct depthwise_plan {
    pleat_conv_plan plan;
    depthwise_axis axis[2];
    size_t in, out; /* channels of a group: of the source, of the result; of the weight gradient x and y */
    bool bare;      /* some pixels no tap reaches */
    bool blocked_source, blocked_result;
    size_t blocks, apart; /* of groups; blocks of weights that differ: the others are those again */
    size_t rows, strips;  /* of the result in a strip; strips of a plane */
    size_t each, tasks;   /* strips in a task; tasks */
    size_t source_lines, result_lines; /* of a strip, for each channel of a group */
    bool sparse;                       /* rows of the source that no tap reaches lie between others */
    /* weight gradient: */
    weight_order order;
    size_t lanes, bands; /* that have columns; units of an image */
    size_t piece;        /* units that are turned at a time */
} depthwise_plan;

/* The first pixel of a phase from index `from` of the result on. */
static size_t first_pixel(const phase *f, size_t from) {
    return min(f->pixels, from > f->at ? ceil_div(from - f->at, f->stride) : 0);
}

#include "kernels/conv/depthwise_lines.inc"

static range pixels_of(const phase *f, size_t tap, size_t source) {
    ptrdiff_t first = f->origin + (ptrdiff_t)tap * f->hop, move = (ptrdiff_t)f->move;
    size_t begin = first < 0 ? (size_t)((move - 1 - first) / move) : 0;
    ptrdiff_t left = (ptrdiff_t)source - first;
    size_t end = left > 0 ? min((size_t)((left + move - 1) / move), f->pixels) : 0;
    return begin < end ? (range){begin, end - begin} : (range){0};
}

static void find_phases(depthwise_axis *a, const pleat_conv_shape *g, pleat_conv_op op, size_t k) {
    bool image = op == PLEAT_CONV_TRANSPOSE;
    a->source = image ? map_size(g, k) : image_size(g, k),
    a->result = image ? image_size(g, k) : map_size(g, k);
    a->taps = kernel_size(g, k), a->phases = phases_of(g, op, k);
    for (size_t i = 0, tap = 0; i < a->phases; i++) {
        depthwise_phase *f = a->phase + i;
        f->is = phase_of(g, op, k, i), f->tap = tap;
        f->tile = f->is.pixels > 0 ? even_part(f->is.pixels, TILE) : 1;
        size_t first = 0, end = f->is.pixels;
        for (size_t s = 0; s < f->is.taps; s++, tap++) {
            range has = a->has[tap] = pixels_of(&f->is, s, a->source);
            first = max(first, has.first), end = min(end, has.first + has.count);
        }
        f->inner = first < end ? (range){first, end - first} : (range){0};
    }
}

/* Whether some residue of the result has no tap. */
static bool is_bare(const depthwise_axis *a, size_t stride) {
    size_t reached = 0;
    for (size_t i = 0; i < a->phases; i++) reached += a->phase[i].is.pixels > 0;
    return reached < min(stride, a->result);
}

/* The rows of the source that rows of the result reach. */
static range reach(const depthwise_plan *p, range rows) {
    const depthwise_axis *a = p->axis;
    size_t first = a->source, end = 0;
    for (const depthwise_phase *f = a->phase; f < a->phase + a->phases; f++) {
        size_t from = first_pixel(&f->is, rows.first), to = first_pixel(&f->is, rows.first + rows.count);
        for (size_t s = 0; s < f->is.taps; s++) {
            range has = a->has[f->tap + s];
            size_t begin = max(from, has.first), last = min(to, has.first + has.count);
            if (begin >= last) continue;
            ptrdiff_t at = f->is.origin + (ptrdiff_t)s * f->is.hop;
            first = min(first, (size_t)(at + (ptrdiff_t)(begin * f->is.move)));
            end = max(end, (size_t)(at + (ptrdiff_t)((last - 1) * f->is.move)) + 1);
        }
    }
    return first < end ? (range){first, end - first} : (range){0};
}

/* Rows of y: of some bands from one on. */
static range bands_of(const depthwise_plan *p, size_t band, size_t count) {
    size_t rows = BAND * p->order.step, first = band * rows;
    return (range){first, min(p->plan.g.P - first, count * rows)};
}

/* Rows of the source that so many rows of the result reach, at most. */
static size_t most_reach(const depthwise_plan *p, size_t rows) {
    const pleat_conv_shape *g = &p->plan.g;
    size_t s = g->stride[0], span = (g->R - 1) * g->dilation[0];
    return min(p->axis[0].source,
               1 + (p->plan.op == PLEAT_CONV_TRANSPOSE ? (rows - 1 + span) / s : (rows - 1) * s + span));
}

/* The lines of a strip, or of some images. */
static void measure(depthwise_plan *p, size_t rows, size_t images) {
    p->source_lines = most_reach(p, rows) * p->axis[1].source * images;
    p->result_lines = rows * p->axis[1].result * images;
}

/* Of a strip, also of those that are in place. */
static size_t line_bytes(const depthwise_plan *p) {
    return (p->in * p->source_lines + p->out * p->result_lines) * LINE;
}

/* Even parts of a plane, as many as it takes for a strip to have room. */
static void cut_strips(depthwise_plan *p) {
    size_t height = p->axis[0].result, rows = height;
    for (measure(p, rows, 1); rows > 1 && line_bytes(p) > STRIP_BYTES; measure(p, rows, 1))
        rows -= ceil_div(rows, 8);
    p->rows = even_part(height, rows), p->strips = ceil_div(height, p->rows);
}

/* As many units at a time as have room: bands of an image or, where each lane has one column of one band, images. */
static bool cut_pieces(depthwise_plan *p) {
    const pleat_conv_shape *g = &p->plan.g;
    p->order = order_of_weight(g, sizeof(T));
    if (g->N == 0 || p->order.lanes == 1 || p->order.flat || chunks_of(&p->order) > 1) return false;
    size_t band = BAND * p->order.step, units;
    p->bands = ceil_div(g->P, band), p->lanes = min(CHANNELS, g->Q);
    bool images = p->bands == 1 && g->Q <= CHANNELS && min(p->order.step, g->P) == 1;
    for (units = images ? g->N : p->bands;; units -= ceil_div(units, 8)) {
        measure(p, images ? g->P : min(g->P, units * band), images ? units : 1);
        if (units == 1 || line_bytes(p) <= STRIP_BYTES) break;
    }
    p->piece = units;
    return g->R * g->S <= MOST_WEIGHTS;
}

static size_t apart(const pleat_conv_shape *g) { return g->G / common_divisor(g->G, CHANNELS); }

/* Whether it pays. Direct loops along rows are unrolled for square kernels with strides up to 2; they and implicit GEMM cost what whole
 * vectors along a row cost, and about one more for its beginning and end. Here each pixel costs the same, and groups that do
 * not fill a block are idle. */
static bool pays(const depthwise_plan *p) {
    const pleat_conv_shape *g = &p->plan.g;
    bool weight = p->plan.op == PLEAT_CONV_WEIGHT, image = p->plan.op == PLEAT_CONV_TRANSPOSE;
    bool several = p->in * p->out > 1, strides = g->stride[0] * g->stride[1] > 1;
    if (LIMIT(false, true) || p->blocked_source || p->blocked_result) return true;
    if (several && g->R * g->S == 1 && !strides) return false;
    if (!several && (g->R != g->S || g->R > MOST_UNROLLED || max(g->stride[0], g->stride[1]) > 2))
        return true;
    double limit = weight ? (several ? 0.3 : 0.4) : image && strides ? 0.4 : several ? 0.45 : 0.5;
    size_t groups = weight ? g->G : max(g->N, 1) * g->G, pixels = image ? ceil_div(g->W, g->stride[1]) : g->Q;
    double vectors = (double)ceil_div(pixels, CHANNELS) + 1,
           idle = (double)(p->blocks * CHANNELS) / (double)groups;
    /* of a weight gradient with dilated rows a call sums few of them, and those of a few images; with strides others lose more */
    size_t step = weight && !strides && p->in * p->out >= 16 ? row_step_of(g) : 1;
    if (step > 1) idle *= 1 + COST_CALL / (double)(ceil_div(g->P, step) * max(1, min(g->N, 4)));
    return (double)pixels * idle <= limit * vectors * CHANNELS;
}

static bool draft(const pleat_conv_shape *g, pleat_conv_op op, depthwise_plan *p) {
    bool image = op == PLEAT_CONV_TRANSPOSE, weight = op == PLEAT_CONV_WEIGHT;
    size_t groups = weight ? g->G : max(g->N, 1) * g->G, C = g->C / g->G, O = g->O / g->G;
    if (!is_near(g) || max(C, O) > MOST_CHANNELS || groups < CHANNELS) return false;
    *p = (depthwise_plan){
        .plan = {.engine = &ENGINE, .g = *g, .op = op}, .in = image ? O : C, .out = image ? C : O};
    p->blocks = ceil_div(groups, CHANNELS);
    p->blocked_source = g->blocked[image], p->blocked_result = g->blocked[!image];
    if ((p->blocked_source || p->blocked_result) && (weight || p->in * p->out > 1)) return false;
    if (!pays(p)) return false;
    for (size_t k = 0; k < 2; k++) find_phases(p->axis + k, g, op, k);
    p->sparse = !image && (g->R - 1) * g->dilation[0] + 1 < g->stride[0];
    p->bare = image && (is_bare(p->axis, g->stride[0]) || is_bare(p->axis + 1, g->stride[1]));
    if (p->axis[1].source * LINE > THREAD_BYTES || p->axis[1].result * LINE > THREAD_BYTES) return false;
    size_t taps = g->R * g->S, kernels = p->in * p->out;
    if (weight) {
        if (!cut_pieces(p)) return false;
        p->plan.thread_bytes = line_bytes(p) + (p->lanes * kernels + 1) * taps * LINE;
        return p->plan.thread_bytes <= THREAD_BYTES;
    }
    cut_strips(p);
    p->apart = min(apart(g), p->blocks) + (groups % CHANNELS != 0);
    p->plan.packed_bytes = p->plan.shared_bytes = p->apart * kernels * taps * LINE;
    size_t units = ceil_div(g->N * g->G, CHANNELS) * p->strips;
    p->each = max(1, min(GRAIN / line_bytes(p), units / TASKS));
    p->tasks = ceil_div(units, p->each);
    size_t table = round_up(p->rows * sizeof(line_row), LINE);
    size_t spare = groups % CHANNELS ? p->result_lines * LINE : 0;
    size_t turned = (p->blocked_source ? 0 : p->in * p->source_lines) +
                    (p->blocked_result ? 0 : p->out * p->result_lines);
    p->plan.thread_bytes = turned * LINE + spare + table;
    return p->plan.thread_bytes <= THREAD_BYTES;
}

static bool make(const pleat_conv_shape *g, pleat_conv_op op, pleat_conv_plan **plan) {
    depthwise_plan p;
    if (!draft(g, op, &p)) return false;
    *plan = pl_plan_new(&p, sizeof p, 0);
    return true;
}

/* ---- weights -------------------------------------------------------------------------------------------------- */

/* The first group of a block, images one after the other. The last one goes over the end of the block before. */
static size_t group_of(const depthwise_plan *p, size_t block) {
    return min(block * CHANNELS, p->plan.g.N * p->plan.g.G - CHANNELS);
}

/* The packed weights [apart,out,in,R,S,CHANNELS] of a block. */
static size_t packed_of(const depthwise_plan *p, size_t block) {
    size_t groups = max(p->plan.g.N, 1) * p->plan.g.G;
    bool last = groups % CHANNELS != 0 && block + 1 == p->blocks;
    return last ? p->apart - 1 : block % apart(&p->plan.g);
}

typedef struct pack_arguments {
    const depthwise_plan *plan;
    const T *w;
    T *packed;
} pack_arguments;

/* Of CHANNELS groups from one on, the weights of a pair of channels. */
static void pack_pair(const depthwise_plan *p, size_t first, const T *w, T *to) {
    size_t taps = p->plan.g.R * p->plan.g.S, G = p->plan.g.G, each = p->in * p->out * taps;
    if (first + CHANNELS <= G) {
        turn_any(CHANNELS, taps, w + first * each, each, to, CHANNELS);
        return;
    }
    for (size_t l = 0; l < CHANNELS; l++)
        for (size_t i = 0; i < taps; i++) to[i * CHANNELS + l] = w[(first + l) % G * each + i];
}

static void pack_task(void *arg, size_t task, size_t thread) {
    const pack_arguments *a = arg;
    const depthwise_plan *p = a->plan;
    size_t taps = p->plan.g.R * p->plan.g.S, groups = max(p->plan.g.N, 1) * p->plan.g.G;
    bool last = groups % CHANNELS != 0 && task + 1 == p->apart, image = p->plan.op == PLEAT_CONV_TRANSPOSE;
    size_t first = (last ? groups - CHANNELS : task * CHANNELS) % p->plan.g.G;
    T *to = a->packed + task * p->in * p->out * taps * CHANNELS;
    (void)thread;
    for (size_t o = 0; o < p->out; o++)
        for (size_t c = 0; c < p->in; c++, to += taps * CHANNELS)
            pack_pair(p, first, a->w + (image ? c * p->out + o : o * p->in + c) * taps, to);
}

static void pack(const pleat_conv_plan *plan, const void *w, void *packed, pleat_pool *pool) {
    const depthwise_plan *p = (const depthwise_plan *)plan;
    pl_parallel(pool, p->apart, pack_task, &(pack_arguments){p, w, packed});
}

/* ---- forward and transpose ------------------------------------------------------------------------------------ */

typedef struct task_arguments {
    const depthwise_plan *plan;
    const pl_conv_call *call;
} task_arguments;

/* Turns the rows of the source that rows of the result reach: of CHANNELS groups, from the first one's planes on. */
static lines turn_source(const depthwise_plan *p, const T *planes, range rows, range reached, T *to) {
    size_t width = p->axis[1].source, each = p->axis[0].source * width;
    size_t step = p->sparse ? 1 : rows.count;
    lines all = {to, reached.first, width * CHANNELS, p->source_lines * CHANNELS};
    for (size_t c = 0; c < p->in; c++, to += all.channel, planes += each)
        for (size_t i = 0; i < rows.count; i += step) {
            range some = p->sparse ? reach(p, (range){rows.first + i, 1}) : reached;
            if (some.count > 0)
                turn_any(CHANNELS, some.count * width, planes + some.first * width, p->in * each,
                         to + (some.first - reached.first) * all.row, CHANNELS);
        }
    return all;
}

/* A block of a blocked tensor, whose planes have rows of `width` pixels. */
static lines block_of(const T *tensor, size_t block, const depthwise_axis *rows, bool result, size_t width) {
    size_t height = result ? rows->result : rows->source;
    return (lines){(T *)tensor + block * height * width * CHANNELS, 0, width * CHANNELS, 0};
}

/* What is left to do for rows of the result where they are. */
static void finish_lines(const pl_conv_call *call, const depthwise_plan *p, size_t group, range rows,
                         const lines *to) {
    T *at = to->at + rows.first * to->row;
    if (call->finish)
        pl_finish_rows(call->finish, sizeof(T), group % p->plan.g.G,
                       (pl_rows){rows.count * p->axis[1].result, CHANNELS, CHANNELS, true}, at, at);
}

/* Lines that become rows of planes: of a channel of CHANNELS groups, of which the first `known` are left as they are. */
static void put_planes(const pl_conv_call *call, const depthwise_plan *p, const T *from, size_t group,
                       size_t channel, size_t known, range rows, T *spare) {
    size_t width = p->axis[1].result, pixels = rows.count * width, plane = p->axis[0].result * width;
    size_t each = p->out * plane;
    T *result = (T *)pl_result(&p->plan, call) + group * each + channel * plane + rows.first * width;
    if (known == 0) {
        turn_any(pixels, CHANNELS, from, CHANNELS, result, each);
    } else {
        turn_any(pixels, CHANNELS, from, CHANNELS, spare, pixels);
        for (size_t l = known; l < CHANNELS; l++)
            memcpy(result + l * each, spare + l * pixels, pixels * sizeof *spare);
    }
    for (size_t l = known; call->finish && l < CHANNELS; l++)
        pl_finish_rows(call->finish, sizeof(T), (group + l) % p->plan.g.G * p->out + channel,
                       (pl_rows){1, pixels, pixels, false}, result + l * each, result + l * each);
}

static void run_strip(const depthwise_plan *p, const pl_conv_call *call, size_t block, range rows,
                      T *memory) {
    const pleat_conv_shape *g = &p->plan.g;
    const T *source = p->plan.op == PLEAT_CONV_TRANSPOSE ? call->y : call->x, *all = call->bias;
    size_t group = group_of(p, block), terms = p->in * g->R * g->S * CHANNELS;
    size_t width = p->axis[1].source, wide = p->axis[1].result;
    lines from = p->blocked_source ? block_of(source, block, p->axis, false, width)
                                   : turn_source(p, source + group * p->in * p->axis[0].source * width, rows,
                                                 reach(p, rows), memory);
    lines to = p->blocked_result ? block_of(pl_result(&p->plan, call), block, p->axis, true, wide)
                                 : (lines){memory + (p->blocked_source ? 0 : p->in * from.channel),
                                           rows.first, wide * CHANNELS, p->result_lines * CHANNELS};
    T *spare = to.at + p->out * to.channel, bias[2 * CHANNELS];
    line_row *table = (line_row *)(void *)((char *)memory + p->plan.thread_bytes - p->rows * sizeof *table);
    line_weights w = {.w = (const T *)call->packed + packed_of(p, block) * p->out * terms,
                      .relu = call->relu};
    if (all) w.bias = bias;
    for (size_t o = 0; o < p->out;
         o += w.results, w.w += w.results * terms, to.at += w.results * to.channel) {
        w.results = min(2, p->out - o);
        for (size_t i = 0; all && i < w.results * CHANNELS; i++)
            bias[i] = all[(group + i % CHANNELS) % g->G * p->out + o + i / CHANNELS];
        sum_rows(p, &from, &w, rows, &to, table);
        for (size_t i = 0; i < w.results && !p->blocked_result; i++)
            put_planes(call, p, to.at + i * to.channel, group, o + i, block * CHANNELS - group, rows, spare);
    }
    if (p->blocked_result) finish_lines(call, p, group, rows, &to);
}

static void run_task(void *arg, size_t task, size_t thread) {
    const task_arguments *a = arg;
    const depthwise_plan *p = a->plan;
    T *memory = (T *)(void *)pl_thread_workspace(&p->plan, a->call, thread);
    range units = part_of(ceil_div(p->plan.g.N * p->plan.g.G, CHANNELS) * p->strips, p->each, task);
    for (size_t i = units.first; i < units.first + units.count; i++)
        run_strip(p, a->call, i / p->strips, part_of(p->axis[0].result, p->rows, i % p->strips), memory);
}

#include "kernels/conv/depthwise_weight.inc"

/* ---- the engine ----------------------------------------------------------------------------------------------- */

static void run(const pleat_conv_plan *plan, const pl_conv_call *call) {
    const depthwise_plan *p = (const depthwise_plan *)plan;
    if (plan->op == PLEAT_CONV_WEIGHT)
        pl_parallel(call->pool, p->blocks, weight_task, &(task_arguments){p, call});
    else if (plan->g.N > 0)
        pl_parallel(call->pool, p->tasks, run_task, &(task_arguments){p, call});
}

/* Whether rows, columns or both have pixels that lack taps. */
static unsigned char rim_of(const depthwise_plan *p) {
    bool lacks[2] = {false, false};
    for (size_t k = 0; k < 2; k++)
        for (const depthwise_phase *f = p->axis[k].phase; f < p->axis[k].phase + p->axis[k].phases; f++)
            lacks[k] |= f->inner.count < f->is.pixels;
    return lacks[0] ? lacks[1] ? PL_RIM_BOTH : PL_RIM_ROWS : lacks[1] ? PL_RIM_COLUMNS : PL_RIM_NONE;
}

static pl_decisions decide(const pleat_conv_plan *plan) {
    const depthwise_plan *p = (const depthwise_plan *)plan;
    const pleat_conv_shape *g = &plan->g;
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    bool weight = plan->op == PLEAT_CONV_WEIGHT, down = p->axis[0].phases > 1, along = p->axis[1].phases > 1;
    size_t groups = weight ? g->G : g->N * g->G;
    a[PL_FORM] = p->in * p->out > 1 ? PL_SEVERAL_CHANNELS : PL_ONE_CHANNEL;
    a[PL_GROUPS] = pl_count(g->G), a[PL_RIM] = rim_of(p);
    a[PL_BLOCKS] = pl_count(p->blocks), a[PL_LAST_BLOCK] = pl_rest(groups, CHANNELS);
    a[PL_FILL] = p->sparse ? PL_FILL_SHORT : PL_FILL_WHOLE;
    if (weight) {
        size_t units = p->bands > 1 ? p->bands : p->order.units;
        a[PL_STRIPS] = pl_count(ceil_div(units, p->piece)),
        a[PL_CUT] = p->piece > 1 ? PL_CUT_IMAGES : PL_CUT_IMAGE;
        a[PL_REACH] = p->order.step > 1 ? PL_REACH_SKIPS : PL_REACH_NEXT;
        a[PL_TILES] = pl_count(ceil_div(g->S, MOST_ALONG));
        return d;
    }
    const depthwise_phase *f = p->axis[1].phase;
    a[PL_PHASES] = down ? along ? PL_PHASES_BOTH : PL_PHASES_DOWN : along ? PL_PHASES_ALONG : PL_NO_PHASES;
    a[PL_TAPS] = p->bare ? PL_TAPS_NONE : PL_TAPS_ALL;
    a[PL_PACKING] = PL_PACKED_ONCE, a[PL_PARTS] = pl_count(p->apart);
    a[PL_LAYOUT] = (unsigned char)(PL_PLAIN + g->blocked[0] + 2 * g->blocked[1]);
    a[PL_TILES] = pl_count(ceil_div(f->is.pixels, f->tile)), a[PL_LAST_TILE] = pl_rest(f->is.pixels, f->tile);
    a[PL_STRIPS] = pl_count(p->strips), a[PL_LAST_STRIP] = pl_rest(p->axis[0].result, p->rows);
    a[PL_CUT] = p->each > 1 ? PL_CUT_IMAGES : PL_CUT_IMAGE;
    return d;
}

static void describe(const pleat_conv_plan *plan, char *text, size_t size) {
    const depthwise_plan *p = (const depthwise_plan *)plan;
    snprintf(text, size, "vectors over groups, %zu blocks", p->blocks);
}

const pl_engine ENGINE = {.name = PLEAT_ENGINE_DIRECT,
                          .isa = ISA,
                          .element = sizeof(T),
                          .has_epilogue = true,
                          .takes_blocked = true,
                          .make = make,
                          .pack = pack,
                          .run = run,
                          .decide = decide,
                          .describe = describe};

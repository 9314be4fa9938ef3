/* Direct loops for groups of few channels, depthwise convolutions above all. Compiled once for each instruction set and type; ENGINE is the
 * name of the table.
 *
 * With a channel or two in a group there is so little to compute for each number of the input that a copy of it, columns or a packed
 * input, costs as much as the sums. Here rows of the input are read in place: a block of MR rows of the output is computed a vector
 * at a time. Lanes that meet padding beside the image are masked; rows above and below it are one row of zeros; and a row at either
 * end of the tensor, next to which nothing may be read, is copied.
 *
 * A convolution with stride 2 takes every other element of what it loads; a transposed one computes two phases of pixels and stores
 * them interleaved. "Input" is x forward and y transposed, "output" the other. The weight gradient has the blocks of order.h, and a
 * line of sums for each tap. */
#include "kernels/conv/axis.h"
#include "kernels/conv/engine.h"
#include "kernels/conv/order.h"
#include "kernels/parallel.h"
#include "kernels/simd/vectors.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Fitted with bench_conv on an AMD EPYC with AVX-512 (family 26) and an Intel Xeon (model 207), November 2026. */
enum {
    /* rows of the output in a block: 14 sums of two phases, or 8, and the vectors that they are made of; the weight gradient's is a BAND */
    MR = REGISTERS == 32 ? 7 : 4,
    FEW_PAIRS = 4,                  /* of channels in a group: more are left to implicit GEMM */
    FEW_VECTORS = LIMIT(12, 2),     /* weight gradient: a plane of fewer is not worth its beginning and end */
    MOST_WEIGHT_TAPS = 5,           /* weight gradient: along an axis */
    MOST_STRIDE = 2,                /* along a row */
    FORESEEN = LIMIT(1 << 20, 64),  /* numbers of an input that is read upwards: it is not in a cache */
    TASKS = 8,                      /* at least so many, to share out among threads */
    GRAIN = LIMIT(64 * 1024, 512),  /* pixels of a task, about, where there are tasks enough */
    SUM_BYTES = LIMIT(32768, 2048), /* weight gradient: sums of a task: an L1 cache */
    THREAD_BYTES = 1023 * 1024,     /* of a thread's workspace, at most */
    TABLE_BYTES = 1023 * 1024,      /* of a plan's tables, at most: longer rows are left to implicit GEMM */
};

extern const pl_engine ENGINE;

#include "kernels/conv/direct_loops.inc"

/* ---- plan ----------------------------------------------------------------------------------------------------- */

/* The taps of a phase down a column. */
typedef struct tap_rows {
    size_t taps, tap[MOST_TAPS];
    ptrdiff_t first; /* the row of the input that pixel 0 meets through the first one */
} tap_rows;

/* How the work is cut. It depends on the shape alone, so that results do not depend on the number of threads. */
typedef struct direct_plan {
    pleat_conv_plan plan;
    axis h, w;       /* of the output; of the weight gradient y */
    size_t in, out;  /* channels of a group: input, output; of the weight gradient x and y */
    size_t tap_step; /* rows of the input between neighbouring taps: downwards, but upwards if transposed */
    size_t row_step; /* rows of a phase between those of a block */
    size_t hop;      /* between what they begin at, in steps of tap_step */
    size_t rows;     /* of a channel of the input that a block reaches */
    size_t columns;  /* vectors in a row of a phase */
    size_t bands, band;    /* of a plane of the output, and pixels of a phase down one */
    size_t each, tasks;    /* bands, or pairs of channels, in a task; tasks for each chunk */
    size_t pieces, chunks; /* weight gradient: pairs of image and band in a chunk; chunks */
    size_t margin;         /* elements that are read beside a row */
    size_t slots, slot;    /* copied rows of a block, and elements of one */
    size_t sum_bytes, w_bytes, copy_bytes, row_bytes; /* of a thread's workspace, in this order */
    tap_rows taps[MOST_SPLIT];                        /* of each phase down a column, and its loop */
    loop_fn loop[MOST_SPLIT];
    /* tables, as in row_block; order [phases, nh, nw]: the weights of a pair of channels as they are read */
    const lane_mask *mask, *kept;
    const ptrdiff_t *offset;
    const column *column;
    const size_t *order;
} direct_plan;

static bool is_weight(const direct_plan *p) { return p->plan.op == PLEAT_CONV_WEIGHT; }
static bool is_upward(const direct_plan *p) { return p->plan.op == PLEAT_CONV_TRANSPOSE; }
static size_t block_rows(const direct_plan *p) { return is_weight(p) ? BAND : MR; }
static size_t taps_along(const direct_plan *p) { return taps_in_use(&p->w); }

/* Pixels of the input between neighbouring taps of a phase. */
static size_t tap_distance(const axis *a) {
    if (most_taps(a) < 2) return 1;
    return a->from_image ? a->dilation : a->dilation / common_divisor(a->dilation, a->stride);
}

static tap_rows tap_rows_of(const axis *a, size_t phase) {
    tap_offset r[MOST_TAPS];
    tap_rows rows = {.taps = taps_of_phase(a, phase, r)};
    if (rows.taps == 0) return rows;
    for (size_t i = 0; i < rows.taps; i++) rows.tap[i] = r[i].tap;
    rows.first = (ptrdiff_t)(r[0].at * a->split + r[0].plane) + a->low;
    return rows;
}

static void cut_tasks(direct_plan *p) {
    const pleat_conv_shape *g = &p->plan.g;
    size_t planes = g->G * p->out, N = max(g->N, 1), pixels = p->h.pixels;
    size_t enough = planes < TASKS ? ceil_div(TASKS, planes * min(N, TASKS)) : 1;
    p->band = min(pixels, round_up(ceil_div(pixels, enough), MR * p->row_step));
    p->bands = ceil_div(pixels, p->band);
    size_t units = planes * N * p->bands;
    p->each = max(1, min(GRAIN / (p->band * p->w.result), units / TASKS));
    p->tasks = ceil_div(units, p->each);
}

/* As order.h has it, and the pairs of channels for tasks. */
static void cut_weight_tasks(direct_plan *p, const weight_order *order) {
    const pleat_conv_shape *g = &p->plan.g;
    size_t pairs = g->O * p->in, kernel = g->R * g->S;
    p->band = BAND * p->row_step, p->bands = ceil_div(p->h.pixels, p->band);
    p->each = max(1, min(SUM_BYTES / (kernel * LINE), pairs / TASKS));
    p->tasks = ceil_div(pairs, p->each);
    p->pieces = order->each, p->chunks = chunks_of(order);
    p->plan.shared_bytes = (p->chunks - 1) * round_up(pairs * kernel * sizeof(T), LINE);
}

static void count_bytes(direct_plan *p) {
    const pleat_conv_shape *g = &p->plan.g;
    size_t channels = is_weight(p) ? 1 : p->in;
    p->margin = LANES * p->w.split;
    p->slot = round_up(max(p->w.source, p->w.result) + 2 * p->margin, LANES);
    /* where rows are at least as long as the margin, only the tensor's first and last row need a copy */
    p->slots = p->w.source < p->margin ? channels * p->rows : 2;
    if (is_weight(p)) p->slots += p->w.result < p->margin ? BAND : 2;
    p->sum_bytes = is_weight(p) ? p->each * g->R * g->S * LINE : 0;
    p->w_bytes = is_weight(p) ? 0 : round_up(p->in * g->R * g->S * sizeof(T), LINE);
    p->copy_bytes = round_up((p->slots + 1) * p->slot * sizeof(T), LINE);
    p->row_bytes = channels * p->rows * sizeof(void *);
    p->plan.thread_bytes = round_up(p->sum_bytes + p->w_bytes + p->copy_bytes + p->row_bytes, LINE);
}

/* The weight gradient has loops for square kernels alone. */
static bool takes_taps(const direct_plan *p) {
    size_t n = p->h.taps;
    return n == p->w.taps && n >= 2 && n <= MOST_WEIGHT_TAPS && p->hop == p->w.split;
}

/* Whether it pays. Direct loops win with one channel in and out, where packing costs more than multiplying. Each further output channel
 * reads the input again; that pays for few channels with rows that fill vectors. Tiny images are left to implicit GEMM, which packs
 * several of them into one strip. */
static bool takes_channels(const direct_plan *p) {
    size_t unused[MOST_SPLIT];
    double rows = (double)p->h.pixels, pixels = (double)p->w.pixels;
    double filled = rows / (double)round_up(p->h.pixels, block_rows(p) * p->row_step) * pixels /
                    (double)(p->columns * LANES);
    if (filled < 0.125 || (is_weight(p) && rows * pixels < (double)(FEW_VECTORS * LANES))) return false;
    if (p->in * p->out == 1 || (p->in * p->out <= FEW_PAIRS && p->columns > 1 && filled >= 0.7)) return true;
    /* phases of the same taps are one product of implicit GEMM */
    bool fused = p->h.phases * p->w.phases > 1 && shifts(&p->h, unused) && shifts(&p->w, unused);
    return !is_weight(p) && p->out == 1 && !fused && !is_pointwise(&p->h, &p->w);
}

static bool draft(const pleat_conv_shape *g, pleat_conv_op op, direct_plan *p) {
    bool image = op == PLEAT_CONV_TRANSPOSE;
    if (!is_near(g) || g->stride[1] > MOST_STRIDE) return false;
    size_t C = g->C / g->G, O = g->O / g->G;
    *p = (direct_plan){
        .plan = {.engine = &ENGINE, .g = *g, .op = op}, .in = image ? O : C, .out = image ? C : O};
    p->h = (image ? image_axis : map_axis)(g, 0), p->w = (image ? image_axis : map_axis)(g, 1);
    p->tap_step = tap_distance(&p->h);
    size_t common = common_divisor(p->h.split, p->tap_step);
    p->row_step = p->tap_step / common, p->hop = p->h.split / common;
    weight_order order = order_of_weight(g, sizeof(T));
    if (is_weight(p) && (!takes_taps(p) || order.lanes == 1 || order.flat)) return false;
    p->rows = (block_rows(p) - 1) * p->hop + max(1, most_taps(&p->h));
    p->columns = ceil_div(p->w.pixels, LANES);
    if (p->w.source > THREAD_BYTES || p->w.result > THREAD_BYTES || !takes_channels(p)) return false;
    if (is_weight(p))
        cut_weight_tasks(p, &order);
    else
        cut_tasks(p);
    count_bytes(p);
    return p->plan.thread_bytes + p->plan.shared_bytes <= THREAD_BYTES;
}

/* ---- tables --------------------------------------------------------------------------------------------------- */

typedef struct tables {
    lane_mask *mask, *kept;
    ptrdiff_t *offset;
    column *column;
    size_t *order;
} tables;

/* What the taps of column k meet. Returns whether every lane meets the image through every tap. */
static bool find_column(const direct_plan *p, size_t k, column *to, ptrdiff_t *offset, lane_mask *mask,
                        lane_mask *kept) {
    const axis *a = &p->w;
    size_t phases = a->phases, at = k * LANES, n = 0;
    bool all = true;
    /* the last vector overlaps its predecessor, but where sums would have its pixels twice */
    if (!is_weight(p) && a->pixels >= LANES) at = min(at, a->pixels - LANES);
    size_t count = min(phases * LANES, a->result - at * phases), pixels = is_weight(p) ? count : LANES;
    for (size_t phase = 0; phase < phases; phase++) {
        tap_offset r[MOST_TAPS];
        size_t taps = taps_of_phase(a, phase, r);
        kept[phase] = mask_of(0, count > phase * LANES ? count - phase * LANES : 0);
        for (size_t s = 0; s < taps; s++, n++) {
            overlap m = overlap_of(a, at + r[s].at, pixels, r[s].plane);
            mask[n] = mask_of(m.begin, m.end);
            offset[n] = m.begin < m.end ? (ptrdiff_t)((at + r[s].at) * a->split + r[s].plane) + a->low : 0;
            all &= m.begin == 0 && m.end == LANES;
        }
    }
    to->at = at, to->count = count;
    return all;
}

/* Columns that have all lanes share their masks: so few are in use, and stay in the cache. */
static void find_columns(const direct_plan *p, tables *t) {
    size_t nw = taps_along(p), next = 0, shared = SIZE_MAX;
    for (size_t k = 0; k < p->columns; k++) {
        bool all =
            find_column(p, k, t->column + k, t->offset + k * nw, t->mask + next, t->kept + k * p->w.phases);
        if (all && shared == SIZE_MAX) shared = next;
        t->column[k].mask = all ? shared : next;
        if (t->column[k].mask == next) next += nw;
    }
}

static void order_weights(const direct_plan *p, size_t *order) {
    tap_offset w[MOST_TAPS];
    for (size_t ph = 0; ph < p->h.phases; ph++)
        for (size_t r = 0; r < p->taps[ph].taps; r++)
            for (size_t pw = 0; pw < p->w.phases; pw++)
                for (size_t s = 0, n = taps_of_phase(&p->w, pw, w); s < n; s++)
                    *order++ = p->taps[ph].tap[r] * p->w.taps + w[s].tap;
}

static bool make(const pleat_conv_shape *g, pleat_conv_op op, pleat_conv_plan **plan) {
    direct_plan d;
    if (!draft(g, op, &d)) return false;
    size_t masks = d.columns * taps_along(&d), kept = d.columns * d.w.phases;
    size_t bytes =
        (masks + kept) * sizeof(lane_mask) + masks * sizeof(ptrdiff_t) + d.columns * sizeof(column);
    bytes += taps_in_use(&d.h) * taps_along(&d) * sizeof(size_t) + LINE; /* masks begin at a line */
    if (bytes > TABLE_BYTES) return false;
    direct_plan *p = pl_plan_new(&d, sizeof d, bytes);
    *plan = (pleat_conv_plan *)p;
    if (p == NULL) return true;
    size_t beyond = (size_t)(uintptr_t)(p + 1) % LINE;
    tables t = {.mask = (lane_mask *)(void *)((char *)(p + 1) + (beyond ? LINE - beyond : 0))};
    t.kept = t.mask + masks, t.offset = (ptrdiff_t *)(void *)(t.kept + kept);
    t.column = (column *)(void *)(t.offset + masks), t.order = (size_t *)(void *)(t.column + d.columns);
    for (size_t ph = 0; ph < p->h.phases; ph++) {
        p->taps[ph] = tap_rows_of(&p->h, ph);
        p->loop[ph] =
            is_weight(p) ? weight_loops[p->hop - 1][p->h.taps] : loops[loop_of(&p->h, &p->w, ph, p->hop)].run;
    }
    find_columns(p, &t);
    order_weights(p, t.order);
    p->mask = t.mask, p->kept = t.kept, p->offset = t.offset, p->column = t.column, p->order = t.order;
    return true;
}

/* ---- rows of the tensors -------------------------------------------------------------------------------------- */

/* A tensor that is read, and how far beside its rows. */
typedef struct tensor_rows {
    const T *begin, *end;
    size_t height, width, margin;
} tensor_rows;

typedef struct direct_task {
    const direct_plan *plan;
    const pl_conv_call *call;
    row_block block;
    T *w, *sums, *zero; /* workspace: weights of all phases, sums of all pairs, a row of zeros, */
    T *slots;           /* copied rows */
    size_t copied;
    tensor_rows input, y; /* y: of the weight gradient */
} direct_task;

/* Row h of a plane, or zeros, or a copy where reading beside the row would leave the tensor. */
static const T *row_at(direct_task *t, const tensor_rows *r, const T *plane, ptrdiff_t h) {
    if (h < 0 || (size_t)h >= r->height) return t->zero;
    const T *row = plane + (size_t)h * r->width;
    if ((size_t)(row - r->begin) >= r->margin && (size_t)(r->end - row) >= r->width + r->margin) return row;
    T *copy = t->slots + t->copied++ * t->plan->slot + t->plan->margin;
    memcpy(copy, row, r->width * sizeof *copy);
    return copy;
}

/* row [count]: rows first, first + step, ... of a plane. */
static inline void find_rows(direct_task *t, const tensor_rows *r, const T *plane, ptrdiff_t first,
                             ptrdiff_t step, range rows, const T **row) {
    size_t size = r->height * r->width, before = (size_t)(plane - r->begin),
           behind = (size_t)(r->end - plane);
    row += rows.first;
    if (before >= r->margin && behind >= size + r->margin) {
        size_t h = (size_t)first; /* where it is negative, larger than every height */
        for (size_t u = 0; u < rows.count; u++, h += (size_t)step)
            row[u] = h < r->height ? plane + h * r->width : t->zero;
    } else {
        for (size_t u = 0; u < rows.count; u++) row[u] = row_at(t, r, plane, first + (ptrdiff_t)u * step);
    }
}

/* ---- forward and transpose ------------------------------------------------------------------------------------ */

static direct_task task_of(const direct_plan *p, const pl_conv_call *call, size_t thread) {
    const pleat_conv_shape *g = &p->plan.g;
    bool image = p->plan.op == PLEAT_CONV_TRANSPOSE;
    direct_task t = {.plan = p, .call = call};
    char *m = pl_thread_workspace(&p->plan, call, thread);
    t.sums = (T *)(void *)m, t.w = (T *)(void *)(m += p->sum_bytes), t.zero = (T *)(void *)(m += p->w_bytes);
    t.slots = t.zero + p->slot;
    memset(t.zero, 0, p->slot * sizeof(T));
    t.zero += p->margin;
    row_block *b = &t.block;
    b->row = (const T **)(void *)(m + p->copy_bytes);
    b->in = p->in, b->rows = p->rows, b->hop = p->hop, b->columns = p->columns, b->upward = is_upward(p);
    b->offset = p->offset, b->column = p->column, b->mask = p->mask, b->kept = p->kept;
    for (size_t i = 0; i < p->w.phases; i++) b->nw[i] = taps_in_phase(&p->w, i);
    b->nh = p->taps[0].taps;
    size_t planes = g->N * (image ? g->O : g->C) * p->h.source, width = p->w.source;
    const T *input = image ? call->y : call->x;
    t.input = (tensor_rows){input, input + planes * width, p->h.source, width, p->margin};
    return t;
}

/* w [phases, in, nh, nw]: the weights of a channel of the output, in the order in which they are read. */
static void order_w(const direct_task *t, size_t group, size_t channel) {
    const direct_plan *p = t->plan;
    const pleat_conv_shape *g = &p->plan.g;
    bool image = p->plan.op == PLEAT_CONV_TRANSPOSE;
    size_t kernel = g->R * g->S, C = g->C / g->G, in_step = image ? C * kernel : kernel,
           out_step = image ? kernel : C * kernel;
    const T *w = (const T *)t->call->w + group * p->in * p->out * kernel + channel * out_step;
    const size_t *order = p->order;
    T *to = t->w;
    for (size_t ph = 0, n; ph < p->h.phases; ph++, order += n) {
        n = p->taps[ph].taps * taps_along(p);
        for (size_t c = 0; c < p->in; c++, to += n)
            for (size_t i = 0; i < n; i++) to[i] = w[c * in_step + order[i]];
    }
}

/* Reads a number of each line of a block's rows, from the top: processors foresee what is read downwards, and of a tensor beyond the
 * caches input gradients take twice as long where they do not. */
static void touch_rows(const direct_task *t, size_t rows) {
    if ((size_t)(t->input.end - t->input.begin) < FORESEEN) return;
    for (size_t u = rows; u-- > 0;)
        for (size_t i = 0; i < t->input.width; i += LINE / sizeof(T))
            (void)*(const volatile T *)(t->block.row[u] + i);
}

/* A block of phase ph, from pixel i of it on. */
static void run_block(direct_task *t, size_t ph, range pixels, const T *input, T *output) {
    const direct_plan *p = t->plan;
    const tap_rows *taps = p->taps + ph;
    row_block *b = &t->block;
    size_t plane = p->h.source * p->w.source, rows = (MR - 1) * p->hop + max(taps->taps, 1), i = pixels.first,
           last = i + (MR - 1) * p->row_step;
    ptrdiff_t first = (ptrdiff_t)((b->upward ? last : i) * p->h.split) + taps->first,
              step = (ptrdiff_t)p->tap_step;
    bool any = false;
    for (size_t k = 0; k < MR; k++, i += p->row_step) {
        size_t row = ph + i * p->h.phases, m = b->upward ? MR - 1 - k : k;
        b->to[m] = i < pixels.first + pixels.count && row < p->h.result ? output + row * p->w.result : NULL;
        any |= b->to[m] != NULL;
    }
    if (!any) return;
    t->copied = 0;
    for (size_t c = 0; c < p->in; c++)
        find_rows(t, &t->input, input + c * plane, first, b->upward ? -step : step,
                  (range){c * p->rows, rows}, b->row);
    if (b->upward && ph == 0 && p->in == 1) touch_rows(t, rows);
    p->loop[ph](b);
}

/* A band of a plane of the output: of an image and a channel of it. */
static void run_band(direct_task *t, size_t n, size_t channel, size_t band) {
    const direct_plan *p = t->plan;
    bool image = p->plan.op == PLEAT_CONV_TRANSPOSE;
    size_t group = channel / p->out, G = p->plan.g.G;
    range pixels = part_of(p->h.pixels, p->band, band);
    size_t end = pixels.first + pixels.count;
    const T *input =
        (const T *)(image ? t->call->y : t->call->x) + (n * G + group) * p->in * p->h.source * p->w.source;
    T *output =
        (T *)(image ? t->call->x : t->call->y) + (n * G * p->out + channel) * p->h.result * p->w.result;
    t->block.end.bias = t->call->bias ? (const T *)t->call->bias + channel : NULL;
    t->block.end.relu = t->call->relu;
    if (!t->block.ascending) t->block.last = output + min(p->h.result, end * p->h.phases) * p->w.result;
    order_w(t, group, channel % p->out);
    for (size_t k = 0; k < min(p->row_step, pixels.count); k++)
        for (size_t i = pixels.first + k; i < end; i += MR * p->row_step) {
            t->block.w = t->w;
            for (size_t ph = 0; ph < p->h.phases; ph++) {
                t->block.nh = p->taps[ph].taps;
                run_block(t, ph, (range){i, end - i}, input, output);
                t->block.w += p->in * p->taps[ph].taps * taps_along(p);
            }
        }
    if (t->call->finish == NULL) return;
    size_t row = pixels.first * p->h.phases, rows = min(p->h.result, end * p->h.phases) - row,
           width = p->w.result;
    pl_finish_rows(t->call->finish, sizeof(T), channel, (pl_rows){rows, width, width, false},
                   output + row * width, output + row * width);
}

typedef struct task_arguments {
    const direct_plan *plan;
    const pl_conv_call *call;
} task_arguments;

/* A task is a run of bands. */
static void bands_task(void *arg, size_t task, size_t thread) {
    const task_arguments *a = arg;
    const direct_plan *p = a->plan;
    direct_task t = task_of(p, a->call, thread);
    size_t channels = p->plan.g.G * p->out, width = p->w.result;
    range units = part_of(p->plan.g.N * channels * p->bands, p->each, task);
    t.block.ascending = p->h.phases == 1 && p->row_step == 1 && p->columns == 1;
    if (t.block.ascending) {
        size_t all = units.first + units.count, planes = all / p->bands;
        const T *output = p->plan.op == PLEAT_CONV_TRANSPOSE ? a->call->x : a->call->y;
        t.block.last = output + (planes * p->h.result + all % p->bands * p->band) * width;
    }
    for (size_t i = units.first; i < units.first + units.count; i++)
        run_band(&t, i / p->bands / channels, i / p->bands % channels, i % p->bands);
}

#include "kernels/conv/direct_weight.inc"

/* ---- the engine ----------------------------------------------------------------------------------------------- */

static void run(const pleat_conv_plan *plan, const pl_conv_call *call) {
    const direct_plan *p = (const direct_plan *)plan;
    if (is_weight(p))
        run_weight(p, call);
    else if (plan->g.N > 0)
        pl_parallel(call->pool, p->tasks, bands_task, &(task_arguments){p, call});
}

static pl_decisions decide(const pleat_conv_plan *plan) {
    const direct_plan *p = (const direct_plan *)plan;
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    bool weight = is_weight(p), unrolled = weight || loops[loop_of(&p->h, &p->w, 0, p->hop)].form.nh > 0;
    a[PL_FORM] = unrolled ? PL_UNROLLED : PL_ANY_TAPS;
    a[PL_GROUPS] = pl_count(plan->g.G);
    a[PL_PHASES] = phases_decided(&p->h, &p->w), a[PL_TAPS] = taps_decided(&p->h, &p->w);
    a[PL_BLOCKS] = pl_count(p->in), a[PL_PARTS] = pl_count(p->out);
    a[PL_STRIPS] = pl_count(p->bands), a[PL_LAST_STRIP] = pl_rest(p->h.pixels, p->band);
    a[PL_TILES] = pl_count(ceil_div(p->band, block_rows(p) * p->row_step)),
    a[PL_LAST_TILE] = pl_rest(p->band, block_rows(p) * p->row_step);
    a[PL_VECTORS] = pl_width(p->columns), a[PL_LAST_VECTOR] = p->w.pixels % LANES ? PL_LESS : PL_FULL;
    a[PL_CUT] = p->each > 1 ? PL_CUT_IMAGES : PL_CUT_IMAGE;
    a[PL_FILL] = p->w.split == 2 ? PL_FILL_LONG_EVENS : PL_FILL_LONG;
    a[PL_MARGIN] = p->slots > (size_t)(weight ? 4 : 2) ? PL_MARGIN_ROWS : PL_MARGIN_ENDS;
    a[PL_REACH] = p->row_step > 1 ? PL_REACH_SKIPS : p->hop > 1 ? PL_REACH_HOPS : PL_REACH_NEXT;
    if (!weight) return d;
    a[PL_CHUNKS] = pl_count(p->chunks), a[PL_LAST_CHUNK] = pl_rest(plan->g.N * p->bands, p->pieces);
    return d;
}

static void describe(const pleat_conv_plan *plan, char *text, size_t size) {
    const direct_plan *p = (const direct_plan *)plan;
    snprintf(text, size, "blocks of %zu rows by %zu vectors, %zu bands", block_rows(p), p->columns, p->bands);
}

const pl_engine ENGINE = {.name = PLEAT_ENGINE_DIRECT,
                          .isa = ISA,
                          .element = sizeof(T),
                          .has_epilogue = true,
                          .make = make,
                          .run = run,
                          .decide = decide,
                          .describe = describe};

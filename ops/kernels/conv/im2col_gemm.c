/* im2col and GEMM: the convolution family as three matrix products over strips of columns. Every other engine is held against this one.
 *
 *     y = W im2col(x)      x = col2im(W^T y)      w = y im2col(x)^T */
#include "kernels/conv/engine.h"
#include "kernels/gemm/gemm.h"
#include "kernels/parallel.h"
#include "kernels/sizes.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- plan -------------------------------------------------------------------------------------------- */

enum {
    COLUMN_BYTES = LIMIT(512 * 1024, 2048), /* columns of one block and strip: half of an L2 cache of 1 MiB */
    PARTIAL_BYTES = LIMIT(512 * 1024, 2048), /* partial sums of the weight gradient */
    TASKS = 8,                               /* at least so many, to share out among threads */
    ROWS = LIMIT(384, 12),                   /* a good height of a column matrix: about KC of OpenBLAS */
    FEWEST_ROWS = LIMIT(192, 8),             /* tasks are not cut smaller than that */
    FEWEST_COLUMNS = LIMIT(192, 8),
};

/* How the work is cut. It depends on the shape alone, so that results do not depend on the number of threads. */
typedef struct im2col_plan {
    pleat_conv_plan plan;
    size_t in, out;            /* channels of one group */
    size_t image, map, kernel; /* H*W, P*Q, R*S */
    bool direct;               /* the image is its own column matrix */
    size_t channels, blocks;   /* channels in a block, blocks in a group */
    size_t columns, strips;    /* map pixels in a strip, strips in a map */
    size_t pieces, chunks;     /* pairs of image and strip in a partial sum, and partial sums */
    size_t column_bytes;       /* of one thread */
    size_t partial_bytes;      /* of all partial sums but the first, which is made in place */
} im2col_plan;

static bool image_is_columns(const pleat_conv_shape *g) {
    return g->R == 1 && g->S == 1 && g->stride[0] == 1 && g->stride[1] == 1 && g->pad[0] == 0 &&
           g->pad[1] == 0 && g->H == g->P && g->W == g->Q;
}

/* Parts of nearly equal size, none larger than `part`, and all but the last a multiple of `unit`. */
static size_t even_parts(size_t size, size_t part, size_t unit) {
    size_t even = ceil_div(size, ceil_div(size, part));
    return part < unit ? even : min(part, round_up(even, unit));
}

static im2col_plan draft(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    im2col_plan p = {.plan = {.g = *g, .op = op}, .in = g->C / g->G, .out = g->O / g->G};
    p.image = g->H * g->W, p.map = g->P * g->Q, p.kernel = g->R * g->S;
    p.direct = image_is_columns(g);

    /* The column matrix is near a square, because both sides of a product are packed for it; higher where the
     * map is small. Forward cuts the map for more tasks, transpose the channels. */
    size_t budget = p.direct && op != PLEAT_CONV_WEIGHT ? SIZE_MAX : COLUMN_BYTES / element;
    size_t share = ceil_div(TASKS, max(g->N, 1) * g->G), limit = p.in;
    if (op == PLEAT_CONV_TRANSPOSE)
        limit = min(p.in, max(ceil_div(FEWEST_ROWS, p.kernel), ceil_div(p.in, share)));
    p.channels = min(limit, max(1, ROWS / p.kernel));
    p.columns = min(p.map, max(1, budget / (p.channels * p.kernel)));
    if (op == PLEAT_CONV_FORWARD) p.columns = min(p.columns, max(FEWEST_COLUMNS, ceil_div(p.map, share)));
    p.channels = min(limit, max(p.channels, budget / (p.columns * p.kernel)));
    p.channels = even_parts(p.in, p.channels, 1);
    p.columns = even_parts(p.map, p.columns, 16);
    p.blocks = ceil_div(p.in, p.channels);
    p.strips = ceil_div(p.map, p.columns);
    if (!p.direct) p.column_bytes = round_up(p.channels * p.kernel * p.columns * element, LINE);

    if (op == PLEAT_CONV_WEIGHT) {
        size_t weights = round_up(g->O * p.in * p.kernel * element, LINE), pieces = g->N * p.strips;
        size_t chunks = min(ceil_div(TASKS, g->G * p.blocks), 1 + PARTIAL_BYTES / weights);
        p.pieces = max(1, ceil_div(pieces, chunks));
        p.chunks = max(1, ceil_div(pieces, p.pieces));
        p.partial_bytes = (p.chunks - 1) * weights;
    }
    p.plan.thread_bytes = p.column_bytes + (PL_BLAS ? 0 : PL_GEMM_BYTES),
    p.plan.shared_bytes = p.partial_bytes;
    return p;
}

/* ---- bodies ------------------------------------------------------------------------------------------ */

/* The arguments of a task. */
typedef struct task_arguments {
    const im2col_plan *plan;
    const pl_conv_call *call;
} task_arguments;

static void *columns_of(const task_arguments *t, size_t thread) {
    return pl_thread_workspace(&t->plan->plan, t->call, thread);
}

/* The sum over one chunk, of the size of w. The first is w itself. */
static void *partial_sum(const task_arguments *t, size_t chunk) {
    const im2col_plan *p = t->plan;
    return chunk == 0 ? t->call->w : t->call->workspace + (chunk - 1) * (p->partial_bytes / (p->chunks - 1));
}

static pl_decisions decide(const pleat_conv_plan *plan) {
    const im2col_plan *p = (const im2col_plan *)plan;
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    a[PL_FORM] = p->direct ? PL_OF_IMAGE : PL_OF_COLUMNS;
    a[PL_GROUPS] = pl_count(plan->g.G);
    a[PL_BLOCKS] = pl_count(p->blocks), a[PL_LAST_BLOCK] = pl_rest(p->in, p->channels);
    a[PL_STRIPS] = pl_count(p->strips), a[PL_LAST_STRIP] = pl_rest(p->map, p->columns);
    if (plan->op != PLEAT_CONV_WEIGHT) return d;
    a[PL_CHUNKS] = pl_count(p->chunks), a[PL_LAST_CHUNK] = pl_rest(plan->g.N * p->strips, p->pieces);
    return d;
}

static void describe(const pleat_conv_plan *plan, char *text, size_t size) {
    const im2col_plan *p = (const im2col_plan *)plan;
    const char *what = p->direct ? "images as columns" : "columns";
    snprintf(text, size, "%s of %zu by %zu, %zu strips", what, p->channels * p->kernel, p->columns,
             p->strips);
}

#ifndef PL_IM2COL /* tests compile the file once more */
#    define PL_IM2COL pl_im2col
#endif
#define PL_JOIN_(a, b) a##b
#define PL_JOIN(a, b) PL_JOIN_(a, b)

#define T float
#define ENGINE PL_JOIN(PL_IM2COL, _f32)
#define NAME(name) name##_f32
#include "kernels/conv/im2col_gemm.inc"
#undef T
#undef NAME

#undef ENGINE
#define T double
#define ENGINE PL_JOIN(PL_IM2COL, _f64)
#define NAME(name) name##_f64
#include "kernels/conv/im2col_gemm.inc"
#undef T
#undef NAME

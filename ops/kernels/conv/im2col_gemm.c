/* The plain path: the convolution family as three GEMM bodies over strips of columns, with BLAS. Every other engine is held
 * against this one. */
#include "kernels/conv/engine.h"
#include "kernels/gemm/gemm.h"
#include "kernels/parallel.h"
#include "kernels/simd/vectors.h"

#include <stdint.h>
#include <string.h>

#ifndef PL_PLAIN
#    define PL_PLAIN pl_plain
#endif

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t most(size_t a, size_t b) { return a > b ? a : b; }
static size_t divide_up(size_t a, size_t b) { return a / b + (a % b != 0); }
static size_t round_up(size_t a, size_t b) { return divide_up(a, b) * b; }

/* ---- plan -------------------------------------------------------------------------------------------- */

enum {
    COLUMN_BYTES = LIMIT(512 * 1024, 2048),  /* columns of one block and strip: they stay in L2 */
    PARTIAL_BYTES = LIMIT(512 * 1024, 2048), /* partial sums of the kernel's gradient */
    TASKS = 8,                               /* wanted at least, to share out among threads */
    ROWS = LIMIT(384, 12),       /* a good height of a column matrix: about what BLAS packs at a time */
    FEWEST_ROWS = LIMIT(192, 8), /* tasks are not cut smaller than that */
    FEWEST_COLUMNS = LIMIT(192, 8),
};

/* How the work is cut. It depends on the shape alone, so that results do not depend on the number of threads. */
typedef struct plan {
    size_t in, out;            /* channels of one group */
    size_t image, map, kernel; /* H*W, P*Q, R*S */
    bool direct;               /* the image is its own column matrix */
    size_t channels, blocks;   /* channels in a block, blocks in a group */
    size_t columns, strips;    /* map pixels in a strip, strips in a map */
    size_t pieces, chunks;     /* pairs of image and strip in a partial sum, and partial sums */
    size_t column_bytes;       /* of one thread */
    size_t partial_bytes;      /* of all partial sums but the first, which is made in place */
} plan;

static bool image_is_columns(const pleat_conv_shape *g) {
    return g->R == 1 && g->S == 1 && g->stride[0] == 1 && g->stride[1] == 1 && g->pad[0] == 0 &&
           g->pad[1] == 0 && g->H == g->P && g->W == g->Q;
}

/* Parts of nearly equal size, none larger than `part`, and all but the last a multiple of `unit`. */
static size_t even_parts(size_t size, size_t part, size_t unit) {
    size_t even = divide_up(size, divide_up(size, part));
    return part < unit ? even : least(part, round_up(even, unit));
}

static plan make_plan(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    plan p = {.in = g->C / g->G, .out = g->O / g->G};
    p.image = g->H * g->W, p.map = g->P * g->Q, p.kernel = g->R * g->S;
    p.direct = image_is_columns(g);

    /* The column matrix is near a square, because both sides of a product are packed for it; higher where the
     * map is small. Forward cuts the map for more tasks, transpose the channels. */
    size_t budget = p.direct && op != PLEAT_CONV_WEIGHT ? SIZE_MAX : COLUMN_BYTES / element;
    size_t share = divide_up(TASKS, most(g->N, 1) * g->G), limit = p.in;
    if (op == PLEAT_CONV_TRANSPOSE)
        limit = least(p.in, most(divide_up(FEWEST_ROWS, p.kernel), divide_up(p.in, share)));
    p.channels = least(limit, most(1, ROWS / p.kernel));
    p.columns = least(p.map, most(1, budget / (p.channels * p.kernel)));
    if (op == PLEAT_CONV_FORWARD) p.columns = least(p.columns, most(FEWEST_COLUMNS, divide_up(p.map, share)));
    p.channels = least(limit, most(p.channels, budget / (p.columns * p.kernel)));
    p.channels = even_parts(p.in, p.channels, 1);
    p.columns = even_parts(p.map, p.columns, 16);
    p.blocks = divide_up(p.in, p.channels);
    p.strips = divide_up(p.map, p.columns);
    if (!p.direct) p.column_bytes = round_up(p.channels * p.kernel * p.columns * element, LINE);

    if (op == PLEAT_CONV_WEIGHT) {
        size_t weights = round_up(g->O * p.in * p.kernel * element, LINE), pieces = g->N * p.strips;
        size_t chunks = least(divide_up(TASKS, g->G * p.blocks), 1 + PARTIAL_BYTES / weights);
        p.pieces = most(1, divide_up(pieces, chunks));
        p.chunks = most(1, divide_up(pieces, p.pieces));
        p.partial_bytes = (p.chunks - 1) * weights;
    }
    return p;
}

static size_t bytes_of(const plan *p, int threads) {
    return pl_bytes(p->column_bytes, p->partial_bytes, threads);
}

static size_t workspace(const pleat_conv_shape *g, size_t element, pleat_conv_op op, int threads) {
    plan p = make_plan(g, element, op);
    return bytes_of(&p, threads);
}

/* The i-th of the parts that something is cut into. */
typedef struct part {
    size_t first, count;
} part;

static part part_of(size_t size, size_t each, size_t i) {
    return (part){i * each, least(each, size - i * each)};
}

/* ---- bodies ------------------------------------------------------------------------------------------ */

/* What the tasks of one call share. */
typedef struct job {
    const pleat_conv_shape *g;
    plan plan;
    const void *a, *b; /* the operands, in the order of the public functions */
    void *c;           /* the result */
    char *memory;      /* partial sums, then the columns of each thread */
} job;

static void *scratch(const job *j, size_t thread) {
    return j->memory + j->plan.partial_bytes + thread * j->plan.column_bytes;
}

/* The sum over one chunk, of the result's size. The first is the result itself. */
static void *partial_sum(const job *j, size_t chunk) {
    if (chunk == 0) return j->c;
    return j->memory + (chunk - 1) * (j->plan.partial_bytes / (j->plan.chunks - 1));
}

#define T float
#define NAME(name) name##_f32
#include "kernels/conv/im2col_gemm.inc"
#undef T
#undef NAME

#define T double
#define NAME(name) name##_f64
#include "kernels/conv/im2col_gemm.inc"
#undef T
#undef NAME

static pl_decisions decide(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    plan p = make_plan(g, element, op);
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    a[PL_FORM] = p.direct ? PL_OF_IMAGE : PL_OF_COLUMNS;
    a[PL_GROUPS] = pl_count(g->G);
    a[PL_BLOCKS] = pl_count(p.blocks), a[PL_LAST_BLOCK] = pl_rest(p.in, p.channels);
    a[PL_STRIPS] = pl_count(p.strips), a[PL_LAST_STRIP] = pl_rest(p.map, p.columns);
    if (op != PLEAT_CONV_WEIGHT) return d;
    a[PL_CHUNKS] = pl_count(p.chunks), a[PL_LAST_CHUNK] = pl_rest(g->N * p.strips, p.pieces);
    return d;
}

static pl_outcome run(const pleat_conv_shape *g, size_t element, pleat_conv_op op, const void *a,
                      const void *b, void *c, const pleat_work *work) {
    job j = {g, make_plan(g, element, op), a, b, c, work->memory};
    if (bytes_of(&j.plan, pleat_pool_threads(work->pool)) > work->bytes) return PL_TOO_LITTLE_MEMORY;
    (element == sizeof(float) ? run_f32 : run_f64)(&j, op, work->pool);
    return PL_DONE;
}

const pl_engine PL_PLAIN = {workspace, run, false, decide};

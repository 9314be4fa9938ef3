/* The convolution family as three GEMM bodies over strips of columns. Law: they are the partial derivatives of one
 * trilinear form, <y, conv2d(x, w)> = <x, conv2d_transpose(y, w)> = <w, conv2d_weight(x, y)>. */
#include "kernels/gemm.h"
#include "kernels/parallel.h"
#include "kernels/pleat_kernels.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t most(size_t a, size_t b) { return a > b ? a : b; }
static size_t divide_up(size_t a, size_t b) { return a / b + (a % b != 0); }
static size_t round_up(size_t a, size_t b) { return divide_up(a, b) * b; }

/* ---- sizes ------------------------------------------------------------------------------------------- */

/* a*b*c*d*element bytes are addressable. */
static bool addressable(size_t a, size_t b, size_t c, size_t d, size_t element) {
    size_t n;
    return !__builtin_mul_overflow(a, b, &n) && !__builtin_mul_overflow(n, c, &n) &&
           !__builtin_mul_overflow(n, d, &n) && !__builtin_mul_overflow(n, element, &n) && n <= PTRDIFF_MAX;
}

/* (map-1)*stride + (kernel-1)*dilation + |pad|, which bounds every image index that arises, is a ptrdiff_t. */
static bool indexable(size_t map, size_t kernel, size_t stride, size_t dilation, ptrdiff_t pad) {
    size_t a, b, magnitude = pad < 0 ? 0 - (size_t)pad : (size_t)pad;
    return !__builtin_mul_overflow(map - 1, stride, &a) &&
           !__builtin_mul_overflow(kernel - 1, dilation, &b) && !__builtin_add_overflow(a, b, &a) &&
           !__builtin_add_overflow(a, magnitude, &a) && a <= PTRDIFF_MAX;
}

static const char *check_arrays(const pleat_conv_shape *g, size_t element) {
    size_t N = most(g->N, 1);
    if (!addressable(N, g->C, g->H, g->W, element)) return "N*C*H*W elements must be addressable";
    if (!addressable(N, g->O, g->P, g->Q, element)) return "N*O*P*Q elements must be addressable";
    if (!addressable(g->O, g->C / g->G, g->R, g->S, element)) return "O*C/G*R*S elements must be addressable";
    if (g->O / g->G > INT_MAX) return "O/G must be at most INT_MAX, a limit of BLAS";
    if (g->P * g->Q > INT_MAX) return "P*Q must be at most INT_MAX, a limit of BLAS";
    if (g->C / g->G * g->R * g->S > INT_MAX) return "C/G*R*S must be at most INT_MAX, a limit of BLAS";
    return NULL;
}

const char *pleat_conv_check(const pleat_conv_shape *g, size_t element) {
    if (!g->C || !g->O) return "the channels must be at least 1";
    if (!g->G) return "the groups must be at least 1";
    if (!g->H || !g->W) return "the image must be at least 1 by 1";
    if (!g->P || !g->Q) return "the map must be at least 1 by 1";
    if (!g->R || !g->S) return "the kernel must be at least 1 by 1";
    if (!g->stride[0] || !g->stride[1]) return "the stride must be at least 1";
    if (!g->dilation[0] || !g->dilation[1]) return "the dilation must be at least 1";
    if (g->C % g->G) return "the groups must divide the channels in";
    if (g->O % g->G) return "the groups must divide the channels out";
    if (!indexable(g->P, g->R, g->stride[0], g->dilation[0], g->pad[0]) ||
        !indexable(g->Q, g->S, g->stride[1], g->dilation[1], g->pad[1]))
        return "map*stride + kernel*dilation + |pad| must fit into ptrdiff_t";
    return check_arrays(g, element);
}

/* (kernel-1)*dilation + 1, or false. */
static bool extent_of(size_t kernel, size_t dilation, size_t *extent) {
    return kernel > 0 && !__builtin_mul_overflow(kernel - 1, dilation, extent) &&
           !__builtin_add_overflow(*extent, 1, extent);
}

size_t pleat_conv_map_size(size_t size, size_t kernel, size_t stride, size_t dilation, ptrdiff_t before,
                           ptrdiff_t after) {
    size_t extent;
    ptrdiff_t padded;
    if (stride == 0 || !extent_of(kernel, dilation, &extent)) return 0;
    if (__builtin_add_overflow(before, after, &padded) || __builtin_add_overflow(size, padded, &padded))
        return 0;
    if (padded < 0 || (size_t)padded < extent) return 0;
    return ((size_t)padded - extent) / stride + 1;
}

size_t pleat_conv_image_size(size_t size, size_t kernel, size_t stride, size_t dilation, ptrdiff_t before,
                             ptrdiff_t after) {
    size_t extent, length;
    ptrdiff_t pads, image;
    if (size == 0 || !extent_of(kernel, dilation, &extent)) return 0;
    if (__builtin_mul_overflow(size - 1, stride, &length) ||
        __builtin_add_overflow(length, extent, &length) || __builtin_add_overflow(before, after, &pads) ||
        __builtin_sub_overflow(length, pads, &image))
        return 0;
    return image > 0 ? (size_t)image : 0;
}

/* ---- plan -------------------------------------------------------------------------------------------- */

enum {
    COLUMN_BYTES = 512 * 1024,  /* columns of one block and strip: they stay in L2 */
    PARTIAL_BYTES = 512 * 1024, /* partial sums of the kernel's gradient */
    LINE = 64,                  /* of the cache: no two threads write to the same one */
    TASKS = 8,                  /* wanted at least, to share out among threads */
    ROWS = 384,                 /* a good height of a column matrix: about what BLAS packs at a time */
    FEWEST_ROWS = 192,          /* tasks are not cut smaller than that */
    FEWEST_COLUMNS = 192,
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

static size_t workspace(const plan *p, int threads) {
    size_t bytes;
    if (__builtin_mul_overflow(p->column_bytes, (size_t)(threads > 1 ? threads : 1), &bytes) ||
        __builtin_add_overflow(bytes, p->partial_bytes, &bytes))
        return SIZE_MAX;
    return bytes;
}

size_t pleat_conv_workspace(const pleat_conv_shape *g, size_t element, pleat_conv_op op, int threads) {
    plan p = make_plan(g, element, op);
    return workspace(&p, threads);
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
#include "kernels/conv.inc"
#undef T
#undef NAME

#define T double
#define NAME(name) name##_f64
#include "kernels/conv.inc"
#undef T
#undef NAME

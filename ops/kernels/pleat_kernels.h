/* pleat_kernels.h: the convolution family on raw pointers. No context, no state; only plans and pools allocate.
 *
 *     pleat_conv_shape g = {.N = 1, .C = 4, .O = 2, .G = 1, .H = 6, .W = 6, .P = 3, .Q = 3, .R = 3, .S = 3,
 *                           .stride = {2, 2}, .dilation = {1, 1}, .pad = {0, 0}};
 *     const char *wrong = pleat_conv_check(&g, sizeof(float));      // NULL, or the broken rule
 *     pleat_conv_plan *plan = pleat_conv_plan_new(&g, PLEAT_CONV_TRANSPOSE, sizeof(float), (pleat_path){0});
 *     size_t bytes = pleat_conv_plan_bytes(plan, 1);
 *     pleat_conv_run(plan, x, w, y, &(pleat_work){.memory = malloc(bytes), .bytes = bytes});     // overwrites x
 *     pleat_conv_plan_free(plan);
 *
 * The canonical form. N batch, C channels in, O channels out, G groups, H W image, P Q map, R S kernel; per axis a
 * stride s >= 1, a dilation d >= 1, and p, the padding at the beginning (top, left), which may be negative:
 *
 *     T(x, w, y) = sum y[n,o,p,q] w[o,c,r,s] x[n, c, p*sh + r*dh - ph, q*sw + s*dw - pw]
 *
 * x outside the image reads 0. Image and map size are both explicit, so the form is total: no size is "wrong", and
 * there is no padding at the end and no output_padding. conv2d, conv2d_transpose and conv2d_weight are the partial
 * derivatives of T for y, x and w.
 *
 * Arrays are row-major and without gaps; input and output must not overlap.
 *
 * Every bit of a result is defined, below at pleat_conv_run, for every engine but im2col: on every processor and instruction set, from
 * every compiler, with any number of threads. Only the sign and the payload of a NaN are not. im2col adds in BLAS's order; its results
 * do not depend on the number of threads as long as BLAS itself runs one (see pleat_blas_single_thread).
 */
#ifndef PLEAT_KERNELS_H
#define PLEAT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pleat_conv_shape {
    size_t N, C, O, G, H, W, P, Q, R, S;
    size_t stride[2], dilation[2]; /* along H and P, along W and Q */
    ptrdiff_t pad[2];              /* top, left */
    size_t blocked[2];             /* 1: x, y is blocked, see below; 0: it is row-major */
} pleat_conv_shape;

/* Blocked tensors. Between two layers x and y may stay in blocks of channels, as vectors over channels have them: a blocked x is
 * [N, C/B, H, W, B] in memory, a blocked y [N, O/B, P, Q, B], where a block of B channels is a line of 64 bytes (16 floats, 8 doubles) and B
 * divides the channels. The values are the same, and so is every bit of them. */

/* NULL if the shape is legal: every size but N at least 1, strides and dilations at least 1, G a divisor of C and O,
 * every array of elements of `element` bytes addressable, every GEMM within BLAS's integers. Otherwise the broken rule
 * as a phrase. The functions below take legal shapes only. */
const char *pleat_conv_check(const pleat_conv_shape *g, size_t element);

/* The map size that the usual rule gives: floor((size + before + after - ((kernel-1)*dilation + 1)) / stride) + 1,
 * or 0 where the kernel does not fit into the padded image, or that one not into ptrdiff_t. */
size_t pleat_conv_map_size(size_t size, size_t kernel, size_t stride, size_t dilation, ptrdiff_t before,
                           ptrdiff_t after);

/* The smallest image that the usual rule takes to `size` map pixels:
 * (size-1)*stride + (kernel-1)*dilation + 1 - before - after, or 0 where that is not positive or overflows. */
size_t pleat_conv_image_size(size_t size, size_t kernel, size_t stride, size_t dilation, ptrdiff_t before,
                             ptrdiff_t after);

/* ---- unfold and fold --------------------------------------------------------------------------------- */
/* Columns of one image, for `channels` of its channels and a strip of the map: pixel j stands for
 * (p, q) = (j / Q, j % Q), first <= j < first + count.
 *
 * im2col:  x [channels,H,W] -> col [channels*R*S, count]     col[(c,r,s), j] = x[c, p*sh + r*dh - ph, q*sw + s*dw - pw]
 * col2im:  the adjoint: x[...] += col[...] for the same indices. x is not cleared. */
void pleat_im2col_f32(const pleat_conv_shape *g, size_t channels, const float *x, size_t first, size_t count,
                      float *col);
void pleat_im2col_f64(const pleat_conv_shape *g, size_t channels, const double *x, size_t first, size_t count,
                      double *col);
void pleat_col2im_f32(const pleat_conv_shape *g, size_t channels, const float *col, size_t first,
                      size_t count, float *x);
void pleat_col2im_f64(const pleat_conv_shape *g, size_t channels, const double *col, size_t first,
                      size_t count, double *x);

/* ---- threads ----------------------------------------------------------------------------------------- */

/* Threads that wait for work. A pool serves one caller at a time; another caller takes another pool. The child of a fork inherits no
 * threads: there the parent's pools have one, the caller's, and freeing them gives back their memory. */
typedef struct pleat_pool pleat_pool;

/* A pool of `threads` threads, the caller's included (so one thread less is started; fewer still where the system refuses), or
 * NULL if there is no memory. */
pleat_pool *pleat_pool_new(int threads);
void pleat_pool_free(pleat_pool *pool);         /* NULL is allowed */
int pleat_pool_threads(const pleat_pool *pool); /* 1 for NULL, and in a child */

/* The processor cores that this process may use; 1 where the system does not say. */
int pleat_cores(void);

/* to [shape[0], shape[1]/B, shape[2], B] = from [shape[0], shape[1], shape[2]]: images, channels, pixels of one; or with `back` the other way
 * round. B divides the channels. */
void pleat_conv_block(size_t element, const size_t shape[3], bool back, const void *from, void *to,
                      pleat_pool *pool);

/* ---- the three operators ----------------------------------------------------------------------------- */

typedef enum pleat_conv_op { PLEAT_CONV_FORWARD, PLEAT_CONV_TRANSPOSE, PLEAT_CONV_WEIGHT } pleat_conv_op;

/* The algorithm. All engines but im2col give the same bits. */
typedef enum pleat_engine {
    PLEAT_ENGINE_AUTO,      /* the fixed choice for shape and processor; never im2col */
    PLEAT_ENGINE_REFERENCE, /* the definition, one sum at a time: slow, and short */
    PLEAT_ENGINE_IM2COL, /* im2col, col2im and BLAS: takes every shape on every processor; sums are in BLAS's order */
    PLEAT_ENGINE_IMPLICIT_GEMM, /* a matrix product whose operand is packed from the image: no column matrix, no scatter */
    PLEAT_ENGINE_DIRECT,  /* direct loops, for groups of few channels such as depthwise convolutions */
    PLEAT_ENGINE_COLUMNS, /* columns and products of our own: for shapes that the two before refuse */
} pleat_engine;

/* The instruction set of the engines that have SIMD micro-kernels. */
typedef enum pleat_isa {
    PLEAT_ISA_AUTO,     /* the widest that the processor has */
    PLEAT_ISA_BASELINE, /* what every processor of the architecture has: SSE2 on x86-64, NEON on AArch64 */
    PLEAT_ISA_AVX2,     /* x86-64 with AVX2 and FMA */
    PLEAT_ISA_AVX512,   /* x86-64 with AVX-512 F, VL, BW and DQ */
} pleat_isa;

/* A request for an engine and an instruction set. Where the processor or the shape does not allow it, the default choice runs. */
typedef struct pleat_path {
    pleat_engine engine;
    pleat_isa isa;
} pleat_path;

/* The path that two words name, in the enums' spelling without prefix and in lower case ("implicit_gemm", "avx2"); NULL is "auto".
 * False, and no change, for any other word. The environment variables PLEAT_ENGINE and PLEAT_ISA are read with it. */
bool pleat_path_parse(const char *engine, const char *isa, pleat_path *path);

/* How one operator is computed for one shape: engine, tiles, strips, tables. It depends on the arguments of pleat_conv_plan_new and the
 * processor's instruction sets, and on nothing else, is never changed, and serves any number of calls and threads at the same time. */
typedef struct pleat_conv_plan pleat_conv_plan;

/* A plan for a legal shape and elements of `element` bytes (float or double), or NULL without memory. The caller frees it. */
pleat_conv_plan *pleat_conv_plan_new(const pleat_conv_shape *g, pleat_conv_op op, size_t element,
                                     pleat_path path);
void pleat_conv_plan_free(pleat_conv_plan *plan); /* NULL is allowed */

const pleat_conv_shape *pleat_conv_plan_shape(const pleat_conv_plan *plan);

/* The engine and the instruction set that were chosen. */
pleat_path pleat_conv_plan_path(const pleat_conv_plan *plan);

/* An estimate of a run's time, to be held against that of another plan of the same engine for the same sizes: other layouts. */
double pleat_conv_plan_cost(const pleat_conv_plan *plan);

/* Writes a line like "conv2d f32: implicit_gemm avx512, 14x2 tiles over pixels, 12 strips" into text [size]. Returns text. */
const char *pleat_conv_plan_print(const pleat_conv_plan *plan, char *text, size_t size);

/* Bytes of workspace for so many threads; SIZE_MAX where that overflows. At most 1 MiB for each thread, whatever the sizes (the work is
 * done in strips), and beside that one packed copy of the weights, or partial sums of weights, which are as much or 1 MiB; with im2col only
 * the first, unless a single channel's kernel is larger than that. Where columns are multiplied by products of our own
 * (PLEAT_ENGINE_COLUMNS, and im2col in a build without BLAS), it is up to 1 MiB more for each thread. */
size_t pleat_conv_plan_bytes(const pleat_conv_plan *plan, int threads);

/* Weights that are used many times can be packed once: pack them into pleat_conv_packed_bytes bytes, which begin at a multiple of 64,
 * and give them as pleat_work.packed. The caller packs them again after w has changed. 0 bytes: the plan has nothing to pack. */
size_t pleat_conv_packed_bytes(const pleat_conv_plan *plan);
void pleat_conv_pack(const pleat_conv_plan *plan, const void *w, void *packed, pleat_pool *pool);

/* What a call is given beside its operands. */
typedef struct pleat_work {
    void *memory;     /* the workspace, of any alignment */
    size_t bytes;     /* at least pleat_conv_plan_bytes(plan, threads of the pool) */
    pleat_pool *pool; /* NULL: the caller's thread alone */
    const void *bias; /* NULL, or a number to add to each channel of the result: [O] forward, [C] transpose */
    /* NULL, or numbers for each channel by which v, the sum with its bias, becomes v factor + shift: in double, rounded once */
    const double *factor, *shift;
    bool relu;          /* then numbers below 0 become 0; NaN stays */
    double most;        /* with relu: numbers above become it; 0: there is no upper end */
    const void *packed; /* NULL, or the weights, packed by this plan */
    /* The weight gradient has none of bias, factor and relu. */
} pleat_work;

/* x [N,C,H,W], w [O,C/G,R,S], y [N,O,P,Q], of the plan's type. The plan's operator overwrites one and reads the others:
 *
 *     PLEAT_CONV_FORWARD     y = dT/dy: W im2col(x)
 *     PLEAT_CONV_TRANSPOSE   x = dT/dx: col2im(W^T y)
 *     PLEAT_CONV_WEIGHT      w = dT/dw: y im2col(x)^T, summed over N
 *
 * Returns 0, or -1 and does nothing if work->bytes is too small.
 *
 * Numbers that are not finite. Padding is absent, not 0: a result is the sum of the products that exist, and is NaN or infinite
 * where that sum is, with every engine; an infinite weight makes no NaN where it meets padding, and 0 times Inf inside the image is
 * NaN. Denormal numbers are not flushed. A sum whose magnitudes sum |a||b| do not overflow does not overflow, in whichever order it
 * is taken; beyond that its parts may, and a result is then infinite or NaN. With finite operands this costs a look at the weights
 * or the result, whichever is less; otherwise each NaN that padding could have made is computed again, term by term.
 *
 * Bits. fma(a, b, c) is a b + c, rounded once; where the processor has no such instruction, it is computed exactly. Terms in padding are
 * left out. c and o run through the channels of the group.
 *
 *     y[n,o,p,q]     v = 0; for c, r, s ascending: v = fma(w[o,c,r,s], x[n,c,h,w], v)
 *     x[n,c,h,w]     v = 0; for o, r, s ascending: v = fma(w[o,c,r,s], y[n,o,p,q], v)
 *                    then v = v + 0 (a zero is +0), v + bias, and factor, shift, relu as pleat_work has them
 *     w[o,c,r,s]     for each chunk: v[l] = 0 for l < L; for its pixels (n,p,q) of y, in order: v[l] = fma(x, y[n,o,p,q], v[l]);
 *                    for half = L/2, L/4, ..., 1: v[l] = v[l] + v[l + half] for l < half
 *                    then v[0] of all chunks are added one after the other, and 0
 *
 * So y and x of an image are the same whatever N is. The order of a weight's pixels, L, the lane l of a pixel and the chunks depend on
 * the shape and the type alone. Be V = 16 for f32, 8 for f64; step = dh / gcd(dh, sh), or 1 where R = 1; near: kernels of up to 32,
 * strides up to 16, dilations and |pads| up to 4096; and all quotients rounded down.
 *
 *     flat     near, G = C = O, strides 1, W = Q <= 3/4 V, R S <= 32, max(H,P) Q R S <= 7168
 *              L = V; for n, p, q; l = (p Q + q) mod V. A unit is an image
 *     few      near, sh sw (8 step + (R-1) dh / sh) (V + (S-1) dw / sw) <= 32768, and either 2 O/G <= V, O/G <= Q, or
 *              C/G R S <= 12, 4 Q > 3 V
 *              L = V; for n; for bands of 8 step rows; for k < step; for blocks of V columns; for the band's rows p, of which each
 *              step-th is taken, from the k-th on; for the block's q; l = q mod V. A unit is a band
 *     others   L = 1. If near and P Q <= 512, a unit is i images, N cut into the fewest nearly equal parts of at most 512 / (P Q): for p,
 *              q; for n of the unit. Otherwise a unit is a row of a map: for n, p, q
 *     chunks   of nearly equal numbers of units, rounded up; the number is the least of 8 / (G ceil(O/G / 128) ceil(C/G R S / 576)),
 *              1 + max(1, 2^20 / bytes of w, these rounded up to 64), and N P Q / (L > 1 ? 1024 : 512), the first and the last rounded
 *              up; but at least 1
 *
 * Errors. With K terms in a result, it is at most K u sum |a||b| off, to first order in u, half an ulp of 1 (2^-24 in f32, 2^-53
 * in f64), with every engine. A bias adds one rounding. */
int pleat_conv_run(const pleat_conv_plan *plan, void *x, void *w, void *y, const pleat_work *work);

/* Ask the BLAS library that pleat was built with for one thread a call, process-wide. pleat_ctx_new does so; a
 * program that uses the kernels alone with a pool should, too. */
void pleat_blas_single_thread(void);

#ifdef __cplusplus
}
#endif
#endif

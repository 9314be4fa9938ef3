/* pleat_kernels.h: the convolution family on raw pointers. No context, no allocation, no state.
 *
 *     pleat_conv_shape g = {.N = 1, .C = 4, .O = 2, .G = 1, .H = 6, .W = 6, .P = 3, .Q = 3, .R = 3, .S = 3,
 *                           .stride = {2, 2}, .dilation = {1, 1}, .pad = {0, 0}};
 *     const char *wrong = pleat_conv_check(&g, sizeof(float));      // NULL, or the rule that is broken
 *     size_t bytes = pleat_conv_workspace(&g, sizeof(float), PLEAT_CONV_TRANSPOSE, PLEAT_CONV_AUTO, 1);
 *     pleat_conv2d_transpose_f32(&g, y, w, x, &(pleat_work){.memory = malloc(bytes), .bytes = bytes});
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
 * Arrays are row-major and without gaps; input and output must not overlap. Results do not depend on the number of
 * threads, bit for bit, as long as BLAS itself runs one thread (see pleat_blas_single_thread).
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
} pleat_conv_shape;

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

/* ---- the three operators ----------------------------------------------------------------------------- */

typedef enum pleat_conv_op { PLEAT_CONV_FORWARD, PLEAT_CONV_TRANSPOSE, PLEAT_CONV_WEIGHT } pleat_conv_op;

/* How an operator is computed. All paths give the same values, but for the order in which a sum is taken. */
typedef enum pleat_conv_path {
    PLEAT_CONV_AUTO, /* the fixed choice for shape and processor */
    PLEAT_CONV_PLAIN, /* im2col, col2im and BLAS: takes every shape, runs anywhere; what the others are held against */
    PLEAT_CONV_PANELS, /* products whose panels are packed straight from the image, or direct loops where groups have few channels, with
                          vectors that every processor has */
    PLEAT_CONV_AVX2,   /* the same for x86-64 with AVX2 and FMA */
    PLEAT_CONV_AVX512, /* the same with AVX-512 (F, VL, BW, DQ) */
} pleat_conv_path;

/* The path called auto, plain, panels, avx2 or avx512; false for other names. */
bool pleat_conv_path_named(const char *name, pleat_conv_path *path);

/* Whether the processor has what the path needs, and the path takes the shape. Where it does not, a call that asks for it goes
 * the plain way. */
bool pleat_conv_takes(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_conv_path path);

/* The caller's memory for columns and panels. */
typedef struct pleat_work {
    void *memory;         /* of any alignment */
    size_t bytes;         /* at least pleat_conv_workspace(g, element, op, path, threads of the pool) */
    pleat_pool *pool;     /* NULL: the caller's thread alone */
    pleat_conv_path path; /* default PLEAT_CONV_AUTO */
    const void *bias; /* NULL, or a number to add to each channel of the result: [O] forward, [C] transpose */
    bool
        relu; /* then, numbers below 0 become 0; NaN stays. The weight gradient knows neither bias nor relu */
} pleat_work;

/* Bytes of workspace. At most 1 MiB for each thread, whatever the sizes (all is done in strips), and beside that one packed copy
 * of the weights; on the plain path only the first, unless a single channel's kernel is larger than that. */
size_t pleat_conv_workspace(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_conv_path path,
                            int threads);

/* x [N,C,H,W], w [O,C/G,R,S] -> y [N,O,P,Q]      y = dT/dy: W im2col(x)
 * y [N,O,P,Q], w [O,C/G,R,S] -> x [N,C,H,W]      x = dT/dx: col2im(W^T y)
 * x [N,C,H,W], y [N,O,P,Q]   -> w [O,C/G,R,S]    w = dT/dw: y im2col(x)^T, summed over N
 * The result is overwritten. Returns 0, or -1 and does nothing if work->bytes is too small.
 *
 * Numbers that are not finite. Padding is absent, not 0: a result is the sum of the products that it has, and is NaN or infinite
 * where that sum is, on every path; an infinite weight makes no NaN where it meets padding, and 0 times Inf inside of the image is
 * NaN. Denormal numbers are not flushed. A sum whose magnitudes sum |a||b| do not overflow does not overflow, in whichever order it
 * is taken; beyond that its parts may, and a result is then infinite or NaN. With finite operands this costs a look at the weights
 * or the result, whichever is less; otherwise each NaN that padding could have made is computed again, term by term.
 *
 * Errors. With K terms in a result, it is at most K u sum |a||b| off, to first order in u, half an ulp of 1 (2^-24 in f32, 2^-53
 * in f64), on every path. A bias adds one rounding. */
int pleat_conv2d_f32(const pleat_conv_shape *g, const float *x, const float *w, float *y,
                     const pleat_work *work);
int pleat_conv2d_f64(const pleat_conv_shape *g, const double *x, const double *w, double *y,
                     const pleat_work *work);
int pleat_conv2d_transpose_f32(const pleat_conv_shape *g, const float *y, const float *w, float *x,
                               const pleat_work *work);
int pleat_conv2d_transpose_f64(const pleat_conv_shape *g, const double *y, const double *w, double *x,
                               const pleat_work *work);
int pleat_conv2d_weight_f32(const pleat_conv_shape *g, const float *x, const float *y, float *w,
                            const pleat_work *work);
int pleat_conv2d_weight_f64(const pleat_conv_shape *g, const double *x, const double *y, double *w,
                            const pleat_work *work);

/* Ask the BLAS library that pleat was built with for one thread a call, process-wide. pleat_ctx_new does so; a
 * program that uses the kernels alone with a pool should, too. */
void pleat_blas_single_thread(void);

#ifdef __cplusplus
}
#endif
#endif

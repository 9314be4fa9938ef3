/* pleat.h: tensors, the calculus of convolution, and gradients of every order. It includes pleat_op.h (ops of
 * your own).
 *
 *     pleat_ctx *ctx = pleat_ctx_new();
 *     pleat_scope s = pleat_begin(ctx);
 *     pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 28, 28));
 *     pleat_tensor *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(8, 3, 3, 3));
 *     pleat_tensor *y = pleat_sum(pleat_square(pleat_conv2d(x, w, .stride = {2, 2}, .pad = {1, 1})));
 *     pleat_tensor *gw;
 *     if (pleat_grads(y, NULL, 1, &w, &gw, 0)) puts(pleat_error(ctx)->text);
 *     pleat_end(s);
 *     pleat_ctx_free(ctx);
 *
 * CONVENTIONS
 *
 * Letters for axes, used in every shape in brackets: N batch, C channels in, O channels out, H W image, P Q
 * map, R S kernel, G groups. Images are [N,C,H,W] in row-major order. Convolution is cross-correlation (the
 * kernel is not flipped), and `pad` always means the padding of the forward convolution.
 *
 * Options are designated initializers after the tensors: pleat_conv2d(x, w, .stride = {2, 2}). An option that
 * is left out (or zero throughout) has the default that its comment names. A struct of options begins with
 * `int unset_`, which has no meaning and is never read. The macro that calls the function initialises it by
 * name: so a call without options is valid C17, where an empty initializer is not, and compilers do not warn
 * about the options that are left out.
 *
 * Pairs. An option of two numbers, such as stride along H and W, is given whole. {k, 0}, which is also what C
 * makes of {k}, is an error unless k is 0; a second number that is meant to be zero is written PLEAT_NONE. So a
 * computed pad is {ph, pw ? pw : PLEAT_NONE}, or for a convolution .pads = {ph, pw, ph, pw}.
 *
 * Value algebra. A function that returns a tensor never returns NULL and never aborts. On an error it returns
 * the context's poison tensor; an op that is given poison returns poison, and poison reads as NaN. The
 * context keeps the first error, with the op, the shapes and the broken rule, until pleat_clear_error. So a
 * whole computation can be written without checks, followed by a single check of the error. Verbs (gradients,
 * save, step) return a pleat_status; PLEAT_OK is 0.
 *
 * Ownership. Every tensor belongs to the innermost scope that was open when it was created. It is freed when
 * that scope ends (pleat_end), unless pleat_keep has moved it to the enclosing scope or pleat_hold has taken
 * it out of all scopes. The library keeps the data of a tensor that a gradient may still need as long as a
 * result depends on it, or until a walk consumes the history (PLEAT_GRADS_CONSUME). The context recycles memory: a loop that repeats the same shapes calls malloc in its
 * first iteration only.
 *
 * Recording. While recording is on, which is the default of a new context, every op remembers its inputs. So
 * any tensor can be differentiated with respect to any tensor that it was computed from. Tensors are not
 * marked in advance.
 *
 * Types. f32 and f64. All tensors of one op have one type; there is no implicit promotion, but pleat_cast.
 * Sums and means accumulate in double.
 *
 * Empty tensors. An axis may have size 0. Element-wise and shape ops accept such tensors, a sum over no
 * elements is 0, a matrix product over an empty inner axis is 0, and a batch may hold no image (N = 0).
 * Operations without a mathematical value are errors: a mean over no elements, a convolution with empty
 * channels, image, map or kernel.
 *
 * Threads. A context and its tensors must be used by one thread at a time; different contexts are
 * independent. An op splits its work over the library's own threads. Results are bit-identical for every
 * number of threads. pleat_ctx_new sets the BLAS library to one thread, for the whole process, as BLAS has no
 * narrower setting. The child of a fork may use and free the contexts that it inherits, except one that
 * another thread was using. Its ops run on one thread if the parent's threads had been started, until
 * pleat_set_threads.
 *
 * Bits. A result has the same bits on every processor, from every compiler, with every instruction set and number of threads: what it is
 * computed in, and in which order, is part of this manual and of the comments in ops/. In short:
 *
 *   T         the type of the tensors. An operation of T or of double is rounded to the nearest, of two to the even one, where it stands,
 *             from left to right. No product is fused with a sum, except in products and convolutions.
 *   constant  an option that is a double is rounded to T once, and so is a number in a formula.
 *   element   + - * / sqrt are one operation of T each. exp, log and their kin are of double for f64, and computed in double and rounded
 *             once for f32, by the formulas of core/functions.h; so are bce, bce_with_logits and what a norm does to an element. silu, gelu
 *             and elu multiply such a rounded function in T: x s(x), ((1/2 x) (1 + erf(x sqrt(1/2))), a expm1(x).
 *   sum       of doubles, from +0, rounded to T once. It is a chain (((0 + a) + b) + c).. of the terms in row-major order, unless its op says
 *             otherwise: sums, norms. A sum's order depends on shapes and strides alone.
 *   product   matmul and the convolutions: chains of fused multiply-adds of T, pleat_kernels.h.
 *   gradient  a rule (vjp) is made of ops, and has their bits. Recorded calls are visited from the last to the first of the order in which
 *             a depth-first search from y leaves them, inputs from the first to the last; the cotangents of a tensor are added in T in the
 *             order in which they come, ((a + b) + c).
 *   random    see pleat_rng; an element of a tensor takes its numbers in row-major order.
 *
 * Not defined are the sign and the digits of a NaN, and the order of sums in products by a BLAS, which only PLEAT_ENGINE=im2col takes, and
 * only in a library that has one (pleat_build_info).
 */
#ifndef PLEAT_H
#define PLEAT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Literals of the macros below. C++ has no compound literals; from C++20 on it takes options in the order of
 * their declaration, and the tensors by name as well: pleat_conv2d(.a = x, .b = w, .stride = {2, 2}). */
#ifdef __cplusplus
#    include <initializer_list>
template <class... T> char (&pleat_count_of(T &&...))[sizeof...(T)]; /* for sizeof: evaluates nothing */
#    define PLEAT_COUNT(type, ...) sizeof(pleat_count_of(__VA_ARGS__))
#    define PLEAT_ARRAY(type, ...) std::initializer_list<type>{__VA_ARGS__}.begin()
#    define PLEAT_OPTIONS(type, ...) \
        type { .unset_ = 0, __VA_ARGS__ }
extern "C" {
#else
#    define PLEAT_COUNT(type, ...) (sizeof((type[]){__VA_ARGS__}) / sizeof(type))
#    define PLEAT_ARRAY(type, ...) ((type[]){__VA_ARGS__})
#    define PLEAT_OPTIONS(type, ...) ((type){.unset_ = 0, __VA_ARGS__})
#endif

#define PLEAT_VERSION "0.1.0"

/* How the library was built, in one line that stays the same: its version, its BLAS or none, the instruction sets that its engines are
 * compiled for, and the optional libraries that it has: "pleat 0.1.0, defined bits but for im2col, BLAS openblas, x86_64 avx2 avx512
 * baseline, with zlib libpng".
 * Never NULL. */
const char *pleat_build_info(void);

/* The largest rank of a tensor. */
#define PLEAT_MAX_RANK 8

/* In an option that is a pair: a zero that is meant. */
#define PLEAT_NONE INT_MAX

typedef enum pleat_dtype { PLEAT_F32, PLEAT_F64 } pleat_dtype;

typedef struct pleat_ctx pleat_ctx;
typedef struct pleat_tensor pleat_tensor;

/* ---- status and errors ------------------------------------------------------------------------------- */

typedef enum pleat_status {
    PLEAT_OK = 0,
    PLEAT_ERR_SHAPE,    /* shapes do not fit each other, or a size is out of range */
    PLEAT_ERR_DTYPE,    /* mixed types, or a type that this function does not accept */
    PLEAT_ERR_ARGUMENT, /* an option out of range, a null pointer, a tensor of another context */
    PLEAT_ERR_MEMORY,   /* the allocator returned NULL */
    PLEAT_ERR_GRADIENT, /* no gradient rule, or no path from y to x where one is required */
    PLEAT_ERR_CHECK,    /* a gradient or adjoint check failed; its report names the element */
    PLEAT_ERR_IO,       /* the system refused to open, read, write or rename a file */
    PLEAT_ERR_FORMAT,   /* the content of a file is not valid */
} pleat_status;

#define PLEAT_NO_INPUT SIZE_MAX

typedef struct pleat_error_info {
    pleat_status code;
    /* Which of an op's tensors, or of the xs of pleat_grads, is at fault, counted from 0, as all messages
     * count: a null pointer, poison, a tensor of another context or type than the first, or an x on which y
     * does not depend. PLEAT_NO_INPUT for every other error. */
    size_t input;
    char op[32];    /* the function that failed, "conv2d" */
    char text[480]; /* one line: op, shapes and the broken rule */
} pleat_error_info;

/* The first error since the context was created or its error cleared; code is PLEAT_OK if there was none.
 * Never NULL. */
const pleat_error_info *pleat_error(const pleat_ctx *ctx);

/* Reset the error. Poison tensors stay poison. */
void pleat_clear_error(pleat_ctx *ctx);

/* The code's name in words: "shape", "out of memory", ... */
const char *pleat_status_name(pleat_status s);

/* Report an error of your own op or program under the name `op`, as one line formatted as by printf. Control
 * characters in the line are replaced by question marks. Returns `code`. If the context already has an error,
 * that one is kept. Every failure of the library passes through this function: a place for a breakpoint. */
pleat_status pleat_fail(pleat_ctx *ctx, pleat_status code, const char *op, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* Say where the context's error arose: put `where` and ": " in front of its text; op, code and input stay. A
 * `where` that does not fit loses its front, marked by "...", and the text loses nothing. Without an error,
 * nothing happens. */
void pleat_error_where(pleat_ctx *ctx, const char *where);

/* ---- context ----------------------------------------------------------------------------------------- */

typedef struct pleat_ctx_args {
    int unset_;
    int threads;   /* threads that an op may use; default: the number of cores available to the process */
    uint64_t seed; /* of the context's random stream, default 0 */
    /* Default malloc and free. Give both or none. alloc must align as malloc does. */
    void *(*alloc)(void *user, size_t bytes);
    void (*free)(void *user, void *block);
    void *user; /* passed to alloc and free */
    bool debug; /* report the use of dead tensors, see below */
} pleat_ctx_args;

/* A new context, or NULL if memory is short. The caller frees it with pleat_ctx_free, which also frees every
 * tensor of the context. The environment variables PLEAT_ENGINE (auto, reference, im2col, implicit_gemm,
 * direct, columns) and PLEAT_ISA (auto, baseline, avx2, avx512) force an engine and an instruction set, for
 * convolutions and matmul, where processor and shape allow it (pleat_kernels.h). Any other word becomes the
 * context's first error.
 *
 * With .debug, or PLEAT_DEBUG=1 in the environment, a tensor whose scope has ended, or that was dropped, is
 * dead: every function of ops or networks that is given it reports an error, which names the op that made the
 * tensor, its number among the context's tensors and its inputs' shapes, and treats it as poison. Its
 * elements become NaN, and for ASan and valgrind inaccessible, so that these report a pointer that is used
 * too late. Dead tensors and their elements are recycled late, after 64 MiB of each; a use after that goes
 * unnoticed. A tensor that a gradient may still need lives on. Without .debug none of this takes time. */
pleat_ctx *pleat_ctx_new_with(pleat_ctx_args args);
#define pleat_ctx_new(...) pleat_ctx_new_with(PLEAT_OPTIONS(pleat_ctx_args, __VA_ARGS__))
void pleat_ctx_free(pleat_ctx *ctx);

/* Whether the results of this context have the defined bits, the same on every machine (pleat_kernels.h: Bits; here: Bits). False only where
 * PLEAT_ENGINE is im2col, which adds in BLAS's order. */
bool pleat_has_defined_bits(const pleat_ctx *ctx);

int pleat_threads(const pleat_ctx *ctx);
void pleat_set_threads(pleat_ctx *ctx, int threads); /* 1 or more; anything less means 1 */

/* Turn recording on or off; returns the previous setting. Turn it off for inference. */
bool pleat_set_recording(pleat_ctx *ctx, bool on);

typedef struct pleat_memory_info {
    size_t in_use;      /* bytes of live tensors */
    size_t peak;        /* the largest in_use so far */
    size_t reserved;    /* bytes obtained from the allocator: in use, free for reuse, or never touched */
    size_t allocations; /* calls of the allocator so far */
    size_t tensors;     /* live tensors */
} pleat_memory_info;

pleat_memory_info pleat_memory(const pleat_ctx *ctx);

/* Return memory that is free for reuse to the allocator; of a chunk that tensors of more than 64 KiB share,
 * when none of them is left. */
void pleat_trim(pleat_ctx *ctx);

/* ---- scopes ------------------------------------------------------------------------------------------ */

typedef struct pleat_scope {
    pleat_ctx *ctx;
    size_t depth;
    uint64_t serial;
} pleat_scope;

/* Open a scope. Ending it frees every tensor that belongs to it, and ends every scope inside it that is still
 * open. Ending a scope twice, or one that was never opened, is an error that frees nothing. */
pleat_scope pleat_begin(pleat_ctx *ctx);
void pleat_end(pleat_scope scope);
/* Does t belong to the scope, or to one inside it? False if the scope has ended. */
bool pleat_in_scope(pleat_scope scope, const pleat_tensor *t);

/* Move t to the enclosing scope, together with the tensors that its gradients need. Returns t. */
pleat_tensor *pleat_keep(pleat_tensor *t);

/* Take t out of all scopes: it lives until pleat_drop (or the context's end). Returns t. */
pleat_tensor *pleat_hold(pleat_tensor *t);

/* Free a tensor now: a held one, or one whose scope has not ended yet. t must not be used afterwards. NULL
 * and poison are ignored. */
void pleat_drop(pleat_tensor *t);

/* ---- tensors ----------------------------------------------------------------------------------------- */

/* A shape as two arguments, rank and sizes: PLEAT_SHAPE(2, 3). PLEAT_SCALAR is rank 0. */
#define PLEAT_SHAPE(...) PLEAT_COUNT(size_t, __VA_ARGS__), PLEAT_ARRAY(const size_t, __VA_ARGS__)
#define PLEAT_SCALAR (size_t)0, NULL

/* New tensors of the given shape [shape[0],...,shape[rank-1]]. Error: a rank over PLEAT_MAX_RANK, or sizes
 * whose product in bytes overflows. */
pleat_tensor *pleat_zeros(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape);
pleat_tensor *pleat_full(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape, double value);
/* Its elements are uninitialised. */
pleat_tensor *pleat_empty(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape);

/* A copy of `data`: elements of the tensor's type in row-major order. */
pleat_tensor *pleat_from(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape,
                         const void *data);
/* The same from doubles, rounded to the tensor's type. */
pleat_tensor *pleat_from_f64(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape,
                             const double *data);

/* [n], n = ceil((end - start) / step): start + i step, below `end`. As torch.arange. Error: a step of 0, or
 * away from `end`. */
pleat_tensor *pleat_arange(pleat_ctx *ctx, pleat_dtype dtype, double start, double end, double step);
/* [n]: n numbers from start to end, both included, at equal distances; start alone for n = 1. As
 * torch.linspace. */
pleat_tensor *pleat_linspace(pleat_ctx *ctx, pleat_dtype dtype, double start, double end, size_t n);

/* Same type and shape as t, filled with zeros, or with a value. */
pleat_tensor *pleat_zeros_like(const pleat_tensor *t);
pleat_tensor *pleat_full_like(const pleat_tensor *t, double value);

pleat_ctx *pleat_ctx_of(const pleat_tensor *t);
pleat_dtype pleat_dtype_of(const pleat_tensor *t);
size_t pleat_rank(const pleat_tensor *t);
const size_t *pleat_shape(const pleat_tensor *t);      /* pleat_rank sizes; lives as long as t */
size_t pleat_size(const pleat_tensor *t, size_t axis); /* 0 where there is no such axis */
size_t pleat_numel(const pleat_tensor *t);
bool pleat_is_poison(const pleat_tensor *t);

/* The context's poison tensor, for a function of your own to return after it has reported an error. */
pleat_tensor *pleat_poison(pleat_ctx *ctx);

bool pleat_is_contiguous(const pleat_tensor *t); /* row-major without gaps */

/* The elements of a contiguous tensor, to read and write in place. NULL, with an error, if t is not
 * contiguous, is poison, or has the other type. A view shares its elements with the tensor that it was made
 * from. They count as a write: a gradient whose rule needs elements that were written after the op read or
 * made them is an error, which names the op and the function that wrote. A pointer may be kept, and written
 * by at any time. So where recording is off, weights whose pointer was given out are packed in each call,
 * and others once until they change. pleat_assign gives out no pointer, nor does pleat_write_now of
 * pleat_op.h, which is for optimizers of your own. */
float *pleat_f32(pleat_tensor *t);
double *pleat_f64(pleat_tensor *t);
/* The same to read only; it does not count as a write. */
const float *pleat_const_f32(const pleat_tensor *t);
const double *pleat_const_f64(const pleat_tensor *t);

/* One element as a double; NaN for poison. item: t has one element. at: one index per axis. Error: out of
 * range. */
double pleat_item(const pleat_tensor *t);
double pleat_at(const pleat_tensor *t, const size_t *index);

/* All elements in row-major order, as doubles, to out[pleat_numel(t)]; NaN for poison (one element). */
void pleat_read_f64(const pleat_tensor *t, double *out);

/* Copy src into dst, in place; both have the same shape (types may differ). */
pleat_status pleat_assign(pleat_tensor *dst, const pleat_tensor *src);

/* Write "[2,3,5]" to buffer, truncated to `bytes`. Returns buffer. */
char *pleat_shape_text(const pleat_tensor *t, char *buffer, size_t bytes);

/* Print t for people, to `out`: a line with type and shape, then the elements as NumPy prints them. Columns
 * are aligned; of more than 1000 elements the three at each edge are printed; there is an exponent if the
 * elements differ by more than a factor of 1000 or are very large or small; nan and inf are words. The
 * decimal point is a point in every locale. Of poison, which is an error here, the line says
 * why: the context's error.
 *
 *     f32 [2,3]
 *     [[ 1.   0.5 -2. ]
 *      [ 0.   nan  3. ]]
 */
pleat_status pleat_print(const pleat_tensor *t, FILE *out);

/* ---- random numbers ---------------------------------------------------------------------------------- */

/* A counter-based generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as
 * 1, 2, 3. SC 2011). The members are the whole state: it can be copied and stored. Streams of one seed do not
 * overlap; each has 2^66 numbers of 32 bits. */
typedef struct pleat_rng {
    uint64_t seed, stream, counter;
    uint32_t block[4]; /* the current block */
    uint64_t left;     /* unused numbers of the block; 64 bits wide, so that the struct has no padding */
} pleat_rng;

pleat_rng pleat_rng_new(uint64_t seed, uint64_t stream);
uint32_t pleat_rng_u32(pleat_rng *r);
uint64_t pleat_rng_below(pleat_rng *r, uint64_t n); /* 0 <= result < n, without bias; 0 for n = 0 */
/* 0 <= result < 1: (2^32 a + b) / 2^64 without its last 11 digits, of the next two numbers a and b */
double pleat_rng_uniform(pleat_rng *r);
/* mean 0, variance 1: sqrt(-2 ln(1 - u)) cos(2 pi v), of the next two uniform numbers (Box and Muller 1958) */
double pleat_rng_normal(pleat_rng *r);

/* The context's stream, seeded by .seed of pleat_ctx_new. */
pleat_rng *pleat_ctx_rng(pleat_ctx *ctx);

/* Tensors from the context's stream: normal(0, 1), and uniform in [low, high): low + (high - low) u in double. Rounded to T; a number
 * that is then not in the range is its neighbour that is. */
pleat_tensor *pleat_randn(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape);
pleat_tensor *pleat_uniform(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape, double low,
                            double high);

/* ---- ops: element by element ------------------------------------------------------------------------- */
/* Two operands are broadcast as in NumPy: shapes are aligned at the last axis, and an axis that is missing or
 * has size 1 is repeated. x [..], y [..] -> z [..]
 *
 * exp, log, sin, cos, tanh, sigmoid, erf, softplus and pow are computed by the library itself, with the same bits
 * on every processor and from every compiler: within 0.51 units of the last place in f32, 2 in f64. */

pleat_tensor *pleat_add(pleat_tensor *x, pleat_tensor *y); /* z = x + y */
pleat_tensor *pleat_sub(pleat_tensor *x, pleat_tensor *y); /* z = x - y */
pleat_tensor *pleat_mul(pleat_tensor *x, pleat_tensor *y); /* z = x * y */
pleat_tensor *pleat_div(pleat_tensor *x, pleat_tensor *y); /* z = x / y */
pleat_tensor *pleat_scale(pleat_tensor *x, double a);      /* z = a x */
pleat_tensor *pleat_shift(pleat_tensor *x, double a);      /* z = x + a */
pleat_tensor *pleat_neg(pleat_tensor *x);                  /* z = -x */
pleat_tensor *pleat_exp(pleat_tensor *x);                  /* z = e^x */
pleat_tensor *pleat_log(pleat_tensor *x);                  /* z = ln x; NaN for x < 0, -Inf for 0 */
pleat_tensor *pleat_sqrt(pleat_tensor *x);                 /* z = x^(1/2); NaN for x < 0 */
pleat_tensor *pleat_square(pleat_tensor *x);               /* z = x x */
pleat_tensor *pleat_sin(pleat_tensor *x);                  /* z = sin x, x in radians; NaN for infinite x */
pleat_tensor *pleat_cos(pleat_tensor *x);                  /* z = cos x, x in radians; NaN for infinite x */
pleat_tensor *pleat_tanh(pleat_tensor *x);                 /* z = tanh x */
pleat_tensor *pleat_sigmoid(pleat_tensor *x);              /* z = 1 / (1 + e^-x) */
pleat_tensor *pleat_relu(pleat_tensor *x);                 /* z = max(x, 0), NaN for NaN; dz/dx = step(x) */
/* z = min(max(x, 0), 6), NaN for NaN; dz/dx is 1 for 0 < x < 6 and else 0, also at 0 and 6.
 * torch.nn.functional.relu6. */
pleat_tensor *pleat_relu6(pleat_tensor *x);
pleat_tensor *pleat_step(pleat_tensor *x); /* z = x > 0 ? 1 : 0; its gradient is 0 everywhere */
/* z = min(max(x, low), high), NaN for NaN; dz/dx is 1 for low <= x <= high and else 0, as in torch.clamp. */
pleat_tensor *pleat_clamp(pleat_tensor *x, double low, double high);
pleat_tensor *pleat_abs(pleat_tensor *x);  /* z = |x|; dz/dx = sign(x) */
pleat_tensor *pleat_sign(pleat_tensor *x); /* z = -1, 0, 1; its gradient is 0 everywhere */
/* z = the largest integer <= x; and the nearest integer, of two the even one, as torch.round and NumPy. Their
 * gradient is 0 everywhere. */
pleat_tensor *pleat_floor(pleat_tensor *x);
pleat_tensor *pleat_round(pleat_tensor *x);
pleat_tensor *pleat_pow(pleat_tensor *x, double a); /* z = x^a; NaN for x < 0 unless a is whole */
pleat_tensor *pleat_erf(pleat_tensor *x);           /* z = 2/sqrt(pi) integral of e^(-t^2) from 0 to x */
pleat_tensor *pleat_softplus(pleat_tensor *x);      /* z = ln(1 + e^x), without overflow */
pleat_tensor *pleat_silu(pleat_tensor *x);          /* z = x sigmoid(x), also known as swish */
/* z = x (1 + erf(x/sqrt(2))) / 2; the error is about 2^-24 |x| in f32 and 2^-53 |x| in f64, so z is 0 below
 * -6, or -9. Hendrycks, Gimpel 2016. */
pleat_tensor *pleat_gelu(pleat_tensor *x);
pleat_tensor *pleat_elu(pleat_tensor *x, double a);            /* z = x > 0 ? x : a (e^x - 1) */
pleat_tensor *pleat_leaky_relu(pleat_tensor *x, double slope); /* z = x > 0 ? x : slope x */
/* z = relu(x + y) with the same bits, broadcast as in pleat_add, in one pass: the end of a residual block. */
pleat_tensor *pleat_add_relu(pleat_tensor *x, pleat_tensor *y);
/* x [N,C,..], weight [C]; or any x, weight [1] -> z = x > 0 ? x : weight x. At 0 its slope is the weight. One pass
 * computes both gradients; the weight's is summed in double. He et al. 2015; torch.nn.functional.prelu. */
pleat_tensor *pleat_prelu(pleat_tensor *x, pleat_tensor *weight);

/* Binary cross-entropy of each element, x and t of one shape, t from 0 to 1: of a probability x from 0 to 1,
 * z = -(t ln x + (1 - t) ln(1 - x)) with logarithms of at least -100, and NaN out of range; of a logit x the same
 * of sigmoid(x), exact far from 0. torch.nn.functional.binary_cross_entropy, .._with_logits. */
pleat_tensor *pleat_bce(pleat_tensor *x, pleat_tensor *t);
pleat_tensor *pleat_bce_with_logits(pleat_tensor *x, pleat_tensor *t);

/* The larger and the smaller of two; NaN if either is NaN. Equal elements share the gradient, half each. */
pleat_tensor *pleat_maximum(pleat_tensor *x, pleat_tensor *y);
pleat_tensor *pleat_minimum(pleat_tensor *x, pleat_tensor *y);

/* Comparisons as masks: z = 1 where the comparison holds, else 0, in the operands' type. The gradient of a
 * mask is 0. */
pleat_tensor *pleat_gt(pleat_tensor *x, pleat_tensor *y); /* x > y */
pleat_tensor *pleat_ge(pleat_tensor *x, pleat_tensor *y); /* x >= y */
pleat_tensor *pleat_lt(pleat_tensor *x, pleat_tensor *y); /* x < y */
pleat_tensor *pleat_le(pleat_tensor *x, pleat_tensor *y); /* x <= y */
pleat_tensor *pleat_eq(pleat_tensor *x, pleat_tensor *y); /* x = y */
pleat_tensor *pleat_ne(pleat_tensor *x, pleat_tensor *y); /* x != y */

/* z = mask != 0 ? x : y, all three broadcast. An element that is not chosen has no influence on z or on a
 * gradient, even if it is NaN. */
pleat_tensor *pleat_where(pleat_tensor *mask, pleat_tensor *x, pleat_tensor *y);

/* z = x / (1 - p) with probability 1 - p, else 0; 0 <= p <= 1. Takes one number per element from the
 * context's random stream, in row-major order, and none for p = 0. As torch.nn.functional.dropout. */
pleat_tensor *pleat_dropout(pleat_tensor *x, double p);

/* ---- ops: matrices ----------------------------------------------------------------------------------- */

typedef struct pleat_matmul_args {
    int unset_;
    pleat_tensor *a, *b;
    bool ta, tb; /* transpose the last two axes of a, of b */
} pleat_matmul_args;

/* a [..,M,K], b [..,K,N] -> c [..,M,N]      c = a b; leading axes are broadcast as above
 * With .ta, a is [..,K,M]; with .tb, b is [..,N,K]. Both have rank 2 or more. A transposed view is not
 * copied. Each element is one chain of fused multiply-adds over K in its own type,
 *
 *     c = 0;  for (k = 0; k < K; k++) c = fma(a[k], b[k], c);  c = c + 0.0
 *
 * (the last for the sign of a zero): the same bits for every M, N, processor, number of threads and cut of a
 * batch, and those of a convolution with one tap. With PLEAT_ENGINE=im2col it is BLAS, in an order of its own. */
pleat_tensor *pleat_matmul_with(pleat_matmul_args args);
#define pleat_matmul(...) pleat_matmul_with(PLEAT_OPTIONS(pleat_matmul_args, __VA_ARGS__))

/* ---- ops: sums --------------------------------------------------------------------------------------- */

typedef struct pleat_sum_args {
    int unset_;
    pleat_tensor *x;
    unsigned axes; /* PLEAT_AXES(0, 2, 3); default: all */
    bool keep;     /* keep the summed axes, with size 1 */
} pleat_sum_args;

/* A set of axes as bits: PLEAT_AXES(0) .. PLEAT_AXES(0, 2, 3). Bit k is axis k. */
#define PLEAT_AXES(...) \
    pleat_axes_bits((int)PLEAT_COUNT(int, __VA_ARGS__), PLEAT_ARRAY(const int, __VA_ARGS__))
/* An axis outside 0..PLEAT_MAX_RANK-1 sets a bit that stands for no axis of any tensor. */
unsigned pleat_axes_bits(int n, const int *axes);

/* x [..] -> y [.. without the axes]         y = sum of x over the axes, accumulated in double
 *
 * The order, where axes of size 1 do not count. If the last axis is kept: a chain. If it is summed: a row is the last axis, with the summed axes
 * before it that continue it in memory; y is the chain of the sums of rows. In a row of n adjacent elements x[i] belongs to lane i mod 16, and
 * those from 16 floor(n / 16) on to a lane of their own; a lane is a chain. With l[j] += l[j + 8] for j < 8 the row's sum is
 * ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)) + own. The sum of a row whose elements are apart is a chain. */
pleat_tensor *pleat_sum_with(pleat_sum_args args);
#define pleat_sum(...) pleat_sum_with(PLEAT_OPTIONS(pleat_sum_args, __VA_ARGS__))
/* The same divided by the number of summed elements, in double. Error: a mean over no elements. */
pleat_tensor *pleat_mean_with(pleat_sum_args args);
#define pleat_mean(...) pleat_mean_with(PLEAT_OPTIONS(pleat_sum_args, __VA_ARGS__))

/* The mean squared distance from the mean, as torch.var(unbiased=False). The mean stays in double until it
 * is subtracted. Error: over no elements. */
pleat_tensor *pleat_var_with(pleat_sum_args args);
#define pleat_var(...) pleat_var_with(PLEAT_OPTIONS(pleat_sum_args, __VA_ARGS__))
/* The largest and the smallest element over the axes; NaN if an element is NaN. Equal elements share the
 * gradient evenly, as in torch.amax. Error: over no elements. */
pleat_tensor *pleat_amax_with(pleat_sum_args args);
#define pleat_amax(...) pleat_amax_with(PLEAT_OPTIONS(pleat_sum_args, __VA_ARGS__))
pleat_tensor *pleat_amin_with(pleat_sum_args args);
#define pleat_amin(...) pleat_amin_with(PLEAT_OPTIONS(pleat_sum_args, __VA_ARGS__))
/* x [..] -> index [.. without axis]   index[..] is the place on the axis of the first largest element, or of
 * the first NaN if there is one; in row-major order. The caller owns the room for pleat_numel(x) /
 * pleat_size(x, axis) indices. Nothing is recorded. As torch.argmax. Error: poison, an axis that is not there
 * or of size 0. */
pleat_status pleat_argmax(pleat_tensor *x, size_t axis, size_t *index);

/* x [..] -> y [.. without the axes]   y = ln(sum of e^x over the axes), without overflow; -Inf over no
 * elements, and where all are -Inf. As torch.logsumexp. */
pleat_tensor *pleat_log_sum_exp_with(pleat_sum_args args);
#define pleat_log_sum_exp(...) pleat_log_sum_exp_with(PLEAT_OPTIONS(pleat_sum_args, __VA_ARGS__))

/* x [..] -> y [..]   y[k] = x[0] + .. + x[k] along the axis, accumulated in double. As torch.cumsum. */
pleat_tensor *pleat_cumsum(pleat_tensor *x, size_t axis);

/* y = e^x / sum of e^x along the axis, and its logarithm; both without overflow: with d = x - max(x) and e = e^d in T, and the sum of e in
 * double, y = e (T)(1 / sum), or d - (T)ln(sum) */
pleat_tensor *pleat_softmax(pleat_tensor *x, size_t axis);
pleat_tensor *pleat_log_softmax(pleat_tensor *x, size_t axis);

/* x [..] -> y [shape]      y repeats x along axes of size 1 and along missing leading axes; a view */
pleat_tensor *pleat_broadcast_to(pleat_tensor *x, size_t rank, const size_t *shape);
/* x [..] -> y [shape]      the adjoint of broadcast_to: sums x down to a shape that broadcasts to x's */
pleat_tensor *pleat_sum_to(pleat_tensor *x, size_t rank, const size_t *shape);

/* ---- ops: shape -------------------------------------------------------------------------------------- */

/* x [..] -> y [shape]   the same elements in row-major order; one size may be PLEAT_REST and is computed from
 * the others. A view of x, or of a copy if x is not contiguous. */
#define PLEAT_REST SIZE_MAX
pleat_tensor *pleat_reshape(pleat_tensor *x, size_t rank, const size_t *shape);

/* Axis k of y is axis order[k] of x; order has pleat_rank(x) entries, each axis once. A view. */
pleat_tensor *pleat_permute(pleat_tensor *x, const size_t *order);

/* y[i,..] = x[start[0] + i*step[0],..], sizes size[]; a view. step may be NULL (ones); its entries are 1 or
 * more. A size of PLEAT_REST takes all that is left of its axis. Error: a slice that exceeds x. */
pleat_tensor *pleat_slice(pleat_tensor *x, const size_t *start, const size_t *size, const size_t *step);

/* The adjoint of slice: a tensor of zeros [shape] with x written to the elements start + i*step. */
pleat_tensor *pleat_pad(pleat_tensor *x, const size_t *shape, const size_t *start, const size_t *step);

/* The order of elements reversed along the axes (bits, see PLEAT_AXES); a view. */
pleat_tensor *pleat_flip(pleat_tensor *x, unsigned axes);

/* n tensors, concatenated along `axis`; their other sizes are equal. */
pleat_tensor *pleat_concat(size_t n, pleat_tensor *const *xs, size_t axis);

/* n tensors of one shape, put side by side along a new axis of size n: [..] -> [..,n,..]. As torch.stack. */
pleat_tensor *pleat_stack(size_t n, pleat_tensor *const *xs, size_t axis);

/* parts[i] = part i of x along the axis, of sizes[0..n-1], which add up to the axis; or of n equal sizes, if
 * sizes is NULL. The parts are views, written to the caller's array of n pointers. The inverse of concat; as
 * torch.split. On an error all parts that could not be made are poison. */
pleat_status pleat_split(pleat_tensor *x, size_t axis, size_t n, const size_t *sizes, pleat_tensor **parts);

/* An index is an array of the caller's, in row-major order; the call copies it. Below, * stands for the axis.
 *
 *   gather        x [..], index [shape] -> y [shape]     y[i,*,j] = x[i, index[i,*,j], j]
 *   scatter_add   x [..], index [as x]  -> y [shape]     y[i, index[i,*,j], j] = sum of the x[i,*,j], else 0
 *   index_select  x [..], index [n]     -> y [..,n,..]   y[i,*,j] = x[i, index[*], j]
 *
 * x and y have one rank. On the other axes the index may be shorter than x (gather) or y (scatter_add): the
 * rest is not read, or 0. gather and scatter_add are adjoint to each other. Sums accumulate in double, in
 * row-major order of x. As torch.gather, torch.index_select, and torch.zeros(shape).scatter_add. Error: an
 * index out of range, which is named together with its place. */
pleat_tensor *pleat_gather(pleat_tensor *x, size_t axis, const size_t *shape, const size_t *index);
pleat_tensor *pleat_scatter_add(pleat_tensor *x, size_t axis, const size_t *shape, const size_t *index);
pleat_tensor *pleat_index_select(pleat_tensor *x, size_t axis, size_t n, const size_t *index);

/* A copy with row-major strides, or x itself if it is contiguous. */
pleat_tensor *pleat_contiguous(pleat_tensor *x);

/* The elements of x in that type, f64 rounded to the nearest f32; or x itself if it has the type. The
 * gradient has x's type. So one computation can pass through both types:
 * pleat_nn_forward(net, pleat_cast(x, PLEAT_F32)). */
pleat_tensor *pleat_cast(pleat_tensor *x, pleat_dtype dtype);

/* x without its history: a view whose gradient with respect to x is 0. */
pleat_tensor *pleat_detach(pleat_tensor *x);

/* ---- ops: the convolution family --------------------------------------------------------------------- */
/* One trilinear form, and its three partial derivatives:
 *
 *   T(x, w, y) = sum y[n,o,p,q] w[o,c,r,s] x[n, c, p*sh + r*dh - top, q*sw + s*dw - left]
 *
 * over all n, o, p, q, r, s and the C/G channels c of o's group; x outside the image reads 0.
 *
 *   dT/dy = conv2d(x, w)             [N,O,P,Q]     y = W im2col(x)
 *   dT/dx = conv2d_transpose(y, w)   [N,C,H,W]     x = col2im(W^T y)
 *   dT/dw = conv2d_weight(x, y)      [O,C/G,R,S]   W = y im2col(x)^T
 *
 * The vjp of each calls the other two, so gradients exist to any order. In all three the weights [O,C/G,R,S]
 * are those of the *forward* convolution. PyTorch's ConvTranspose2d stores exactly this array; its
 * in_channels are O here, its out_channels C.
 *
 * The form is total: it has a value for every image size, map size and padding, including negative padding
 * (cropping). So every size given in the options is legal, and none is guessed.
 *
 * Padding is absent, not zero: an infinite or NaN weight that meets padding only makes no NaN. All other
 * values propagate as in IEEE 754, and denormal numbers
 * are not flushed. The error of a result of K terms is at most K u sum |a||b|, to first order in u = 2^-24 in
 * f32 and 2^-53 in f64. */

/* batch_norm by given statistics, each [C] of the result's channels. */
typedef struct pleat_conv_norm {
    pleat_tensor *weight, *bias; /* each may be NULL */
    pleat_tensor *mean, *var;    /* both */
    double eps;                  /* default 1e-5 */
} pleat_conv_norm;

typedef struct pleat_conv_args {
    int unset_;
    pleat_tensor *a, *b;  /* the two operands, in the order of the function's comment */
    size_t stride[2];     /* along H, W; 1 or more; default {1, 1} */
    size_t dilation[2];   /* along H, W; 1 or more; default {1, 1} */
    ptrdiff_t pad[2];     /* both sides of H, both sides of W; default {0, 0}; may be negative */
    ptrdiff_t pads[4];    /* in place of pad, one value per side: top, left, bottom, right (ONNX's order) */
    size_t groups;        /* G, a divisor of C and O; default 1; C for a depthwise convolution */
    size_t size[2];       /* the size of the result, {P, Q} or {H, W}; default: see each function */
    size_t kernel[2];     /* {R, S}, conv2d_weight only */
    pleat_tensor *bias;   /* added to each channel of the result: [O], conv2d_transpose [C]; default none */
    pleat_conv_norm norm; /* applied after the bias; default none */
    bool relu, relu6;     /* applied last; bias, norm and relu are errors for conv2d_weight */
} pleat_conv_args;

/* bias, norm and relu (relu6) are applied without another pass over memory. Values and gradients of every
 * order are bit for bit those of
 *
 *   y = pleat_add(pleat_conv2d(x, w), pleat_reshape(b, PLEAT_SHAPE(O, 1, 1)))
 *   y = pleat_batch_norm(y, norm.weight, norm.bias, norm.mean, norm.var, .eps = norm.eps)
 *   y = pleat_relu(y)
 *
 * The gradient of the bias is the sum of the cotangent over batch and pixels. While recording is on, a norm is
 * a call of its own behind the convolution, as its gradient needs the map between the two. Error: a bias of
 * another type, of a rank other than 1, or with another number of elements than the result has channels, and a
 * part of the norm alike; a norm without mean or var; any of them for conv2d_weight. */

/* x [N,C,H,W], w [O,C/G,R,S], bias [O] -> y [N,O,P,Q]      y = relu(norm(conv2d(x, w) + bias))
 * Default P = floor((H + top + bottom - ((R-1)*dh + 1)) / sh) + 1, and Q alike. Error: a kernel larger than
 * the padded image. As torch.nn.functional.conv2d with its bias, and torch.relu after it. */
pleat_tensor *pleat_conv2d_with(pleat_conv_args args);
#define pleat_conv2d(...) pleat_conv2d_with(PLEAT_OPTIONS(pleat_conv_args, __VA_ARGS__))

/* y [N,O,P,Q], w [O,C/G,R,S], bias [C] -> x [N,C,H,W]      x = relu(norm(conv2d_transpose(y, w) + bias))
 * Default H = (P-1)*sh + (R-1)*dh + 1 - top - bottom, and W alike: the smallest image that conv2d takes to
 * y's size. As torch.nn.functional.conv_transpose2d, where .size is this default plus output_padding. */
pleat_tensor *pleat_conv2d_transpose_with(pleat_conv_args args);
#define pleat_conv2d_transpose(...) pleat_conv2d_transpose_with(PLEAT_OPTIONS(pleat_conv_args, __VA_ARGS__))

/* x [N,C,H,W], y [N,O,P,Q] -> w [O,C/G,R,S]; .kernel = {R, S} must be given.
 * As torch.nn.grad.conv2d_weight. */
pleat_tensor *pleat_conv2d_weight_with(pleat_conv_args args);
#define pleat_conv2d_weight(...) pleat_conv2d_weight_with(PLEAT_OPTIONS(pleat_conv_args, __VA_ARGS__))

/* ---- ops: pooling and resampling --------------------------------------------------------------------- */

typedef struct pleat_pool_args {
    int unset_;
    pleat_tensor *x;
    size_t kernel[2];   /* R, S; must be given */
    size_t stride[2];   /* default: the kernel */
    size_t pad[2];      /* both sides of H, of W; at most half the kernel; default {0, 0} */
    size_t dilation[2]; /* max_pool2d only; default {1, 1} */
    /* keep a last window that exceeds the padded image, if it begins inside the image or its leading
     * padding */
    bool ceil_mode;
    /* avg_pool2d only: divide by the number of pixels without padding (count_include_pad=False) */
    bool exclude_pad;
} pleat_pool_args;

/* x [N,C,H,W] -> y [N,C,P,Q], P = floor((H + 2 ph - (R-1) dh - 1) / sh) + 1 (ceil with .ceil_mode), and Q
 * alike. The maximum, which is never a pixel of the padding, and the mean, in which padding counts as 0. Of
 * equal pixels the first gets the gradient. As torch.nn.functional.max_pool2d and avg_pool2d. The position of
 * the maximum is stored in x's type, so in f32 a max-pool kernel has at most 2^24 pixels; more are an
 * error. */
pleat_tensor *pleat_max_pool2d_with(pleat_pool_args args);
#define pleat_max_pool2d(...) pleat_max_pool2d_with(PLEAT_OPTIONS(pleat_pool_args, __VA_ARGS__))
pleat_tensor *pleat_avg_pool2d_with(pleat_pool_args args);
#define pleat_avg_pool2d(...) pleat_avg_pool2d_with(PLEAT_OPTIONS(pleat_pool_args, __VA_ARGS__))

/* x [N,C,H,W] -> y [N,C,P,Q]   y[p,q] is the mean of rows floor(p H/P) .. ceil((p+1) H/P) - 1, and columns
 * alike. P = Q = 1 is global pooling. torch.nn.functional.adaptive_avg_pool2d. */
pleat_tensor *pleat_adaptive_avg_pool2d(pleat_tensor *x, size_t P, size_t Q);

typedef struct pleat_resize_args {
    int unset_;
    pleat_tensor *x;
    size_t size[2];   /* of the result, or */
    size_t factor[2]; /* integer factors of enlargement; give either size or factor */
    /* bilinear, bicubic: align the centres of the corner pixels; default: align the edges of the images */
    bool align_corners;
    /* bilinear, bicubic: when shrinking, widen the filter by the ratio, as Pillow's resize does */
    bool antialias;
} pleat_resize_args;

/* x [N,C,H,W] -> y [N,C,size]    As torch.nn.functional.interpolate with mode nearest, bilinear and bicubic
 * (a = -0.75; with .antialias a = -0.5). Resizes and mean pools are one family: y = A_h x A_w^T with a sparse
 * matrix for each axis; their gradients are the same with A transposed. Nearest takes pixel floor(p H/P),
 * computed in integers.
 *
 * The entries of A are doubles (resample.c). Of an element first the chains over rows, of A_h's entries times pixels, then the chain
 * over columns, of these times A_w's entries, both in double. The gradient of max_pool2d adds to a pixel in T, in the order of windows. */
pleat_tensor *pleat_resize_nearest_with(pleat_resize_args args);
#define pleat_resize_nearest(...) pleat_resize_nearest_with(PLEAT_OPTIONS(pleat_resize_args, __VA_ARGS__))
pleat_tensor *pleat_resize_bilinear_with(pleat_resize_args args);
#define pleat_resize_bilinear(...) pleat_resize_bilinear_with(PLEAT_OPTIONS(pleat_resize_args, __VA_ARGS__))
pleat_tensor *pleat_resize_bicubic_with(pleat_resize_args args);
#define pleat_resize_bicubic(...) pleat_resize_bicubic_with(PLEAT_OPTIONS(pleat_resize_args, __VA_ARGS__))

typedef struct pleat_edge_pad_args {
    int unset_;
    pleat_tensor *x;
    ptrdiff_t pad[2];  /* both sides of H, both sides of W; 0 or more; default {0, 0} */
    ptrdiff_t pads[4]; /* in place of pad, one value per side: top, left, bottom, right (ONNX's order) */
} pleat_edge_pad_args;

/* x [..,H,W] -> y [..,H + top + bottom,W + left + right]   x inside, and around it pixels of x: those that a
 * mirror in the pixel at the edge shows (reflection: -1 is pixel 1), or the pixel at the edge itself
 * (replication: -1 is pixel 0). As torch.nn.functional.pad with mode reflect and replicate. Error: a negative
 * pad; a reflection of as many pixels as the image has, or more. */
pleat_tensor *pleat_reflection_pad2d_with(pleat_edge_pad_args args);
#define pleat_reflection_pad2d(...) \
    pleat_reflection_pad2d_with(PLEAT_OPTIONS(pleat_edge_pad_args, __VA_ARGS__))
pleat_tensor *pleat_replication_pad2d_with(pleat_edge_pad_args args);
#define pleat_replication_pad2d(...) \
    pleat_replication_pad2d_with(PLEAT_OPTIONS(pleat_edge_pad_args, __VA_ARGS__))

/* x [N,C r r,H,W] -> y [N,C,H r,W r]   y[n,c,h r + i,w r + j] = x[n,(c r + i) r + j,h,w]; and back. Shi et
 * al. 2016. */
pleat_tensor *pleat_pixel_shuffle(pleat_tensor *x, size_t r);
pleat_tensor *pleat_pixel_unshuffle(pleat_tensor *x, size_t r);

/* ---- ops: normalisation ------------------------------------------------------------------------------ */

/* y = (x - mean) / sqrt(var + eps), mean and var over the axes (bits, see PLEAT_AXES); eps > 0. Mean and var
 * are computed and kept in double, also for the gradients: so any finite x works in f32, and in f64 distances
 * from the mean up to 1e154. Error: over no elements.
 *
 * Let x be [A,K,B], with a mean for each k: with the other axes in the middle, if they are adjacent, or else a copy with the axes last. With
 * d = x - x[0,k,0]: mean = (sum of d) / (A B), var = (sum of (d - mean)^2) / (A B), y = (T)((d - mean) (1 / sqrt(var + eps))). A sum is a chain
 * if B is 1, and else the chain of those over rows: ((own + l0) + l1) + .. + l15, of the lanes of pleat_sum. pleat_var is computed so, too. */
pleat_tensor *pleat_normalize(pleat_tensor *x, unsigned axes, double eps);

typedef struct pleat_norm_args {
    int unset_;
    pleat_tensor *x;
    pleat_tensor *weight, *bias; /* y = weight normalized(x) + bias; each may be NULL */
    pleat_tensor *mean, *var;    /* batch_norm only: [C], in place of the batch's statistics; both or none */
    size_t groups;               /* group_norm only: a divisor of C; must be given */
    size_t axes;                 /* layer_norm only: the number of trailing axes; default 1 */
    double eps;                  /* default 1e-5 */
    bool relu;                   /* y = max(0, weight normalized(x) + bias), NaN stays NaN */
    bool relu6;                  /* the same, and at most 6: as pleat_relu6 */
    /* batch_norm by the batch's statistics only: where to put these, [C], the variance with divisor n, without
     * history, in the innermost scope; poison after an error. Each may be NULL. */
    pleat_tensor **batch_mean, **batch_var;
} pleat_norm_args;

/* Each norm is one op, with weight, bias and relu or relu6: an element of the result or of a gradient is
 * computed in double from elements and statistics in double, and is rounded once. relu looks at the rounded
 * number.
 *
 * By given statistics y = (T)(factor x + shift): factor = weight / sqrt(var + eps), of x's type T, shift =
 * bias - factor mean, product and sum in double. In f32 the product is exact. The error beside the
 * rounding to T is 2^-52 (|factor x| + |factor mean|): that of a change of x by an ulp in f64, and none in f32.
 *
 * By x's own statistics y = (T)(d (rate weight) + bias) with d = x - m, in f64 d = (x - m) - r. For these let x be [A,K,P,Q], with a mean for
 * each k and a weight and a bias for each [k mod G,p]: batch_norm has A = N, K = G = C, P = 1; group_norm A = 1, K = N groups, P = C/groups;
 * layer_norm A = 1, P = D.., Q = 1. The elements of a k, [A,B] with B = P Q, go through chunks: the first 16,384 or more, whole rows if A > 1 and
 * Q < 128, else pieces of 64 of a row; then the next. Element (a, i) belongs to lane i mod L, L being Q or else 64; a lane is a chain. fold adds
 * lanes: the chains e[j] of lanes j, j + 8, .., then ((e0 + e4) + (e2 + e6)) + ((e1 + e5) + (e3 + e7)).
 *
 *   m = x[0,k,0,0], r = v = before = 0                                      for each k; then for each chunk, of n elements:
 *       s = fold(x - m), q = fold((x - m)^2), t = ((m - x[0,k,0,0]) + s / n) - r
 *       v += (q - s (s / n)) + t t (before / (before + n) n),  r += t (n / (before + n)),  m = x[0,k,0,0] + r,  before += n
 *   r += x[0,k,0,0] - m, var = v / (A B), rate = 1 / sqrt(var + eps)
 *
 * Gradients take sums of g and g d in the same lanes, without chunks; norm_affine.inc has their formulas. */

/* x [N,C,..], weight and bias [C]: over N and all axes after C. Ioffe and Szegedy 2015. */
pleat_tensor *pleat_batch_norm_with(pleat_norm_args args);
#define pleat_batch_norm(...) pleat_batch_norm_with(PLEAT_OPTIONS(pleat_norm_args, __VA_ARGS__))
/* x [N,C,..], weight and bias [C]: over C/groups channels and all axes after C, for each image. Wu and He
 * 2018. */
pleat_tensor *pleat_group_norm_with(pleat_norm_args args);
#define pleat_group_norm(...) pleat_group_norm_with(PLEAT_OPTIONS(pleat_norm_args, __VA_ARGS__))
/* x [..,D..], weight and bias [D..]: over the trailing axes D... Ba, Kiros, Hinton 2016. */
pleat_tensor *pleat_layer_norm_with(pleat_norm_args args);
#define pleat_layer_norm(...) pleat_layer_norm_with(PLEAT_OPTIONS(pleat_norm_args, __VA_ARGS__))

/* ---- gradients --------------------------------------------------------------------------------------- */

enum {
    /* record the computation of the gradient, so that it can be differentiated again */
    PLEAT_GRADS_RECORD = 1,
    /* make an x on which y does not depend an error; otherwise its gradient is zeros */
    PLEAT_GRADS_STRICT = 2,
    /* give back each recorded call between the xs and y, and what only it refers to, as soon as it has been
     * visited: activations make room for gradients. Tensors on the way that belong to a scope keep their
     * values, but not their history: a later walk that reaches one is an error; pleat_detach of it counts as a
     * constant. After an error a part of the history may be gone. Not with PLEAT_GRADS_RECORD, and not within
     * a gradient rule. As in PyTorch without retain_graph. */
    PLEAT_GRADS_CONSUME = 4,
};

/* gxs[i] = sum over k of gy[k] dy[k]/dxs[i], in xs[i]'s shape: the vector-Jacobian product, or cotangent of
 * xs[i]. gy has y's shape; NULL means ones, and requires a y of one element. The results are contiguous,
 * belong to the innermost open scope, and may share elements with gy or with each other. On an error they are
 * poison. */
pleat_status pleat_grads(pleat_tensor *y, pleat_tensor *gy, size_t n, pleat_tensor *const *xs,
                         pleat_tensor **gxs, unsigned flags);

/* The same gradients, each shown as soon as it is complete and then given back: that of a network's last layer
 * first, while those of the layers before it are still to be computed. So it can be added to a sum, or sent,
 * meanwhile. each is called once for every x; g is contiguous, and valid during the call, or as long as it is
 * held (pleat_hold). False, or an op in it that fails, ends the walk with an error. Flags and other errors as
 * above. */
pleat_status pleat_grads_each(pleat_tensor *y, pleat_tensor *gy, size_t n, pleat_tensor *const *xs,
                              bool (*each)(void *user, size_t i, pleat_tensor *g), void *user,
                              unsigned flags);

/* ---- computations that meet -------------------------------------------------------------------------- */

/* Call run(user, i) for i from 0 to n-1, as computations that take turns: one runs until it meets the others, then the next
 * does. Each has scopes, a random stream (at first a copy of the context's), recording and gradient walks of its own; errors
 * are the context's. So the parts of a batch can be computed as if each were alone, and yet share a value midway, in forward
 * and gradient, as batch norms over all parts do. Each has a stack of 8 MiB, in a thread of its own; only one runs at a time.
 * The context's stream is left as it was. Returns the context's error. */
pleat_status pleat_lockstep(pleat_ctx *ctx, size_t n, void (*run)(void *user, size_t i), void *user);
/* Within run: wait until all have come here; `joint` is then called once, by the last. They go on in their order. False, without
 * the call, if one has ended instead. Outside of a lockstep: call joint. */
bool pleat_meet(pleat_ctx *ctx, void (*joint)(void *user), void *user);
/* Which one runs; outside of a lockstep 0. */
size_t pleat_lockstep_index(const pleat_ctx *ctx);

/* Jacobian times vectors: sum over i of dy/dxs[i] vs[i], in y's shape; vs[i] has the shape and type of xs[i].
 * Computed as the gradient with respect to u of <dy/dx^T u, v>, so it is exact, of any op with a rule, and
 * costs two walks (Townsend: A new trick for calculating Jacobian vector products. 2017). The vs count as
 * constants. Flags, ownership and errors are those of pleat_grads; PLEAT_GRADS_RECORD records the dependence
 * on xs and vs. torch.autograd.functional.jvp. */
pleat_tensor *pleat_jvp(pleat_tensor *y, size_t n, pleat_tensor *const *xs, pleat_tensor *const *vs,
                        unsigned flags);

/* Hessian times vectors: hvs[i] = sum over j of d^2 y / dxs[i] dxs[j] vs[j], in xs[i]'s shape, for a y of one
 * element: the gradient of <dy/dx, v>, with constant v (Pearlmutter: Fast exact multiplication by the
 * Hessian. Neural Computation 6, 1994). Everything else as for pleat_jvp. torch.autograd.functional.hvp. */
pleat_status pleat_hvp(pleat_tensor *y, size_t n, pleat_tensor *const *xs, pleat_tensor *const *vs,
                       pleat_tensor **hvs, unsigned flags);

/* ---- checks ------------------------------------------------------------------------------------------ */
/* Functions on plain arrays, without tensors: pleat_check.h. */

/* The result of a check. `text` is one line for people: of a check that passed "gradcheck: passed, ...", the
 * largest error, the bound, and where it was. The other members name the worst element. */
typedef struct pleat_report {
    bool ok;
    int order;                     /* gradcheck: the order of derivative with the worst error */
    size_t input;                  /* the input, counted from 0, */
    size_t index[PLEAT_MAX_RANK];  /* and its element */
    double expected, found, error; /* numeric and analytic value; |difference| over the scale */
    char text[640];
} pleat_report;

/* A function of n tensors, for instance a whole network. It is called many times, on f64 tensors in a
 * separate scope, and must return the same result each time. */
typedef pleat_tensor *(*pleat_function)(size_t n, pleat_tensor *const *xs, void *user);

typedef struct pleat_gradcheck_args {
    int unset_;
    pleat_function f;
    size_t n;                /* number of inputs */
    pleat_tensor *const *xs; /* where to check; f64, away from kinks (relu at 0) */
    void *user;              /* passed to f */
    int order;               /* orders 1..order are checked; default 1 */
    double step;             /* h of the central difference, relative to max(1, |x|); default 6e-6 */
    double tolerance;        /* largest error that passes; default 1e-7 */
    uint64_t seed;           /* of the random cotangents */
    pleat_report *report;    /* may be NULL */
} pleat_gradcheck_args;

/* Compare pleat_grads with central differences. For order 1, S1(xs) = <u, f(xs)> with a random u, and every
 * element of dS1/dxs is compared with (S1(x + h) - S1(x - h)) / 2h. Order k+1 does the same to S(k+1) = sum
 * <u_i, dSk/dx_i>. The error is |expected - found| / max(largest |expected|, largest |found|, in that input):
 * it detects sign errors. The divisor is at least 1e-3 of the sum of the absolute terms of S; below that, a
 * difference quotient consists of rounding errors. PLEAT_ERR_CHECK if a derivative is wrong, or if f returns
 * two different results for one input. The error is in the report, not in the context. */
pleat_status pleat_gradcheck_with(pleat_gradcheck_args args);
#define pleat_gradcheck(...) pleat_gradcheck_with(PLEAT_OPTIONS(pleat_gradcheck_args, __VA_ARGS__))

/* A function of one tensor that is linear. */
typedef pleat_tensor *(*pleat_linear)(pleat_tensor *x, void *user);

typedef struct pleat_adjointcheck_args {
    int unset_;
    pleat_linear f, adjoint;
    pleat_tensor *x, *y; /* shape and type of f's argument and of its result; the values are not read */
    void *user;          /* passed to both */
    int tries;           /* random pairs; default 3 */
    bool integers;       /* draw small integers and require equality, bit for bit */
    double tolerance;    /* default 1e-12 in f64, 1e-4 in f32; times |A x| |y| */
    uint64_t seed;
    pleat_report *report; /* may be NULL */
} pleat_adjointcheck_args;

/* Is <A x, y> = <x, A^T y> for random x and y? Also whether both functions are linear:
 * A(x + 2 z) = A x + 2 A z. It needs no derivative, so it can check code outside of pleat. */
pleat_status pleat_adjointcheck_with(pleat_adjointcheck_args args);
#define pleat_adjointcheck(...) pleat_adjointcheck_with(PLEAT_OPTIONS(pleat_adjointcheck_args, __VA_ARGS__))

#ifdef __cplusplus
}
#endif

/* ---- prepared functions ------------------------------------------------------------------------------ */
/* y = f(x) for x of one shape, many times: a network's answer to one image.
 *
 *     static pleat_tensor *answer(pleat_tensor *x, void *net) { return pleat_nn_forward(net, x); }
 *     pleat_prepared *p = pleat_prepare(ctx, answer, net, PLEAT_F32, PLEAT_SHAPE(1, 3, 32, 32));
 *     ...
 *     if (pleat_run_f32(p, image, y)) puts(pleat_error(pleat_ctx_of(pleat_prepared_result(p)))->text);
 *     pleat_prepared_free(p);
 *
 * pleat_prepare calls f once, with recording off, and takes down the ops that it applies. A run applies
 * them again, in the same order, to another x: y has the bits that f would return. Plans, packed weights
 * and the memory of all tensors are made before, so a run allocates nothing, and what does not depend on x
 * is computed once. (pleat_nn_prepare is the same for a module.)
 *
 * What f reads beside x, such as parameters, is shared and not copied, and kept alive. A change of it in
 * place (pleat_assign, a step of an optimizer) takes effect in the next run, which packs the weights anew.
 * Elements whose pointer pleat_f32 or pleat_f64 has given out may change unseen, so they are packed, and
 * all that is made of them is computed, in each run.
 *
 * f must do the same for every x of the shape: apply ops. Errors, which say what f did: it looks at
 * elements that depend on x (pleat_item, pleat_const_f32, pleat_argmax), writes in place to a tensor that
 * it has not just made, draws random numbers, turns recording on, or fails. An op of your own may do all in
 * its forward function, which a run calls; user memory behind its attrs must then live as long.
 *
 * Threads. A prepared function has a context of its own, of `threads` threads, and only reads what it
 * shares. So several threads may run at the same time, each a prepared function of its own, also of the
 * same f; meanwhile nobody may write to what they share. Making and freeing one uses ctx, as every function
 * does that is given it: no other thread may use ctx then, unless for runs. It is freed before ctx. If ctx
 * has an allocator of the user's own, the prepared function uses it, too. */
typedef struct pleat_prepared pleat_prepared;

typedef struct pleat_prepare_args {
    int unset_;
    pleat_ctx *ctx;
    pleat_tensor *(*f)(pleat_tensor *x, void *user);
    void *user;          /* passed to f, which only pleat_prepare calls */
    pleat_dtype dtype;   /* of x */
    size_t rank;         /* of x, */
    const size_t *shape; /* and its sizes: PLEAT_SHAPE(1, 3, 32, 32) gives both */
    int threads;         /* that an op may use; default 1 */
} pleat_prepare_args;

/* NULL after an error, which ctx has. */
pleat_prepared *pleat_prepare_with(pleat_prepare_args args);
#define pleat_prepare(...) pleat_prepare_with(PLEAT_OPTIONS(pleat_prepare_args, __VA_ARGS__))

/* Read x, row-major, and write y, row-major, or nothing if y is NULL. Error: x has the other type, or y, or
 * x is NULL; or there is no memory. The error is that of the result's context until the next run. */
pleat_status pleat_run_f32(pleat_prepared *p, const float *x, float *y);
pleat_status pleat_run_f64(pleat_prepared *p, const double *x, double *y);

/* y, a tensor of the prepared function's own context: its shape, and its elements until the next run. */
const pleat_tensor *pleat_prepared_result(const pleat_prepared *p);

void pleat_prepared_free(pleat_prepared *p); /* NULL is allowed */

#include "pleat_op.h"
#endif

/* pleat_op.h: ops of your own, and recorded calls as data. Part of pleat.h.
 *
 *     static bool twice_shape(pleat_call *c) {
 *         c->rank = pleat_rank(c->in[0]);
 *         for (size_t k = 0; k < c->rank; k++) c->shape[k] = pleat_size(c->in[0], k);
 *         return true;
 *     }
 *     static bool twice_forward(const pleat_call *c) { ... write c->out ... }
 *     static pleat_tensor *twice_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
 *         return pleat_scale(g, 2);
 *     }
 *     static const pleat_op twice = {
 *         .name = "twice", .shape = twice_shape, .forward = twice_forward, .vjp = twice_vjp};
 *     ...
 *     pleat_tensor *y = pleat_apply(&twice, 1, &x, NULL, 0);
 *
 * Every op of the library is applied by pleat_apply; so can yours be.
 */
#ifndef PLEAT_OP_H
#define PLEAT_OP_H

#include "pleat.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pleat_call pleat_call;
typedef struct pleat_onnx pleat_onnx; /* a graph of ONNX that is being written */

/* An option of a call as data. An optional tensor, such as a bias, is no attribute but an input. */
typedef enum pleat_attr_kind { PLEAT_ATTR_WHOLE, PLEAT_ATTR_REAL } pleat_attr_kind;

typedef struct pleat_attr {
    const char *name; /* "stride"; lives as long as the op */
    pleat_attr_kind kind;
    bool usual;   /* the value is the default */
    size_t count; /* of values */
    union {
        int64_t whole[PLEAT_MAX_RANK]; /* a bool is 0 or 1; axes are their numbers */
        double real[PLEAT_MAX_RANK];
    };
    /* if not NULL, the whole numbers are here, any count of them; lives as long as the call */
    const size_t *list;
} pleat_attr;

#define PLEAT_MAX_ATTRS 16

struct pl_traits;

typedef struct pleat_op {
    const char *name;
    /* Set c->rank and c->shape from the inputs, for a view also c->stride and c->offset, or report with
     * pleat_call_fail. Before it runs, pleat_apply has checked that the inputs have one context and one type
     * and are not poison. */
    bool (*shape)(pleat_call *c);
    /* Write the result c->out, which is contiguous and uninitialised. NULL: the result is a view of the first
     * input. */
    bool (*forward)(const pleat_call *c);
    /* The cotangent of input i, written in ops: g has the result's shape, the return value in[i]'s. NULL as a
     * return value means zero. NULL in place of the rule: a gradient of the op is an error that names it. */
    pleat_tensor *(*vjp)(const pleat_call *c, size_t i, pleat_tensor *g);
    /* Write the attributes that c->attrs stand for, defaults included, to out[PLEAT_MAX_ATTRS], and return
     * their number. NULL: the op has none, or does not tell. */
    size_t (*attributes)(const pleat_call *c, pleat_attr *out);
    /* What the library knows of its own ops; NULL in others. */
    const struct pl_traits *traits;
    /* Write the call as nodes of an ONNX graph, for pleat_nn_onnx_save, by the functions of pleat_nn_models.h; false
     * after an error. NULL: it has no form in ONNX. The library's own ops are known by name. */
    bool (*onnx)(const pleat_call *c, pleat_onnx *to);
} pleat_op;

/* Is op the library's own? Then programs that write calls in another form may know it by its name; an op of
 * yours may have the name of one of them. */
bool pleat_op_is_known(const pleat_op *op);

struct pleat_call {
    const pleat_op *op;
    pleat_ctx *ctx;
    size_t n;
    pleat_tensor **in;
    pleat_tensor *out; /* the result; NULL while the shape rule runs */
    const void *attrs; /* a copy of the attrs given to pleat_apply; NULL if it was given none */
    pleat_dtype dtype; /* of the result: that of the inputs, unless the shape rule sets another */
    size_t rank;       /* of the result */
    size_t shape[PLEAT_MAX_RANK];
    ptrdiff_t stride[PLEAT_MAX_RANK]; /* of a view, in elements */
    ptrdiff_t offset;                 /* of a view, in elements from the first element of the first input */
};

/* Apply op to n tensors (one at least). attrs_bytes bytes of attrs are copied. op must outlive the result. */
pleat_tensor *pleat_apply(const pleat_op *op, size_t n, pleat_tensor *const *in, const void *attrs,
                          size_t attrs_bytes);

/* Run body(arg, task) for each task from 0 to tasks-1, in any order, on the threads of the context; return when
 * all are done. For the loops of a forward function. `work` is about the number of additions in all of them: if
 * it is too small for a second thread to be worth while, the caller's thread runs all. A body must neither call
 * functions of the library nor write what another task reads or writes. How the work is cut into tasks must not
 * depend on the number of threads; then the result does not, either. */
void pleat_parallel(pleat_ctx *ctx, double work, size_t tasks, void (*body)(void *arg, size_t task),
                    void *arg);

/* The elements of a contiguous tensor of either type, to write at once: before the next call of the library
 * that reads them. It is for functions that change a parameter, as optimizers do; `by`, which lives as long
 * as t, names the writer in an error about a gradient that needs what was there before. A pointer of
 * pleat_f32 may be kept and written by at any time, so what the library makes of such elements, as packed
 * weights, it makes anew in each call; of elements that are written by this function, once after each
 * write. NULL, with an error, as pleat_f32. */
void *pleat_write_now(pleat_tensor *t, const char *by);

/* x^y, cos(x) and ln(x), with the same bits on every processor and from every compiler, which the C library's own do not have;
 * within 2 ulp. x and y, and what is not finite, as C11 F.10 has it. */
double pleat_pow_f64(double x, double y);
double pleat_cos_f64(double x);
double pleat_log_f64(double x);

/* Complete an option that is a pair, by the rule of the conventions, for an op or a layer of your own. A pair
 * of zeros becomes `usual` (NULL: it stays), and PLEAT_NONE becomes 0. False after an error of `op` about
 * half a pair or, unless `zero` says that zeros are legal, a zero. For a pair of ptrdiff_t cast the
 * pointer. */
bool pleat_pair(pleat_ctx *ctx, const char *op, const char *option, size_t pair[2], const size_t *usual,
                bool zero);
bool pleat_pair_f64(pleat_ctx *ctx, const char *op, const char *option, double pair[2], const double *usual,
                    bool zero);

/* The call that computed t, while recording was on; otherwise NULL, as for a leaf. It lives as long as t. Its
 * inputs' own calls lead through the whole computation. */
const pleat_call *pleat_call_of(const pleat_tensor *t);
/* Write the attributes of c to out[PLEAT_MAX_ATTRS], and return their number. */
size_t pleat_call_attributes(const pleat_call *c, pleat_attr *out);
/* The attribute `name` of c; false if it has none. */
bool pleat_call_attribute(const pleat_call *c, const char *name, pleat_attr *out);
/* Write the call as a phrase, "conv2d([2,3,5,4], [4,3,3,2]; stride 2x2)", to buffer, truncated to `bytes`:
 * the op, its inputs' shapes and the attributes that are not the default. Returns buffer. */
char *pleat_call_text(const pleat_call *c, char *buffer, size_t bytes);

/* The calls of a prepared function (pleat_prepare) in their order, for programs that write it in another form.
 * Views are calls, too. A tensor of a call is x, the result of a call before it, or a constant, whose elements
 * can be read: a parameter, or what calls compute from parameters alone. All live as long as p.
 * pleat_prepared_call returns NULL behind the last call. */
const pleat_call *pleat_prepared_call(const pleat_prepared *p, size_t i);
const pleat_tensor *pleat_prepared_x(const pleat_prepared *p);
bool pleat_prepared_is_constant(const pleat_prepared *p, const pleat_tensor *t);
/* The tensor of the function's own context that t stands for, such as a parameter; NULL if a run computes t. */
pleat_tensor *pleat_prepared_original(const pleat_prepared *p, const pleat_tensor *t);

/* Say who applies the calls that follow, as a module does around its forward pass (NULL: nobody), for programs that
 * tell where a call stands. Returns who did before. Of a prepared call, only to be compared. */
const void *pleat_set_caller(pleat_ctx *ctx, const void *caller);
const void *pleat_prepared_caller(const pleat_prepared *p, const pleat_call *c);

/* Report a broken rule; the op's name and all input shapes are put before it. Returns false. */
bool pleat_call_fail(const pleat_call *c, pleat_status code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#ifdef __cplusplus
}
#endif
#endif

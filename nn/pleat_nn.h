/* pleat_nn.h: networks for small image models: layers, losses, optimizers, data, pictures.
 *
 *     pleat_nn_module *net = pleat_nn_sequential(ctx,
 *         pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
 *         pleat_nn_relu(ctx),
 *         pleat_nn_flatten(ctx),
 *         pleat_nn_linear(ctx, 16 * 14 * 14, 10));
 *     pleat_nn_optimizer *adam = pleat_nn_adam(net, .lr = 1e-3);
 *     for (...) {
 *         pleat_scope step = pleat_begin(ctx);
 *         pleat_tensor *loss = pleat_nn_mse_loss(pleat_nn_forward(net, x), target);
 *         if (pleat_nn_step(adam, loss)) break;      // pleat_error(ctx)->text says why
 *         pleat_end(step);
 *     }
 *     pleat_nn_optimizer_free(adam);
 *     pleat_nn_free(net);
 *
 * Definitions, defaults and names are PyTorch's (torch.nn, torch.optim) where nothing else is said. The letters for axes
 * are those of pleat.h: N batch, C channels in, O channels out, H W image, P Q map, R S kernel, G groups.
 *
 * Ownership. A module owns its parameters and, for a container, its children; pleat_nn_free frees the tree. A
 * constructor that fails returns NULL and leaves the first error in the context; a container that is given NULL as a
 * child frees the others and returns NULL, so a whole network can be written as one expression and checked once. Free
 * modules and optimizers before their context.
 */
#ifndef PLEAT_NN_H
#define PLEAT_NN_H

#include <stdio.h>

#include "pleat.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- modules ----------------------------------------------------------------------------------------- */

typedef struct pleat_nn_module pleat_nn_module;

/* y = module(x). A NULL module is an error, and the result poison. */
pleat_tensor *pleat_nn_forward(pleat_nn_module *m, pleat_tensor *x);

void pleat_nn_free(pleat_nn_module *m); /* NULL is allowed */

/* Parameters, in the order in which they were registered, children included. Their names are those of PyTorch's
 * state dict: "0.weight", "3.bias". The tensors stay the module's; write to them in place (pleat_assign). */
size_t pleat_nn_param_count(const pleat_nn_module *m); /* number of tensors */
size_t pleat_nn_param_numel(const pleat_nn_module *m); /* number of scalars in them */
pleat_tensor *pleat_nn_param(const pleat_nn_module *m, size_t i);
/* The name of parameter i into buffer, cut to fit. Returns buffer. */
char *pleat_nn_param_name(const pleat_nn_module *m, size_t i, char *buffer, size_t bytes);
/* The parameter of that name, or NULL. */
pleat_tensor *pleat_nn_find_param(const pleat_nn_module *m, const char *name);

/* ---- your own modules -------------------------------------------------------------------------------- */

typedef struct pleat_nn_kind {
    const char *name;                                              /* "Conv2d" */
    pleat_tensor *(*forward)(pleat_nn_module *m, pleat_tensor *x); /* writes ops */
    void (*describe)(const pleat_nn_module *m, char *buffer,
                     size_t bytes); /* "16, 32, kernel 3x3"; or NULL */
} pleat_nn_kind;

/* A module with a copy of `attrs_bytes` bytes of attrs; kind must outlive it. */
pleat_nn_module *pleat_nn_module_new(pleat_ctx *ctx, const pleat_nn_kind *kind, const void *attrs,
                                     size_t attrs_bytes);
/* Register a parameter (the module takes it out of all scopes) or a child (the module takes it over). On an error m is
 * freed and the result is NULL; m may be NULL, which frees the child. name is copied: 1 to 31 characters without a dot,
 * unique in the module. A parameter must be contiguous, and a child may have one parent only. */
pleat_nn_module *pleat_nn_add_param(pleat_nn_module *m, const char *name, pleat_tensor *t);
pleat_nn_module *pleat_nn_add_child(pleat_nn_module *m, const char *name, pleat_nn_module *child);
const void *pleat_nn_attrs(const pleat_nn_module *m);
pleat_ctx *pleat_nn_ctx(const pleat_nn_module *m);
const pleat_nn_kind *pleat_nn_kind_of(const pleat_nn_module *m);
size_t pleat_nn_child_count(const pleat_nn_module *m);
pleat_nn_module *pleat_nn_child(const pleat_nn_module *m, size_t i);
/* The module's own i-th parameter (no children), NULL where there is none. */
pleat_tensor *pleat_nn_own_param(const pleat_nn_module *m, size_t i);

/* ---- layers ------------------------------------------------------------------------------------------ */

typedef struct pleat_nn_linear_args {
    int unset_;
    pleat_ctx *ctx;
    size_t in, out;
    bool no_bias;
    pleat_dtype dtype; /* default PLEAT_F32 */
} pleat_nn_linear_args;

/* x [..,in] -> y [..,out]      y = x weight^T + bias;  weight [out,in], bias [out] */
pleat_nn_module *pleat_nn_linear_with(pleat_nn_linear_args args);
#define pleat_nn_linear(...) pleat_nn_linear_with((pleat_nn_linear_args){.unset_ = 0, __VA_ARGS__})

typedef struct pleat_nn_conv_args {
    int unset_;
    pleat_ctx *ctx;
    size_t in, out;           /* channels of the layer's input and output */
    size_t kernel[2];         /* R, S; must be given */
    size_t stride[2];         /* default {1, 1} */
    size_t dilation[2];       /* default {1, 1} */
    ptrdiff_t pad[2];         /* default {0, 0} */
    size_t output_padding[2]; /* conv_transpose2d only; less than stride or dilation; default {0, 0} */
    size_t groups;            /* default 1 */
    bool no_bias;
    pleat_dtype dtype; /* default PLEAT_F32 */
} pleat_nn_conv_args;

/* x [N,in,H,W] -> y [N,out,P,Q];  weight [out,in/G,R,S], bias [out]. torch.nn.Conv2d. */
pleat_nn_module *pleat_nn_conv2d_with(pleat_nn_conv_args args);
#define pleat_nn_conv2d(...) pleat_nn_conv2d_with((pleat_nn_conv_args){.unset_ = 0, __VA_ARGS__})

/* x [N,in,P,Q] -> y [N,out,H,W];  weight [in,out/G,R,S], bias [out]. torch.nn.ConvTranspose2d.
 * H = (P-1)*sh - 2*ph + (R-1)*dh + 1 + output_padding[0], and W alike. */
pleat_nn_module *pleat_nn_conv_transpose2d_with(pleat_nn_conv_args args);
#define pleat_nn_conv_transpose2d(...) \
    pleat_nn_conv_transpose2d_with((pleat_nn_conv_args){.unset_ = 0, __VA_ARGS__})

pleat_nn_module *pleat_nn_relu(pleat_ctx *ctx);
pleat_nn_module *pleat_nn_sigmoid(pleat_ctx *ctx);
pleat_nn_module *pleat_nn_tanh(pleat_ctx *ctx);

/* x [N,..] -> y [N,product of the rest] */
pleat_nn_module *pleat_nn_flatten(pleat_ctx *ctx);
/* x [N,F] -> y [N,shape], where the sizes of shape multiply to F: pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7, 7)) */
pleat_nn_module *pleat_nn_unflatten(pleat_ctx *ctx, size_t rank, const size_t *shape);

/* y = last(... second(first(x))); the children are named "0", "1", ... */
pleat_nn_module *pleat_nn_sequential_of(pleat_ctx *ctx, size_t n, pleat_nn_module *const *children);
#define pleat_nn_sequential(ctx, ...)                                                                     \
    pleat_nn_sequential_of((ctx), sizeof((pleat_nn_module *[]){__VA_ARGS__}) / sizeof(pleat_nn_module *), \
                           (pleat_nn_module *[]){__VA_ARGS__})

/* ---- initialisers ------------------------------------------------------------------------------------ */
/* In place, from the context's random stream. fan_in is size(1) * receptive field, fan_out is size(0) * receptive
 * field, as in torch.nn.init (for weights of rank 2 and more). Layers start with PyTorch's default: weight and
 * bias uniform in +-1/sqrt(fan_in), which is kaiming_uniform with a = sqrt(5). */

/* uniform in +-bound, bound = sqrt(6 / ((1 + a^2) fan_in)). He et al. 2015; a is the slope of the leaky relu behind
 * the layer, 0 for relu. */
pleat_status pleat_nn_init_kaiming_uniform(pleat_tensor *w, double a);
/* normal with variance 2 / ((1 + a^2) fan_in) */
pleat_status pleat_nn_init_kaiming_normal(pleat_tensor *w, double a);
/* uniform in +-bound, bound = gain sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010. */
pleat_status pleat_nn_init_xavier_uniform(pleat_tensor *w, double gain);
/* normal with variance gain^2 2 / (fan_in + fan_out) */
pleat_status pleat_nn_init_xavier_normal(pleat_tensor *w, double gain);
/* uniform in [low, high) */
pleat_status pleat_nn_init_uniform(pleat_tensor *w, double low, double high);

/* ---- losses ------------------------------------------------------------------------------------------ */
/* Means over all elements, as in PyTorch: x [..], target [the same] -> loss [], a scalar. */

/* mean (x - target)^2 */
pleat_tensor *pleat_nn_mse_loss(pleat_tensor *x, pleat_tensor *target);
/* mean -(target ln x + (1 - target) ln(1 - x)), 0 <= x <= 1; each logarithm is at least -100, as in torch.nn.BCELoss.
 * Its gradient (x - target) / max(x (1 - x), 1e-12) is finite at 0 and 1, too. */
pleat_tensor *pleat_nn_bce_loss(pleat_tensor *x, pleat_tensor *target);

/* ---- optimizers -------------------------------------------------------------------------------------- */

typedef struct pleat_nn_optimizer pleat_nn_optimizer;

typedef struct pleat_nn_sgd_args {
    int unset_;
    pleat_nn_module *net;
    double lr;       /* > 0, must be given */
    double momentum; /* 0 <= momentum < 1, default 0 */
} pleat_nn_sgd_args;

/* b = momentum b + g (b = g at the first step);  p = p - lr b */
pleat_nn_optimizer *pleat_nn_sgd_with(pleat_nn_sgd_args args);
#define pleat_nn_sgd(...) pleat_nn_sgd_with((pleat_nn_sgd_args){.unset_ = 0, __VA_ARGS__})

typedef struct pleat_nn_adam_args {
    int unset_;
    pleat_nn_module *net;
    double lr;       /* default 1e-3 */
    double betas[2]; /* 0 <= beta < 1, default {0.9, 0.999} */
    double eps;      /* default 1e-8 */
} pleat_nn_adam_args;

/* Kingma and Ba 2015, with bias correction as torch.optim.Adam computes it:
 * m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p = p - lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps) */
pleat_nn_optimizer *pleat_nn_adam_with(pleat_nn_adam_args args);
#define pleat_nn_adam(...) pleat_nn_adam_with((pleat_nn_adam_args){.unset_ = 0, __VA_ARGS__})

/* Gradients of loss (a scalar) for all parameters, then one update. On an error no parameter has changed. A
 * parameter on which the loss does not depend is an error that names it. */
pleat_status pleat_nn_step(pleat_nn_optimizer *opt, pleat_tensor *loss);
/* One update from gradients of your own, grads[i] for parameter i, in its shape. */
pleat_status pleat_nn_update(pleat_nn_optimizer *opt, pleat_tensor *const *grads);
double pleat_nn_lr(const pleat_nn_optimizer *opt);
void pleat_nn_set_lr(pleat_nn_optimizer *opt, double lr);
void pleat_nn_optimizer_free(pleat_nn_optimizer *opt); /* NULL is allowed */

/* ---- data -------------------------------------------------------------------------------------------- */

/* Images as bytes, [count,C,H,W], and a label for each where there are any. */
typedef struct pleat_nn_images {
    size_t count, C, H, W;
    uint8_t *pixels; /* count*C*H*W bytes */
    uint8_t *labels; /* count bytes, or NULL */
} pleat_nn_images;

/* Read images (IDX3, [count,H,W] unsigned bytes) and, if labels_path is not NULL, labels (IDX1) of the same count. A
 * gzip file is known by its content, not its name, and unpacked by zlib. The format: yann.lecun.com/exdb/mnist. Both files must be exactly as long as
 * their headers say. On an error `out` is empty. The caller frees it with pleat_nn_images_free. */
pleat_status pleat_nn_read_idx(pleat_ctx *ctx, const char *images_path, const char *labels_path,
                               pleat_nn_images *out);
/* Images of filled discs, rings, boxes, triangles and crosses [count,1,H,W] at random places, sizes and greys, with the
 * kind (0..4) as label: data for a machine that has none. H and W are at least 8. */
pleat_status pleat_nn_shapes(pleat_ctx *ctx, size_t count, size_t H, size_t W, uint64_t seed,
                             pleat_nn_images *out);
void pleat_nn_images_free(pleat_nn_images *images);

/* A pass over `count` items in shuffled order, a batch at a time. */
typedef struct pleat_nn_batches {
    size_t count, batch, next; /* `next` items have been handed out */
    bool keep_last;            /* also hand out the last, shorter batch */
    size_t *order;             /* a permutation of 0..count-1 */
} pleat_nn_batches;

pleat_status pleat_nn_batches_new(pleat_ctx *ctx, size_t count, size_t batch, pleat_nn_batches *out);
void pleat_nn_batches_free(pleat_nn_batches *b);
/* Start a new pass: a new order from r (Fisher and Yates), or 0,1,2,... if r is NULL. */
void pleat_nn_shuffle(pleat_nn_batches *b, pleat_rng *r);
/* The next batch's indices (n of them), or NULL at the end of the pass. */
const size_t *pleat_nn_next(pleat_nn_batches *b, size_t *n);
/* Images as a tensor [n,C,H,W] with values 0..1 (byte / 255). index may be NULL: images first..first+n-1. */
pleat_tensor *pleat_nn_image_batch(pleat_ctx *ctx, pleat_dtype dtype, const pleat_nn_images *images,
                                   const size_t *index, size_t first, size_t n);

/* ---- files ------------------------------------------------------------------------------------------- */
/* A file is written beside its place under a temporary name and renamed when it is whole: `path` holds the
 * old or the new content, never half of it. */

/* x [n,C,H,W] with C 1 (grey) or 3 (RGB), values 0..1 (clipped), as a PNG of `columns` images in a row, each enlarged
 * `zoom` times, one zoomed pixel apart. */
pleat_status pleat_nn_write_png_grid(const char *path, pleat_tensor *x, size_t columns, size_t zoom);

/* Parameters with their names as a safetensors file (github.com/huggingface/safetensors), which PyTorch reads. */
pleat_status pleat_nn_save(const char *path, const pleat_nn_module *net);
/* Into an existing network: every parameter must be there with its name, type and shape, and no other. On an error
 * no parameter has changed. */
pleat_status pleat_nn_load(const char *path, pleat_nn_module *net);

/* NumPy's array files (numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1 to 3. Reads float32 and
 * float64 of either byte order, in C or Fortran order, with header keys in any order; other types, pickled objects, more than
 * PLEAT_MAX_RANK axes and files that are shorter or longer than their header says are errors. The path "-" is standard input
 * or standard output. Writes version 1.0, little endian, C order; t may be any view. */
pleat_tensor *pleat_nn_read_npy(pleat_ctx *ctx, const char *path);
pleat_status pleat_nn_write_npy(const char *path, pleat_tensor *t);

/* A file that becomes visible only when it is whole. Create, write to f, then commit or abort. */
typedef struct pleat_nn_file {
    FILE *f;
    char *path, *temporary;
} pleat_nn_file;

pleat_status pleat_nn_file_create(pleat_ctx *ctx, const char *path, pleat_nn_file *out);
/* Flush, close, rename. On an error (also one of an earlier write) the temporary file is removed. */
pleat_status pleat_nn_file_commit(pleat_ctx *ctx, pleat_nn_file *file);
void pleat_nn_file_abort(pleat_nn_file *file);

/* ---- progress ---------------------------------------------------------------------------------------- */

/* One line that is rewritten in place on a terminal, and plain lines, about ten for a pass, elsewhere:
 *     epoch 2/5  [==========          ]  468/937  loss 0.01312  9120 img/s  ETA 3s */
typedef struct pleat_nn_progress {
    FILE *out;
    bool terminal;
    double started, drawn; /* seconds, monotonic */
    size_t total, lines;
    char title[48];
} pleat_nn_progress;

/* total: steps of the pass. The kind of output is found by asking whether `out` is a terminal. */
pleat_nn_progress pleat_nn_progress_start(FILE *out, const char *title, size_t total);
/* done steps are finished, items of them a step; loss is shown. Draws at most ten times a second. */
void pleat_nn_progress_show(pleat_nn_progress *p, size_t done, size_t items, double loss);
/* Clear the line on a terminal. Returns the seconds since the start. */
double pleat_nn_progress_end(pleat_nn_progress *p);

#ifdef __cplusplus
}
#endif
#endif

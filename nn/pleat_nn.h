/* pleat_nn.h: networks for small image models: layers, losses, optimizers. It includes pleat_nn_data.h
 * (images, loaders, files), pleat_nn_train.h (training runs, checkpoints, reports), by it pleat_nn_world.h (several
 * processes), and pleat_nn_models.h (ONNX, C files).
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
 * Definitions, defaults and names are PyTorch's (torch.nn, torch.optim) unless stated otherwise. The letters
 * for axes are those of pleat.h: N batch, C channels in, O channels out, H W image, P Q map, R S kernel, G
 * groups.
 *
 * Ownership. A module owns its parameters and, for a container, its children; pleat_nn_free frees the tree. A
 * constructor that fails returns NULL, and the context keeps the first error. A container that receives NULL
 * as a child frees the other children and returns NULL. So a whole network can be written as one expression,
 * followed by one check. Free modules and optimizers before their context.
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

/* y = module(x). A NULL module is an error, and the result poison. An error within a tree of modules begins
 * with the path and the kind of the innermost module that met it: "decoder.2: Conv2d: ...". The path is that
 * of PyTorch's state dict; the root of the tree has none. */
pleat_tensor *pleat_nn_forward(pleat_nn_module *m, pleat_tensor *x);

void pleat_nn_free(pleat_nn_module *m); /* NULL is allowed */

/* Parameters in the order of registration, including those of the children. Their names are those of
 * PyTorch's state dict: "0.weight", "3.bias". The module owns the tensors; write to them in place
 * (pleat_assign). */
size_t pleat_nn_param_count(const pleat_nn_module *m); /* number of tensors */
size_t pleat_nn_param_numel(const pleat_nn_module *m); /* number of scalars in them */
pleat_tensor *pleat_nn_param(const pleat_nn_module *m, size_t i);
/* Write the name of parameter i to buffer, truncated to `bytes`. Returns buffer. */
char *pleat_nn_param_name(const pleat_nn_module *m, size_t i, char *buffer, size_t bytes);
/* The parameter of that name, or NULL. */
pleat_tensor *pleat_nn_find_param(const pleat_nn_module *m, const char *name);

/* The state dict: parameters and buffers, in the order of registration, with the names of PyTorch's state
 * dict. A buffer is a tensor that no optimizer changes, such as batch_norm's "running_mean". Files store the
 * state dict. */
size_t pleat_nn_state_count(const pleat_nn_module *m);
pleat_tensor *pleat_nn_state(const pleat_nn_module *m, size_t i);
char *pleat_nn_state_name(const pleat_nn_module *m, size_t i, char *buffer, size_t bytes);
pleat_tensor *pleat_nn_find_state(const pleat_nn_module *m, const char *name);

/* Set m and its children to training or evaluation mode, in which dropout and batch_norm differ. A new module
 * is in training mode. */
void pleat_nn_set_training(pleat_nn_module *m, bool training);
bool pleat_nn_is_training(const pleat_nn_module *m);

/* Freeze or unfreeze the parameters of m and its children. From the next step on, optimizers do not change
 * frozen parameters (requires_grad = False). A frozen batch_norm still updates its running statistics;
 * evaluation mode stops that. */
void pleat_nn_freeze(pleat_nn_module *m, bool frozen);
bool pleat_nn_is_frozen(const pleat_nn_module *m);

typedef struct pleat_nn_prepare_args {
    int unset_;
    pleat_nn_module *m;
    size_t rank;         /* of x, */
    const size_t *shape; /* and its sizes: PLEAT_SHAPE(1, 3, 32, 32) gives both */
    int threads;         /* that an op may use; default 1 */
} pleat_nn_prepare_args;

/* A forward pass of m in evaluation, prepared for x of one shape and of the type of m's first parameter:
 * the quickest way to an answer for one image. pleat_run_f32(p, x, y) then gives what pleat_nn_forward
 * would give, bit for bit; see pleat_prepare in pleat.h, which has what a forward pass may do, how changes
 * of parameters take effect, and what several threads may do.
 *
 *     pleat_nn_set_training(net, false);
 *     pleat_prepared *p = pleat_nn_prepare(net, PLEAT_SHAPE(1, 3, 32, 32));
 *     pleat_run_f32(p, image, classes);
 *     pleat_prepared_free(p);
 *
 * m may be freed before p. NULL after an error: m is NULL, one of its modules is in training mode, or the
 * forward pass fails. */
pleat_prepared *pleat_nn_prepare_with(pleat_nn_prepare_args args);
#define pleat_nn_prepare(...) pleat_nn_prepare_with(PLEAT_OPTIONS(pleat_nn_prepare_args, __VA_ARGS__))

/* One row of a summary: a module without children, in the order of the forward pass. */
typedef struct pleat_nn_layer_info {
    char name[128];                     /* "3", "encoder.0" */
    const char *kind;                   /* "Conv2d" */
    char description[128];              /* "16, 32, kernel 3x3" */
    size_t rank, shape[PLEAT_MAX_RANK]; /* of the output */
    size_t params;                      /* scalars in its parameters */
    /* multiply-adds of matrix products and convolutions, for this input */
    double macs;
} pleat_nn_layer_info;

/* Run m on zeros of that shape, in evaluation mode, and fill rows[0..room-1]. *count becomes the number of
 * layers, which may exceed room; rows may be NULL if room is 0. If a layer fails, these are the layers before
 * it. m is unchanged afterwards. */
pleat_status pleat_nn_layers(pleat_nn_module *m, size_t rank, const size_t *shape, pleat_nn_layer_info *rows,
                             size_t room, size_t *count);
/* The same as a table for people: layer, output shape, parameters, multiply-adds; then the totals, or the
 * error of the layer that failed. */
pleat_status pleat_nn_summary(pleat_nn_module *m, size_t rank, const size_t *shape, FILE *out);

/* ---- your own modules -------------------------------------------------------------------------------- */
/* A forward pass takes one tensor. A network of several inputs is a function of your own that applies the
 * children (pleat_nn_child, pleat_nn_forward) and parameters (pleat_nn_own_param) of one module. That owns,
 * names and saves them; optimizers and pleat_nn_fit need no more. Its own forward pass is an error then:
 * pleat_fail, and pleat_poison. */

typedef struct pleat_nn_kind {
    const char *name; /* "Conv2d" */
    /* The forward pass, written in ops. It has a scope of its own: behind it only the result is left, and what
     * gradients need of the rest. Sequential lets go of the tensor between two children when the second has
     * read it. So a tensor of the pass that is to be looked at later is taken out by pleat_hold, and dropped
     * by pleat_drop. */
    pleat_tensor *(*forward)(pleat_nn_module *m, pleat_tensor *x);
    /* write the options, as "16, 32, kernel 3x3", to buffer; NULL: a summary lists the ops of the forward
     * pass, "scale(a 0.5), relu, add", if there are several */
    void (*describe)(const pleat_nn_module *m, char *buffer, size_t bytes);
    /* multiply-adds of one forward pass from x to y, without those of the children; NULL for none */
    double (*macs)(const pleat_nn_module *m, const pleat_tensor *x, const pleat_tensor *y);
} pleat_nn_kind;

/* A module with a copy of `attrs_bytes` bytes of attrs; kind must outlive it. */
pleat_nn_module *pleat_nn_module_new(pleat_ctx *ctx, const pleat_nn_kind *kind, const void *attrs,
                                     size_t attrs_bytes);
/* Register a parameter, which the module takes out of all scopes, or a child, which the module then owns. On
 * an error m is freed and the result is NULL. m may be NULL: then the child is freed. name is copied: 1 to 31
 * characters without a dot, unique in the module. A parameter must be contiguous. A child has one parent
 * only. */
pleat_nn_module *pleat_nn_add_param(pleat_nn_module *m, const char *name, pleat_tensor *t);
pleat_nn_module *pleat_nn_add_child(pleat_nn_module *m, const char *name, pleat_nn_module *child);
/* Register a buffer, in the same way. */
pleat_nn_module *pleat_nn_add_buffer(pleat_nn_module *m, const char *name, pleat_tensor *t);
const void *pleat_nn_attrs(const pleat_nn_module *m);
pleat_ctx *pleat_nn_ctx(const pleat_nn_module *m);
const pleat_nn_kind *pleat_nn_kind_of(const pleat_nn_module *m);
size_t pleat_nn_child_count(const pleat_nn_module *m);
pleat_nn_module *pleat_nn_child(const pleat_nn_module *m, size_t i);
/* Parameter or buffer i of m itself, without its children; NULL if there is none. */
pleat_tensor *pleat_nn_own_param(const pleat_nn_module *m, size_t i);
pleat_tensor *pleat_nn_own_buffer(const pleat_nn_module *m, size_t i);

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
#define pleat_nn_linear(...) pleat_nn_linear_with(PLEAT_OPTIONS(pleat_nn_linear_args, __VA_ARGS__))

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
#define pleat_nn_conv2d(...) pleat_nn_conv2d_with(PLEAT_OPTIONS(pleat_nn_conv_args, __VA_ARGS__))

/* x [N,in,P,Q] -> y [N,out,H,W];  weight [in,out/G,R,S], bias [out]. torch.nn.ConvTranspose2d.
 * H = (P-1)*sh - 2*ph + (R-1)*dh + 1 + output_padding[0], and W alike. */
pleat_nn_module *pleat_nn_conv_transpose2d_with(pleat_nn_conv_args args);
#define pleat_nn_conv_transpose2d(...) \
    pleat_nn_conv_transpose2d_with(PLEAT_OPTIONS(pleat_nn_conv_args, __VA_ARGS__))

typedef struct pleat_nn_conv1d_args {
    int unset_;
    pleat_ctx *ctx;
    size_t in, out;                  /* channels */
    size_t kernel;                   /* K; must be given */
    size_t stride, dilation, groups; /* default 1 */
    ptrdiff_t pad;                   /* of both ends; default 0 */
    size_t output_padding;           /* conv_transpose1d only; less than stride or dilation; default 0 */
    bool no_bias;
    pleat_dtype dtype; /* default PLEAT_F32 */
} pleat_nn_conv1d_args;

/* x [N,in,L] -> y [N,out,P];  weight [out,in/G,K], bias [out]. torch.nn.Conv1d. Computed as conv2d on images
 * of height 1, without a copy. P = floor((L + 2*pad - (K-1)*dilation - 1) / stride) + 1. */
pleat_nn_module *pleat_nn_conv1d_with(pleat_nn_conv1d_args args);
#define pleat_nn_conv1d(...) pleat_nn_conv1d_with(PLEAT_OPTIONS(pleat_nn_conv1d_args, __VA_ARGS__))
/* x [N,in,P] -> y [N,out,L];  weight [in,out/G,K], bias [out]. torch.nn.ConvTranspose1d.
 * L = (P-1)*stride - 2*pad + (K-1)*dilation + 1 + output_padding. */
pleat_nn_module *pleat_nn_conv_transpose1d_with(pleat_nn_conv1d_args args);
#define pleat_nn_conv_transpose1d(...) \
    pleat_nn_conv_transpose1d_with(PLEAT_OPTIONS(pleat_nn_conv1d_args, __VA_ARGS__))

pleat_nn_module *pleat_nn_relu(pleat_ctx *ctx);
pleat_nn_module *pleat_nn_relu6(pleat_ctx *ctx); /* min(max(x, 0), 6); torch.nn.ReLU6 */
pleat_nn_module *pleat_nn_sigmoid(pleat_ctx *ctx);
pleat_nn_module *pleat_nn_tanh(pleat_ctx *ctx);
pleat_nn_module *pleat_nn_elu(pleat_ctx *ctx, double a); /* torch.nn.ELU, whose default a is 1 */
pleat_nn_module *pleat_nn_gelu(pleat_ctx *ctx);          /* torch.nn.GELU */
pleat_nn_module *pleat_nn_silu(pleat_ctx *ctx);          /* torch.nn.SiLU */
pleat_nn_module *pleat_nn_softplus(pleat_ctx *ctx);      /* torch.nn.Softplus */
/* torch.nn.LeakyReLU, whose default slope is 0.01 */
pleat_nn_module *pleat_nn_leaky_relu(pleat_ctx *ctx, double slope);
pleat_nn_module *pleat_nn_softmax(pleat_ctx *ctx, size_t axis);     /* torch.nn.Softmax */
pleat_nn_module *pleat_nn_log_softmax(pleat_ctx *ctx, size_t axis); /* torch.nn.LogSoftmax */
/* y = x > 0 ? x : weight[c] x, for x [N,channels,..]; weight [channels], or [1] for all channels, is 0.25 at
 * first. torch.nn.PReLU; He et al. 2015. */
pleat_nn_module *pleat_nn_prelu(pleat_ctx *ctx, size_t channels, pleat_dtype dtype);

/* In training mode each element becomes 0 with probability p, and the others are scaled by 1/(1-p); in
 * evaluation mode y = x. */
pleat_nn_module *pleat_nn_dropout(pleat_ctx *ctx, double p);

typedef struct pleat_nn_norm_args {
    int unset_;
    pleat_ctx *ctx;
    size_t channels;   /* C; must be given */
    size_t groups;     /* group_norm; must be given */
    double eps;        /* default 1e-5 */
    double momentum;   /* batch_norm1d, batch_norm2d; default 0.1 */
    bool no_affine;    /* all but instance_norm: without weight and bias */
    bool affine;       /* instance_norm: with weight and bias */
    pleat_dtype dtype; /* default PLEAT_F32 */
} pleat_nn_norm_args;

/* x [N,C,H,W] -> y [N,C,H,W]   torch.nn.BatchNorm2d. Parameters weight [C] and bias [C]; buffers running_mean
 * [C], running_var [C] and num_batches_tracked []. In training mode y is computed from the statistics of the
 * batch, and
 *
 *     running = (1 - momentum) running + momentum batch,   with the unbiased variance (times n/(n-1))
 *
 * In evaluation mode y is computed from the running statistics. Error: training on one value per channel. */
pleat_nn_module *pleat_nn_batch_norm2d_with(pleat_nn_norm_args args);
#define pleat_nn_batch_norm2d(...) pleat_nn_batch_norm2d_with(PLEAT_OPTIONS(pleat_nn_norm_args, __VA_ARGS__))
/* The same for x [N,C] and x [N,C,L]. torch.nn.BatchNorm1d. */
pleat_nn_module *pleat_nn_batch_norm1d_with(pleat_nn_norm_args args);
#define pleat_nn_batch_norm1d(...) pleat_nn_batch_norm1d_with(PLEAT_OPTIONS(pleat_nn_norm_args, __VA_ARGS__))
/* x [N,C,..] -> y [N,C,..]   each channel of each image by its own mean and variance, in training and in
 * evaluation. torch.nn.InstanceNorm1d and InstanceNorm2d, which by default have no parameters; weight [C] and
 * bias [C] with .affine. Ulyanov, Vedaldi, Lempitsky 2016. Error: one value per channel. */
pleat_nn_module *pleat_nn_instance_norm_with(pleat_nn_norm_args args);
#define pleat_nn_instance_norm(...) \
    pleat_nn_instance_norm_with(PLEAT_OPTIONS(pleat_nn_norm_args, __VA_ARGS__))
/* x [N,C,..] -> y [N,C,..]   pleat_nn_group_norm(ctx, C, groups). torch.nn.GroupNorm. weight [C], bias
 * [C]. */
pleat_nn_module *pleat_nn_group_norm_with(pleat_nn_norm_args args);
#define pleat_nn_group_norm(...) pleat_nn_group_norm_with(PLEAT_OPTIONS(pleat_nn_norm_args, __VA_ARGS__))

typedef struct pleat_nn_layer_norm_args {
    int unset_;
    pleat_ctx *ctx;
    size_t rank;         /* the number of trailing axes that are normalised together, */
    const size_t *shape; /* and their sizes, copied: PLEAT_SHAPE(8, 4, 4) gives both */
    double eps;          /* default 1e-5 */
    bool no_affine;
    pleat_dtype dtype; /* default PLEAT_F32 */
} pleat_nn_layer_norm_args;

/* x [..,shape] -> y [..,shape]   torch.nn.LayerNorm; weight [shape], bias [shape]. */
pleat_nn_module *pleat_nn_layer_norm_with(pleat_nn_layer_norm_args args);
#define pleat_nn_layer_norm(...) \
    pleat_nn_layer_norm_with(PLEAT_OPTIONS(pleat_nn_layer_norm_args, __VA_ARGS__))

typedef struct pleat_nn_pool_args {
    int unset_;
    pleat_ctx *ctx;
    size_t kernel[2];   /* must be given */
    size_t stride[2];   /* default: the kernel */
    size_t pad[2];      /* default {0, 0} */
    size_t dilation[2]; /* max_pool2d only; default {1, 1} */
    bool ceil_mode;
    bool exclude_pad; /* avg_pool2d only */
} pleat_nn_pool_args;

/* x [N,C,H,W] -> y [N,C,P,Q]   torch.nn.MaxPool2d, torch.nn.AvgPool2d; see pleat_max_pool2d. */
pleat_nn_module *pleat_nn_max_pool2d_with(pleat_nn_pool_args args);
#define pleat_nn_max_pool2d(...) pleat_nn_max_pool2d_with(PLEAT_OPTIONS(pleat_nn_pool_args, __VA_ARGS__))
pleat_nn_module *pleat_nn_avg_pool2d_with(pleat_nn_pool_args args);
#define pleat_nn_avg_pool2d(...) pleat_nn_avg_pool2d_with(PLEAT_OPTIONS(pleat_nn_pool_args, __VA_ARGS__))

typedef struct pleat_nn_pool1d_args {
    int unset_;
    pleat_ctx *ctx;
    size_t kernel;   /* must be given */
    size_t stride;   /* default: the kernel */
    size_t pad;      /* default 0 */
    size_t dilation; /* max_pool1d only; default 1 */
    bool ceil_mode;
    bool exclude_pad; /* avg_pool1d only */
} pleat_nn_pool1d_args;

/* x [N,C,L] -> y [N,C,P]   torch.nn.MaxPool1d, torch.nn.AvgPool1d; as pools of images of height 1. */
pleat_nn_module *pleat_nn_max_pool1d_with(pleat_nn_pool1d_args args);
#define pleat_nn_max_pool1d(...) pleat_nn_max_pool1d_with(PLEAT_OPTIONS(pleat_nn_pool1d_args, __VA_ARGS__))
pleat_nn_module *pleat_nn_avg_pool1d_with(pleat_nn_pool1d_args args);
#define pleat_nn_avg_pool1d(...) pleat_nn_avg_pool1d_with(PLEAT_OPTIONS(pleat_nn_pool1d_args, __VA_ARGS__))

typedef struct pleat_nn_edge_pad_args {
    int unset_;
    pleat_ctx *ctx;
    ptrdiff_t pad[2]; /* both sides of H, both sides of W; 0 or more; default {0, 0} */
    /* in place of pad: top, left, bottom, right. PyTorch's order is left, right, top, bottom */
    ptrdiff_t pads[4];
} pleat_nn_edge_pad_args;

/* x [..,H,W] -> y [..,H + top + bottom,W + left + right]   torch.nn.ReflectionPad2d and
 * torch.nn.ReplicationPad2d; see pleat_reflection_pad2d. */
pleat_nn_module *pleat_nn_reflection_pad2d_with(pleat_nn_edge_pad_args args);
#define pleat_nn_reflection_pad2d(...) \
    pleat_nn_reflection_pad2d_with(PLEAT_OPTIONS(pleat_nn_edge_pad_args, __VA_ARGS__))
pleat_nn_module *pleat_nn_replication_pad2d_with(pleat_nn_edge_pad_args args);
#define pleat_nn_replication_pad2d(...) \
    pleat_nn_replication_pad2d_with(PLEAT_OPTIONS(pleat_nn_edge_pad_args, __VA_ARGS__))

/* x [N,C,H,W] -> y [N,C,P,Q]   torch.nn.AdaptiveAvgPool2d; 1, 1 is global pooling. */
pleat_nn_module *pleat_nn_adaptive_avg_pool2d(pleat_ctx *ctx, size_t P, size_t Q);
/* x [N,C,H,W] -> y [N,C,factor H,factor W]   torch.nn.Upsample, mode nearest and bilinear. */
pleat_nn_module *pleat_nn_upsample_nearest(pleat_ctx *ctx, size_t factor);
pleat_nn_module *pleat_nn_upsample_bilinear(pleat_ctx *ctx, size_t factor);
/* x [N,C r r,H,W] -> y [N,C,H r,W r]   torch.nn.PixelShuffle. */
pleat_nn_module *pleat_nn_pixel_shuffle(pleat_ctx *ctx, size_t r);

/* x [N,..] -> y [N,product of the rest] */
pleat_nn_module *pleat_nn_flatten(pleat_ctx *ctx);
/* x [N,F] -> y [N,shape], where F is the product of the sizes: pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7,
 * 7)) */
pleat_nn_module *pleat_nn_unflatten(pleat_ctx *ctx, size_t rank, const size_t *shape);

/* y = last(... second(first(x))); the children are named "0", "1", ... A convolution, its transpose or a
 * norm, and a ReLU or ReLU6 directly after it are computed in one pass over memory, with the same bits; in
 * evaluation and without recording so is a batch norm between the two. They remain modules of their own.
 * torch.nn.Sequential. */
pleat_nn_module *pleat_nn_sequential_of(pleat_ctx *ctx, size_t n, pleat_nn_module *const *children);
#define pleat_nn_sequential(ctx, ...)                                          \
    pleat_nn_sequential_of((ctx), PLEAT_COUNT(pleat_nn_module *, __VA_ARGS__), \
                           PLEAT_ARRAY(pleat_nn_module *, __VA_ARGS__))

/* ---- initialisers ------------------------------------------------------------------------------------ */
/* They fill w in place from the context's random stream. As in torch.nn.init, fan_in is size(1) * receptive
 * field and fan_out is size(0) * receptive field, for weights of rank 2 and more. A new layer has PyTorch's
 * default: weight and bias uniform in +-1/sqrt(fan_in), which is kaiming_uniform with a = sqrt(5). In double: a bound is sqrt(3 v), a
 * normal number is multiplied with sqrt(v), where v is the variance 2 / ((1 + a^2) fan_in), or gain^2 2 / (fan_in + fan_out). */

/* uniform in +-bound, bound = sqrt(6 / ((1 + a^2) fan_in)). He et al. 2015; a is the slope of the leaky relu
 * that follows the layer, 0 for relu. */
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
/* x [..], target [the same] -> loss [], unless stated otherwise. Definitions are those of
 * torch.nn.functional. Each is made of the ops that its formula names, with their bits (pleat.h), and ends with pleat_mean or pleat_sum; the items
 * of cross_entropy_loss are smoothing - 1 times the picked log_softmax, less smoothing times its mean. */

typedef enum pleat_nn_reduction { PLEAT_NN_MEAN, PLEAT_NN_SUM, PLEAT_NN_NONE } pleat_nn_reduction;

typedef struct pleat_nn_loss_args {
    int unset_;
    pleat_tensor *x, *target;
    const size_t *labels;         /* cross_entropy_loss: in place of target; copied */
    pleat_nn_reduction reduction; /* default: the mean over all elements; NONE: one loss per element */
    double delta;                 /* huber_loss: the end of the quadratic part; default 1 */
    double label_smoothing;       /* cross_entropy_loss: 0 <= label_smoothing <= 1; default 0 */
    double smooth;                /* dice_loss: > 0; default 1 */
    const double *weight;         /* cross_entropy_loss: [K], of the classes; default: 1 for all */
} pleat_nn_loss_args;

/* (x - target)^2 */
pleat_tensor *pleat_nn_mse_loss_with(pleat_nn_loss_args args);
#define pleat_nn_mse_loss(...) pleat_nn_mse_loss_with(PLEAT_OPTIONS(pleat_nn_loss_args, __VA_ARGS__))
/* |x - target| */
pleat_tensor *pleat_nn_l1_loss_with(pleat_nn_loss_args args);
#define pleat_nn_l1_loss(...) pleat_nn_l1_loss_with(PLEAT_OPTIONS(pleat_nn_loss_args, __VA_ARGS__))
/* d = |x - target|:  d < delta ? d^2 / 2 : delta (d - delta/2) */
pleat_tensor *pleat_nn_huber_loss_with(pleat_nn_loss_args args);
#define pleat_nn_huber_loss(...) pleat_nn_huber_loss_with(PLEAT_OPTIONS(pleat_nn_loss_args, __VA_ARGS__))
/* -(target ln x + (1 - target) ln(1 - x)), 0 <= x <= 1; each logarithm is at least -100, as in
 * torch.nn.BCELoss. The gradient (x - target) / max(x (1 - x), 1e-12) is finite at 0 and 1 as well. */
pleat_tensor *pleat_nn_bce_loss_with(pleat_nn_loss_args args);
#define pleat_nn_bce_loss(...) pleat_nn_bce_loss_with(PLEAT_OPTIONS(pleat_nn_loss_args, __VA_ARGS__))
/* The same of sigmoid(x), for any x: max(x, 0) - x target + ln(1 + e^-|x|) */
pleat_tensor *pleat_nn_bce_with_logits_loss_with(pleat_nn_loss_args args);
#define pleat_nn_bce_with_logits_loss(...) \
    pleat_nn_bce_with_logits_loss_with(PLEAT_OPTIONS(pleat_nn_loss_args, __VA_ARGS__))
/* x [N,K,..] of logits; .labels, N.. class numbers 0..K-1 in row-major order, or target [N,K,..] of
 * probabilities:
 *     pleat_nn_cross_entropy_loss(y, .labels = b->labels)
 *     -sum over k of weight[k] t[k] log_softmax(x)[k],   t = (1 - smoothing) target's + smoothing / K
 * for each item; the mean is over the items N.. . With .weight and .labels it is the sum over the items
 * divided by the sum of weight[label], as in PyTorch. Micro-batches then take PLEAT_NN_SUM. Errors: a label
 * out of range, which is named with its index; a weight that is below 0 or not finite; a mean of items that
 * all have weight 0. */
pleat_tensor *pleat_nn_cross_entropy_loss_with(pleat_nn_loss_args args);
#define pleat_nn_cross_entropy_loss(...) \
    pleat_nn_cross_entropy_loss_with(PLEAT_OPTIONS(pleat_nn_loss_args, __VA_ARGS__))

/* x [N,K,..] of probabilities 0..1 (sigmoid for K = 1, softmax for classes), target the same: masks, for
 * instance.
 *     1 - (2 sum x target + smooth) / (sum x^2 + sum target^2 + smooth),   sums over the axes after K
 * for each item and class: [N,K], 0 where x is the mask and also where both are empty; reduction as above.
 * Milletari, Navab, Ahmadi: V-Net. 3DV 2016, eq. 1, with MONAI's smoothing (DiceLoss, squared_pred). */
pleat_tensor *pleat_nn_dice_loss_with(pleat_nn_loss_args args);
#define pleat_nn_dice_loss(...) pleat_nn_dice_loss_with(PLEAT_OPTIONS(pleat_nn_loss_args, __VA_ARGS__))

/* mean [N,D], log_var [N,D] -> [N]   KL(normal(mean, e^log_var) || normal(0, 1)) of each item,
 * sum over D of (mean^2 + e^log_var - 1 - log_var) / 2. Kingma and Welling 2014, appendix B. */
pleat_tensor *pleat_nn_kl_loss(pleat_tensor *mean, pleat_tensor *log_var);

/* n labels, from 0 to classes-1 -> y [n,classes], 1 at the label and 0 elsewhere. Error: as above. */
pleat_tensor *pleat_nn_one_hot(pleat_ctx *ctx, pleat_dtype dtype, size_t n, const size_t *labels,
                               size_t classes);

/* ---- optimizers -------------------------------------------------------------------------------------- */

typedef struct pleat_nn_optimizer pleat_nn_optimizer;

/* Bits. An update is computed in the parameter's type T, element by element, from left to right as its formula below is written; constants,
 * such as 1 - b1 and lr / (1 - b1^t), are computed in double and rounded to T. g is s grad, clipped, + weight_decay p, where s is 1 or clip_norm's
 * factor min(1, clip_norm / (norm + 1e-6)) rounded to T. The norm is in double: of each parameter the squares in eight lanes, element i in lane
 * i mod 8, the lanes added in their order, and these sums in the order of the parameters. Averages that become subnormal are 0. */

/* Options of all optimizers. weight_decay adds weight_decay p to the gradient (adamw: see there). clip_norm >
 * 0 scales all gradients by one factor so that their joint Euclidean norm is at most clip_norm, as
 * torch.nn.utils.clip_grad_norm_; a norm that is not finite is an error. clip_value > 0 then clips each
 * element to +-clip_value. Clipping is applied first, before weight decay and the method. */

/* The most groups of an optimizer. */
#define PLEAT_NN_GROUPS 8

/* Options for some of the parameters: those with a name that matches `names` and a rank of at most max_rank.
 * A parameter takes the options of every group that it matches; a later group overrides an earlier one.
 *
 *     .group = {{.max_rank = 1, .no_decay = true},               // biases and norms
 *               {.names = "encoder.*", .lr_scale = 0.1}}
 *
 * A list of groups ends at the first that is zero. Errors: a group that no parameter matches; one without a
 * condition or without an option. PyTorch's groups are disjoint; here they are the sets of parameters with
 * the same options. Groups are options and not state: a checkpoint does not store them. */
typedef struct pleat_nn_group {
    const char *names;   /* '*' is any text: "*bias", "encoder.*"; NULL: all */
    size_t max_rank;     /* 0: any rank */
    double lr_scale;     /* > 0; the rate is lr_scale lr, also under a schedule and after set_lr */
    double weight_decay; /* >= 0; 0: that of the optimizer */
    bool no_decay;       /* weight_decay 0 */
} pleat_nn_group;

typedef struct pleat_nn_sgd_args {
    int unset_;
    pleat_nn_module *net;
    double lr;           /* > 0, must be given */
    double momentum;     /* 0 <= momentum < 1, default 0 */
    double dampening;    /* default 0 */
    double weight_decay; /* >= 0, default 0 */
    bool nesterov;       /* needs momentum, and no dampening */
    double clip_norm, clip_value;
    pleat_nn_group group[PLEAT_NN_GROUPS];
} pleat_nn_sgd_args;

/* g = g + weight_decay p;  b = momentum b + (1 - dampening) g (b = g at the first step);
 * p = p - lr b, or with .nesterov p - lr (g + momentum b). torch.optim.SGD. */
pleat_nn_optimizer *pleat_nn_sgd_with(pleat_nn_sgd_args args);
#define pleat_nn_sgd(...) pleat_nn_sgd_with(PLEAT_OPTIONS(pleat_nn_sgd_args, __VA_ARGS__))

typedef struct pleat_nn_adam_args {
    int unset_;
    pleat_nn_module *net;
    double lr;           /* default 1e-3 */
    double betas[2];     /* 0 <= beta < 1, default {0.9, 0.999} */
    double eps;          /* default 1e-8; raised to 2^-63 if smaller, in f64 to 2^-511 */
    double weight_decay; /* >= 0; default 0, for adamw 0.01 */
    bool no_decay;       /* adamw: weight_decay 0 */
    double clip_norm, clip_value;
    pleat_nn_group group[PLEAT_NN_GROUPS];
} pleat_nn_adam_args;

/* Kingma and Ba 2015, with bias correction as torch.optim.Adam computes it:
 * m = b1 m + (1-b1) g;  v = b2 v + ((1-b2) g) g;  p = p - (lr/(1-b1^t) m) / (sqrt(v) (1/sqrt(1-b2^t)) + eps) */
pleat_nn_optimizer *pleat_nn_adam_with(pleat_nn_adam_args args);
#define pleat_nn_adam(...) pleat_nn_adam_with(PLEAT_OPTIONS(pleat_nn_adam_args, __VA_ARGS__))
/* Adam with decoupled weight decay: first p = (1 - lr weight_decay) p, and g is not changed. Loshchilov and
 * Hutter 2019; torch.optim.AdamW. */
pleat_nn_optimizer *pleat_nn_adamw_with(pleat_nn_adam_args args);
#define pleat_nn_adamw(...) pleat_nn_adamw_with(PLEAT_OPTIONS(pleat_nn_adam_args, __VA_ARGS__))

typedef struct pleat_nn_rmsprop_args {
    int unset_;
    pleat_nn_module *net;
    double lr;           /* default 0.01 */
    double alpha;        /* 0 <= alpha < 1, default 0.99 */
    double eps;          /* default 1e-8; raised to 2^-63 if smaller, in f64 to 2^-511 */
    double momentum;     /* default 0 */
    bool centered;       /* divide by the standard deviation in place of the root mean square */
    double weight_decay; /* >= 0, default 0 */
    double clip_norm, clip_value;
    pleat_nn_group group[PLEAT_NN_GROUPS];
} pleat_nn_rmsprop_args;

/* v = alpha v + ((1-alpha) g) g;  a = alpha a + (1-alpha) g;  d = sqrt(v), or with .centered sqrt(v - a^2); p =
 * p - lr (g / (d + eps)), or with momentum b = momentum b + g / (d + eps), p = p - lr b.
 * torch.optim.RMSprop. */
pleat_nn_optimizer *pleat_nn_rmsprop_with(pleat_nn_rmsprop_args args);
#define pleat_nn_rmsprop(...) pleat_nn_rmsprop_with(PLEAT_OPTIONS(pleat_nn_rmsprop_args, __VA_ARGS__))

/* Compute the gradients of `loss`, a scalar, for all parameters that are not frozen, then update them once.
 * On an error no parameter has changed. Errors: a loss that is not finite; a parameter on which the loss does
 * not depend, which is named.
 *
 * The history of the loss is consumed (PLEAT_GRADS_CONSUME), so memory is largest at the end of the forward
 * pass. Where two losses share a part of it, or a gradient is wanted twice: pleat_grads, then
 * pleat_nn_update. */
pleat_status pleat_nn_step(pleat_nn_optimizer *opt, pleat_tensor *loss);
/* Update once from your own gradients: grads[i] for parameter i, in its shape. The entry of a frozen
 * parameter is not read. The gradients are not changed. */
pleat_status pleat_nn_update(pleat_nn_optimizer *opt, pleat_tensor *const *grads);

/* A step over micro-batches, for batches that memory does not hold at once: accumulate the gradient of each
 * weight * loss, whose history is consumed, then update once with the sum.
 *
 *     for (size_t i = 0; i < parts; i++) pleat_nn_accumulate(opt, loss_of(part[i]), n[i] / (double)N);
 *     pleat_nn_step_accumulated(opt);
 *
 * This is a step with the mean over N items, n[i] of them in part i, if each loss is a mean; where the losses
 * are sums, the weight is 1.
 *
 * The gradients are added along a fixed binary tree: node (0, k) is that of micro-batch k, counted from 0
 * since the last step; node (l + 1, k) = node (l, 2k) + node (l, 2k + 1), or the first alone if there is no
 * second. The sum of five is ((0 + 1) + (2 + 3)) + 4. At most log2(n) + 1 gradients of the network are in
 * memory. Clipping sees the sum. A parameter that is frozen at the first micro-batch stays so until the step.
 * On an error no parameter has changed, and nothing is accumulated any more. Until the step pleat_nn_step,
 * pleat_nn_update and checkpoints are errors. */
pleat_status pleat_nn_accumulate(pleat_nn_optimizer *opt, pleat_tensor *loss, double weight);
pleat_status pleat_nn_step_accumulated(pleat_nn_optimizer *opt);

double pleat_nn_lr(const pleat_nn_optimizer *opt);
void pleat_nn_set_lr(pleat_nn_optimizer *opt, double lr);
/* The Euclidean norm of all gradients at the last step, before clipping; 0 unless clip_norm is used. */
double pleat_nn_grad_norm(const pleat_nn_optimizer *opt);
void pleat_nn_optimizer_free(pleat_nn_optimizer *opt); /* NULL is allowed */

/* ---- learning rates over time ------------------------------------------------------------------------ */

/* A schedule is a pure function of time t = 0, 1, 2, ..., in steps or in epochs. It has no state to save. */
typedef struct pleat_nn_schedule {
    size_t warmup;      /* linear growth from warmup_from lr to lr over `warmup` t (LinearLR); default 0 */
    double warmup_from; /* default 1/3, as in PyTorch */
    size_t step;        /* multiply by gamma every `step` t after the warm-up (StepLR); 0: never */
    double gamma;       /* default 0.1 */
    /* decrease to `least` along half a cosine over `cosine` t after the warm-up, then stay there
     * (CosineAnnealingLR); 0: no */
    size_t cosine;
    double least; /* default 0 */
} pleat_nn_schedule;

/* The rate at time t for the base rate lr; `step` and `cosine` are factors that multiply. */
double pleat_nn_schedule_lr(const pleat_nn_schedule *s, double lr, size_t t);

/* Lower the rate when a metric stops improving: torch.optim.lr_scheduler.ReduceLROnPlateau, threshold_mode
 * "rel". An option of zero has its default; best and the counters are the state, zero at first. As in
 * PyTorch, a change of less than 1e-8 is not made. */
typedef struct pleat_nn_plateau {
    bool higher_is_better;
    double factor;    /* default 0.1 */
    size_t patience;  /* calls without improvement before the rate is lowered; default 10 */
    double threshold; /* default 1e-4 */
    size_t cooldown;  /* default 0 */
    double least;     /* default 0 */
    double best;
    size_t calls, bad, cooling;
} pleat_nn_plateau;

/* The next rate, from the current rate and metric. */
double pleat_nn_plateau_lr(pleat_nn_plateau *p, double lr, double metric);

/* ---- averaged weights -------------------------------------------------------------------------------- */

typedef struct pleat_nn_ema pleat_nn_ema;

/* An exponential moving average of net's parameters, 0 <= decay < 1. It starts as a copy of them; each update
 * sets average = average + (1 - decay) (p - average). Buffers are copied. NULL on an error. */
pleat_nn_ema *pleat_nn_ema_new(pleat_nn_module *net, double decay);
void pleat_nn_ema_update(pleat_nn_ema *ema);
/* Exchange net's parameters and buffers with the averages: once to evaluate or save the averages, again to go
 * on training. Allocates nothing. An update between the two swaps is an error. */
void pleat_nn_ema_swap(pleat_nn_ema *ema);
void pleat_nn_ema_free(pleat_nn_ema *ema); /* NULL is allowed */

#ifdef __cplusplus
}
#endif

#include "pleat_nn_data.h"
#include "pleat_nn_models.h"
#include "pleat_nn_train.h"
#endif

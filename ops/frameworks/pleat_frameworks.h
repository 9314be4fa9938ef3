/* pleat_frameworks.h: the arguments of PyTorch, TensorFlow, ONNX and Keras, as geometry.
 *
 * Each framework has its own arguments for the same layer, and its own rule for the size of the result and
 * for its first pixel. Here the rules are pure functions from the arguments to the canonical geometry of
 * pleat_kernels.h:
 *
 *     pleat_layer l = {.framework = PLEAT_TENSORFLOW, .transpose = true, .stride = {2, 2}, .dilation = {1, 1},
 *                      .groups = 1, .padding = PLEAT_PADDING_SAME};
 *     pleat_layer_plan p;
 *     if (!pleat_layer_plan_for(&l, (size_t[]){7, 7}, (size_t[]){3, 3}, &p)) puts(p.why);
 *     // p.out = {14, 14}, p.crop = {0, 0}
 *
 * Per axis, with `in` pixels, kernel k, stride s, dilation d: the dilated kernel has ke = (k-1)*d + 1 pixels,
 * and a transposed convolution scatters over L = (in-1)*s + ke pixels, its natural length. Every framework's
 * transposed convolution is
 *
 *     out[i] = natural[i + crop]   for 0 <= i < out, and 0 where i + crop lies outside 0..L-1
 *
 * and every framework's convolution is pleat's conv2d with the leading padding `crop` and the
 * map size `out`. So in both cases crop is pleat's `pad`, and out its `.size`. The kernel is not flipped.
 *
 * Sources: torch.nn.functional.conv_transpose2d (PyTorch 1.13); tf.nn.conv2d_transpose (TensorFlow 2); ONNX
 * operators Conv and ConvTranspose, opset 11 and later, and ONNX Runtime 1.30 where they are ambiguous;
 * keras.layers.Conv2D and Conv2DTranspose (Keras 3). */
#ifndef PLEAT_FRAMEWORKS_H
#define PLEAT_FRAMEWORKS_H

#include <stdbool.h>
#include <stddef.h>

#include "pleat.h"
#include "pleat_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pleat_framework {
    PLEAT_TORCH,
    PLEAT_TENSORFLOW,
    PLEAT_ONNX,
    PLEAT_KERAS,
    PLEAT_FRAMEWORKS, /* the number of frameworks */
} pleat_framework;

/* "torch", "tensorflow", "onnx", "keras". */
const char *pleat_framework_name(pleat_framework f);

typedef enum pleat_padding {
    PLEAT_PADDING_EXPLICIT,   /* torch's padding, TensorFlow's explicit paddings, ONNX's NOTSET: see pads */
    PLEAT_PADDING_VALID,      /* TensorFlow, Keras, ONNX; torch's conv2d, not its transpose */
    PLEAT_PADDING_SAME,       /* TensorFlow, Keras; torch's conv2d with stride 1, not its transpose */
    PLEAT_PADDING_SAME_UPPER, /* ONNX */
    PLEAT_PADDING_SAME_LOWER, /* ONNX */
} pleat_padding;

/* A convolution, or a transposed convolution, with a framework's arguments. Pairs are along H, W. An argument
 * that the framework does not have must be 0 or false; any other value is refused. */
typedef struct pleat_layer {
    pleat_framework framework;
    bool transpose;
    size_t stride[2], dilation[2]; /* 1 or more */
    size_t groups;                 /* 1 or more; TensorFlow and Keras have none for the transpose: 1 */
    pleat_padding padding;
    /* top, left, bottom, right, 0 or more, with PLEAT_PADDING_EXPLICIT; torch: the same on both sides */
    ptrdiff_t pads[4];
    /* is output_padding given? torch, ONNX, Keras; transpose only */
    bool has_output_padding;
    size_t output_padding[2];
    /* is output_size given? torch's output_size, TensorFlow's and ONNX's output_shape; transpose only.
     * Without it TensorFlow gets the output_shape that Keras computes, with explicit pads the smallest legal
     * one */
    bool has_output_size;
    size_t output_size[2];
    bool channels_last; /* TensorFlow, Keras: NHWC (their default); otherwise NCHW */
} pleat_layer;

/* The geometry of a layer for an input of given size. If the layer is illegal along an axis, its out and crop
 * are 0, and the other members are set as far as they can be computed. */
typedef struct pleat_layer_plan {
    size_t out[2];
    ptrdiff_t crop[2];
    /* of a transpose: L, and the range of output sizes that output_padding or output_size can select */
    size_t natural[2], least[2], most[2];
    /* if the layer is illegal: the wrong value and the rule, in one line */
    char why[240];
} pleat_layer_plan;

/* Plan the layer for an input of in[2] pixels and a kernel of kernel[2]. False, with `why`, if the framework
 * refuses it. */
bool pleat_layer_plan_for(const pleat_layer *l, const size_t in[2], const size_t kernel[2],
                          pleat_layer_plan *plan);

/* The number of groups for this input and weight, which have the layer's layouts (below): l->groups, except
 * for TensorFlow's convolution, which has no argument for it. There it is the input's channels over the
 * weight's, where that is a whole number. */
size_t pleat_layer_groups(const pleat_layer *l, const pleat_tensor *input, const pleat_tensor *weight);

/* The canonical geometry of a planned layer: a batch of N, channels of the layer's input and output. */
pleat_conv_shape pleat_layer_geometry(const pleat_layer *l, const pleat_layer_plan *plan, size_t N,
                                      const size_t channels[2], const size_t in[2], const size_t kernel[2]);

/* The layer on tensors in the framework's layouts, made of ops, so gradients of every order exist.
 *
 *   input     torch, ONNX [N,Cin,H,W];  TensorFlow, Keras [N,H,W,Cin] unless channels_last is false
 *   weight    torch, ONNX: conv [Cout,Cin/G,R,S], transpose [Cin,Cout/G,R,S]
 *             TensorFlow, Keras: conv [R,S,Cin/G,Cout], transpose [R,S,Cout,Cin]
 *   bias      [Cout], or NULL
 *   result    as the input, with Cout channels
 *
 * Poison, with `why` as the error, if the framework refuses the layer. */
pleat_tensor *pleat_layer_apply(const pleat_layer *l, pleat_tensor *input, pleat_tensor *weight,
                                pleat_tensor *bias);

#ifdef __cplusplus
}
#endif
#endif

/* pleat_frameworks.h: what PyTorch, TensorFlow, ONNX and Keras mean by their arguments.
 *
 * Each framework has its own words for the same layer, and its own rule for the size of the result and for
 * the pixel it begins at. Here they are pure functions from the framework's arguments to the canonical
 * geometry of pleat_kernels.h:
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
 * and every framework's convolution is pleat's conv2d with the padding `crop` in front and the map size
 * `out`. So crop is pleat's `pad`, and out its `.size`, in both cases. The kernel is not flipped.
 *
 * Sources: torch.nn.functional.conv_transpose2d (PyTorch 1.13); tf.nn.conv2d_transpose (TensorFlow 2); ONNX
 * operators Conv and ConvTranspose, opset 11 and later, where ambiguous as ONNX Runtime 1.30 has it;
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
    PLEAT_FRAMEWORKS, /* how many there are */
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

/* A convolution (or transposed convolution) in a framework's words. Pairs are along H, W. What a framework
 * has no word for must be left at 0 or false; anything else is refused. */
typedef struct pleat_layer {
    pleat_framework framework;
    bool transpose;
    size_t stride[2], dilation[2]; /* 1 or more */
    size_t groups;                 /* 1 or more; TensorFlow and Keras have none for the transpose: 1 */
    pleat_padding padding;
    /* top, left, bottom, right, 0 or more, with PLEAT_PADDING_EXPLICIT; torch: the same on both sides */
    ptrdiff_t pads[4];
    /* given by the caller; torch, ONNX, Keras; transpose only */
    bool has_output_padding;
    size_t output_padding[2];
    /* torch's output_size, TensorFlow's and ONNX's output_shape; transpose only. Without it TensorFlow gets
     * what Keras would ask of it, beside explicit pads the smallest legal one */
    bool has_output_size;
    size_t output_size[2];
    bool channels_last; /* TensorFlow, Keras: NHWC (their default); otherwise NCHW */
} pleat_layer;

/* What the layer does to an input of given size. Where it is illegal, out and crop are 0 along the axis, and
 * the rest is there as far as it could be computed. */
typedef struct pleat_layer_plan {
    size_t out[2];
    ptrdiff_t crop[2];
    /* of a transpose: L, and the output sizes that output_padding or output_size can reach */
    size_t natural[2], least[2], most[2];
    /* where the layer is illegal: what was wrong, and what would be right, in one line */
    char why[240];
} pleat_layer_plan;

/* Plan the layer for an input of in[2] pixels and a kernel of kernel[2]. False, with `why`, where the
 * framework refuses. */
bool pleat_layer_plan_for(const pleat_layer *l, const size_t in[2], const size_t kernel[2],
                          pleat_layer_plan *plan);

/* The number of groups for this input and weight, which have the layer's layouts (below): l->groups, except
 * for TensorFlow's convolution, which has no argument for it. There it is the input's channels over the
 * weight's, where that is a whole number. */
size_t pleat_layer_groups(const pleat_layer *l, const pleat_tensor *input, const pleat_tensor *weight);

/* The canonical geometry of a planned layer: a batch of N, channels of the layer's input and output. */
pleat_conv_shape pleat_layer_geometry(const pleat_layer *l, const pleat_layer_plan *plan, size_t N,
                                      const size_t channels[2], const size_t in[2], const size_t kernel[2]);

/* The layer on tensors in the framework's own layouts, made of ops, so its gradients exist to every order.
 *
 *   input     torch, ONNX [N,Cin,H,W];  TensorFlow, Keras [N,H,W,Cin] unless channels_last is false
 *   weight    torch, ONNX: conv [Cout,Cin/G,R,S], transpose [Cin,Cout/G,R,S]
 *             TensorFlow, Keras: conv [R,S,Cin/G,Cout], transpose [R,S,Cout,Cin]
 *   bias      [Cout], or NULL
 *   result    as the input, with Cout channels
 *
 * Poison, with an error that says `why`, where the framework refuses. */
pleat_tensor *pleat_layer_apply(const pleat_layer *l, pleat_tensor *input, pleat_tensor *weight,
                                pleat_tensor *bias);

#ifdef __cplusplus
}
#endif
#endif

/* pleat_nn_models.h: networks in other forms: ONNX models, read, written and run, and C files. Part of pleat_nn.h. */
#ifndef PLEAT_NN_MODELS_H
#define PLEAT_NN_MODELS_H

#include "pleat_nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- C files ------------------------------------------------------------------------------------------- */

typedef struct pleat_nn_export_c_args {
    int unset_;
    pleat_nn_module *m;
    size_t rank;         /* of x, */
    const size_t *shape; /* and its sizes: PLEAT_SHAPE(1, 1, 28, 28) gives both */
    const char *path;    /* "net.c": beside it net.h is written, and the names within begin with net_ */
    size_t test; /* write net_test.c, too, which returns 0 if so many drawn inputs give pleat's bits; 0: no */
    size_t flash, ram; /* the most bytes of constants, and of the arena; 0: no limit */
} pleat_nn_export_c_args;

/* The forward pass of m in evaluation as one file in C11, for processors that have nothing else:
 *
 *     pleat_nn_set_training(net, false);
 *     pleat_nn_export_c(net, PLEAT_SHAPE(1, 1, 28, 28), "net.c", .test = 10);
 *
 *     #include "net.h"
 *     net_forward(image, classes); // float image[NET_X], classes[NET_Y]
 *
 * It needs no heap, no libm and nothing else: weights are constants, what lies between input and output has
 * its places in one static array, and a convolution and the pool behind it are one loop. The result has the
 * bits of pleat_nn_forward, on every processor and from every compiler that rounds as IEEE 754 says (not with
 * -ffast-math, nor with -ffp-contract=fast of clang). Where there is no fused multiply-add for floats, it is
 * computed in double: exact, and slow.
 *
 * Errors: those of pleat_nn_prepare; an op that has no form in C (nn/export/calls.c has the list), with the
 * call; f64; a limit, with the first call that exceeds it; a path that is no name in C; writing. */
pleat_status pleat_nn_export_c_with(pleat_nn_export_c_args args);
#define pleat_nn_export_c(...) pleat_nn_export_c_with(PLEAT_OPTIONS(pleat_nn_export_c_args, __VA_ARGS__))

/* ---- ONNX models ------------------------------------------------------------------------------------- */

/* The model of an ONNX file as a module, to be run, prepared, trained and saved like any other: opsets 7 to 17, and the operators
 * that nn/onnx/README.md lists. What is not supported is refused here by one line with the node, its operator and the attribute,
 * or, where it depends on shapes, by the forward pass.
 *
 *     pleat_nn_module *net = pleat_nn_onnx_load(ctx, "resnet18.onnx");
 *     pleat_tensor *y = pleat_nn_forward(net, x);
 *
 * Initializers of floats are the state dict, under their names, which dots cut into modules: "layer1.0.conv1.weight". The weights
 * of Conv, ConvTranspose, Gemm, MatMul, Gather, PRelu and norms, and operands of Add, Sub, Mul and Div are parameters; all others,
 * such as running statistics, are buffers. A name that cannot be one, as a part is empty or longer than 31 characters, becomes
 * "tensor_12". f64 models are of f64; 16-bit floats are read and computed as f32. Float attributes are read as the shortest decimal
 * number that rounds to them.
 *
 * The module is in evaluation at first. In training mode BatchNormalization uses the statistics of the batch and moves the running
 * ones, as torch.nn.BatchNorm2d, and Dropout drops.
 *
 * Whole numbers and truths are computed in f64, exactly up to 2^53; more is an error, but as a bound, as INT64_MAX of a slice.
 *
 * NULL after an error, also one that the context has from before: the file cannot be read, is no valid model, or is not supported;
 * a tensor in a file of its own must lie in the model's folder or below. Loading takes at most 64 times the file's bytes, 9 times those of files of tensors, and 1 MiB. */
pleat_nn_module *pleat_nn_onnx_load(pleat_ctx *ctx, const char *path);

/* out[0..outs-1] from in[0..n-1], in the order of the model, for models of several inputs or outputs: tensors of the innermost scope.
 * Inputs of floats have the model's type; whole numbers and truths are given as either type, and come out as f64. An input must
 * have the shape that the model was exported for; sizes that the exporter left open may be any. After an error the results are
 * poison. */
pleat_status pleat_nn_onnx_run(pleat_nn_module *m, size_t n, pleat_tensor *const *in, size_t outs,
                               pleat_tensor **out);
/* The name of input or output i; NULL if there is none. It lives as long as m. */
const char *pleat_nn_onnx_input(const pleat_nn_module *m, size_t i);
const char *pleat_nn_onnx_output(const pleat_nn_module *m, size_t i);

/* Write a network as an ONNX model of opset 17, of x [N,shape[1..]] -> y: the calls of its forward pass in evaluation, which is
 * prepared (pleat_nn_prepare) for x of that shape. N stays open. Parameters and running statistics have the names of the state
 * dict; options are f32 in the file. Read by pleat_nn_onnx_load it has the same bits where an op is one operator of ONNX.
 * Error: those of pleat_nn_prepare; an op that has no form in ONNX (nn/onnx/save_calls.c has the list; an op of your own has one
 * if its pleat_op says so), or not with these options: a negative pad, an adaptive pool of uneven windows, a shape whose first axis
 * is not the batch's; writing. It needs no protobuf-c. */
pleat_status pleat_nn_onnx_save(const char *path, pleat_nn_module *net, size_t rank, const size_t *shape);

/* How an op of your own is written: the `onnx` function of its pleat_op gives nodes that compute the call's result, operators of
 * ONNX's own domain, opset 17. A node is begun, takes its inputs in their order, then its attributes, and is ended; the
 * value of the last one is the result. Sizes of x's first axis are the batch's, and must stay open.
 *
 *     static bool swish_onnx(const pleat_call *c, pleat_onnx *to) {         x sigmoid(x)
 *         pleat_onnx_begin(to, "Sigmoid"), pleat_onnx_input(to, 0);
 *         size_t gate = pleat_onnx_end(to);
 *         pleat_onnx_begin(to, "Mul"), pleat_onnx_input(to, 0), pleat_onnx_input_value(to, gate);
 *         pleat_onnx_end(to);
 *         return true;
 *     }
 *     static const pleat_op swish = {.name = "swish", ..., .onnx = swish_onnx};
 *
 * A use that is not allowed (an input that the call has not, a node within a node) is an error of pleat_nn_onnx_save. */
void pleat_onnx_begin(pleat_onnx *to, const char *op_type);
void pleat_onnx_input(pleat_onnx *to, size_t i);                        /* tensor i of the call */
void pleat_onnx_input_value(pleat_onnx *to, size_t value);              /* of a node before, for this call */
void pleat_onnx_input_real(pleat_onnx *to, double v);                   /* a constant [] of x's type */
void pleat_onnx_input_ints(pleat_onnx *to, size_t n, const int64_t *v); /* a constant [n] of INT64 */
void pleat_onnx_input_none(pleat_onnx *to); /* an optional input that is left out */
void pleat_onnx_put_int(pleat_onnx *to, const char *name, int64_t v);
void pleat_onnx_put_real(pleat_onnx *to, const char *name, double v); /* stored as f32 */
void pleat_onnx_put_text(pleat_onnx *to, const char *name, const char *v);
void pleat_onnx_put_ints(pleat_onnx *to, const char *name, size_t n, const int64_t *v);
size_t pleat_onnx_end(pleat_onnx *to); /* the number of the node's value */
/* Report that this call cannot be written, `what` of it has no form: "a negative pad"; false. */
bool pleat_onnx_refuse(pleat_onnx *to, const char *what);

#ifdef __cplusplus
}
#endif
#endif

/* Without protobuf-c the functions of ONNX models say so. */
#include "pleat_nn.h"

pleat_nn_module *pleat_nn_onnx_load(pleat_ctx *ctx, const char *path) {
    (void)path;
    pleat_fail(ctx, PLEAT_ERR_IO, "onnx_load",
               "pleat was built without protobuf-c; configure it with -Donnx=enabled");
    return NULL;
}

pleat_status pleat_nn_onnx_run(pleat_nn_module *m, size_t n, pleat_tensor *const *in, size_t outs,
                               pleat_tensor **out) {
    (void)n, (void)in, (void)outs, (void)out;
    return m ? pleat_fail(pleat_nn_ctx(m), PLEAT_ERR_ARGUMENT, "onnx_run",
                          "the module is no model of pleat_nn_onnx_load")
             : PLEAT_ERR_ARGUMENT;
}

const char *pleat_nn_onnx_input(const pleat_nn_module *m, size_t i) { return (void)m, (void)i, NULL; }
const char *pleat_nn_onnx_output(const pleat_nn_module *m, size_t i) { return (void)m, (void)i, NULL; }

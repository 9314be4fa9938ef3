/* A program of someone who uses pleat from outside: all three headers, one gradient whose value is known. */
#include <pleat.h>
#include <pleat_kernels.h>
#include <pleat_nn.h>

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 4, 4), 2);
    pleat_nn_module *net = pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .no_bias = true);
    pleat_tensor *w = pleat_nn_param(net, 0), *gw = NULL;
    pleat_tensor *y = pleat_sum(pleat_nn_forward(net, x));
    if (pleat_grads(y, NULL, 1, &w, &gw, 0)) puts(pleat_error(ctx)->text);
    double total = pleat_item(pleat_sum(gw)); /* 9 weights, each of which meets 4 pixels of value 2 */
    size_t map = pleat_conv_map_size(4, 3, 1, 1, 0, 0);
    printf("pleat %s: map %zu, sum of the gradient %g\n", PLEAT_VERSION, map, total);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return map == 2 && total == 72 ? 0 : 1;
}

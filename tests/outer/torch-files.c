/* For torch-files.sh: a network with everything that a state dict can hold.
 *     torch-files save FILE OUTPUT     writes its parameters, and what it makes of the input
 *     torch-files load FILE OUTPUT     reads parameters first
 *     torch-files part FILE OUTPUT     reads those of a larger model first, and prints what does not fit */
#include <pleat_nn.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    pleat_ctx *ctx = pleat_ctx_new(.seed = 4);
    pleat_nn_module *net = pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 8, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_batch_norm2d(ctx, 8), pleat_nn_prelu(ctx, 8, PLEAT_F32),
        pleat_nn_max_pool2d(ctx, .kernel = {2, 2}),
        pleat_nn_sequential(ctx,
                            pleat_nn_conv_transpose2d(ctx, 8, 4, .kernel = {3, 2}, .stride = {2, 3},
                                                      .pad = {1, PLEAT_NONE}, .output_padding = {1, 2},
                                                      .groups = 2),
                            pleat_nn_gelu(ctx), pleat_nn_group_norm(ctx, 4, 2)),
        pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 4 * 14 * 22, 5),
        pleat_nn_layer_norm(ctx, PLEAT_SHAPE(5)));
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(6, 1, 28, 28), 0, 1);
    for (int i = 0; i < 3; i++) pleat_nn_forward(net, x); /* the running statistics move */
    if (!strcmp(argv[1], "load")) pleat_nn_load(argv[2], net);
    pleat_nn_misfits misfits = {0};
    if (!strcmp(argv[1], "part")) pleat_nn_load_from(argv[2], net, .prefix = "model.", .misfits = &misfits);
    fputs(misfits.text, stdout);
    if (!strcmp(argv[1], "save")) pleat_nn_save(argv[2], net);
    pleat_nn_set_training(net, false);
    pleat_nn_write_npy("input.npy", x);
    pleat_nn_write_npy(argv[3], pleat_nn_forward(net, x));
    bool failed = pleat_error(ctx)->code != PLEAT_OK;
    if (failed) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return failed;
}

/* Modules of your own: a layer with a parameter, options and a line in the summary, and modules of modules.
 *
 * Here a residual block that is the identity at first (Bachlechner et al. 2021, ReZero), as the gate [C,1,1]
 * begins at 0:
 *
 *     y = x + gate * conv(relu(conv(x)))
 *
 * Two of them, in a Sequential, in a network that is a module of our own as well, learn five kinds of
 * generated shapes.
 *
 *     cc own_module.c $(pkg-config --cflags --libs pleat) && ./a.out
 */
#include <pleat_nn.h>

/* ---- a layer: one parameter, options as attrs, and their words for the summary ---------------------------------- */

typedef struct gate_attrs {
    size_t channels;
} gate_attrs;

static pleat_tensor *gate_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_mul(x, pleat_nn_own_param(m, 0));
}

static void gate_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const gate_attrs *a = pleat_nn_attrs(m);
    snprintf(buffer, bytes, "%zu channels", a->channels);
}

static const pleat_nn_kind gate_kind = {.name = "Gate", .forward = gate_forward, .describe = gate_describe};

/* x [N,C,H,W] -> y [N,C,H,W]; weight [C,1,1] */
static pleat_nn_module *gate(pleat_ctx *ctx, size_t channels) {
    gate_attrs a = {channels};
    pleat_nn_module *m = pleat_nn_module_new(ctx, &gate_kind, &a, sizeof a);
    return pleat_nn_add_param(m, "weight", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(channels, 1, 1)));
}

/* ---- a block and a network: children --------------------------------------------------------------------------- */

static pleat_tensor *block_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_add(x, pleat_nn_forward(pleat_nn_child(m, 0), x));
}

static const pleat_nn_kind block_kind = {.name = "Block", .forward = block_forward};

/* No check between the lines: an error makes m NULL, and the context keeps the first one. */
static pleat_nn_module *block(pleat_ctx *ctx, size_t channels) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &block_kind, NULL, 0);
    pleat_nn_module *half1 = pleat_nn_conv2d(ctx, channels, channels, .kernel = {3, 3}, .pad = {1, 1});
    pleat_nn_module *half2 = pleat_nn_conv2d(ctx, channels, channels, .kernel = {3, 3}, .pad = {1, 1});
    return pleat_nn_add_child(
        m, "body", pleat_nn_sequential(ctx, half1, pleat_nn_relu(ctx), half2, gate(ctx, channels)));
}

static pleat_tensor *net_forward(pleat_nn_module *m, pleat_tensor *x) {
    for (size_t i = 0; i < 2; i++) x = pleat_nn_forward(pleat_nn_child(m, i), x);
    return pleat_nn_forward(pleat_nn_child(m, 2), pleat_mean(x, PLEAT_AXES(2, 3))); /* [N,16,8,8] -> [N,16] */
}

static const pleat_nn_kind net_kind = {.name = "Net", .forward = net_forward};

static pleat_nn_module *net_new(pleat_ctx *ctx) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &net_kind, NULL, 0);
    m = pleat_nn_add_child(m, "stem",
                           pleat_nn_conv2d(ctx, 1, 16, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}));
    m = pleat_nn_add_child(m, "blocks",
                           pleat_nn_sequential(ctx, block(ctx, 16), pleat_nn_relu(ctx), block(ctx, 16)));
    return pleat_nn_add_child(m, "head", pleat_nn_linear(ctx, 16, 5));
}

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    pleat_tensor *y = pleat_nn_forward(user, b->x);
    *metric = pleat_nn_accuracy(y, b->labels);
    return pleat_nn_cross_entropy_loss(y, .labels = b->labels);
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    pleat_nn_images train = {0}, test = {0};
    pleat_nn_shapes(ctx, 4000, 16, 16, 1, &train);
    pleat_nn_shapes(ctx, 500, 16, 16, 2, &test);
    pleat_nn_loader *loader = pleat_nn_loader_new(ctx, &train, .batch = 50, .shuffle = true);
    pleat_nn_loader *test_loader = pleat_nn_loader_new(ctx, &test, .batch = 100);

    pleat_nn_module *net = net_new(ctx);
    pleat_nn_optimizer *adam = pleat_nn_adam(net, .lr = 3e-3);
    pleat_nn_summary(net, PLEAT_SHAPE(1, 1, 16, 16), stdout);
    char name[64];
    for (size_t i = 0; i < pleat_nn_param_count(net); i++)
        printf("%s ", pleat_nn_param_name(net, i, name, sizeof name));
    printf("\n\n");

    pleat_nn_run run;
    pleat_nn_fit(&run, .part = {{"net", net, .opt = adam}}, .train = loader, .valid = test_loader,
                 .epochs = 5, .loss = loss, .user = net, .metric_name = "accuracy", .progress = stdout);
    double accuracy = run.epochs ? run.epoch[run.epochs - 1].valid_metric : 0;
    printf("\naccuracy %.3f of images that were not trained on\n", accuracy);

    bool failed = pleat_error(ctx)->code != PLEAT_OK;
    if (failed) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_run_free(&run);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
    pleat_nn_loader_free(loader);
    pleat_nn_loader_free(test_loader);
    pleat_nn_images_free(&train);
    pleat_nn_images_free(&test);
    pleat_ctx_free(ctx);
    return failed || accuracy < 0.9;
}

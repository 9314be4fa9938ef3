/* Segmentation: a U-Net (Ronneberger, Fischer, Brox 2015) finds the discs in noisy images of discs and bars.
 *
 * Each image has a mask, 1 on discs and 0 elsewhere. Discs and bars have the same greys, so a threshold is
 * not enough. The loss is 1 - dice: the overlap of prediction and mask, which does not mind that most pixels
 * are background.
 *
 *     cc unet.c $(pkg-config --cflags --libs pleat) && ./a.out   # unet.png: images, masks, predictions
 */
#include <pleat_nn.h>
#include <string.h>

enum { SIZE = 32 };

/* The loader calls this for an image and again for its mask, with the same random numbers. For pictures in
 * files see pleat_nn_read_png_pairs; for arrays in memory give .data in place of .fill. */
static bool draw(void *user, size_t item, pleat_rng *r, void *out) {
    (void)item;
    float image[SIZE][SIZE], mask[SIZE][SIZE] = {{0}};
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) image[i][j] = 0.3f + (float)(0.05 * pleat_rng_normal(r));
    for (int k = 0; k < 6; k++) { /* four bars, then two discs upon them */
        bool disc = k >= 4;
        double y = SIZE * pleat_rng_uniform(r), x = SIZE * pleat_rng_uniform(r);
        double radius = 4 + 4 * pleat_rng_uniform(r);
        double a = disc ? radius : k % 2 ? 1 : 8, b = disc ? radius : k % 2 ? 8 : 1; /* half axes */
        float light = (float)(0.2 + 0.4 * pleat_rng_uniform(r));
        for (int i = 0; i < SIZE; i++)
            for (int j = 0; j < SIZE; j++) {
                double dy = (i - y) / a, dx = (j - x) / b;
                if (disc ? dy * dy + dx * dx > 1 : dy * dy > 1 || dx * dx > 1) continue;
                image[i][j] = 0.3f + light, mask[i][j] = disc;
            }
    }
    memcpy(out, *(const bool *)user ? mask : image, sizeof image);
    return true;
}

static pleat_nn_module *two_convs(pleat_ctx *ctx, size_t in, size_t out) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, in, out, .kernel = {3, 3}, .pad = {1, 1}), pleat_nn_relu(ctx),
        pleat_nn_conv2d(ctx, out, out, .kernel = {3, 3}, .pad = {1, 1}), pleat_nn_relu(ctx));
}

static pleat_nn_module *larger(pleat_ctx *ctx, size_t in, size_t out) {
    return pleat_nn_conv_transpose2d(ctx, in, out, .kernel = {2, 2}, .stride = {2, 2});
}

static pleat_tensor *beside(pleat_tensor *a, pleat_tensor *b) {
    return pleat_concat(2, (pleat_tensor *[]){a, b}, 1);
}

static pleat_tensor *child(pleat_nn_module *m, size_t i, pleat_tensor *x) {
    return pleat_nn_forward(pleat_nn_child(m, i), x);
}

/* x [N,1,H,W] -> logits [N,1,H,W]; H and W are multiples of 4 */
static pleat_tensor *unet_forward(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *a = child(m, 0, x);                           /* [N,8,H,W] */
    pleat_tensor *b = child(m, 1, pleat_max_pool2d(a, {2, 2})); /* [N,16,H/2,W/2] */
    pleat_tensor *c = child(m, 2, pleat_max_pool2d(b, {2, 2})); /* [N,32,H/4,W/4] */
    pleat_tensor *d = child(m, 4, beside(b, child(m, 3, c)));   /* enlarged, beside b: [N,16,H/2,W/2] */
    return child(m, 7, child(m, 6, beside(a, child(m, 5, d)))); /* the same beside a */
}

static const pleat_nn_kind unet_kind = {.name = "UNet", .forward = unet_forward};

static pleat_nn_module *unet_new(pleat_ctx *ctx) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &unet_kind, NULL, 0);
    m = pleat_nn_add_child(m, "down1", two_convs(ctx, 1, 8));
    m = pleat_nn_add_child(m, "down2", two_convs(ctx, 8, 16));
    m = pleat_nn_add_child(m, "middle", two_convs(ctx, 16, 32));
    m = pleat_nn_add_child(m, "up2", larger(ctx, 32, 16));
    m = pleat_nn_add_child(m, "merge2", two_convs(ctx, 32, 16));
    m = pleat_nn_add_child(m, "up1", larger(ctx, 16, 8));
    m = pleat_nn_add_child(m, "merge1", two_convs(ctx, 16, 8));
    return pleat_nn_add_child(m, "out", pleat_nn_conv2d(ctx, 8, 1, .kernel = {1, 1}));
}

static pleat_tensor *loss(void *net, const pleat_nn_batch *b, double *metric) {
    pleat_tensor *logits = pleat_nn_forward(net, b->x);
    /* of pixels that are on or off */
    *metric = 1 - pleat_item(pleat_nn_dice_loss(pleat_step(logits), b->target));
    return pleat_nn_dice_loss(pleat_sigmoid(logits), b->target);
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    bool is_mask[] = {false, true};
    pleat_nn_data data = {
        .count = 800,
        .field = {{"image", PLEAT_NN_F32, 3, {1, SIZE, SIZE}, .fill = draw, .user = &is_mask[0]},
                  {"mask", PLEAT_NN_F32, 3, {1, SIZE, SIZE}, .fill = draw, .user = &is_mask[1]}}};
    pleat_nn_loader *train = pleat_nn_loader_new(ctx, .data = &data, .batch = 16, .seed = 1);
    data.count = 64;
    pleat_nn_loader *valid = pleat_nn_loader_new(ctx, .data = &data, .batch = 16, .seed = 2);

    pleat_nn_module *net = unet_new(ctx);
    pleat_nn_optimizer *adam = pleat_nn_adam(net, .lr = 1e-2);
    pleat_nn_run run;
    pleat_nn_fit(&run, .part = {{"net", net, .opt = adam}}, .train = train, .valid = valid, .epochs = 5,
                 .loss = loss, .user = net, .metric_name = "dice", .schedule = {.cosine = 5 * 50},
                 .progress = stdout);
    double dice = run.epochs ? run.epoch[run.epochs - 1].valid_metric : 0;
    pleat_nn_batch b;
    pleat_nn_loader_start(valid, 0, 0);
    if (pleat_nn_loader_next(valid, &b)) {
        pleat_tensor *rows[] = {b.x, b.target, pleat_sigmoid(pleat_nn_forward(net, b.x))};
        pleat_nn_write_png_grid("unet.png", pleat_concat(3, rows, 0), 16, 2);
    }
    printf("\ndice %.3f of new images; unet.png has 16 of them, masks and predictions\n", dice);
    bool failed = pleat_error(ctx)->code != PLEAT_OK;
    if (failed) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_run_free(&run);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
    pleat_nn_loader_free(train);
    pleat_nn_loader_free(valid);
    pleat_ctx_free(ctx);
    return failed || dice < 0.9;
}

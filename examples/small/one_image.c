/* One image at a time, quickly: a network's forward pass in evaluation, prepared. Plans, packed weights and
 * memory are made once; each answer then has the bits of the network's own forward pass, and allocates
 * nothing. A change of the weights takes effect in the next answer.
 *
 * Several threads: a prepared pass for each, of the same network. Only answers may be asked for at the same
 * time.
 *
 *     cc one_image.c $(pkg-config --cflags --libs pleat) && ./a.out */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */

#include <pleat_nn.h>

#include <string.h>
#include <time.h>

enum { PIXELS = 28 * 28, CLASSES = 10, IMAGES = 2000 };

static pleat_nn_module *classifier(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_batch_norm2d(ctx, 16), pleat_nn_relu(ctx),
        pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_batch_norm2d(ctx, 32), pleat_nn_relu(ctx), pleat_nn_flatten(ctx),
        pleat_nn_linear(ctx, 32 * 7 * 7, 64), pleat_nn_relu(ctx), pleat_nn_dropout(ctx, 0.5),
        pleat_nn_linear(ctx, 64, CLASSES), pleat_nn_softmax(ctx, 1));
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The usual way: tensors, a scope, and nothing recorded. */
static void ask(pleat_nn_module *net, const float *image, float *y) {
    pleat_ctx *ctx = pleat_nn_ctx(net);
    pleat_scope scope = pleat_begin(ctx);
    bool recording = pleat_set_recording(ctx, false);
    pleat_tensor *answer =
        pleat_nn_forward(net, pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 28, 28), image));
    if (!pleat_is_poison(answer)) memcpy(y, pleat_const_f32(answer), CLASSES * sizeof *y);
    pleat_set_recording(ctx, recording);
    pleat_end(scope);
}

/* Both ways, on IMAGES images; the number of answers that differ. */
static int compare(pleat_nn_module *net, pleat_prepared *p, const float *images) {
    static float usual[IMAGES][CLASSES], prepared[IMAGES][CLASSES];
    int wrong = 0;
    for (int i = 0; i < IMAGES; i++)
        ask(net, images + i * PIXELS, usual[i]); /* until the processor has noticed */
    double start = seconds();
    for (int i = 0; i < IMAGES; i++) ask(net, images + i * PIXELS, usual[i]);
    double middle = seconds();
    for (int i = 0; i < IMAGES; i++)
        if (pleat_run_f32(p, images + i * PIXELS, prepared[i])) wrong++;
    double end = seconds();
    for (int i = 0; i < IMAGES; i++) wrong += memcmp(usual[i], prepared[i], sizeof usual[i]) != 0;
    printf("an image: %.1f microseconds, prepared %.1f; %d of %d answers differ\n",
           1e6 * (middle - start) / IMAGES, 1e6 * (end - middle) / IMAGES, wrong, IMAGES);
    return wrong;
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_nn_module *net = classifier(ctx);
    pleat_tensor *images = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(IMAGES, PIXELS), 0, 1);
    pleat_nn_set_training(net, false);
    pleat_prepared *p = pleat_nn_prepare(net, PLEAT_SHAPE(1, 1, 28, 28));
    bool fine = p && !compare(net, p, pleat_const_f32(images));
    if (fine) { /* as a step of an optimizer would, or pleat_nn_load */
        pleat_tensor *weight = pleat_nn_find_param(net, "0.weight");
        pleat_assign(weight, pleat_scale(weight, 2));
        fine = !compare(net, p, pleat_const_f32(images));
    }
    if (pleat_error(ctx)->code) printf("%s\n", pleat_error(ctx)->text);
    pleat_prepared_free(p);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return !fine;
}

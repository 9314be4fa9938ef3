/* The bits of losses, optimizers, learning rates, initialisers and data, the same on every processor and from every compiler; see
 * ops/determinism_bits.c. */
#include "bits.h"

#include <criterion/criterion.h>

#include "pleat_nn.h"

enum { ROWS = 61, COLUMNS = 83 };

#define TABLE \
    2, { ROWS, COLUMNS }
#define IMAGES \
    4, { 3, 6, 37, 41 }

/* ---- losses --------------------------------------------------------------------------------------------- */

static pleat_tensor *other(pleat_tensor *x) { return pleat_scale(pleat_flip(x, PLEAT_AXES(0)), 0.5); }
static pleat_tensor *share(pleat_tensor *x) { return pleat_sigmoid(x); }

static const size_t *labels(void) {
    static size_t label[ROWS];
    for (size_t i = 0; i < ROWS; i++) label[i] = i * i % COLUMNS;
    return label;
}

static const double *weights(void) {
    static double weight[COLUMNS];
    for (size_t k = 0; k < COLUMNS; k++) weight[k] = 1 / (double)(k + 1);
    return weight;
}

BITS_OF(mse, pleat_nn_mse_loss(x, other(x)))
BITS_OF(l1, pleat_nn_l1_loss(x, other(x), .reduction = PLEAT_NN_SUM))
BITS_OF(huber, pleat_nn_huber_loss(x, other(x), .delta = 0.7))
BITS_OF(bce, pleat_nn_bce_loss(share(x), share(other(x))))
BITS_OF(bce_with_logits, pleat_nn_bce_with_logits_loss(x, share(other(x))))
BITS_OF(dice, pleat_nn_dice_loss(share(x), share(other(x))))
BITS_OF(kl, pleat_nn_kl_loss(x, other(x)))
BITS_OF(of_labels, pleat_nn_cross_entropy_loss(x, .labels = labels(), .label_smoothing = 0.1))
BITS_OF(of_weighted, pleat_nn_cross_entropy_loss(x, .labels = labels(), .weight = weights()))
BITS_OF(of_probabilities, pleat_nn_cross_entropy_loss(x, pleat_softmax(other(x), 1)))

Test(bits, of_losses) {
    static const bits_case cases[] = {
        {"mse", mse, TABLE, 0x8611dcd6673c2aacu},
        {"l1", l1, TABLE, 0xa60533fd042c4741u},
        {"huber", huber, TABLE, 0x981e239f66b1b154u},
        {"bce", bce, TABLE, 0x6bdf01279e178cf5u},
        {"bce_with_logits", bce_with_logits, TABLE, 0x9bf79518f0396406u},
        {"dice", dice, IMAGES, 0xf31e6c75d8240ca9u},
        {"kl", kl, TABLE, 0x6ef5df297f7d68beu},
        {"cross entropy of labels", of_labels, TABLE, 0x0a8061309d42be12u},
        {"weighted cross entropy", of_weighted, TABLE, 0x399a2891c384e616u},
        {"cross entropy of probabilities", of_probabilities, TABLE, 0x7ddef292ce0661e5u},
    };
    bits_expect(sizeof cases / sizeof *cases, cases);
}

/* ---- optimizers ----------------------------------------------------------------------------------------- */

typedef pleat_nn_optimizer *maker(pleat_nn_module *net);

static pleat_nn_optimizer *sgd(pleat_nn_module *net) {
    return pleat_nn_sgd(net, .lr = 0.1, .weight_decay = 0.01);
}
static pleat_nn_optimizer *momentum(pleat_nn_module *net) {
    return pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.9, .nesterov = true, .clip_value = 1.5);
}
static pleat_nn_optimizer *adam(pleat_nn_module *net) {
    return pleat_nn_adam(net, .lr = 0.01, .clip_norm = 20);
}
static pleat_nn_optimizer *adamw(pleat_nn_module *net) { return pleat_nn_adamw(net, .lr = 0.01); }
static pleat_nn_optimizer *rmsprop(pleat_nn_module *net) {
    return pleat_nn_rmsprop(net, .momentum = 0.9, .centered = true);
}

/* The parameters of a layer, and their average, after five steps along random gradients. */
static uint64_t add_steps(uint64_t hash, maker *make, pleat_dtype type, int threads) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = threads, .seed = 3);
    pleat_nn_module *net = pleat_nn_linear(ctx, 307, 61, .dtype = type);
    pleat_nn_optimizer *opt = make(net);
    pleat_nn_ema *ema = pleat_nn_ema_new(net, 0.9);
    for (size_t step = 0; step < 5; step++) {
        pleat_tensor *g[2];
        for (size_t i = 0; i < 2; i++) {
            pleat_tensor *p = pleat_nn_param(net, i);
            g[i] = pleat_uniform(ctx, type, pleat_rank(p), pleat_shape(p), -2, 2);
        }
        cr_assert_eq(pleat_nn_update(opt, g), PLEAT_OK);
        pleat_nn_ema_update(ema);
    }
    for (size_t i = 0; i < 4; i++, i == 2 ? pleat_nn_ema_swap(ema) : (void)0)
        hash = bits_add_tensor(hash, pleat_nn_param(net, i % 2));
    hash = bits_add_f64(hash, pleat_nn_grad_norm(opt));
    pleat_nn_ema_free(ema);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return hash;
}

Test(bits, of_optimizers) {
    static const struct {
        const char *name;
        maker *make;
        uint64_t hash;
    } cases[] = {{"sgd", sgd, 0xac38a4ffdecb5003u},
                 {"sgd with momentum", momentum, 0x430aa20b1d395ed0u},
                 {"adam", adam, 0x49303562f7c23da8u},
                 {"adamw", adamw, 0x2d8a9a9077573736u},
                 {"rmsprop", rmsprop, 0x0948a279b4000b14u}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int threads = 1; threads <= 5; threads += 2) {
            uint64_t hash = add_steps(BITS_NONE, cases[k].make, PLEAT_F32, threads);
            hash = add_steps(hash, cases[k].make, PLEAT_F64, threads);
            cr_expect_eq(hash, cases[k].hash, "%s, %d threads: 0x%016llxu", cases[k].name, threads,
                         (unsigned long long)hash);
        }
}

/* ---- what a run begins with ----------------------------------------------------------------------------- */

static uint64_t of_rates(void) {
    static const pleat_nn_schedule schedules[] = {{.warmup = 9, .cosine = 77, .least = 1e-5},
                                                  {.step = 7, .gamma = 0.83},
                                                  {.warmup = 3, .warmup_from = 0.1, .step = 11}};
    uint64_t hash = BITS_NONE;
    for (size_t t = 0; t < 300; t++)
        hash = bits_add_f64(hash, pleat_nn_schedule_lr(&schedules[t % 3], 0.0123, t / 3));
    pleat_nn_plateau p = {.factor = 0.7, .patience = 2};
    double lr = 0.1;
    for (int i = 0; i < 50; i++) hash = bits_add_f64(hash, lr = pleat_nn_plateau_lr(&p, lr, i % 7));
    return hash;
}

static uint64_t of_initialisers(void) {
    uint64_t hash = BITS_NONE;
    pleat_ctx *ctx = pleat_ctx_new(.seed = 4);
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *w = pleat_zeros(ctx, type, PLEAT_SHAPE(17, 5, 3, 3));
        pleat_nn_init_kaiming_uniform(w, 0.2), hash = bits_add_tensor(hash, w);
        pleat_nn_init_kaiming_normal(w, 0.2), hash = bits_add_tensor(hash, w);
        pleat_nn_init_xavier_uniform(w, 1.3), hash = bits_add_tensor(hash, w);
        pleat_nn_init_xavier_normal(w, 1.3), hash = bits_add_tensor(hash, w);
        pleat_nn_init_uniform(w, -0.3, 0.7), hash = bits_add_tensor(hash, w);
        pleat_nn_module *layer = pleat_nn_conv_transpose2d(ctx, 7, 5, .kernel = {3, 3}, .dtype = type);
        for (size_t i = 0; i < 2; i++) hash = bits_add_tensor(hash, pleat_nn_param(layer, i));
        pleat_nn_free(layer);
    }
    pleat_ctx_free(ctx);
    return hash;
}

/* Generated images, and an epoch of transformed batches in random order. */
static uint64_t of_data(void) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 5);
    pleat_nn_images images;
    pleat_nn_batch batch;
    cr_assert_eq(pleat_nn_shapes(ctx, 50, 28, 31, 9, &images), PLEAT_OK);
    uint64_t hash = bits_add_bytes(BITS_NONE, 50 * 28 * 31, images.pixels);
    hash = bits_add_bytes(hash, 50, images.labels);
    pleat_nn_transform transform = {.crop_pad = 2,
                                    .crop = {25, 27},
                                    .flip = 0.5,
                                    .flip_rows = 0.3,
                                    .noise = 0.2,
                                    .mean = {0.3},
                                    .std = {0.7}};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_loader *loader = pleat_nn_loader_new(ctx, &images, .batch = 8, .shuffle = true, .seed = 6,
                                                      .transform = transform, .dtype = type);
        pleat_nn_loader_start(loader, 2, 0);
        while (pleat_nn_loader_next(loader, &batch)) {
            hash = bits_add_tensor(bits_add_tensor(hash, batch.x), batch.clean);
            for (size_t i = 0; i < batch.n; i++) hash = bits_add(hash, batch.index[i]);
        }
        pleat_nn_loader_free(loader);
    }
    pleat_nn_images_free(&images);
    pleat_ctx_free(ctx);
    return hash;
}

Test(bits, of_beginnings) {
    static const struct {
        const char *name;
        uint64_t (*of)(void);
        uint64_t hash;
    } cases[] = {{"rates", of_rates, 0xd2e3ea58f2f64a4eu},
                 {"initialisers", of_initialisers, 0x7d64ebc7e76822a1u},
                 {"data", of_data, 0x1c52963e68becda4u}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const uint64_t hash = cases[k].of();
        cr_expect_eq(hash, cases[k].hash, "%s: 0x%016llxu", cases[k].name, (unsigned long long)hash);
    }
}

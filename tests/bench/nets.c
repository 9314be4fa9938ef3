#include "nets.h"

#include "autoencoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 10, LATENT = 16, NOISE = 64 };

/* ---- layers that come often -------------------------------------------------------------------------- */

typedef struct layers {
    pleat_ctx *ctx;
    size_t n;
    pleat_nn_module *m[64];
} layers;

static void add(layers *l, pleat_nn_module *m) { l->m[l->n++] = m; }
static pleat_nn_module *in_a_row(layers *l) { return pleat_nn_sequential_of(l->ctx, l->n, l->m); }

typedef struct conv {
    size_t in, out, kernel, stride, groups; /* groups and stride: default 1 */
} conv;

/* A convolution without bias, whose map is as large as the image divided by the stride, and batch normalisation. */
static void add_conv(layers *l, conv c) {
    ptrdiff_t pad = (ptrdiff_t)(c.kernel / 2);
    size_t stride = c.stride ? c.stride : 1;
    add(l, pleat_nn_conv2d(l->ctx, c.in, c.out, .kernel = {c.kernel, c.kernel}, .stride = {stride, stride},
                           .pad = {pad, pad}, .groups = c.groups ? c.groups : 1, .no_bias = true));
    add(l, pleat_nn_batch_norm2d(l->ctx, c.out));
}

static void add_conv_relu(layers *l, conv c) {
    add_conv(l, c);
    add(l, pleat_nn_relu(l->ctx));
}

static pleat_tensor *first_module(subject *s) { return pleat_nn_forward(s->module[0], s->in[0]); }

static pleat_tensor *classes_loss(subject *s, size_t part) {
    (void)part;
    return pleat_nn_cross_entropy_loss(first_module(s), .labels = s->labels);
}

/* The mean square of the distance to input 1, or to input 0 where there is no other. */
static pleat_tensor *distance_loss(subject *s, size_t part) {
    (void)part;
    return pleat_nn_mse_loss(first_module(s), s->in[1] != NULL ? s->in[1] : s->in[0]);
}

static pleat_tensor *mask_loss(subject *s, size_t part) {
    (void)part;
    return pleat_nn_bce_with_logits_loss(first_module(s), s->in[1]);
}

/* ---- the examples' networks -------------------------------------------------------------------------- */

static void build_autoencoder(subject *s) { s->module[0] = autoencoder(s->ctx); }

/* x [N,1,28,28] -> mean and logarithm of the variance [N,2 LATENT] */
static pleat_nn_module *vae_encoder(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_silu(ctx), pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_silu(ctx), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 32 * 7 * 7, 128), pleat_nn_silu(ctx),
        pleat_nn_linear(ctx, 128, 2 * LATENT));
}

/* z [N,LATENT] -> logits [N,1,28,28] */
static pleat_nn_module *vae_decoder(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_linear(ctx, LATENT, 128), pleat_nn_silu(ctx), pleat_nn_linear(ctx, 128, 32 * 7 * 7),
        pleat_nn_silu(ctx), pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7, 7)),
        pleat_nn_conv_transpose2d(ctx, 32, 16, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_silu(ctx),
        pleat_nn_conv_transpose2d(ctx, 16, 1, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}));
}

static void build_vae(subject *s) {
    s->module[0] = pleat_nn_sequential(s->ctx, vae_encoder(s->ctx), vae_decoder(s->ctx));
}

/* 0: the mean, 1: the logarithm of the variance */
static pleat_tensor *half(pleat_tensor *code, size_t which) {
    return pleat_slice(code, (size_t[]){0, which * LATENT}, (size_t[]){pleat_size(code, 0), LATENT}, NULL);
}

static pleat_tensor *vae_loss(subject *s, size_t part) {
    (void)part;
    pleat_tensor *x = s->in[0], *noise = s->in[1];
    pleat_tensor *code = pleat_nn_forward(pleat_nn_child(s->module[0], 0), x);
    pleat_tensor *mean = half(code, 0), *log_var = half(code, 1);
    pleat_tensor *z = pleat_add(mean, pleat_mul(noise, pleat_exp(pleat_scale(log_var, 0.5))));
    pleat_tensor *logits = pleat_nn_forward(pleat_nn_child(s->module[0], 1), z);
    pleat_tensor *likelihood = pleat_nn_bce_with_logits_loss(logits, x, .reduction = PLEAT_NN_SUM);
    return pleat_add(pleat_scale(likelihood, 1 / (double)s->batch),
                     pleat_mean(pleat_nn_kl_loss(mean, log_var)));
}

/* The image that the mean stands for. */
static pleat_tensor *vae_infer(subject *s) {
    pleat_tensor *code = pleat_nn_forward(pleat_nn_child(s->module[0], 0), s->in[0]);
    return pleat_sigmoid(pleat_nn_forward(pleat_nn_child(s->module[0], 1), half(code, 0)));
}

static void add_prelu(layers *l, size_t in, size_t out, size_t kernel) {
    ptrdiff_t pad = (ptrdiff_t)(kernel / 2);
    add(l, pleat_nn_conv2d(l->ctx, in, out, .kernel = {kernel, kernel}, .pad = {pad, pad}));
    add(l, pleat_nn_prelu(l->ctx, out, PLEAT_F32));
}

static void build_superresolution(subject *s) {
    layers l = {.ctx = s->ctx};
    add_prelu(&l, 1, 32, 5);
    add_prelu(&l, 32, 12, 1);
    add_prelu(&l, 12, 12, 3);
    add_prelu(&l, 12, 12, 3);
    add_prelu(&l, 12, 32, 1);
    add(&l, pleat_nn_conv_transpose2d(l.ctx, 32, 1, .kernel = {9, 9}, .stride = {2, 2}, .pad = {4, 4},
                                      .output_padding = {1, 1}));
    s->module[0] = in_a_row(&l);
}

static void build_classifier(subject *s) {
    pleat_ctx *ctx = s->ctx;
    layers l = {.ctx = ctx};
    add_conv_relu(&l, (conv){.in = 1, .out = 32, .kernel = 3});
    add(&l, pleat_nn_max_pool2d(ctx, .kernel = {2, 2}));
    add_conv_relu(&l, (conv){.in = 32, .out = 48, .kernel = 3});
    add_conv_relu(&l, (conv){.in = 48, .out = 64, .kernel = 3});
    add(&l, pleat_nn_max_pool2d(ctx, .kernel = {2, 2}));
    add_conv_relu(&l, (conv){.in = 64, .out = 64, .kernel = 3});
    add(&l, pleat_nn_adaptive_avg_pool2d(ctx, 1, 1));
    add(&l, pleat_nn_flatten(ctx));
    add(&l, pleat_nn_dropout(ctx, s->repeatable ? 0 : 0.1));
    add(&l, pleat_nn_linear(ctx, 64, CLASSES));
    s->module[0] = in_a_row(&l);
}

/* ---- a generative adversarial network with gradient penalty ------------------------------------------ */

static pleat_nn_module *critic(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 32, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_leaky_relu(ctx, 0.2),
        pleat_nn_conv2d(ctx, 32, 64, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_leaky_relu(ctx, 0.2), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 64 * 7 * 7, 1));
}

static pleat_nn_module *generator(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_linear(ctx, NOISE, 64 * 7 * 7), pleat_nn_unflatten(ctx, PLEAT_SHAPE(64, 7, 7)),
        pleat_nn_batch_norm2d(ctx, 64), pleat_nn_relu(ctx),
        pleat_nn_conv_transpose2d(ctx, 64, 32, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1},
                                  .no_bias = true),
        pleat_nn_batch_norm2d(ctx, 32), pleat_nn_relu(ctx),
        pleat_nn_conv_transpose2d(ctx, 32, 1, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_sigmoid(ctx));
}

static void build_wgan_gp(subject *s) {
    s->module[0] = critic(s->ctx);
    s->module[1] = generator(s->ctx);
}

/* mean (|d critic / d x| - 1)^2 at points between real and made images */
static pleat_tensor *gradient_penalty(subject *s, pleat_tensor *made) {
    pleat_tensor *real = s->in[0], *t = s->in[3], *slope;
    pleat_tensor *x = pleat_add(made, pleat_mul(t, pleat_sub(real, made)));
    pleat_tensor *score = pleat_sum(pleat_nn_forward(s->module[0], x));
    if (pleat_grads(score, NULL, 1, &x, &slope, PLEAT_GRADS_RECORD) != PLEAT_OK) return slope;
    pleat_tensor *norm = pleat_sqrt(pleat_shift(pleat_sum(pleat_square(slope), PLEAT_AXES(1, 2, 3)), 1e-12));
    return pleat_mean(pleat_square(pleat_shift(norm, -1)));
}

/* A step of the critic, then one of the generator. */
static pleat_tensor *wgan_gp_loss(subject *s, size_t part) {
    pleat_tensor *made = pleat_nn_forward(s->module[1], s->in[1 + part]);
    if (part == 1) return pleat_neg(pleat_mean(pleat_nn_forward(s->module[0], made)));
    made = pleat_detach(made);
    pleat_tensor *distance = pleat_sub(pleat_mean(pleat_nn_forward(s->module[0], s->in[0])),
                                       pleat_mean(pleat_nn_forward(s->module[0], made)));
    return pleat_sub(pleat_scale(gradient_penalty(s, made), 10), distance);
}

static pleat_tensor *wgan_gp_infer(subject *s) { return pleat_nn_forward(s->module[1], s->in[1]); }

/* ---- ResNet-18 and MobileNetV2 for 32x32 ------------------------------------------------------------- */

static pleat_nn_module *resnet_block(pleat_ctx *ctx, size_t in, size_t out, size_t stride) {
    layers body = {.ctx = ctx}, shortcut = {.ctx = ctx};
    add_conv_relu(&body, (conv){.in = in, .out = out, .kernel = 3, .stride = stride});
    add_conv(&body, (conv){.in = out, .out = out, .kernel = 3});
    if (in == out) return net_plain_residual(ctx, in_a_row(&body), true);
    add_conv(&shortcut, (conv){.in = in, .out = out, .kernel = 1, .stride = stride});
    return net_residual(ctx, in_a_row(&body), in_a_row(&shortcut), true);
}

/* He, Zhang, Ren, Sun 2016; a stem of 3x3 without a pool. */
static void build_resnet18(subject *s) {
    pleat_ctx *ctx = s->ctx;
    layers l = {.ctx = ctx};
    add_conv_relu(&l, (conv){.in = 3, .out = 64, .kernel = 3});
    for (size_t out = 64, in = 64; out <= 512; out *= 2) {
        add(&l, resnet_block(ctx, in, out, in == out ? 1 : 2));
        add(&l, resnet_block(ctx, out, out, 1));
        in = out;
    }
    add(&l, pleat_nn_adaptive_avg_pool2d(ctx, 1, 1));
    add(&l, pleat_nn_flatten(ctx));
    add(&l, pleat_nn_linear(ctx, 512, CLASSES));
    s->module[0] = in_a_row(&l);
}

static void add_conv_relu6(layers *l, conv c) {
    add_conv(l, c);
    add(l, pleat_nn_relu6(l->ctx));
}

static pleat_nn_module *inverted_residual(pleat_ctx *ctx, conv c, size_t expansion) {
    layers l = {.ctx = ctx};
    size_t wide = c.in * expansion;
    if (expansion != 1) add_conv_relu6(&l, (conv){.in = c.in, .out = wide, .kernel = 1});
    add_conv_relu6(&l, (conv){.in = wide, .out = wide, .kernel = 3, .stride = c.stride, .groups = wide});
    add_conv(&l, (conv){.in = wide, .out = c.out, .kernel = 1});
    return c.in == c.out && c.stride == 1 ? net_plain_residual(ctx, in_a_row(&l), false) : in_a_row(&l);
}

/* Sandler et al. 2018, table 2; the first two strides are 1. */
static void build_mobilenetv2(subject *s) {
    static const struct {
        size_t expansion, out, blocks, stride;
    } stage[] = {{1, 16, 1, 1}, {6, 24, 2, 1},  {6, 32, 3, 2}, {6, 64, 4, 2},
                 {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    pleat_ctx *ctx = s->ctx;
    layers l = {.ctx = ctx};
    size_t in = 32;
    add_conv_relu6(&l, (conv){.in = 3, .out = in, .kernel = 3});
    for (size_t i = 0; i < sizeof stage / sizeof *stage; i++)
        for (size_t k = 0; k < stage[i].blocks; k++) {
            conv c = {.in = in, .out = stage[i].out, .stride = k ? 1 : stage[i].stride};
            add(&l, inverted_residual(ctx, c, stage[i].expansion));
            in = stage[i].out;
        }
    add_conv_relu6(&l, (conv){.in = in, .out = 1280, .kernel = 1});
    add(&l, pleat_nn_adaptive_avg_pool2d(ctx, 1, 1));
    add(&l, pleat_nn_flatten(ctx));
    add(&l, pleat_nn_linear(ctx, 1280, CLASSES));
    s->module[0] = in_a_row(&l);
}

/* ---- U-Net ------------------------------------------------------------------------------------------- */

static void add_two_convs(layers *l, size_t in, size_t out) {
    add_conv_relu(l, (conv){.in = in, .out = out, .kernel = 3});
    add_conv_relu(l, (conv){.in = out, .out = out, .kernel = 3});
}

/* x [N,in,H,W] -> [N,C,H,W]; `below` more levels, each with half the size and twice the channels. Ronneberger, Fischer, Brox 2015,
 * with padding and batch normalisation. */
static pleat_nn_module *unet_level(pleat_ctx *ctx, size_t in, size_t C, size_t below) {
    layers l = {.ctx = ctx}, inner = {.ctx = ctx};
    add_two_convs(&l, in, C);
    if (below == 0) return in_a_row(&l);
    add(&inner, pleat_nn_max_pool2d(ctx, .kernel = {2, 2}));
    add(&inner, unet_level(ctx, C, 2 * C, below - 1));
    add(&inner, pleat_nn_conv_transpose2d(ctx, 2 * C, C, .kernel = {2, 2}, .stride = {2, 2}));
    add(&l, net_skip(ctx, in_a_row(&inner)));
    add_two_convs(&l, 2 * C, C);
    return in_a_row(&l);
}

static void build_unet(subject *s) {
    s->module[0] = pleat_nn_sequential(s->ctx, unet_level(s->ctx, 3, 32, 3),
                                       pleat_nn_conv2d(s->ctx, 32, 1, .kernel = {1, 1}));
}

/* ---- DCGAN ------------------------------------------------------------------------------------------- */

/* z [N,100,1,1] -> [N,3,64,64]. Radford, Metz, Chintala 2016. */
static void build_dcgan_g(subject *s) {
    pleat_ctx *ctx = s->ctx;
    layers l = {.ctx = ctx};
    for (size_t out = 512, in = 100; out >= 64; in = out, out /= 2) {
        bool first = in == 100;
        size_t stride = first ? 1 : 2;
        ptrdiff_t pad = first ? 0 : 1;
        add(&l, pleat_nn_conv_transpose2d(ctx, in, out, .kernel = {4, 4}, .stride = {stride, stride},
                                          .pad = {pad, pad}, .no_bias = true));
        add(&l, pleat_nn_batch_norm2d(ctx, out));
        add(&l, pleat_nn_relu(ctx));
    }
    add(&l, pleat_nn_conv_transpose2d(ctx, 64, 3, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1},
                                      .no_bias = true));
    add(&l, pleat_nn_tanh(ctx));
    s->module[0] = in_a_row(&l);
}

/* x [N,3,64,64] -> logits [N,1,1,1] */
static void build_dcgan_d(subject *s) {
    pleat_ctx *ctx = s->ctx;
    layers l = {.ctx = ctx};
    for (size_t in = 3, out = 64; out <= 512; in = out, out *= 2) {
        add(&l, pleat_nn_conv2d(ctx, in, out, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1},
                                .no_bias = true));
        if (in != 3) add(&l, pleat_nn_batch_norm2d(ctx, out));
        add(&l, pleat_nn_leaky_relu(ctx, 0.2));
    }
    add(&l, pleat_nn_conv2d(ctx, 512, 1, .kernel = {4, 4}, .no_bias = true));
    s->module[0] = in_a_row(&l);
}

/* ---- without images ---------------------------------------------------------------------------------- */

static void build_mlp(subject *s) {
    pleat_ctx *ctx = s->ctx;
    s->module[0] = pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 784, 512), pleat_nn_relu(ctx),
                                       pleat_nn_linear(ctx, 512, 512), pleat_nn_relu(ctx),
                                       pleat_nn_linear(ctx, 512, 10));
}

static void add_conv1d(layers *l, size_t in, size_t out, size_t kernel) {
    add(l,
        pleat_nn_conv1d(l->ctx, in, out, .kernel = kernel, .pad = (ptrdiff_t)(kernel / 2), .no_bias = true));
    add(l, pleat_nn_batch_norm1d(l->ctx, out));
    add(l, pleat_nn_relu(l->ctx));
}

/* x [N,4,512] -> [N,10] */
static void build_conv1d(subject *s) {
    pleat_ctx *ctx = s->ctx;
    layers l = {.ctx = ctx};
    add_conv1d(&l, 4, 32, 7);
    add(&l, pleat_nn_max_pool1d(ctx, .kernel = 2));
    add_conv1d(&l, 32, 64, 5);
    add(&l, pleat_nn_max_pool1d(ctx, .kernel = 2));
    add_conv1d(&l, 64, 128, 3);
    add_conv1d(&l, 128, 128, 3);
    add(&l, pleat_nn_avg_pool1d(ctx, .kernel = 128));
    add(&l, pleat_nn_flatten(ctx));
    add(&l, pleat_nn_linear(ctx, 128, CLASSES));
    s->module[0] = in_a_row(&l);
}

/* ---- the table --------------------------------------------------------------------------------------- */

#define IMAGE(C, H, W)                   \
    {                                    \
        "x", NET_UNIFORM, 3, { C, H, W } \
    }
#define LABELS                         \
    {                                  \
        "labels", NET_LABELS, 0, { 0 } \
    }

const bench_net bench_nets[] = {
    {"autoencoder", 111521, {IMAGE(1, 28, 28)}, NET_ADAM, build_autoencoder, distance_loss, first_module},
    {"vae",
     422673,
     {IMAGE(1, 28, 28), {"noise", NET_NORMAL, 1, {LATENT}}},
     NET_ADAM,
     build_vae,
     vae_loss,
     vae_infer},
    {"superresolution",
     6953,
     {IMAGE(1, 14, 14), {"target", NET_UNIFORM, 3, {1, 28, 28}}},
     NET_ADAM,
     build_superresolution,
     distance_loss,
     first_module},
    {"wgan_gp",
     273826,
     {IMAGE(1, 28, 28),
      {"noise", NET_NORMAL, 1, {NOISE}},
      {"noise2", NET_NORMAL, 1, {NOISE}},
      {"mix", NET_UNIFORM, 3, {1, 1, 1}}},
     NET_ADAM,
     build_wgan_gp,
     wgan_gp_loss,
     wgan_gp_infer},
    {"classifier",
     79690,
     {IMAGE(1, 28, 28), LABELS},
     NET_ADAMW,
     build_classifier,
     classes_loss,
     first_module},
    {"resnet18", 11173962, {IMAGE(3, 32, 32), LABELS}, NET_SGD, build_resnet18, classes_loss, first_module},
    {"mobilenetv2",
     2236682,
     {IMAGE(3, 32, 32), LABELS},
     NET_SGD,
     build_mobilenetv2,
     classes_loss,
     first_module},
    {"unet",
     1927009,
     {IMAGE(3, 64, 64), {"target", NET_UNIFORM, 3, {1, 64, 64}}},
     NET_ADAM,
     build_unet,
     mask_loss,
     first_module},
    {"dcgan_g",
     3576704,
     {{"x", NET_NORMAL, 3, {100, 1, 1}}, {"target", NET_UNIFORM, 3, {3, 64, 64}}},
     NET_ADAM,
     build_dcgan_g,
     distance_loss,
     first_module},
    {"dcgan_d",
     2765568,
     {IMAGE(3, 64, 64), {"target", NET_UNIFORM, 3, {1, 1, 1}}},
     NET_ADAM,
     build_dcgan_d,
     mask_loss,
     first_module},
    {"mlp", 669706, {{"x", NET_UNIFORM, 1, {784}}, LABELS}, NET_ADAM, build_mlp, classes_loss, first_module},
    {"conv1d",
     86858,
     {{"x", NET_UNIFORM, 2, {4, 512}}, LABELS},
     NET_ADAM,
     build_conv1d,
     classes_loss,
     first_module},
};
const size_t bench_net_count = sizeof bench_nets / sizeof *bench_nets;

const bench_net *find_bench_net(const char *name) {
    for (size_t i = 0; i < bench_net_count; i++)
        if (strcmp(bench_nets[i].name, name) == 0) return &bench_nets[i];
    return NULL;
}

/* ---- from start to stop ------------------------------------------------------------------------------ */

static bool draw(subject *s, size_t i) {
    const net_input *in = &s->net->input[i];
    size_t shape[4] = {s->batch, in->shape[0], in->shape[1], in->shape[2]};
    if (in->values == NET_NORMAL) s->in[i] = pleat_randn(s->ctx, PLEAT_F32, in->rank + 1, shape);
    if (in->values == NET_UNIFORM) s->in[i] = pleat_uniform(s->ctx, PLEAT_F32, in->rank + 1, shape, 0, 1);
    if (in->values == NET_LABELS) {
        s->in[i] = pleat_zeros(s->ctx, PLEAT_F32, 1, shape);
        s->labels = malloc(s->batch * sizeof *s->labels);
        if (s->labels == NULL || pleat_is_poison(s->in[i])) return false;
        for (size_t k = 0; k < s->batch; k++)
            pleat_f32(s->in[i])[k] =
                (float)(s->labels[k] = (size_t)pleat_rng_below(pleat_ctx_rng(s->ctx), CLASSES));
    }
    pleat_hold(s->in[i]);
    return !pleat_is_poison(s->in[i]);
}

/* Rates that neither move a network far in thousands of steps on the same batch, nor leave it where it is. */
static pleat_nn_optimizer *optimizer(net_optimizer which, pleat_nn_module *m) {
    if (which == NET_SGD) return pleat_nn_sgd(m, .lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4);
    if (which == NET_ADAMW) return pleat_nn_adamw(m, .lr = 1e-4, .weight_decay = 0.02);
    return pleat_nn_adam(m, .lr = 1e-4);
}

bool subject_start(subject *s, int threads) {
    s->ctx = pleat_ctx_new(.threads = threads, .seed = 1);
    if (s->ctx == NULL) return fprintf(stderr, "bench_nets: no memory\n"), false;
    bool fine = true;
    for (size_t i = 0; i < NET_INPUTS && s->net->input[i].values && fine; i++) fine = draw(s, i);
    if (fine) s->net->build(s);
    for (size_t p = 0; p < NET_PARTS && s->module[p] != NULL; p++)
        s->opt[p] = optimizer(s->net->optimizer, s->module[p]);
    if (fine && s->opt[0] != NULL && pleat_error(s->ctx)->code == PLEAT_OK) return true;
    return fprintf(stderr, "bench_nets: %s: %s\n", s->net->name, pleat_error(s->ctx)->text), false;
}

void subject_stop(subject *s) {
    pleat_prepared_free(s->prepared);
    for (size_t i = 0; i < NET_INPUTS; i++) pleat_drop(s->in[i]);
    for (size_t p = 0; p < NET_PARTS; p++) {
        pleat_nn_optimizer_free(s->opt[p]);
        pleat_nn_free(s->module[p]);
    }
    free(s->labels);
    pleat_ctx_free(s->ctx);
}

size_t subject_params(const subject *s) {
    size_t sum = 0;
    for (size_t p = 0; p < NET_PARTS && s->module[p] != NULL; p++) sum += pleat_nn_param_numel(s->module[p]);
    return sum;
}

void subject_step(void *arg) {
    subject *s = arg;
    for (size_t p = 0; p < NET_PARTS && s->module[p] != NULL; p++) {
        pleat_scope scope = pleat_begin(s->ctx);
        pleat_nn_step(s->opt[p], s->net->loss(s, p));
        pleat_end(scope);
    }
}

static void set_training(subject *s, bool training) {
    for (size_t p = 0; p < NET_PARTS && s->module[p] != NULL; p++)
        pleat_nn_set_training(s->module[p], training);
}

void subject_infer(void *arg) {
    subject *s = arg;
    pleat_scope scope = pleat_begin(s->ctx);
    bool recorded = pleat_set_recording(s->ctx, false);
    set_training(s, false);
    s->net->infer(s);
    set_training(s, true);
    pleat_set_recording(s->ctx, recorded);
    pleat_end(scope);
}

/* x takes the place of the first input. */
static pleat_tensor *infer_from(pleat_tensor *x, void *arg) {
    subject *s = arg;
    pleat_tensor *first = s->in[0];
    s->in[0] = x;
    pleat_tensor *y = s->net->infer(s);
    s->in[0] = first;
    return y;
}

bool subject_prepare(subject *s) {
    set_training(s, false);
    s->prepared = pleat_prepare(s->ctx, infer_from, s, PLEAT_F32, pleat_rank(s->in[0]), pleat_shape(s->in[0]),
                                .threads = pleat_threads(s->ctx));
    set_training(s, true);
    if (s->prepared != NULL) return true;
    return fprintf(stderr, "bench_nets: %s: %s\n", s->net->name, pleat_error(s->ctx)->text), false;
}

void subject_run(void *arg) {
    const subject *s = arg;
    pleat_run_f32(s->prepared, pleat_const_f32(s->in[0]), NULL);
}

/* Optimizers against PyTorch: a hundred steps of a small network with each method and its options, after each of which all
 * parameters agree; and a warmed-up step calls malloc never. */
#include "optim.h"

#include <math.h>

#include "mallocs.h"

TestSuite(optim, .init = optim_begin, .fini = optim_end);

oracle *torch;

void optim_begin(void) {
    tensors_begin();
    torch = oracle_read("optim.txt");
    cr_assert(torch);
}

void optim_end(void) {
    oracle_free(torch);
    tensors_end();
}

const oracle_array *need(const char *name, const char *what) {
    const oracle_array *a = what ? oracle_find(torch, "%s.%s", name, what) : oracle_find(torch, "%s", name);
    cr_assert(a, "there is no %s.%s", name, what ? what : "");
    return a;
}

/* ---- the network --------------------------------------------------------------------------------------- */

pleat_nn_module *small_net(pleat_dtype dtype) {
    pleat_nn_module *net =
        pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 2, 2, .dtype = dtype), pleat_nn_tanh(ctx),
                            pleat_nn_linear(ctx, 2, 1, .dtype = dtype));
    const double *values = need("start", NULL)->values;
    for (size_t i = 0; i < pleat_nn_param_count(net); values += pleat_numel(pleat_nn_param(net, i++))) {
        pleat_tensor *p = pleat_nn_param(net, i);
        pleat_tensor *start = pleat_from_f64(ctx, PLEAT_F64, pleat_rank(p), pleat_shape(p), values);
        EXPECT_OK(pleat_assign(p, start));
        pleat_drop(start);
    }
    return net;
}

void read_params(pleat_nn_module *net, double *values) {
    for (size_t i = 0; i < pleat_nn_param_count(net); i++) {
        pleat_read_f64(pleat_nn_param(net, i), values);
        values += pleat_numel(pleat_nn_param(net, i));
    }
}

pleat_tensor *small_loss(pleat_nn_module *net) {
    pleat_dtype dtype = pleat_dtype_of(pleat_nn_param(net, 0));
    pleat_tensor *x = oracle_tensor(ctx, dtype, need("x", NULL));
    return pleat_nn_mse_loss(pleat_nn_forward(net, x), oracle_tensor(ctx, dtype, need("target", NULL)));
}

/* ---- trajectories -------------------------------------------------------------------------------------- */

typedef struct run {
    const char *name;
    pleat_nn_optimizer *(*make)(pleat_nn_module *net);
    double decay; /* of the averages that are compared; 0: the parameters themselves */
    pleat_nn_schedule schedule;
} run;

OPTIMIZER(sgd, pleat_nn_sgd(net, .lr = 0.1))
OPTIMIZER(momentum, pleat_nn_sgd(net, .lr = 0.05, .momentum = 0.9))
OPTIMIZER(nesterov, pleat_nn_sgd(net, .lr = 0.05, .momentum = 0.8, .nesterov = true, .weight_decay = 0.02))
OPTIMIZER(dampening, pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.01))
OPTIMIZER(adam, pleat_nn_adam(net, .lr = 0.02, .betas = {0.8, 0.99}))
OPTIMIZER(adam_decay, pleat_nn_adam(net, .lr = 0.03, .weight_decay = 0.1))
OPTIMIZER(wgan, pleat_nn_adam(net, .lr = 0.004, .betas = {0, 0.9}, .eps = 1e-3))
OPTIMIZER(adamw, pleat_nn_adamw(net, .lr = 0.05))
OPTIMIZER(adamw_decay, pleat_nn_adamw(net, .lr = 0.02, .weight_decay = 0.5))
OPTIMIZER(rmsprop, pleat_nn_rmsprop(net))
/* Over the ten steps of an alpha of 0.9 gradients hardly differ: their deviation is a small difference of large squares, and a hundred
 * steps of this length make of f32's rounding some thousandths of a parameter, which depend on the order of sums. Over twenty they
 * do differ. */
OPTIMIZER(centered, pleat_nn_rmsprop(net, .lr = 0.005, .alpha = 0.95, .centered = true, .eps = 1e-4))
OPTIMIZER(rms_momentum, pleat_nn_rmsprop(net, .lr = 0.002, .momentum = 0.7, .weight_decay = 0.05))
OPTIMIZER(rms_all, pleat_nn_rmsprop(net, .lr = 0.001, .alpha = 0.95, .momentum = 0.5, .centered = true,
                                    .weight_decay = 0.01))
OPTIMIZER(clip_norm, pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.5, .weight_decay = 0.01, .clip_norm = 0.3))
OPTIMIZER(clip_value, pleat_nn_adam(net, .lr = 0.02, .clip_value = 0.05))
OPTIMIZER(clip_both, pleat_nn_rmsprop(net, .lr = 0.01, .clip_norm = 0.25, .clip_value = 0.1))
OPTIMIZER(fast_sgd, pleat_nn_sgd(net, .lr = 0.2))
OPTIMIZER(fast_adam, pleat_nn_adam(net, .lr = 0.05))
OPTIMIZER(plain_adam, pleat_nn_adam(net, .lr = 0.03))
OPTIMIZER(adamw_groups,
          pleat_nn_adamw(net, .lr = 0.05, .weight_decay = 0.5,
                         .group = {{.names = "*bias", .no_decay = true}, {.names = "2.*", .lr_scale = 0.4}}))
/* the second overrides the first */
OPTIMIZER(sgd_groups, pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.5, .weight_decay = 0.02,
                                   .group = {{.names = "0.*", .weight_decay = 0.3},
                                             {.max_rank = 1, .weight_decay = 0.02},
                                             {.names = "*2.*", .max_rank = 1, .lr_scale = 4}}))
OPTIMIZER(adam_groups, pleat_nn_adam(net, .lr = 0.03, .weight_decay = 0.1, .clip_norm = 0.3,
                                     .group = {{.max_rank = 1, .no_decay = true}}))
OPTIMIZER(rms_groups, pleat_nn_rmsprop(net, .lr = 0.002, .momentum = 0.7, .weight_decay = 0.05,
                                       .group = {{.names = "*.bias", .lr_scale = 3},
                                                 {.names = "0.w*t", .lr_scale = 0.5},
                                                 {.names = "0.*ias", .lr_scale = 1.5}}))

static const run runs[] = {
    {.name = "sgd", .make = sgd},
    {.name = "sgd.momentum", .make = momentum},
    {.name = "sgd.nesterov", .make = nesterov},
    {.name = "sgd.dampening", .make = dampening},
    {.name = "adam", .make = adam},
    {.name = "adam.decay", .make = adam_decay},
    {.name = "adam.wgan", .make = wgan},
    {.name = "adamw", .make = adamw},
    {.name = "adamw.decay", .make = adamw_decay},
    {.name = "rmsprop", .make = rmsprop},
    {.name = "rmsprop.centered", .make = centered},
    {.name = "rmsprop.momentum", .make = rms_momentum},
    {.name = "rmsprop.all", .make = rms_all},
    {.name = "sgd.clip_norm", .make = clip_norm},
    {.name = "adam.clip_value", .make = clip_value},
    {.name = "rmsprop.clip_both", .make = clip_both},
    {.name = "sgd.steps", .make = fast_sgd, .schedule = {.step = 30, .gamma = 0.5}},
    {.name = "adam.warm_cosine",
     .make = fast_adam,
     .schedule = {.warmup = 20, .warmup_from = 0.1, .cosine = 80, .least = 0.001}},
    {.name = "adamw.groups", .make = adamw_groups},
    {.name = "sgd.groups", .make = sgd_groups, .schedule = {.step = 30, .gamma = 0.5}},
    {.name = "adam.groups", .make = adam_groups},
    {.name = "rmsprop.groups", .make = rms_groups},
    {.name = "adam.ema", .make = plain_adam, .decay = 0.9},
};
enum { RUNS = sizeof runs / sizeof *runs, STEPS = 100, WARM = 3 };

/* One step of a run at time t. */
static void step(const run *r, pleat_nn_optimizer *opt, pleat_nn_ema *ema, pleat_tensor *loss, double base,
                 size_t t) {
    pleat_nn_set_lr(opt, pleat_nn_schedule_lr(&r->schedule, base, t));
    EXPECT_OK(pleat_nn_step(opt, loss));
    pleat_nn_ema_update(ema);
}

static void expect_params(const run *r, pleat_nn_module *net, size_t t, double tolerance) {
    const oracle_array *a = need(r->name, "params");
    double found[PARAMS];
    read_params(net, found);
    cr_assert_eq(a->numel, STEPS * PARAMS);
    for (size_t i = 0; i < PARAMS; i++) {
        double expected = a->values[t * PARAMS + i], scale = fmax(fabs(expected), 0.01);
        cr_assert(fabs(found[i] - expected) <= tolerance * scale,
                  "%s, step %zu, parameter %zu: %.17g instead of %.17g", r->name, t, i, found[i], expected);
    }
}

static void expect_norm(const run *r, pleat_nn_optimizer *opt, size_t t, double tolerance) {
    const oracle_array *norms = oracle_find(torch, "%s.norms", r->name);
    double expected = norms ? norms->values[t] : 0;
    cr_assert(fabs(pleat_nn_grad_norm(opt) - expected) <= tolerance,
              "%s, step %zu: norm %.17g instead of %.17g", r->name, t, pleat_nn_grad_norm(opt), expected);
}

/* Train as PyTorch did; a warm step leaves malloc alone. */
static void follow(const run *r, pleat_dtype dtype, double tolerance) {
    pleat_nn_module *net = small_net(dtype);
    pleat_nn_optimizer *opt = r->make(net);
    pleat_nn_ema *ema = r->decay > 0 ? pleat_nn_ema_new(net, r->decay) : NULL;
    cr_assert(opt, "%s: %s", r->name, pleat_error(ctx)->text);
    double base = pleat_nn_lr(opt);
    size_t mallocs = 0, asked = 0;
    for (size_t t = 0; t < STEPS; t++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *loss = small_loss(net);
        if (t == WARM) asked = pleat_memory(ctx).allocations;
        mallocs_start();
        step(r, opt, ema, loss, base, t);
        if (t >= WARM) mallocs += mallocs_stop();
        pleat_end(s);
        pleat_nn_ema_swap(ema);
        expect_params(r, net, t, tolerance);
        pleat_nn_ema_swap(ema);
        expect_norm(r, opt, t, tolerance);
    }
    cr_assert_eq(mallocs, 0, "%s: %zu calls of malloc in warm steps", r->name, mallocs);
    cr_assert_eq(pleat_memory(ctx).allocations, asked, "%s: a warm step asks for memory", r->name);
    pleat_nn_ema_free(ema);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

Test(optim, trajectories_agree_with_pytorch) {
    for (size_t i = 0; i < RUNS; i++) follow(&runs[i], PLEAT_F64, 1e-10);
    cr_assert_eq(pleat_memory(ctx).tensors, 0, "%zu tensors live on", pleat_memory(ctx).tensors);
}

Test(optim, trajectories_in_f32_stay_close) {
    for (size_t i = 0; i < RUNS; i++) follow(&runs[i], PLEAT_F32, 1e-3);
}

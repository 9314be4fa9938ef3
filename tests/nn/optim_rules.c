/* Optimizers: what they refuse, whom they leave alone, and what they do when a loss, a gradient or the memory
 * fails. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../nn/optimizer.h"
#include "core/core.h"
#include "mallocs.h"
#include "optim.h"

TestSuite(rules, .init = optim_begin, .fini = optim_end);

/* One of each method, with all its state. */
OPTIMIZER(sgd, pleat_nn_sgd(net, .lr = 0.1))
OPTIMIZER(momentum, pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.9))
OPTIMIZER(adam, pleat_nn_adam(net, .lr = 0.1))
OPTIMIZER(adamw, pleat_nn_adamw(net, .lr = 0.1))
OPTIMIZER(rmsprop, pleat_nn_rmsprop(net, .lr = 0.1, .centered = true, .momentum = 0.9))
OPTIMIZER(clipped, pleat_nn_adam(net, .lr = 0.1, .clip_norm = 0.1, .clip_value = 0.01))

static pleat_nn_optimizer *(*const makers[])(pleat_nn_module *) = {sgd,   momentum, adam,
                                                                   adamw, rmsprop,  clipped};
enum { MAKERS = sizeof makers / sizeof *makers };

/* ---- options --------------------------------------------------------------------------------------------- */

static void expect_refused(const pleat_nn_optimizer *made, const char *op, const char *part) {
    cr_assert_null(made);
    EXPECT_FAILED(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, op, part);
}

Test(rules, sgd_refuses) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    expect_refused(pleat_nn_sgd(net), "sgd", ".lr must be given");
    expect_refused(pleat_nn_sgd(net, .lr = -1), "sgd", ".lr must be given, finite and greater than 0");
    expect_refused(pleat_nn_sgd(net, .lr = INFINITY), "sgd", ".lr must be given");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .momentum = 1), "sgd",
                   "momentum must be at least 0 and less than 1");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .momentum = NAN), "sgd", "momentum must be");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .dampening = NAN), "sgd", "dampening must be finite");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .weight_decay = -1), "sgd", "weight_decay must be");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .nesterov = true), "sgd", "nesterov needs a momentum");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .nesterov = true, .momentum = 0.5, .dampening = 0.1), "sgd",
                   "a dampening of 0");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .clip_norm = -1), "sgd", "clip_norm must be");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .clip_value = INFINITY), "sgd", "clip_value must be");
    pleat_nn_free(net);
}

Test(rules, adam_refuses) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    expect_refused(pleat_nn_adam(net, .lr = -1), "adam", "lr must be finite and greater than 0");
    expect_refused(pleat_nn_adamw(net, .eps = -1), "adamw", "eps must be");
    expect_refused(pleat_nn_adam(net, .betas = {0.9, 1}), "adam", "both betas");
    expect_refused(pleat_nn_adam(net, .betas = {0.9}), "adam", ".betas = {0.9, 0} is half a pair");
    expect_refused(pleat_nn_adamw(net, .betas = {-0.1, 0.9}), "adamw", "both betas");
    expect_refused(pleat_nn_adam(net, .weight_decay = NAN), "adam", "weight_decay must be");
    expect_refused(pleat_nn_adamw(net, .weight_decay = 0.1, .no_decay = true), "adamw", "exclude each other");
    expect_refused(pleat_nn_adam(net, .clip_norm = NAN), "adam", "clip_norm must be");
    pleat_nn_free(net);
}

Test(rules, rmsprop_refuses) {
    pleat_nn_module *net = small_net(PLEAT_F32), *bare = pleat_nn_relu(ctx);
    expect_refused(pleat_nn_rmsprop(net, .lr = -1), "rmsprop", "lr must be");
    expect_refused(pleat_nn_rmsprop(net, .alpha = 1), "rmsprop", "alpha must be");
    expect_refused(pleat_nn_rmsprop(net, .eps = INFINITY), "rmsprop", "eps must be");
    expect_refused(pleat_nn_rmsprop(net, .momentum = -0.5), "rmsprop", "momentum must be");
    expect_refused(pleat_nn_rmsprop(net, .weight_decay = -0.5), "rmsprop", "weight_decay must be");
    expect_refused(pleat_nn_rmsprop(net, .clip_value = -0.5), "rmsprop", "clip_value must be");
    expect_refused(pleat_nn_rmsprop(bare), "rmsprop", "the network has no parameters");
    cr_assert_null(pleat_nn_rmsprop(NULL));
    cr_assert_null(pleat_nn_adamw(NULL));
    pleat_nn_free(bare);
    pleat_nn_free(net);
}

/* ---- defaults and state ---------------------------------------------------------------------------------- */

Test(rules, defaults) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    pleat_nn_optimizer *opt[] = {pleat_nn_adam(net), pleat_nn_adamw(net), pleat_nn_rmsprop(net)};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(pleat_nn_lr(opt[i]), i == 2 ? 0.01 : 1e-3);
        cr_expect_eq(pleat_nn_grad_norm(opt[i]), 0);
        pleat_nn_optimizer_free(opt[i]);
    }
    cr_expect_eq(pleat_nn_grad_norm(NULL), 0);
    pleat_nn_free(net);
}

/* An eps that the type does not hold, or whose square it does not: mean squares of tiny gradients are flushed
 * to 0. */
static void expect_small_steps(pleat_nn_module *net, pleat_nn_optimizer *opt, double gradient) {
    double before[PARAMS], after[PARAMS];
    pleat_tensor *grads[PARAMS];
    read_params(net, before);
    for (size_t i = 0; i < pleat_nn_param_count(net); i++)
        grads[i] = pleat_full_like(pleat_nn_param(net, i), gradient);
    for (int step = 0; step < 3; step++) EXPECT_OK(pleat_nn_update(opt, grads));
    read_params(net, after);
    for (size_t i = 0; i < PARAMS; i++)
        cr_expect(fabs(after[i] - before[i]) < 1, "with gradients of %g from %g to %g", gradient, before[i],
                  after[i]);
    pleat_nn_optimizer_free(opt);
}

Test(rules, tiny_eps) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        double gradients[] = {0, type == PLEAT_F32 ? 1e-20 : 1e-160},
               eps = type == PLEAT_F32 ? 1e-60 : 1e-310;
        for (size_t i = 0; i < 2; i++) {
            pleat_nn_module *net = small_net(type);
            expect_small_steps(net, pleat_nn_adam(net, .eps = eps), gradients[i]);
            expect_small_steps(net, pleat_nn_rmsprop(net, .lr = 1e-3, .eps = eps), gradients[i]);
            pleat_nn_free(net);
        }
    }
}

/* adamw shrinks by 0.01 lr unless it is told not to; then it is adam. */
Test(rules, adamw_without_decay_is_adam) {
    double found[3][PARAMS];
    for (size_t i = 0; i < 3; i++) {
        pleat_nn_module *net = small_net(PLEAT_F64);
        pleat_nn_optimizer *opt = i == 0   ? pleat_nn_adam(net)
                                  : i == 1 ? pleat_nn_adamw(net, .no_decay = true)
                                           : pleat_nn_adamw(net);
        for (int t = 0; t < 5; t++) EXPECT_OK(pleat_nn_step(opt, small_loss(net)));
        read_params(net, found[i]);
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
    cr_expect_eq(memcmp(found[0], found[1], sizeof found[0]), 0);
    for (size_t i = 0; i < PARAMS; i++) cr_expect_neq(found[0][i], found[2][i]);
}

static void expect_states(pleat_nn_optimizer *opt, const char *const names[3]) {
    size_t n = 0;
    for (; n < 3 && names[n]; n++) cr_expect_str_eq(pln_optimizer_state_name(opt, n), names[n]);
    cr_expect_eq(pln_optimizer_states(opt), n);
    pleat_nn_module *net = pln_optimizer_net(opt);
    for (size_t i = 0; i < pleat_nn_param_count(net); i++) {
        for (size_t k = 0; k < n; k++)
            EXPECT_SAME(pln_optimizer_state(opt, i, k), pleat_zeros_like(pleat_nn_param(net, i)));
        cr_expect_eq(pln_optimizer_steps(opt, i), 0);
    }
    pleat_nn_optimizer_free(opt);
}

Test(rules, state_has_the_names_of_pytorch) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    expect_states(sgd(net), PARTS(NULL));
    expect_states(momentum(net), PARTS("momentum_buffer"));
    expect_states(adam(net), PARTS("exp_avg", "exp_avg_sq"));
    expect_states(adamw(net), PARTS("exp_avg", "exp_avg_sq"));
    expect_states(pleat_nn_rmsprop(net), PARTS("square_avg"));
    expect_states(pleat_nn_rmsprop(net, .centered = true), PARTS("square_avg", "grad_avg"));
    expect_states(pleat_nn_rmsprop(net, .momentum = 0.5), PARTS("square_avg", "momentum_buffer"));
    expect_states(rmsprop(net), PARTS("square_avg", "grad_avg", "momentum_buffer"));
    pleat_nn_free(net);
}

static void copy_params(pleat_nn_module *to, pleat_nn_module *from) {
    for (size_t i = 0; i < pleat_nn_param_count(to); i++)
        EXPECT_OK(pleat_assign(pleat_nn_param(to, i), pleat_nn_param(from, i)));
}

static void copy_state(pleat_nn_optimizer *to, pleat_nn_optimizer *from) {
    for (size_t i = 0; i < pleat_nn_param_count(pln_optimizer_net(to)); i++) {
        for (size_t k = 0; k < pln_optimizer_states(to); k++)
            EXPECT_OK(pleat_assign(pln_optimizer_state(to, i, k), pln_optimizer_state(from, i, k)));
        pln_optimizer_set_steps(to, i, pln_optimizer_steps(from, i));
    }
}

/* Parameters, state tensors and step counts are all there is: with them another optimizer goes on in the same
 * way. */
Test(rules, state_is_complete) {
    for (size_t m = 0; m < MAKERS; m++) {
        pleat_nn_module *one = small_net(PLEAT_F32), *other = small_net(PLEAT_F32);
        pleat_nn_optimizer *first = makers[m](one), *second = makers[m](other);
        for (int t = 0; t < 7; t++) EXPECT_OK(pleat_nn_step(first, small_loss(one)));
        copy_params(other, one);
        copy_state(second, first);
        for (int t = 0; t < 7; t++) {
            EXPECT_OK(pleat_nn_step(first, small_loss(one)));
            EXPECT_OK(pleat_nn_step(second, small_loss(other)));
        }
        for (size_t i = 0; i < pleat_nn_param_count(one); i++)
            EXPECT_SAME(pleat_nn_param(other, i), pleat_nn_param(one, i));
        pleat_nn_optimizer_free(first);
        pleat_nn_optimizer_free(second);
        pleat_nn_free(one);
        pleat_nn_free(other);
    }
}

/* ---- gradients of one's own ------------------------------------------------------------------------------ */

/* A gradient for each parameter, all elements equal. */
static void fill_grads(pleat_nn_module *net, pleat_tensor **grads, double value) {
    for (size_t i = 0; i < pleat_nn_param_count(net); i++)
        grads[i] = pleat_full_like(pleat_nn_param(net, i), value);
}

Test(rules, clipping_leaves_gradients_alone) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_module *net = small_net(type);
        pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 1, .clip_norm = 1, .clip_value = 0.25);
        double before[PARAMS], after[PARAMS];
        pleat_tensor *grads[4];
        fill_grads(net, grads, 2);
        read_params(net, before);
        EXPECT_OK(pleat_nn_update(opt, grads));
        read_params(net, after);
        cr_expect_float_eq(pleat_nn_grad_norm(opt), 6, 1e-6); /* nine twos */
        for (size_t i = 0; i < PARAMS; i++) cr_expect_float_eq(before[i] - after[i], 0.25, 1e-6);
        for (size_t i = 0; i < 4; i++) EXPECT_SAME(grads[i], pleat_full_like(grads[i], 2));
        fill_grads(net, grads, 0.1);
        EXPECT_OK(pleat_nn_update(opt, grads)); /* a norm of 0.3 is not changed */
        read_params(net, before);
        for (size_t i = 0; i < PARAMS; i++) cr_expect_float_eq(after[i] - before[i], 0.1, 1e-6);
        cr_expect_float_eq(pleat_nn_grad_norm(opt), 0.3, 1e-6);
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
}

/* The squares would be infinite in f32. */
Test(rules, norms_are_accumulated_in_double) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 0.5, .clip_norm = 3);
    pleat_tensor *grads[4];
    double before[PARAMS], after[PARAMS];
    fill_grads(net, grads, -1e30);
    read_params(net, before);
    EXPECT_OK(pleat_nn_update(opt, grads));
    read_params(net, after);
    for (size_t i = 0; i < PARAMS; i++) cr_expect_float_eq(after[i] - before[i], 0.5, 1e-6);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* The gradient of |p|^2 / 2 is p itself. */
Test(rules, a_parameter_may_be_its_own_gradient) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_module *net = pleat_nn_linear(ctx, 50, 3, .dtype = type);
        pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 0.25, .momentum = 0.5);
        pleat_tensor *grads[] = {pleat_nn_param(net, 0), pleat_nn_param(net, 1)};
        pleat_tensor *expected = pleat_scale(grads[0], 0.75);
        EXPECT_OK(pleat_nn_update(opt, grads));
        EXPECT_SAME(grads[0], expected);
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
}

/* p - lr (g + decay p), with and without a momentum, whose buffer is that gradient at the first step. */
Test(rules, weight_decay_of_sgd_is_a_gradient) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (int i = 0; i < 2; i++) {
            pleat_nn_module *net = pleat_nn_linear(ctx, 50, 3, .dtype = type);
            pleat_nn_optimizer *opt =
                pleat_nn_sgd(net, .lr = 0.25, .weight_decay = 0.5, .momentum = i ? 0.75 : 0);
            pleat_tensor *p[] = {pleat_nn_param(net, 0), pleat_nn_param(net, 1)}, *grads[2], *expected[2];
            for (size_t k = 0; k < 2; k++) {
                grads[k] = pleat_randn(ctx, type, pleat_rank(p[k]), pleat_shape(p[k]));
                expected[k] = pleat_sub(pleat_scale(p[k], 0.875), pleat_scale(grads[k], 0.25));
            }
            EXPECT_OK(pleat_nn_update(opt, grads));
            for (size_t k = 0; k < 2; k++) EXPECT_NEAR(p[k], expected[k], 1e-6);
            pleat_nn_optimizer_free(opt);
            pleat_nn_free(net);
        }
}

/* v - a^2 is 0 for a gradient that stays the same, and by rounding less. */
Test(rules, centered_rmsprop_bears_a_constant_gradient) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_module *net = small_net(type);
        pleat_nn_optimizer *opt = pleat_nn_rmsprop(net, .lr = 1e-12, .alpha = 0.5, .centered = true);
        pleat_tensor *grads[4];
        double values[PARAMS];
        for (int g = 1; g < 40; g++) {
            fill_grads(net, grads, 0.1 * g);
            for (int t = 0; t < 70; t++) EXPECT_OK(pleat_nn_update(opt, grads));
            read_params(net, values);
            for (size_t i = 0; i < PARAMS; i++) cr_assert(isfinite(values[i]), "gradient %g", 0.1 * g);
        }
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
}

/* ---- frozen parameters ----------------------------------------------------------------------------------- */

/* A weight that gets no gradient any more: its averages end at 0, not in numbers of few digits, which are
 * slow. */
Test(rules, averages_decay_to_zero) {
    for (size_t m = 1; m < MAKERS; m++) {
        pleat_nn_module *net = small_net(PLEAT_F32);
        pleat_nn_optimizer *opt = makers[m](net);
        pleat_tensor *grads[PARAMS];
        size_t n = pleat_nn_param_count(net);
        for (double g = 1e-17, t = 0; t < 600; t++, g = 0) {
            pleat_scope scope = pleat_begin(ctx);
            for (size_t i = 0; i < n; i++) grads[i] = pleat_full_like(pleat_nn_param(net, i), g);
            EXPECT_OK(pleat_nn_update(opt, grads));
            pleat_end(scope);
        }
        for (size_t k = 0; k < pln_optimizer_states(opt); k++) {
            const float *state = pleat_f32(pln_optimizer_state(opt, 0, k));
            cr_expect(state[0] == 0 || fabsf(state[0]) >= FLT_MIN, "method %zu, state %zu: %g", m, k,
                      (double)state[0]);
        }
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
}

Test(rules, frozen_parameters_keep_their_bits) {
    for (size_t m = 0; m < MAKERS; m++) {
        pleat_nn_module *net = small_net(PLEAT_F32);
        pleat_nn_optimizer *opt = makers[m](net);
        double before[PARAMS], after[PARAMS];
        pleat_nn_freeze(pleat_nn_child(net, 0), true);
        read_params(net, before);
        for (int t = 0; t < 5; t++) EXPECT_OK(pleat_nn_step(opt, small_loss(net)));
        read_params(net, after);
        cr_expect_eq(memcmp(before, after, 6 * sizeof *before), 0, "the first layer was frozen");
        for (size_t i = 6; i < PARAMS; i++) cr_expect_neq(before[i], after[i], "the second layer was not");
        for (size_t k = 0; k < pln_optimizer_states(opt); k++)
            EXPECT_SAME(pln_optimizer_state(opt, 0, k), pleat_zeros_like(pleat_nn_param(net, 0)));
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
}

/* With its first update Adam goes lr along the sign of the gradient. */
Test(rules, unfrozen_parameters_start_with_step_one) {
    pleat_nn_module *net = small_net(PLEAT_F64);
    pleat_nn_optimizer *opt = adam(net);
    pleat_tensor *grads[4];
    double before[PARAMS], after[PARAMS];
    pleat_nn_freeze(pleat_nn_child(net, 0), true);
    fill_grads(net, grads, 3);
    grads[0] = NULL, grads[1] = pleat_poison(ctx);
    for (int t = 0; t < 4; t++) EXPECT_OK(pleat_nn_update(opt, grads));
    pleat_nn_freeze(net, false);
    fill_grads(net, grads, -2);
    read_params(net, before);
    EXPECT_OK(pleat_nn_update(opt, grads));
    read_params(net, after);
    for (size_t i = 0; i < 6; i++) cr_expect_float_eq(after[i] - before[i], 0.1, 1e-8);
    for (size_t i = 6; i < PARAMS; i++)
        cr_expect_lt(after[i], before[i], "the mean of the gradients is still positive");
    for (size_t i = 0; i < 4; i++) cr_expect_eq(pln_optimizer_steps(opt, i), i < 2 ? 1 : 5);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* y = x, and the gradients that are asked for are counted. */
static int asked;
static bool watch_shape(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]);
    for (size_t i = 0; i < c->rank; i++) c->shape[i] = pleat_size(c->in[0], i);
    return true;
}
static bool watch_forward(const pleat_call *c) { return !pleat_assign(c->out, c->in[0]); }
static pleat_tensor *watch_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)c, (void)i;
    asked++;
    return g;
}
static const pleat_op watch_op = {"watch", watch_shape, watch_forward, watch_vjp, NULL, NULL, NULL};

Test(rules, no_gradient_is_computed_for_frozen_parameters) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    pleat_nn_optimizer *opt = sgd(net);
    for (int frozen = 0; frozen < 2; frozen++) {
        pleat_nn_freeze(pleat_nn_child(net, 0), frozen);
        pleat_tensor *w = pleat_nn_param(net, 0), *watched = pleat_apply(&watch_op, 1, &w, NULL, 0);
        pleat_tensor *loss = pleat_add(small_loss(net), pleat_mean(pleat_square(watched)));
        asked = 0;
        EXPECT_OK(pleat_nn_step(opt, loss));
        cr_expect_eq(asked, 1 - frozen);
    }
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

Test(rules, a_loss_need_not_depend_on_frozen_parameters) {
    pleat_nn_module *net = small_net(PLEAT_F32), *last = pleat_nn_child(net, 2);
    pleat_nn_optimizer *opt = pleat_nn_adam(net, .clip_norm = 1);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2), 1);
    EXPECT_FAILED(pleat_nn_step(opt, pleat_sum(pleat_nn_forward(last, x))), PLEAT_ERR_GRADIENT, "adam",
                  "does not depend on parameter \"0.weight\"", "or be frozen");
    uint64_t walks = ctx->walks;
    pleat_nn_step(opt, pleat_sum(pleat_nn_forward(last, x)));
    cr_expect_eq(ctx->walks - walks, 1, "the walk that failed says which parameter it was");
    pleat_clear_error(ctx);
    pleat_nn_freeze(pleat_nn_child(net, 0), true);
    EXPECT_OK(pleat_nn_step(opt, pleat_sum(pleat_nn_forward(last, x))));
    pleat_nn_freeze(pleat_nn_child(net, 0), false);
    pleat_nn_freeze(last, true);
    EXPECT_FAILED(pleat_nn_step(opt, pleat_sum(pleat_nn_forward(last, x))), PLEAT_ERR_GRADIENT, "adam",
                  "\"0.weight\"");
    pleat_nn_freeze(net, true);
    double before[PARAMS], after[PARAMS];
    read_params(net, before);
    EXPECT_OK(pleat_nn_step(opt, small_loss(net))); /* nobody is left to learn */
    read_params(net, after);
    cr_expect_eq(memcmp(before, after, sizeof before), 0);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* ---- what is not finite ---------------------------------------------------------------------------------- */

static void expect_untouched(pleat_nn_optimizer *opt, const double *before) {
    double after[PARAMS];
    read_params(pln_optimizer_net(opt), after);
    cr_expect_eq(memcmp(before, after, sizeof after), 0, "a parameter has changed");
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(pln_optimizer_steps(opt, i), 0);
        for (size_t k = 0; k < pln_optimizer_states(opt); k++)
            EXPECT_SAME(pln_optimizer_state(opt, i, k), pleat_zeros_like(pln_optimizer_state(opt, i, k)));
    }
}

Test(rules, a_loss_must_be_finite) {
    static const struct {
        double factor;
        const char *text;
    } bad[] = {{NAN, "the loss is nan"}, {INFINITY, "the loss is inf"}, {-INFINITY, "the loss is -inf"}};
    for (size_t m = 0; m < MAKERS; m++) {
        pleat_nn_module *net = small_net(PLEAT_F32);
        pleat_nn_optimizer *opt = makers[m](net);
        double before[PARAMS];
        read_params(net, before);
        for (size_t i = 0; i < 3; i++) {
            pleat_status status = pleat_nn_step(opt, pleat_scale(small_loss(net), bad[i].factor));
            const char *op = pleat_error(ctx)->text;
            cr_assert(status == PLEAT_ERR_ARGUMENT && strstr(op, bad[i].text) &&
                          strstr(op, "it must be finite"),
                      "%s", op);
            pleat_clear_error(ctx);
            expect_untouched(opt, before);
        }
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
}

Test(rules, a_norm_to_clip_must_be_finite) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    pleat_nn_optimizer *opt = clipped(net);
    pleat_tensor *grads[4];
    double before[PARAMS];
    read_params(net, before);
    for (int i = 0; i < 2; i++) {
        fill_grads(net, grads, 1);
        pleat_f32(grads[2])[1] = i ? NAN : INFINITY;
        EXPECT_FAILED(pleat_nn_update(opt, grads), PLEAT_ERR_ARGUMENT, "adam",
                      "\"2.weight\" has no finite norm");
        expect_untouched(opt, before);
    }
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* clip_value cuts infinity, and shows NaN. */
Test(rules, values_that_are_not_finite_are_cut) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_module *net = small_net(type);
        pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 1, .clip_value = 0.5);
        pleat_tensor *grads[4];
        double before[PARAMS], after[PARAMS];
        fill_grads(net, grads, -INFINITY);
        grads[3] = pleat_full_like(grads[3], NAN);
        read_params(net, before);
        EXPECT_OK(pleat_nn_update(opt, grads));
        read_params(net, after);
        for (size_t i = 0; i < PARAMS - 1; i++) cr_expect_float_eq(after[i] - before[i], 0.5, 1e-6);
        cr_expect(isnan(after[PARAMS - 1]));
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
}

Test(rules, a_step_reports_the_first_error) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    pleat_nn_optimizer *opt = sgd(net);
    pleat_fail(ctx, PLEAT_ERR_IO, "disk", "is full");
    pleat_tensor *loss = pleat_scale(small_loss(net), NAN);
    cr_expect_eq(pleat_nn_step(opt, loss), PLEAT_ERR_IO);
    EXPECT_FAILED(PLEAT_ERR_IO, PLEAT_ERR_IO, "disk", "is full");
    pleat_ctx *other = pleat_ctx_new();
    EXPECT_FAILED(pleat_nn_step(opt, pleat_zeros(other, PLEAT_F32, PLEAT_SCALAR)), PLEAT_ERR_ARGUMENT, "sgd",
                  "the loss is of another context");
    pleat_ctx_free(other);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

/* Whether there was an n-th call of malloc, which then failed. */
static bool make_failing(size_t n, size_t m, pleat_nn_module *net) {
    pleat_trim(ctx);
    size_t tensors = pleat_memory(ctx).tensors;
    mallocs_start_failing(n);
    pleat_nn_optimizer *opt = makers[m](net);
    bool hit = mallocs_stop() >= n;
    cr_assert(opt || hit);
    cr_assert_eq(pleat_error(ctx)->code, opt ? PLEAT_OK : PLEAT_ERR_MEMORY, "%s", pleat_error(ctx)->text);
    pleat_clear_error(ctx);
    if (opt) EXPECT_OK(pleat_nn_step(opt, small_loss(net)));
    pleat_nn_optimizer_free(opt);
    cr_assert(opt || pleat_memory(ctx).tensors == tensors);
    return hit;
}

Test(rules, without_memory_there_is_no_optimizer) {
    if (!mallocs_are_counted()) cr_skip_test("a sanitizer's malloc cannot be made to fail");
    pleat_nn_module *net = small_net(PLEAT_F32);
    for (size_t m = 0; m < MAKERS; m++) {
        size_t n = 1;
        while (make_failing(n, m, net)) n++;
        cr_assert_gt(n, 6, "only %zu calls were tried", n);
    }
    pleat_nn_free(net);
}

/* Every step either happens or leaves all as it was. */
Test(rules, without_memory_there_is_no_step) {
    if (!mallocs_are_counted()) cr_skip_test("a sanitizer's malloc cannot be made to fail");
    bool hit = true;
    size_t refused = 0;
    for (size_t n = 1; hit; n++) {
        pleat_nn_module *net = small_net(PLEAT_F32);
        pleat_nn_optimizer *opt = clipped(net);
        double before[PARAMS];
        read_params(net, before);
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *loss = small_loss(net);
        pleat_trim(ctx);
        mallocs_start_failing(n);
        pleat_status status = pleat_nn_step(opt, loss);
        hit = mallocs_stop() >= n;
        if (status) {
            refused++;
            cr_assert_eq(status, PLEAT_ERR_MEMORY, "%s", pleat_error(ctx)->text);
            pleat_clear_error(ctx);
            expect_untouched(opt, before);
        }
        EXPECT_OK(pleat_nn_step(opt, small_loss(net)));
        pleat_end(s);
        pleat_nn_optimizer_free(opt);
        pleat_nn_free(net);
    }
    cr_assert_gt(refused, 2, "only %zu steps were refused", refused);
}

Test(rules, a_loss_without_a_history) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    pleat_nn_optimizer *opt = pleat_nn_adam(net);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2), 1);
    pleat_set_recording(ctx, false);
    pleat_tensor *loss = small_loss(net), *y = pleat_nn_forward(net, x);
    EXPECT_FAILED(pleat_nn_step(opt, loss), PLEAT_ERR_GRADIENT, "step",
                  "the loss was computed while recording was off");
    pleat_set_recording(ctx, true);
    EXPECT_FAILED(pleat_nn_step(opt, pleat_sum(y)), PLEAT_ERR_GRADIENT, "adam", "parameter \"0.weight\"",
                  "; a tensor [", "was computed while recording was off");
    EXPECT_FAILED(pleat_nn_step(opt, pleat_reshape(pleat_square(x), PLEAT_SHAPE(2))), PLEAT_ERR_SHAPE, "step",
                  "the loss has shape [2]; it must have one element: pleat_mean or pleat_sum");
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* A step gives the history back, and what the loss was computed from keeps its value. */
Test(rules, a_step_consumes_the_history) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    pleat_nn_optimizer *opt = pleat_nn_adam(net);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2), 1), *y = pleat_nn_forward(net, x);
    pleat_tensor *loss = pleat_mean(pleat_square(y));
    double value = pleat_item(pleat_sum(y));
    EXPECT_OK(pleat_nn_step(opt, loss));
    cr_expect_eq(pleat_item(pleat_sum(y)), value);
    EXPECT_FAILED(pleat_nn_step(opt, loss), PLEAT_ERR_GRADIENT, "step",
                  "an earlier step has consumed its history");
    EXPECT_FAILED(pleat_nn_step(opt, pleat_mean(y)), PLEAT_ERR_GRADIENT, "grads", "has consumed it");
    EXPECT_OK(pleat_nn_accumulate(opt, loss = small_loss(net), 1));
    EXPECT_FAILED(pleat_nn_accumulate(opt, loss, 1), PLEAT_ERR_GRADIENT, "step", "has consumed its history");
    /* gradients that are asked for by themselves leave it */
    pleat_tensor *param = pleat_nn_param(net, 0), *g;
    loss = small_loss(net);
    for (int i = 0; i < 2; i++) EXPECT_OK(pleat_grads(loss, NULL, 1, &param, &g, 0));
    EXPECT_OK(pleat_nn_step(opt, loss));
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* The step of one network changes what the other's graph, made before, still needs: as of a critic and a
 * generator. */
Test(rules, a_graph_from_before_a_step_is_refused) {
    pleat_nn_module *critic = small_net(PLEAT_F32), *generator = pleat_nn_linear(ctx, 2, 2);
    pleat_nn_optimizer *one = pleat_nn_adam(critic), *other = pleat_nn_adam(generator);
    pleat_tensor *z = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(3, 2), 0.5),
                 *made = pleat_nn_forward(generator, z);
    pleat_tensor *score = pleat_mean(pleat_nn_forward(critic, made));
    EXPECT_OK(pleat_nn_step(one, small_loss(critic)));
    EXPECT_FAILED(pleat_nn_step(other, score), PLEAT_ERR_GRADIENT, "grads", "the gradient of matmul(",
                  "its tensor 1", "a step of an optimizer");
    EXPECT_OK(pleat_nn_step(other, pleat_mean(pleat_nn_forward(critic, made))));
    pleat_nn_optimizer_free(one), pleat_nn_optimizer_free(other);
    pleat_nn_free(critic), pleat_nn_free(generator);
}

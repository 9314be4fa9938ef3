/* An optimizer's loops go over whole parameters in vectors, with a rest. What becomes of an element does not depend on where it stands: a
 * parameter of n elements has the bits of n parameters of one element. Averages likewise, and their exchange in parts of 1,024 bytes. */
#include <stdlib.h>

#include "borders.h"
#include "optim.h"

TestSuite(optim_borders, .init = tensors_begin, .fini = tensors_end);

OPTIMIZER(sgd, pleat_nn_sgd(net, .lr = 0.1, .weight_decay = 0.01, .clip_value = 2))
OPTIMIZER(momentum, pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.9, .dampening = 0.3, .clip_norm = 1))
OPTIMIZER(nesterov, pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.9, .nesterov = true))
OPTIMIZER(adam, pleat_nn_adam(net, .lr = 0.1, .weight_decay = 0.01, .clip_norm = 5))
OPTIMIZER(adamw, pleat_nn_adamw(net, .lr = 0.1, .clip_value = 3))
OPTIMIZER(rmsprop, pleat_nn_rmsprop(net, .lr = 0.1, .clip_norm = 0.5))
OPTIMIZER(centered, pleat_nn_rmsprop(net, .lr = 0.1, .centered = true, .momentum = 0.9))

static pleat_nn_optimizer *(*const makers[])(pleat_nn_module *) = {sgd,   momentum, nesterov, adam,
                                                                   adamw, rmsprop,  centered};
enum { MAKERS = sizeof makers / sizeof *makers, MOST = 70, STEPS = 3 };

/* The elements from `first` on. */
static void put(pleat_tensor *to, const double *from) {
    EXPECT_OK(pleat_assign(to, pleat_from_f64(ctx, pleat_dtype_of(to), 1, pleat_shape(to), from)));
}

/* n parameters of one element. */
static pleat_nn_module *single_ones(size_t n, pleat_dtype type) {
    pleat_nn_module *children[MOST];
    for (size_t i = 0; i < n; i++) children[i] = pleat_nn_prelu(ctx, 1, type);
    return pleat_nn_sequential_of(ctx, n, children);
}

static void expect_one_by_one(pleat_dtype type, size_t n, size_t maker) {
    pleat_nn_module *whole_net = pleat_nn_prelu(ctx, n, type), *parts = single_ones(n, type);
    pleat_tensor *start = pleat_randn(ctx, PLEAT_F64, 1, &n), *grads[MOST];
    put(pleat_nn_param(whole_net, 0), pleat_f64(start));
    for (size_t i = 0; i < n; i++) put(pleat_nn_param(parts, i), pleat_f64(start) + i);
    pleat_nn_optimizer *all = makers[maker](whole_net), *each = makers[maker](parts);
    for (size_t step = 0; step < STEPS; step++) {
        pleat_tensor *g = whole(type, 1, &n); /* whole, so that its norm does not depend on the order */
        for (size_t i = 0; i < n; i++) grads[i] = pleat_slice(g, &i, (size_t[]){1}, NULL);
        EXPECT_OK(pleat_nn_update(all, &g));
        EXPECT_OK(pleat_nn_update(each, grads));
        cr_assert_eq(pleat_nn_grad_norm(all), pleat_nn_grad_norm(each));
    }
    for (size_t i = 0; i < n; i++) {
        double found = pleat_at(pleat_nn_param(whole_net, 0), &i);
        double expected = pleat_at(pleat_nn_param(parts, i), (size_t[]){0});
        cr_assert(found == expected, "optimizer %zu, element %zu of %zu is %.17g, not %.17g", maker, i, n,
                  found, expected);
    }
    pleat_nn_optimizer_free(all), pleat_nn_optimizer_free(each);
    pleat_nn_free(whole_net), pleat_nn_free(parts);
}

static void optimizers(pleat_dtype type) {
    static const size_t n[] = {1, 2, 3, ABOUT(4), ABOUT(8), ABOUT(16), ABOUT(32), ABOUT(64)};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++)
        for (size_t k = 0; k < MAKERS; k++) {
            pleat_scope s = pleat_begin(ctx);
            expect_one_by_one(type, n[i], k);
            pleat_end(s);
        }
}

Test(optim_borders, of_optimizers) {
    optimizers(PLEAT_F32);
    optimizers(PLEAT_F64);
}

/* A large parameter is updated in pieces, by several threads: with the bits of parameters of a third. */
static void expect_thirds(pleat_dtype type, size_t third, size_t maker) {
    size_t n = 3 * third;
    pleat_nn_module *net = pleat_nn_prelu(ctx, n, type), *thirds[3], *parts;
    pleat_tensor *start = pleat_randn(ctx, PLEAT_F64, 1, &n), *grads[3];
    for (size_t i = 0; i < 3; i++) thirds[i] = pleat_nn_prelu(ctx, third, type);
    parts = pleat_nn_sequential_of(ctx, 3, thirds);
    put(pleat_nn_param(net, 0), pleat_f64(start));
    for (size_t i = 0; i < 3; i++) put(pleat_nn_param(parts, i), pleat_f64(start) + i * third);
    pleat_nn_optimizer *one = makers[maker](net), *three = makers[maker](parts);
    for (size_t step = 0; step < STEPS; step++) {
        pleat_tensor *g = whole(type, 1, &n);
        for (size_t i = 0; i < 3; i++)
            grads[i] = pleat_slice(g, (size_t[]){i * third}, (size_t[]){third}, NULL);
        EXPECT_OK(pleat_nn_update(one, &g));
        EXPECT_OK(pleat_nn_update(three, grads));
    }
    pleat_tensor *joined[3];
    for (size_t i = 0; i < 3; i++) joined[i] = pleat_nn_param(parts, i);
    cr_assert(same(pleat_nn_param(net, 0), pleat_concat(3, joined, 0)), "optimizer %zu, 3 x %zu: %s", maker,
              third, difference());
    pleat_nn_optimizer_free(one), pleat_nn_optimizer_free(three);
    pleat_nn_free(net), pleat_nn_free(parts);
}

static void in_pieces(pleat_dtype type) {
    static const size_t third[] = {5461, 5462, 16383, 16385, 200003};
    for (size_t i = 0; i < sizeof third / sizeof *third; i++)
        for (size_t k = 0; k < MAKERS; k++) {
            pleat_scope s = pleat_begin(ctx);
            expect_thirds(type, third[i], k);
            pleat_end(s);
        }
}

Test(optim_borders, of_pieces) { on_every_number_of_threads(in_pieces); }

/* Halves, so that nothing is rounded. */
static void averages(pleat_dtype type) {
    static const size_t n[] = {1, 7, 8, 9, ABOUT(128), ABOUT(256), ABOUT(384), ABOUT(512)};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_nn_module *net = pleat_nn_prelu(ctx, n[i], type);
        pleat_tensor *own = pleat_nn_param(net, 0), *before = whole(type, 1, &n[i]),
                     *after = whole(type, 1, &n[i]);
        EXPECT_OK(pleat_assign(own, before));
        pleat_nn_ema *ema = pleat_nn_ema_new(net, 0.5);
        EXPECT_OK(pleat_assign(own, after));
        pleat_nn_ema_update(ema);
        pleat_nn_ema_swap(ema);
        double *a = numbers_of(before), *b = numbers_of(after), *mean = room_for(n[i]);
        for (size_t k = 0; k < n[i]; k++) mean[k] = (a[k] + b[k]) / 2;
        expect_numbers("average", own, mean);
        pleat_nn_ema_swap(ema);
        expect_numbers("the network's own", own, b);
        pleat_nn_ema_swap(ema);
        expect_numbers("average again", own, mean);
        pleat_nn_ema_free(ema);
        pleat_nn_free(net);
        free(a), free(b), free(mean);
        pleat_end(s);
    }
}

Test(optim_borders, of_averages) {
    averages(PLEAT_F32);
    averages(PLEAT_F64);
}

/* Gradients of micro-batches: their sum along a fixed tree, bit for bit; what an error leaves; memory. */
#include <math.h>
#include <string.h>

#include "../nn/optimizer.h"
#include "mallocs.h"
#include "optim.h"

TestSuite(accumulate, .init = optim_begin, .fini = optim_end);

enum { TENSORS = 4, MOST = 23 };

/* A network with an optimizer whose first state is the gradient itself, as momentum begins with it. */
typedef struct subject {
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
} subject;

static subject new_subject(pleat_dtype dtype) {
    subject s = {.net = small_net(dtype)};
    s.opt = pleat_nn_sgd(s.net, .lr = 0.1, .momentum = 0.9);
    cr_assert(s.opt);
    return s;
}

static void free_subject(subject s) {
    pleat_nn_optimizer_free(s.opt);
    pleat_nn_free(s.net);
}

/* The loss of micro-batch k: items of random numbers, the same for each caller. */
static pleat_tensor *loss_of(pleat_nn_module *net, size_t k, size_t items) {
    pleat_dtype dtype = pleat_dtype_of(pleat_nn_param(net, 0));
    *pleat_ctx_rng(ctx) = pleat_rng_new(11, k);
    pleat_tensor *x = pleat_randn(ctx, dtype, PLEAT_SHAPE(items, 2)),
                 *y = pleat_randn(ctx, dtype, PLEAT_SHAPE(items, 1));
    return pleat_nn_mse_loss(pleat_nn_forward(net, x), y);
}

static double weight_of(size_t k) { return 1 / (3.0 + (double)k); }

static void expect_same_params(subject a, subject b, const char *what) {
    double x[PARAMS], y[PARAMS];
    read_params(a.net, x);
    read_params(b.net, y);
    cr_assert_eq(memcmp(x, y, sizeof x), 0, "%s: other bits", what);
}

/* ---- the tree ------------------------------------------------------------------------------------------------ */

/* Node (l, k) of the gradients of parameter i, written as the rule says it. */
static pleat_tensor *node(pleat_tensor *grads[][TENSORS], size_t n, size_t l, size_t k, size_t i) {
    if (l == 0) return grads[k][i];
    pleat_tensor *first = node(grads, n, l - 1, 2 * k, i);
    bool second = (2 * k + 1) << (l - 1) < n;
    return second ? pleat_add(first, node(grads, n, l - 1, 2 * k + 1, i)) : first;
}

static void explicit_grads(pleat_nn_module *net, size_t n, pleat_tensor *grads[][TENSORS]) {
    pleat_tensor *params[TENSORS];
    for (size_t i = 0; i < TENSORS; i++) params[i] = pleat_nn_param(net, i);
    for (size_t k = 0; k < n; k++)
        EXPECT_OK(
            pleat_grads(pleat_scale(loss_of(net, k, 3), weight_of(k)), NULL, TENSORS, params, grads[k], 0));
}

static void expect_tree(pleat_dtype dtype, size_t n) {
    subject s = new_subject(dtype);
    static pleat_tensor *grads[MOST][TENSORS];
    explicit_grads(s.net, n, grads);
    for (size_t k = 0; k < n; k++) EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, k, 3), weight_of(k)));
    EXPECT_OK(pleat_nn_step_accumulated(s.opt));
    size_t top = 0;
    while ((size_t)1 << top < n) top++;
    for (size_t i = 0; i < TENSORS; i++)
        cr_assert(same(pln_optimizer_state(s.opt, i, 0), node(grads, n, top, 0, i)),
                  "%zu micro-batches, parameter %zu: %s", n, i, difference());
    free_subject(s);
}

Test(accumulate, sums_along_the_tree) {
    for (size_t n = 1; n <= MOST; n++) {
        pleat_scope scope = pleat_begin(ctx);
        expect_tree(PLEAT_F32, n);
        expect_tree(PLEAT_F64, n);
        pleat_end(scope);
    }
}

/* Five, written out; and the sum one after the other has other bits, so that bits tell them apart. */
Test(accumulate, of_five) {
    subject s = new_subject(PLEAT_F32);
    pleat_tensor *g[5][TENSORS];
    explicit_grads(s.net, 5, g);
    for (size_t k = 0; k < 5; k++) EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, k, 3), weight_of(k)));
    EXPECT_OK(pleat_nn_step_accumulated(s.opt));
    bool differs = false;
    for (size_t i = 0; i < TENSORS; i++) {
        pleat_tensor *pairs[] = {pleat_add(g[0][i], g[1][i]), pleat_add(g[2][i], g[3][i])};
        EXPECT_SAME(pln_optimizer_state(s.opt, i, 0), pleat_add(pleat_add(pairs[0], pairs[1]), g[4][i]));
        pleat_tensor *row = g[0][i];
        for (size_t k = 1; k < 5; k++) row = pleat_add(row, g[k][i]);
        differs = differs || !same(row, pln_optimizer_state(s.opt, i, 0));
    }
    cr_assert(differs);
    free_subject(s);
}

Test(accumulate, one_micro_batch_is_a_step) {
    subject a = new_subject(PLEAT_F32), b = new_subject(PLEAT_F32);
    for (size_t t = 0; t < 5; t++) {
        EXPECT_OK(pleat_nn_accumulate(a.opt, loss_of(a.net, t, 3), 1));
        EXPECT_OK(pleat_nn_step_accumulated(a.opt));
        EXPECT_OK(pleat_nn_step(b.opt, loss_of(b.net, t, 3)));
    }
    expect_same_params(a, b, "one");
    free_subject(a);
    free_subject(b);
}

/* The batch of the fixture, five items, in parts of two, two and one. */
Test(accumulate, parts_are_the_whole) {
    subject whole = new_subject(PLEAT_F64), parts = new_subject(PLEAT_F64);
    for (int step = 0; step < 20; step++) {
        EXPECT_OK(pleat_nn_step(whole.opt, small_loss(whole.net)));
        pleat_tensor *x = oracle_tensor(ctx, PLEAT_F64, need("x", NULL)),
                     *y = oracle_tensor(ctx, PLEAT_F64, need("target", NULL));
        for (size_t from = 0, to; from < 5; from = to) {
            to = from + 2 < 5 ? from + 2 : 5;
            pleat_tensor *part[] = {pleat_slice(x, ((size_t[]){from, 0}), ((size_t[]){to - from, 2}), NULL),
                                    pleat_slice(y, ((size_t[]){from, 0}), ((size_t[]){to - from, 1}), NULL)};
            pleat_tensor *loss = pleat_nn_mse_loss(pleat_nn_forward(parts.net, part[0]), part[1]);
            EXPECT_OK(pleat_nn_accumulate(parts.opt, loss, (double)(to - from) / 5));
        }
        EXPECT_OK(pleat_nn_step_accumulated(parts.opt));
    }
    double p[PARAMS], q[PARAMS];
    read_params(whole.net, p);
    read_params(parts.net, q);
    for (size_t i = 0; i < PARAMS; i++)
        cr_expect(fabs(p[i] - q[i]) < 1e-14, "%zu: %.17g and %.17g", i, p[i], q[i]);
    free_subject(whole);
    free_subject(parts);
}

Test(accumulate, clipping_sees_the_sum) {
    pleat_nn_module *net = small_net(PLEAT_F64);
    pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.5, .clip_norm = 0.01);
    pleat_tensor *g[3][TENSORS];
    explicit_grads(net, 3, g);
    double sum = 0;
    for (size_t i = 0; i < TENSORS; i++)
        sum += pleat_item(pleat_sum(pleat_square(pleat_add(pleat_add(g[0][i], g[1][i]), g[2][i]))));
    for (size_t k = 0; k < 3; k++) EXPECT_OK(pleat_nn_accumulate(opt, loss_of(net, k, 3), weight_of(k)));
    EXPECT_OK(pleat_nn_step_accumulated(opt));
    cr_expect(fabs(pleat_nn_grad_norm(opt) - sqrt(sum)) < 1e-14 * sqrt(sum));
    double clipped = 0;
    for (size_t i = 0; i < TENSORS; i++)
        clipped += pleat_item(pleat_sum(pleat_square(pln_optimizer_state(opt, i, 0))));
    cr_expect(fabs(sqrt(clipped) - 0.01) < 1e-5, "%g", sqrt(clipped));
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

/* ---- mistakes ------------------------------------------------------------------------------------------------ */

/* After three micro-batches: the parameters are as they were, and the next step begins anew. */
static void expect_cleared(subject s, subject fresh, const char *what) {
    cr_expect_eq(pln_optimizer_pending(s.opt), 0, "%s", what);
    expect_same_params(s, fresh, what);
}

Test(accumulate, an_error_clears_the_sums) {
    subject s = new_subject(PLEAT_F32), fresh = new_subject(PLEAT_F32);
    for (int mistake = 0; mistake < 5; mistake++) {
        for (size_t k = 0; k < 3; k++) EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, k, 3), 0.25));
        cr_expect_eq(pln_optimizer_pending(s.opt), 3);
        pleat_tensor *l = loss_of(s.net, 3, 3), *vector = pleat_square(pleat_nn_param(s.net, 1));
        pleat_status status = mistake == 0   ? pleat_nn_accumulate(s.opt, NULL, 1)
                              : mistake == 1 ? pleat_nn_accumulate(s.opt, pleat_scale(l, NAN), 1)
                              : mistake == 2 ? pleat_nn_accumulate(s.opt, l, INFINITY)
                              : mistake == 3 ? pleat_nn_accumulate(s.opt, pleat_sum(vector), 0.5)
                                             : pleat_nn_accumulate(s.opt, vector, 0.5);
        static const char *const says[] = {"sgd: the loss is NULL", "sgd: the loss is nan; it must be finite",
                                           "sgd: the weight is inf; it must be finite",
                                           "sgd: the loss does not depend on parameter \"0.weight\"", ""};
        cr_expect(status && !strncmp(pleat_error(ctx)->text, says[mistake], strlen(says[mistake])), "%d: %s",
                  mistake, pleat_error(ctx)->text);
        pleat_clear_error(ctx);
        expect_cleared(s, fresh, says[mistake]);
    }
    for (size_t k = 0; k < 3; k++) {
        EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, k, 3), 0.25));
        EXPECT_OK(pleat_nn_accumulate(fresh.opt, loss_of(fresh.net, k, 3), 0.25));
    }
    EXPECT_OK(pleat_nn_step_accumulated(s.opt));
    EXPECT_OK(pleat_nn_step_accumulated(fresh.opt));
    expect_same_params(s, fresh, "afterwards");
    free_subject(s);
    free_subject(fresh);
}

/* A norm that cannot be clipped is seen at the step only. */
Test(accumulate, a_step_that_fails_clears_the_sums) {
    subject fresh = new_subject(PLEAT_F32), s = {.net = small_net(PLEAT_F32)};
    s.opt = pleat_nn_adam(s.net, .clip_norm = 1);
    for (size_t k = 0; k < 2; k++)
        EXPECT_OK(pleat_nn_accumulate(s.opt, pleat_scale(loss_of(s.net, k, 3), 1e37), 1e5));
    EXPECT_FAILED(pleat_nn_step_accumulated(s.opt), PLEAT_ERR_ARGUMENT, "adam", "has no finite norm to clip");
    expect_cleared(s, fresh, "norm");
    free_subject(s);
    free_subject(fresh);
}

Test(accumulate, nothing_else_in_between) {
    subject s = new_subject(PLEAT_F32);
    pleat_tensor *grads[TENSORS];
    EXPECT_FAILED(pleat_nn_step_accumulated(s.opt), PLEAT_ERR_ARGUMENT, "sgd", "nothing is accumulated");
    EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, 0, 3), 0.5));
    EXPECT_FAILED(pleat_nn_step(s.opt, loss_of(s.net, 1, 3)), PLEAT_ERR_ARGUMENT, "sgd",
                  "gradients of 1 micro-batches are accumulated", "pleat_nn_step_accumulated");
    for (size_t i = 0; i < TENSORS; i++) grads[i] = pleat_full_like(pleat_nn_param(s.net, i), 1);
    EXPECT_FAILED(pleat_nn_update(s.opt, grads), PLEAT_ERR_ARGUMENT, "sgd", "are accumulated");
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{"net", s.net, s.opt, NULL}}};
    EXPECT_FAILED(pleat_nn_save_checkpoint("/nowhere/at/all", &c), PLEAT_ERR_ARGUMENT, "save_checkpoint",
                  "has accumulated gradients");
    EXPECT_OK(pleat_nn_step_accumulated(s.opt));
    EXPECT_OK(pleat_nn_step(s.opt, loss_of(s.net, 1, 3)));
    EXPECT_FAILED(pleat_nn_accumulate(NULL, loss_of(s.net, 1, 3), 1), PLEAT_ERR_ARGUMENT, "accumulate",
                  "the optimizer is NULL");
    cr_expect_eq(pleat_nn_step_accumulated(NULL), PLEAT_ERR_ARGUMENT);
    free_subject(s);
}

/* What is frozen after the first micro-batch moves once more; what is not, waits. */
Test(accumulate, frozen_from_the_next_step_on) {
    subject s = new_subject(PLEAT_F32);
    double before[PARAMS], after[PARAMS];
    read_params(s.net, before);
    pleat_nn_freeze(pleat_nn_child(s.net, 0), true);
    EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, 0, 3), 0.5));
    pleat_nn_freeze(pleat_nn_child(s.net, 0), false);
    pleat_nn_freeze(pleat_nn_child(s.net, 2), true);
    EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, 1, 3), 0.5));
    EXPECT_OK(pleat_nn_step_accumulated(s.opt));
    read_params(s.net, after);
    for (size_t i = 0; i < PARAMS; i++) cr_expect_eq(before[i] != after[i], i >= 6, "%zu", i);
    free_subject(s);
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

Test(accumulate, holds_few_gradients_and_allocates_nothing_when_warm) {
    subject s = new_subject(PLEAT_F32);
    size_t mallocs = 0, asked = 0, base = pleat_memory(ctx).tensors;
    for (size_t t = 0; t < 6; t++) {
        if (t == 3) asked = pleat_memory(ctx).allocations;
        for (size_t k = 0; k < 11; k++) {
            pleat_scope scope = pleat_begin(ctx);
            pleat_tensor *loss = loss_of(s.net, k, 3);
            mallocs_start();
            EXPECT_OK(pleat_nn_accumulate(s.opt, loss, 0.1));
            mallocs += t >= 3 ? mallocs_stop() : 0 * mallocs_stop();
            pleat_end(scope);
            size_t held = (pleat_memory(ctx).tensors - base) / TENSORS;
            cr_assert_eq(held, (size_t)__builtin_popcountll(k + 1), "%zu after %zu", held, k + 1);
        }
        mallocs_start();
        EXPECT_OK(pleat_nn_step_accumulated(s.opt));
        mallocs += t >= 3 ? mallocs_stop() : 0 * mallocs_stop();
        cr_assert_eq(pleat_memory(ctx).tensors, base);
    }
    cr_assert_eq(mallocs, 0, "%zu calls of malloc in warm steps", mallocs);
    cr_assert_eq(pleat_memory(ctx).allocations, asked);
    EXPECT_OK(pleat_nn_accumulate(s.opt, loss_of(s.net, 0, 3), 0.1));
    free_subject(s); /* with what is pending */
}

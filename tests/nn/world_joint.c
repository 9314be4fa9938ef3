/* Joint batch norms against a plain step on the whole batch, of first and second order. */
#include <math.h>

#include "tensors.h"
#include "world_job.h"

TestSuite(joint, .init = tensors_begin, .fini = tensors_end, .timeout = 100);

static void expect_close(const job *a, const job *b, size_t t, double most) {
    char name[64];
    for (size_t k = 0; k < pleat_nn_state_count(a->part[0].net); k++) {
        const pleat_tensor *x = pleat_nn_state(a->part[0].net, k), *y = pleat_nn_state(b->part[0].net, k);
        const double *p = pleat_const_f64(x), *q = pleat_const_f64(y);
        pleat_nn_state_name(a->part[0].net, k, name, sizeof name);
        for (size_t i = 0; i < pleat_numel(x); i++)
            cr_assert(fabs(p[i] - q[i]) <= most * fmax(1, fabs(q[i])), "step %zu, %s[%zu]: %.17g and %.17g",
                      t, name, i, p[i], q[i]);
    }
}

static void expect_whole_batch(setup s, pleat_nn_loss_fn *loss) {
    s.dtype = PLEAT_F64;
    s.joint = s.sure = s.sgd = true;
    pleat_ctx *second = pleat_ctx_new(.threads = 2);
    *pleat_ctx_rng(ctx) = *pleat_ctx_rng(second) = pleat_rng_new(4, 0);
    job *a = job_new(ctx, &s), *b = job_new(second, &s);
    pleat_nn_share *share = job_share(b, NULL);
    pleat_nn_batch whole, cut;
    pleat_nn_loader_start(a->train, 0, 0);
    pleat_nn_loader_start(b->train, 0, 0);
    for (size_t t = 0; pleat_nn_loader_next(a->train, &whole); t++) {
        double found[2], metric = 0;
        pleat_tensor *value = loss(a, &whole, &metric);
        double expected = pleat_item(value);
        EXPECT_OK(pleat_nn_step(a->part[0].opt, value));
        cr_assert(pleat_nn_loader_next(b->train, &cut));
        cr_assert_eq(pleat_nn_step_shared(b->part[0].opt, &cut, loss, b, &found[0], &found[1]), PLEAT_OK,
                     "%s", pleat_error(second)->text);
        cr_assert(fabs(found[0] - expected) < 1e-10 && fabs(found[1] - metric) < 1e-10,
                  "step %zu: %.17g and %.17g", t, found[0], expected);
        expect_close(a, b, t, 1e-10);
    }
    pleat_nn_share_free(share);
    job_free(b);
    job_free(a);
    pleat_ctx_free(second);
}

Test(joint, is_a_step_on_the_whole_batch) {
    for (size_t micro = 1; micro <= 5; micro++) expect_whole_batch((setup){.micro = micro}, job_loss);
    expect_whole_batch((setup){.micro = 7, .batch = 42}, job_loss);
}

/* The gradient of a gradient, of which each walk meets the other micro-batches. With the whole batch as one micro-batch y's
 * mean is over all items, and so is the mean of the means. */
static pleat_tensor *with_slope(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *x = b->x, *slope;
    *metric = 1;
    pleat_tensor *y = pleat_sum(pleat_square(pleat_nn_forward(j->part[0].net, x)));
    if (pleat_grads(y, NULL, 1, &x, &slope, PLEAT_GRADS_RECORD)) return slope;
    return pleat_mean(pleat_square(slope));
}

Test(joint, gradients_of_gradients) { expect_whole_batch((setup){.micro = 2}, with_slope); }

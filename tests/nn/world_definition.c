/* Micro-batches against their definition: gradients by pleat_nn_accumulate, statistics by a formula. */
#include <math.h>

#include "tensors.h"
#include "world_job.h"

TestSuite(definition, .init = tensors_begin, .fini = tensors_end, .timeout = 100);

/* Items at..at+n-1. */
static pleat_tensor *items(pleat_tensor *t, size_t at, size_t n) {
    size_t start[PLEAT_MAX_RANK] = {at}, size[PLEAT_MAX_RANK];
    memcpy(size, pleat_shape(t), pleat_rank(t) * sizeof *size);
    size[0] = n;
    return pleat_slice(t, start, size, NULL);
}

/* The sum along the tree of all[first..first+count-1], of n; count is a power of two. */
static double tree_sum(const double *all, size_t n, size_t first, size_t count) {
    if (count == 1) return all[first];
    double left = tree_sum(all, n, first, count / 2);
    return first + count / 2 < n ? left + tree_sum(all, n, first + count / 2, count / 2) : left;
}

static void accumulate(job *j, const pleat_nn_batch *b, double mean[2]) {
    double losses[64], metrics[64];
    size_t micro = j->s->micro, m = 0, top = 1;
    for (size_t at = 0; at < b->n; at += micro, m++) {
        size_t n = b->n - at < micro ? b->n - at : micro;
        double weight = (double)n / (double)b->n;
        pleat_nn_batch part = {.n = n, .x = items(b->x, at, n), .labels = b->labels + at};
        pleat_tensor *loss = job_loss(j, &part, &metrics[m]);
        losses[m] = weight * pleat_item(loss), metrics[m] *= weight;
        EXPECT_OK(pleat_nn_accumulate(j->part[0].opt, loss, weight));
    }
    EXPECT_OK(pleat_nn_step_accumulated(j->part[0].opt));
    while (top < m) top *= 2;
    mean[0] = tree_sum(losses, m, 0, top);
    mean[1] = tree_sum(metrics, m, 0, top);
}

static void expect_accumulation(const setup *s) {
    pleat_ctx *second = pleat_ctx_new(.threads = 1), *first = ctx;
    *pleat_ctx_rng(first) = *pleat_ctx_rng(second) = pleat_rng_new(4, 0);
    job *a = job_new(first, s), *b = job_new(second, s);
    pleat_nn_share *share = job_share(b, NULL);
    cr_assert(share, "%s", pleat_error(second)->text);
    pleat_nn_batch whole, cut;
    pleat_nn_loader_start(a->train, 0, 0);
    pleat_nn_loader_start(b->train, 0, 0);
    for (size_t t = 0; pleat_nn_loader_next(a->train, &whole); t++) {
        results x = {0}, y = {0};
        double mean[2], found[2];
        accumulate(a, &whole, mean);
        cr_assert(pleat_nn_loader_next(b->train, &cut) && cut.n == whole.n && cut.whole == whole.n &&
                  cut.first == 0);
        cr_assert_eq(pleat_nn_step_shared(b->part[0].opt, &cut, job_loss, b, &found[0], &found[1]), PLEAT_OK,
                     "%s", pleat_error(second)->text);
        cr_assert(mean[0] == found[0] && mean[1] == found[1], "step %zu: %.17g and %.17g, %.17g and %.17g", t,
                  mean[0], found[0], mean[1], found[1]);
        take_part(&x, &a->part[0]);
        take_part(&y, &b->part[0]);
        cr_assert_null(differ(&x, &y), "micro %zu, step %zu: %s", s->micro, t, differ(&x, &y));
    }
    pleat_nn_share_free(share);
    job_free(a);
    job_free(b);
    pleat_ctx_free(second);
}

Test(definition, gradients_are_accumulated) {
    for (size_t micro = 1; micro <= 9; micro++) {
        expect_accumulation(&(setup){.micro = micro, .plain = true, .sgd = true});
        expect_accumulation(&(setup){.micro = micro, .plain = true, .clip_norm = 0.1, .noise = 0.1});
        expect_accumulation(&(setup){.micro = micro, .batch = 42, .plain = true, .dtype = PLEAT_F64});
    }
}

/* ---- running statistics ------------------------------------------------------------------------------------ */

static pleat_tensor *norm_loss(void *user, const pleat_nn_batch *b, double *metric) {
    const job *j = user;
    pleat_tensor *y = pleat_nn_forward(j->part[0].net, b->x);
    *metric = 1;
    return pleat_mean(pleat_square(pleat_shift(y, -1)));
}

/* Mean and unbiased variance of the pixels of items at..at+n-1. */
static void moments(const double *x, size_t at, size_t n, double *mean, double *var) {
    size_t count = n * 64;
    *mean = *var = 0;
    for (size_t i = 0; i < count; i++) *mean += x[at * 64 + i] / (double)count;
    for (size_t i = 0; i < count; i++) {
        double d = x[at * 64 + i] - *mean;
        *var += d * d / (double)(count - 1);
    }
}

/* What becomes of r[2] by a batch: of each micro-batch its own update, and of these the mean. */
static void update(double r[2], const double *x, size_t n, size_t micro, double momentum, size_t times) {
    double sum[2] = {0};
    for (size_t at = 0; at < n; at += micro) {
        size_t some = n - at < micro ? n - at : micro;
        double now[2], own[2] = {r[0], r[1]};
        moments(x, at, some, &now[0], &now[1]);
        for (size_t t = 0; t < times; t++)
            for (size_t k = 0; k < 2; k++) own[k] = (1 - momentum) * own[k] + momentum * now[k];
        for (size_t k = 0; k < 2; k++) sum[k] += own[k] * (double)some / (double)n;
    }
    memcpy(r, sum, sizeof sum);
}

static pleat_tensor *norm_loss_twice(void *user, const pleat_nn_batch *b, double *metric) {
    pleat_tensor *once = norm_loss(user, b, metric);
    return pleat_add(once, norm_loss(user, b, metric));
}

static void expect_statistics(size_t micro, double momentum, size_t times) {
    setup s = {.micro = micro, .dtype = PLEAT_F64, .noise = 0.1};
    job *j = job_new(ctx, &s);
    pleat_nn_optimizer_free(j->part[0].opt);
    pleat_nn_free(j->part[0].net);
    j->part[0].net = pleat_nn_batch_norm2d(ctx, 1, .momentum = momentum, .dtype = PLEAT_F64);
    j->part[0].opt = pleat_nn_sgd(j->part[0].net, .lr = 0.1);
    pleat_nn_share *share = job_share(j, NULL);
    cr_assert(share, "%s", pleat_error(ctx)->text);
    double r[2] = {0, 1}, x[8 * 64];
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    for (size_t t = 1; pleat_nn_loader_next(j->train, &b); t++) {
        pleat_read_f64(b.x, x);
        update(r, x, b.n, micro, momentum, times);
        EXPECT_OK(pleat_nn_step_shared(j->part[0].opt, &b, times == 1 ? norm_loss : norm_loss_twice, j, NULL,
                                       NULL));
        for (size_t k = 0; k < 2; k++) {
            double found = pleat_item(pleat_nn_own_buffer(j->part[0].net, k));
            cr_assert(fabs(found - r[k]) < 1e-13,
                      "micro %zu, step %zu: statistic %zu is %.17g, expected %.17g", micro, t, k, found,
                      r[k]);
        }
        double calls = pleat_item(pleat_nn_own_buffer(j->part[0].net, 2));
        cr_assert_eq(calls, (double)(t * times), "%g calls after %zu steps", calls, t);
    }
    pleat_nn_share_free(share);
    job_free(j);
}

Test(definition, statistics_are_averaged) {
    for (size_t micro = 1; micro <= 9; micro += 2)
        for (size_t times = 1; times <= 2; times++) {
            expect_statistics(micro, 0.1, times);
            expect_statistics(micro, 0.6, times);
        }
}

/* A norm in evaluation has none. */
Test(definition, a_norm_in_evaluation_stays) {
    setup s = {.micro = 3};
    job *j = job_new(ctx, &s);
    pleat_nn_module *norm = pleat_nn_child(j->part[0].net, 1);
    pleat_nn_share *share = job_share(j, NULL);
    pleat_nn_batch b;
    results x = {0}, y = {0};
    for (size_t k = 0; k < 3; k++) take_tensor(&x, "buffer", pleat_nn_own_buffer(norm, k));
    pleat_nn_set_training(norm, false);
    pleat_nn_loader_start(j->train, 0, 0);
    while (pleat_nn_loader_next(j->train, &b))
        EXPECT_OK(pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL));
    for (size_t k = 0; k < 3; k++) take_tensor(&y, "buffer", pleat_nn_own_buffer(norm, k));
    cr_assert_null(differ(&x, &y), "%s", differ(&x, &y));
    pleat_nn_share_free(share);
    job_free(j);
}

/* ---- random numbers ------------------------------------------------------------------------------------------ */

typedef struct drawing {
    job *j;
    double first[20];
    size_t n;
} drawing;

static pleat_tensor *drawing_loss(void *user, const pleat_nn_batch *b, double *metric) {
    drawing *d = user;
    d->first[d->n++] = pleat_rng_uniform(pleat_ctx_rng(d->j->ctx));
    return job_loss(d->j, b, metric);
}

/* Each micro-batch draws other numbers, whatever the others draw; each step too. */
Test(definition, streams_differ) {
    setup s = {.micro = 3};
    drawing d = {.j = job_new(ctx, &s)};
    pleat_nn_share *share = job_share(d.j, NULL);
    pleat_nn_batch b;
    pleat_nn_loader_start(d.j->train, 0, 0);
    for (size_t t = 0; t < 3 && pleat_nn_loader_next(d.j->train, &b); t++)
        EXPECT_OK(pleat_nn_step_shared(d.j->part[0].opt, &b, drawing_loss, &d, NULL, NULL));
    cr_assert_eq(d.n, 9);
    for (size_t i = 0; i < d.n; i++)
        for (size_t k = 0; k < i; k++) cr_assert_neq(d.first[i], d.first[k], "%zu and %zu", i, k);
    pleat_nn_share_free(share);
    job_free(d.j);
}

/* ---- without a share ------------------------------------------------------------------------------------------ */

/* The step is pleat_nn_step's. */
Test(definition, without_a_share) {
    setup s = {.plain = true};
    pleat_ctx *second = pleat_ctx_new(.threads = 1), *first = ctx;
    *pleat_ctx_rng(first) = *pleat_ctx_rng(second) = pleat_rng_new(4, 0);
    job *a = job_new(first, &s), *b = job_new(second, &s);
    pleat_nn_batch x, y;
    pleat_nn_loader_start(a->train, 0, 0);
    pleat_nn_loader_start(b->train, 0, 0);
    while (pleat_nn_loader_next(a->train, &x) && pleat_nn_loader_next(b->train, &y)) {
        double loss, metric, found[2];
        pleat_tensor *l = job_loss(a, &x, &metric);
        loss = pleat_item(l);
        EXPECT_OK(pleat_nn_step(a->part[0].opt, l));
        cr_assert_eq(pleat_nn_step_shared(b->part[0].opt, &y, job_loss, b, &found[0], &found[1]), PLEAT_OK);
        cr_assert(found[0] == loss && found[1] == metric);
    }
    results p = {0}, q = {0};
    job_take(a, &p);
    job_take(b, &q);
    cr_assert_null(differ(&p, &q), "%s", differ(&p, &q));
    job_free(a);
    job_free(b);
    pleat_ctx_free(second);
}

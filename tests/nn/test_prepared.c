/* A prepared function gives the bits of the function, whatever x is and whatever is written to what it
 * reads; it allocates nothing, runs in several threads, and refuses functions of which a run would not do
 * the same. */
#include "pleat_nn.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "../bench/nets.h"
#include "core/core.h"
#include "mallocs.h"
#include "tensors.h"

TestSuite(prepared, .init = tensors_begin, .fini = tensors_end);

/* ---- the same bits --------------------------------------------------------------------------------------- */

typedef pleat_tensor *function(pleat_tensor *x, void *user);

static pleat_tensor *forward(pleat_tensor *x, void *m) { return pleat_nn_forward(m, x); }

/* f(x) with recording off, as the user would. */
static pleat_tensor *plain(function *f, pleat_tensor *x, void *user) {
    bool recording = pleat_set_recording(ctx, false);
    pleat_tensor *y = f(x, user);
    pleat_set_recording(ctx, recording);
    return y;
}

static void expect_run(pleat_prepared *p, pleat_tensor *x, pleat_tensor *expected) {
    pleat_tensor *y = pleat_zeros(ctx, pleat_dtype_of(expected), pleat_rank(expected), pleat_shape(expected));
    bool wide = pleat_dtype_of(x) == PLEAT_F64;
    pleat_status s = wide ? pleat_run_f64(p, pleat_const_f64(x), pleat_f64(y))
                          : pleat_run_f32(p, pleat_const_f32(x), pleat_f32(y));
    cr_assert_eq(s, PLEAT_OK, "%s", pleat_error(pleat_ctx_of(pleat_prepared_result(p)))->text);
    EXPECT_SAME(y, expected);
    EXPECT_SAME(pleat_prepared_result(p), expected);
}

/* For some x. */
static void expect_same(function *f, void *user, pleat_dtype type, size_t rank, const size_t *shape) {
    pleat_scope s = pleat_begin(ctx);
    for (int threads = 1; threads <= 2; threads++) {
        pleat_prepared *p = pleat_prepare(ctx, f, user, type, rank, shape, .threads = threads);
        cr_assert(p, "%s", pleat_error(ctx)->text);
        for (int turn = 0; turn < 3; turn++) {
            pleat_tensor *x = pleat_randn(ctx, type, rank, shape);
            expect_run(p, x, plain(f, x, user));
        }
        pleat_prepared_free(p);
    }
    pleat_end(s);
}

static pleat_tensor *infer(pleat_tensor *x, void *arg) {
    subject *s = arg;
    pleat_tensor *first = s->in[0], *y;
    s->in[0] = x;
    y = s->net->infer(s);
    s->in[0] = first;
    return y;
}

/* Whole networks: batch norms, residuals and skips, depthwise and transposed convolutions, pools, dense and
 * 1-D layers. */
Test(prepared, gives_the_bits_of_networks) {
    for (size_t i = 0; i < bench_net_count; i++) {
        for (size_t batch = 1; batch < 4; batch += 2) {
            subject s = {.net = &bench_nets[i], .batch = batch, .repeatable = true, .ctx = ctx};
            pleat_scope scope = pleat_begin(ctx);
            for (size_t k = 0; k < NET_INPUTS && s.net->input[k].values; k++) {
                const net_input *in = &s.net->input[k];
                s.in[k] = pleat_randn(ctx, PLEAT_F32, in->rank + 1,
                                      (size_t[]){batch, in->shape[0], in->shape[1], in->shape[2]});
            }
            s.net->build(&s);
            for (size_t k = 0; k < NET_PARTS; k++) pleat_nn_set_training(s.module[k], false);
            expect_same(infer, &s, PLEAT_F32, pleat_rank(s.in[0]), pleat_shape(s.in[0]));
            for (size_t k = 0; k < NET_PARTS; k++) pleat_nn_free(s.module[k]);
            pleat_end(scope);
        }
    }
}

/* Skips, views, and tensors that are used long after they were made. */
static pleat_tensor *tangled(pleat_tensor *x, void *user) {
    pleat_tensor *w = user, *a = pleat_sin(x), *b = pleat_permute(a, (size_t[]){0, 2, 1}),
                 *c = pleat_exp(pleat_neg(x));
    pleat_tensor *d = pleat_matmul(x, w), *e = pleat_matmul(b, pleat_detach(d));
    pleat_tensor *f = pleat_concat(2, (pleat_tensor *[]){pleat_flip(a, PLEAT_AXES(1)), c}, 2);
    pleat_tensor *g = pleat_slice(f, (size_t[]){0, 0, 1}, (size_t[]){2, 3, 4}, (size_t[]){1, 1, 2});
    pleat_tensor *h = pleat_add(g, pleat_mul(x, pleat_sum(pleat_square(w), PLEAT_AXES(0))));
    return pleat_permute(pleat_add(pleat_matmul(h, e), a), (size_t[]){1, 2, 0});
}
static pleat_tensor *identity(pleat_tensor *x, void *user) { return (void)user, x; }
static pleat_tensor *turned(pleat_tensor *x, void *user) {
    return (void)user, pleat_flip(x, PLEAT_AXES(0, 2));
}
static pleat_tensor *constant(pleat_tensor *x, void *user) { return (void)x, (pleat_tensor *)user; }
static pleat_tensor *early(pleat_tensor *x, void *user) { /* y is there before what nobody asks for */
    pleat_tensor *y = pleat_square(x), *z = pleat_exp(x);
    for (int i = 0; i < 4; i++) z = pleat_tanh(z);
    return (void)user, y;
}
static pleat_tensor *made(pleat_tensor *x, void *user) {
    (void)user;
    pleat_tensor *t = pleat_zeros_like(x);
    pleat_assign(t, pleat_full_like(x, 3));
    return pleat_add(x, t);
}
static pleat_tensor *made_alone(pleat_tensor *x, void *user) {
    return (void)user, pleat_square(pleat_full_like(x, 3));
}
static pleat_tensor *single(pleat_tensor *x, void *user) { return (void)user, pleat_sum(x); }

Test(prepared, gives_the_bits_of_functions) {
    static function *const all[] = {tangled, early, identity, turned, constant, made, made_alone, single};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *w = pleat_randn(ctx, type, PLEAT_SHAPE(4, 4));
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            expect_same(all[i], w, type, PLEAT_SHAPE(2, 3, 4));
        expect_same(turned, NULL, type, PLEAT_SHAPE(0, 3, 4));
        expect_same(identity, NULL, type, PLEAT_SCALAR);
    }
}

static pleat_tensor *to_the_other_type(pleat_tensor *x, void *user) {
    return (void)user, pleat_cast(pleat_square(x), PLEAT_F64);
}

Test(prepared, gives_a_result_of_another_type) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(3));
    pleat_prepared *p = pleat_prepare(ctx, to_the_other_type, NULL, PLEAT_F32, PLEAT_SHAPE(3));
    float y[3];
    cr_expect_eq(pleat_run_f32(p, pleat_const_f32(x), y), PLEAT_ERR_DTYPE);
    cr_expect_eq(pleat_run_f32(p, pleat_const_f32(x), NULL), PLEAT_OK);
    EXPECT_HOLDS(pleat_prepared_result(p), PLEAT_SHAPE(3), VALUES(1, 4, 9));
    pleat_prepared_free(p);
}

/* Weights that depend on x are packed anew. */
static pleat_tensor *dynamic(pleat_tensor *x, void *w) {
    return pleat_conv2d(x, pleat_mul(w, pleat_mean(x)), .pad = {1, 1});
}
static pleat_tensor *dynamic_rows(pleat_tensor *x, void *w) {
    pleat_tensor *rows = pleat_reshape(x, PLEAT_SHAPE(4, PLEAT_REST));
    return pleat_matmul(rows, pleat_mul(w, pleat_mean(x)), .tb = true);
}

Test(prepared, weights_may_depend_on_x) {
    expect_same(dynamic, pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(20, 4, 3, 3)), PLEAT_F32,
                PLEAT_SHAPE(1, 4, 9, 9));
    expect_same(dynamic_rows, pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(20, 36)), PLEAT_F32,
                PLEAT_SHAPE(1, 4, 6, 6));
}

/* ---- what is written ------------------------------------------------------------------------------------- */

/* A convolution whose weights are computed from its parameters, and a dense layer. */
static pleat_tensor *normed_weights(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *v = pleat_nn_own_param(m, 0);
    pleat_tensor *w = pleat_div(v, pleat_sqrt(pleat_sum(pleat_square(v), PLEAT_AXES(1, 2, 3), .keep = true)));
    return pleat_nn_forward(pleat_nn_child(m, 0),
                            pleat_reshape(pleat_conv2d(x, w), PLEAT_SHAPE(1, PLEAT_REST)));
}

static pleat_nn_module *network(void) {
    static const pleat_nn_kind kind = {.name = "Normed", .forward = normed_weights};
    pleat_nn_module *m = pleat_nn_module_new(ctx, &kind, NULL, 0);
    m = pleat_nn_add_param(m, "v", pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(20, 3, 3, 3)));
    m = pleat_nn_add_child(m, "head", pleat_nn_linear(ctx, 20 * 16, 24));
    cr_assert(m);
    return m;
}

static void step(pleat_nn_module *m) {
    pleat_nn_optimizer *opt = pleat_nn_adam(m, .lr = 0.1);
    EXPECT_OK(pleat_nn_step(opt, pleat_mean(pleat_square(pleat_nn_forward(
                                     m, pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 6, 6)))))));
    pleat_nn_optimizer_free(opt);
}

Test(prepared, a_change_takes_effect_in_the_next_run) {
    pleat_nn_module *m = network();
    pleat_nn_set_training(m, false);
    pleat_prepared *p = pleat_nn_prepare(m, PLEAT_SHAPE(1, 3, 6, 6));
    cr_assert(p, "%s", pleat_error(ctx)->text);
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 6, 6)), *v = pleat_nn_param(m, 0),
                 *w = pleat_nn_param(m, 1);
    expect_run(p, x, plain(forward, x, m));
    EXPECT_OK(pleat_assign(v, pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(20, 3, 3, 3))));
    expect_run(p, x, plain(forward, x, m));
    step(m);
    expect_run(p, x, plain(forward, x, m));
    ((float *)pleat_write_now(w, "test"))[0] = 2;
    expect_run(p, x, plain(forward, x, m));
    float *kept[] = {pleat_f32(v), pleat_f32(w)};
    for (size_t i = 0; i < 4; i++) {
        kept[i % 2][0] += 1;
        expect_run(p, x, plain(forward, x, m));
    }
    float before[24], after[24]; /* nothing else is written here, so nothing tells of it */
    const float *image = pleat_const_f32(x);
    pleat_run_f32(p, image, before);
    kept[0][0] += 1;
    pleat_run_f32(p, image, after);
    cr_expect_neq(memcmp(before, after, sizeof before), 0);
    pleat_prepared_free(p);
    pleat_nn_free(m);
}

/* How often an op of one's own has run. */
static int runs;
static bool same_shape(pleat_call *c) { return pl_shape_same(c); }
static bool counted_forward(const pleat_call *c) {
    memcpy(pleat_f32(c->out), pleat_const_f32(c->in[0]), pleat_numel(c->out) * sizeof(float));
    runs++;
    return pleat_item(pleat_sum(pleat_square(c->out))) >= 0; /* a forward function may look, and apply ops */
}
static const pleat_op counted_op = {.name = "counted", .shape = same_shape, .forward = counted_forward};
static pleat_tensor *count(pleat_tensor *x) { return pleat_apply(&counted_op, 1, &x, NULL, 0); }
static pleat_tensor *product_of_counted(pleat_tensor *x, void *w) { return pleat_mul(x, count(w)); }
static pleat_tensor *counted_product(pleat_tensor *x, void *w) { return count(pleat_mul(x, w)); }

Test(prepared, what_does_not_depend_on_x_is_computed_once) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(3)),
                 *w = pleat_scale(x, 1); /* whose pointer is not out */
    pleat_prepared *p = pleat_prepare(ctx, product_of_counted, w, PLEAT_F32, PLEAT_SHAPE(3));
    runs = 0;
    for (int i = 0; i < 3; i++) pleat_run_f32(p, pleat_const_f32(x), NULL);
    cr_expect_eq(runs, 0);
    pleat_assign(w, pleat_scale(w, 2));
    for (int i = 0; i < 3; i++) pleat_run_f32(p, pleat_const_f32(x), NULL);
    cr_expect_eq(runs, 1);
    EXPECT_HOLDS(pleat_prepared_result(p), PLEAT_SHAPE(3), VALUES(2, 8, 18));
    pleat_prepared_free(p);
    p = pleat_prepare(ctx, counted_product, w, PLEAT_F32, PLEAT_SHAPE(3));
    pleat_memory_info before = pleat_memory(pleat_ctx_of(pleat_prepared_result(p)));
    runs = 0;
    for (int i = 0; i < 3; i++) pleat_run_f32(p, pleat_const_f32(x), NULL);
    cr_expect_eq(runs, 3);
    cr_expect_eq(pleat_memory(pleat_ctx_of(pleat_prepared_result(p))).tensors, before.tensors,
                 "a run leaves tensors");
    pleat_prepared_free(p);
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

Test(prepared, a_run_allocates_nothing) {
    pleat_nn_module *m = pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 3, 20, .kernel = {3, 3}), pleat_nn_batch_norm2d(ctx, 20),
        pleat_nn_relu(ctx), pleat_nn_max_pool2d(ctx, .kernel = {2, 2}),
        pleat_nn_conv_transpose2d(ctx, 20, 18, .kernel = {3, 3}), pleat_nn_group_norm(ctx, 18, 3),
        pleat_nn_gelu(ctx), pleat_nn_upsample_bilinear(ctx, 2), pleat_nn_flatten(ctx),
        pleat_nn_linear(ctx, 18 * 18 * 18, 20), pleat_nn_softmax(ctx, 1));
    pleat_nn_set_training(m, false);
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 16, 16));
    for (int threads = 1; threads < 3; threads++) {
        pleat_prepared *p = pleat_nn_prepare(m, PLEAT_SHAPE(2, 3, 16, 16), .threads = threads);
        cr_assert(p, "%s", pleat_error(ctx)->text);
        pleat_ctx *own = pleat_ctx_of(pleat_prepared_result(p));
        pleat_run_f32(p, pleat_const_f32(x), NULL); /* with all packs there: the peak */
        pleat_memory_info before = pleat_memory(own), here = pleat_memory(ctx);
        mallocs_start();
        for (int i = 0; i < 5; i++) pleat_run_f32(p, pleat_const_f32(x), NULL);
        cr_expect_eq(mallocs_stop(), 0);
        pleat_memory_info after = pleat_memory(own);
        cr_expect_eq(after.allocations, before.allocations);
        cr_expect_eq(after.in_use, before.in_use);
        cr_expect_eq(after.peak, before.peak);
        cr_expect_eq(pleat_memory(ctx).in_use, here.in_use);
        pleat_prepared_free(p);
    }
    pleat_nn_free(m);
}

static pleat_tensor *chain(pleat_tensor *x, void *length) {
    for (int i = 0; i < *(int *)length; i++) x = pleat_tanh(x);
    return x;
}

static size_t memory_of_chain(int length) {
    pleat_prepared *p = pleat_prepare(ctx, chain, &length, PLEAT_F32, PLEAT_SHAPE(1000));
    size_t bytes = pleat_memory(pleat_ctx_of(pleat_prepared_result(p))).in_use;
    pleat_prepared_free(p);
    return bytes;
}

Test(prepared, memory_is_used_again_within_a_run) {
    size_t few = memory_of_chain(3), many = memory_of_chain(30);
    cr_expect_lt(many, few + 27 * 1500, "%zu bytes for 3 ops, and %zu for 30", few, many);
}

Test(prepared, leaves_nothing_behind_and_copies_no_weights) {
    pleat_tensor *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1000, 1000));
    size_t before = pleat_memory(ctx).in_use;
    pleat_prepared *p = pleat_prepare(ctx, constant, w, PLEAT_F32, PLEAT_SHAPE(2));
    cr_expect_eq(pleat_memory(ctx).in_use, before);
    cr_expect_lt(pleat_memory(pleat_ctx_of(pleat_prepared_result(p))).in_use, 1000000);
    pleat_prepared_free(p);
    cr_expect_eq(pleat_memory(ctx).in_use, before);
}

Test(prepared, outlives_its_module) {
    pleat_nn_module *m = network();
    pleat_nn_set_training(m, false);
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 6, 6)), *y = plain(forward, x, m);
    pleat_prepared *p = pleat_nn_prepare(m, PLEAT_SHAPE(1, 3, 6, 6));
    size_t with = pleat_memory(ctx).in_use;
    pleat_nn_free(m);
    expect_run(p, x, y);
    pleat_prepared_free(p);
    cr_expect_lt(pleat_memory(ctx).in_use, with);
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

typedef struct job {
    pleat_prepared *p;
    const float *x;
    float y[24];
} job;

static void *run_often(void *arg) {
    job *j = arg;
    for (int i = 0; i < 200; i++) pleat_run_f32(j->p, j->x, j->y);
    return NULL;
}

Test(prepared, runs_in_several_threads) {
    enum { THREADS = 3 };
    pleat_nn_module *m = network();
    pleat_nn_set_training(m, false);
    job jobs[THREADS];
    pthread_t thread[THREADS];
    pleat_tensor *x[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        x[i] = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 6, 6));
        jobs[i] = (job){.p = pleat_nn_prepare(m, PLEAT_SHAPE(1, 3, 6, 6), .threads = 1 + (int)i),
                        .x = pleat_const_f32(x[i])};
    }
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, run_often, &jobs[i]), 0);
    for (size_t i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (size_t i = 0; i < THREADS; i++) {
        pleat_tensor *expected = plain(forward, x[i], m);
        cr_expect_eq(memcmp(jobs[i].y, pleat_const_f32(expected), sizeof jobs[i].y), 0, "thread %zu", i);
        pleat_prepared_free(jobs[i].p);
    }
    pleat_nn_free(m);
}

/* ---- what is refused ----------------------------------------------------------------------------------------- */

static pleat_tensor *looks_by_item(pleat_tensor *x, void *user) {
    return (void)user, pleat_scale(x, pleat_item(pleat_sum(x)));
}
static pleat_tensor *looks_by_pointer(pleat_tensor *x, void *user) {
    const float *v = pleat_const_f32(pleat_square(x));
    return (void)user, pleat_scale(x, v ? (double)v[0] : 0);
}
static pleat_tensor *looks_at_a_view(pleat_tensor *x, void *user) {
    double v[6];
    pleat_read_f64(pleat_detach(x), v);
    return (void)user, x;
}
static pleat_tensor *takes_the_largest(pleat_tensor *x, void *user) {
    size_t index[2];
    pleat_argmax(x, 1, index);
    return (void)user, x;
}
static pleat_tensor *takes_moments(pleat_tensor *x, void *user) {
    pleat_tensor *mean;
    pleat_batch_norm(x, NULL, NULL, NULL, NULL, .batch_mean = &mean);
    return (void)user, x;
}
static pleat_tensor *copies(pleat_tensor *x, void *user) {
    pleat_tensor *t = pleat_zeros_like(x);
    pleat_assign(t, x);
    return (void)user, t;
}
static pleat_tensor *writes_to_a_result(pleat_tensor *x, void *user) {
    pleat_tensor *y = pleat_square(x);
    pleat_assign(y, pleat_zeros_like(y));
    return (void)user, y;
}
static pleat_tensor *writes_to_what_it_has_read(pleat_tensor *x, void *user) {
    pleat_tensor *t = pleat_zeros_like(x), *y = pleat_add(x, t);
    pleat_assign(t, pleat_full_like(t, 1));
    return (void)user, pleat_add(y, t);
}
static pleat_tensor *writes_to_a_parameter(pleat_tensor *x, void *w) {
    pleat_f32(w)[0] += 1;
    return pleat_add(x, w);
}
static pleat_tensor *draws(pleat_tensor *x, void *user) { return (void)user, pleat_dropout(x, 0.5); }
static pleat_tensor *records(pleat_tensor *x, void *user) {
    bool was = pleat_set_recording(ctx, true);
    pleat_tensor *y = pleat_square(x);
    pleat_set_recording(ctx, was);
    return (void)user, y;
}
static pleat_tensor *fails(pleat_tensor *x, void *user) {
    return (void)user, pleat_reshape(x, PLEAT_SHAPE(5));
}
static pleat_tensor *fails_in_silence(pleat_tensor *x, void *user) {
    return (void)user, pleat_poison(ctx);
    (void)x;
}
static pleat_tensor *returns_nothing(pleat_tensor *x, void *user) { return (void)user, (void)x, NULL; }
static pleat_tensor *prepares(pleat_tensor *x, void *user) {
    pleat_prepare(ctx, identity, NULL, PLEAT_F32, PLEAT_SHAPE(1));
    return (void)user, x;
}

static const struct refused {
    function *f;
    pleat_status code;
    const char *op, *text;
} refusals[] = {
    {looks_by_item, PLEAT_ERR_ARGUMENT, "prepare", "by item"},
    {looks_by_pointer, PLEAT_ERR_ARGUMENT, "prepare", "by const_f32"},
    {looks_at_a_view, PLEAT_ERR_ARGUMENT, "prepare", "by read_f64"},
    {takes_the_largest, PLEAT_ERR_ARGUMENT, "prepare", "by argmax"},
    {takes_moments, PLEAT_ERR_ARGUMENT, "prepare", "by batch_norm"},
    {copies, PLEAT_ERR_ARGUMENT, "prepare", "by assign"},
    {writes_to_a_result, PLEAT_ERR_ARGUMENT, "prepare", "by assign"},
    {writes_to_what_it_has_read, PLEAT_ERR_ARGUMENT, "prepare", "writes in place"},
    {writes_to_a_parameter, PLEAT_ERR_ARGUMENT, "prepare", "writes in place"},
    {draws, PLEAT_ERR_ARGUMENT, "prepare", "random"},
    {records, PLEAT_ERR_ARGUMENT, "square", "recording on"},
    {fails, PLEAT_ERR_SHAPE, "reshape", "[2,3]"},
    {fails_in_silence, PLEAT_ERR_ARGUMENT, "prepare", "the function failed"},
    {returns_nothing, PLEAT_ERR_ARGUMENT, "prepare", "returned no tensor"},
    {prepares, PLEAT_ERR_ARGUMENT, "prepare", "cannot prepare another"},
    {NULL, PLEAT_ERR_ARGUMENT, "prepare", "null pointer"},
};

Test(prepared, refuses_what_a_run_would_not_do) {
    pleat_tensor *w = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3));
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refused *r = &refusals[i];
        pleat_memory_info before = pleat_memory(ctx);
        pleat_prepared *p = pleat_prepare(ctx, r->f, w, PLEAT_F32, PLEAT_SHAPE(2, 3));
        cr_expect(!p, "%s", r->text);
        EXPECT_FAILED(pleat_error(ctx)->code, r->code, r->op, r->text);
        cr_expect_eq(pleat_memory(ctx).in_use, before.in_use, "%s", r->text);
        cr_expect_eq(pleat_memory(ctx).tensors, before.tensors);
        pleat_fail(ctx, PLEAT_ERR_IO, "before", "an error that was there before hides none");
        cr_expect(!pleat_prepare(ctx, r->f, w, PLEAT_F32, PLEAT_SHAPE(2, 3)), "%s", r->text);
        pleat_clear_error(ctx);
        *pleat_ctx_rng(ctx) = pleat_rng_new(1, 0);
    }
    cr_expect(pleat_set_recording(ctx, true), "recording is as it was");
    expect_same(identity, NULL, PLEAT_F32, PLEAT_SHAPE(2, 3));
}

Test(prepared, refuses_other_sizes_than_tensors_have) {
    EXPECT_FAILED((pleat_prepare(ctx, identity, NULL, PLEAT_F32, 99, (size_t[]){1}), pleat_error(ctx)->code),
                  PLEAT_ERR_SHAPE, "zeros", "rank 99");
    cr_expect(!pleat_prepare(NULL, identity, NULL, PLEAT_F32, PLEAT_SHAPE(1)));
    pleat_prepared_free(NULL);
    cr_expect(pleat_is_poison(pleat_prepared_result(NULL)));
    cr_expect_eq(pleat_run_f32(NULL, NULL, NULL), PLEAT_ERR_ARGUMENT);
}

Test(prepared, refuses_arrays_of_another_type) {
    pleat_prepared *p = pleat_prepare(ctx, identity, NULL, PLEAT_F32, PLEAT_SHAPE(1));
    const pleat_error_info *e = pleat_error(pleat_ctx_of(pleat_prepared_result(p)));
    cr_expect_eq(pleat_run_f64(p, (double[]){1}, NULL), PLEAT_ERR_DTYPE);
    cr_expect(strstr(e->text, "x is f32"), "%s", e->text);
    cr_expect_eq(pleat_run_f32(p, NULL, NULL), PLEAT_ERR_ARGUMENT);
    cr_expect(strstr(e->text, "null"), "%s", e->text);
    cr_expect_eq(pleat_run_f32(p, (float[]){1}, NULL), PLEAT_OK);
    cr_expect_eq(e->code, PLEAT_OK);
    pleat_prepared_free(p);
}

Test(prepared, refuses_modules_in_training) {
    pleat_nn_module *m =
        pleat_nn_sequential(ctx, pleat_nn_relu(ctx), pleat_nn_sequential(ctx, pleat_nn_dropout(ctx, 0.5)));
    cr_expect(!pleat_nn_prepare(m, PLEAT_SHAPE(1, 2)));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "prepare", "Sequential is in training mode");
    pleat_nn_set_training(m, false);
    pleat_nn_set_training(pleat_nn_child(pleat_nn_child(m, 1), 0), true);
    cr_expect(!pleat_nn_prepare(m, PLEAT_SHAPE(1, 2)));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "prepare", "1.0: Dropout is in training mode");
    cr_expect(!pleat_nn_prepare(NULL, PLEAT_SHAPE(1, 2)));
    pleat_nn_free(m);
    m = pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 3, 2));
    pleat_nn_set_training(m, false);
    cr_expect(!pleat_nn_prepare(m, PLEAT_SHAPE(1, 2)));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_SHAPE, "Linear", "0: Linear:");
    pleat_nn_free(m);
}

/* A batch norm in training writes its statistics, whoever says that it is in evaluation. */
static pleat_tensor *trains(pleat_tensor *x, void *m) { return pleat_nn_forward(m, x); }

Test(prepared, refuses_statistics_of_a_batch) {
    pleat_nn_module *m = pleat_nn_batch_norm1d(ctx, 3);
    cr_expect(!pleat_prepare(ctx, trains, m, PLEAT_F32, PLEAT_SHAPE(2, 3)));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "prepare", "BatchNorm1d", "depend on x");
    pleat_nn_free(m);
}

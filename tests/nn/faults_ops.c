/* Rows of pleat.h, pleat_kernels.h and pleat_frameworks.h. */
#include <math.h>
#include <stdlib.h>

#include <string.h>

#include "faults.h"

/* ---- families -------------------------------------------------------------------------------------------- */

static pleat_tensor *square(world *w) { return drawn(w, PLEAT_SHAPE(2, 3)); }
static pleat_tensor *image(world *w) { return drawn(w, PLEAT_SHAPE(1, 4, 4, 6)); }

static void unary(world *w, const row *r) {
    pleat_tensor *x = square(w);
    take_with_gradients(w, r->unary(x), 1, &x);
}

static void cast(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = square(w);
    take_with_gradients(w, pleat_cast(x, pleat_dtype_of(x) == PLEAT_F32 ? PLEAT_F64 : PLEAT_F32), 1, &x);
}

static void binary(world *w, const row *r) {
    pleat_tensor *xs[] = {square(w), drawn(w, PLEAT_SHAPE(3))};
    take_with_gradients(w, r->binary(xs[0], xs[1]), 2, xs);
}

static void with_number(world *w, const row *r) {
    pleat_tensor *x = square(w);
    take_with_gradients(w, r->with_number(x, 0.25), 1, &x);
}

static void with_size(world *w, const row *r) {
    pleat_tensor *x = square(w);
    take_with_gradients(w, r->with_size(x, 1), 1, &x);
}

static void shuffled(world *w, const row *r) {
    pleat_tensor *x = image(w);
    take_with_gradients(w, r->with_size(x, 2), 1, &x);
}

static void sum(world *w, const row *r) {
    pleat_tensor *x = image(w);
    take_with_gradients(w, r->sum((pleat_sum_args){.x = x, .axes = PLEAT_AXES(0, 2)}), 1, &x);
}

static void resize(world *w, const row *r) {
    pleat_tensor *x = image(w);
    take_with_gradients(w, r->resize((pleat_resize_args){.x = x, .size = {5, 3}}), 1, &x);
}

/* ---- making ---------------------------------------------------------------------------------------------- */

static void make(world *w, const row *r) {
    (void)r;
    float numbers[4] = {1, 2, 3, 4};
    pleat_tensor *x = pleat_from(w->ctx, PLEAT_F32, PLEAT_SHAPE(2, 2), numbers);
    pleat_tensor *y = pleat_from_f64(w->ctx, PLEAT_F32, PLEAT_SHAPE(2, 2), (double[]){1, 2, 3, 4});
    take(w, x), take(w, y);
    take(w, pleat_zeros(w->ctx, PLEAT_F64, PLEAT_SHAPE(3)));
    take(w, pleat_full(w->ctx, PLEAT_F64, PLEAT_SHAPE(3), 2));
    take(w, pleat_zeros_like(x)), take(w, pleat_full_like(x, 5));
    take(w, pleat_randn(w->ctx, PLEAT_F32, PLEAT_SHAPE(2, 2)));
    take(w, pleat_uniform(w->ctx, PLEAT_F64, PLEAT_SHAPE(2, 2), 0, 1));
    pleat_tensor *e = pleat_empty(w->ctx, PLEAT_F32, PLEAT_SHAPE(2, 2));
    if (pleat_is_poison(e) || pleat_is_poison(x)) {
        w->failed = true;
        return;
    }
    take_status(w, pleat_assign(e, x));
    take(w, e);
    pleat_tensor *turned = pleat_flip(x, PLEAT_AXES(0)); /* shares its elements: the copy needs memory */
    if (!pleat_is_poison(turned)) take_status(w, pleat_assign(x, turned));
    take(w, turned);
}

/* A context of its own, whose list of scopes grows. */
static void context(world *w, const row *r) {
    (void)r;
    pleat_ctx *c = pleat_ctx_new(.threads = 1);
    if (!take_pointer(w, c)) {
        pleat_fail(w->ctx, PLEAT_ERR_MEMORY, "ctx_new", "no memory");
        return;
    }
    pleat_scope first = pleat_begin(c);
    for (int i = 0; i < 40; i++) pleat_begin(c);
    take(w, pleat_full(c, PLEAT_F32, PLEAT_SHAPE(2), 1));
    pleat_end(first);
    const pleat_error_info *e = pleat_error(c);
    if (e->code) pleat_fail(w->ctx, e->code, e->op, "%s", e->text);
    pleat_ctx_free(c);
}

static void nothing(void *arg, size_t task) { (void)arg, (void)task; }

/* Enough work that the context starts its threads; without any it is done by one. */
static void threads(world *w, const row *r) {
    (void)r;
    pleat_set_threads(w->ctx, 2);
    pleat_parallel(w->ctx, 1e6, 4, nothing, NULL);
    pleat_tensor *x = drawn(w, PLEAT_SHAPE(1, 4, 40, 40));
    pleat_tensor *y = pleat_conv2d(x, drawn(w, PLEAT_SHAPE(4, 4, 3, 3)));
    take(w, pleat_mean(y));
    take(w, pleat_mean(pleat_exp(drawn(w, PLEAT_SHAPE(400, 400)))));
    pleat_set_threads(w->ctx, 1);
}

static void pool(world *w, const row *r) {
    (void)r;
    pleat_pool *p = pleat_pool_new(2);
    if (!take_pointer(w, p)) pleat_fail(w->ctx, PLEAT_ERR_MEMORY, "pool_new", "no memory");
    pleat_pool_free(p);
}

/* A plan of each operator. */
static void conv_plan(world *w, const row *r) {
    (void)r;
    pleat_conv_shape g = {.N = 2, .C = 3, .O = 4, .G = 1, .H = 9, .W = 8, .P = 9, .Q = 8, .R = 3, .S = 3};
    g.stride[0] = g.stride[1] = g.dilation[0] = g.dilation[1] = 1, g.pad[0] = g.pad[1] = 1;
    for (int op = 0; op < 3; op++) {
        pleat_conv_plan *p = pleat_conv_plan_new(&g, (pleat_conv_op)op, sizeof(float), (pleat_path){0});
        if (!take_pointer(w, p)) pleat_fail(w->ctx, PLEAT_ERR_MEMORY, "conv_plan_new", "no memory");
        pleat_conv_plan_free(p);
    }
}

/* ---- the rest, one by one --------------------------------------------------------------------------------- */

static void clamp(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = square(w);
    take_with_gradients(w, pleat_clamp(x, 0.3, 0.6), 1, &x);
}

static void where(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {square(w), drawn(w, PLEAT_SHAPE(3))};
    take_with_gradients(w, pleat_where(pleat_gt(xs[0], xs[1]), xs[0], xs[1]), 2, xs);
}

static void same_shapes(world *w, const row *r) {
    pleat_tensor *xs[] = {square(w), square(w)};
    take_with_gradients(w, r->binary(xs[0], xs[1]), 2, xs);
}

static void prelu(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {image(w), drawn(w, PLEAT_SHAPE(4))};
    take_with_gradients(w, pleat_prelu(xs[0], xs[1]), 2, xs);
}

static void matmul(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {drawn(w, PLEAT_SHAPE(2, 3, 4)), drawn(w, PLEAT_SHAPE(5, 4))};
    take_with_gradients(w, pleat_matmul(xs[0], xs[1], .tb = true), 2, xs);
    pleat_tensor *gappy = pleat_slice(xs[0], (size_t[]){0, 0, 0}, (size_t[]){2, 2, 2}, (size_t[]){1, 1, 2});
    take(w, pleat_matmul(gappy, gappy, .ta = true));
    pleat_tensor *tall = drawn(w, PLEAT_SHAPE(9, 70)); /* so many rows that products of our own copy them */
    take(w, pleat_matmul(tall, tall, .ta = true));
}

static void argmax(world *w, const row *r) {
    (void)r;
    size_t index[3] = {0};
    take_status(w, pleat_argmax(square(w), 0, index));
    for (size_t i = 0; i < 3; i++) take_number(w, (double)index[i]);
}

static void picks(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = square(w);
    const size_t index[] = {1, 0, 1, 1};
    take_with_gradients(w, pleat_gather(x, 0, (size_t[]){2, 2}, index), 1, &x);
    take_with_gradients(w, pleat_index_select(x, 0, 4, index), 1, &x);
    take_with_gradients(w, pleat_scatter_add(x, 1, (size_t[]){2, 4}, (size_t[]){3, 0, 3, 1, 1, 1}), 1, &x);
}

static void stack(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {square(w), square(w)}, *parts[3];
    pleat_tensor *y = pleat_stack(2, xs, 1);
    take_with_gradients(w, y, 2, xs);
    if (pleat_is_poison(y)) return;
    take_status(w, pleat_split(y, 2, 3, NULL, parts));
    for (size_t i = 0; i < 3; i++) take(w, parts[i]);
}

static void ranges(world *w, const row *r) {
    (void)r;
    take(w, pleat_arange(w->ctx, PLEAT_F32, 1, 3, 0.5));
    take(w, pleat_linspace(w->ctx, PLEAT_F64, 1, 3, 5));
}

static void shapes(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = drawn(w, PLEAT_SHAPE(1, 2, 3, 4));
    pleat_tensor *turned = pleat_flip(pleat_permute(x, (size_t[]){0, 1, 3, 2}), PLEAT_AXES(2));
    pleat_tensor *part =
        pleat_slice(turned, (size_t[]){0, 0, 1, 0}, (size_t[]){1, 2, 2, 3}, (size_t[]){1, 1, 1, 1});
    pleat_tensor *padded =
        pleat_pad(part, (size_t[]){1, 2, 5, 3}, (size_t[]){0, 0, 0, 0}, (size_t[]){1, 1, 2, 1});
    pleat_tensor *both = pleat_concat(2, (pleat_tensor *[]){padded, pleat_contiguous(turned)}, 2);
    pleat_tensor *rows =
        pleat_reshape(pleat_permute(both, (size_t[]){0, 1, 3, 2}), PLEAT_SHAPE(6, PLEAT_REST));
    pleat_tensor *wide = pleat_broadcast_to(rows, PLEAT_SHAPE(2, 6, 9));
    take_with_gradients(w, pleat_sum_to(pleat_add(wide, pleat_detach(rows)), PLEAT_SHAPE(6, 1)), 1, &x);
}

static void conv2d(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {image(w), drawn(w, PLEAT_SHAPE(2, 2, 3, 2)), drawn(w, PLEAT_SHAPE(2))};
    pleat_tensor *y = pleat_conv2d(xs[0], xs[1], .stride = {2, 1}, .pad = {1, PLEAT_NONE}, .groups = 2,
                                   .bias = xs[2], .relu = true);
    take_with_gradients(w, y, 3, xs);
    pleat_conv_norm norm = {xs[2], xs[2], xs[2], pleat_square(xs[2]), .eps = 1};
    for (int recording = 0; recording < 2; recording++) {
        pleat_set_recording(w->ctx, recording);
        take(w, pleat_conv2d(xs[0], xs[1], .groups = 2, .bias = xs[2], .norm = norm, .relu6 = true));
        take(w, pleat_conv2d(pleat_concat(2, (pleat_tensor *[]){xs[0], xs[0]}, 1),
                             drawn(w, PLEAT_SHAPE(3, 8, 2, 2))));
    }
}

static void conv2d_transpose(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {image(w), drawn(w, PLEAT_SHAPE(4, 2, 3, 2)), drawn(w, PLEAT_SHAPE(2))};
    take_with_gradients(w, pleat_conv2d_transpose(xs[0], xs[1], .stride = {2, 1}, .bias = xs[2]), 3, xs);
}

static void conv2d_weight(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {image(w), drawn(w, PLEAT_SHAPE(1, 2, 2, 5))};
    take_with_gradients(w, pleat_conv2d_weight(xs[0], xs[1], .kernel = {3, 2}), 2, xs);
}

static void pools(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = image(w);
    take_with_gradients(w, pleat_max_pool2d(x, .kernel = {2, 2}), 1, &x);
    take_with_gradients(w, pleat_avg_pool2d(x, .kernel = {2, 3}, .pad = {1, 1}), 1, &x);
    take_with_gradients(w, pleat_adaptive_avg_pool2d(x, 3, 4), 1, &x);
}

static void edge_pads(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = image(w);
    take_with_gradients(w, pleat_reflection_pad2d(x, .pad = {1, 2}), 1, &x);
    take_with_gradients(w, pleat_replication_pad2d(x, .pads = {0, 3, 1, 0}), 1, &x);
}

static void norms(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {image(w), drawn(w, PLEAT_SHAPE(4)), drawn(w, PLEAT_SHAPE(4))}, *mean = NULL;
    take_with_gradients(w, pleat_normalize(xs[0], PLEAT_AXES(0, 2), 1e-5), 1, xs);
    take_with_gradients(w, pleat_batch_norm(xs[0], .weight = xs[1], .bias = xs[2]), 3, xs);
    take_with_gradients(w, pleat_batch_norm(xs[0], .mean = xs[1], .var = xs[2]), 1, xs);
    take_with_gradients(w, pleat_group_norm(xs[0], .weight = xs[1], .bias = xs[2], .groups = 2), 3, xs);
    take_with_gradients(w, pleat_layer_norm(xs[0], .axes = 2), 1, xs);
    take_with_gradients(w, pleat_batch_norm(xs[0], .bias = xs[1], .relu = true, .batch_mean = &mean), 2, xs);
    take(w, mean);
}

/* ---- gradients and checks ----------------------------------------------------------------------------------- */

static bool see(void *user, size_t i, pleat_tensor *g) {
    (void)i;
    take(user, pleat_neg(g));
    return true;
}

static void grads(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = square(w), *chain = x, *g = NULL;
    for (int i = 0; i < 70; i++) chain = pleat_neg(chain); /* the walk's lists grow */
    take_status(w, pleat_grads(chain, pleat_flip(x, PLEAT_AXES(0)), 1, &x, &g, 0));
    take(w, g);
    pleat_tensor *leaf = pleat_zeros(w->ctx, PLEAT_F32, PLEAT_SCALAR), *xs[] = {leaf, x}, *gs[2] = {NULL};
    take_status(w, pleat_grads(leaf, NULL, 2, xs, gs, 0));
    take(w, gs[0]), take(w, gs[1]);
    take_status(w, pleat_grads_each(leaf, NULL, 2, xs, see, w, 0));
    take_status(w, pleat_grads_each(chain, pleat_flip(x, PLEAT_AXES(0)), 1, &x, see, w, 0));
}

static void met(void *user) { take_number(user, 1); }

static void turn(void *user, size_t i) {
    world *w = user;
    pleat_tensor *x = pleat_full(w->ctx, PLEAT_F32, PLEAT_SHAPE(3), (double)i), *y = pleat_square(x),
                 *g = NULL;
    for (int k = 0; k < 20; k++) pleat_begin(w->ctx); /* more scopes than there is room for at first */
    if (!pleat_meet(w->ctx, met, w)) return;
    pleat_status status = pleat_grads(pleat_sum(y), NULL, 1, &x, &g, 0);
    if (status == PLEAT_OK) take(w, g);
}

static void lockstep(world *w, const row *r) {
    (void)r;
    take_status(w, pleat_lockstep(w->ctx, 3, turn, w));
}

static pleat_tensor *curve(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    return pleat_tanh(pleat_mul(xs[0], xs[1]));
}

static pleat_tensor *there(pleat_tensor *x, void *user) { return pleat_conv2d(x, user, .stride = {1, 2}); }
static pleat_tensor *back(pleat_tensor *y, void *user) {
    return pleat_conv2d_transpose(y, user, .stride = {1, 2});
}

/* The error of a check stays in its report. */
static void take_check(world *w, pleat_status s, const pleat_report *report) {
    if (s == PLEAT_OK && !report->ok) pleat_fail(w->ctx, PLEAT_ERR_CHECK, "check", "it says both");
    if (s == PLEAT_ERR_MEMORY && pleat_error(w->ctx)->code == PLEAT_OK)
        pleat_fail(w->ctx, s, "check", "%s", report->text);
    take_status(w, s);
}

static void checks(world *w, const row *r) {
    (void)r;
    pleat_report report = {.ok = true};
    pleat_tensor *xs[] = {pleat_full(w->ctx, PLEAT_F64, PLEAT_SHAPE(2), 0.5),
                          pleat_full(w->ctx, PLEAT_F64, PLEAT_SCALAR, 0.7)};
    pleat_tensor *x = pleat_zeros(w->ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 3, 5)),
                 *k = pleat_full(w->ctx, PLEAT_F64, PLEAT_SHAPE(2, 1, 2, 3), 1), *y = there(x, k);
    if (pleat_error(w->ctx)->code) return;
    take_check(w, pleat_gradcheck(curve, 2, xs, .order = 2, .report = &report), &report);
    if (pleat_error(w->ctx)->code) return;
    take_check(
        w, pleat_adjointcheck(there, back, x, y, .user = k, .integers = true, .tries = 1, .report = &report),
        &report);
}

static void products(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {drawn(w, PLEAT_SHAPE(2, 3)), drawn(w, PLEAT_SHAPE(3))}, *hv[2];
    pleat_tensor *y = pleat_mul(pleat_square(xs[0]), xs[1]);
    take(w, pleat_jvp(y, 2, xs, xs, PLEAT_GRADS_RECORD));
    take_status(w, pleat_hvp(pleat_sum(y), 2, xs, xs, hv, 0));
    for (size_t i = 0; i < 2; i++) take(w, hv[i]);
}

static void fill_f64(void *user, size_t n, const double *x, size_t m, double *y) {
    for (size_t j = 0; j < m; j++) y[j] = user ? 0 : n ? x[0] : 0;
}
static void back_f64(void *user, size_t n, const double *x, size_t m, const double *gy, double *gx) {
    (void)user, (void)x;
    for (size_t i = 0; i < n; i++) gx[i] = 0;
    for (size_t j = 0; n > 0 && j < m; j++) gx[0] += gy[j];
}
static void first_f64(void *user, size_t n, const double *x, double *y) { fill_f64(user, n, x, 1, y); }
static void one_f64(void *user, size_t n, const double *x, double *g) {
    back_f64(user, n, x, 1, (double[]){1}, g);
}
static void same_f64(void *user, size_t n, const double *x, size_t m, double *y) {
    (void)user, (void)n;
    memcpy(y, x, m * sizeof *y);
}
static void first_f32(void *user, size_t n, const float *x, float *y) { (void)user, (void)n, y[0] = x[0]; }
static void one_f32(void *user, size_t n, const float *x, float *g) {
    (void)user, (void)x;
    for (size_t i = 0; i < n; i++) g[i] = i == 0;
}
static void map_f32(void *user, size_t n, const float *x, size_t m, float *y) {
    (void)user, (void)n;
    memcpy(y, x, m * sizeof *y);
}
static void vjp_f32(void *user, size_t n, const float *x, size_t m, const float *gy, float *gx) {
    (void)user, (void)x, (void)m;
    memcpy(gx, gy, n * sizeof *gx);
}

/* No context there: what a check says of memory becomes the context's error. */
static void take_verdict(world *w, long v, const char *text) {
    if (v == PLEAT_CHECK_MEMORY)
        take_status(w, pleat_fail(w->ctx, PLEAT_ERR_MEMORY, "check", "%s", text));
    else
        take_number(w, (int)v);
}

static void array_checks(world *w, const row *r) {
    (void)r;
    static const double x[3] = {1, 2, 3};
    static const float xf[3] = {1, 2, 3};
    pleat_check_report report;
    char text[100];
    take_verdict(w, pleat_check_gradient_f64(first_f64, one_f64, 3, x, .report = &report), report.text);
    take_verdict(w, pleat_check_vjp_f64(fill_f64, back_f64, 3, x, 2, .report = &report), report.text);
    take_verdict(w, pleat_check_adjoint_f64(same_f64, same_f64, 2, 2, .report = &report), report.text);
    take_verdict(w, pleat_check_gradient_f32(first_f32, one_f32, 3, xf, .report = &report), report.text);
    take_verdict(w, pleat_check_vjp_f32(map_f32, vjp_f32, 3, xf, 3, .report = &report), report.text);
    take_verdict(w, pleat_check_adjoint_f32(map_f32, map_f32, 2, 2, .report = &report), report.text);
    take_verdict(w, pleat_check_gradient_plain_f64(first_f64, one_f64, NULL, 3, x, 0, text, sizeof text),
                 text);
    take_verdict(w, pleat_check_vjp_plain_f64(fill_f64, back_f64, NULL, 3, x, 2, 0, text, sizeof text), text);
    take_verdict(w, pleat_check_adjoint_plain_f64(same_f64, same_f64, NULL, 2, 2, 1, text, sizeof text),
                 text);
    take_verdict(w, pleat_check_gradient_plain_f32(first_f32, one_f32, NULL, 3, xf, 0, text, sizeof text),
                 text);
    take_verdict(w, pleat_check_vjp_plain_f32(map_f32, vjp_f32, NULL, 3, xf, 3, 0, text, sizeof text), text);
    take_verdict(w, pleat_check_adjoint_plain_f32(map_f32, map_f32, NULL, 2, 2, 0, text, sizeof text), text);
}

/* ---- own ops, and layers in other words ---------------------------------------------------------------------- */

static size_t attributes_of_own(const pleat_call *c, pleat_attr *out) {
    out[0] = (pleat_attr){
        .name = "factor", .kind = PLEAT_ATTR_REAL, .count = 1, .real = {(double)*(const float *)c->attrs}};
    return 1;
}

static bool shape_of_own(pleat_call *c) {
    c->rank = 1;
    c->shape[0] = pleat_numel(c->in[0]);
    return true;
}

static bool forward_of_own(const pleat_call *c) {
    for (size_t i = 0; i < c->shape[0]; i++)
        pleat_f32(c->out)[i] = *(const float *)c->attrs * pleat_const_f32(c->in[0])[i];
    return true;
}

static pleat_tensor *vjp_of_own(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_reshape(pleat_scale(g, *(const float *)c->attrs), pleat_rank(c->in[i]),
                         pleat_shape(c->in[i]));
}

static void own(world *w, const row *r) {
    (void)r;
    static const pleat_op op = {"own", shape_of_own, forward_of_own, vjp_of_own, attributes_of_own,
                                NULL,  NULL};
    float factor = 3;
    pleat_tensor *x = square(w);
    take_with_gradients(w, pleat_apply(&op, 1, &x, &factor, sizeof factor), 1, &x);
}

static void layer(world *w, const row *r) {
    (void)r;
    for (pleat_framework f = PLEAT_TORCH; f < PLEAT_FRAMEWORKS; f++) {
        bool last = f == PLEAT_TENSORFLOW || f == PLEAT_KERAS;
        pleat_layer l = {
            .framework = f, .transpose = true, .stride = {2, 1}, .dilation = {1, 1}, .groups = 1};
        l.padding = last ? PLEAT_PADDING_SAME : PLEAT_PADDING_EXPLICIT;
        l.channels_last = last;
        pleat_tensor *xs[] = {last ? drawn(w, PLEAT_SHAPE(1, 3, 2, 2)) : drawn(w, PLEAT_SHAPE(1, 2, 3, 2)),
                              last ? drawn(w, PLEAT_SHAPE(2, 2, 3, 2)) : drawn(w, PLEAT_SHAPE(2, 3, 2, 2)),
                              drawn(w, PLEAT_SHAPE(3))};
        take_with_gradients(w, pleat_layer_apply(&l, xs[0], xs[1], xs[2]), 3, xs);
    }
}

static pleat_tensor *answer(pleat_tensor *x, void *w) {
    pleat_tensor *y = pleat_conv2d(x, pleat_square(w), .bias = pleat_sum(w, PLEAT_AXES(1, 2, 3)));
    return pleat_permute(pleat_group_norm(y, NULL, NULL, .groups = 1), (size_t[]){1, 0, 2, 3});
}

/* A run that had no memory leaves a function that can run. */
static void prepared(world *w, const row *r) {
    (void)r;
    pleat_tensor *x = image(w), *weight = drawn(w, PLEAT_SHAPE(17, 4, 3, 3));
    pleat_prepared *p = pleat_prepare(w->ctx, answer, weight, PLEAT_F32, PLEAT_SHAPE(1, 4, 4, 6));
    const float *from = pleat_is_poison(x) ? NULL : pleat_const_f32(x);
    if (take_pointer(w, p) && from) {
        pleat_ctx *own = pleat_ctx_of(pleat_prepared_result(p));
        pleat_trim(own);
        pleat_status status = pleat_run_f32(p, from, NULL);
        if (status != PLEAT_OK) pleat_fail(w->ctx, status, "run", "%s", pleat_error(own)->text);
        take_status(w, status);
        if (status == PLEAT_OK) take(w, (pleat_tensor *)pleat_prepared_result(p));
    }
    pleat_prepared_free(p);
}

const row faults_ops[] = {
    {" pleat_add ", binary, .binary = pleat_add},
    {" pleat_sub ", binary, .binary = pleat_sub},
    {" pleat_mul ", binary, .binary = pleat_mul},
    {" pleat_div ", binary, .binary = pleat_div},
    {" pleat_add_relu ", binary, .binary = pleat_add_relu},
    {" pleat_bce ", same_shapes, .binary = pleat_bce},
    {" pleat_bce_with_logits ", same_shapes, .binary = pleat_bce_with_logits},
    {" pleat_maximum ", binary, .binary = pleat_maximum},
    {" pleat_minimum ", binary, .binary = pleat_minimum},
    {" pleat_gt ", binary, .binary = pleat_gt},
    {" pleat_ge ", binary, .binary = pleat_ge},
    {" pleat_lt ", binary, .binary = pleat_lt},
    {" pleat_le ", binary, .binary = pleat_le},
    {" pleat_eq ", binary, .binary = pleat_eq},
    {" pleat_ne ", binary, .binary = pleat_ne},
    {" pleat_scale ", with_number, .with_number = pleat_scale},
    {" pleat_shift ", with_number, .with_number = pleat_shift},
    {" pleat_pow ", with_number, .with_number = pleat_pow},
    {" pleat_elu ", with_number, .with_number = pleat_elu},
    {" pleat_leaky_relu ", with_number, .with_number = pleat_leaky_relu},
    {" pleat_dropout ", with_number, .with_number = pleat_dropout},
    {" pleat_cast ", cast, .unary = NULL},
    {" pleat_neg ", unary, .unary = pleat_neg},
    {" pleat_exp ", unary, .unary = pleat_exp},
    {" pleat_log ", unary, .unary = pleat_log},
    {" pleat_sqrt ", unary, .unary = pleat_sqrt},
    {" pleat_square ", unary, .unary = pleat_square},
    {" pleat_tanh ", unary, .unary = pleat_tanh},
    {" pleat_sigmoid ", unary, .unary = pleat_sigmoid},
    {" pleat_relu ", unary, .unary = pleat_relu},
    {" pleat_relu6 ", unary, .unary = pleat_relu6},
    {" pleat_step ", unary, .unary = pleat_step},
    {" pleat_sin ", unary, .unary = pleat_sin},
    {" pleat_cos ", unary, .unary = pleat_cos},
    {" pleat_floor ", unary, .unary = pleat_floor},
    {" pleat_round ", unary, .unary = pleat_round},
    {" pleat_abs ", unary, .unary = pleat_abs},
    {" pleat_sign ", unary, .unary = pleat_sign},
    {" pleat_erf ", unary, .unary = pleat_erf},
    {" pleat_prelu ", prelu, .unary = NULL},
    {" pleat_softplus ", unary, .unary = pleat_softplus},
    {" pleat_silu ", unary, .unary = pleat_silu},
    {" pleat_gelu ", unary, .unary = pleat_gelu},
    {" pleat_softmax ", with_size, .with_size = pleat_softmax},
    {" pleat_log_softmax ", with_size, .with_size = pleat_log_softmax},
    {" pleat_cumsum ", with_size, .with_size = pleat_cumsum},
    {" pleat_pixel_shuffle ", shuffled, .with_size = pleat_pixel_shuffle},
    {" pleat_pixel_unshuffle ", shuffled, .with_size = pleat_pixel_unshuffle},
    {" pleat_sum_with ", sum, .sum = pleat_sum_with},
    {" pleat_mean_with ", sum, .sum = pleat_mean_with},
    {" pleat_var_with ", sum, .sum = pleat_var_with},
    {" pleat_amax_with ", sum, .sum = pleat_amax_with},
    {" pleat_amin_with ", sum, .sum = pleat_amin_with},
    {" pleat_log_sum_exp_with ", sum, .sum = pleat_log_sum_exp_with},
    {" pleat_resize_nearest_with ", resize, .resize = pleat_resize_nearest_with},
    {" pleat_resize_bilinear_with ", resize, .resize = pleat_resize_bilinear_with},
    {" pleat_resize_bicubic_with ", resize, .resize = pleat_resize_bicubic_with},
    {" pleat_zeros pleat_full pleat_empty pleat_from pleat_from_f64 pleat_zeros_like pleat_full_like"
     " pleat_randn pleat_uniform pleat_assign ",
     make, .unary = NULL},
    {" pleat_ctx_new_with pleat_begin ", context, .unary = NULL},
    {" pleat_set_threads pleat_parallel ", threads, .unary = NULL},
    {" pleat_pool_new ", pool, .unary = NULL},
    {" pleat_conv_plan_new ", conv_plan, .unary = NULL},
    {" pleat_clamp ", clamp, .unary = NULL},
    {" pleat_where ", where, .unary = NULL},
    {" pleat_matmul_with ", matmul, .unary = NULL},
    {" pleat_argmax ", argmax, .unary = NULL},
    {" pleat_gather pleat_scatter_add pleat_index_select ", picks, .unary = NULL},
    {" pleat_stack pleat_split ", stack, .unary = NULL},
    {" pleat_arange pleat_linspace ", ranges, .unary = NULL},
    {" pleat_broadcast_to pleat_sum_to pleat_reshape pleat_permute pleat_slice pleat_pad pleat_flip pleat_concat"
     " pleat_contiguous pleat_detach ",
     shapes, .unary = NULL},
    {" pleat_conv2d_with ", conv2d, .unary = NULL},
    {" pleat_conv2d_transpose_with ", conv2d_transpose, .unary = NULL},
    {" pleat_conv2d_weight_with ", conv2d_weight, .unary = NULL},
    {" pleat_max_pool2d_with pleat_avg_pool2d_with pleat_adaptive_avg_pool2d ", pools, .unary = NULL},
    {" pleat_reflection_pad2d_with pleat_replication_pad2d_with ", edge_pads, .unary = NULL},
    {" pleat_normalize pleat_batch_norm_with pleat_group_norm_with pleat_layer_norm_with ", norms,
     .unary = NULL},
    {" pleat_grads pleat_grads_each ", grads, .unary = NULL},
    {" pleat_lockstep pleat_meet ", lockstep, .unary = NULL},
    {" pleat_jvp pleat_hvp ", products, .unary = NULL},
    {" pleat_check_gradient_f64_with pleat_check_vjp_f64_with pleat_check_adjoint_f64_with"
     " pleat_check_gradient_f32_with pleat_check_vjp_f32_with pleat_check_adjoint_f32_with"
     " pleat_check_gradient_plain_f64 pleat_check_vjp_plain_f64 pleat_check_adjoint_plain_f64"
     " pleat_check_gradient_plain_f32 pleat_check_vjp_plain_f32 pleat_check_adjoint_plain_f32 ",
     array_checks, .unary = NULL},
    {" pleat_gradcheck_with pleat_adjointcheck_with ", checks, .unary = NULL},
    {" pleat_apply ", own, .unary = NULL},
    {" pleat_layer_apply ", layer, .unary = NULL},
    {" pleat_prepare_with pleat_run_f32 ", prepared, .unary = NULL},
    {.covers = NULL},
};

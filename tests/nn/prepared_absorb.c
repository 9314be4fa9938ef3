/* Steps that are absorbed, and those that must not be: how many of a function are left, with the bits of its calls one by one. */
#include "core/prepare.h"
#include "pleat_nn.h"
#include "tensors.h"

TestSuite(prepared_absorb, .init = tensors_begin, .fini = tensors_end);

/* What the functions read. */
typedef struct read {
    pleat_tensor *w, *up, *each[4], *statistics;
} read;

static pleat_tensor *conv(pleat_tensor *x, const read *r) {
    return pleat_conv2d(x, r->w, .bias = r->each[0]);
}

static pleat_tensor *norm(pleat_tensor *x, const read *r, bool relu) {
    return pleat_batch_norm(x, r->each[1], r->each[2], r->each[3], r->statistics, .relu = relu);
}

static pleat_tensor *normed_and_rectified(pleat_tensor *x, void *r) {
    return pleat_relu(norm(conv(x, r), r, false));
}
static pleat_tensor *normed_with_relu(pleat_tensor *x, void *r) { return norm(conv(x, r), r, true); }
static pleat_tensor *rectified_at_6(pleat_tensor *x, void *r) { return pleat_relu6(conv(x, r)); }
static pleat_tensor *two_layers(pleat_tensor *x, void *r) {
    return pleat_relu(norm(pleat_conv2d_transpose(pleat_relu(conv(x, r)), ((read *)r)->up), r, false));
}

static pleat_tensor *rectified_first(pleat_tensor *x, void *r) {
    return norm(pleat_relu(conv(x, r)), r, false);
}
static pleat_tensor *normed_twice(pleat_tensor *x, void *r) {
    return norm(norm(conv(x, r), r, false), r, false);
}
static pleat_tensor *read_twice(pleat_tensor *x, void *r) {
    pleat_tensor *y = conv(x, r);
    return pleat_add(pleat_relu(y), pleat_relu6(y));
}
static pleat_tensor *read_as_a_view(pleat_tensor *x, void *r) {
    pleat_tensor *y = conv(x, r);
    return pleat_add(pleat_relu(y), pleat_flip(y, PLEAT_AXES(3)));
}
static pleat_tensor *read_without_history(pleat_tensor *x, void *r) {
    pleat_tensor *y = conv(x, r);
    return pleat_add(pleat_relu(y), pleat_detach(y));
}
static pleat_tensor *is_the_result(pleat_tensor *x, void *r) {
    pleat_tensor *y = conv(x, r);
    pleat_relu(y);
    return y;
}
static pleat_tensor *with_statistics_of_x(pleat_tensor *x, void *user) {
    read r = *(read *)user;
    r.each[2] = pleat_slice(pleat_mean(x, PLEAT_AXES(0, 1, 2)), (size_t[]){0}, (size_t[]){4}, NULL);
    return norm(conv(x, &r), &r, false);
}
static pleat_tensor *behind_another(pleat_tensor *x, void *r) {
    return pleat_relu(pleat_scale(conv(x, r), 2));
}

static size_t steps_of(const pleat_prepared *p) {
    size_t n = 0;
    for (const step *s = p->steps; s != NULL; s = s->next) n += s->varies && s->call.op->forward != NULL;
    return n;
}

Test(prepared_absorb, what_one_step_can_do_is_one_step) {
    static const struct {
        pleat_tensor *(*f)(pleat_tensor *, void *);
        size_t steps;
        const char *name;
    } cases[] = {
        {normed_and_rectified, 1, "conv, norm, relu"},
        {normed_with_relu, 1, "conv, norm with relu"},
        {rectified_at_6, 1, "conv, relu6"},
        {two_layers, 2, "two layers"},
        {rectified_first, 2, "conv, relu, norm"},
        {normed_twice, 2, "conv, norm, norm"},
        {read_twice, 4, "read twice"},
        {read_as_a_view, 3, "read as a view"},
        {read_without_history, 3, "read without history"},
        {is_the_result, 2, "is the result"},
        {with_statistics_of_x, 3, "statistics of x"},
        {behind_another, 3, "scale between"},
    };
    read r = {.w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 3, 2, 2)),
              .up = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 4, 3, 3)),
              .statistics = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(4), 0.5, 2)};
    for (size_t i = 0; i < 4; i++) r.each[i] = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pleat_prepared *p = pleat_prepare(ctx, cases[i].f, &r, PLEAT_F32, PLEAT_SHAPE(2, 3, 5, 6));
        cr_assert(p, "%s: %s", cases[i].name, pleat_error(ctx)->text);
        pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 5, 6));
        bool recording = pleat_set_recording(ctx, false);
        pleat_tensor *y = cases[i].f(x, &r);
        pleat_set_recording(ctx, recording);
        cr_assert_eq(pleat_run_f32(p, pleat_const_f32(x), NULL), PLEAT_OK);
        cr_expect(same(pleat_prepared_result(p), y), "%s: %s", cases[i].name, difference());
        cr_expect_eq(steps_of(p), cases[i].steps, "%s: %zu steps", cases[i].name, steps_of(p));
        pleat_prepared_free(p);
    }
}

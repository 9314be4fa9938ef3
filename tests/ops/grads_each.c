/* pleat_grads_each: the bits of pleat_grads, each result once, as soon as it is complete. */
#include "tensors.h"

TestSuite(each, .init = tensors_begin, .fini = tensors_end);

enum { MOST = 12 };

/* What was shown. */
typedef struct shown {
    size_t n, order[MOST];
    pleat_tensor *g[MOST]; /* held */
    size_t stop;           /* false at this call, counted from 1 */
    bool (*also)(struct shown *s, size_t i, pleat_tensor *g);
    pleat_tensor *const *xs;
} shown;

static bool see(void *user, size_t i, pleat_tensor *g) {
    shown *s = user;
    cr_assert(s->n < MOST && i < MOST);
    cr_assert_null(s->g[i], "x %zu is shown twice", i);
    cr_assert(!pleat_is_poison(g) && pleat_is_contiguous(g), "x %zu", i);
    s->order[s->n++] = i;
    s->g[i] = pleat_hold(g);
    if (s->also && !s->also(s, i, g)) return false;
    return s->n != s->stop;
}

static void forget(shown *s) {
    for (size_t i = 0; i < MOST; i++) pleat_drop(s->g[i]);
    *s = (shown){0};
}

/* ---- random graphs ------------------------------------------------------------------------------------------ */

enum { LEAVES = 4, NODES = 24 };

typedef struct graph {
    pleat_tensor *t[LEAVES + NODES]; /* leaves, then what ops made of what is before */
    pleat_tensor *y;
} graph;

static pleat_tensor *one_op(pleat_rng *r, pleat_tensor *a, pleat_tensor *b) {
    switch (pleat_rng_below(r, 9)) {
    case 0:
        return pleat_add(a, b);
    case 1:
        return pleat_mul(a, b);
    case 2:
        return pleat_sub(a, pleat_permute(b, (size_t[]){1, 0}));
    case 3:
        return pleat_matmul(a, b);
    case 4:
        return pleat_tanh(a);
    case 5:
        return pleat_flip(a, PLEAT_AXES(0));
    case 6:
        return pleat_mul(a, pleat_sum(b, PLEAT_AXES(1), .keep = true));
    case 7:
        return pleat_reshape(pleat_permute(a, (size_t[]){1, 0}), 2, (size_t[]){3, 3});
    default:
        return pleat_add(pleat_scale(a, 0.5), a);
    }
}

/* The same for each seed. */
static graph draw(uint64_t seed, pleat_dtype type) {
    pleat_rng r = pleat_rng_new(seed, 1);
    graph g;
    *pleat_ctx_rng(ctx) = pleat_rng_new(seed, 2);
    for (size_t i = 0; i < LEAVES; i++) g.t[i] = pleat_uniform(ctx, type, PLEAT_SHAPE(3, 3), -1, 1);
    for (size_t i = LEAVES; i < LEAVES + NODES; i++) {
        size_t recent = i < 8 ? i : 8;
        g.t[i] = one_op(&r, g.t[i - 1 - pleat_rng_below(&r, recent)], g.t[pleat_rng_below(&r, i)]);
    }
    g.y = pleat_mean(pleat_square(g.t[LEAVES + NODES - 1]));
    return g;
}

/* Leaves, tensors in the middle, some twice, some that y may not depend on, y itself. */
static size_t choose(uint64_t seed, const graph *g, pleat_tensor **xs) {
    pleat_rng r = pleat_rng_new(seed, 3);
    size_t n = 1 + pleat_rng_below(&r, MOST);
    for (size_t i = 0; i < n; i++) {
        size_t k = pleat_rng_below(&r, LEAVES + NODES + 1);
        xs[i] = i && pleat_rng_below(&r, 4) == 0 ? xs[i - 1] : k < LEAVES + NODES ? g->t[k] : g->y;
    }
    return n;
}

static void expect_the_same(uint64_t seed, pleat_dtype type, unsigned flags) {
    graph a = draw(seed, type), b = draw(seed, type);
    pleat_tensor *xs[MOST], *ys[MOST], *g[MOST];
    size_t n = choose(seed, &a, xs);
    choose(seed, &b, ys);
    shown s = {0};
    pleat_status expected = pleat_grads(a.y, NULL, n, xs, g, flags);
    char text[512];
    snprintf(text, sizeof text, "%s", pleat_error(ctx)->text);
    size_t input = pleat_error(ctx)->input;
    pleat_clear_error(ctx);
    pleat_status found = pleat_grads_each(b.y, NULL, n, ys, see, &s, flags);
    cr_assert_eq(found, expected, "seed %zu: %s", (size_t)seed, pleat_error(ctx)->text);
    if (expected) cr_assert_str_eq(pleat_error(ctx)->text, text);
    if (expected) cr_assert_eq(pleat_error(ctx)->input, input);
    pleat_clear_error(ctx);
    if (!expected) cr_assert_eq(s.n, n, "seed %zu: %zu of %zu", (size_t)seed, s.n, n);
    for (size_t i = 0; i < n && !expected; i++)
        cr_assert(same(s.g[i], g[i]), "seed %zu, x %zu: %s", (size_t)seed, i, difference());
    forget(&s);
}

Test(each, has_the_bits_of_grads) {
    static const unsigned flags[] = {0,
                                     PLEAT_GRADS_CONSUME,
                                     PLEAT_GRADS_RECORD,
                                     PLEAT_GRADS_STRICT,
                                     PLEAT_GRADS_STRICT | PLEAT_GRADS_CONSUME,
                                     PLEAT_GRADS_STRICT | PLEAT_GRADS_RECORD};
    for (uint64_t seed = 0; seed < 600; seed++) {
        pleat_scope scope = pleat_begin(ctx);
        expect_the_same(seed, seed % 2 ? PLEAT_F32 : PLEAT_F64, flags[seed / 2 % 6]);
        pleat_end(scope);
    }
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
}

/* ---- single cases -------------------------------------------------------------------------------------------- */

Test(each, twice_itself_in_the_middle_and_none) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *other = counted(PLEAT_F64, PLEAT_SHAPE(2));
    pleat_tensor *middle = pleat_square(x), *y = pleat_sum(pleat_mul(middle, x));
    pleat_tensor *xs[] = {x, other, y, middle, x, y};
    shown s = {0};
    EXPECT_OK(pleat_grads_each(y, NULL, 6, xs, see, &s, 0));
    EXPECT_HOLDS(s.g[0], PLEAT_SHAPE(3), VALUES(3, 12, 27));
    EXPECT_HOLDS(s.g[1], PLEAT_SHAPE(2), VALUES(0, 0));
    EXPECT_HOLDS(s.g[2], PLEAT_SCALAR, VALUES(1));
    EXPECT_SAME(s.g[3], x);
    EXPECT_SAME(s.g[4], s.g[0]);
    EXPECT_SAME(s.g[5], s.g[2]);
    cr_assert(s.g[0] != s.g[4] && s.g[2] != s.g[5]);
    static const size_t order[] = {2, 5, 3, 0, 4, 1};
    for (size_t i = 0; i < 6; i++) cr_assert_eq(s.order[i], order[i], "%zu at %zu", s.order[i], i);
    forget(&s);
}

/* Layers whose weights are shown from the last to the first, each before the layer below is visited. */
static size_t visited;

static bool pass_shape(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]);
    memcpy(c->shape, pleat_shape(c->in[0]), c->rank * sizeof *c->shape);
    return true;
}
static bool pass_forward(const pleat_call *c) { return pleat_assign(c->out, c->in[0]) == PLEAT_OK; }
static pleat_tensor *pass_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)c, (void)i;
    visited++;
    return g;
}

static bool count_visits(shown *s, size_t i, pleat_tensor *g) {
    (void)g;
    cr_assert_eq(visited, MOST - 1 - i, "weight %zu is shown after %zu layers", i, visited);
    cr_assert_eq(s->n, MOST - i);
    return true;
}

Test(each, last_layers_first) {
    static const pleat_op pass = {"pass", pass_shape, pass_forward, pass_vjp, NULL, NULL, NULL};
    pleat_tensor *w[MOST], *y = counted(PLEAT_F32, PLEAT_SHAPE(5));
    shown s = {.also = count_visits};
    for (size_t i = 0; i < MOST; i++) {
        w[i] = counted(PLEAT_F32, PLEAT_SHAPE(5));
        y = pleat_mul(y, w[i]);
        if (i + 1 < MOST) y = pleat_apply(&pass, 1, &y, NULL, 0);
    }
    EXPECT_OK(
        pleat_grads_each(pleat_mean(y), NULL, MOST, w, see, &s, PLEAT_GRADS_STRICT | PLEAT_GRADS_CONSUME));
    cr_assert_eq(s.n, MOST);
    forget(&s);
}

/* What nobody holds is given back at once. */
static bool look_only(void *user, size_t i, pleat_tensor *g) {
    size_t *most = user, now = pleat_memory(ctx).tensors;
    (void)i;
    cr_assert(!pleat_is_poison(g));
    if (now > *most) *most = now;
    return true;
}

Test(each, keeps_nothing) {
    pleat_tensor *w[MOST], *y = counted(PLEAT_F32, PLEAT_SHAPE(5));
    for (size_t i = 0; i < MOST; i++) {
        w[i] = counted(PLEAT_F32, PLEAT_SHAPE(5));
        y = pleat_mul(y, w[i]);
    }
    size_t before = pleat_memory(ctx).tensors, most = 0;
    y = pleat_sum(y);
    EXPECT_OK(pleat_grads_each(y, NULL, MOST, w, look_only, &most, 0));
    cr_assert_eq(pleat_memory(ctx).tensors, before + 1);
    cr_assert(most <= before + 4, "%zu tensors beside %zu", most - before, before);
}

/* What is held has a history, if that is asked for. */
Test(each, records) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *y = pleat_sum(pleat_mul(pleat_square(x), x)), *gg;
    shown s = {0};
    EXPECT_OK(pleat_grads_each(y, NULL, 1, &x, see, &s, PLEAT_GRADS_RECORD));
    EXPECT_OK(pleat_grads(pleat_sum(s.g[0]), NULL, 1, &x, &gg, PLEAT_GRADS_STRICT));
    EXPECT_HOLDS(gg, PLEAT_SHAPE(3), VALUES(6, 12, 18));
    forget(&s);
    EXPECT_OK(pleat_grads_each(y, NULL, 1, &x, see, &s, 0));
    cr_assert_null(pleat_call_of(s.g[0]));
    forget(&s);
}

Test(each, with_a_cotangent) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *gy = counted(PLEAT_F64, PLEAT_SHAPE(3)),
                 *y = pleat_square(x);
    pleat_tensor *xs[] = {y, x};
    shown s = {0};
    EXPECT_OK(pleat_grads_each(y, gy, 2, xs, see, &s, PLEAT_GRADS_CONSUME));
    EXPECT_SAME(s.g[0], gy);
    cr_assert(s.g[0] != gy);
    EXPECT_HOLDS(s.g[1], PLEAT_SHAPE(3), VALUES(2, 8, 18));
    forget(&s);
    EXPECT_OK(pleat_grads_each(pleat_sum(pleat_square(x)), NULL, 0, NULL, see, &s, 0));
    cr_assert_eq(s.n, 0);
}

/* Another walk within it, over the same tensors. */
static bool walk_again(shown *s, size_t i, pleat_tensor *g) {
    pleat_tensor *x = s->xs[i], *again;
    bool recording = pleat_set_recording(ctx, true);
    EXPECT_OK(pleat_grads(pleat_sum(pleat_mul(pleat_detach(g), pleat_square(x))), NULL, 1, &x, &again, 0));
    pleat_set_recording(ctx, recording);
    EXPECT_SAME(again, pleat_mul(pleat_scale(x, 2), g));
    return true;
}

Test(each, may_start_a_walk) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *middle = pleat_square(x), *xs[] = {x, middle, x};
    for (unsigned flags = 0; flags < 2; flags++) {
        shown s = {.also = walk_again, .xs = xs};
        EXPECT_OK(pleat_grads_each(pleat_sum(pleat_mul(middle, x)), NULL, 3, xs, see, &s,
                                   flags ? PLEAT_GRADS_CONSUME : 0));
        EXPECT_HOLDS(s.g[0], PLEAT_SHAPE(3), VALUES(3, 12, 27));
        EXPECT_SAME(s.g[1], x);
        EXPECT_SAME(s.g[2], s.g[0]);
        forget(&s);
        middle = xs[1] = pleat_square(x);
    }
}

/* ---- mistakes ------------------------------------------------------------------------------------------------ */

Test(each, false_ends_the_walk) {
    for (size_t stop = 1; stop <= 4; stop++) {
        pleat_tensor *w[4], *y = counted(PLEAT_F32, PLEAT_SHAPE(5));
        for (size_t i = 0; i < 4; i++) y = pleat_mul(y, w[i] = counted(PLEAT_F32, PLEAT_SHAPE(5)));
        size_t before = pleat_memory(ctx).tensors;
        y = pleat_sum(y);
        shown s = {.stop = stop};
        char part[60];
        snprintf(part, sizeof part, "the function for x %zu returned false", 4 - stop);
        EXPECT_FAILED(pleat_grads_each(y, NULL, 4, w, see, &s, stop % 2 ? PLEAT_GRADS_CONSUME : 0),
                      PLEAT_ERR_ARGUMENT, "grads_each", part);
        cr_assert_eq(s.n, stop);
        forget(&s);
        cr_assert_eq(pleat_memory(ctx).tensors, before + 1);
    }
}

/* An op that fails, whatever is returned. */
static bool lenient_at(shown *s, size_t i, pleat_tensor *g) {
    (void)i;
    if (s->n == 2) pleat_reshape(g, 1, (size_t[]){77});
    return true;
}

Test(each, an_op_that_fails_ends_the_walk) {
    for (size_t n = 2; n <= 4; n++) {
        pleat_tensor *w[4], *y = counted(PLEAT_F32, PLEAT_SHAPE(5));
        for (size_t i = 0; i < n; i++) y = pleat_mul(y, w[i] = counted(PLEAT_F32, PLEAT_SHAPE(5)));
        shown s = {.also = lenient_at};
        EXPECT_FAILED(pleat_grads_each(pleat_sum(y), NULL, n, w, see, &s, 0), PLEAT_ERR_SHAPE, "reshape",
                      "77");
        cr_assert_eq(s.n, 2, "%zu of %zu are shown", s.n, n);
        forget(&s);
    }
}

Test(each, refuses_what_grads_refuses) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *z = counted(PLEAT_F64, PLEAT_SHAPE(2)),
                 *y = pleat_sum(pleat_square(x));
    pleat_tensor *xs[] = {x, z};
    shown s = {0};
    EXPECT_FAILED(pleat_grads_each(y, NULL, 1, &x, NULL, NULL, 0), PLEAT_ERR_ARGUMENT, "grads_each",
                  "each is NULL");
    EXPECT_FAILED(pleat_grads_each(y, NULL, 2, xs, see, &s, PLEAT_GRADS_STRICT | PLEAT_GRADS_CONSUME),
                  PLEAT_ERR_GRADIENT, "grads", "does not depend on x 1");
    cr_assert_eq(s.n, 0, "nothing is shown before a mistake is known");
    EXPECT_FAILED(pleat_grads_each(y, NULL, 1, xs, see, &s, PLEAT_GRADS_RECORD | PLEAT_GRADS_CONSUME),
                  PLEAT_ERR_ARGUMENT, "grads", "needs the calls that are consumed");
    EXPECT_FAILED(pleat_grads_each(x, NULL, 1, xs, see, &s, 0), PLEAT_ERR_SHAPE, "grads", "without gy");
    EXPECT_FAILED(pleat_grads_each(y, NULL, 1, (pleat_tensor *[]){NULL}, see, &s, 0), PLEAT_ERR_ARGUMENT,
                  "grads", "an x is a null pointer");
    EXPECT_OK(pleat_grads_each(y, NULL, 1, xs, see, &s, PLEAT_GRADS_CONSUME));
    EXPECT_FAILED(pleat_grads_each(y, NULL, 1, xs, see, &s, 0), PLEAT_ERR_GRADIENT, "grads",
                  "has consumed it");
    forget(&s);
}

/* Layouts that stay: functions drawn from what takes blocked tensors and what does not have the same bits prepared, and some
 * tensors of theirs are blocked. PLEAT_CASE=N draws function N alone. */
#include <math.h>
#include <stdlib.h>

#include "core/prepare.h"
#include "geometry.h"
#include "pleat_nn.h"
#include "tensors.h"

TestSuite(layouts, .init = tensors_begin, .fini = tensors_end);

enum { CASES = 140, LIVE = 12, NUMBERS = 48 * 96 * 9 };

/* A function: the same draws from the seed in each call. `leaf` are numbers that weights and statistics are made of. */
typedef struct drawn {
    uint64_t seed;
    pleat_tensor *leaf;
    pleat_tensor *live[LIVE];
    size_t count;
} drawn;

static size_t below(drawn *d, size_t n) { return random_below(&d->seed, n); }
static pleat_tensor *any(drawn *d) { return d->live[below(d, d->count)]; }
static pleat_tensor *newest(drawn *d) { return d->live[d->count - 1]; }

static pleat_tensor *numbers(drawn *d, size_t rank, const size_t *shape) {
    size_t n = 1;
    for (size_t k = 0; k < rank; k++) n *= shape[k];
    pleat_tensor *part = pleat_slice(d->leaf, (size_t[]){below(d, NUMBERS - n + 1)}, (size_t[]){n}, NULL);
    return pleat_reshape(part, rank, shape);
}

/* Another tensor of t's sizes, but perhaps for channels; t itself if there is none. */
static pleat_tensor *partner(drawn *d, pleat_tensor *t, bool channels) {
    const size_t *s = pleat_shape(t);
    for (size_t turn = 0; turn < LIVE; turn++) {
        pleat_tensor *u = any(d);
        const size_t *o = pleat_shape(u);
        if (o[2] == s[2] && o[3] == s[3] && (!channels || o[1] == s[1])) return u;
    }
    return t;
}

static pleat_tensor *convolved(drawn *d, pleat_tensor *t, bool transposed) {
    static const size_t widths[] = {16, 32, 48, 16, 32, 24, 5};
    size_t out = widths[below(d, 7)], in = pleat_shape(t)[1], k = 1 + below(d, 3), s = 1 + below(d, 2);
    bool depthwise = below(d, 3) == 0;
    if (depthwise) out = in, s += below(d, 2);
    size_t shape[4] = {transposed ? in : out, depthwise ? 1 : transposed ? out : in, k, k};
    pleat_conv_args a = {.a = t,
                         .b = numbers(d, 4, shape),
                         .groups = depthwise ? in : 1,
                         .stride = {s, s},
                         .pad = {(ptrdiff_t)(k > 2 ? 1 : PLEAT_NONE), PLEAT_NONE}};
    if (below(d, 2)) a.bias = numbers(d, 1, &out);
    if (below(d, 2)) {
        pleat_tensor *var = pleat_square(numbers(d, 1, &out));
        a.norm = (pleat_conv_norm){.mean = numbers(d, 1, &out), .var = var, .weight = numbers(d, 1, &out)};
    }
    a.relu = below(d, 2), a.relu6 = !a.relu && below(d, 2);
    return transposed ? pleat_conv2d_transpose_with(a) : pleat_conv2d_with(a);
}

static pleat_tensor *normed(drawn *d, pleat_tensor *t) {
    const size_t *C = &pleat_shape(t)[1];
    pleat_tensor *var = pleat_square(numbers(d, 1, C));
    return pleat_batch_norm(t, numbers(d, 1, C), numbers(d, 1, C), numbers(d, 1, C), var,
                            .relu = below(d, 2));
}

static pleat_tensor *pooled(drawn *d, pleat_tensor *t) {
    size_t k = 2 + below(d, 2), pad = below(d, 2);
    return pleat_max_pool2d(t, {k, k}, .stride = {1 + below(d, 3), 2}, .pad = {pad ? 1 : PLEAT_NONE, k / 2},
                            .ceil_mode = below(d, 2));
}

static pleat_tensor *mapped(drawn *d, pleat_tensor *t) {
    switch (below(d, 6)) {
    case 0:
        return pleat_tanh(t);
    case 1:
        return pleat_relu(t);
    case 2:
        return pleat_scale(t, 0.5);
    case 3:
        return pleat_mul(t, numbers(d, 1, (size_t[]){1}));
    case 4:
        return pleat_flip(t, PLEAT_AXES(2)); /* a view: whoever reads it reads rows */
    default:
        return pleat_sub(t, pleat_mean(t, PLEAT_AXES(2, 3), .keep = true));
    }
}

static pleat_tensor *next_of(drawn *d) {
    pleat_tensor *t = below(d, 4) ? newest(d) : any(d);
    size_t C = pleat_shape(t)[1],
           smaller = pleat_shape(t)[2] < pleat_shape(t)[3] ? pleat_shape(t)[2] : pleat_shape(t)[3];
    size_t what = below(d, 10), H = pleat_shape(t)[2];
    if (smaller < 3) what = 4; /* grow again */
    if (H > 30) what = 5;
    if (what <= 3) return convolved(d, t, false);
    if (what == 4) return convolved(d, t, true);
    if (what == 5) return pooled(d, t);
    if (what == 6) return normed(d, t);
    if (what == 7) return pleat_add(t, partner(d, t, true));
    pleat_tensor *u = what == 8 ? partner(d, t, false) : t;
    if (what == 8 && C + pleat_shape(u)[1] <= 96) return pleat_concat(2, (pleat_tensor *[]){t, u}, 1);
    return mapped(d, t);
}

static pleat_tensor *draw(pleat_tensor *x, void *user) {
    drawn d = *(drawn *)user;
    d.live[d.count++] = x;
    size_t steps = 3 + below(&d, LIVE - 3);
    while (d.count < steps) {
        pleat_tensor *t = next_of(&d);
        d.live[d.count++] = t;
        if (pleat_is_poison(t)) return t;
    }
    return newest(&d);
}

static void spoil(pleat_tensor *x, double by) {
    pleat_tensor *one = pleat_slice(x, (size_t[]){0, 1, 2, 3}, (size_t[]){1, 1, 1, 1}, NULL);
    EXPECT_OK(pleat_assign(one, pleat_full_like(one, by)));
}

static size_t blocked_rooms(const pleat_prepared *p) {
    size_t n = 0;
    for (const room *r = p->rooms; r != NULL; r = r->next) n += r->own.blocked;
    return n;
}

/* The number of rooms that are blocked. */
static size_t expect_bits(size_t i, pleat_dtype type) {
    pleat_scope scope = pleat_begin(ctx);
    drawn d = {.seed = i, .leaf = pleat_scale(pleat_randn(ctx, type, 1, (size_t[]){NUMBERS}), 0.2)};
    size_t shape[4] = {1 + i % 3, i % 2 ? 16 : 3, 4 + i % 7, 5 + i % 5};
    pleat_prepared *p = pleat_prepare(ctx, draw, &d, type, 4, shape, .threads = 1 + (int)(i % 2));
    cr_assert(p, "PLEAT_CASE=%zu: %s", i, pleat_error(ctx)->text);
    size_t rooms = blocked_rooms(p);
    for (int turn = 0; turn < 2; turn++) {
        pleat_tensor *x = pleat_randn(ctx, type, 4, shape);
        if (i % 5 == 0) spoil(x, turn ? (double)NAN : (double)INFINITY);
        bool recording = pleat_set_recording(ctx, false);
        pleat_tensor *y = draw(x, &d);
        pleat_set_recording(ctx, recording);
        pleat_status s = type == PLEAT_F64 ? pleat_run_f64(p, pleat_const_f64(x), NULL)
                                           : pleat_run_f32(p, pleat_const_f32(x), NULL);
        cr_assert_eq(s, PLEAT_OK, "PLEAT_CASE=%zu", i);
        cr_assert(same(pleat_prepared_result(p), y), "%s; again: PLEAT_CASE=%zu", difference(), i);
    }
    pleat_prepared_free(p);
    pleat_end(scope);
    return rooms;
}

Test(layouts, do_not_change_a_bit) {
    const char *only = getenv("PLEAT_CASE");
    size_t first = only ? strtoul(only, NULL, 10) : 0, last = only ? first + 1 : CASES, rooms = 0;
    for (size_t i = first; i < last; i++) rooms += expect_bits(i, i % 4 == 3 ? PLEAT_F64 : PLEAT_F32);
    cr_expect(only || rooms > CASES / 2, "%zu blocked tensors in %d functions", rooms, CASES);
}

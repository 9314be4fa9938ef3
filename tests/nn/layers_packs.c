/* Packed weights are kept where recording is off, and are never stale: whichever way a parameter is
 * changed, a network then gives what one gives that has never packed anything. */
#define _POSIX_C_SOURCE 200809L

#include <string.h>

#include "core/core.h"
#include "pleat_config.h"
#include "scratch.h"

/* Whatever engine the environment asks for: not all of them pack. */
static void begin(void) {
    scratch_begin();
    ctx->path.engine = PLEAT_ENGINE_AUTO;
    ctx->patience = 0;
}

TestSuite(packs, .init = begin, .fini = scratch_end);

enum { MOST_VALUES = 4096 };

/* Convolutions that pack, and products of one row. */
static pleat_nn_module *network(pleat_ctx *c, pleat_dtype type) {
    return pleat_nn_sequential(
        c, pleat_nn_conv2d(c, 3, 20, .kernel = {3, 3}, .pad = {1, 1}, .dtype = type), pleat_nn_relu(c),
        pleat_nn_conv_transpose2d(c, 20, 18, .kernel = {3, 3}, .dtype = type),
        pleat_nn_conv2d(c, 18, 4, .kernel = {3, 3}, .stride = {4, 4}, .dtype = type), pleat_nn_flatten(c),
        pleat_nn_linear(c, 64, 24, .dtype = type), pleat_nn_linear(c, 24, 3, .dtype = type));
}

static pleat_tensor *image(pleat_ctx *c, pleat_dtype type, size_t side) {
    pleat_rng r = pleat_rng_new(7, side);
    double x[3 * 16 * 16];
    for (size_t i = 0; i < 3 * side * side; i++) x[i] = pleat_rng_normal(&r);
    return pleat_from_f64(c, type, PLEAT_SHAPE(1, 3, side, side), x);
}

/* The values of a forward pass in evaluation. Returns how many. */
static size_t values_of(pleat_nn_module *m, pleat_dtype type, double *out) {
    pleat_ctx *c = pleat_nn_ctx(m);
    bool recording = pleat_set_recording(c, false);
    pleat_scope s = pleat_begin(c);
    pleat_nn_set_training(m, false);
    pleat_tensor *y = pleat_nn_forward(m, image(c, type, 14));
    cr_assert(pleat_numel(y) <= MOST_VALUES && !pleat_is_poison(y), "%s", pleat_error(c)->text);
    pleat_read_f64(y, out);
    size_t n = pleat_numel(y);
    pleat_end(s);
    pleat_nn_set_training(m, true);
    pleat_set_recording(c, recording);
    return n;
}

static size_t packs(const pleat_tensor *t) {
    size_t n = 0;
    for (const pl_pack *p = t->storage->packs; p != NULL; p = p->next) n++;
    return n;
}

static size_t packs_of(const pleat_nn_module *m) {
    size_t n = 0;
    for (size_t i = 0; i < pleat_nn_param_count(m); i++) n += packs(pleat_nn_param(m, i));
    return n;
}

/* What a copy gives whose parameters are never packed, as their pointers are out. */
static size_t unpacked_values(const pleat_nn_module *m, pleat_dtype type, double *out) {
    pleat_ctx *c = pleat_ctx_new(.threads = 1);
    c->path = ctx->path, c->patience = 0;
    pleat_nn_module *copy = network(c, type);
    for (size_t i = 0; i < pleat_nn_param_count(m); i++) {
        pleat_tensor *from = pleat_nn_param(m, i), *to = pleat_nn_param(copy, i);
        size_t bytes = pleat_numel(from) * pl_element(type);
        memcpy(type == PLEAT_F32 ? (void *)pleat_f32(to) : (void *)pleat_f64(to), from->data, bytes);
    }
    size_t n = values_of(copy, type, out);
    cr_expect_eq(packs_of(copy), 0);
    pleat_nn_free(copy);
    pleat_ctx_free(c);
    return n;
}

/* ---- ways to change parameters ------------------------------------------------------------------------- */

typedef pleat_nn_optimizer *maker(pleat_nn_module *m);
static pleat_nn_optimizer *sgd(pleat_nn_module *m) { return pleat_nn_sgd(m, .lr = 0.1, .momentum = 0.9); }
static pleat_nn_optimizer *adam(pleat_nn_module *m) { return pleat_nn_adam(m, .lr = 0.1); }
static pleat_nn_optimizer *rmsprop(pleat_nn_module *m) { return pleat_nn_rmsprop(m, .lr = 0.1); }

static pleat_tensor *loss_of(pleat_nn_module *m) {
    return pleat_mean(
        pleat_square(pleat_nn_forward(m, image(ctx, pleat_dtype_of(pleat_nn_param(m, 0)), 14))));
}

static void step(pleat_nn_module *m, maker *make) {
    pleat_scope s = pleat_begin(ctx);
    pleat_nn_optimizer *opt = make(m);
    pleat_nn_step(opt, loss_of(m));
    pleat_nn_optimizer_free(opt);
    pleat_end(s);
}

static void by_sgd(pleat_nn_module *m) { step(m, sgd); }
static void by_adam(pleat_nn_module *m) { step(m, adam); }
static void by_rmsprop(pleat_nn_module *m) { step(m, rmsprop); }

static void by_micro_batches(pleat_nn_module *m) {
    pleat_scope s = pleat_begin(ctx);
    pleat_nn_optimizer *opt = sgd(m);
    pleat_nn_accumulate(opt, loss_of(m), 0.5);
    pleat_nn_accumulate(opt, loss_of(m), 0.5);
    pleat_nn_step_accumulated(opt);
    pleat_nn_optimizer_free(opt);
    pleat_end(s);
}

static void by_update(pleat_nn_module *m) {
    pleat_tensor *g[16];
    pleat_scope s = pleat_begin(ctx);
    pleat_nn_optimizer *opt = adam(m);
    for (size_t i = 0; i < pleat_nn_param_count(m); i++) g[i] = pleat_full_like(pleat_nn_param(m, i), 1);
    pleat_nn_update(opt, g);
    pleat_nn_optimizer_free(opt);
    pleat_end(s);
}

static void each(pleat_nn_module *m, void (*change)(pleat_tensor *)) {
    pleat_scope s = pleat_begin(ctx);
    for (size_t i = 0; i < pleat_nn_param_count(m); i++) change(pleat_nn_param(m, i));
    pleat_end(s);
}

static void assign(pleat_tensor *p) { pleat_assign(p, pleat_scale(p, 1.5)); }
static void assign_other_type(pleat_tensor *p) {
    pleat_assign(p, pleat_scale(pleat_cast(p, pleat_dtype_of(p) == PLEAT_F32 ? PLEAT_F64 : PLEAT_F32), 1.5));
}
static void assign_itself(pleat_tensor *p) { pleat_assign(p, pleat_flip(p, 1)); }
static void assign_part(pleat_tensor *p) {
    size_t none[4] = {0}, shape[4] = {1, 1, 1, 1}, rank = pleat_rank(p);
    pleat_tensor *part = pleat_slice(p, none, shape, NULL);
    pleat_assign(part, pleat_full(ctx, pleat_dtype_of(p), rank, shape, 3));
}
static void assign_flat(pleat_tensor *p) {
    pleat_tensor *flat = pleat_reshape(p, PLEAT_SHAPE(PLEAT_REST));
    pleat_assign(flat, pleat_shift(flat, 0.25));
}
static void twice(void *elements, const pleat_tensor *p) {
    for (size_t i = 0; i < p->numel; i++)
        if (p->dtype == PLEAT_F32)
            ((float *)elements)[i] *= 2;
        else
            ((double *)elements)[i] *= 2;
}
static void *pointer(pleat_tensor *p) {
    return p->dtype == PLEAT_F32 ? (void *)pleat_f32(p) : (void *)pleat_f64(p);
}
static void write_now(pleat_tensor *p) { twice(pleat_write_now(p, "test"), p); }
static void by_hand(pleat_tensor *p) { twice(pointer(p), p); }
static void kaiming_uniform(pleat_tensor *p) {
    if (pleat_rank(p) > 1) pleat_nn_init_kaiming_uniform(p, 0);
}
static void kaiming_normal(pleat_tensor *p) {
    if (pleat_rank(p) > 1) pleat_nn_init_kaiming_normal(p, 0);
}
static void xavier_uniform(pleat_tensor *p) {
    if (pleat_rank(p) > 1) pleat_nn_init_xavier_uniform(p, 1);
}
static void xavier_normal(pleat_tensor *p) {
    if (pleat_rank(p) > 1) pleat_nn_init_xavier_normal(p, 1);
}
static void uniform(pleat_tensor *p) { pleat_nn_init_uniform(p, -1, 1); }

static void by_assign(pleat_nn_module *m) { each(m, assign); }
static void by_assign_of_another_type(pleat_nn_module *m) { each(m, assign_other_type); }
static void by_assign_of_itself(pleat_nn_module *m) { each(m, assign_itself); }
static void by_assign_to_a_part(pleat_nn_module *m) { each(m, assign_part); }
static void by_assign_to_a_view(pleat_nn_module *m) { each(m, assign_flat); }
static void by_write_now(pleat_nn_module *m) { each(m, write_now); }
static void by_a_pointer(pleat_nn_module *m) { each(m, by_hand); }
static void by_kaiming_uniform(pleat_nn_module *m) { each(m, kaiming_uniform); }
static void by_kaiming_normal(pleat_nn_module *m) { each(m, kaiming_normal); }
static void by_xavier_uniform(pleat_nn_module *m) { each(m, xavier_uniform); }
static void by_xavier_normal(pleat_nn_module *m) { each(m, xavier_normal); }
static void by_uniform(pleat_nn_module *m) { each(m, uniform); }

static void by_swap(pleat_nn_module *m) {
    pleat_nn_ema *ema = pleat_nn_ema_new(m, 0.5);
    by_assign(m);
    pleat_nn_ema_update(ema);
    double unused[MOST_VALUES];
    values_of(m, pleat_dtype_of(pleat_nn_param(m, 0)), unused); /* packs, which the swap has to find */
    cr_expect(packs_of(m) > 0);
    pleat_nn_ema_swap(ema);
    pleat_nn_ema_free(ema);
}

#ifdef PL_HAVE_CJSON
static void by_load(pleat_nn_module *m) {
    char path[100];
    snprintf(path, sizeof path, "%s/net", scratch_folder);
    pleat_nn_module *other = network(ctx, pleat_dtype_of(pleat_nn_param(m, 0)));
    cr_expect_eq(pleat_nn_save(path, other), PLEAT_OK);
    cr_expect_eq(pleat_nn_load(path, m), PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_free(other);
}

static void by_a_checkpoint(pleat_nn_module *m) {
    char path[100];
    snprintf(path, sizeof path, "%s/checkpoint", scratch_folder);
    pleat_nn_module *other = network(ctx, pleat_dtype_of(pleat_nn_param(m, 0)));
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{"net", other, NULL, NULL}}};
    cr_expect_eq(pleat_nn_save_checkpoint(path, &c), PLEAT_OK);
    c.part[0].net = m;
    cr_expect_eq(pleat_nn_load_checkpoint(path, &c), PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_free(other);
}
#endif

/* ---- never stale ----------------------------------------------------------------------------------------- */

static const struct way {
    const char *name;
    void (*change)(pleat_nn_module *m);
} ways[] = {
    {"pleat_assign", by_assign},
    {"pleat_assign of another type", by_assign_of_another_type},
    {"pleat_assign of a view of itself", by_assign_of_itself},
    {"pleat_assign to a part", by_assign_to_a_part},
    {"pleat_assign to a view", by_assign_to_a_view},
    {"pleat_write_now", by_write_now},
    {"sgd", by_sgd},
    {"adam", by_adam},
    {"rmsprop", by_rmsprop},
    {"pleat_nn_step_accumulated", by_micro_batches},
    {"pleat_nn_update", by_update},
    {"pleat_nn_ema_swap", by_swap},
    {"kaiming_uniform", by_kaiming_uniform},
    {"kaiming_normal", by_kaiming_normal},
    {"xavier_uniform", by_xavier_uniform},
    {"xavier_normal", by_xavier_normal},
    {"uniform", by_uniform},
#ifdef PL_HAVE_CJSON
    {"pleat_nn_load", by_load},
    {"pleat_nn_load_checkpoint", by_a_checkpoint},
#endif
    {"pleat_f32 or pleat_f64", by_a_pointer},
};

static void expect_fresh(const pleat_nn_module *m, pleat_dtype type, const char *way) {
    double found[MOST_VALUES], expected[MOST_VALUES];
    size_t n = values_of((pleat_nn_module *)m, type, found);
    unpacked_values(m, type, expected);
    cr_expect_eq(memcmp(found, expected, n * sizeof *found), 0, "%s: values of weights that are gone", way);
}

static void expect_never_stale(pleat_dtype type, const struct way *way) {
    double before[MOST_VALUES], after[MOST_VALUES];
    pleat_nn_module *m = network(ctx, type);
    size_t n = values_of(m, type, before);
    cr_expect(packs_of(m) >= 4, "%s: three convolutions and a dense layer at least have packs, and not %zu",
              way->name, packs_of(m));
    for (int turn = 0; turn < 2; turn++) {
        way->change(m);
        cr_expect_eq(pleat_error(ctx)->code, PLEAT_OK, "%s: %s", way->name, pleat_error(ctx)->text);
        values_of(m, type, after);
        if (turn == 0)
            cr_expect_neq(memcmp(before, after, n * sizeof *before), 0, "%s: nothing changes", way->name);
        expect_fresh(m, type, way->name);
    }
    pleat_nn_free(m);
}

Test(packs, none_is_stale) {
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        expect_never_stale(PLEAT_F32, &ways[i]);
        expect_never_stale(PLEAT_F64, &ways[i]);
    }
}

/* A pointer that was taken before the weights were ever packed, of the parameter or of a view of it. */
Test(packs, none_is_stale_by_a_pointer_that_was_kept) {
    for (int view = 0; view < 2; view++) {
        double unused[MOST_VALUES];
        pleat_nn_module *m = network(ctx, PLEAT_F32);
        float *kept[16];
        size_t count = pleat_nn_param_count(m);
        for (size_t i = 0; i < count; i++) {
            pleat_tensor *p = pleat_nn_param(m, i);
            kept[i] = pleat_f32(view ? pleat_reshape(p, PLEAT_SHAPE(PLEAT_REST)) : p);
        }
        values_of(m, PLEAT_F32, unused);
        for (size_t i = 0; i < count; i++) {
            kept[i][0] += 1;
            expect_fresh(m, PLEAT_F32, view ? "a view's pointer" : "a pointer");
        }
        pleat_nn_free(m);
    }
}

/* A plan that is made where one was freed is another reader. */
Test(packs, none_is_of_a_plan_that_is_gone) {
    pleat_tensor *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(20, 3, 3, 3)), *same[12];
    for (size_t i = 0; i < 12; i++)
        same[i] = pleat_conv2d(image(ctx, PLEAT_F32, 3 + i), w, .groups = 1, .pad = {1, 1});
    pleat_set_recording(ctx, false);
    for (size_t i = 0; i < 100; i++) {
        size_t k = i * 5 % 12;
        pl_plans_free(&ctx->plans);
        pleat_tensor *y = pleat_conv2d(image(ctx, PLEAT_F32, 3 + k), w, .pad = {1, 1});
        cr_assert_eq(memcmp(y->data, same[k]->data, y->numel * sizeof(float)), 0, "image %zu", 3 + k);
    }
}

/* ---- when there are some --------------------------------------------------------------------------------- */

Test(packs, are_kept_where_nothing_is_recorded) {
    double unused[MOST_VALUES];
    pleat_nn_module *m = network(ctx, PLEAT_F32);
    pleat_nn_optimizer *opt = adam(m);
    for (int turn = 0; turn < 2; turn++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *loss = loss_of(m), *w[] = {pleat_nn_param(m, 0)}, *g[1];
        cr_expect_eq(packs_of(m), 0, "in training");
        pleat_grads(loss, NULL, 1, w, g, 0);
        cr_expect_eq(packs_of(m), 0, "in a gradient walk");
        pleat_nn_step(opt, loss_of(m));
        pleat_end(s);
        size_t before = pleat_memory(ctx).in_use;
        values_of(m, PLEAT_F32, unused);
        size_t first = pleat_memory(ctx).in_use;
        cr_expect(packs_of(m) > 0 && first > before);
        const pl_pack *kept = pleat_nn_param(m, 0)->storage->packs;
        memset((char *)(kept + 1), 0, 4); /* who reads them sees that */
        double zeroed[MOST_VALUES];
        size_t n = values_of(m, PLEAT_F32, zeroed);
        cr_expect_neq(memcmp(zeroed, unused, n * sizeof *unused), 0, "packed in each call");
        cr_expect_eq(pleat_nn_param(m, 0)->storage->packs, kept);
        cr_expect_eq(pleat_memory(ctx).in_use, first);
        by_assign(m);
        cr_expect_eq(packs_of(m), 0);
        cr_expect_eq(pleat_memory(ctx).in_use, before, "packs of old weights take room");
    }
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(m);
}

/* A net that sees images of every size. */
Test(packs, are_few) {
    pleat_tensor *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(40, 3, 3, 3));
    pleat_tensor *half = pleat_slice(w, (size_t[]){20, 0, 0, 0}, (size_t[]){20, 3, 3, 3}, NULL);
    pleat_set_recording(ctx, false);
    for (size_t side = 3; side < 16; side++) {
        pleat_drop(pleat_conv2d(image(ctx, PLEAT_F32, side), w));
        pleat_drop(pleat_conv2d(image(ctx, PLEAT_F32, side), half));
    }
    cr_expect_eq(packs(w), 4, "two of each place, and not %zu", packs(w));
    size_t with = pleat_memory(ctx).in_use;
    pl_packs_free(&ctx->memory, w->storage);
    cr_expect_lt(pleat_memory(ctx).in_use, with);
}

/* Of a view with gaps a dense copy is read, which has no packs. */
Test(packs, are_of_elements_in_order) {
    pleat_tensor *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(3, 20, 3, 3)), *x = image(ctx, PLEAT_F32, 9);
    pleat_tensor *view = pleat_permute(w, (size_t[]){1, 0, 2, 3});
    pleat_tensor *expected = pleat_conv2d(x, pleat_contiguous(view)), *found;
    pleat_set_recording(ctx, false);
    found = pleat_conv2d(x, view);
    cr_expect_eq(memcmp(found->data, expected->data, found->numel * sizeof(float)), 0);
    cr_expect_eq(packs(w), 0);
}

/* A dense layer's weights are turned for few rows, in whatever number of pieces and threads; the bits stay.
 */
static void expect_same_product(pleat_dtype type, const size_t m, const size_t n, const size_t k) {
    pleat_set_recording(ctx, true);
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *x = pleat_randn(ctx, type, PLEAT_SHAPE(2, m, k)),
                 *w = pleat_randn(ctx, type, PLEAT_SHAPE(n, k));
    pleat_tensor *expected = pleat_matmul(x, w, .tb = true);
    pleat_set_recording(ctx, false);
    for (int turn = 0; turn < 2; turn++) {
        pleat_tensor *y = pleat_matmul(x, w, .tb = true);
        cr_assert_eq(memcmp(y->data, expected->data, y->numel * pl_element(type)), 0, "%zu by %zu by %zu", m,
                     n, k);
    }
    bool few = m <= 64 && n >= (type == PLEAT_F32 ? 16 : 8);
    if (ctx->path.isa == PLEAT_ISA_AUTO && n >= 16) cr_assert_eq(packs(w), few, "%zu by %zu by %zu", m, n, k);
    pleat_end(s);
}

Test(packs, are_made_for_products_of_few_rows) {
    static const size_t ms[] = {1, 2, 5, 16, 43, 64, 65}, ns[] = {1, 7, 8, 15, 16, 17, 100, 1100},
                        ks[] = {2, 3, 16, 257};
    for (int threads = 1; threads <= 3; threads += 2) {
        pleat_set_threads(ctx, threads);
        for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
            for (size_t j = 0; j < sizeof ns / sizeof *ns; j++)
                for (size_t l = 0; l < sizeof ks / sizeof *ks; l++) {
                    expect_same_product(PLEAT_F32, ms[i], ns[j], ks[l]);
                    expect_same_product(PLEAT_F64, ms[i], ns[j], ks[l]);
                }
        expect_same_product(PLEAT_F32, 3, 2500, 700); /* several pieces */
    }
}

/* Matrices that are stored as they are read, and one for each item. */
Test(packs, are_made_of_transposed_matrices_alone) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 40)), *w[2], *y[4];
    w[0] = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(40, 32)),
    w[1] = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2, 32, 40));
    for (size_t i = 0; i < 4; i++) {
        pleat_set_recording(ctx, i < 2);
        y[i] = pleat_matmul(x, w[i % 2], .tb = i % 2 != 0);
        cr_expect_eq(packs(w[i % 2]), 0);
        cr_expect_eq(memcmp(y[i]->data, y[i % 2]->data, y[i]->numel * sizeof(float)), 0);
    }
}

/* Turning costs more than it saves once. */
Test(packs, are_made_for_products_that_are_repeated) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1, 8)),
                 *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(20, 8));
    pleat_set_recording(ctx, false);
    ctx->patience = 3;
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 1; i < 5; i++) {
            pleat_matmul(x, w, .tb = true);
            cr_expect_eq(packs(w), i >= 3, "product %zu", i);
        }
        pleat_assign(w, pleat_scale(w, 2));
    }
}

Test(packs, die_with_their_elements) {
    pleat_tensor *x = image(ctx, PLEAT_F32, 9);
    size_t before = pleat_memory(ctx).in_use;
    pleat_set_recording(ctx, false);
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(20, 3, 3, 3));
    pleat_conv2d(x, w);
    cr_expect(packs(w) > 0);
    pleat_end(s);
    cr_expect_eq(pleat_memory(ctx).in_use, before);
}

Test(packs, are_made_without_asking_malloc_once_warm) {
    double unused[MOST_VALUES];
    pleat_nn_module *m = network(ctx, PLEAT_F32);
    size_t warm = 0;
    for (int turn = 0; turn < 6; turn++) {
        values_of(m, PLEAT_F32, unused);
        by_sgd(m);
        if (turn == 2) warm = pleat_memory(ctx).allocations;
    }
    cr_expect_eq(pleat_memory(ctx).allocations, warm);
    pleat_nn_free(m);
}

/* Running sums, indices, stack and split, ranges: laws to the bit, naive loops over random shapes,
 * refusals. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "geometry.h"
#include "tensors.h"

TestSuite(indices, .init = tensors_begin, .fini = tensors_end);

#define INDEX(...) \
    (const size_t[]) { __VA_ARGS__ }

/* ---- random cases ------------------------------------------------------------------------------------------ */

/* A tensor, an axis, an index and the shapes on both of its sides. */
typedef struct pick {
    uint64_t seed;
    size_t rank, axis, whole[4], part[4], count, *index;
    bool shared;
} pick;

static pick draw(uint64_t seed) {
    pick p = {.seed = seed};
    p.rank = 1 + random_below(&seed, 4), p.axis = random_below(&seed, p.rank),
    p.shared = random_below(&seed, 3) == 0;
    size_t most = p.rank == 1 ? 900 : p.rank == 2 ? 40 : 7;
    p.count = 1;
    for (size_t k = 0; k < p.rank; k++) {
        p.whole[k] =
            1 +
            random_below(&seed, p.rank == 2 && k == 1 ? 600 : most); /* lines beside each other have blocks */
        p.part[k] = p.shared ? p.whole[k] : random_below(&seed, p.whole[k] + 1);
        if (k == p.axis) p.part[k] = random_below(&seed, 2 * most);
        if (!p.shared || k == p.axis) p.count *= p.part[k];
    }
    p.index = malloc((p.count + 1) * sizeof *p.index);
    for (size_t i = 0; i < p.count; i++) p.index[i] = random_below(&seed, p.whole[p.axis]);
    return p;
}

/* Where the i-th element of the part, at `at`, stands in the whole. */
static void there(const pick *p, size_t i, const size_t *at, size_t *to) {
    for (size_t k = 0; k < p->rank; k++) to[k] = at[k];
    to[p->axis] = p->index[p->shared ? at[p->axis] : i];
}

static pleat_tensor *gathered(pleat_tensor *x, void *user) {
    const pick *p = user;
    if (p->shared) return pleat_index_select(x, p->axis, p->part[p->axis], p->index);
    return pleat_gather(x, p->axis, p->part, p->index);
}

/* Of an index for all lines, there is no function: the gradient is. */
static pleat_tensor *scattered(pleat_tensor *y, void *user) {
    const pick *p = user;
    if (!p->shared) return pleat_scatter_add(y, p->axis, p->whole, p->index);
    pleat_tensor *x = pleat_zeros(ctx, pleat_dtype_of(y), p->rank, p->whole), *g;
    bool recording = pleat_set_recording(ctx, true);
    pleat_grads(gathered(x, user), y, 1, &x, &g, PLEAT_GRADS_RECORD);
    pleat_set_recording(ctx, recording);
    return g;
}

static void expect_picks(pick *p, pleat_dtype type) {
    pleat_tensor *x = whole(type, p->rank, p->whole), *u = whole(type, p->rank, p->part);
    pleat_tensor *y = pleat_zeros(ctx, PLEAT_F64, p->rank, p->part),
                 *g = pleat_zeros(ctx, PLEAT_F64, p->rank, p->whole);
    size_t at[4] = {0}, to[4], i = 0, flat;
    if (pleat_numel(y) > 0) do {
            there(p, i, at, to);
            flat = 0;
            for (size_t k = 0; k < p->rank; k++) flat = flat * p->whole[k] + to[k];
            pleat_f64(y)[i] = pleat_at(x, to);
            pleat_f64(g)[flat] += pleat_at(u, at);
            i++;
        } while (next_index(p->rank, p->part, at));
    pleat_tensor *views[] = {x, p->rank > 1 ? gappy(x) : x}, *gradient;
    for (size_t v = 0; v < 2; v++) EXPECT_SAME(gathered(views[v], p), as_type(y, type));
    EXPECT_SAME(scattered(p->rank > 1 ? gappy(u) : u, p), as_type(g, type));
    EXPECT_OK(pleat_grads(gathered(x, p), u, 1, &x, &gradient, 0));
    EXPECT_SAME(gradient, as_type(g, type));
    if (pleat_numel(y) == 0) return;
    pleat_report report;
    pleat_adjointcheck(gathered, scattered, x, u, .user = p, .integers = true, .tries = 1, .seed = p->seed,
                       .report = &report);
    cr_assert(report.ok, "seed %llu: %s", (unsigned long long)p->seed, report.text);
}

Test(indices, gather_and_scatter_add_are_loops) {
    for (uint64_t seed = 0; seed < 150; seed++) {
        pleat_scope s = pleat_begin(ctx);
        pick p = draw(seed);
        pleat_set_threads(ctx, 1 + (int)(seed % 3));
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) expect_picks(&p, type);
        free(p.index);
        pleat_end(s);
    }
}

static pleat_tensor *squares_of_gathered(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n;
    return pleat_mul(pleat_square(gathered(xs[0], user)), xs[1]);
}

static pleat_tensor *cubes_of_sums(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n;
    pleat_tensor *s = pleat_cumsum(scattered(xs[0], user), ((const pick *)user)->axis);
    return pleat_mul(pleat_square(s), s);
}

Test(indices, gradients_of_random_cases) {
    for (uint64_t seed = 500, checked = 0; checked < 12; seed++) {
        pleat_scope s = pleat_begin(ctx);
        pick p = draw(seed);
        pleat_tensor *y = pleat_uniform(ctx, PLEAT_F64, p.rank, p.part, -1, 1);
        pleat_tensor *x = pleat_uniform(ctx, PLEAT_F64, p.rank, p.whole, -1, 1), *xs[] = {x, y};
        if (pleat_numel(x) <= 30 && pleat_numel(y) <= 30) {
            pleat_report report = {.ok = false};
            pleat_gradcheck(squares_of_gathered, 2, xs, .user = &p, .order = 3, .report = &report);
            cr_assert(report.ok, "gather, seed %llu: %s", (unsigned long long)seed, report.text);
            pleat_gradcheck(cubes_of_sums, 1, &y, .user = &p, .order = 3, .report = &report);
            cr_assert(report.ok, "scatter_add, seed %llu: %s", (unsigned long long)seed, report.text);
            checked++;
        }
        free(p.index);
        pleat_end(s);
    }
}

/* Many additions to one place, in f32: the sum is that of doubles. */
Test(indices, sums_are_double) {
    size_t n = 40000, *zeros = calloc(n, sizeof *zeros);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(n), 1e-3),
                 *large = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(n), 1000.5);
    EXPECT_SAME(pleat_scatter_add(x, 0, INDEX(1), zeros), pleat_reshape(pleat_sum(x), PLEAT_SHAPE(1)));
    EXPECT_SAME(pleat_slice(pleat_cumsum(large, 0), INDEX(n - 1), INDEX(1), NULL),
                pleat_reshape(pleat_sum(large), PLEAT_SHAPE(1)));
    free(zeros);
}

/* ---- cumsum ------------------------------------------------------------------------------------------------ */

static pleat_tensor *running(pleat_tensor *x, void *user) { return pleat_cumsum(x, *(size_t *)user); }
static pleat_tensor *running_back(pleat_tensor *x, void *user) {
    size_t axis = *(size_t *)user;
    return pleat_flip(pleat_cumsum(pleat_flip(x, 1u << axis), axis), 1u << axis);
}

Test(indices, running_sums) {
    static const size_t shapes[][3] = {{3, 4, 5},     {1, 1, 1},     {2, 300, 3},  {3, 2, 600},
                                       {1, 20000, 1}, {20000, 1, 2}, {5, 70, 257}, {2, 0, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t axis = 0; axis < 3; axis++)
            for (int threads = 1; threads <= 3; threads++) {
                pleat_scope s = pleat_begin(ctx);
                pleat_set_threads(ctx, threads);
                pleat_dtype type = axis == 1 ? PLEAT_F64 : PLEAT_F32;
                pleat_tensor *x = whole(type, 3, shapes[i]),
                             *want = pleat_zeros(ctx, PLEAT_F64, 3, shapes[i]);
                size_t n = pleat_numel(x), step = 1;
                for (size_t k = axis + 1; k < 3; k++) step *= shapes[i][k];
                pleat_read_f64(x, pleat_f64(want));
                for (size_t j = 0; j < n; j++)
                    if (j / step % shapes[i][axis] > 0) pleat_f64(want)[j] += pleat_f64(want)[j - step];
                EXPECT_SAME(pleat_cumsum(x, axis), as_type(want, type));
                EXPECT_SAME(pleat_cumsum(gappy(x), axis), as_type(want, type));
                pleat_report report;
                if (n > 0 && threads == 1) {
                    pleat_adjointcheck(running, running_back, x, x, .user = &axis, .integers = true,
                                       .report = &report);
                    cr_assert(report.ok, "%s", report.text);
                }
                pleat_end(s);
            }
}

/* ---- stack and split --------------------------------------------------------------------------------------- */

Test(indices, stack_split_and_concat) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (size_t axis = 0; axis < 3; axis++) {
            pleat_tensor *xs[] = {whole(type, PLEAT_SHAPE(3, 4)), gappy(whole(type, PLEAT_SHAPE(3, 4))),
                                  whole(type, PLEAT_SHAPE(3, 4))};
            pleat_tensor *wide[3], *parts[3] = {NULL};
            size_t shape[3] = {3, 4, 4};
            if (axis < 2) shape[2] = 4, shape[1] = axis == 1 ? 1 : 3;
            shape[axis] = 1;
            if (axis == 2) shape[1] = 4;
            for (size_t i = 0; i < 3; i++) wide[i] = pleat_reshape(xs[i], 3, shape);
            pleat_tensor *y = pleat_stack(3, xs, axis);
            EXPECT_SAME(y, pleat_concat(3, wide, axis));
            EXPECT_OK(pleat_split(y, axis, 3, NULL, parts));
            for (size_t i = 0; i < 3; i++) EXPECT_SAME(parts[i], wide[i]);
            EXPECT_OK(pleat_split(y, axis, 3, INDEX(2, 0, 1), parts));
            EXPECT_SAME(pleat_concat(3, parts, axis), y);
            cr_assert_eq(pleat_size(parts[1], axis), 0);
        }
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(6)), *parts[2], *g;
    EXPECT_OK(pleat_split(x, 0, 2, INDEX(2, 4), parts));
    pleat_f32(x)[5] = 77; /* a view */
    cr_assert_eq(pleat_at(parts[1], INDEX(3)), 77);
    EXPECT_OK(pleat_grads(pleat_sum(pleat_scale(parts[1], 3)), NULL, 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(6), VALUES(0, 0, 3, 3, 3, 3));
}

/* ---- ranges ------------------------------------------------------------------------------------------------ */

Test(indices, ranges) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        EXPECT_HOLDS(pleat_arange(ctx, type, 0, 4, 1), PLEAT_SHAPE(4), VALUES(0, 1, 2, 3));
        EXPECT_HOLDS(pleat_arange(ctx, type, 1, 2.25, 0.5), PLEAT_SHAPE(3), VALUES(1, 1.5, 2));
        EXPECT_HOLDS(pleat_arange(ctx, type, 3, 0, -2), PLEAT_SHAPE(2), VALUES(3, 1));
        EXPECT_HOLDS(pleat_arange(ctx, type, 3, 3, 1), PLEAT_SHAPE(0), VALUES(0));
        EXPECT_HOLDS(pleat_linspace(ctx, type, -1, 1, 5), PLEAT_SHAPE(5), VALUES(-1, -0.5, 0, 0.5, 1));
        EXPECT_HOLDS(pleat_linspace(ctx, type, 2, 7, 1), PLEAT_SHAPE(1), VALUES(2));
        EXPECT_HOLDS(pleat_linspace(ctx, type, 2, 7, 0), PLEAT_SHAPE(0), VALUES(0));
        EXPECT_SAME(pleat_linspace(ctx, type, 0, 999, 1000), pleat_arange(ctx, type, 0, 1000, 1));
        pleat_tensor *tenths = pleat_linspace(ctx, type, 0, 0.7, 8);
        cr_assert_eq(pleat_at(tenths, INDEX(7)), rounded(type, 0.7)); /* the end itself */
        EXPECT_SAME(pleat_neg(pleat_flip(tenths, 1)), pleat_linspace(ctx, type, -0.7, -0.0, 8));
    }
    EXPECT_REFUSED(pleat_arange(ctx, PLEAT_F32, 0, 1, 0), PLEAT_ERR_ARGUMENT, "arange",
                   "from 0 to 1 in steps of 0", "not 0");
    EXPECT_REFUSED(pleat_arange(ctx, PLEAT_F32, 0, 1, -0.5), PLEAT_ERR_ARGUMENT, "arange", "-0.5",
                   "towards the end");
    EXPECT_REFUSED(pleat_arange(ctx, PLEAT_F32, 0, NAN, 1), PLEAT_ERR_ARGUMENT, "arange", "nan");
    EXPECT_REFUSED(pleat_arange(ctx, PLEAT_F32, 0, 1, INFINITY), PLEAT_ERR_ARGUMENT, "arange", "inf");
    EXPECT_REFUSED(pleat_arange(ctx, PLEAT_F32, 0, 1e300, 1e-300), PLEAT_ERR_ARGUMENT, "arange", "1e+300");
    EXPECT_REFUSED(pleat_linspace(ctx, PLEAT_F64, 0, INFINITY, 3), PLEAT_ERR_ARGUMENT, "linspace", "inf",
                   "finite");
    EXPECT_REFUSED(pleat_linspace(ctx, PLEAT_F64, NAN, 1, 1), PLEAT_ERR_ARGUMENT, "linspace", "nan");
    EXPECT_REFUSED(pleat_linspace(ctx, PLEAT_F64, 0, 1, SIZE_MAX / 4), PLEAT_ERR_SHAPE, "linspace", "[");
}

/* ---- corners and refusals ---------------------------------------------------------------------------------- */

Test(indices, half_to_even_and_floor) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x =
            pleat_from_f64(ctx, type, PLEAT_SHAPE(8), VALUES(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, -0.75, NAN));
        EXPECT_HOLDS(pleat_round(x), PLEAT_SHAPE(8), VALUES(-2, -2, -0.0, 0, 2, 2, -1, NAN));
        EXPECT_HOLDS(pleat_floor(x), PLEAT_SHAPE(8), VALUES(-3, -2, -1, 0, 1, 2, -1, NAN));
    }
}

Test(indices, log_sum_exp_does_not_overflow) {
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(4, 2),
                                     VALUES(1000, 1000, -1000, -2000, -INFINITY, -INFINITY, INFINITY, 1)),
                 *g, *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 0));
    EXPECT_HOLDS(pleat_log_sum_exp(x, PLEAT_AXES(1)), PLEAT_SHAPE(4),
                 VALUES(rounded(PLEAT_F32, 1000 + log(2)), -1000, -INFINITY, INFINITY));
    EXPECT_HOLDS(pleat_log_sum_exp(none, PLEAT_AXES(1)), PLEAT_SHAPE(3),
                 VALUES(-INFINITY, -INFINITY, -INFINITY));
    EXPECT_HOLDS(pleat_log_sum_exp(none, PLEAT_AXES(0)), PLEAT_SHAPE(0), VALUES(0));
    EXPECT_HOLDS(pleat_log_sum_exp(pleat_full(ctx, PLEAT_F64, PLEAT_SCALAR, 3)), PLEAT_SCALAR, VALUES(3));
    pleat_tensor *y = pleat_log_sum_exp(x, PLEAT_AXES(1)),
                 *one = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(4), VALUES(1, 1, 0, 0));
    EXPECT_OK(pleat_grads(pleat_slice(y, INDEX(0), INDEX(2), NULL),
                          pleat_slice(one, INDEX(0), INDEX(2), NULL), 1, &x, &g, 0));
    EXPECT_HOLDS(pleat_slice(g, INDEX(0, 0), INDEX(2, 2), NULL), PLEAT_SHAPE(2, 2), VALUES(0.5, 0.5, 1, 0));
    EXPECT_REFUSED(pleat_log_sum_exp(x, PLEAT_AXES(2)), PLEAT_ERR_ARGUMENT, "log_sum_exp",
                   "beyond the rank 2");
    cr_assert(pleat_is_poison(pleat_log_sum_exp(pleat_poison(ctx))));
}

Test(indices, refusals) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2, 3)), *s = pleat_full(ctx, PLEAT_F32, PLEAT_SCALAR, 1),
                 *parts[3];
    EXPECT_REFUSED(pleat_gather(x, 1, INDEX(2, 2), INDEX(0, 1, 3, 0)), PLEAT_ERR_ARGUMENT, "gather", "[2,3]",
                   "the index at [1,0] is 3", "less than 3");
    EXPECT_REFUSED(pleat_gather(x, 1, INDEX(3, 1), INDEX(0, 0, 0)), PLEAT_ERR_SHAPE, "gather",
                   "size 3 on axis 0", "size 2");
    EXPECT_REFUSED(pleat_gather(x, 2, INDEX(2, 3), INDEX(0)), PLEAT_ERR_ARGUMENT, "gather", "no axis 2");
    EXPECT_REFUSED(pleat_gather(s, 0, INDEX(1), INDEX(0)), PLEAT_ERR_ARGUMENT, "gather", "no axis 0");
    EXPECT_REFUSED(pleat_gather(x, 0, NULL, INDEX(0)), PLEAT_ERR_ARGUMENT, "gather", "shape is a null");
    EXPECT_REFUSED(pleat_gather(x, 0, INDEX(1, 1), NULL), PLEAT_ERR_ARGUMENT, "gather", "index is a null");
    cr_assert(pleat_is_poison(pleat_gather(NULL, 0, INDEX(1, 1), INDEX(0))));
    EXPECT_REFUSED(pleat_gather(x, 0, INDEX(SIZE_MAX, 3), INDEX(0)), PLEAT_ERR_SHAPE, "gather", "size_t");
    EXPECT_REFUSED(pleat_gather(x, 0, INDEX(SIZE_MAX / 9, 1), INDEX(0)), PLEAT_ERR_MEMORY, "gather", "index");
    EXPECT_REFUSED(pleat_scatter_add(x, 0, INDEX(2, 3), INDEX(0, 1, 0, 1, 2, 0)), PLEAT_ERR_ARGUMENT,
                   "scatter_add", "the index at [1,1] is 2");
    EXPECT_REFUSED(pleat_scatter_add(x, 0, INDEX(2, 2), INDEX(0, 1, 0, 1, 1, 0)), PLEAT_ERR_SHAPE,
                   "scatter_add", "size 3 on axis 1");
    EXPECT_REFUSED(pleat_index_select(x, 1, 2, INDEX(0, 5)), PLEAT_ERR_ARGUMENT, "index_select",
                   "the index at [1] is 5", "less than 3");
    EXPECT_REFUSED(pleat_index_select(x, 2, 2, INDEX(0, 5)), PLEAT_ERR_ARGUMENT, "index_select", "no axis 2");
    EXPECT_REFUSED(pleat_cumsum(x, 2), PLEAT_ERR_ARGUMENT, "cumsum", "no axis 2");
    EXPECT_REFUSED(pleat_cumsum(s, 0), PLEAT_ERR_ARGUMENT, "cumsum", "no axis 0");
    EXPECT_REFUSED(pleat_stack(2, (pleat_tensor *[]){x, s}, 0), PLEAT_ERR_SHAPE, "stack", "[2,3] and []",
                   "tensors 0 and 1");
    EXPECT_REFUSED(pleat_stack(1, &x, 3), PLEAT_ERR_ARGUMENT, "stack", "axis 3", "3 only");
    pleat_tensor *deep = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    EXPECT_REFUSED(pleat_stack(1, &deep, 0), PLEAT_ERR_SHAPE, "stack", "8 axes");
    EXPECT_FAILED(pleat_split(x, 1, 2, NULL, parts), PLEAT_ERR_SHAPE, "split", "[2,3]", "size 3 in 2 parts",
                  "equal");
    cr_assert(pleat_is_poison(parts[0]) && pleat_is_poison(parts[1]));
    EXPECT_FAILED(pleat_split(x, 1, 2, INDEX(1, 1), parts), PLEAT_ERR_SHAPE, "split", "add up");
    EXPECT_FAILED(pleat_split(x, 1, 2, INDEX(SIZE_MAX, 4), parts), PLEAT_ERR_SHAPE, "split", "overflow");
    EXPECT_FAILED(pleat_split(x, 1, 0, NULL, parts), PLEAT_ERR_SHAPE, "split", "0 parts");
    EXPECT_FAILED(pleat_split(x, 2, 1, NULL, parts), PLEAT_ERR_ARGUMENT, "split", "no axis 2");
    EXPECT_FAILED(pleat_split(x, 1, 3, NULL, NULL), PLEAT_ERR_ARGUMENT, "split", "parts is a null");
    EXPECT_FAILED(pleat_split(pleat_poison(ctx), 1, 3, NULL, parts), PLEAT_ERR_ARGUMENT, "split", "poison");
}

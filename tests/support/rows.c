#include "rows.h"

#include <math.h>

static pleat_tensor *draw(const row *r, size_t i) {
    size_t rank = r->rank[i] == SCALAR ? 0 : r->rank[i];
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F64, rank, r->shape[i], r->low, r->high);
    for (size_t k = 0; r->sharp && k < pleat_numel(x); k++) {
        double *v = pleat_f64(x) + k;
        for (size_t j = 0; j < 2; j++)
            if (fabs(*v - r->kinks[j]) < 0.05) *v += 0.1;
    }
    return x;
}

/* y^3 of a row's y. */
static pleat_tensor *cubed(size_t n, pleat_tensor *const *xs, void *user) {
    const row *r = user;
    pleat_tensor *y = r->f(n, xs, NULL);
    return pleat_mul(pleat_square(y), y);
}

void check_rows(const row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        row r = rows[i];
        size_t n = 0;
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *xs[ROW_INPUTS];
        while (n < ROW_INPUTS && r.rank[n] != 0) xs[n] = draw(&r, n), n++;
        pleat_report plain = {.ok = false}, nested = {.ok = false};
        pleat_gradcheck(r.f, n, xs, .order = ROW_ORDER, .seed = i, .report = &plain);
        cr_assert(plain.ok, "%s: %s", r.name, plain.text);
        pleat_gradcheck(cubed, n, xs, .user = &r, .order = ROW_ORDER, .seed = i, .report = &nested);
        cr_assert(nested.ok, "%s, cubed: %s", r.name, nested.text);
        pleat_end(s);
    }
}

/* ---- PyTorch ------------------------------------------------------------------------------------------- */

static pleat_tensor *array(const oracle *o, pleat_dtype type, const char *name, const char *what) {
    const oracle_array *a = oracle_find(o, "%s.%s", name, what);
    cr_assert(a, "there is no %s.%s", name, what);
    return oracle_tensor(ctx, type, a);
}

static void expect_close(const oracle *o, pleat_tensor *found, const char *name, const char *what, size_t i) {
    const oracle_array *a = oracle_find(o, i == SIZE_MAX ? "%s.%s" : "%s.%s%zu", name, what, i);
    double tolerance = pleat_dtype_of(found) == PLEAT_F64 ? 1e-12 : 2e-5;
    cr_assert(a, "there is no %s.%s", name, what);
    cr_assert_leq(oracle_error(a, found), tolerance, "%s.%s: error %g: %s", name, what,
                  oracle_error(a, found), pleat_error(ctx)->text);
}

static void expect_op_of(const oracle *o, const char *name, pleat_function f, pleat_dtype type) {
    pleat_tensor *xs[ROW_INPUTS], *g[ROW_INPUTS], *gg[ROW_INPUTS], *slope = NULL;
    size_t n = 0;
    for (; n < ROW_INPUTS && oracle_find(o, "%s.x%zu", name, n); n++)
        xs[n] = oracle_tensor(ctx, type, oracle_find(o, "%s.x%zu", name, n));
    cr_assert(n, "there is no %s.x0", name);
    pleat_tensor *y = f(n, xs, NULL);
    expect_close(o, y, name, "y", SIZE_MAX);
    EXPECT_OK(pleat_grads(y, array(o, type, name, "u"), n, xs, g, PLEAT_GRADS_RECORD));
    for (size_t i = 0; i < n; i++) {
        expect_close(o, g[i], name, "g", i);
        pleat_tensor *square = pleat_sum(pleat_square(g[i]));
        slope = slope ? pleat_add(slope, square) : square;
    }
    EXPECT_OK(pleat_grads(slope, NULL, n, xs, gg, 0));
    for (size_t i = 0; i < n; i++) expect_close(o, gg[i], name, "gg", i);
}

void expect_op(const oracle *o, const char *name, pleat_function f) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_scope s = pleat_begin(ctx);
        expect_op_of(o, name, f, type);
        pleat_end(s);
    }
}

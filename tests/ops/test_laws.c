/* The convolution family against its definition, over thousands of geometries: all values, gradients and gradients of
 * gradients are derivatives of one trilinear form. Whole numbers, so everything is exact. */
#include <stdlib.h>

#include "conv_cases.h"

TestSuite(laws, .init = tensors_begin, .fini = tensors_end);

enum { RANDOM = 2000 };

/* The two other letters. */
static const letter others[3][2] = {[X] = {W, Y}, [W] = {X, Y}, [Y] = {X, W}};

Test(laws, each_operator_is_its_definition) {
    size_t cases = 0, empty = 0;
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        conv_case c;
        pleat_scope s = pleat_begin(ctx);
        for (size_t i = 0; conv_case_next(&c, i, RANDOM, type); i++, cases++) {
            for (letter k = X; k <= Y; k++) {
                pleat_tensor *expected = naive_derivative(&c.g, k, c.t);
                EXPECT_EQUAL(derivative(&c.g, k, c.t), expected, &c, "laws/each_operator_is_its_definition");
                empty += k == Y && 8 * pleat_item(pleat_sum(pleat_step(pleat_square(expected)))) <
                                       (double)pleat_numel(expected);
            }
            pleat_end(s);
            s = pleat_begin(ctx);
        }
        pleat_end(s);
    }
    cr_assert(cases < 10 || empty < cases / 8, "%zu of %zu maps are mostly zero and prove little", empty,
              cases);
}

/* The gradient of the op for k in the direction t[k], with respect to the other two. */
static void gradients(const conv_case *c, letter k, pleat_tensor *gradient[2], unsigned flags) {
    pleat_tensor *xs[] = {c->t[others[k][0]], c->t[others[k][1]]};
    EXPECT_OK(pleat_grads(derivative(&c->g, k, c->t), c->t[k], 2, xs, gradient, flags));
}

/* d<t[k], dT/dk>/dm = dT/dm: only two of the three letters are differentiated, and the third is the direction. */
Test(laws, each_gradient_is_a_sibling) {
    static const char name[] = "laws/each_gradient_is_a_sibling";
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        conv_case c;
        pleat_scope s = pleat_begin(ctx);
        for (size_t i = 0; conv_case_next(&c, i, RANDOM, type); i++) {
            for (letter k = X; k <= Y; k++) {
                pleat_tensor *gradient[2];
                gradients(&c, k, gradient, 0);
                for (size_t j = 0; j < 2; j++) {
                    letter m = others[k][j];
                    EXPECT_EQUAL(gradient[j], naive_derivative(&c.g, m, c.t), &c, name);
                    EXPECT_SAME(gradient[j], derivative(&c.g, m, c.t));
                }
            }
            pleat_end(s);
            s = pleat_begin(ctx);
        }
        pleat_end(s);
    }
}

/* The gradient dT/dm, in the direction v, with respect to the two letters that it depends on: T with v for m. */
Test(laws, gradients_of_gradients_are_siblings_again) {
    static const char name[] = "laws/gradients_of_gradients_are_siblings_again";
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        conv_case c;
        pleat_scope s = pleat_begin(ctx);
        for (size_t i = 0; conv_case_next(&c, i, RANDOM, type); i++) {
            letter k = (letter)(i % 3), m = others[k][i / 3 % 2];
            pleat_tensor *first[2], *second[2];
            gradients(&c, k, first, PLEAT_GRADS_RECORD);
            conv_case changed = c;
            changed.t[m] = whole(type, 4, pleat_shape(c.t[m]));
            pleat_tensor *xs[] = {c.t[others[m][0]], c.t[others[m][1]]};
            EXPECT_OK(pleat_grads(first[i / 3 % 2], changed.t[m], 2, xs, second, 0));
            for (size_t j = 0; j < 2; j++)
                EXPECT_EQUAL(second[j], naive_derivative(&c.g, others[m][j], changed.t), &c, name);
            pleat_end(s);
            s = pleat_begin(ctx);
        }
        pleat_end(s);
    }
}

/* ---- adjoints and linearity ---------------------------------------------------------------------------- */

/* The op for `to` as a function of `from`. */
typedef struct map_of {
    const conv_case *c;
    letter from, to;
} map_of;

static pleat_tensor *forth(pleat_tensor *t, void *user) {
    const map_of *m = user;
    pleat_tensor *all[3] = {m->c->t[X], m->c->t[W], m->c->t[Y]};
    all[m->from] = t;
    return derivative(&m->c->g, m->to, all);
}

static pleat_tensor *back(pleat_tensor *t, void *user) {
    const map_of *m = user;
    return forth(t, &(map_of){.c = m->c, .from = m->to, .to = m->from});
}

Test(laws, siblings_are_linear_and_adjoint) {
    static const char name[] = "laws/siblings_are_linear_and_adjoint";
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        conv_case c;
        pleat_scope s = pleat_begin(ctx);
        for (size_t i = 0; conv_case_next(&c, i, 300, type); i++) {
            for (letter k = X; k <= Y; k++) {
                map_of m = {.c = &c, .from = others[k][0], .to = others[k][1]};
                pleat_report r;
                pleat_adjointcheck(forth, back, c.t[m.from], c.t[m.to], .user = &m, .tries = 1,
                                   .integers = true, .seed = i, .report = &r);
                cr_assert(r.ok, "%s\n%s", r.text, geometry_reproduce(&c.g, "test_laws", name).text);
            }
            pleat_end(s);
            s = pleat_begin(ctx);
        }
        pleat_end(s);
    }
}

/* ---- gradients against difference quotients -------------------------------------------------------------- */

/* A function of order three in both operands: y tanh(y) for the op's y. */
static pleat_tensor *curved(size_t n, pleat_tensor *const *xs, void *user) {
    const map_of *m = user;
    pleat_tensor *all[3];
    (void)n;
    for (letter k = X, i = 0; k <= Y; k++) all[k] = k == m->to ? m->c->t[k] : xs[i++];
    pleat_tensor *y = derivative(&m->c->g, m->to, all);
    return pleat_mul(y, pleat_tanh(pleat_scale(y, 0.1)));
}

static bool small(const conv_case *c) {
    return pleat_numel(c->t[X]) + pleat_numel(c->t[W]) + pleat_numel(c->t[Y]) <= 130;
}

Test(laws, gradients_of_orders_one_to_three) {
    static const char name[] = "laws/gradients_of_orders_one_to_three";
    size_t checked = 0, cases = 0;
    conv_case c;
    pleat_scope s = pleat_begin(ctx);
    for (size_t i = 0; conv_case_next(&c, i, RANDOM, PLEAT_F64); i++, cases++) {
        for (letter k = X; k <= Y && small(&c); k++, checked++) {
            pleat_tensor *xs[2];
            for (size_t j = 0; j < 2; j++)
                xs[j] = pleat_randn(ctx, PLEAT_F64, 4, pleat_shape(c.t[others[k][j]]));
            pleat_report r;
            pleat_gradcheck(curved, 2, xs, .user = &(map_of){.c = &c, .to = k}, .order = 3, .seed = i,
                            .report = &r);
            cr_assert(r.ok, "%s\n%s", r.text, geometry_reproduce(&c.g, "test_laws", name).text);
        }
        pleat_end(s);
        s = pleat_begin(ctx);
    }
    cr_assert(8 * checked > cases || getenv("PLEAT_CASE"), "only %zu of %zu", checked, cases);
}

/* An op of your own, with its gradient, and the checks that show it right.
 *
 *     roll(x, k): y[.., i] = x[.., (i - k) mod D] along the last axis, as torch.roll
 *
 * It is linear, and moves elements. So its gradient moves them back: the rule is the op itself, by -k, and as
 * it is written in ops, gradients of every order follow. An op that computes has a rule with c->in in it: see
 * ../gradcheck.c.
 *
 *     cc own_op.c $(pkg-config --cflags --libs pleat) && ./a.out
 */
#include <pleat.h>
#include <stdio.h>
#include <string.h>

static pleat_tensor *roll(pleat_tensor *x, ptrdiff_t k);

/* The options as data, for errors and all who look at calls. */
static size_t roll_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = (pleat_attr){
        .name = "k", .kind = PLEAT_ATTR_WHOLE, .count = 1, .whole = {*(const ptrdiff_t *)c->attrs}};
    return 1;
}

/* The shape of the result, from the inputs. Before, pleat_apply has seen to one context, one type and no
 * poison. */
static bool roll_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0];
    c->rank = pleat_rank(x);
    memcpy(c->shape, pleat_shape(x), c->rank * sizeof c->shape[0]);
    if (c->rank == 0) return pleat_call_fail(c, PLEAT_ERR_SHAPE, "there is no axis to roll along");
    return true;
}

/* Elements are moved and not computed with, so bytes do for both types. */
static bool roll_forward(const pleat_call *c) {
    if (pleat_numel(c->out) == 0) return true; /* any axis may have size 0 */
    bool f32 = c->dtype == PLEAT_F32;
    /* the data of a view is not in one piece; an op that calls pleat_contiguous before, as roll() below,
     * never sees one */
    const char *x = f32 ? (const void *)pleat_const_f32(c->in[0]) : pleat_const_f64(c->in[0]);
    char *y = f32 ? (void *)pleat_f32(c->out) : pleat_f64(c->out);
    if (x == NULL || y == NULL) return false; /* the error says why */

    size_t element = f32 ? sizeof(float) : sizeof(double), row = c->shape[c->rank - 1] * element;
    ptrdiff_t D = (ptrdiff_t)c->shape[c->rank - 1], k = *(const ptrdiff_t *)c->attrs;
    size_t head = (size_t)(((k % D) + D) % D) * element; /* this much of the row's end comes first */
    for (size_t i = 0; i < pleat_numel(c->out) / (size_t)D; i++, x += row, y += row) {
        memcpy(y, x + row - head, head);
        memcpy(y + head, x, row - head);
    }
    return true;
}

/* The cotangent of the input from g, that of the result. */
static pleat_tensor *roll_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i; /* there is one input only */
    return roll(g, -*(const ptrdiff_t *)c->attrs);
}

static const pleat_op roll_op = {.name = "roll",
                                 .shape = roll_shape,
                                 .forward = roll_forward,
                                 .vjp = roll_vjp,
                                 .attributes = roll_attributes};

static pleat_tensor *roll(pleat_tensor *x, ptrdiff_t k) {
    x = pleat_contiguous(x);
    return pleat_apply(&roll_op, 1, &x, &k, sizeof k); /* k is copied */
}

/* ---- the checks -------------------------------------------------------------------------------------------------- */

static pleat_tensor *forth(pleat_tensor *x, void *user) { return roll(x, *(const ptrdiff_t *)user); }
static pleat_tensor *back(pleat_tensor *y, void *user) { return roll(y, -*(const ptrdiff_t *)user); }

/* Not linear, so that second derivatives are not 0. */
static pleat_tensor *energy(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n;
    return pleat_mean(pleat_square(pleat_sub(pleat_tanh(roll(xs[0], *(const ptrdiff_t *)user)), xs[0])));
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    pleat_tensor *x =
        pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 5), (double[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    pleat_tensor *rolled = roll(x, 2);
    char text[80];
    printf("%s:", pleat_call_text(pleat_call_of(rolled), text, sizeof text));
    for (size_t i = 0; i < 10; i++) printf(" %g", pleat_at(rolled, (size_t[]){i / 5, i % 5}));

    /* <roll x, y> = <x, roll back y>, and linear: on whole numbers, bit for bit */
    ptrdiff_t k = 7; /* more than the axis has */
    pleat_report r;
    pleat_status adjoint = pleat_adjointcheck(forth, back, x, x, &k, .integers = true, .report = &r);
    printf("\n%s\n", r.text);

    /* first and second derivatives against difference quotients, also from a view */
    pleat_tensor *view = pleat_permute(pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(4, 3)), (size_t[]){1, 0});
    pleat_status gradient = pleat_gradcheck(energy, 1, &view, &k, .order = 2, .report = &r);
    printf("%s\n", r.text);

    roll(pleat_sum(x), 1); /* a mistake of the caller */
    printf("%s\n", pleat_error(ctx)->text);
    pleat_ctx_free(ctx);
    return adjoint || gradient;
}

/* Sequential: one module after another; a convolution, the norm behind it in evaluation, and the ReLU behind
 * either are computed in one pass. */
#include <stdio.h>

#include "module.h"

static bool is_observed(const pleat_nn_module *m) {
    for (; m; m = m->parent)
        if (m->observer) return true;
    return false;
}

/* Child i, or NULL: there is none, or it is observed, as an observer must see each of them. */
static const pleat_nn_module *unseen(const pleat_nn_module *m, size_t i) {
    const pleat_nn_module *child = i < m->count ? m->entries[i].child : NULL;
    return child && !is_observed(child) ? child : NULL;
}

/* The tail of child i. Returns of how many modules. */
static size_t take_tail(const pleat_nn_module *m, size_t i, pln_tail *tail) {
    const pleat_nn_module *child = unseen(m, i), *next = unseen(m, i + 1);
    size_t n = 0;
    if (!child || !pln_forward_with(child)) return 0;
    if (next && pln_take_norm(child, next, tail)) next = unseen(m, i + 1 + ++n);
    if (next && pln_take_relu(next, tail)) n++;
    return n;
}

/* A tensor between two children is dropped when the second has read it. */
static pleat_tensor *sequential_forward(pleat_nn_module *m, pleat_tensor *x) {
    pleat_scope scope = pleat_begin(m->ctx);
    for (size_t i = 0; i < m->count; i++) {
        pleat_nn_module *child = m->entries[i].child;
        pln_tail tail = {0};
        size_t taken = take_tail(m, i, &tail);
        pleat_tensor *y =
            taken ? pln_forward_by(pln_forward_with(child), child, x, &tail) : pleat_nn_forward(child, x);
        if (y != x && pleat_in_scope(scope, x)) pleat_drop(x);
        x = y;
        i += taken;
    }
    return pln_leave(scope, x);
}

static const pleat_nn_kind sequential_kind = {.name = "Sequential", .forward = sequential_forward};

static bool given_before(pleat_nn_module *const *children, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (children[k] && children[k] == children[i]) return true;
    return false;
}

pleat_nn_module *pleat_nn_sequential_of(pleat_ctx *ctx, size_t n, pleat_nn_module *const *children) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &sequential_kind, NULL, 0);
    for (size_t i = 0; i < n; i++) {
        if (given_before(children, i)) {
            /* the first of the two frees it, so it must not be touched here */
            if (m) pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "Sequential", "child \"%zu\" is given twice", i);
            m = pln_discard(m);
            continue;
        }
        char name[PLN_NAME_BYTES];
        snprintf(name, sizeof name, "%zu", i);
        m = pleat_nn_add_child(m, name, children[i]);
    }
    return m;
}

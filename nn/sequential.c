/* Sequential: one module after another; a convolution or a norm and the ReLU that follows it are computed in
 * one pass. */
#include <stdio.h>

#include "module.h"

static bool is_observed(const pleat_nn_module *m) {
    for (; m; m = m->parent)
        if (m->observer) return true;
    return false;
}

/* The function that computes m and the ReLU or ReLU6 after it in one pass, or NULL. NULL also for an observed
 * module, as an observer must see each of the two. */
static pln_forward *with_next(const pleat_nn_module *m, const pleat_nn_module *next) {
    if (!m || !next || !pln_end_of(next) || is_observed(m) || is_observed(next)) return NULL;
    return pln_forward_with(m, pln_end_of(next));
}

/* A tensor between two children is dropped when the second has read it. */
static pleat_tensor *sequential_forward(pleat_nn_module *m, pleat_tensor *x) {
    pleat_scope scope = pleat_begin(m->ctx);
    for (size_t i = 0; i < m->count; i++) {
        pleat_nn_module *child = m->entries[i].child;
        const pleat_nn_module *next = i + 1 < m->count ? m->entries[i + 1].child : NULL;
        pln_forward *both = with_next(child, next);
        pleat_tensor *y =
            both ? pln_forward_by(both, child, x, pln_end_of(next)) : pleat_nn_forward(child, x);
        if (y != x && pleat_in_scope(scope, x)) pleat_drop(x);
        x = y;
        i += both != NULL;
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

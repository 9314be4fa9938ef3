/* A module's forward pass in evaluation as a prepared function. */
#include <stdio.h>
#include <string.h>

#include "module.h"

/* The first module of the tree that is in training mode, or NULL. */
static const pleat_nn_module *training(const pleat_nn_module *m) {
    if (!m->evaluating) return m;
    for (size_t i = 0; i < m->count; i++) {
        const pleat_nn_module *found = m->entries[i].child ? training(m->entries[i].child) : NULL;
        if (found) return found;
    }
    return NULL;
}

static pleat_tensor *forward(pleat_tensor *x, void *m) { return pleat_nn_forward(m, x); }

pleat_prepared *pleat_nn_prepare_with(pleat_nn_prepare_args a) {
    char path[512];
    if (!a.m) return NULL;
    const pleat_nn_module *wrong = training(a.m);
    if (wrong) {
        pleat_fail(a.m->ctx, PLEAT_ERR_ARGUMENT, "prepare",
                   "%s%s%s is in training mode; pleat_nn_set_training(m, false) first",
                   pln_path(wrong, a.m, path, sizeof path), wrong == a.m ? "" : ": ", wrong->kind->name);
        return NULL;
    }
    const pleat_tensor *first = pleat_nn_param(a.m, 0);
    return pleat_prepare(a.m->ctx, forward, a.m, first ? pleat_dtype_of(first) : PLEAT_F32, a.rank, a.shape,
                         .threads = a.threads);
}

char *pln_call_text(const pleat_prepared *p, const pleat_call *c, const pleat_nn_module *root, char *buffer,
                    size_t bytes) {
    char path[512];
    const pleat_nn_module *m = pleat_prepared_caller(p, c);
    buffer[0] = '\0';
    if (m) {
        const char *at = pln_path(m, root, path, sizeof path);
        snprintf(buffer, bytes, "%s%s%s: ", at, *at ? ": " : "", m->kind->name);
    }
    size_t used = strlen(buffer);
    pleat_call_text(c, buffer + used, bytes - used);
    return buffer;
}

/* The tensors of a tree of modules: the parameters, and the state dict, which also has the buffers. */
#include <string.h>

#include "module.h"

static pleat_tensor *tensor_of(const pln_entry *e, pln_what what) {
    return e->param ? e->param : what == PLN_STATE ? e->buffer : NULL;
}

/* Tensor *i of m and its children. If there are fewer, none, and *i is reduced by their number. */
static pln_found walk(const pleat_nn_module *m, pln_what what, size_t *i, char *name, size_t bytes) {
    for (size_t k = 0; m && k < m->count; k++) {
        const pln_entry *e = &m->entries[k];
        size_t used = (size_t)snprintf(name, bytes, "%s%s", e->name, e->child ? "." : "");
        pleat_tensor *t = tensor_of(e, what);
        if (t && (*i)-- == 0) return (pln_found){t, e, m};
        if (used > bytes) used = bytes;
        pln_found below = walk(e->child, what, i, name + used, bytes - used);
        if (below.t) return below;
    }
    return (pln_found){NULL, NULL, NULL};
}

pln_found pln_find(const pleat_nn_module *m, pln_what what, size_t i, char *name, size_t bytes) {
    pln_found found = walk(m, what, &i, name, bytes);
    if (!found.t && bytes) name[0] = '\0';
    return found;
}

static size_t count(const pleat_nn_module *m, pln_what what) {
    size_t n = 0;
    for (size_t i = 0; m && i < m->count; i++)
        n += m->entries[i].child ? count(m->entries[i].child, what) : tensor_of(&m->entries[i], what) != NULL;
    return n;
}

static pleat_tensor *find(const pleat_nn_module *m, pln_what what, const char *name) {
    for (size_t i = 0; m && name && i < m->count; i++) {
        const pln_entry *e = &m->entries[i];
        size_t length = strlen(e->name);
        if (strncmp(name, e->name, length)) continue;
        if (!e->child && !name[length]) return tensor_of(e, what);
        if (e->child && name[length] == '.') return find(e->child, what, name + length + 1);
    }
    return NULL;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

pleat_tensor *pleat_nn_param(const pleat_nn_module *m, size_t i) {
    char unused[1];
    return pln_find(m, PLN_PARAMS, i, unused, sizeof unused).t;
}

char *pleat_nn_param_name(const pleat_nn_module *m, size_t i, char *buffer, size_t bytes) {
    pln_find(m, PLN_PARAMS, i, buffer, bytes);
    return buffer;
}

size_t pleat_nn_param_count(const pleat_nn_module *m) { return count(m, PLN_PARAMS); }

size_t pleat_nn_param_numel(const pleat_nn_module *m) {
    size_t n = 0;
    for (size_t i = 0; m && i < m->count; i++) {
        const pln_entry *e = &m->entries[i];
        n += e->param ? pleat_numel(e->param) : pleat_nn_param_numel(e->child);
    }
    return n;
}

pleat_tensor *pleat_nn_find_param(const pleat_nn_module *m, const char *name) {
    return find(m, PLN_PARAMS, name);
}

bool pln_param_frozen(const pleat_nn_module *m, size_t i) {
    char unused[1];
    return pleat_nn_is_frozen(pln_find(m, PLN_PARAMS, i, unused, sizeof unused).owner);
}

/* ---- the state dict ------------------------------------------------------------------------------------ */

size_t pleat_nn_state_count(const pleat_nn_module *m) { return count(m, PLN_STATE); }

pleat_tensor *pleat_nn_state(const pleat_nn_module *m, size_t i) {
    char unused[1];
    return pln_find(m, PLN_STATE, i, unused, sizeof unused).t;
}

char *pleat_nn_state_name(const pleat_nn_module *m, size_t i, char *buffer, size_t bytes) {
    pln_find(m, PLN_STATE, i, buffer, bytes);
    return buffer;
}

pleat_tensor *pleat_nn_find_state(const pleat_nn_module *m, const char *name) {
    return find(m, PLN_STATE, name);
}

bool pln_state_is_whole(const pleat_nn_module *m, size_t i) {
    char unused[1];
    pln_found found = pln_find(m, PLN_STATE, i, unused, sizeof unused);
    return found.entry && found.entry->whole;
}

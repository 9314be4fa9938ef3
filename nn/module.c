/* Modules: a tree that owns its parameters, its switches, and the forward pass through one module. */
#include "module.h"

#include <stdlib.h>
#include <string.h>

/* ---- making and freeing ------------------------------------------------------------------------------ */

pleat_nn_module *pleat_nn_module_new(pleat_ctx *ctx, const pleat_nn_kind *kind, const void *attrs,
                                     size_t attrs_bytes) {
    if (!ctx) return NULL;
    if (!kind || !kind->name || !kind->forward || (attrs_bytes && !attrs)) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "module_new", "%s",
                   kind && kind->name && kind->forward ? "attrs is NULL, but attrs_bytes is not 0"
                                                       : "kind must have a name and a forward function");
        return NULL;
    }
    pleat_nn_module *m = calloc(1, sizeof *m);
    void *copy = attrs_bytes ? malloc(attrs_bytes) : NULL;
    if (!m || (attrs_bytes && !copy)) {
        free(m);
        free(copy);
        pleat_fail(ctx, PLEAT_ERR_MEMORY, kind->name, "no memory for the module");
        return NULL;
    }
    if (copy) memcpy(copy, attrs, attrs_bytes);
    *m = (pleat_nn_module){.ctx = ctx, .kind = kind, .attrs = copy};
    return m;
}

static void release(pleat_nn_module *m) {
    if (m->release) m->release(m);
    for (size_t i = 0; i < m->count; i++) {
        if (m->entries[i].child) release(m->entries[i].child);
        pleat_drop(m->entries[i].param);
        pleat_drop(m->entries[i].buffer);
    }
    free(m->entries);
    free(m->attrs);
    free(m);
}

void pleat_nn_free(pleat_nn_module *m) {
    if (m && m->parent)
        pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, "free", "this %s belongs to a %s; free that one",
                   m->kind->name, m->parent->kind->name);
    else if (m)
        release(m);
}

pleat_nn_module *pln_discard(pleat_nn_module *m) {
    if (m && !m->parent) release(m);
    return NULL;
}

/* The rule that the name of a new entry of m breaks, or NULL. */
static const char *wrong_name(const pleat_nn_module *m, const char *name) {
    if (!name || !*name || strlen(name) >= PLN_NAME_BYTES) return "must have 1 to 31 characters";
    if (strchr(name, '.')) return "must not contain a dot: dots separate the modules in a parameter's name";
    for (size_t i = 0; i < m->count; i++)
        if (!strcmp(m->entries[i].name, name)) return "is taken; names are unique in a module";
    return NULL;
}

static bool add_entry(pleat_nn_module *m, const char *name, pln_entry entry) {
    const char *wrong = wrong_name(m, name);
    if (wrong) {
        pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, m->kind->name, "the name \"%.40s\" %s", name ? name : "",
                   wrong);
        return false;
    }
    pln_entry *entries = realloc(m->entries, (m->count + 1) * sizeof *entries);
    if (!entries) {
        pleat_fail(m->ctx, PLEAT_ERR_MEMORY, m->kind->name, "no memory for \"%s\"", name);
        return false;
    }
    m->entries = entries;
    entries[m->count] = entry;
    memcpy(entries[m->count++].name, name, strlen(name) + 1);
    return true;
}

/* The rule that t breaks as a parameter or a buffer of m, or NULL. */
static const char *wrong_tensor(const pleat_nn_module *m, const pleat_tensor *t) {
    if (!t) return "is NULL";
    if (pleat_is_poison(t)) return "is poison: an op failed before";
    if (pleat_ctx_of(t) != m->ctx) return "is of another context than the module";
    if (!pleat_is_contiguous(t)) return "is not contiguous; pass pleat_contiguous(t)";
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].param == t || m->entries[i].buffer == t)
            return m->entries[i].param ? "is a parameter of this module already"
                                       : "is a buffer of this module already";
    return NULL;
}

static pleat_nn_module *add_tensor(pleat_nn_module *m, const char *name, const char *what, pln_entry entry) {
    if (!m) return NULL;
    pleat_tensor *t = entry.param ? entry.param : entry.buffer;
    const char *wrong = wrong_tensor(m, t);
    if (wrong)
        pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, m->kind->name, "%s \"%.40s\" %s", what, name ? name : "",
                   wrong);
    if (wrong || !add_entry(m, name, entry)) return pln_discard(m);
    pleat_hold(t);
    return m;
}

pleat_nn_module *pleat_nn_add_param(pleat_nn_module *m, const char *name, pleat_tensor *t) {
    return add_tensor(m, name, "parameter", (pln_entry){.param = t});
}

pleat_nn_module *pleat_nn_add_buffer(pleat_nn_module *m, const char *name, pleat_tensor *t) {
    return add_tensor(m, name, "buffer", (pln_entry){.buffer = t});
}

pleat_nn_module *pln_add_whole_buffer(pleat_nn_module *m, const char *name, pleat_tensor *t) {
    return add_tensor(m, name, "buffer", (pln_entry){.buffer = t, .whole = true});
}

/* The rule that child breaks as a child of m, or NULL. */
static const char *wrong_child(const pleat_nn_module *m, const pleat_nn_module *child) {
    if (!child) return "is NULL: its constructor failed";
    if (child->parent) return "belongs to another module already";
    if (child->ctx != m->ctx) return "is of another context than the module";
    for (; m; m = m->parent)
        if (m == child) return "contains the module it is added to";
    return NULL;
}

pleat_nn_module *pleat_nn_add_child(pleat_nn_module *m, const char *name, pleat_nn_module *child) {
    if (!m) return pln_discard(child);
    const char *wrong = wrong_child(m, child);
    if (wrong)
        pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, m->kind->name, "child \"%.40s\" %s", name ? name : "", wrong);
    if (wrong || !add_entry(m, name, (pln_entry){.child = child})) {
        const pleat_nn_module *root = m;
        while (root->parent) root = root->parent;
        bool both = root == child; /* freeing the child has freed m as well */
        pln_discard(child);
        return both ? NULL : pln_discard(m);
    }
    child->parent = m;
    return m;
}

/* ---- looking inside ---------------------------------------------------------------------------------- */

const void *pleat_nn_attrs(const pleat_nn_module *m) { return m ? m->attrs : NULL; }

pleat_ctx *pleat_nn_ctx(const pleat_nn_module *m) { return m ? m->ctx : NULL; }

const pleat_nn_kind *pleat_nn_kind_of(const pleat_nn_module *m) { return m ? m->kind : NULL; }

size_t pleat_nn_child_count(const pleat_nn_module *m) {
    size_t n = 0;
    for (size_t i = 0; m && i < m->count; i++) n += m->entries[i].child != NULL;
    return n;
}

pleat_nn_module *pleat_nn_child(const pleat_nn_module *m, size_t i) {
    for (size_t k = 0; m && k < m->count; k++)
        if (m->entries[k].child && i-- == 0) return m->entries[k].child;
    return NULL;
}

pleat_tensor *pleat_nn_own_param(const pleat_nn_module *m, size_t i) {
    for (size_t k = 0; m && k < m->count; k++)
        if (m->entries[k].param && i-- == 0) return m->entries[k].param;
    return NULL;
}

pleat_tensor *pleat_nn_own_buffer(const pleat_nn_module *m, size_t i) {
    for (size_t k = 0; m && k < m->count; k++)
        if (m->entries[k].buffer && i-- == 0) return m->entries[k].buffer;
    return NULL;
}

static const char *name_in_parent(const pleat_nn_module *m) {
    const pln_entry *e = m->parent->entries;
    while (e->child != m) e++;
    return e->name;
}

char *pln_path(const pleat_nn_module *m, const pleat_nn_module *root, char *buffer, size_t bytes) {
    char *at = buffer + bytes - 1;
    for (*at = '\0'; m != root && m->parent; m = m->parent) {
        const char *name = name_in_parent(m);
        size_t n = strlen(name), dot = *at != '\0';
        if ((size_t)(at - buffer) < n + dot) break;
        if (dot) *--at = '.';
        at -= n;
        memcpy(at, name, n);
    }
    return at;
}

/* ---- switches ----------------------------------------------------------------------------------------- */

void pleat_nn_set_training(pleat_nn_module *m, bool training) {
    if (!m) return;
    m->evaluating = !training;
    for (size_t i = 0; i < m->count; i++) pleat_nn_set_training(m->entries[i].child, training);
}

bool pleat_nn_is_training(const pleat_nn_module *m) { return m && !m->evaluating; }

void pleat_nn_freeze(pleat_nn_module *m, bool frozen) {
    if (!m) return;
    m->frozen = frozen;
    for (size_t i = 0; i < m->count; i++) pleat_nn_freeze(m->entries[i].child, frozen);
}

bool pleat_nn_is_frozen(const pleat_nn_module *m) { return m && m->frozen; }

/* ---- what constructors and layers say ------------------------------------------------------------------ */

pleat_nn_module *pln_refuse(pleat_ctx *ctx, const char *layer, const char *rule) {
    pleat_fail(ctx, PLEAT_ERR_ARGUMENT, layer, "%s", rule);
    return NULL;
}

const char *pln_wrong_dtype(pleat_dtype dtype) {
    return dtype == PLEAT_F32 || dtype == PLEAT_F64 ? NULL : "dtype must be PLEAT_F32 or PLEAT_F64";
}

void pln_describe_pair(char *buffer, size_t bytes, const char *what, const size_t pair[2],
                       const size_t usual[2]) {
    size_t used = strlen(buffer);
    if (pair[0] != usual[0] || pair[1] != usual[1])
        snprintf(buffer + used, bytes - used, ", %s %zux%zu", what, pair[0], pair[1]);
}

pleat_tensor *pln_misfit(pleat_nn_module *m, pleat_tensor *x, const char *before, size_t size,
                         const char *after) {
    char text[96];
    pleat_fail(m->ctx, PLEAT_ERR_SHAPE, m->kind->name, "x is %s; this layer takes %s%zu%s",
               pleat_shape_text(x, text, sizeof text), before, size, after);
    return pleat_poison(m->ctx);
}

pleat_tensor *pln_widen(pleat_tensor *x) {
    return pleat_reshape(x, PLEAT_SHAPE(pleat_size(x, 0), pleat_size(x, 1), 1, pleat_size(x, 2)));
}

pleat_tensor *pln_narrow(pleat_tensor *x) {
    return pleat_reshape(x, PLEAT_SHAPE(pleat_size(x, 0), pleat_size(x, 1), pleat_size(x, 3)));
}

/* ---- forward ----------------------------------------------------------------------------------------- */

bool pln_same_shape(const pleat_tensor *x, const pleat_tensor *y) {
    if (!x || !y || pleat_rank(x) != pleat_rank(y)) return false;
    for (size_t i = 0; i < pleat_rank(x); i++)
        if (pleat_size(x, i) != pleat_size(y, i)) return false;
    return true;
}

pleat_tensor *pln_leave(pleat_scope scope, pleat_tensor *y) {
    while (y && pleat_in_scope(scope, y)) pleat_keep(y);
    pleat_end(scope);
    return y;
}

/* The forward pass of a module, with its errors. */
static pleat_tensor *run(pln_forward *forward, pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    if (!x || pleat_ctx_of(x) != m->ctx) {
        pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, m->kind->name, "x is %s",
                   x ? "of another context than the module" : "NULL");
        return pleat_poison(m->ctx);
    }
    if (pleat_is_poison(x)) return x;
    pleat_scope scope = pleat_begin(m->ctx);
    const void *around = pleat_set_caller(m->ctx, m);
    pleat_tensor *y = forward(m, x, tail);
    pleat_set_caller(m->ctx, around);
    for (const pleat_nn_module *above = m; y && above; above = above->parent)
        if (above->observer) above->observer->saw(above->observer, m, x, y);
    if (pln_leave(scope, y)) return y;
    pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, m->kind->name, "forward returned NULL; it must return a tensor");
    return pleat_poison(m->ctx);
}

static pleat_nn_module *root_of(pleat_nn_module *m) {
    while (m->parent) m = m->parent;
    return m;
}

/* Put m's path and kind in front of the context's error: "decoder.2: Conv2d: conv2d: ...". The modules around
 * m see the error, too, and leave it. */
static void name_module(pleat_nn_module *m) {
    char where[512];
    pleat_nn_module *root = root_of(m);
    if (root->named) return;
    root->named = true;
    if (strcmp(pleat_error(m->ctx)->op, m->kind->name)) pleat_error_where(m->ctx, m->kind->name);
    if (m != root) pleat_error_where(m->ctx, pln_path(m, root, where, sizeof where));
}

pleat_tensor *pln_forward_by(pln_forward *forward, pleat_nn_module *m, pleat_tensor *x,
                             const pln_tail *tail) {
    pleat_ctx *ctx = m ? m->ctx : pleat_ctx_of(x);
    if (!m) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "forward",
                   "the module is NULL: its constructor failed, or there is no such child");
        return pleat_poison(ctx);
    }
    bool clean = pleat_error(ctx)->code == PLEAT_OK;
    if (clean) root_of(m)->named = false;
    pleat_tensor *y = run(forward, m, x, tail);
    if (clean && pleat_error(ctx)->code) name_module(m);
    return y;
}

static pleat_tensor *plain(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    return (void)tail, m->kind->forward(m, x);
}

pleat_tensor *pleat_nn_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pln_forward_by(plain, m, x, NULL);
}

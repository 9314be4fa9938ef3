/* The floats of a model as the state of a module, under the names of the file: "layer1.0.conv1.weight" is in three modules below
 * the root, as in PyTorch. */
#include <string.h>

#include "onnx/onnx.h"

static pleat_tensor *group_forward(pleat_nn_module *m, pleat_tensor *x) {
    (void)x;
    pleat_fail(pleat_nn_ctx(m), PLEAT_ERR_ARGUMENT, "OnnxNames",
               "it only holds parameters; the root of the model computes");
    return pleat_poison(pleat_nn_ctx(m));
}

static const pleat_nn_kind group_kind = {.name = "OnnxNames", .forward = group_forward};

static const pln_entry *find(const pleat_nn_module *m, const char *name, size_t n) {
    for (size_t i = 0; i < m->count; i++)
        if (!strncmp(m->entries[i].name, name, n) && !m->entries[i].name[n]) return &m->entries[i];
    return NULL;
}

/* Can the name be one of the state dict? Parts have 1 to 31 characters, and no part is both a tensor and a module. */
static bool is_free(const pleat_nn_module *m, const char *name) {
    for (;;) {
        const char *dot = strchr(name, '.');
        size_t n = dot ? (size_t)(dot - name) : strlen(name);
        if (!n || n >= PLN_NAME_BYTES) return false;
        for (size_t i = 0; i < n; i++)
            if (name[i] <= ' ' || name[i] > '~') return false;
        const pln_entry *e = m ? find(m, name, n) : NULL;
        if (!dot) return !e;
        if (e && !e->child) return false;
        m = e ? e->child : NULL;
        name = dot + 1;
    }
}

/* The module of the last part of the name, which is left in *name; NULL after an error, after which root is freed: those who add to a
 * module free it if it has no parent. */
static pleat_nn_module *descend(pleat_nn_module *root, const char **name) {
    pleat_nn_module *m = root;
    for (const char *dot; (dot = strchr(*name, '.')) != NULL; *name = dot + 1) {
        char part[PLN_NAME_BYTES] = "";
        memcpy(part, *name, (size_t)(dot - *name));
        const pln_entry *e = find(m, part, strlen(part));
        pleat_nn_module *child = e ? e->child : pleat_nn_module_new(m->ctx, &group_kind, NULL, 0);
        if (!e && !pleat_nn_add_child(m, part, child)) return m == root ? NULL : pln_discard(root);
        m = child;
    }
    return m;
}

pleat_nn_module *pln_onnx_add_state(pln_onnx_model *m, pleat_nn_module *root) {
    for (size_t i = 0; i < m->slots; i++) {
        pln_onnx_slot *s = &m->slot[i];
        char spare[PLN_NAME_BYTES];
        const char *name = s->name;
        if (s->from != PLN_ONNX_STATE) continue;
        snprintf(spare, sizeof spare, "tensor_%zu", i);
        if (!is_free(root, name)) name = spare;
        if (!is_free(root, name))
            return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "there are two tensors '%s'", spare),
                   pln_discard(root);
        pleat_nn_module *owner = descend(root, &name);
        pleat_nn_module *done = !owner      ? NULL
                                : s->weight ? pleat_nn_add_param(owner, name, s->v.t)
                                            : pleat_nn_add_buffer(owner, name, s->v.t);
        if (!done) return !owner || owner == root ? NULL : pln_discard(root);
        s->owned = true;
    }
    return root;
}

/* The state dict of a network as a safetensors file. */
#include <stdlib.h>
#include <string.h>

#include "files/tensors.h"
#include "module.h"

/* The state dict in its order. */
static pleat_status list_state(pln_tensors *s, const pleat_nn_module *net) {
    pleat_status status = pln_tensors_are_there(s->ctx, s->op);
    if (status) return status;
    s->n = pleat_nn_state_count(net);
    s->named = calloc(s->n + 1, sizeof *s->named);
    if (!s->named) return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, s->op, "no memory for %zu names", s->n);
    for (size_t i = 0; i < s->n; i++) {
        pln_named *e = &s->named[i];
        e->t = pleat_nn_state(net, i);
        e->whole = e->optional = pln_state_is_whole(net, i);
        pleat_nn_state_name(net, i, e->name, sizeof e->name);
        if (pleat_nn_find_state(net, e->name) != e->t)
            return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, s->op,
                              "the parameter name %.64s is longer than %zu characters", e->name,
                              sizeof e->name - 1);
    }
    return PLEAT_OK;
}

pleat_status pleat_nn_save(const char *path, const pleat_nn_module *net) {
    pln_tensors s = {.ctx = pleat_nn_ctx(net), .op = "save", .path = path};
    if (!net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, s.op, "the network is NULL");
    pleat_status status = list_state(&s, net);
    if (!status) status = pln_tensors_write(&s);
    free(s.named);
    return status;
}

pleat_status pleat_nn_load(const char *path, pleat_nn_module *net) {
    pln_tensors s = {.ctx = pleat_nn_ctx(net), .op = "load", .path = path, .whose = "the network"};
    if (!net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, s.op, "the network is NULL");
    pleat_status status = list_state(&s, net);
    pleat_scope scope = pleat_begin(s.ctx);
    if (!status) status = pln_tensors_read(&s);
    if (!status) status = pln_tensors_assign(&s);
    pleat_end(scope);
    pln_tensors_close(&s);
    free(s.named);
    return status;
}

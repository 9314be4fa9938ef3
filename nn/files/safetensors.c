/* The state dict of a network as a safetensors file. */
#include "files/tensors.h"
#include "module.h"

static void add_state(pln_tensors *s, const pleat_nn_module *net, unsigned flags) {
    char name[PLN_LONGEST_NAME + 2];
    for (size_t i = 0; i < pleat_nn_state_count(net); i++)
        pln_tensors_add(s, pleat_nn_state(net, i),
                        flags | (pln_state_is_whole(net, i) ? PLN_WHOLE | PLN_OPTIONAL : 0), "%s",
                        pleat_nn_state_name(net, i, name, sizeof name));
}

pleat_status pleat_nn_save(const char *path, const pleat_nn_module *net) {
    pln_tensors s = {.ctx = pleat_nn_ctx(net), .op = "save", .path = path};
    if (!net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, s.op, "the network is NULL");
    add_state(&s, net, 0);
    pln_tensors_write(&s);
    pln_tensors_close(&s);
    return s.status;
}

pleat_status pleat_nn_load_from_with(pleat_nn_load_args a) {
    pln_tensors s = {.ctx = pleat_nn_ctx(a.net), .op = "load", .path = a.path, .whose = "the network"};
    s.prefix = a.prefix;
    s.partly = a.misfits != NULL;
    if (a.misfits) *a.misfits = (pleat_nn_misfits){0};
    if (!a.net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, s.op, "the network is NULL");
    pleat_scope scope = pleat_begin(s.ctx);
    add_state(&s, a.net, PLN_WIDENS);
    if (!pln_tensors_read(&s)) pln_tensors_assign(&s);
    pleat_end(scope);
    pln_tensors_close(&s);
    if (a.misfits) *a.misfits = s.found;
    if (a.misfits && s.status) a.misfits->loaded = 0;
    return s.status;
}

pleat_status pleat_nn_load(const char *path, pleat_nn_module *net) { return pleat_nn_load_from(path, net); }

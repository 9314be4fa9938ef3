/* What a module is made of, and helpers that more than one nn file needs. */
#ifndef PLN_MODULE_H
#define PLN_MODULE_H

#include "pleat_nn.h"

#define PLN_NAME_BYTES 32

/* A parameter or a child; the other pointer is NULL. */
typedef struct pln_entry {
    char name[PLN_NAME_BYTES];
    pleat_tensor *param;
    pleat_nn_module *child;
} pln_entry;

struct pleat_nn_module {
    pleat_ctx *ctx;
    const pleat_nn_kind *kind;
    void *attrs;
    pleat_nn_module *parent; /* who frees this module; NULL: the user */
    size_t count;
    pln_entry *entries; /* in the order of registration */
};

/* Do both tensors exist, with the same shape? */
bool pln_same_shape(const pleat_tensor *x, const pleat_tensor *y);

#endif

/* losses.h: helpers of all losses. */
#ifndef PLN_LOSSES_H
#define PLN_LOSSES_H

#include "module.h"

/* Check that both tensors are usable, of one context and one type. False after an error under the name of the
 * loss. */
bool pln_comparable(const char *loss, const pleat_tensor *x, const pleat_tensor *target);
/* The same, and that they have one shape, since an op would broadcast them. */
bool pln_alike(const char *loss, const pleat_tensor *x, const pleat_tensor *target);

/* Check that x is [N,K,..] and that its N.. labels are less than K. False after an error of `op` that names
 * the label and its index. */
bool pln_labels_fit(const char *op, const pleat_tensor *x, const size_t *labels);

/* Report a rule that an option breaks; poison. */
pleat_tensor *pln_refuse_loss(const pleat_tensor *x, const char *loss, const char *rule);
/* The poison of the context of either tensor. */
pleat_tensor *pln_no_loss(const pleat_tensor *x, const pleat_tensor *target);

/* The mean or the sum of the losses of the items, or the losses themselves. */
pleat_tensor *pln_reduce(const char *loss, pleat_tensor *items, pleat_nn_reduction how);

#endif

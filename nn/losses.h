/* losses.h: what the files of the losses share. */
#ifndef PLN_LOSSES_H
#define PLN_LOSSES_H

#include "module.h"

/* Are both tensors usable, of one context and one type? If not, it is reported under the loss's name. */
bool pln_comparable(const char *loss, const pleat_tensor *x, const pleat_tensor *target);
/* The same, and of one shape: an op would broadcast. */
bool pln_alike(const char *loss, const pleat_tensor *x, const pleat_tensor *target);

/* Report a rule that an option breaks; poison. */
pleat_tensor *pln_refuse_loss(const pleat_tensor *x, const char *loss, const char *rule);
/* The poison of either's context. */
pleat_tensor *pln_no_loss(const pleat_tensor *x, const pleat_tensor *target);

/* The mean or the sum of the items' losses, or these themselves. */
pleat_tensor *pln_reduce(const char *loss, pleat_tensor *items, pleat_nn_reduction how);

#endif

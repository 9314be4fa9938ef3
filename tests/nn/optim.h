/* optim.h: what the parts of test_optim share: the fixture, and the small network whose training PyTorch recorded. */
#ifndef OPTIM_H
#define OPTIM_H

#include "oracle.h"
#include "pleat_nn.h"
#include "tensors.h"

enum { PARAMS = 9 }; /* scalars of the network */

extern oracle *torch;
void optim_begin(void);
void optim_end(void);

/* The array NAME.WHAT of optim.txt; NAME alone if what is NULL. */
const oracle_array *need(const char *name, const char *what);

/* The network at its start. The caller frees it. */
pleat_nn_module *small_net(pleat_dtype dtype);
/* Its parameters, one behind the other, into values[PARAMS]. */
void read_params(pleat_nn_module *net, double *values);
/* Its loss on the fixture's data. */
pleat_tensor *small_loss(pleat_nn_module *net);

/* A function that makes an optimizer for `net`. */
#define OPTIMIZER(name, expression) \
    static pleat_nn_optimizer *name(pleat_nn_module *net) { return expression; }

#endif

/* lifeline.h: a connection of each rank with rank 0 that carries nothing: it ends when a process does. So a death is
 * known at once, whatever the ranks are doing, and whatever MPI makes of it. */
#ifndef PLN_LIFELINE_H
#define PLN_LIFELINE_H

#include "mpi/world.h"

/* A thread that watches, and sets w->lost or w->gone. NULL where ranks cannot connect: then a death is silence. Every rank
 * must call it. */
pln_lifeline *pln_lifeline_new(pleat_nn_world *w);
/* Tells the others that this rank leaves in good order. */
void pln_lifeline_free(pln_lifeline *l);

#endif

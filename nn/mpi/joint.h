/* joint.h: sums over the micro-batches of a step in the middle of it, while all of them are computed in lockstep. */
#ifndef PLN_JOINT_H
#define PLN_JOINT_H

#include "accumulate.h"
#include "mpi/world.h"

typedef struct pln_joint {
    pleat_ctx *ctx;
    pleat_nn_world *w; /* or NULL */
    pln_node block;    /* this rank's micro-batches, of */
    size_t all;
    /* of the sum that is running */
    size_t n, element; /* elements of each micro-batch, and bytes of one */
    size_t arrived;
    char *rows, *sum;      /* [all][n]; and the last sum, until all have taken it */
    size_t room, sum_room; /* bytes */
    bool failed;           /* a rank has said so; `over`: all ranks know that there are no more sums */
    bool over;
} pln_joint;

/* t's sum over all micro-batches, for each of them; linear, and its gradient is the same sum of the cotangents. Within
 * pleat_lockstep, in which each micro-batch of the block must call it in the same order with the same shape. */
pleat_tensor *pln_joint_sum(pln_joint *j, pleat_tensor *t);
/* This rank's micro-batches are done, or have failed. A rank without any follows the others until they are. With an error on
 * another rank *echo is true where the status is an error of this one only because of it. */
pleat_status pln_joint_end(pln_joint *j, pleat_status status, bool *echo);
void pln_joint_free(pln_joint *j);

#endif

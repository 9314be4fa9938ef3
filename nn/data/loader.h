/* loader.h: batches in parts, for runs that are cut into micro-batches. */
#ifndef PLN_LOADER_H
#define PLN_LOADER_H

#include "accumulate.h"

/* Of each batch, cut into micro-batches of `micro` items, a loader makes the block that rank `rank` of `ranks` owns
 * (pln_block). micro 0: all of it. */
typedef struct pln_dealing {
    size_t micro, rank, ranks;
} pln_dealing;

/* From the next epoch on. */
void pln_loader_deal(pleat_nn_loader *l, pln_dealing dealing);
/* Items at..at+n-1 of a batch of l: views, valid as long as b. */
pleat_nn_batch pln_loader_cut(const pleat_nn_loader *l, const pleat_nn_batch *b, size_t at, size_t n);
/* What must be the same on all ranks: a hash of the number of items, of the fields, and of their elements where they are in
 * memory. */
uint64_t pln_loader_hash(const pleat_nn_loader *l);

#endif

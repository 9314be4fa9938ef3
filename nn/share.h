/* share.h: of a share, for fit. */
#ifndef PLN_SHARE_H
#define PLN_SHARE_H

#include "pleat_nn.h"

/* Items of a micro-batch. */
size_t pln_share_micro(const pleat_nn_share *s);
/* This rank is to stop, behind a step at which all ranks can: from then on pln_share_stopped is true on all of them. */
void pln_share_stop(pleat_nn_share *s);
bool pln_share_stopped(const pleat_nn_share *s);
/* The stream of random numbers of micro-batch, or batch, m of a step that has drawn `key` from the context's stream. */
pleat_rng pln_share_stream(uint64_t key, size_t m);
uint64_t pln_share_draw(pleat_ctx *ctx);

#endif

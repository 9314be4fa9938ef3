/* world.h: what ranks say to each other. Nothing here knows MPI but mpi.c, which is a transport; another one
 * is in the tests, with a thread for each rank. */
#ifndef PLN_WORLD_H
#define PLN_WORLD_H

#include <stdatomic.h>

#include "accumulate.h"
#include "pleat_nn.h"

/* ---- transport ------------------------------------------------------------------------------------------ */

/* Messages between two ranks with equal tags arrive in the order in which they were sent. */
typedef struct pln_transport {
    void *self;
    size_t rank, size;
    /* Begin to send or receive; the memory must stay. The result is the request, or NULL after an error. */
    void *(*send)(void *self, const void *data, size_t bytes, size_t to, int tag);
    void *(*receive)(void *self, void *data, size_t bytes, size_t from, int tag);
    /* 1: the request is done, and freed; 0: not yet; -1: it failed. */
    int (*test)(void *self, void *request);
    /* broken: a rank was lost, and requests may be open */
    void (*end)(void *self, bool broken);
} pln_transport;

/* Fill *t: by MPI if the process was started by a launcher, else a world of one rank, without functions. */
pleat_status pln_mpi_start(pleat_ctx *ctx, pln_transport *t);

/* ---- world ---------------------------------------------------------------------------------------------- */

typedef struct pln_request pln_request;
typedef struct pln_lifeline pln_lifeline;

typedef struct pln_rank_text {
    char text[64];
} pln_rank_text;

struct pleat_nn_world {
    pleat_ctx *ctx;
    pln_transport t;
    pln_lifeline *line; /* or NULL */
    double timeout;
    FILE *messages;
    size_t bucket, check;     /* bucket 0: the exchange chooses */
    atomic_size_t lost, gone; /* a rank + 1 that has died, or has left in good order, as the lifeline says */
    atomic_bool waits;        /* this rank waits for others, and has done so for a part of the timeout */
    _Atomic uint32_t *heard;  /* [size] when rank r last said that it waits, by pln_milliseconds; 0: never */
    atomic_bool said;         /* the line about a lost rank is written, or it is for another rank to do so */
    bool broken;              /* a rank was lost; nothing is sent any more */
    bool told;                /* the context's error is that of all ranks */
    pln_rank_text *name;      /* [size] "process 123 on host" */
    size_t *bytes;            /* [size], for pln_gather */
    pln_request *request;     /* [2 size], done between two calls */
    pleat_nn_traffic traffic;
};

enum { PLN_TAG_GATHER = 1, PLN_TAG_BROADCAST, PLN_TAG_GRADIENTS };

/* One message. */
struct pln_request {
    void *handle; /* NULL: done, or never begun */
    size_t peer;
    bool receiving;
};

/* A world of one transport; takes t over. NULL after an error. */
pleat_nn_world *pln_world_over(pleat_nn_world_args args, pln_transport t);

pleat_status pln_send(pleat_nn_world *w, pln_request *r, const void *data, size_t bytes, size_t to, int tag);
pleat_status pln_receive(pleat_nn_world *w, pln_request *r, void *data, size_t bytes, size_t from, int tag);
/* Look which of the n requests are done. Adds to *open the number of those that are not, and sets *peer, if it is
 * SIZE_MAX, to a rank that is waited for, rather one that should send. */
pleat_status pln_test(pleat_nn_world *w, size_t n, pln_request *r, size_t *open, size_t *peer);
/* Call `look` until it finds nothing open; `what` is waited for. An error if a rank is lost meanwhile. */
typedef pleat_status pln_look(void *arg, size_t *open, size_t *peer);
pleat_status pln_wait_until(pleat_nn_world *w, pln_look *look, void *arg, const char *what);
/* The rank is lost: nothing works from here on. Writes the world's line, if it is for this rank to do so. */
pleat_status pln_lose(pleat_nn_world *w, size_t rank, const char *why);
/* PLEAT_OK, or the error of a world that has lost a rank. */
pleat_status pln_check_lost(const pleat_nn_world *w);
/* The line alone; from any thread. */
void pln_say_lost(pleat_nn_world *w, size_t rank, const char *why);
double pln_now(void);            /* seconds, monotonic */
uint32_t pln_milliseconds(void); /* the same, modulo 2^32, never 0 */

/* all[offset of rank r] = what rank r has, bytes[r] of them, for all r; `mine` may be in its place. */
pleat_status pln_gather(pleat_nn_world *w, const void *mine, void *all, const size_t *bytes);
/* The same with equal sizes. */
pleat_status pln_gather_equal(pleat_nn_world *w, const void *mine, void *all, size_t bytes);
/* Of n rows of `bytes` bytes each rank has those of its block (pln_block), in their place; then all have all. */
pleat_status pln_gather_blocks(pleat_nn_world *w, void *rows, size_t bytes, size_t n);
/* Rank 0's bytes for all. */
pleat_status pln_broadcast(pleat_nn_world *w, void *data, size_t bytes);
/* The error of the lowest rank that has one, with its text, for all; every rank must call it. With one rank, or after a loss,
 * `mine`. */
pleat_status pln_agree(pleat_nn_world *w, pleat_status mine);

/* ---- the sum of gradients over all ranks ---------------------------------------------------------------- */

typedef struct pln_exchange pln_exchange;

/* n tensors like these; NULL after an error. */
pln_exchange *pln_exchange_new(pleat_nn_world *w, size_t n, pleat_tensor *const *like);
void pln_exchange_free(pln_exchange *x);
/* Begin a step of `all` micro-batches. */
pleat_status pln_exchange_begin(pln_exchange *x, size_t all);
/* Tensor i of this rank's nodes is complete: nodes[k], in the order of the micro-batches. Buckets that are
 * complete leave. Copies. */
pleat_status pln_exchange_put(pln_exchange *x, size_t i, size_t n, pleat_tensor *const *nodes);
/* This rank has nothing more to give, after an error perhaps: what is missing leaves as it is. */
pleat_status pln_exchange_close(pln_exchange *x);
/* Wait for the sums, and write sum i to to[i]. */
pleat_status pln_exchange_end(pln_exchange *x, pleat_tensor *const *to);

#endif

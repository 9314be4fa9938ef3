/* Messages by MPI: the one file that knows it. Of MPI's many verbs five are enough. */
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>

#include "mpi/world.h"

static const char op[] = "world";

/* A request; MPI_Request is a number in one library and a pointer in another. */
typedef struct request {
    MPI_Request mpi;
    struct request *next; /* of those that are free */
} request;

typedef struct link {
    MPI_Comm comm;
    bool ours; /* started here */
    request *unused;
} link;

static request *take(link *l) {
    request *r = l->unused;
    if (r)
        l->unused = r->next;
    else
        r = malloc(sizeof *r);
    return r;
}

static void give(link *l, request *r) {
    r->next = l->unused;
    l->unused = r;
}

static void *begun(link *l, request *r, int error) {
    if (error == MPI_SUCCESS) return r;
    give(l, r);
    return NULL;
}

static void *send(void *self, const void *data, size_t bytes, size_t to, int tag) {
    link *l = self;
    request *r = bytes <= INT_MAX ? take(l) : NULL;
    return r ? begun(l, r, MPI_Isend(data, (int)bytes, MPI_BYTE, (int)to, tag, l->comm, &r->mpi)) : NULL;
}

static void *receive(void *self, void *data, size_t bytes, size_t from, int tag) {
    link *l = self;
    request *r = bytes <= INT_MAX ? take(l) : NULL;
    return r ? begun(l, r, MPI_Irecv(data, (int)bytes, MPI_BYTE, (int)from, tag, l->comm, &r->mpi)) : NULL;
}

static int test(void *self, void *handle) {
    request *r = handle;
    int done = 0, error = MPI_Test(&r->mpi, &done, MPI_STATUS_IGNORE);
    if (error != MPI_SUCCESS) done = -1;
    if (done) give(self, r);
    return done;
}

/* After a loss the processes that are left cannot end in order: MPI_Finalize waits for all. */
static void end(void *self, bool broken) {
    link *l = self;
    if (broken && l->ours) MPI_Abort(l->comm, 1);
    if (!broken) MPI_Comm_free(&l->comm);
    if (!broken && l->ours) MPI_Finalize();
    while (l->unused) {
        request *next = l->unused->next;
        free(l->unused);
        l->unused = next;
    }
    free(l);
}

/* What the launchers of OpenMPI, MPICH, Intel MPI and Slurm leave in the environment. MPI_Init without one of them would
 * start a daemon for a single process. */
static bool was_launched(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_FD",
                                        "PMI_SIZE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i])) return true;
    return false;
}

pleat_status pln_mpi_start(pleat_ctx *ctx, pln_transport *t) {
    int started = 0, ended = 0, provided = 0, rank = 0, size = 1;
    *t = (pln_transport){.size = 1};
    MPI_Initialized(&started);
    MPI_Finalized(&ended);
    if (!started && !was_launched()) return PLEAT_OK;
    if (ended)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "MPI has ended in this process, and starts once only");
    link *l = calloc(1, sizeof *l);
    if (!l) return pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory");
    l->ours = !started;
    if (!started && MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
        free(l);
        return pleat_fail(ctx, PLEAT_ERR_IO, op, "MPI_Init_thread has failed");
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &l->comm);
    MPI_Comm_set_errhandler(l->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(l->comm, &rank);
    MPI_Comm_size(l->comm, &size);
    *t = (pln_transport){l, (size_t)rank, (size_t)size, send, receive, test, end};
    return PLEAT_OK;
}

/* io_faults.h: lets calls of the system's functions for files fail, be interrupted or do less than was asked, in the calling thread:
 * those that the library makes, and those that libpng, zlib and libzip make. */
#ifndef IO_FAULTS_H
#define IO_FAULTS_H

#include <stddef.h>

typedef enum io_fault {
    IO_NONE,      /* calls are only counted */
    IO_ERROR,     /* the call fails: EIO, for writes ENOSPC, for files that are opened EMFILE */
    IO_ERRORS,    /* and so do all calls after it */
    IO_INTERRUPT, /* the call fails with EINTR, where a signal can do that; close has closed, as on Linux */
    IO_SHORT,     /* reads and writes do about half */
    IO_SHORTS,    /* and so do all calls after it */
    IO_FAULTS,
} io_fault;

/* From now on, the n-th call (the first is 1) has that fault. */
void io_start(io_fault fault, size_t n);
/* Back to normal. Returns the calls since the start. */
size_t io_stop(void);
/* Calls that were disturbed since the start. */
size_t io_disturbed(void);
/* Open descriptors of the process. */
size_t io_descriptors(void);

#endif

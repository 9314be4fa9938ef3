/* NumPy's array format on streams, for .npy files and for the entries of .npz archives. */
#ifndef PLN_NPY_H
#define PLN_NPY_H

#include "pleat_nn_data.h"

/* A source of bytes. read returns fewer than requested only at the end or after a failure. */
typedef struct pln_stream {
    size_t (*read)(void *user, void *to, size_t n);
    pleat_status (*failure)(void *user, const char **why); /* why it failed; PLEAT_OK if it did not */
    void *user;
} pln_stream;

/* Read an array that extends to the end of the stream. Errors are of `op` and mention `name`. Memory grows
 * with the data. */
pleat_tensor *pln_read_npy(pleat_ctx *ctx, const char *op, const char *name, pln_stream in);

/* t, contiguous and not poison, as version 1.0. */
bool pln_write_npy(pleat_tensor *t, FILE *f);

#endif

/* NumPy's array format on streams: what .npy files and the entries of .npz archives share. */
#ifndef PLN_NPY_H
#define PLN_NPY_H

#include "pleat_nn_data.h"

/* Where bytes come from. read gives fewer than asked only at the end, or if it failed. */
typedef struct pln_stream {
    size_t (*read)(void *user, void *to, size_t n);
    pleat_status (*failure)(void *user, const char **why); /* why it failed; PLEAT_OK if it did not */
    void *user;
} pln_stream;

/* An array that fills the stream to its end; errors are of `op` and name `name`. Memory grows with what has been read. */
pleat_tensor *pln_read_npy(pleat_ctx *ctx, const char *op, const char *name, pln_stream in);

/* t, contiguous and not poison, as version 1.0. */
bool pln_write_npy(pleat_tensor *t, FILE *f);

#endif

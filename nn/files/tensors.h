/* Named tensors and notes as a safetensors file: what parameters' files and checkpoints share. */
#ifndef PLN_TENSORS_H
#define PLN_TENSORS_H

#include "pleat_nn.h"

struct cJSON;

/* A tensor with its place in a file. */
typedef struct pln_named {
    char name[256];
    pleat_tensor
        *t; /* to write; or to read into. NULL: reading, a matrix of f64 of any size, if the file has one */
    bool whole;    /* of whole numbers: I64 in the file */
    bool optional; /* the file may lack it */

    /* the reader's and writer's own */
    const struct cJSON *json; /* what the file says about it */
    size_t begin, end;        /* its bytes, counted from the end of the header */
    size_t rank, shape[PLEAT_MAX_RANK];
    pleat_tensor *fresh; /* what was read */
    size_t order;        /* among the named */
} pln_named;

/* A text with a name, in the file's metadata. */
typedef struct pln_text {
    const char *key, *text;
} pln_text;

/* Set the first members, the rest is zero. pln_tensors_close frees what the others leave behind. */
typedef struct pln_tensors {
    pleat_ctx *ctx;
    const char *op, *path;
    const char *whose; /* "the network": in "the network has no ..." */
    size_t n;
    pln_named *named;
    size_t texts; /* to write */
    const pln_text *text;

    size_t bytes; /* of all elements */
    FILE *f;
    struct cJSON *root;
} pln_tensors;

/* Was this built with cJSON? If not, an error says so. */
pleat_status pln_tensors_are_there(pleat_ctx *ctx, const char *op);

/* Write all, in the order given. Names must be unique and must not be "__metadata__". */
pleat_status pln_tensors_write(pln_tensors *s);

/* Read and check everything into named[].fresh, tensors of the innermost scope (NULL where an optional one is missing). Whatever the
 * file has, and only that, must be named; types and shapes must be the same. No tensor has changed. Sorts named by place: put them
 * back into order by pln_tensors_find. */
pleat_status pln_tensors_read(pln_tensors *s);
/* The text of that name in the file that was read, or NULL; until close. */
const char *pln_tensors_text(const pln_tensors *s, const char *key);
/* Copy what was read into the tensors. */
pleat_status pln_tensors_assign(pln_tensors *s);
void pln_tensors_close(pln_tensors *s);

#endif

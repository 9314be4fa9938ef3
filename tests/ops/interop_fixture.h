/* interop_fixture.h: layers as a framework computed or refused them, read from the text that oracle/README.md
 * describes. */
#ifndef INTEROP_FIXTURE_H
#define INTEROP_FIXTURE_H

#include <stdio.h>

#include "frameworks/pleat_frameworks.h"
#include "oracle.h"

typedef struct layer_case {
    char name[64], line[800];
    pleat_layer layer;
    size_t x[4], w[4]; /* the shapes of the input and the weight, in the framework's layout */
    bool bias, whole, doubles, legal;
    size_t count;
    oracle_array arrays[8];
} layer_case;

typedef struct layer_file {
    FILE *f;
    char path[4096], *line; /* the line that was read last */
    size_t room;
} layer_file;

/* Open a file of the folder PLEAT_FIXTURES if the environment names one, or of PLEAT_ORACLE_DIR. */
bool layer_file_open(layer_file *f, const char *name);
/* The next case, or false behind the last. What cannot be read is an error: *wrong says what, and is NULL otherwise. */
bool layer_file_next(layer_file *f, layer_case *c, const char **wrong);
void layer_file_close(layer_file *f);

void layer_case_free(layer_case *c);
/* An array of the case, or NULL. */
const oracle_array *layer_case_array(const layer_case *c, const char *name);
/* The two spatial sizes of the input and of the kernel. */
const size_t *layer_case_in(const layer_case *c);
const size_t *layer_case_kernel(const layer_case *c);

#endif

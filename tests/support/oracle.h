/* oracle.h: arrays that another implementation computed, read from a text file in PLEAT_ORACLE_DIR. A line is an array:
 * its name, its rank, its sizes, a colon, its values in row-major order:
 *     conv2d.0.weight 4 1 1 2 2 : 0.5 -1 2.25 1e-3
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "pleat.h"

typedef struct oracle_array {
    char name[64];
    size_t rank, shape[PLEAT_MAX_RANK], numel;
    double *values;
} oracle_array;

typedef struct oracle {
    size_t count;
    oracle_array *arrays;
} oracle;

/* The file's arrays, or NULL after a line on stderr that says what is wrong. The caller frees it. */
oracle *oracle_read(const char *file);
void oracle_free(oracle *o);

/* One line into *a: what is wrong with it, or NULL. The caller frees a->values. */
const char *oracle_parse(char *line, oracle_array *a);

/* The array of that name, in printf's manner, or NULL. */
const oracle_array *oracle_find(const oracle *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A tensor with an array's values. */
pleat_tensor *oracle_tensor(pleat_ctx *ctx, pleat_dtype dtype, const oracle_array *a);

/* The largest |t - a|, relative to the largest |a| or 1, whichever is more; infinite if the shapes differ or a value
 * is not a number. */
double oracle_error(const oracle_array *a, const pleat_tensor *t);

#endif

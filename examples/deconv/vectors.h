/* vectors.h: what the kinds of golden vectors share: the command (vectors.c), the folder that appears whole
 * (vectors_folder.c), the lines of the manifest (vectors_manifest.c). */
#ifndef VECTORS_H
#define VECTORS_H

#include "cases.h"

typedef struct vector_job vector_job;

/* What is written for a layer: 0, or an exit status after one line on standard error. */
typedef int vector_writer(const vector_job *j, const vector_case *c, size_t index);
extern vector_writer write_floats, write_integers, write_onnx;

struct vector_job {
    pleat_framework framework;
    bool transpose, integers;
    size_t range; /* of integers: -range..range */
    pleat_dtype dtype;
    int bits; /* of quantised layers: 8 or 16 */
    size_t count, seed;
    const char *output;
    char *target, *folder; /* the folder's place, and where it is until it is whole */
    FILE *manifest;
    pleat_ctx *ctx;
    vector_writer *write;
};

/* ---- the folder (vectors_folder.c) ------------------------------------------------------------------------ */

/* The folder must be new or empty. */
int check_folder(const char *path);
/* Write all layers of the list, and put the folder in its place. */
int write_folder(vector_job *j, const case_list *list);
/* A file of the folder, named as by printf, for writing; NULL with errno. close_file is false if anything of
 * it was lost. */
FILE *open_file(const vector_job *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool close_file(FILE *f);
bool make_subfolder(const vector_job *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
int cannot_write(const vector_job *j);

/* ---- values (vectors.c) ----------------------------------------------------------------------------------- */

/* The shapes of an image of the layer, and of its weight, in the framework's layout. */
void image_shape(const pleat_layer *l, size_t N, size_t channels, const size_t size[2], size_t shape[4]);
void weight_shape(const vector_case *c, size_t shape[4]);
/* Input, weight, bias, output, a gradient of the output and the gradients that follow, by all methods. NULL, or
 * the reason why there are none. */
enum { FLOAT_ARRAYS = 8 };
const char *compute_floats(const vector_job *j, const vector_case *c, size_t index,
                           pleat_tensor *arrays[FLOAT_ARRAYS]);
/* The random stream of a layer's values. */
pleat_rng values_rng(const vector_job *j, size_t index);

/* ---- the manifest (vectors_manifest.c) -------------------------------------------------------------------- */

/* A line is begun, continued by the caller with members ", \"name\": value", and ended with the arrays, whose files
 * are NNNN_NAME.npy, or not told. */
void begin_line(const vector_job *j, const vector_case *c, size_t index, const char *dtype,
                const char *more_options);
void put_sizes(FILE *f, const char *name, const size_t *sizes, size_t n);
void put_word(FILE *f, const char *name, const char *word);
void end_line(const vector_job *j, size_t index, size_t n, const char *const *names,
              pleat_tensor *const *arrays, bool files);

#endif

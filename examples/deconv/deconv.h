/* deconv.h: what the commands of the program share. */
#ifndef DECONV_H
#define DECONV_H

#include <stdio.h>

#include "guess.h"
#include "pleat_frameworks.h"
#include "pleat_nn.h"

/* A command: `deconv NAME ...`. run gets the arguments behind the name and returns the exit status. */
typedef struct command {
    const char *name, *summary; /* summary: one line of `deconv --help` */
    const char *help;           /* the text of `deconv NAME --help` */
    int (*run)(int argc, char **argv);
} command;

extern const command run_command, translate_command, explain_command, vectors_command, compare_command,
    disagree_command;

/* Exit statuses. */
enum { EXIT_FINE = 0, EXIT_DIFFERENT = 1, EXIT_IO = 1, EXIT_USAGE = 2 };

/* Has whoever reads standard output stopped? As other programs do, we say nothing then. */
bool reader_is_gone(void);
/* One line on standard error, "deconv NAME: ...", and `status` as the result. */
int complain(int status, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "NAME TEXT: it must be FORM", and the word that was meant, if it is clear: EXIT_USAGE. A NULL ends the
 * words. */
int refuse_word(const char *of, const char *name, const char *text, const char *form,
                const char *const *words);

/* ---- arguments (arguments.c) ------------------------------------------------------------------------------ */

/* A layer as it is given on the command line, in the framework's own words, and which words were given. */
typedef struct layer_arguments {
    pleat_layer layer;
    size_t kernel[2], input[2]; /* --kernel, --input-size: for commands without arrays; 0: not given */
    size_t channels[2];         /* --channels IN,OUT; default 1,1 */
} layer_arguments;

extern const char *const framework_words[]; /* the four, and NULL */

/* A word of a command beyond those of the layer. */
typedef struct text_option {
    const char *name;   /* "--input"; without dashes it is an operand, "A.npy", taken in the table's order */
    const char **value; /* NULL beforehand; for a flag (no argument) it becomes the name */
    bool flag;
} text_option;

/* Read argv: the framework's own options into `out`, the command's into `options`. Everything else is
 * refused, also a word of another framework. Returns 0, or EXIT_USAGE after one line on standard error.
 * framework_option is "--framework" or "--from". A row of `options` with NULL for `value` makes a word of the
 * layer unknown to this command. */
int read_arguments(const char *name, const char *framework_option, int argc, char **argv,
                   layer_arguments *out, const text_option *options, size_t count);

/* The same for a command without a layer: `options` are all it has. */
int read_words(const char *name, int argc, char **argv, const text_option *options, size_t count);

/* The layer in its framework's words: "--stride 2,2 --padding 1,1", for printing; read_arguments takes them
 * back. A convolution begins with "--op conv". Returns buffer. */
char *layer_words(const pleat_layer *l, char *buffer, size_t bytes);

/* A whole number, or a pair "H,W" or "HxW" (one number serves both); false if the text is anything else, text
 * behind it included. */
bool read_count(const char *text, size_t *out);
bool read_pair(const char *text, size_t out[2]);

/* ---- methods (methods.c) ---------------------------------------------------------------------------------- */

/* Four ways to compute the three operators of the family, which share no inner loop. Arrays are canonical:
 * x [N,C,H,W], w [O,C/G,R,S], y [N,O,P,Q]. */
typedef struct method {
    const char *name, *summary; /* "phase" */
    bool (*conv2d)(const pleat_conv_shape *g, pleat_dtype dtype, const void *x, const void *w, void *y);
    bool (*transpose)(const pleat_conv_shape *g, pleat_dtype dtype, const void *y, const void *w, void *x);
    bool (*weight)(const pleat_conv_shape *g, pleat_dtype dtype, const void *x, const void *y, void *w);
    /* multiply-adds of the transpose, zeros and all */
    double (*transpose_macs)(const pleat_conv_shape *g);
} method; /* the functions return false when memory is short */

enum { METHODS = 4 };
extern const method methods[METHODS]; /* gemm, phase, zero-insertion, scatter */
const method *find_method(const char *name);

/* ---- layers (layer.c) ------------------------------------------------------------------------------------- */

/* The layer by a method, on arrays in the framework's layouts: its result and, for a cotangent of the result,
 * the gradients (NULL without grad_output). bias may be NULL; grad_bias is then the gradient of a bias of
 * zeros. Poison tensors and an error in the context on failure. */
typedef struct layer_result {
    pleat_tensor *output, *grad_input, *grad_weight, *grad_bias;
} layer_result;
layer_result run_layer(const pleat_layer *l, const method *m, pleat_tensor *input, pleat_tensor *weight,
                       pleat_tensor *bias, pleat_tensor *grad_output);

#endif

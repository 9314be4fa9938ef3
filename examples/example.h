/* What the training examples share: options, data, a training run in a folder, a report, and an orderly end.
 *
 *     int main(int argc, char **argv) {
 *         example e = {.name = "vae", .epochs = 10, .batch = 64, .lr = 1e-3};
 *         example_options(&e, "What it does.", rows, count, argc, argv);      // ends the program after --help
 *         if (!example_begin(&e)) ...                                         // context, folder, data, loaders
 *         return example_end(&e);
 *     }
 */
#ifndef EXAMPLES_EXAMPLE_H
#define EXAMPLES_EXAMPLE_H

#include "options.h"
#include "pleat_nn.h"

enum { EXAMPLE_SIDE = 28, EXAMPLE_PATH = 4200 };

typedef struct example {
    const char *name; /* of the program and of its parameters' file */

    /* the options that all have; set the defaults before example_options */
    const char *data, *out, *load, *export;
    size_t epochs, batch, limit, seed, threads, micro;
    double lr, timeout;
    bool resume;

    char command[1024];           /* as it was typed, for a shell */
    char options[1024];           /* all that decide the result, in a line: "--batch 64 --lr 0.001 ..." */
    pleat_nn_transform transform; /* of the training images; set it before example_begin */
    pleat_ctx *ctx;
    pleat_nn_world *world; /* the ranks of mpirun; without it, this process */
    pleat_nn_images train, test;
    pleat_nn_loader *train_loader, *test_loader;
    pleat_nn_run run;
} example;

/* Read the command line: the options above and `count` of the program's own. */
void example_options(example *e, const char *about, const option_row *own, size_t count, int argc,
                     char **argv);

/* The context, the folder for the results, images of 28x28 grey pixels with labels, and loaders. On an error,
 * ctx is NULL or holds it. */
bool example_begin(example *e);

/* Names of the classes, or NULL if they are not known. */
const char *const *example_class_names(const example *e);

/* Take up --load's parameters, if there are any; before an ema is made of them. False after an error. */
bool example_load(const example *e, pleat_nn_module *net);

/* Train with fit's options, to which folder, epochs, loaders, options and progress are added. False if there
 * is nothing to show: an error, or Ctrl-C. */
bool example_fit(example *e, pleat_nn_fit_args args);

/* "out/NAME" in a buffer of EXAMPLE_PATH characters. Returns the buffer. */
char *example_path(const example *e, const char *name, char *buffer);

/* A report with title, and the command, its date and its machine; NULL after an error. */
pleat_nn_report *example_report(const example *e, const char *title, const char *about);
/* Write it as report.html, free it, and say so. */
void example_write_report(const example *e, pleat_nn_report *report);
/* Images in so many columns, each pixel scale pixels wide. */
typedef struct example_grid {
    pleat_tensor *images;
    size_t columns, scale;
} example_grid;

/* Write a picture as out/NAME, and say so, and what it is; or that the library can write none. */
void example_picture(const example *e, const char *name, const char *what, const example_grid *g);
/* Save net as out/EXAMPLE.safetensors, and say so; or that the library can write none. */
void example_save(const example *e, const pleat_nn_module *net);

/* Write net, or a part of it, as the ONNX model of --export, if there is one; it is in evaluation then. */
void example_export(const example *e, pleat_nn_module *net, size_t rank, const size_t *shape);

/* Free what example_begin made (networks must be gone), report the first error on standard error. Returns the
 * exit status: 0, 1 after an error, 130 after Ctrl-C. */
int example_end(example *e);

#endif

/* pleat: ONNX models at the command line. They are shown, run, and written as one C file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guess.h"
#include "options.h"
#include "pleat_nn.h"

enum { FINE, FAILED, MISTAKE };

/* A command is given the model's context and path, and its own options; argv[0] is no option. */
typedef struct command {
    const char *name, *synopsis, *summary;
    int (*run)(pleat_ctx *ctx, const char *path, int argc, char **argv);
} command;

static int complain(int status, const char *what, const char *why) {
    fprintf(stderr, "pleat: %s%s%s\n", what, *what && *why ? ": " : "", why);
    return status;
}

static int failed(pleat_ctx *ctx) { return complain(FAILED, "", pleat_error(ctx)->text); }

/* ---- options ------------------------------------------------------------------------------------------------------ */

/* "1x3x32x32"; false if it is none. */
static bool read_shape(const char *text, size_t *rank, size_t *shape) {
    for (*rank = 0; *text && *rank < PLEAT_MAX_RANK; text += *text == 'x') {
        char *end;
        if (*text < '0' || *text > '9') return false;
        shape[(*rank)++] = strtoul(text, &end, 10);
        if (*end && (*end != 'x' || !end[1])) return false;
        text = end;
    }
    return *rank > 0 && !*text;
}

/* "8K", "1M", "8192"; false if it is none. */
static bool read_bytes(const char *text, size_t *bytes) {
    char *end;
    if (!text) return true;
    if (*text < '0' || *text > '9') return false;
    unsigned long long n = strtoull(text, &end, 10);
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
    if (end[shift != 0] || n > SIZE_MAX >> shift) return false;
    *bytes = (size_t)n << shift;
    return true;
}

static int bad_shape(const char *text) {
    return complain(MISTAKE, text ? text : "--shape is missing", "a shape is written as 1x3x32x32");
}

/* ---- commands ----------------------------------------------------------------------------------------------------- */

static void list_names(const pleat_nn_module *net, const char *what,
                       const char *(*name)(const pleat_nn_module *, size_t)) {
    printf("%s:", what);
    for (size_t i = 0; name(net, i); i++) printf(" %s", name(net, i));
    putchar('\n');
}

static void list_state(const pleat_nn_module *net) {
    char text[256];
    size_t numbers = 0;
    for (size_t i = 0; i < pleat_nn_state_count(net); i++) {
        const pleat_tensor *t = pleat_nn_state(net, i);
        printf("  %-40s [", pleat_nn_state_name(net, i, text, sizeof text));
        for (size_t k = 0; k < pleat_rank(t); k++) printf("%s%zu", k ? "," : "", pleat_shape(t)[k]);
        puts("]");
        numbers += pleat_numel(t);
    }
    printf("%zu numbers. --shape 1x3x32x32, the input's, shows layers and multiply-adds.\n", numbers);
}

static int show(pleat_ctx *ctx, const char *path, int argc, char **argv) {
    const char *text = NULL;
    const option_row rows[] = {
        {"shape", "NxCxHxW", "of the input: layers, parameters, multiply-adds", OPTION_TEXT, &text, 0, 0}};
    read_options(
        &(option_table){"pleat show MODEL.onnx",
                        "The names, parameters and layers of a model, or what of it is not supported.", rows,
                        1},
        argc, argv);
    size_t rank = 0, shape[PLEAT_MAX_RANK];
    if (text && !read_shape(text, &rank, shape)) return bad_shape(text);
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, path);
    if (!net) return failed(ctx);
    list_names(net, "inputs", pleat_nn_onnx_input), list_names(net, "outputs", pleat_nn_onnx_output);
    pleat_status status = PLEAT_OK;
    if (text)
        status = pleat_nn_summary(net, rank, shape, stdout);
    else
        list_state(net);
    pleat_nn_free(net);
    return status == PLEAT_OK ? FINE : failed(ctx);
}

static int run(pleat_ctx *ctx, const char *path, int argc, char **argv) {
    const char *input = NULL, *output = NULL;
    size_t threads = 1;
    const option_row rows[] = {
        {"input", "X.npy", "the input", OPTION_TEXT, &input, 0, 0},
        {"output", "Y.npy", "where to write the output; '-' is standard output", OPTION_TEXT, &output, 0, 0},
        {"threads", "N", "that an operator may use", OPTION_COUNT, &threads, 1, 1024}};
    read_options(
        &(option_table){"pleat run MODEL.onnx", "Runs a model of one input and one output.", rows, 3}, argc,
        argv);
    if (!input || !output) return complain(MISTAKE, input ? "--output" : "--input", "it is missing");
    pleat_set_threads(ctx, (int)threads);
    pleat_set_recording(ctx, false);
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, path);
    pleat_tensor *x = net ? pleat_nn_read_npy(ctx, input) : NULL;
    pleat_tensor *y = x ? pleat_nn_forward(net, x) : NULL;
    bool done = y && !pleat_is_poison(y) && pleat_nn_write_npy(output, y) == PLEAT_OK;
    pleat_nn_free(net);
    return done ? FINE : failed(ctx);
}

static int export_c(pleat_ctx *ctx, const char *path, int argc, char **argv) {
    const char *text = NULL, *output = NULL, *flash = NULL, *ram = NULL;
    size_t test = 0;
    const option_row rows[] = {
        {"shape", "NxCxHxW", "of the input", OPTION_TEXT, &text, 0, 0},
        {"output", "NET.c", "the file; NET.h is written beside it, and the function is NET_forward",
         OPTION_TEXT, &output, 0, 0},
        {"flash", "SIZE", "refuse if the constants are more: 32K, 1M", OPTION_TEXT, &flash, 0, 0},
        {"ram", "SIZE", "refuse if the arena is more: 8K", OPTION_TEXT, &ram, 0, 0},
        {"test", "N", "write NET_test.c, too: a program that returns 0 if N inputs give the right bits",
         OPTION_COUNT, &test, 1, 1000000}};
    read_options(&(option_table){"pleat export-c MODEL.onnx",
                                 "Writes a model as one C11 file, without heap and libm.", rows, 5},
                 argc, argv);
    pleat_nn_export_c_args a = {.path = output, .test = test};
    size_t shape[PLEAT_MAX_RANK];
    if (!text || !read_shape(text, &a.rank, shape)) return bad_shape(text);
    if (!read_bytes(flash, &a.flash) || !read_bytes(ram, &a.ram))
        return complain(MISTAKE, "--flash, --ram", "a size is written as 8192, 8K or 1M");
    if (!output) return complain(MISTAKE, "--output", "it is missing");
    a.shape = shape, a.m = pleat_nn_onnx_load(ctx, path);
    bool done = a.m && pleat_nn_export_c_with(a) == PLEAT_OK;
    pleat_nn_free(a.m);
    return done ? FINE : failed(ctx);
}

/* ---- which command ------------------------------------------------------------------------------------------------ */

static const command commands[] = {
    {"show", "MODEL.onnx [--shape 1x3x32x32]", "names, parameters, layers; what is not supported", show},
    {"run", "MODEL.onnx --input X.npy --output Y.npy", "run a model", run},
    {"export-c", "MODEL.onnx --shape 1x3x32x32 --output NET.c", "write a model as one C file", export_c},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(void) {
    puts("usage: pleat COMMAND MODEL.onnx [options]\n");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  pleat %-8s %s\n%17s%s\n", commands[i].name, commands[i].synopsis, "", commands[i].summary);
    puts(
        "\n'pleat COMMAND --help' says more. Exit status: 0 fine, 1 the model or a file is at fault, 2 the arguments are, told in one\n"
        "line on standard error.");
    return FINE;
}

static int unknown(const char *typed) {
    guess meant = {.typed = typed, .length = strlen(typed)};
    char question[80], text[200];
    for (size_t i = 0; i < COMMANDS; i++) guess_consider(&meant, commands[i].name);
    snprintf(text, sizeof text, "unknown command '%.60s'%s%s'pleat --help' lists them", typed,
             guess_question(&meant, question, sizeof question), guess_separator(&meant));
    return complain(MISTAKE, "", text);
}

static int with_model(const command *c, int argc, char **argv) {
    bool asks = argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"));
    if (argc < 3 || (argv[2][0] == '-' && !asks))
        return complain(MISTAKE, c->name, "the model is missing: pleat show model.onnx");
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    if (!ctx) return complain(FAILED, "", "no memory");
    int status = asks ? c->run(ctx, "", argc - 1, argv + 1) : c->run(ctx, argv[2], argc - 2, argv + 2);
    pleat_ctx_free(ctx);
    return status;
}

int main(int argc, char **argv) {
    int status = FINE;
    const command *c = NULL;
    for (size_t i = 0; i < COMMANDS && argc > 1; i++)
        if (!strcmp(argv[1], commands[i].name)) c = &commands[i];
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        status = argc < 2 ? complain(MISTAKE, "", "a command is missing; 'pleat --help' lists them") : help();
    else if (!strcmp(argv[1], "--version"))
        puts("pleat " PLEAT_VERSION);
    else
        status = c ? with_model(c, argc, argv) : unknown(argv[1]);
    if (fflush(stdout) || ferror(stdout)) return complain(FAILED, "", "cannot write standard output");
    return status;
}

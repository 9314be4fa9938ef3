/* deconv: transposed convolution as PyTorch, TensorFlow, ONNX and Keras compute it. Here: which command is meant. */
#define _POSIX_C_SOURCE 200809L

#include "deconv.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const command *const commands[] = {
    &run_command, &translate_command, &explain_command, &vectors_command, &compare_command, &disagree_command,
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static const char usage[] =
    "usage: deconv COMMAND [options]\n"
    "\n"
    "Transposed convolution (and convolution) as PyTorch, TensorFlow, ONNX and Keras compute it, each in its own\n"
    "arguments, sizes and layouts: values to compare an implementation with.\n"
    "\n";

static void print_help(void) {
    fputs(usage, stdout);
    for (size_t i = 0; i < COMMANDS; i++) printf("  %-11s %s\n", commands[i]->name, commands[i]->summary);
    puts(
        "\n'deconv COMMAND --help' says more. Exit status: 0 fine, 1 different or an I/O failure, 2 a mistake in the\n"
        "arguments or in a file, told in one line on standard error.");
}

static bool is_help(const char *text) { return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0; }

static const command *find_command(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i]->name) == 0) return commands[i];
    return NULL;
}

static int unknown(const char *name) {
    guess meant = {.typed = name, .length = strlen(name)};
    char question[80];
    guess_consider_all(&meant, (const char *const[]){"--help", "--version", NULL});
    for (size_t i = 0; i < COMMANDS; i++) guess_consider(&meant, commands[i]->name);
    return complain(EXIT_USAGE, "", "unknown command '%.60s'%s%s'deconv --help' lists them", name,
                    guess_question(&meant, question, sizeof question), guess_separator(&meant));
}

static int run_or_help(const command *c, int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        if (is_help(argv[i])) {
            fputs(c->help, stdout);
            return EXIT_FINE;
        }
    return c->run(argc, argv);
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) return complain(EXIT_USAGE, "", "a command is missing; 'deconv --help' lists them");
    if (is_help(argv[1]) || strcmp(argv[1], "help") == 0) {
        const command *about = argc > 2 ? find_command(argv[2]) : NULL;
        if (about) return fputs(about->help, stdout), EXIT_FINE;
        if (argc > 2) return unknown(argv[2]);
        print_help();
        return EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("deconv " PLEAT_VERSION);
        return EXIT_FINE;
    }
    const command *c = find_command(argv[1]);
    return c ? run_or_help(c, argc - 2, argv + 2) : unknown(argv[1]);
}

bool reader_is_gone(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0;
}

int main(int argc, char **argv) {
    /* whoever reads our output may stop early: that is a failed write, after which files must still be cleaned up */
    signal(SIGPIPE, SIG_IGN);
    int status = dispatch(argc, argv);
    if ((fflush(stdout) || ferror(stdout)) && status != EXIT_USAGE)
        return reader_is_gone() ? EXIT_IO : complain(EXIT_IO, "", "cannot write standard output");
    return status;
}

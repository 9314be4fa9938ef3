/* Command-line options of the examples: a table, from which both parsing and --help are made. */
#ifndef EXAMPLES_OPTIONS_H
#define EXAMPLES_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* What an option's argument is: any text; a whole number; a positive real number; none, it is a switch. */
typedef enum option_kind { OPTION_TEXT, OPTION_COUNT, OPTION_REAL, OPTION_SWITCH } option_kind;

typedef struct option_row {
    const char *name;     /* "epochs", given as --epochs N or --epochs=N */
    const char *argument; /* "N" */
    const char *help;     /* one line */
    option_kind kind;
    void *value;        /* const char **, size_t *, double * or bool *; holds the default beforehand */
    size_t least, most; /* of an OPTION_COUNT */
} option_row;

typedef struct option_table {
    const char *program, *about; /* about: what the program does, in a few lines */
    const option_row *rows;
    size_t count;
} option_table;

/* Reads argv into the rows' values. Ends the program: with status 0 after --help, and with status 2 and one
 * line on standard error for anything that is not in the table. */
void read_options(const option_table *table, int argc, char **argv);

#endif

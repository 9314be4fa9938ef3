#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guess.h"

_Noreturn static void usage(const option_table *t, const char *what, const char *right) {
    fprintf(stderr, "%s: ", t->program);
    for (; *what; what++)
        fputc((unsigned char)*what < ' ' || *what == 127 ? '?' : *what, stderr); /* one line */
    fprintf(stderr, "; %s\n", right);
    exit(2);
}

static void print_default(const option_row *r) {
    printf(" (default: ");
    if (r->kind == OPTION_COUNT) {
        printf("%zu", *(size_t *)r->value);
    } else if (r->kind == OPTION_REAL) {
        printf("%g", *(double *)r->value);
    } else {
        printf("%s", *(const char **)r->value == NULL ? "chosen by the program" : *(const char **)r->value);
    }
    printf(")");
}

_Noreturn static void help(const option_table *t) {
    printf("usage: %s [options]\n\n%s\n\n", t->program, t->about);
    for (size_t i = 0; i < t->count; i++) {
        const option_row *r = &t->rows[i];
        bool lone = r->kind == OPTION_SWITCH;
        int used = printf(lone ? "  --%s" : "  --%s %s", r->name, r->argument);
        printf("%*s%s", used < 20 ? 20 - used : 1, "", r->help);
        if (!lone) print_default(r);
        printf("\n");
    }
    printf("  --help            this text\n");
    exit(fflush(stdout) == 0 ? 0 : 1);
}

static void set_count(const option_table *t, const option_row *r, const char *text) {
    char *end, what[160], right[160];
    errno = 0;
    unsigned long long x = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0 && x >= r->least && x <= r->most) {
        *(size_t *)r->value = (size_t)x;
        return;
    }
    snprintf(what, sizeof what, "--%s %.60s", r->name, text);
    if (r->most == SIZE_MAX) {
        snprintf(right, sizeof right, "it must be a whole number, %zu or more", r->least);
    } else {
        snprintf(right, sizeof right, "it must be a whole number from %zu to %zu", r->least, r->most);
    }
    usage(t, what, right);
}

static void set_real(const option_table *t, const option_row *r, const char *text) {
    char *end, what[160];
    double x = strtod(text, &end);
    if (end != text && *end == 0 && isfinite(x) && x > 0) {
        *(double *)r->value = x;
        return;
    }
    snprintf(what, sizeof what, "--%s %.60s", r->name, text);
    usage(t, what, "it must be a number above 0, such as 0.001");
}

/* The row that `name` of `length` characters names. */
static const option_row *find(const option_table *t, const char *name, size_t length) {
    for (size_t i = 0; i < t->count; i++) {
        if (strlen(t->rows[i].name) == length && strncmp(t->rows[i].name, name, length) == 0)
            return &t->rows[i];
    }
    return NULL;
}

_Noreturn static void unknown(const option_table *t, const char *word) {
    guess meant = {.typed = word, .length = strcspn(word, "=")};
    char what[160], right[160], question[80], meant_word[80] = "";
    for (size_t i = 0; i < t->count; i++) guess_consider(&meant, t->rows[i].name);
    guess_consider(&meant, "help");
    if (meant.is != NULL) {
        snprintf(meant_word, sizeof meant_word, "--%s", meant.is);
        meant.is = meant_word;
    }
    snprintf(what, sizeof what, "unknown option '%.60s'", word);
    snprintf(right, sizeof right, "%s%s--help lists the options",
             guess_question(&meant, question, sizeof question), guess_separator(&meant));
    usage(t, what, right + 2);
}

void read_options(const option_table *t, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char what[160];
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) help(t);
        const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
        size_t length = strcspn(name, "=");
        const option_row *r = find(t, name, length);
        if (r == NULL) unknown(t, argv[i]);
        if (r->kind == OPTION_SWITCH) {
            snprintf(what, sizeof what, "--%s takes no argument", r->name);
            if (name[length] == '=') usage(t, what, "it is a switch");
            *(bool *)r->value = true;
            continue;
        }
        const char *value = name[length] == '=' ? name + length + 1 : i + 1 < argc ? argv[++i] : NULL;
        snprintf(what, sizeof what, "--%s stands alone", r->name);
        if (value == NULL) usage(t, what, "it takes an argument, as --help says");
        if (r->kind == OPTION_COUNT) {
            set_count(t, r, value);
        } else if (r->kind == OPTION_REAL) {
            set_real(t, r, value);
        } else {
            *(const char **)r->value = value;
        }
    }
}

/* Columns of a table of numbers as text. */
#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "files/numbers.h"

static const char op[] = "read_csv";

typedef struct table {
    pleat_ctx *ctx;
    const char *path;
    char *text, by;       /* by: the separator */
    bool header, *chosen; /* of each column */
    size_t columns;
} table;

typedef struct cell {
    const char *at;
    int n; /* characters */
} cell;

/* The cell at *at, without blanks and quotes around it; *at moves to the next, or is NULL behind the last. */
static cell next_cell(const table *t, const char **at) {
    const char *from = *at, *end = from;
    for (bool quoted = false; *end && *end != '\n' && (quoted || *end != t->by); end++) quoted ^= *end == '"';
    *at = *end && *end == t->by ? end + 1 : NULL;
    while (from < end && strchr(" \r\t", *from)) from++;
    while (from < end && strchr(" \r\t", end[-1])) end--;
    if (end - from >= 2 && *from == '"' && end[-1] == '"') from++, end--;
    return (cell){from, end - from < 4096 ? (int)(end - from) : 4096};
}

static bool is_number(cell c, double *v) { return pln_decimal(c.at, (size_t)c.n, v); }

/* Mark the columns of the list; *width is their number. */
static pleat_status choose(table *t, const char *list, size_t *width) {
    bool but = list && *list == '!';
    memset(t->chosen, but || !list, t->columns);
    for (const char *word = list ? list + but : NULL; word;) {
        char *end;
        size_t first = strtoul(word, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
        int n = (int)strcspn(word, ","), found = 0, number = n && end == word + n && end[-1] != '-';
        const char *names = t->text;
        for (size_t k = 0; k < t->columns; k++) {
            cell c = next_cell(t, &names);
            bool named = t->header && c.n == n && !memcmp(c.at, word, (size_t)n);
            if (number ? k >= first && k <= last && last < t->columns : named) t->chosen[k] = !but, found = 1;
        }
        if (!found)
            return pleat_fail(t->ctx, PLEAT_ERR_ARGUMENT, op,
                              "%s has no column \"%.*s\"; %sit has 0 to %zu: %.*s", t->path, n, word,
                              *word == '!' ? "one ! in front is for all names behind it; " : "",
                              t->columns - 1, (int)strcspn(t->text, "\r\n"), t->text);
        word = word[n] ? word + n + 1 : NULL;
    }
    for (size_t k = *width = 0; k < t->columns; k++) *width += t->chosen[k];
    return *width ? PLEAT_OK : pleat_fail(t->ctx, PLEAT_ERR_ARGUMENT, op, "%s: no column is chosen", t->path);
}

static pleat_status read_line(const table *t, size_t line, const char *at, double *to) {
    const char *names = t->header ? t->text : NULL;
    size_t k = 0;
    for (cell name = {"", 0}; at; k++) {
        cell c = next_cell(t, &at);
        if (names) name = next_cell(t, &names);
        if (k >= t->columns || !t->chosen[k] || is_number(c, to++)) continue;
        return pleat_fail(t->ctx, PLEAT_ERR_FORMAT, op, "%s: line %zu, column %zu (%.*s): \"%.*s\" is %s",
                          t->path, line, k, name.n, name.at, c.n, c.at,
                          c.n ? "not a number" : "a missing value");
    }
    if (k == t->columns) return PLEAT_OK;
    return pleat_fail(t->ctx, PLEAT_ERR_FORMAT, op, "%s: line %zu has %zu cells, and line 1 has %zu", t->path,
                      line, k, t->columns);
}

static pleat_status read_table(table *t, const char *list, pleat_tensor **out) {
    size_t rows = 1, width = 0, i = 0, line = strcspn(t->text, "\n");
    t->by = *(memchr(t->text, '\t', line) ? "\t" : memchr(t->text, ';', line) ? ";" : ",");
    t->header = true;
    for (const char *at = t->text; at; t->columns++) t->header &= !is_number(next_cell(t, &at), &(double){0});
    for (const char *at = t->text; (at = strchr(at, '\n')); at++) rows++;
    t->chosen = malloc(t->columns);
    if (!t->chosen) return pleat_fail(t->ctx, PLEAT_ERR_MEMORY, op, "no memory for %zu columns", t->columns);
    pleat_status status = choose(t, list, &width);
    if (status) return status;
    *out = pleat_empty(t->ctx, PLEAT_F64, PLEAT_SHAPE(rows - t->header, width));
    double *to = pleat_write_now(*out, op);
    for (const char *at = t->text; i < rows && to && !status; i++, at += strcspn(at, "\n") + 1)
        if (i || !t->header) status = read_line(t, i + 1, at, to + (i - t->header) * width);
    return to ? status : PLEAT_ERR_MEMORY;
}

pleat_tensor *pleat_nn_read_csv(pleat_ctx *ctx, const char *path, const char *columns) {
    pleat_tensor *out = pleat_poison(ctx);
    table t = {.ctx = ctx, .path = path, .text = pln_read_text(ctx, op, path)};
    if (t.text && read_table(&t, columns, &out)) pleat_drop(out), out = pleat_poison(ctx);
    free(t.chosen), free(t.text);
    return out;
}

/* The layers of a network in the order of a forward pass: as rows for a program, and as a table for
 * people. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/numbers.h"
#include "module.h"

/* ---- rows ---------------------------------------------------------------------------------------------- */

typedef struct collector {
    pln_observer observer;                 /* first, so that a pointer to it is one to the collector */
    const pleat_nn_module *root, *stepped; /* stepped: shows its steps */
    pleat_nn_layer_info *rows;
    size_t room, count;
    bool failed; /* what runs after that is not shown */
} collector;

/* The recorded calls that lead from x to a module's result, in the order of the forward pass. */
enum { MOST_CALLS = 8 };
typedef struct calls {
    const pleat_call *call[MOST_CALLS];
    size_t count;
    bool more;
} calls;

static void find_calls(const pleat_tensor *y, const pleat_tensor *x, size_t depth, calls *c) {
    const pleat_call *call = y == x ? NULL : pleat_call_of(y);
    for (size_t i = 0; i < c->count; i++)
        if (c->call[i] == call) return;
    if (!call || c->more) return;
    c->more = depth == MOST_CALLS;
    for (size_t i = 0; i < call->n && !c->more; i++) find_calls(call->in[i], x, depth + 1, c);
    c->more = c->more || c->count == MOST_CALLS;
    if (!c->more) c->call[c->count++] = call;
}

/* Describe a module that does not do so itself by its ops: "scale(a 0.5), relu, add". A single op says no
 * more than the name of the module. */
static void describe_calls(const pleat_tensor *x, const pleat_tensor *y, char *buffer, size_t bytes) {
    calls c = {.count = 0};
    char phrase[128];
    find_calls(y, x, 0, &c);
    if (c.more) snprintf(buffer, bytes, "more than %d ops", MOST_CALLS);
    if (c.more || c.count < 2) return;
    for (size_t i = 0, used = 0; i < c.count && used < bytes; i++) {
        const char *attributes = strchr(pleat_call_text(c.call[i], phrase, sizeof phrase), ';');
        used += (size_t)snprintf(buffer + used, bytes - used, "%s%s%s%s", i ? ", " : "", c.call[i]->op->name,
                                 attributes ? "(" : "", attributes ? attributes + 2 : "");
    }
}

/* The next row, or NULL: there is no room for it. */
static pleat_nn_layer_info *add_row(collector *c, const char *kind, const pleat_tensor *y) {
    if (c->count++ >= c->room) return NULL;
    pleat_nn_layer_info *row = &c->rows[c->count - 1];
    *row = (pleat_nn_layer_info){.kind = kind, .rank = pleat_rank(y)};
    memcpy(row->shape, pleat_shape(y), row->rank * sizeof *row->shape);
    return row;
}

static void saw_step(pln_observer *o, const pleat_nn_module *m, const pln_step *step) {
    collector *c = (collector *)(void *)o;
    char path[sizeof c->rows->name];
    const char *name = pln_path(m, c->root, path, sizeof path);
    c->stepped = m;
    pleat_nn_layer_info *row = add_row(c, step->kind, step->y);
    if (!row) return;
    snprintf(row->name, sizeof row->name, "%s%s%s", name, *name ? "." : "", step->name);
    row->params = step->params;
    row->macs = step->macs;
}

static void saw(pln_observer *o, const pleat_nn_module *m, const pleat_tensor *x, const pleat_tensor *y) {
    collector *c = (collector *)(void *)o;
    c->failed = c->failed || pleat_is_poison(y);
    if (c->failed || m == c->stepped || pleat_nn_child_count(m)) return;
    char path[sizeof c->rows->name];
    pleat_nn_layer_info *row = add_row(c, m->kind->name, y);
    if (!row) return;
    row->params = pleat_nn_param_numel(m);
    snprintf(row->name, sizeof row->name, "%s", pln_path(m, c->root, path, sizeof path));
    if (m->kind->describe)
        m->kind->describe(m, row->description, sizeof row->description);
    else
        describe_calls(x, y, row->description, sizeof row->description);
    if (m->kind->macs) row->macs = m->kind->macs(m, x, y);
}

/* Save the mode of each module, in the order of the tree, or restore it. */
static void modes(pleat_nn_module *m, bool *evaluating, size_t *i, bool restore) {
    if (restore)
        m->evaluating = evaluating[(*i)++];
    else if (evaluating)
        evaluating[(*i)++] = m->evaluating;
    else
        ++*i;
    for (size_t k = 0; k < m->count; k++)
        if (m->entries[k].child) modes(m->entries[k].child, evaluating, i, restore);
}

static pleat_status observe(pleat_nn_module *m, size_t rank, const size_t *shape, collector *c) {
    bool recording = pleat_set_recording(m->ctx, true); /* for the ops of modules */
    pleat_tensor *first = pleat_nn_param(m, 0);
    pleat_scope scope = pleat_begin(m->ctx);
    pleat_nn_set_training(m, false);
    m->observer = &c->observer;
    pleat_tensor *y =
        pleat_nn_forward(m, pleat_zeros(m->ctx, first ? pleat_dtype_of(first) : PLEAT_F32, rank, shape));
    m->observer = NULL;
    bool poison = pleat_is_poison(y);
    pleat_end(scope);
    pleat_set_recording(m->ctx, recording);
    return poison ? pleat_error(m->ctx)->code : PLEAT_OK;
}

pleat_status pleat_nn_layers(pleat_nn_module *m, size_t rank, const size_t *shape, pleat_nn_layer_info *rows,
                             size_t room, size_t *count) {
    *count = 0;
    if (!m) return PLEAT_ERR_ARGUMENT;
    size_t modules = 0, i = 0;
    modes(m, NULL, &modules, false);
    bool *evaluating = malloc(modules * sizeof *evaluating);
    if (!evaluating)
        return pleat_fail(m->ctx, PLEAT_ERR_MEMORY, "layers", "no memory for %zu modules", modules);
    collector c = {.observer = {saw, saw_step}, .root = m, .rows = rows, .room = rows ? room : 0};
    modes(m, evaluating, &i, false);
    pleat_status status = observe(m, rank, shape, &c);
    i = 0;
    modes(m, evaluating, &i, true);
    free(evaluating);
    *count = c.count;
    return status;
}

/* ---- a table ------------------------------------------------------------------------------------------- */

/* "1,234,567" */
static const char *grouped(double v, char text[40]) {
    pln_digits digits = pln_fixed(v, 0);
    size_t n = strlen(digits.s), used = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) text[used++] = ',';
        text[used++] = digits.s[i];
    }
    text[used] = '\0';
    return text;
}

static void shape_text(const pleat_nn_layer_info *row, char *text, size_t bytes) {
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (size_t i = 0; i < row->rank && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, i ? ",%zu" : "%zu", row->shape[i]);
    if (used < bytes) snprintf(text + used, bytes - used, "]");
}

static void print_total(double params, const pleat_nn_layer_info *rows, size_t count, const int width[2],
                        FILE *out) {
    char number[2][40];
    double macs = 0;
    for (size_t i = 0; i < count; i++) macs += rows[i].macs;
    fprintf(out, "%-*s  %-*s  %12s  %14s\n", width[0], "total", width[1], "", grouped(params, number[0]),
            grouped(macs, number[1]));
}

/* width[2] becomes the width of the first columns. */
static void print_rows(const pleat_nn_layer_info *rows, size_t count, int width[2], FILE *out) {
    char layer[300], shape[200], number[2][40];
    for (size_t pass = 0; pass < 2; pass++) {
        if (pass)
            fprintf(out, "%-*s  %-*s  %12s  %14s\n", width[0], "layer", width[1], "output shape",
                    "parameters", "multiply-adds");
        for (size_t i = 0; i < count; i++) {
            bool told = rows[i].description[0] != '\0';
            int used =
                snprintf(layer, sizeof layer, "%s%s%s%s%s%s", rows[i].name, rows[i].name[0] ? "  " : "",
                         rows[i].kind, told ? "(" : "", rows[i].description, told ? ")" : "");
            shape_text(&rows[i], shape, sizeof shape);
            if (used > width[0]) width[0] = used < 60 ? used : 60;
            if ((int)strlen(shape) > width[1]) width[1] = (int)strlen(shape);
            if (pass)
                fprintf(out, "%-*s  %-*s  %12s  %14s\n", width[0], layer, width[1], shape,
                        grouped((double)rows[i].params, number[0]), grouped(rows[i].macs, number[1]));
        }
    }
}

pleat_status pleat_nn_summary(pleat_nn_module *m, size_t rank, const size_t *shape, FILE *out) {
    size_t count, again;
    int width[2] = {5, 12};
    pleat_status status = pleat_nn_layers(m, rank, shape, NULL, 0, &count);
    if (!m) return status;
    pleat_nn_layer_info *rows = calloc(count + 1, sizeof *rows);
    if (!rows) return pleat_fail(m->ctx, PLEAT_ERR_MEMORY, "summary", "no memory for %zu layers", count);
    pleat_status second = pleat_nn_layers(m, rank, shape, rows, count, &again);
    if (!status) status = second;
    if (again < count) count = again; /* it failed earlier than the first: memory is short */
    print_rows(rows, count, width, out);
    if (status)
        fprintf(out, "%s\n", pleat_error(m->ctx)->text);
    else
        print_total((double)pleat_nn_param_numel(m), rows, count, width, out);
    free(rows);
    return status;
}

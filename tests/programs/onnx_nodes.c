/* The node tests of ONNX: models of mostly one node, with inputs and outputs, each in a folder of its own.
 *
 *     onnx_nodes /usr/share/libonnx-testdata/data/node            (Debian's libonnx-testdata)
 *     onnx_nodes --verbose FOLDER [NAME]
 *
 * Prints a table in Markdown: by operator, the cases that passed, failed, and are not supported; apart from each other those whose
 * outputs are all floats, and the others. Ends with 1 if one has failed: a wrong value, shape or type. --verbose also prints a line
 * for each case that did not pass. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "onnx/messages.h"

enum { MOST = 16, ROWS = 400 };
enum { PASSED, FAILED, REFUSED };

typedef struct counts {
    char op[64];
    size_t n[2][3]; /* outputs of floats or not; result */
} counts;

static counts table[ROWS];
static size_t rows;
static bool verbose;

/* ---- files --------------------------------------------------------------------------------------------- */

static uint8_t *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    uint8_t *data = malloc(1 << 24);
    *n = data ? fread(data, 1, 1 << 24, f) : 0;
    fclose(f);
    return data;
}

/* The types of a model's inputs and outputs. */
typedef struct ports {
    int in[MOST], out[MOST];
} ports;

/* The tensor of a file; false if it is none, or is not supported. numpy, which wrote them, has bfloat16 as the bits of a whole number. */
static bool read_tensor(pleat_ctx *ctx, const char *folder, const char *kind, size_t i, int type,
                        pln_onnx_value *v) {
    char path[600];
    size_t n;
    snprintf(path, sizeof path, "%s/test_data_set_0/%s_%zu.pb", folder, kind, i);
    uint8_t *data = read_file(path, &n);
    if (!data) return false;
    PlnOnnx__Tensor *p = pln_onnx__tensor__unpack(NULL, n, data);
    pln_onnx_model m = {.ctx = ctx, .path = path, .room = SIZE_MAX};
    if (p && type == PLN_ONNX_BFLOAT16 && p->data_type == PLN_ONNX_UINT16) p->data_type = type;
    bool good = p && pln_onnx_tensor(&m, p, "tensor", v);
    if (p) pln_onnx__tensor__free_unpacked(p, NULL);
    free(data);
    return good;
}

static size_t count_files(const char *folder, const char *kind) {
    char path[600];
    struct stat s;
    for (size_t i = 0;; i++) {
        snprintf(path, sizeof path, "%s/test_data_set_0/%s_%zu.pb", folder, kind, i);
        if (stat(path, &s)) return i;
    }
}

static int type_of(const PlnOnnx__ValueInfo *p) {
    return p->type && p->type->tensor_type ? p->type->tensor_type->elem_type : 0;
}

/* The one operator of a model, or "several"; its types, and whether all its outputs are floats. */
static bool look_at(const char *path, char op[64], ports *t, bool *floats) {
    size_t n;
    uint8_t *data = read_file(path, &n);
    PlnOnnx__Model *p = data ? pln_onnx__model__unpack(NULL, n, data) : NULL;
    free(data);
    if (!p || !p->graph || !p->graph->n_node) return false;
    snprintf(op, 64, "%s", p->graph->node[0]->op_type);
    for (size_t i = 1; i < p->graph->n_node; i++)
        if (strcmp(op, p->graph->node[i]->op_type)) snprintf(op, 64, "several");
    *floats = true;
    for (size_t i = 0; i < p->graph->n_input && i < MOST; i++) t->in[i] = type_of(p->graph->input[i]);
    for (size_t i = 0; i < p->graph->n_output && i < MOST; i++) {
        t->out[i] = type_of(p->graph->output[i]);
        *floats = *floats && pln_onnx_is_float(t->out[i]);
    }
    pln_onnx__model__free_unpacked(p, NULL);
    return true;
}

/* ---- a case ---------------------------------------------------------------------------------------------- */

/* As ONNX compares: floats to 1e-3 and 1e-7, NaN equals NaN; whole numbers exactly. */
static bool same(const pleat_tensor *y, pln_onnx_value right, char *why, size_t bytes) {
    char a[96], b[96];
    bool real = pln_onnx_is_float(right.type);
    if (!pln_same_shape(y, right.t) || pleat_dtype_of(y) != pleat_dtype_of(right.t)) {
        snprintf(why, bytes, "it is %s, not %s", pleat_shape_text(y, a, sizeof a),
                 pleat_shape_text(right.t, b, sizeof b));
        return false;
    }
    size_t n = pleat_numel(y);
    double *is = malloc(2 * (n + 1) * sizeof *is), *should = is + n + 1;
    pleat_read_f64(y, is), pleat_read_f64(right.t, should);
    bool good = true;
    for (size_t i = 0; i < n && good; i++) {
        good = is[i] == should[i] || (isnan(is[i]) && isnan(should[i])) ||
               (real && fabs(is[i] - should[i]) <= 1e-7 + 1e-3 * fabs(should[i]));
        if (!good) snprintf(why, bytes, "element %zu is %.9g, not %.9g", i, is[i], should[i]);
    }
    free(is);
    return good;
}

static int run_case(pleat_ctx *ctx, const char *folder, const ports *t, char *why, size_t bytes) {
    char path[600];
    pln_onnx_value in[MOST], right[MOST];
    pleat_tensor *xs[MOST], *ys[MOST];
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    pleat_nn_module *m = pleat_nn_onnx_load(ctx, path);
    size_t n = count_files(folder, "input"), outs = count_files(folder, "output");
    int result = REFUSED;
    bool good = m && n <= MOST && outs <= MOST;
    for (size_t i = 0; i < n && good; i++) {
        good = read_tensor(ctx, folder, "input", i, t->in[i], &in[i]);
        if (good) xs[i] = in[i].t;
    }
    for (size_t i = 0; i < outs && good; i++)
        good = read_tensor(ctx, folder, "output", i, t->out[i], &right[i]);
    if (good && !pleat_nn_onnx_run(m, n, xs, outs, ys)) {
        result = PASSED;
        for (size_t i = 0; i < outs && result == PASSED; i++)
            if (!same(ys[i], right[i], why, bytes)) result = FAILED;
    } else
        snprintf(why, bytes, "%s", pleat_error(ctx)->text);
    pleat_nn_free(m);
    return result;
}

static counts *row_of(const char *op) {
    for (size_t i = 0; i < rows; i++)
        if (!strcmp(table[i].op, op)) return &table[i];
    if (rows == ROWS) exit(2);
    snprintf(table[rows].op, sizeof table[rows].op, "%s", op);
    return &table[rows++];
}

static void test(const char *root, const char *name) {
    static const char *const words[] = {"passed", "FAILED", "refused"};
    char folder[400], path[500], op[64], why[600] = "";
    bool floats;
    ports t = {{0}, {0}};
    snprintf(folder, sizeof folder, "%s/%s", root, name);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (!look_at(path, op, &t, &floats)) return;
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_scope scope = pleat_begin(ctx);
    int result = run_case(ctx, folder, &t, why, sizeof why);
    pleat_end(scope);
    row_of(op)->n[!floats][result]++;
    if (result == FAILED || (verbose && result != PASSED))
        fprintf(stderr, "%s %s: %s\n", words[result], name, why);
    pleat_ctx_free(ctx);
}

/* ---- the table ------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const counts *)a)->op, ((const counts *)b)->op);
}

static void print_row(const char *op, size_t n[2][3]) {
    printf("| %s |", op);
    for (size_t f = 0; f < 2; f++)
        for (size_t r = 0; r < 3; r++) n[f][r] ? printf(" %zu |", n[f][r]) : printf(" |");
    printf("\n");
}

static void print_table(size_t sum[2][3]) {
    bool known;
    printf(
        "| operator | floats: passed | failed | not supported | others: passed | failed | not supported |\n");
    printf("|---|---:|---:|---:|---:|---:|---:|\n");
    qsort(table, rows, sizeof *table, by_name);
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < 6; k++) sum[k / 3][k % 3] += table[i].n[k / 3][k % 3];
        pln_onnx_find_row(table[i].op, 17, &known);
        if (known || !strcmp(table[i].op, "several")) print_row(table[i].op, table[i].n);
    }
    size_t others[2][3] = {0};
    for (size_t i = 0; i < rows; i++) {
        pln_onnx_find_row(table[i].op, 17, &known);
        for (size_t k = 0; k < 6 && !known && strcmp(table[i].op, "several"); k++)
            others[k / 3][k % 3] += table[i].n[k / 3][k % 3];
    }
    print_row("operators that are not supported", others);
    print_row("all", sum);
}

static int all(const struct dirent *d) { return d->d_name[0] != '.'; }

int main(int argc, char **argv) {
    struct dirent **names;
    size_t sum[2][3] = {0};
    verbose = argc > 1 && !strcmp(argv[1], "--verbose");
    if (argc < 2 + verbose) return fprintf(stderr, "onnx_nodes [--verbose] FOLDER [NAME]\n"), 2;
    const char *root = argv[1 + verbose], *one = argc > 2 + verbose ? argv[2 + verbose] : NULL;
    int n = scandir(root, &names, all, alphasort);
    for (int i = 0; i < n; i++) {
        if (!one || !strcmp(one, names[i]->d_name)) test(root, names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0) free(names);
    print_table(sum);
    return n <= 0 || sum[0][FAILED] + sum[1][FAILED] > 0;
}

/* Networks that PyTorch has exported (tests/oracle/torch_onnx.py): outputs, the gradients of all parameters, training mode, prepared
 * runs.
 *
 *     onnx_models FOLDER
 *
 * A line for each network: the largest differences, over the largest element or 1: some gradients are
 * zero but for rounding. Ends with 1 if one is above 1e-5 in f32 or
 * 1e-12 in f64. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pleat_nn.h"

static pleat_ctx *ctx;
static const char *folder;

static const char *in(const char *name, const char *end) {
    static char path[4][700];
    static size_t next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s%s", folder, name, end);
    return p;
}

static pleat_tensor *read(const char *name) { return pleat_nn_read_npy(ctx, in(name, ".npy")); }

/* The largest difference over the largest element of `right` or 1; infinity if they do not match. */
static double distance(pleat_tensor *y, pleat_tensor *right) {
    size_t n = pleat_numel(right);
    if (pleat_is_poison(y) || pleat_is_poison(right) || pleat_numel(y) != n ||
        pleat_rank(y) != pleat_rank(right))
        return INFINITY;
    double *a = malloc(2 * (n + 1) * sizeof *a), *b = a + n + 1, worst = 0, scale = 1;
    pleat_read_f64(y, a), pleat_read_f64(right, b);
    for (size_t i = 0; i < n; i++) {
        worst = !(fabs(a[i] - b[i]) <= worst) ? fabs(a[i] - b[i]) : worst;
        scale = fmax(scale, fabs(b[i]));
    }
    free(a);
    return worst / scale;
}

/* Gradients of sum(u y) for x and all parameters against the files, of which there is one for each. */
static double gradients(pleat_nn_module *net, pleat_tensor *x, pleat_tensor *y, size_t *count) {
    size_t n = pleat_nn_param_count(net);
    char name[300], file[400];
    pleat_tensor **xs = calloc(2 * (n + 1), sizeof *xs), **gs = xs + n + 1;
    for (size_t i = 0; i < n; i++) xs[i] = pleat_nn_param(net, i);
    xs[n] = x;
    double worst = pleat_grads(y, read("u"), n + 1, xs, gs, 0) ? INFINITY : 0;
    for (size_t i = 0; i < n && isfinite(worst); i++) {
        snprintf(file, sizeof file, "g.%s", pleat_nn_param_name(net, i, name, sizeof name));
        double d = distance(gs[i], read(file));
        if (!isfinite(d)) printf("  %s has another shape, or is no parameter in PyTorch\n", name);
        worst = fmax(worst, d);
    }
    if (isfinite(worst)) worst = fmax(worst, distance(gs[n], read("gx")));
    free(xs);
    *count = n;
    return worst;
}

static size_t gradient_files(void) {
    size_t n = 0;
    DIR *d = opendir(folder);
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) n += !strncmp(e->d_name, "g.", 2);
    if (d) closedir(d);
    return n;
}

/* In training mode; 0 where there is nothing to compare with. */
static double training(pleat_nn_module *net, pleat_tensor *x) {
    struct stat s;
    char name[300], file[400];
    if (stat(in("train.y", ".npy"), &s)) return 0;
    pleat_nn_set_training(net, true);
    double worst = distance(pleat_nn_forward(net, x), read("train.y"));
    pleat_nn_set_training(net, false);
    for (size_t i = 0; i < pleat_nn_state_count(net); i++) {
        if (!strstr(pleat_nn_state_name(net, i, name, sizeof name), "running")) continue;
        snprintf(file, sizeof file, "train.%s", name);
        worst = fmax(worst, distance(pleat_nn_state(net, i), read(file)));
    }
    return worst;
}

/* A prepared run has the bits of the forward pass. */
static bool prepares(pleat_nn_module *net, pleat_tensor *x, const pleat_tensor *y) {
    bool wide = pleat_dtype_of(x) == PLEAT_F64;
    pleat_prepared *p = pleat_nn_prepare(net, pleat_rank(x), pleat_shape(x));
    if (!p) return false;
    bool good =
        !(wide ? pleat_run_f64(p, pleat_const_f64(x), NULL) : pleat_run_f32(p, pleat_const_f32(x), NULL));
    size_t n = pleat_numel(y);
    double *a = malloc(2 * n * sizeof *a);
    pleat_read_f64(y, a), pleat_read_f64(pleat_prepared_result(p), a + n);
    good = good && !memcmp(a, a + n, n * sizeof *a);
    free(a);
    pleat_prepared_free(p);
    return good;
}

static bool test(const char *name, bool wide) {
    size_t count = 0;
    pleat_scope scope = pleat_begin(ctx);
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, in("model", ".onnx")),
                    *folded = pleat_nn_onnx_load(ctx, in("folded", ".onnx"));
    double d[4] = {INFINITY, INFINITY, INFINITY, INFINITY}, bound = wide ? 1e-12 : 1e-5;
    bool prepared = false, complete = false;
    if (net && folded) {
        pleat_tensor *x = read("x"), *y = pleat_nn_forward(net, x), *right = read("y");
        d[0] = distance(y, right);
        d[1] = distance(pleat_nn_forward(folded, x), right);
        d[2] = gradients(net, x, y, &count);
        complete = count == gradient_files();
        prepared = prepares(net, x, y);
        d[3] = training(net, x);
    }
    bool good = prepared && complete && !pleat_error(ctx)->code;
    for (size_t i = 0; i < 4; i++) good = good && d[i] <= bound;
    printf("%-26s %3zu parameters: output %.1e, folded %.1e, gradients %.1e, training %.1e%s%s%s\n", name,
           count, d[0], d[1], d[2], d[3], prepared ? "" : ", cannot be prepared",
           complete ? "" : ", other parameters than in PyTorch", good ? "" : "  WRONG");
    if (pleat_error(ctx)->code) printf("  %s\n", pleat_error(ctx)->text);
    pleat_clear_error(ctx);
    pleat_nn_free(net), pleat_nn_free(folded);
    pleat_end(scope);
    return good;
}

static int visible(const struct dirent *d) { return d->d_name[0] != '.'; }

int main(int argc, char **argv) {
    struct dirent **names;
    bool good = true;
    int n = argc == 2 ? scandir(argv[1], &names, visible, alphasort) : -1;
    ctx = pleat_ctx_new();
    for (int i = 0; i < n; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
        folder = path;
        good = test(names[i]->d_name, strstr(names[i]->d_name, ".f64") != NULL) && good;
        free(names[i]);
    }
    if (n >= 0) free(names);
    pleat_ctx_free(ctx);
    return n > 0 && good ? 0 : 1;
}

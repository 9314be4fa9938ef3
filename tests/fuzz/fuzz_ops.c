/* Random graphs of ops. Of whole numbers: every node's value, in both types and on every path of the convolutions, is that of naive
 * loops, bit for bit, and gradients are the same bits on every path. Of real numbers: values agree within rounding, and gradients
 * of order one and two with difference quotients of the naive values; graphs with a kink nearby are passed over. */
#define _POSIX_C_SOURCE 200809L /* setenv */

#include "geometry.h"
#include "graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const paths[] = {"auto", "reference", "im2col", "baseline", "avx2", "avx512"};
enum { PATHS = sizeof paths / sizeof *paths };

typedef struct test {
    graph g;
    uint64_t seed;
    double *leaves[MOST_NODES], *direction[MOST_NODES], *all[MOST_NODES],
        *cotangent; /* NULL at nodes that are none */
} test;

/* ---- numbers ----------------------------------------------------------------------------------------- */

static double *allocate(size_t n) {
    double *a = malloc((n + 1) * sizeof *a);
    FUZZ_CHECK(a, "no memory for %zu numbers", n);
    return a;
}

static double *draw(size_t n, uint64_t *seed, bool real) {
    double *a = allocate(n);
    for (size_t i = 0; i < n; i++) {
        a[i] = (double)random_between(seed, -4, 4);
        if (real) a[i] = a[i] / 2 + (double)random_below(seed, 1000) / 2003;
    }
    return a;
}

static void prepare(test *t) {
    uint64_t seed = t->seed;
    for (size_t i = 0; i < t->g.count; i++) {
        const node *n = &t->g.nodes[i];
        t->all[i] = allocate(n->numel);
        if (n->kind) continue;
        t->leaves[i] = draw(n->numel, &seed, t->g.real);
        t->direction[i] = draw(n->numel, &seed, t->g.real);
    }
    t->cotangent = draw(t->g.nodes[t->g.count - 1].numel, &seed, t->g.real);
}

static void finish(test *t) {
    for (size_t i = 0; i < t->g.count; i++) {
        free(t->all[i]);
        free(t->leaves[i]);
        free(t->direction[i]);
    }
    free(t->cotangent);
}

/* All values, with the leaves moved by `step` times the direction, and <cotangent, result>. */
static double compute(test *t, double step, uint64_t *kinks) {
    const node *y = &t->g.nodes[t->g.count - 1];
    double sum = 0;
    for (size_t i = 0; i < t->g.count; i++)
        for (size_t k = 0; t->leaves[i] && k < t->g.nodes[i].numel; k++)
            t->all[i][k] = t->leaves[i][k] + step * t->direction[i][k];
    graph_compute(&t->g, t->all, kinks);
    for (size_t k = 0; k < y->numel; k++) sum += t->cotangent[k] * t->all[t->g.count - 1][k];
    return sum;
}

/* ---- the library ------------------------------------------------------------------------------------- */

static _Noreturn void fail(const test *t, const char *what) {
    graph_print(&t->g);
    fuzz_fail("%s", what);
}

/* The graph in the library; the leaves also one behind the other, in xs. */
static size_t build(test *t, pleat_ctx *ctx, pleat_dtype dtype, pleat_tensor **nodes, pleat_tensor **xs) {
    size_t leaves = 0;
    for (size_t i = 0; i < t->g.count; i++) {
        const node *n = &t->g.nodes[i];
        pleat_tensor *in[MOST_INPUTS];
        for (size_t k = 0; k < n->inputs; k++) in[k] = nodes[n->in[k]];
        nodes[i] =
            n->kind ? n->kind->apply(n, in) : pleat_from_f64(ctx, dtype, n->rank, n->shape, t->leaves[i]);
        if (!n->kind) xs[leaves++] = nodes[i];
        if (pleat_is_poison(nodes[i])) fail(t, pleat_error(ctx)->text);
    }
    return leaves;
}

static void compare(const test *t, size_t i, const pleat_tensor *found, pleat_dtype dtype, const char *path) {
    const node *n = &t->g.nodes[i];
    char text[200];
    double at[MOST_NUMEL], tolerance = 0;
    bool same = pleat_rank(found) == n->rank;
    for (size_t k = 0; same && k < n->rank; k++) same = pleat_size(found, k) == n->shape[k];
    if (!same) {
        snprintf(text, sizeof text, "node %zu has another shape", i);
        fail(t, text);
    }
    pleat_read_f64(found, at);
    if (t->g.real) tolerance = (dtype == PLEAT_F32 ? 1e-3 : 1e-11) * (1 + n->bound);
    for (size_t k = 0; k < n->numel; k++) {
        if (at[k] == t->all[i][k] || fabs(at[k] - t->all[i][k]) <= tolerance) continue;
        snprintf(text, sizeof text, "node %zu, element %zu is %.17g instead of %.17g, f%d, path %s", i, k,
                 at[k], t->all[i][k], dtype == PLEAT_F32 ? 32 : 64, path);
        fail(t, text);
    }
}

/* ---- whole numbers ----------------------------------------------------------------------------------- */

static pleat_tensor *cotangent_of(test *t, pleat_ctx *ctx, pleat_dtype dtype) {
    const node *y = &t->g.nodes[t->g.count - 1];
    return pleat_from_f64(ctx, dtype, y->rank, y->shape, t->cotangent);
}

/* The engine or the instruction set of that name. */
static void take_path(const char *path) {
    bool engine = strcmp(path, "reference") == 0 || strcmp(path, "im2col") == 0;
    setenv("PLEAT_ENGINE", engine ? path : "auto", 1);
    setenv("PLEAT_ISA", engine ? "auto" : path, 1);
}

/* Values and first gradients, the latter one behind the other in `grads`. Returns how many numbers these are. */
static size_t run_path(test *t, const char *path, pleat_dtype dtype, double *grads) {
    take_path(path);
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_tensor *nodes[MOST_NODES], *xs[MOST_NODES], *gs[MOST_NODES];
    size_t leaves = build(t, ctx, dtype, nodes, xs), used = 0;
    for (size_t i = 0; i < t->g.count; i++) compare(t, i, nodes[i], dtype, path);
    if (pleat_grads(nodes[t->g.count - 1], cotangent_of(t, ctx, dtype), leaves, xs, gs, 0))
        fail(t, pleat_error(ctx)->text);
    for (size_t i = 0; i < leaves; i++) {
        pleat_read_f64(gs[i], grads + used);
        used += pleat_numel(gs[i]);
    }
    pleat_ctx_free(ctx);
    return used;
}

static bool has_convolution(const graph *g) {
    for (size_t i = 0; i < g->count; i++)
        if (g->nodes[i].kind && g->nodes[i].g.G > 0) return true;
    return false;
}

/* Pixels that are equally large share the gradient of an extreme: thirds of it are no whole numbers, and their sum depends on the order. */
static bool shares_gradients(const graph *g) {
    for (size_t i = 0; i < g->count; i++) {
        const node *n = &g->nodes[i];
        if (n->kind && strcmp(n->kind->name, "reduction") == 0 && n->a[0] > 0) return true;
    }
    return false;
}

static void check_paths(test *t) {
    static double grads[PATHS][MOST_NODES * MOST_NUMEL];
    uint64_t kinks;
    compute(t, 0, &kinks);
    size_t n = has_convolution(&t->g) ? PATHS : 1;
    double tolerance = shares_gradients(&t->g) ? 1e-12 : 0;
    for (size_t p = 0; p < n; p++) {
        run_path(t, paths[p], PLEAT_F32, grads[p]);
        size_t count = run_path(t, paths[p], PLEAT_F64, grads[p]);
        for (size_t i = 0; i < count && !t->g.real; i++)
            if (!(fabs(grads[p][i] - grads[0][i]) <= tolerance * (1 + fabs(grads[0][i])))) fail(t, paths[p]);
    }
}

/* ---- real numbers ------------------------------------------------------------------------------------ */

/* <cotangent, result> at five places along the direction; false where a kink lies between them. */
static bool five_places(test *t, double h, double s[5]) {
    uint64_t here, there;
    s[2] = compute(t, 0, &here);
    for (int i = 0; i < 5; i++) {
        s[i] = compute(t, (i - 2) * h, &there);
        if (there != here || !isfinite(s[i])) return false;
    }
    return true;
}

static double first_quotient(const double s[5], double h) {
    return (s[0] - 8 * s[1] + 8 * s[3] - s[4]) / (12 * h);
}

static double second_quotient(const double s[5], double h) {
    return (-s[0] + 16 * s[1] - 30 * s[2] + 16 * s[3] - s[4]) / (12 * h * h);
}

/* The slope by the library against two quotients, whose difference tells how good they are. */
static void check_slope(const test *t, int order, double found, double scale, const double quotients[2],
                        double noise) {
    char text[200];
    double tolerance = 1e-6 * scale + 4 * fabs(quotients[0] - quotients[1]) + noise;
    if (fabs(found - quotients[0]) <= tolerance) return;
    snprintf(text, sizeof text, "the slope of order %d is %.12g instead of %.12g, tolerance %.3g", order,
             found, quotients[0], tolerance);
    fail(t, text);
}

/* The largest number that takes part, times how many there are in the sum. */
static double magnitude(const test *t) {
    double most = 1;
    for (size_t i = 0; i < t->g.count; i++)
        for (size_t k = 0; k < t->g.nodes[i].numel; k++) most = fmax(most, fabs(t->all[i][k]));
    return most * 4 * (double)(t->g.nodes[t->g.count - 1].numel + 1);
}

/* <gradients, direction>, and the sum of its absolute terms. */
static pleat_tensor *slope(test *t, pleat_ctx *ctx, size_t leaves, pleat_tensor *const gs[], double *scale) {
    pleat_tensor *sum = NULL;
    size_t leaf = 0;
    *scale = 0;
    for (size_t i = 0; i < t->g.count && leaf < leaves; i++) {
        const node *n = &t->g.nodes[i];
        if (n->kind) continue;
        pleat_tensor *along = pleat_from_f64(ctx, PLEAT_F64, n->rank, n->shape, t->direction[i]);
        pleat_tensor *terms = pleat_mul(gs[leaf++], along), *more = pleat_sum(terms);
        *scale += pleat_item(pleat_sum(pleat_abs(terms)));
        sum = sum ? pleat_add(sum, more) : more;
    }
    return sum;
}

static void check_slopes(test *t) {
    const double steps[2][2] = {{0x1p-11, 0x1p-12}, {0x1p-8, 0x1p-9}};
    double s[5], quotients[2][2];
    for (int order = 0; order < 2; order++)
        for (int k = 0; k < 2; k++) {
            double h = steps[order][k];
            if (!five_places(t, h, s)) return;
            quotients[order][k] = order == 0 ? first_quotient(s, h) : second_quotient(s, h);
        }
    double noise = 1e-14 * magnitude(t), scale[2];
    take_path(paths[t->seed % PATHS]);
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_tensor *nodes[MOST_NODES], *xs[MOST_NODES], *gs[MOST_NODES];
    size_t leaves = build(t, ctx, PLEAT_F64, nodes, xs);
    pleat_tensor *y = nodes[t->g.count - 1], *u = cotangent_of(t, ctx, PLEAT_F64);
    for (int order = 0; order < 2; order++) {
        if (pleat_grads(y, u, leaves, xs, gs, PLEAT_GRADS_RECORD)) fail(t, pleat_error(ctx)->text);
        y = slope(t, ctx, leaves, gs, &scale[order]), u = NULL;
        double h = steps[order][1], error = noise / (order == 0 ? h : h * h);
        check_slope(t, order + 1, pleat_item(y), scale[order] + (order ? scale[0] : 0), quotients[order],
                    error);
    }
    pleat_ctx_free(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes b = {data, size};
    static test t;
    memset(&t, 0, sizeof t);
    t.seed = size > 0 ? (uint64_t)data[size - 1] << 8 | size : 0;
    if (!graph_read(&t.g, &b)) return 0;
    prepare(&t);
    check_paths(&t);
    if (t.g.real) check_slopes(&t);
    finish(&t);
    return 0;
}

/* The convolution family on raw pointers: every path, both types, one thread and two, against the seven loops; bit for bit on whole
 * numbers. Arrays and workspace have exactly the bytes that are promised to be enough. Sizes that no machine holds are checked, too:
 * the answer is a rule that is broken, and never an overflow. */
#include "conv_calls.h"
#include "fuzz.h"
#include "geometry.h"
#include "pleat_kernels.h"
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TERMS = 50000, MOST_ELEMENTS = 20000, PATHS = TESTED_PATHS };

typedef struct test {
    pleat_conv_shape g;
    pleat_conv_op op;
    bool bias, relu, real, odd; /* real: no whole numbers; odd: memory that no vector likes */
    size_t n[3];                /* elements of x, w, y */
    double *values[3], *expected, *biases,
        *magnitude; /* magnitude: the sum of the absolute terms, of each element */
} test;

/* ---- the case ---------------------------------------------------------------------------------------- */

/* 1 .. n, or a number that only arithmetic sees. */
static size_t size_below(fuzz_bytes *b, size_t n) {
    uint8_t v = fuzz_byte(b);
    if (v == 255) return (size_t)fuzz_word(b);
    return v < 240 ? 1 + v % n : (size_t)1 << (20 + 3 * (v - 240));
}

static void read_axis(fuzz_bytes *b, pleat_conv_shape *g, size_t k) {
    *(k == 0 ? &g->H : &g->W) = size_below(b, 64);
    *(k == 0 ? &g->P : &g->Q) = size_below(b, 64);
    *(k == 0 ? &g->R : &g->S) = size_below(b, 40);
    g->stride[k] = size_below(b, 20);
    g->dilation[k] = size_below(b, 12);
    g->pad[k] = (ptrdiff_t)(size_below(b, 72) - 9);
}

static bool product(const size_t *factors, size_t n, size_t most, size_t *out) {
    *out = 1;
    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(*out, factors[i], out)) return false;
    return *out <= most;
}

/* Is it small enough to be computed here? */
static bool is_small(test *t) {
    const pleat_conv_shape *g = &t->g;
    size_t in = g->C / g->G, terms;
    return product((size_t[]){g->N, g->C, g->H, g->W}, 4, MOST_ELEMENTS, &t->n[0]) &&
           product((size_t[]){g->O, in, g->R, g->S}, 4, MOST_ELEMENTS, &t->n[1]) &&
           product((size_t[]){g->N, g->O, g->P, g->Q}, 4, MOST_ELEMENTS, &t->n[2]) &&
           product((size_t[]){t->n[2], in, g->R, g->S}, 4, MOST_TERMS, &terms);
}

static size_t result_of(pleat_conv_op op) {
    return op == PLEAT_CONV_FORWARD ? 2 : op == PLEAT_CONV_TRANSPOSE ? 0 : 1;
}

/* The default sizes along H, in wider numbers; legal or not. */
static void check_default_sizes(const pleat_conv_shape *g) {
    size_t map = pleat_conv_map_size(g->H, g->R, g->stride[0], g->dilation[0], g->pad[0], g->pad[0]);
    size_t image = pleat_conv_image_size(g->P, g->R, g->stride[0], g->dilation[0], g->pad[0], g->pad[0]);
    __extension__ typedef __int128 wide;
    if (map == 0 && image == 0) return; /* otherwise the products below may be too wide */
    wide extent = ((wide)g->R - 1) * (wide)g->dilation[0] + 1, pads = 2 * (wide)g->pad[0];
    if (map > 0)
        FUZZ_CHECK(((wide)g->H + pads - extent) / (wide)g->stride[0] + 1 == (wide)map, "map size %zu", map);
    if (image > 0) {
        FUZZ_CHECK(((wide)g->P - 1) * (wide)g->stride[0] + extent - pads == (wide)image, "image size %zu",
                   image);
        if (g->stride[0] > 0 && (wide)image + pads <= PTRDIFF_MAX)
            FUZZ_CHECK(pleat_conv_map_size(image, g->R, g->stride[0], g->dilation[0], g->pad[0], g->pad[0]) ==
                           g->P,
                       "the map of the smallest image, %zu: %s", image, geometry_print(g).text);
    }
}

static void check_sizes(const test *t) {
    const pleat_conv_shape *g = &t->g;
    check_default_sizes(g);
    if (pleat_conv_check(g, sizeof(double))) return;
    for (int path = 0; path < PATHS; path++) {
        conv_bytes(g, sizeof(double), t->op, tested_path[path], 2);
        conv_bytes(g, sizeof(float), t->op, tested_path[path], 3);
    }
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

static void *allocate(size_t bytes) {
    void *p = malloc(bytes + (bytes == 0));
    FUZZ_CHECK(p, "no memory for %zu bytes", bytes);
    return p;
}

static double *numbers(const test *t, size_t n, uint64_t seed) {
    double *a = allocate(n * sizeof *a);
    fill_integers(a, n, seed);
    for (size_t i = 0; t->real && i < n; i++)
        a[i] = (double)(float)(a[i] + (double)random_below(&seed, 1000) / 999);
    return a;
}

static size_t channels_of(const test *t) { return t->op == PLEAT_CONV_TRANSPOSE ? t->g.C : t->g.O; }

/* By the definition, with a bias and relu behind it. */
static double *compute(const test *t, double *const values[3], const double *biases, bool relu) {
    size_t r = result_of(t->op), channels = channels_of(t), n = t->n[r];
    double *all[3] = {values[0], values[1], values[2]};
    all[r] = allocate(n * sizeof(double));
    reference_conv(&t->g, t->op, all[0], all[1], all[2]);
    size_t pixels = t->op == PLEAT_CONV_TRANSPOSE ? t->g.H * t->g.W : t->g.P * t->g.Q;
    for (size_t i = 0; i < n; i++) {
        if (t->bias) all[r][i] += biases[i / pixels % channels];
        if (relu && all[r][i] < 0) all[r][i] = 0;
    }
    return all[r];
}

static void prepare(test *t, uint64_t seed) {
    double *sizes[3], *bias_sizes;
    for (size_t k = 0; k < 3; k++) {
        t->values[k] = numbers(t, t->n[k], seed + k);
        sizes[k] = allocate(t->n[k] * sizeof(double));
        for (size_t i = 0; i < t->n[k]; i++) sizes[k][i] = fabs(t->values[k][i]);
    }
    t->biases = numbers(t, channels_of(t), seed + 3);
    bias_sizes = allocate(channels_of(t) * sizeof(double));
    for (size_t i = 0; i < channels_of(t); i++) bias_sizes[i] = fabs(t->biases[i]);
    t->expected = compute(t, t->values, t->biases, t->relu);
    t->magnitude = compute(t, sizes, bias_sizes, false);
    for (size_t k = 0; k < 3; k++) free(sizes[k]);
    free(bias_sizes);
}

static void *typed(const double *a, size_t n, size_t element) {
    void *b = allocate(n * element);
    for (size_t i = 0; i < n; i++)
        if (element == sizeof(float))
            ((float *)b)[i] = (float)a[i];
        else
            ((double *)b)[i] = a[i];
    return b;
}

/* ---- the kernels ------------------------------------------------------------------------------------- */

static const char *line(const test *t) {
    static geometry_line text;
    text = geometry_print(&t->g);
    return text.text;
}

static const char *describe(const test *t) {
    static const char *const ops[] = {"conv2d", "conv2d_transpose", "conv2d_weight"};
    static char text[600];
    snprintf(text, sizeof text, "%s of %s numbers%s%s, %s", ops[t->op], t->real ? "real" : "whole",
             t->bias ? ", bias" : "", t->relu ? ", relu" : "", line(t));
    return text;
}

/* The result, which begins as large numbers, in memory that the caller frees. */
static void *run(const test *t, size_t element, pleat_path path, pleat_pool *pool) {
    size_t r = result_of(t->op), offset = t->odd ? element + 1 : 0;
    void *a[3];
    for (size_t k = 0; k < 3; k++) a[k] = typed(t->values[k], t->n[k], element);
    memset(a[r], 0x71, t->n[r] * element); /* large, and finite */
    void *bias = typed(t->biases, channels_of(t), element);
    size_t bytes = conv_bytes(&t->g, element, t->op, path, pleat_pool_threads(pool));
    FUZZ_CHECK(bytes < (size_t)1 << 26, "%zu bytes of workspace: %s", bytes, describe(t));
    char *memory = allocate(bytes + offset);
    pleat_work work = {.memory = memory + offset, .bytes = bytes, .pool = pool};
    work.bias = t->bias ? bias : NULL, work.relu = t->relu;
    pleat_work little = work;
    little.bytes = bytes ? bytes - 1 : 0;
    if (bytes)
        FUZZ_CHECK(conv_run(&t->g, element, t->op, path, a, &little) == -1,
                   "too little workspace is taken: %s", describe(t));
    FUZZ_CHECK(conv_run(&t->g, element, t->op, path, a, &work) == 0, "the workspace is too small: %s",
               describe(t));
    for (size_t k = 0; k < 3; k++)
        if (k != r) free(a[k]);
    free(bias);
    free(memory);
    return a[r];
}

static void compare(const test *t, size_t element, const void *found, const char *path) {
    bool half = element == sizeof(float);
    /* the sums of a result are shorter than its terms are many */
    double relative = !t->real ? 0 : half ? 1e-5 : 1e-13;
    for (size_t i = 0; i < t->n[result_of(t->op)]; i++) {
        double v = half ? (double)((const float *)found)[i] : ((const double *)found)[i];
        FUZZ_CHECK(fabs(v - t->expected[i]) <= relative * t->magnitude[i],
                   "path %s, %s, element %zu is %.17g instead of %.17g: %s", path, half ? "f32" : "f64", i, v,
                   t->expected[i], describe(t));
    }
}

static void run_paths(const test *t, pleat_pool *pool) {
    size_t bytes = t->n[result_of(t->op)];
    for (size_t element = 4; element <= 8; element += 4)
        for (int path = 0; path < PATHS; path++) {
            void *one = run(t, element, tested_path[path], NULL);
            void *two = run(t, element, tested_path[path], pool);
            compare(t, element, one, tested_path_name[path]);
            FUZZ_CHECK(memcmp(one, two, bytes * element) == 0, "path %s: two threads give other bits: %s",
                       tested_path_name[path], describe(t));
            free(one);
            free(two);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static pleat_pool *pool;
    if (!pool) pool = pleat_pool_new(2), pleat_blas_single_thread();
    fuzz_bytes b = {data, size};
    test t = {.op = (pleat_conv_op)fuzz_below(&b, 3)};
    uint8_t flags = fuzz_byte(&b);
    t.bias = flags & 1 && t.op != PLEAT_CONV_WEIGHT, t.relu = flags & 2 && t.op != PLEAT_CONV_WEIGHT;
    t.odd = flags & 4, t.real = flags & 8;
    bool drawn = flags >= 0xf0;
    t.g.N = fuzz_below(&b, 4);
    t.g.G = 1 + fuzz_below(&b, 12);
    t.g.C = t.g.G * (1 + fuzz_below(&b, 40));
    t.g.O = t.g.G * (1 + fuzz_below(&b, 40));
    for (size_t k = 0; k < 2 && !drawn; k++) read_axis(&b, &t.g, k);
    if (drawn) { /* sizes as layers have them */
        uint64_t seed = fuzz_word(&b);
        t.g = geometry_drawn(&seed, MOST_TERMS, MOST_ELEMENTS);
    }
    check_sizes(&t);
    if (pleat_conv_check(&t.g, sizeof(double)) || !is_small(&t)) return 0;
    prepare(&t, fuzz_byte(&b));
    run_paths(&t, pool);
    for (size_t k = 0; k < 3; k++) free(t.values[k]);
    free(t.biases);
    free(t.expected);
    free(t.magnitude);
    return 0;
}

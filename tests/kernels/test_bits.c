/* Every bit is defined: each engine on each instruction set gives the bits of the reference, on numbers as networks have them, and on tiny
 * ones whose products underflow, with zeros of both signs. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv_calls.h"
#include "geometry.h"

enum { CORNERS_AND_RANDOM = 700, DRAWN = 300, UNWRITTEN = 0x71 };

static const char *const op_names[] = {"conv2d", "conv2d_transpose", "conv2d_weight"};
static const pleat_engine engines[] = {PLEAT_ENGINE_AUTO, PLEAT_ENGINE_IMPLICIT_GEMM, PLEAT_ENGINE_DIRECT,
                                       PLEAT_ENGINE_COLUMNS};
static const pleat_isa isas[] = {PLEAT_ISA_BASELINE, PLEAT_ISA_AVX2, PLEAT_ISA_AVX512};

/* A number from a sum of three, near enough to a normal one. */
static double normal(uint64_t *seed) {
    double sum = 0;
    for (int i = 0; i < 3; i++)
        sum +=
            (double)random_below(seed, 1 << 24) * 0x1p-23 + (double)random_below(seed, 1 << 28) * 0x1p-51 - 1;
    return sum;
}

/* kind 0, 1: normal numbers; 2: so small that products of two underflow; 3: zeros of both signs among them */
static void *numbers(size_t n, size_t element, size_t kind, uint64_t seed) {
    void *a = malloc(n * element + 1);
    double scale = kind != 2 ? 1 : element == sizeof(float) ? 0x1p-70 : 0x1p-530;
    cr_assert(a);
    for (size_t i = 0; i < n; i++) {
        double v = normal(&seed) * scale;
        if (kind == 3 && random_below(&seed, 2)) v = random_below(&seed, 2) ? 0.0 : -0.0;
        if (element == sizeof(float))
            ((float *)a)[i] = (float)v;
        else
            ((double *)a)[i] = v;
    }
    return a;
}

typedef struct bits_case {
    pleat_conv_shape g;
    size_t element, n;
    pleat_conv_op op;
    void *xwy[3], *bias, *want, *found;
    const double *factor, *shift;
    bool relu;
    size_t compared, wrong;
} bits_case;

static void run(bits_case *c, pleat_path path, void *to, int threads) {
    static const int result[] = {2, 0, 1};
    size_t bytes = conv_bytes(&c->g, c->element, c->op, path, threads);
    pleat_work work = {.memory = malloc(bytes + 1), .bytes = bytes, .bias = c->bias, .relu = c->relu};
    work.factor = c->factor, work.shift = c->shift;
    if (threads > 1) work.pool = pleat_pool_new(threads);
    void *xwy[3] = {c->xwy[0], c->xwy[1], c->xwy[2]};
    xwy[result[c->op]] = to;
    cr_assert(work.memory);
    memset(work.memory, UNWRITTEN, bytes), memset(to, UNWRITTEN, c->n * c->element);
    cr_assert_eq(conv_run(&c->g, c->element, c->op, path, xwy, &work), 0);
    pleat_pool_free(work.pool);
    free(work.memory);
}

static void compare(bits_case *c, pleat_path path, int threads) {
    run(c, path, c->found, threads);
    c->compared++;
    if (memcmp(c->want, c->found, c->n * c->element) == 0) return;
    size_t i = 0, bad = 0, first = c->n;
    for (i = c->n; i-- > 0;)
        if (memcmp((char *)c->want + i * c->element, (char *)c->found + i * c->element, c->element))
            first = i, bad++;
    pleat_path taken = conv_taken(&c->g, c->element, c->op, path);
    if (c->wrong++ < 200000)
        fprintf(stderr, "%s f%zu %s: %zu of %zu differ, from %zu on\n%s\n", op_names[c->op], 8 * c->element,
                path_text(taken).text, bad, c->n, first,
                geometry_reproduce(&c->g, "test_bits", op_names[c->op]).text);
}

static void compare_all(bits_case *c, size_t turn) {
    size_t channels = c->op == PLEAT_CONV_FORWARD ? c->g.O : c->g.C;
    size_t sizes[3] = {geometry_image(&c->g), geometry_kernel(&c->g), geometry_map(&c->g)};
    double *factor = numbers(channels, sizeof(double), 0, turn + 4),
           *shift = numbers(channels, sizeof(double), 0, turn + 5);
    for (size_t i = 0; i < 3; i++) c->xwy[i] = numbers(sizes[i], c->element, turn % 4, turn + i);
    c->n = sizes[c->op == PLEAT_CONV_FORWARD ? 2 : c->op == PLEAT_CONV_TRANSPOSE ? 0 : 1];
    bool weight = c->op == PLEAT_CONV_WEIGHT;
    c->bias = weight || turn % 2 ? NULL : numbers(channels, c->element, turn % 3 ? 3 : 0, turn + 3);
    c->relu = !weight && turn % 3 == 0;
    c->factor = !weight && turn % 5 == 0 ? factor : NULL, c->shift = c->factor ? shift : NULL;
    c->want = malloc(c->n * c->element + 1), c->found = malloc(c->n * c->element + 1);
    cr_assert(c->want && c->found);
    run(c, (pleat_path){PLEAT_ENGINE_REFERENCE, PLEAT_ISA_AUTO}, c->want, 1);
    for (size_t e = 0; e < sizeof engines / sizeof *engines; e++)
        for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
            pleat_path path = {engines[e], isas[i]};
            if (conv_takes(&c->g, c->element, c->op, path)) compare(c, path, 1 + (int)(turn % 3));
        }
    const pleat_path columns = {PLEAT_ENGINE_COLUMNS, PLEAT_ISA_AUTO};
    if (conv_takes(&c->g, c->element, c->op, columns)) compare(c, columns, 1 + (int)(turn % 2));
    compare(c, (pleat_path){0}, 1);
    for (size_t i = 0; i < 3; i++) free(c->xwy[i]);
    free(c->bias), free(c->want), free(c->found), free(factor), free(shift);
}

static void check(pleat_conv_op op) {
    bits_case c = {.op = op};
    uint64_t seed = 20;
    size_t turn = 0;
    for (; geometry_case(turn, CORNERS_AND_RANDOM, &c.g); turn++)
        for (c.element = 4; c.element <= 8; c.element += 4) compare_all(&c, turn);
    for (size_t i = 0; getenv("PLEAT_CASE") == NULL && i < DRAWN; i++, turn++) {
        c.g = geometry_drawn(&seed, 2e5, 1e5);
        for (c.element = 4; c.element <= 8; c.element += 4) compare_all(&c, turn);
    }
    cr_assert(c.wrong == 0 && c.compared > 0, "%zu of %zu results have other bits than the reference's",
              c.wrong, c.compared);
}

Test(bits, conv2d) { check(PLEAT_CONV_FORWARD); }
Test(bits, conv2d_transpose) { check(PLEAT_CONV_TRANSPOSE); }
Test(bits, conv2d_weight) { check(PLEAT_CONV_WEIGHT); }

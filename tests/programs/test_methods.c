/* The four methods of the program deconv against the definition, bit for bit on whole numbers. */
#include "deconv.h"
#include "geometry.h"
#include "reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_CASES = 1200 };

static const char *const op_names[] = {"conv2d", "transpose", "weight"};

static double *numbers(size_t n, uint64_t seed) {
    double *a = malloc(n * sizeof *a + 1);
    cr_assert(a);
    fill_integers(a, n, seed);
    return a;
}

/* n numbers in the type that the method takes, or NaN where they are NULL. */
static void *typed(const double *a, size_t n, pleat_dtype dtype) {
    void *b = malloc(n * sizeof(double) + 1);
    cr_assert(b);
    for (size_t i = 0; i < n; i++)
        if (dtype == PLEAT_F32)
            ((float *)b)[i] = a ? (float)a[i] : NAN;
        else
            ((double *)b)[i] = a ? a[i] : (double)NAN;
    return b;
}

static bool call(const method *m, const pleat_conv_shape *g, pleat_conv_op op, pleat_dtype dtype,
                 void *const xwy[3]) {
    void *x = xwy[0], *w = xwy[1], *y = xwy[2];
    if (op == PLEAT_CONV_FORWARD) return m->conv2d(g, dtype, x, w, y);
    if (op == PLEAT_CONV_TRANSPOSE) return m->transpose(g, dtype, y, w, x);
    return m->weight(g, dtype, x, y, w);
}

/* Which of x, w, y an operator makes. */
static size_t made(pleat_conv_op op) {
    return op == PLEAT_CONV_TRANSPOSE ? 0 : op == PLEAT_CONV_WEIGHT ? 1 : 2;
}

/* One operator by one method, in one type; `numbers` are x, w, y, that which is made included. */
static void compare(const method *m, const pleat_conv_shape *g, pleat_conv_op op, pleat_dtype dtype,
                    double *const operands[3], const size_t sizes[3]) {
    void *xwy[3];
    size_t k = made(op);
    for (size_t i = 0; i < 3; i++) xwy[i] = typed(i == k ? NULL : operands[i], sizes[i], dtype);
    cr_assert(call(m, g, op, dtype, xwy), "%s: no memory for %s", m->name, geometry_print(g).text);
    void *right = typed(operands[k], sizes[k], dtype);
    for (size_t i = 0; i < sizes[k]; i++) {
        double is = dtype == PLEAT_F32 ? ((float *)xwy[k])[i] : ((double *)xwy[k])[i];
        cr_assert(is == operands[k][i], "%s %s f%d element %zu is %g, not %g: %s\n%s", m->name, op_names[op],
                  dtype == PLEAT_F32 ? 32 : 64, i, is, operands[k][i], geometry_print(g).text,
                  geometry_reproduce(g, "test_methods", "methods/definition").text);
    }
    free(right), free(xwy[0]), free(xwy[1]), free(xwy[2]);
}

static void try_geometry(const pleat_conv_shape *g, uint64_t seed) {
    size_t sizes[3] = {geometry_image(g), geometry_kernel(g), geometry_map(g)};
    for (int op = 0; op < 3; op++) {
        double *operands[3];
        for (size_t i = 0; i < 3; i++) operands[i] = numbers(sizes[i], seed + i);
        reference_conv(g, (pleat_conv_op)op, operands[0], operands[1], operands[2]);
        for (size_t m = 0; m < METHODS; m++)
            for (int dtype = 0; dtype < 2; dtype++)
                compare(&methods[m], g, (pleat_conv_op)op, dtype ? PLEAT_F64 : PLEAT_F32, operands, sizes);
        for (size_t i = 0; i < 3; i++) free(operands[i]);
    }
}

Test(methods, definition) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++) try_geometry(&g, 3 * i);
}

Test(methods, empty_batch) {
    uint64_t seed = 7;
    for (size_t i = 0; i < 100; i++) {
        pleat_conv_shape g = geometry_random(&seed);
        g.N = 0;
        try_geometry(&g, i);
    }
}

/* Strides, dilations and paddings near the end of what can be counted: the result is right. */
Test(methods, extreme_geometries) {
    static const char *const cases[] = {
        "N1 C1 O1 G1 H4 W4 P1 Q1 R2 S2 s" SIZE_MOST "," STEP_MOST " d1,1 p0,0",
        "N1 C1 O1 G1 H4 W4 P3 Q3 R1 S1 s1,1 d" SIZE_MOST "," STEP_MOST " p1,0",
        "N1 C1 O1 G1 H4 W4 P2 Q2 R1 S1 s" STEP_NEAR ",2 d1,1 p0,0",
        "N1 C1 O1 G1 H4 W4 P1 Q1 R2 S2 s1,1 d" STEP_NEAR ",2 p0,0",
        "N1 C1 O1 G1 H4 W4 P2 Q2 R1 S1 s1,1 d1,1 p" STEP_NEAR ",0",
        "N1 C1 O1 G1 H4 W4 P2 Q2 R1 S1 s1,1 d1,1 p-" STEP_NEAR ",0",
        "N1 C1 O1 G1 H9 W9 P2 Q2 R2 S2 s" BY_WIDTH("4611686018427387000", "1073741000") ",3 d7,1 p" BY_WIDTH(
            "4611686018427387000", "1073741000") ",0",
        "N1 C1 O1 G1 H9 W9 P3 Q3 R3 S3 s200,200 d201,199 p200,200",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pleat_conv_shape g;
        cr_assert(geometry_parse(cases[i], &g) && !pleat_conv_check(&g, sizeof(double)), "%s", cases[i]);
        try_geometry(&g, i);
    }
}

/* A map stretched to 16 million rows and columns is refused, not lent by the system and crawled through. */
Test(methods, stretched_too_far) {
    pleat_conv_shape g;
    cr_assert(geometry_parse(
        "N1 C1 O1 G1 H9 W9 P9 Q9 R9 S9 s2000000,2000000 d2000001,1999999 p9000000,9000000", &g));
    double *x = calloc(81, sizeof *x), *w = calloc(81, sizeof *w), *y = calloc(81, sizeof *y);
    cr_assert(x && w && y);
    for (size_t i = 0; i < METHODS; i++)
        cr_expect(methods[i].transpose(&g, PLEAT_F64, y, w, x) ==
                  (strcmp(methods[i].name, "zero-insertion") != 0));
    free(x), free(w), free(y);
}

Test(methods, none_computes_less_than_scatter) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, 300, &g); i++) {
        double least = find_method("scatter")->transpose_macs(&g);
        for (size_t m = 0; m < METHODS; m++)
            cr_assert(methods[m].transpose_macs(&g) >= least, "%s: %s", methods[m].name,
                      geometry_print(&g).text);
    }
}

/* k4 s2 p1, 8 to 16 pixels, by hand: gemm 8*4, phase 16*2, zero insertion 16*4 along each axis; the border pixels leave
 * out 2 of the 32 pairs of scatter. */
Test(methods, multiply_adds) {
    pleat_conv_shape g = {.N = 1, .C = 1, .O = 1, .G = 1, .H = 16, .W = 16, .P = 8, .Q = 8, .R = 4, .S = 4};
    g.stride[0] = g.stride[1] = 2, g.dilation[0] = g.dilation[1] = 1, g.pad[0] = g.pad[1] = 1;
    cr_expect(find_method("gemm")->transpose_macs(&g) == 32 * 32);
    cr_expect(find_method("phase")->transpose_macs(&g) == 32 * 32);
    cr_expect(find_method("zero-insertion")->transpose_macs(&g) == 64 * 64);
    cr_expect(find_method("scatter")->transpose_macs(&g) == 30 * 30);
}

Test(methods, names) {
    for (size_t i = 0; i < METHODS; i++) cr_expect(find_method(methods[i].name) == &methods[i]);
    cr_expect(!find_method("gem") && !find_method("") && !find_method("gemm "));
}

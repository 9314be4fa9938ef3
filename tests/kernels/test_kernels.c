/* The kernels against their definition and their laws, bit for bit. Every buffer that a kernel is given lies between
 * guards, starts at an address aligned for its element only, and holds large numbers where nothing has been written yet: not NaN,
 * which would be taken for what padding makes of Inf, and be computed again. */
#include "conv_calls.h"
#include "core/core.h"
#include "geometry.h"
#include "kernels/gemm/gemm.h"
#include "kernels/simd/cpu.h"
#include "pages.h"
#include "reference.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_CASES = 2000, GUARD = 72, UNWRITTEN = 0x71, MIB = 1024 * 1024 };

static const pleat_conv_op ops[] = {PLEAT_CONV_FORWARD, PLEAT_CONV_TRANSPOSE, PLEAT_CONV_WEIGHT};
static const char *const op_names[] = {"conv2d", "conv2d_transpose", "conv2d_weight"};
static const size_t elements[] = {sizeof(float), sizeof(double)};

/* ---- guarded memory ---------------------------------------------------------------------------------- */

typedef struct buffer {
    unsigned char *block;
    size_t bytes;
} buffer;

/* These bits make a large finite number of either type. */
static buffer buffer_new(size_t bytes) {
    buffer b = {malloc(bytes + 2 * GUARD), bytes};
    cr_assert_not_null(b.block);
    memset(b.block, 0x5a, bytes + 2 * GUARD);
    memset(b.block + GUARD, UNWRITTEN, bytes);
    return b;
}

static void *buffer_data(buffer b) { return b.block + GUARD; }

/* Whether the guards are as they were. */
static bool buffer_free(buffer b) {
    bool whole = true;
    for (size_t i = 0; i < GUARD; i++)
        whole = whole && b.block[i] == 0x5a && b.block[GUARD + b.bytes + i] == 0x5a;
    free(b.block);
    return whole;
}

/* n numbers in the type that the kernel takes. */
static buffer buffer_of(const double *a, size_t n, size_t element) {
    buffer b = buffer_new(n * element);
    float *f = buffer_data(b);
    double *d = buffer_data(b);
    for (size_t i = 0; i < n; i++) {
        if (element == sizeof(float))
            f[i] = (float)a[i];
        else
            d[i] = a[i];
    }
    return b;
}

static double *buffer_numbers(buffer b, size_t element) {
    size_t n = b.bytes / element;
    double *a = malloc(n * sizeof *a + 1);
    cr_assert_not_null(a);
    for (size_t i = 0; i < n; i++)
        a[i] = element == sizeof(float) ? ((float *)buffer_data(b))[i] : ((double *)buffer_data(b))[i];
    return a;
}

static void buffers_free(buffer a, buffer b, const char *name, const pleat_conv_shape *g) {
    bool whole = buffer_free(a);
    cr_assert(buffer_free(b) && whole, "%s wrote where it must not: %s", name, geometry_print(g).text);
}

/* ---- problems ---------------------------------------------------------------------------------------- */

/* A geometry with its operands, and how many elements they have. */
typedef struct problem {
    pleat_conv_shape g;
    size_t nx, nw, ny;
    double *x, *w, *y;
} problem;

static double *numbers(size_t n) {
    double *a = malloc(n * sizeof *a + 1);
    cr_assert_not_null(a);
    return a;
}

static problem problem_new(const pleat_conv_shape *g, uint64_t seed) {
    cr_assert_null(pleat_conv_check(g, sizeof(double)), "%s: %s", geometry_print(g).text,
                   pleat_conv_check(g, sizeof(double)));
    problem p = {*g, geometry_image(g), geometry_kernel(g), geometry_map(g), NULL, NULL, NULL};
    p.x = numbers(p.nx), p.w = numbers(p.nw), p.y = numbers(p.ny);
    fill_integers(p.x, p.nx, seed), fill_integers(p.w, p.nw, seed + 1), fill_integers(p.y, p.ny, seed + 2);
    return p;
}

static void problem_free(problem p) { free(p.x), free(p.w), free(p.y); }

/* What an operator gives for the other two operands. */
static size_t result_size(const problem *p, pleat_conv_op op) {
    return op == PLEAT_CONV_FORWARD ? p->ny : op == PLEAT_CONV_TRANSPOSE ? p->nx : p->nw;
}

/* Forced by the environment, so that every test here runs on every path. */
static pleat_path path(void) { return forced_path(); }

static double *expected(const problem *p, pleat_conv_op op) {
    double *a = numbers(result_size(p, op));
    reference_conv(&p->g, op, op == PLEAT_CONV_TRANSPOSE ? a : p->x, op == PLEAT_CONV_WEIGHT ? a : p->w,
                   op == PLEAT_CONV_FORWARD ? a : p->y);
    return a;
}

/* The kernel's result as doubles, after a check that it wrote there, to its workspace, and nowhere else. */
static double *run(const problem *p, pleat_conv_op op, size_t element, int threads) {
    buffer b[3] = {buffer_of(p->x, p->nx, element), buffer_of(p->w, p->nw, element),
                   buffer_of(p->y, p->ny, element)};
    int result = op == PLEAT_CONV_TRANSPOSE ? 0 : op == PLEAT_CONV_WEIGHT ? 1 : 2;
    memset(buffer_data(b[result]), UNWRITTEN, b[result].bytes);
    buffer memory = buffer_new(conv_bytes(&p->g, element, op, path(), threads));
    pleat_work work = {.memory = buffer_data(memory), .bytes = memory.bytes};
    if (threads > 1) work.pool = pleat_pool_new(threads);
    void *xwy[3] = {buffer_data(b[0]), buffer_data(b[1]), buffer_data(b[2])};
    cr_assert_eq(conv_run(&p->g, element, op, path(), xwy, &work), 0);
    pleat_pool_free(work.pool);
    double *a = buffer_numbers(b[result], element);
    bool intact = buffer_free(memory);
    const double *operands[3] = {p->x, p->w, p->y};
    for (int i = 0; i < 3; i++) {
        if (i != result) {
            double *after = buffer_numbers(b[i], element);
            intact = intact && memcmp(after, operands[i], b[i].bytes / element * sizeof(double)) == 0;
            free(after);
        }
        intact = buffer_free(b[i]) && intact;
    }
    cr_assert(intact, "%s wrote where it must not: %s", op_names[op], geometry_print(&p->g).text);
    return a;
}

/* The first place where two arrays differ, or n. NaN differs from everything. */
static size_t difference(const double *a, const double *b, size_t n) {
    size_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

static void compare(const problem *p, pleat_conv_op op, size_t element, const double *want) {
    double *got = run(p, op, element, 1);
    size_t n = result_size(p, op), i = difference(got, want, n);
    cr_assert_eq(i, n, "%s, %zu bytes an element: element %zu is %g, not %g\n%s", op_names[op], element, i,
                 got[i], want[i], geometry_reproduce(&p->g, "test_kernels", "kernels/reference").text);
    free(got);
}

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* ---- reads beside the operands ------------------------------------------------------------------------- */

static pages pages_of(const double *a, size_t n, size_t element, bool at_end) {
    pages p = pages_new(n * element, at_end);
    buffer b = buffer_of(a, n, element);
    memcpy(p.data, buffer_data(b), n * element);
    buffer_free(b);
    return p;
}

/* No engine reads beside its operands, even where it uses nothing of what it reads: there may be no memory. */
Test(kernels, nothing_beside_is_read) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        for (int k = 0; k < 6; k++) {
            problem p = problem_new(&g, i);
            size_t element = elements[i % 2];
            pages x = pages_of(p.x, p.nx, element, k % 2), w = pages_of(p.w, p.nw, element, k % 2),
                  y = pages_of(p.y, p.ny, element, k % 2);
            buffer memory = buffer_new(conv_bytes(&g, element, ops[k / 2], path(), 1));
            pleat_work work = {.memory = buffer_data(memory), .bytes = memory.bytes};
            cr_expect_eq(conv_run(&g, element, ops[k / 2], path(), (void *[]){x.data, w.data, y.data}, &work),
                         0);
            pages_free(x), pages_free(w), pages_free(y);
            buffer_free(memory), problem_free(p);
        }
}

/* ---- against the definition -------------------------------------------------------------------------- */

Test(kernels, reference) {
    pleat_conv_shape g;
    size_t cases = 0, empty = 0;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++) {
        problem p = problem_new(&g, i);
        for (int op = 0; op < 3; op++) {
            double *want = expected(&p, ops[op]);
            for (int e = 0; e < 2; e++) compare(&p, ops[op], elements[e], want);
            cases++, empty += mostly_zero(want, result_size(&p, ops[op]));
            free(want);
        }
        problem_free(p);
    }
    cr_assert(20 * empty <= cases + 400 || getenv("PLEAT_CASE"), /* corners may be */
              "%zu of %zu cases are mostly zeros and prove little", empty, cases);
}

/* What may follow the sum. */
typedef struct ending {
    bool relu, scaled, clipped;
} ending;

enum { MOST = 6 };

/* A sum and its bias after the rest, for a channel. */
static double ended(ending e, size_t element, double v, double factor, double shift) {
    if (e.scaled) v = v * factor + shift;
    if (e.scaled && element == sizeof(float)) v = (double)(float)v;
    if (e.relu && !(v > 0)) v = 0;
    return e.relu && e.clipped && v > MOST ? MOST : v;
}

/* The result for each channel, with a bias. */
static void check_ending(const problem *p, pleat_conv_op op, size_t element, ending e) {
    size_t channels = op == PLEAT_CONV_TRANSPOSE ? p->g.C : p->g.O, n = result_size(p, op);
    size_t pixels = n / (p->g.N * channels);
    double *want = expected(p, op), *bias = numbers(channels), *factors = numbers(2 * channels);
    fill_integers(bias, channels, n);
    for (size_t c = 0; c < channels; c++) /* factors that are floats: products with whole numbers are exact */
        factors[c] = (double)(float)(0.7 - 0.3 * (double)(c % 5)),
        factors[channels + c] = (double)(c % 3) / 3 - 0.2;
    buffer b = buffer_of(bias, channels, element),
           operands[2] = {buffer_of(op ? p->y : p->x, op ? p->ny : p->nx, element),
                          buffer_of(p->w, p->nw, element)};
    buffer c = buffer_new(n * element), memory = buffer_new(conv_bytes(&p->g, element, op, path(), 1));
    pleat_work work = {.memory = buffer_data(memory), .bytes = memory.bytes, .bias = buffer_data(b)};
    work.relu = e.relu, work.most = e.clipped ? MOST : 0;
    if (e.scaled) work.factor = factors, work.shift = factors + channels;
    void *xwy[3] = {buffer_data(op ? c : operands[0]), buffer_data(operands[1]),
                    buffer_data(op ? operands[0] : c)};
    cr_assert_eq(conv_run(&p->g, element, op, path(), xwy, &work), 0);
    double *got = buffer_numbers(c, element);
    for (size_t i = 0; i < n; i++) {
        size_t k = i / pixels % channels;
        want[i] = ended(e, element, want[i] + bias[k], factors[k], factors[channels + k]);
    }
    cr_assert_eq(difference(got, want, n), n, "%s",
                 geometry_reproduce(&p->g, "test_kernels", "kernels/what_follows_the_sum").text);
    cr_assert(buffer_free(c) && buffer_free(memory));
    buffer_free(b), buffer_free(operands[0]), buffer_free(operands[1]);
    free(want), free(bias), free(factors), free(got);
}

Test(kernels, what_follows_the_sum) {
    static const ending all[] = {{false, false, false}, {true, false, false}, {false, true, false},
                                 {true, true, false},   {true, false, true},  {true, true, true}};
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES / 4, &g); i++) {
        problem p = problem_new(&g, i);
        for (int op = 0; op < 2; op++)
            for (size_t e = 0; e < 2; e++)
                check_ending(&p, ops[op], elements[e], all[(i + 3 * e) % (sizeof all / sizeof *all)]);
        problem_free(p);
    }
}

/* A path that is forced is gone: few shapes are left to the plain one. */
Test(kernels, forced_paths_are_gone) {
    pleat_conv_shape g;
    size_t cases = 0, taken = 0;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        for (int op = 0; op < 3; op++) cases++, taken += conv_takes(&g, elements[i % 2], ops[op], path());
    bool lacks = !pl_isa_runs_here(path().isa);
    cr_assert(100 * taken >= 97 * cases || (lacks && taken == 0) || getenv("PLEAT_CASE"), "%zu of %zu", taken,
              cases);
}

/* ---- plans -------------------------------------------------------------------------------------------- */

Test(kernels, words_name_a_path) {
    static const struct {
        const char *engine, *isa;
        pleat_path path;
    } words[] = {
        {NULL, NULL, {PLEAT_ENGINE_AUTO, PLEAT_ISA_AUTO}},
        {"auto", "baseline", {PLEAT_ENGINE_AUTO, PLEAT_ISA_BASELINE}},
        {"reference", "auto", {PLEAT_ENGINE_REFERENCE, PLEAT_ISA_AUTO}},
        {"im2col", NULL, {PLEAT_ENGINE_IM2COL, PLEAT_ISA_AUTO}},
        {"implicit_gemm", "avx512", {PLEAT_ENGINE_IMPLICIT_GEMM, PLEAT_ISA_AVX512}},
        {"direct", "avx2", {PLEAT_ENGINE_DIRECT, PLEAT_ISA_AVX2}},
        {"columns", NULL, {PLEAT_ENGINE_COLUMNS, PLEAT_ISA_AUTO}},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        pleat_path p = {PLEAT_ENGINE_IM2COL, PLEAT_ISA_AVX512};
        cr_expect(pleat_path_parse(words[i].engine, words[i].isa, &p), "row %zu", i);
        cr_expect(p.engine == words[i].path.engine && p.isa == words[i].path.isa, "row %zu", i);
    }
    pleat_path kept = {PLEAT_ENGINE_DIRECT, PLEAT_ISA_AVX2};
    cr_expect_not(pleat_path_parse("", NULL, &kept));
    cr_expect_not(pleat_path_parse(NULL, "sse2", &kept));
    cr_expect(kept.engine == PLEAT_ENGINE_DIRECT && kept.isa == PLEAT_ISA_AVX2);
}

Test(kernels, a_plan_says_what_it_is) {
    pleat_conv_shape g;
    cr_assert(geometry_parse("N64 C16 O32 G1 H14 W14 P7 Q7 R3 S3 s2,2 d1,1 p1,1", &g));
    char text[200];
    pleat_conv_plan *plan =
        pleat_conv_plan_new(&g, PLEAT_CONV_TRANSPOSE, sizeof(double), (pleat_path){PLEAT_ENGINE_IM2COL, 0});
    cr_assert_not_null(plan);
    cr_expect_str_eq(pleat_conv_plan_print(plan, text, sizeof text),
                     "conv2d_transpose f64: im2col, columns of 144 by 49, 1 strips");
    cr_expect_eq(memcmp(pleat_conv_plan_shape(plan), &g, sizeof g), 0);
    pleat_conv_plan_free(plan);
    plan = pleat_conv_plan_new(&g, PLEAT_CONV_FORWARD, sizeof(float), (pleat_path){0, PLEAT_ISA_BASELINE});
    cr_assert_not_null(plan);
    pleat_conv_plan_print(plan, text, sizeof text);
    cr_expect_eq(strncmp(text, "conv2d f32: implicit_gemm baseline, ", 36), 0, "%s", text);
    pleat_path taken = pleat_conv_plan_path(plan);
    cr_expect(taken.engine == PLEAT_ENGINE_IMPLICIT_GEMM && taken.isa == PLEAT_ISA_BASELINE);
    cr_expect_eq(strlen(pleat_conv_plan_print(plan, text, 20)), 19, "%s", text);
    pleat_conv_plan_free(plan);
}

/* A context keeps plans. What it gives is a plan for the shape, the operator and the type that are asked for, also where several of them
 * have the same place: that is so for some of many, if the sizes have as many bits as those that hold the operator in the hash. Plan i of
 * these: */
static const pleat_conv_plan *plan_of(pleat_ctx *ctx, size_t i) {
    pleat_conv_shape g = {.N = 1, .C = 2, .O = 2, .G = 1, .W = 5, .Q = 3, .R = 3, .S = 3};
    for (size_t k = 0; k < 2; k++) g.stride[k] = g.dilation[k] = 1;
    g.H = 3 + i / 6 * 263, g.P = 1 + i / 6 * 263;
    bool wide = i % 2;
    pleat_dtype dtype = wide ? PLEAT_F64 : PLEAT_F32;
    const pleat_conv_plan *plan = pl_conv_plan(ctx, &g, ops[i % 3], dtype);
    cr_assert_not_null(plan);
    char text[200], want[40];
    int n = snprintf(want, sizeof want, "%s %s: ", op_names[i % 3], wide ? "f64" : "f32");
    cr_assert_eq(strncmp(pleat_conv_plan_print(plan, text, sizeof text), want, (size_t)n), 0, "%s%s", want,
                 text);
    cr_assert_eq(memcmp(pleat_conv_plan_shape(plan), &g, sizeof g), 0);
    cr_assert_eq(pl_conv_plan(ctx, &g, ops[i % 3], dtype), plan, "it is made once");
    return plan;
}

/* Those of a large network; and more than a context keeps. */
Test(kernels, a_context_keeps_plans) {
    enum { KEPT = 600, ALL = 2000 };
    const pleat_conv_plan *plan[KEPT];
    pleat_ctx *ctx = pleat_ctx_new();
    cr_assert_not_null(ctx);
    for (size_t i = 0; i < KEPT; i++) plan[i] = plan_of(ctx, i);
    for (size_t i = 0; i < KEPT; i++) cr_assert_eq(plan_of(ctx, i), plan[i]);
    for (size_t i = 0; i < ALL; i++) plan_of(ctx, i);
    pleat_ctx_free(ctx);
}

/* Weights that were packed before the call give what the call packs for itself, also after w has been lost. */
Test(kernels, weights_packed_before) {
    pleat_conv_shape g;
    size_t packed = 0;
    bool wide = path().isa == PLEAT_ISA_BASELINE; /* taken by name, or there are wider vectors */
    for (size_t i = 0; geometry_case(i, RANDOM_CASES / 8, &g); i++)
        for (int op = 0; op < 2; op++) {
            g.N += 8; /* strips enough to pack once */
            size_t element = elements[i % 2],
                   n[3] = {geometry_image(&g), geometry_kernel(&g), geometry_map(&g)};
            pleat_conv_plan *plan = pleat_conv_plan_new(&g, ops[op], element, path());
            wide = wide || pleat_conv_plan_path(plan).isa > PLEAT_ISA_BASELINE;
            size_t bytes = pleat_conv_packed_bytes(plan);
            if (bytes > 0) {
                problem p = problem_new(&g, i);
                buffer b[3] = {buffer_of(p.x, n[0], element), buffer_of(p.w, n[1], element),
                               buffer_of(p.y, n[2], element)};
                buffer memory = buffer_new(pleat_conv_plan_bytes(plan, 1));
                void *w = aligned_alloc(64, (bytes + 63) / 64 * 64);
                cr_assert_not_null(w);
                pleat_conv_pack(plan, buffer_data(b[1]), w, NULL);
                memset(buffer_data(b[1]), UNWRITTEN, b[1].bytes);
                pleat_work work = {.memory = buffer_data(memory), .bytes = memory.bytes, .packed = w};
                cr_assert_eq(
                    pleat_conv_run(plan, buffer_data(b[0]), buffer_data(b[1]), buffer_data(b[2]), &work), 0);
                double *want = expected(&p, ops[op]), *got = buffer_numbers(b[op == 0 ? 2 : 0], element);
                size_t size = n[op == 0 ? 2 : 0];
                cr_assert_eq(difference(got, want, size), size, "%s",
                             geometry_reproduce(&g, "test_kernels", "kernels/weights*").text);
                packed++;
                for (int k = 0; k < 3; k++) buffer_free(b[k]);
                buffer_free(memory), free(w), free(want), free(got), problem_free(p);
            }
            pleat_conv_plan_free(plan);
        }
    bool none = path().engine == PLEAT_ENGINE_IM2COL || path().engine == PLEAT_ENGINE_REFERENCE ||
                !pl_isa_runs_here(path().isa);
    cr_assert(packed > 100 || none || !wide || getenv("PLEAT_CASE") || getenv("PLEAT_TEST_EVERY"), "only %zu",
              packed);
}

/* Up to which distances, taps and strides implicit GEMM goes: beyond, its products of sizes might not be a size_t. */
Test(kernels, implicit_gemm_stays_near) {
    static const struct {
        const char *shape;
        bool near;
    } cases[] = {
        {"N1 C8 O8 G1 H9 W9 P9 Q9 R3 S3 s1,1 d1,1 p4096,-4096", true},
        {"N1 C8 O8 G1 H9 W9 P9 Q9 R3 S3 s1,1 d1,1 p1,-4097", false},
        {"N1 C8 O8 G1 H9 W9 P9 Q9 R3 S3 s1,1 d1,1 p4097,1", false},
        {"N1 C8 O8 G1 H9 W9 P9 Q9 R3 S3 s1,1 d1,4096 p1,1", true},
        {"N1 C8 O8 G1 H9 W9 P9 Q9 R3 S3 s1,1 d4097,1 p1,1", false},
        {"N1 C8 O8 G1 H3 W60000 P3 Q60000 R3 S3 s1,1 d1,1 p1,1", true}, /* a row in several strips */
        {"N1 C8 O8 G1 H40 W40 P9 Q9 R32 S32 s1,1 d1,1 p0,0", true},
        {"N1 C8 O8 G1 H40 W40 P9 Q9 R3 S33 s1,1 d1,1 p0,0", false},
        {"N1 C8 O8 G1 H40 W40 P3 Q3 R3 S3 s16,16 d1,1 p0,0", true},
        {"N1 C8 O8 G1 H40 W40 P3 Q3 R3 S3 s17,1 d1,1 p0,0", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int op = 0; op < 3; op++) {
            pleat_conv_shape g;
            cr_assert(geometry_parse(cases[i].shape, &g));
            pleat_path baseline = {PLEAT_ENGINE_AUTO, PLEAT_ISA_BASELINE};
            cr_expect_eq(conv_takes(&g, sizeof(float), ops[op], baseline), cases[i].near, "%s",
                         cases[i].shape);
        }
}

/* Sizes that take several strips, blocks of channels and partial sums. */
static const char *const large[] = {
    "N1 C3 O2 G1 H150 W170 P150 Q170 R3 S3 s1,1 d1,1 p1,1",
    "N2 C300 O3 G1 H9 W11 P9 Q11 R3 S3 s1,1 d1,1 p1,1",
    "N1 C130 O2 G1 H40 W41 P40 Q41 R3 S3 s1,1 d1,1 p1,1",
    "N1 C70 O3 G1 H96 W90 P48 Q45 R4 S4 s2,2 d1,1 p1,1",
    "N1 C2 O2 G1 H90 W100 P11 Q12 R80 S90 s1,1 d1,1 p0,1",
    "N1 C1 O2 G1 H513 W514 P1 Q2 R513 S513 s1,1 d1,1 p0,0", /* one column is more than 1 MiB */
    "N1 C8 O6 G2 H200 W210 P100 Q106 R3 S3 s2,2 d1,1 p1,2",
    "N9 C3 O4 G1 H20 W20 P10 Q10 R3 S3 s2,2 d1,1 p1,1",
    "N1 C500 O3 G1 H60 W61 P60 Q61 R1 S1 s1,1 d1,1 p0,0",
    "N3 C900 O2 G1 H7 W7 P7 Q7 R1 S1 s1,1 d1,1 p0,0",
    "N1 C600 O2 G1 H41 W40 P21 Q20 R1 S1 s2,2 d1,1 p0,0",
    "N2 C16 O16 G16 H72 W56 P24 Q18 R3 S3 s3,3 d1,1 p0,0", /* vectors over groups: two of three bands at a time */
    "N3 C20 O20 G20 H70 W66 P70 Q66 R3 S3 s1,1 d1,1 p1,1", /* direct loops: planes and pairs in a task, */
    "N2 C1 O1 G1 H101 W230 P51 Q115 R5 S5 s2,2 d1,1 p2,2", /* bands of a plane, */
    "N5 C2 O4 G2 H45 W60 P45 Q60 R4 S4 s1,1 d2,2 p3,3",    /* few pairs of channels, */
    "N1 C1 O1 G1 H3 W9000 P3 Q9000 R3 S3 s1,1 d1,1 p1,1",  /* a long row */
    /* an image of one pixel along the stride: one phase, which only some taps reach, and weights that are packed once */
    "N277 C100 O8 G1 H1 W1 P1 Q3 R2 S1 s3,3 d1,1 p0,3",
    "N512 C128 O32 G1 H1 W1 P1 Q1 R3 S3 s2,2 d1,1 p1,1",
    "N1 C100 O16 G1 H1 W5000 P1 Q5000 R3 S3 s2,1 d1,1 p1,1",
};

enum { LARGE = sizeof large / sizeof *large };

static problem large_problem(size_t i) {
    pleat_conv_shape g;
    cr_assert(geometry_parse(large[i], &g));
    return problem_new(&g, i);
}

Test(kernels, strips_and_blocks) {
    pleat_blas_single_thread();
    for (size_t i = 0; i < LARGE; i++) {
        problem p = large_problem(i);
        for (int op = 0; op < 3; op++) {
            double *want = expected(&p, ops[op]);
            for (int e = 0; e < 2; e++) compare(&p, ops[op], elements[e], want);
            free(want);
        }
        problem_free(p);
    }
}

/* ---- direct loops ------------------------------------------------------------------------------------- */

/* Sizes around vectors of 4, 8 and 16 numbers and blocks of 4 and 7 rows. */
static const size_t widths[] = {1, 4, 7, 9, 14, 16, 17, 23, 30, 33, 47, 64},
                    heights[] = {1, 6, 7, 8, 13, 15, 24}, kernels[] = {3, 5, 2, 4, 1, 7}, strides[] = {1, 2},
                    dilations[] = {1, 1, 2, 3};
static const ptrdiff_t paddings[] = {1, 2, 0, 3, 6, -1, -2, 20};
static const size_t channels[][2] = {{1, 1}, {1, 2}, {2, 1},
                                     {2, 2}, {3, 1}, {1, 3}}; /* of a group: in, out */

#define ANY(list, seed) list[random_below(seed, sizeof list / sizeof *list)]

/* Of few channels in a group, with a map of the size that the usual rule gives, or a few pixels off. */
static bool few_channels(uint64_t *seed, size_t i, pleat_conv_shape *g) {
    const size_t *in_out = channels[i % 3 ? 0 : random_below(seed, 6)];
    bool square = random_below(seed, 5);
    size_t groups = 1 + random_below(seed, 4), kernel = ANY(kernels, seed), stride = ANY(strides, seed);
    *g = (pleat_conv_shape){.N = 1 + random_below(seed, 2), .G = groups, .C = groups * in_out[0]};
    g->O = groups * in_out[1], g->H = ANY(heights, seed), g->W = ANY(widths, seed);
    g->R = square ? kernel : ANY(kernels, seed), g->S = kernel;
    g->stride[0] = square ? stride : ANY(strides, seed), g->stride[1] = stride;
    for (size_t k = 0; k < 2; k++) {
        g->dilation[k] = ANY(dilations, seed);
        g->pad[k] = square && stride == 1 ? (ptrdiff_t)kernel / 2 : ANY(paddings, seed);
        size_t size = k ? g->W : g->H, n = k ? g->S : g->R;
        size_t map = pleat_conv_map_size(size, n, g->stride[k], g->dilation[k], g->pad[k], g->pad[k]);
        map += random_below(seed, 3) == 0;
        if (k)
            g->Q = map;
        else
            g->P = map;
    }
    return g->P > 0 && g->Q > 0;
}

/* Whether direct loops are out of the question: by name, or because the processor lacks the instruction set. */
static bool is_plain(void) {
    pleat_path p = path();
    return p.engine != PLEAT_ENGINE_AUTO || !pl_isa_runs_here(p.isa);
}

/* Whether the tested path computes the shape with direct loops. */
static bool is_direct(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    pleat_path taken = conv_taken(g, element, op, path()), direct = {PLEAT_ENGINE_DIRECT, taken.isa};
    if (is_plain() || !conv_takes(g, element, op, direct)) return false;
    cr_assert_eq(taken.engine, PLEAT_ENGINE_DIRECT, "something else is tried before");
    return true;
}

Test(kernels, few_channels_in_a_group) {
    size_t direct[3] = {0}, cases = 0;
    pleat_conv_shape g;
    for (uint64_t i = 0; i < RANDOM_CASES / 2; i++) {
        uint64_t seed = i;
        if (!few_channels(&seed, (size_t)i, &g)) continue;
        problem p = problem_new(&g, i);
        cases++;
        for (int op = 0; op < 3; op++) {
            double *want = expected(&p, ops[op]);
            for (int e = 0; e < 2; e++) compare(&p, ops[op], elements[e], want);
            direct[op] += is_direct(&g, elements[i % 2], ops[op]);
            free(want);
        }
        if (i % 4 == 0)
            for (int op = 0; op < 2; op++)
                check_ending(&p, ops[op], elements[i / 4 % 2], (ending){i % 8 == 0, i % 3 == 0, false});
        problem_free(p);
    }
    bool many = 4 * direct[0] > cases && 4 * direct[1] > cases && 8 * direct[2] > cases;
    cr_assert(many || is_plain(), "of %zu only %zu, %zu and %zu are direct", cases, direct[0], direct[1],
              direct[2]);
}

/* Without images there is nothing to write but the sum over them. */
Test(kernels, empty_batch) {
    static const char *const empty[] = {"N0 C4 O2 G2 H5 W6 P3 Q2 R3 S3 s2,2 d1,1 p0,0",
                                        "N0 C4 O4 G4 H21 W30 P21 Q30 R3 S3 s1,1 d1,1 p1,1"};
    for (size_t k = 0; k < 2; k++) {
        pleat_conv_shape g;
        cr_assert(geometry_parse(empty[k], &g));
        problem p = problem_new(&g, 1);
        for (int e = 0; e < 2; e++) {
            for (int op = 0; op < 2; op++) free(run(&p, ops[op], elements[e], 2));
            double *w = run(&p, PLEAT_CONV_WEIGHT, elements[e], 2);
            for (size_t i = 0; i < p.nw; i++) cr_assert_eq(w[i], 0);
            free(w);
        }
        problem_free(p);
    }
}

/* Weight gradients of square kernels up to 5x5 have direct loops; the other two operators any kernel. */
Test(kernels, direct_loops_of_weight_gradients) {
    for (size_t n = 1; n <= 7; n++)
        for (size_t wide = 0; wide < 2; wide++) {
            pleat_conv_shape g = {.N = 2, .C = 4, .O = 4, .G = 4, .H = 64, .W = 64, .R = n, .S = n + wide};
            g.P = 65 - g.R, g.Q = 65 - g.S;
            for (size_t k = 0; k < 2; k++) g.stride[k] = g.dilation[k] = 1;
            for (int op = 0; op < 3; op++) {
                pleat_path direct = {PLEAT_ENGINE_DIRECT, PLEAT_ISA_BASELINE};
                bool taken = conv_takes(&g, sizeof(float), ops[op], direct);
                bool wanted = ops[op] != PLEAT_CONV_WEIGHT || (wide == 0 && n >= 2 && n <= 5);
                cr_expect_eq(taken, wanted, "kernel %zux%zu, operator %d", g.R, g.S, op);
            }
        }
}

/* ---- unfold and fold --------------------------------------------------------------------------------- */

static double *unfold(const pleat_conv_shape *g, size_t element, const double *x, size_t first,
                      size_t count) {
    buffer in = buffer_of(x, g->C * g->H * g->W, element);
    buffer out = buffer_new(g->C * g->R * g->S * count * element);
    if (element == sizeof(float))
        pleat_im2col_f32(g, g->C, buffer_data(in), first, count, buffer_data(out));
    else
        pleat_im2col_f64(g, g->C, buffer_data(in), first, count, buffer_data(out));
    double *col = buffer_numbers(out, element);
    buffers_free(in, out, "im2col", g);
    return col;
}

/* col2im adds to x. */
static double *fold(const pleat_conv_shape *g, size_t element, const double *col, size_t first, size_t count,
                    const double *x) {
    buffer in = buffer_of(col, g->C * g->R * g->S * count, element);
    buffer out = buffer_of(x, g->C * g->H * g->W, element);
    if (element == sizeof(float))
        pleat_col2im_f32(g, g->C, buffer_data(in), first, count, buffer_data(out));
    else
        pleat_col2im_f64(g, g->C, buffer_data(in), first, count, buffer_data(out));
    double *sum = buffer_numbers(out, element);
    buffers_free(in, out, "col2im", g);
    return sum;
}

static bool columns_are_right(const pleat_conv_shape *g, const double *x, size_t first, size_t count,
                              const double *col) {
    for (size_t row = 0; row < g->C * g->R * g->S; row++)
        for (size_t j = 0; j < count; j++) {
            size_t c = row / g->S / g->R, r = row / g->S % g->R, s = row % g->S, pixel = first + j;
            long long at = reference_pixel(g, pixel / g->Q, pixel % g->Q, r, s);
            double want = at < 0 ? 0 : x[c * g->H * g->W + (size_t)at];
            if (col[row * count + j] != want) return false;
        }
    return true;
}

/* im2col by its definition; col2im as its adjoint, <im2col(x), c> = <x, col2im(c)>, added to what is there. */
static void check_strip(const pleat_conv_shape *g, size_t element, uint64_t seed) {
    size_t first = random_below(&seed, g->P * g->Q), count = 1 + random_below(&seed, g->P * g->Q - first);
    size_t image = g->C * g->H * g->W, columns = g->C * g->R * g->S * count;
    double *x = numbers(image), *c = numbers(columns), *before = numbers(image);
    fill_integers(x, image, seed), fill_integers(c, columns, seed + 1),
        fill_integers(before, image, seed + 2);
    double *col = unfold(g, element, x, first, count), *sum = fold(g, element, c, first, count, before);
    geometry_line again = geometry_reproduce(g, "test_kernels", "kernels/unfold_and_fold");
    cr_assert(columns_are_right(g, x, first, count, col), "im2col, pixels %zu+%zu\n%s", first, count,
              again.text);
    cr_assert_eq(dot(col, c, columns), dot(x, sum, image) - dot(x, before, image),
                 "col2im, pixels %zu+%zu\n%s", first, count, again.text);
    free(x), free(c), free(before), free(col), free(sum);
}

Test(kernels, unfold_and_fold) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        for (uint64_t k = 0; k < 4; k++) check_strip(&g, elements[k % 2], 4 * i + k);
}

/* ---- matrix products --------------------------------------------------------------------------------- */

/* Rows of c are longer than they need be: the rest of a row stays as it is. */
static void naive_product(const pl_gemm *g, const double *a, const double *b, double *c) {
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            double sum = g->accumulate ? c[i * g->ldc + j] : 0;
            for (size_t k = 0; k < g->k; k++)
                sum +=
                    a[g->ta ? k * g->lda + i : i * g->lda + k] * b[g->tb ? j * g->ldb + k : k * g->ldb + j];
            c[i * g->ldc + j] = sum;
        }
}

static pl_gemm random_product(uint64_t *seed) {
    pl_gemm g = {
        .ta = random_below(seed, 2), .tb = random_below(seed, 2), .accumulate = random_below(seed, 2)};
    size_t largest = random_below(seed, 2) ? 8 : 70;
    g.m = random_below(seed, 8), g.n = random_below(seed, largest), g.k = random_below(seed, largest);
    g.lda = (g.ta ? g.m : g.k) + random_below(seed, 3), g.ldb = (g.tb ? g.k : g.n) + random_below(seed, 3);
    g.ldc = g.n + random_below(seed, 3);
    return g;
}

Test(kernels, products) {
    for (uint64_t i = 0; i < 4000; i++) {
        uint64_t seed = i;
        pl_gemm g = random_product(&seed);
        size_t element = elements[i % 2], na = (g.ta ? g.k : g.m) * g.lda, nb = (g.tb ? g.n : g.k) * g.ldb;
        size_t nc = g.m * g.ldc;
        double *a = numbers(na), *b = numbers(nb), *c = numbers(nc);
        fill_integers(a, na, seed), fill_integers(b, nb, seed + 1), fill_integers(c, nc, seed + 2);
        buffer x = buffer_of(a, na, element), y = buffer_of(b, nb, element), z = buffer_of(c, nc, element);
        if (element == sizeof(float))
            pl_gemm_f32(&g, buffer_data(x), buffer_data(y), buffer_data(z));
        else
            pl_gemm_f64(&g, buffer_data(x), buffer_data(y), buffer_data(z));
        naive_product(&g, a, b, c);
        double *got = buffer_numbers(z, element);
        cr_assert_eq(difference(got, c, nc), nc, "m %zu n %zu k %zu ta %d tb %d ld %zu %zu %zu accumulate %d",
                     g.m, g.n, g.k, g.ta, g.tb, g.lda, g.ldb, g.ldc, g.accumulate);
        cr_assert(buffer_free(z));
        buffer_free(x), buffer_free(y);
        free(a), free(b), free(c), free(got);
    }
}

/* BLAS counts with int. */
Test(kernels, products_of_any_int_fit) {
    for (size_t i = 0; i < 6; i++)
        for (size_t more = 0; more < 2; more++) {
            pl_gemm g = {.m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1};
            size_t *const sizes[] = {&g.m, &g.n, &g.k, &g.lda, &g.ldb, &g.ldc};
            *sizes[i] = (size_t)INT_MAX + more;
            cr_expect_eq(pl_gemm_fits(&g), !more, "number %zu is INT_MAX + %zu", i, more);
        }
}

/* ---- laws -------------------------------------------------------------------------------------------- */

/* <y, conv2d(x, w)> = <x, conv2d_transpose(y, w)> = <w, conv2d_weight(x, y)> */
Test(kernels, one_form) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++) {
        problem p = problem_new(&g, i);
        size_t element = elements[i % 2];
        double *y = run(&p, PLEAT_CONV_FORWARD, element, 1), *x = run(&p, PLEAT_CONV_TRANSPOSE, element, 1);
        double *w = run(&p, PLEAT_CONV_WEIGHT, element, 1);
        geometry_line again = geometry_reproduce(&g, "test_kernels", "kernels/one_form");
        cr_assert_eq(dot(p.y, y, p.ny), dot(p.x, x, p.nx), "%s", again.text);
        cr_assert_eq(dot(p.y, y, p.ny), dot(p.w, w, p.nw), "%s", again.text);
        free(x), free(w), free(y);
        problem_free(p);
    }
}

/* Groups are the blocks on the diagonal of a kernel without groups. */
Test(kernels, groups_are_a_block_diagonal) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES / 4, &g); i++) {
        problem p = problem_new(&g, i), q;
        g.G = 1;
        q = problem_new(&g, i);
        size_t in = p.g.C / p.g.G, out = p.g.O / p.g.G, taps = g.R * g.S;
        memset(q.w, 0, q.nw * sizeof *q.w);
        memcpy(q.x, p.x, p.nx * sizeof *p.x);
        for (size_t o = 0; o < g.O; o++)
            memcpy(q.w + (o * g.C + o / out * in) * taps, p.w + o * in * taps, in * taps * sizeof *p.w);
        double *a = run(&p, PLEAT_CONV_FORWARD, elements[i % 2], 1);
        double *b = run(&q, PLEAT_CONV_FORWARD, elements[i % 2], 1);
        cr_assert_eq(difference(a, b, p.ny), p.ny, "%s",
                     geometry_reproduce(&p.g, "test_kernels", "kernels/groups_are_a_block_diagonal").text);
        free(a), free(b);
        problem_free(p), problem_free(q);
    }
}

/* An image moved by (a, b) inside a larger one gives the same map if its padding shrinks by (a, b). */
Test(kernels, shift) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES / 4, &g); i++) {
        uint64_t seed = i;
        size_t a = random_below(&seed, 4), b = random_below(&seed, 4);
        problem p = problem_new(&g, i), q;
        g.H += a + random_below(&seed, 3), g.W += b + random_below(&seed, 3);
        g.pad[0] -= (ptrdiff_t)a, g.pad[1] -= (ptrdiff_t)b;
        q = problem_new(&g, i);
        memset(q.x, 0, q.nx * sizeof *q.x);
        memcpy(q.w, p.w, p.nw * sizeof *p.w);
        for (size_t row = 0; row < g.N * g.C * p.g.H; row++)
            memcpy(q.x + ((row / p.g.H) * g.H + row % p.g.H + a) * g.W + b, p.x + row * p.g.W,
                   p.g.W * sizeof *p.x);
        double *small = run(&p, PLEAT_CONV_FORWARD, elements[i % 2], 1);
        double *moved = run(&q, PLEAT_CONV_FORWARD, elements[i % 2], 1);
        cr_assert_eq(difference(small, moved, p.ny), p.ny, "moved by %zu, %zu\n%s", a, b,
                     geometry_reproduce(&p.g, "test_kernels", "kernels/shift").text);
        free(small), free(moved);
        problem_free(p), problem_free(q);
    }
}

/* The transpose of a single map pixel is the kernel, laid where the pixel meets the image. */
Test(kernels, impulse) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES / 4, &g); i++) {
        uint64_t seed = i;
        problem p = problem_new(&g, i);
        size_t n = random_below(&seed, g.N), o = random_below(&seed, g.O), in = g.C / g.G;
        size_t row = random_below(&seed, g.P), column = random_below(&seed, g.Q);
        memset(p.y, 0, p.ny * sizeof *p.y);
        p.y[((n * g.O + o) * g.P + row) * g.Q + column] = 1;
        double *x = run(&p, PLEAT_CONV_TRANSPOSE, elements[i % 2], 1);
        geometry_line again = geometry_reproduce(&g, "test_kernels", "kernels/impulse");
        size_t hits = 0;
        for (size_t k = 0; k < in * g.R * g.S; k++) {
            size_t c = o / (g.O / g.G) * in + k / (g.R * g.S), tap = k % (g.R * g.S);
            long long at = reference_pixel(&g, row, column, tap / g.S, tap % g.S);
            double w = p.w[o * in * g.R * g.S + k];
            if (at < 0) continue;
            cr_assert_eq(x[(n * g.C + c) * g.H * g.W + (size_t)at], w, "%s", again.text);
            hits += w != 0;
        }
        for (size_t k = 0; k < p.nx; k++) hits -= x[k] != 0;
        cr_assert_eq(hits, 0, "%s", again.text);
        free(x);
        problem_free(p);
    }
}

/* ---- threads and workspace --------------------------------------------------------------------------- */

/* Fractions, so that the order of a sum shows in its last bits. */
static void make_inexact(double *a, size_t n) {
    for (size_t i = 0; i < n; i++) a[i] = (double)(float)(a[i] / 3 + (double)(i % 101) / 7);
}

static void check_threads(const problem *p, int op, size_t element) {
    double *one = run(p, ops[op], element, 1);
    for (int threads = 2; threads <= 5; threads += threads == 3 ? 2 : 1) {
        double *many = run(p, ops[op], element, threads);
        cr_assert_eq(memcmp(one, many, result_size(p, ops[op]) * sizeof *one), 0, "%s, %d threads\n%s",
                     op_names[op], threads,
                     geometry_reproduce(&p->g, "test_kernels", "kernels/threads_do_not_show").text);
        free(many);
    }
    free(one);
}

static problem inexact(problem p) {
    make_inexact(p.x, p.nx), make_inexact(p.w, p.nw), make_inexact(p.y, p.ny);
    return p;
}

Test(kernels, threads_do_not_show) {
    pleat_conv_shape g;
    pleat_blas_single_thread();
    for (size_t i = 0; geometry_case(i, 100, &g); i++) {
        problem p = inexact(problem_new(&g, i));
        for (int op = 0; op < 3; op++)
            for (int e = 0; e < 2; e++) check_threads(&p, op, elements[e]);
        problem_free(p);
    }
    /* these are slow: each operator in one type, in turns */
    for (size_t i = 0; i < LARGE && !getenv("PLEAT_CASE"); i++) {
        problem p = inexact(large_problem(i));
        for (int op = 0; op < 3; op++) check_threads(&p, op, elements[(i + (size_t)op) % 2]);
        problem_free(p);
    }
}

/* A thread may begin with any task, and finds in its workspace what others have left: NaN here. The last of two strips has fewer images
 * than the first. */
Test(kernels, what_was_in_the_workspace_does_not_show) {
    enum { SHAPES = 4, TIMES = 200 };
    static const char *const shapes[SHAPES] = {"N7 C4 O4 G1 H19 W33 P19 Q33 R1 S1 s1,1 d1,1 p0,0",
                                               "N7 C1 O2 G1 H21 W31 P20 Q30 R2 S2 s1,1 d1,1 p0,0",
                                               "N7 C8 O13 G1 H19 W33 P19 Q33 R1 S1 s1,1 d1,1 p0,0",
                                               "N31 C6 O2 G1 H14 W14 P14 Q14 R3 S3 s1,1 d1,1 p1,1"};
    pleat_pool *pool = pleat_pool_new(4);
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        pleat_conv_shape g;
        cr_assert(geometry_parse(shapes[i / 2], &g));
        problem p = inexact(problem_new(&g, i));
        size_t element = elements[i % 2];
        double *one = run(&p, PLEAT_CONV_WEIGHT, element, 1);
        buffer b[3] = {buffer_of(p.x, p.nx, element), buffer_of(p.w, p.nw, element),
                       buffer_of(p.y, p.ny, element)};
        void *xwy[3] = {buffer_data(b[0]), buffer_data(b[1]), buffer_data(b[2])};
        buffer memory = buffer_new(conv_bytes(&g, element, PLEAT_CONV_WEIGHT, path(), 4));
        pleat_work work = {.memory = buffer_data(memory), .bytes = memory.bytes, .pool = pool};
        for (int k = 0; k < TIMES; k++) {
            memset(work.memory, 0xff, work.bytes);
            cr_assert_eq(conv_run(&g, element, PLEAT_CONV_WEIGHT, path(), xwy, &work), 0);
            double *now = buffer_numbers(b[1], element);
            cr_assert_eq(memcmp(now, one, p.nw * sizeof *now), 0, "%s, %zu bytes an element, run %d",
                         shapes[i / 2], element, k);
            free(now);
        }
        for (int k = 0; k < 3; k++) buffer_free(b[k]);
        buffer_free(memory), free(one), problem_free(p);
    }
    pleat_pool_free(pool);
}

/* At most 1 MiB a thread, or one column of a kernel that is larger, and beside that one copy of the weights, or 1 MiB of their partial sums;
 * and what products of our own take, where columns are multiplied by them. */
static void check_workspace(const pleat_conv_shape *g, size_t element, int threads) {
    const char *wrong = pleat_conv_check(g, element);
    if (BY_WIDTH(false, true) && wrong && strstr(wrong, "addressable")) return;
    cr_assert_null(wrong, "%s: %s", geometry_print(g).text, wrong);
    size_t kernel = (g->R * g->S * element + 63) / 64 * 64, limit = kernel > MIB ? kernel : MIB;
    bool beside = path().engine != PLEAT_ENGINE_IM2COL;
    size_t copy = beside ? geometry_kernel(g) * element : 0, sums = beside && copy < MIB ? MIB : copy;
    for (int op = 0; op < 3; op++) {
        size_t bytes = conv_bytes(g, element, ops[op], path(), threads);
        size_t each = threads > 1 ? (size_t)threads : 1;
        bool products = !PL_BLAS || conv_taken(g, element, ops[op], path()).engine == PLEAT_ENGINE_COLUMNS;
        cr_assert(bytes <= each * (limit + (products ? PL_GEMM_BYTES : 0)) +
                               (ops[op] == PLEAT_CONV_WEIGHT ? sums : copy) + 256,
                  "%s asks for %zu bytes for %zu threads: %s", op_names[op], bytes, each,
                  geometry_print(g).text);
    }
}

Test(kernels, workspace_is_bounded) {
    static const char *const big[] = {
        "N64 C3 O64 G1 H4096 W4096 P2048 Q2048 R7 S7 s2,2 d1,1 p3,3",
        "N1 C65536 O1 G1 H32 W32 P32 Q32 R3 S3 s1,1 d1,1 p1,1",
        "N1 C512 O512 G512 H1024 W1024 P1024 Q1024 R11 S11 s1,1 d1,1 p5,5",
        "N1000000 C1 O1 G1 H28 W28 P28 Q28 R3 S3 s1,1 d1,1 p1,1",
        "N1 C1 O1 G1 H512 W512 P1 Q1 R512 S512 s1,1 d1,1 p0,0",
        "N2 C1 O1 G1 H2000 W2000 P3 Q3 R1999 S1998 s1,1 d1,1 p0,0",
        "N8 C2 O65536 G1 H300 W300 P1 Q1 R300 S300 s1,1 d1,1 p0,0",
        "N16 C256 O256 G1 H128 W128 P128 Q128 R1 S1 s1,1 d1,1 p0,0",
    };
    pleat_conv_shape g;
    for (size_t i = 0; i < sizeof big / sizeof *big; i++)
        for (int threads = -1; threads <= 64; threads += 13) {
            cr_assert(geometry_parse(big[i], &g));
            check_workspace(&g, sizeof(float), threads), check_workspace(&g, sizeof(double), threads);
        }
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        check_workspace(&g, elements[i % 2], (int)(i % 9));
}

Test(kernels, too_little_workspace_is_refused) {
    pleat_conv_shape g;
    cr_assert(geometry_parse("N2 C4 O3 G1 H14 W14 P7 Q7 R3 S3 s2,2 d1,1 p1,1", &g));
    problem p = problem_new(&g, 1);
    pleat_pool *pool = pleat_pool_new(3);
    for (int op = 0; op < 3; op++)
        for (int e = 0; e < 2; e++) {
            buffer b[3] = {buffer_of(p.x, p.nx, elements[e]), buffer_of(p.w, p.nw, elements[e]),
                           buffer_of(p.y, p.ny, elements[e])};
            void *xwy[3] = {buffer_data(b[0]), buffer_data(b[1]), buffer_data(b[2])};
            size_t enough = conv_bytes(&g, elements[e], ops[op], path(), 3);
            if (enough == 0) continue; /* the reference */
            pleat_work work = {.bytes = enough - 1, .pool = pool};
            cr_assert_eq(conv_run(&g, elements[e], ops[op], path(), xwy, &work), -1);
            const double *before[3] = {p.x, p.w, p.y};
            for (int i = 0; i < 3; i++) {
                double *after = buffer_numbers(b[i], elements[e]);
                size_t n = b[i].bytes / elements[e];
                cr_assert_eq(difference(after, before[i], n), n, "a refused call wrote something");
                free(after), buffer_free(b[i]);
            }
        }
    pleat_pool_free(pool);
    problem_free(p);
}

/* ---- rules ------------------------------------------------------------------------------------------- */

typedef struct rule {
    const char *geometry, *word; /* the broken rule speaks of it; NULL: the geometry is legal */
} rule;

static const rule rules[] = {
    {"N0 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", NULL},
    {"N1 C0 O1 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "channels"},
    {"N1 C1 O0 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "channels"},
    {"N1 C1 O1 G0 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "groups"},
    {"N1 C1 O1 G1 H0 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "image"},
    {"N1 C1 O1 G1 H1 W0 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "image"},
    {"N1 C1 O1 G1 H1 W1 P0 Q1 R1 S1 s1,1 d1,1 p0,0", "map"},
    {"N1 C1 O1 G1 H1 W1 P1 Q0 R1 S1 s1,1 d1,1 p0,0", "map"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R0 S1 s1,1 d1,1 p0,0", "kernel"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S0 s1,1 d1,1 p0,0", "kernel"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s0,1 d1,1 p0,0", "stride"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s1,0 d1,1 p0,0", "stride"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s1,1 d0,1 p0,0", "dilation"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,0 p0,0", "dilation"},
    {"N1 C3 O4 G2 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "groups"},
    {"N1 C4 O3 G2 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "groups"},
    {"N1 C1 O1 G2 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "groups"},
    /* arrays */
    {"N" BY_WIDTH("4294967296", "65536") " C1 O1 G1 H65536 W65536 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "N*C*H*W"},
    {"N0 C1 O1 G1 H" BY_WIDTH("4294967296", "65536") " W" BY_WIDTH("4294967296",
                                                                   "65536") " P1 Q1 R1 S1 s1,1 d1,1 p0,0",
     "N*C*H*W"},
    {"N1 C1 O1 G1 H1 W" BY_WIDTH("2305843009213693951", "536870911") " P1 Q1 R1 S1 s1,1 d1,1 p0,0",
     "N*C*H*W"}, /* size_t, not ptrdiff_t */
    {"N1 C1 O1 G1 H1 W" BY_WIDTH("1152921504606846975", "268435455") " P1 Q1 R1 S1 s1,1 d1,1 p0,0", NULL},
    {"N1 C1 O1 G1 H1 W" BY_WIDTH("1152921504606846976", "268435456") " P1 Q1 R1 S1 s1,1 d1,1 p0,0",
     "N*C*H*W"},
    {"N" BY_WIDTH("4294967296", "65536") " C1 O" BY_WIDTH("4294967296",
                                                          "65536") " G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0",
     "N*O*P*Q"},
    {"N1 C" BY_WIDTH("4294967296", "65536") " O" BY_WIDTH("4294967296",
                                                          "65536") " G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0",
     "O*C/G*R*S"},
#if SIZE_MAX > 0xffffffff /* integers of BLAS: 32 bits address less */
    {"N1 C1 O2147483647 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", NULL},
    {"N1 C1 O2147483648 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", "O/G"},
    {"N1 C2 O4294967294 G2 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0", NULL},
    {"N1 C1 O1 G1 H1 W1 P65536 Q32768 R1 S1 s1,1 d1,1 p0,0", "P*Q"},
    {"N1 C1 O1 G1 H65536 W65536 P65536 Q32767 R1 S1 s1,1 d1,1 p0,0", NULL},
    {"N1 C65536 O1 G1 H1 W1 P1 Q1 R256 S128 s1,1 d1,1 p0,0", "C/G*R*S"},
#endif
    /* blocks, of 8 doubles */
    {"N1 C8 O12 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0 b1,0", NULL},
    {"N1 C8 O12 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0 b1,1", "blocked"},
    {"N1 C12 O8 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0 b0,1", NULL},
    {"N1 C12 O8 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0 b1,1", "blocked"},
    /* indices */
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s" STEP_MOST ",1 d1," STEP_MOST " p0,0", NULL},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s" SIZE_MOST ",1 d1," SIZE_MOST " p0,0", NULL},
    {"N1 C1 O1 G1 H1 W1 P2 Q1 R1 S1 s" STEP_MOST ",1 d1,1 p0,0", NULL},
    {"N1 C1 O1 G1 H1 W1 P2 Q1 R1 S1 s" STEP_MOST ",1 d1,1 p1,0", "ptrdiff_t"},
    {"N1 C1 O1 G1 H1 W1 P2 Q1 R1 S1 s" STEP_MOST ",1 d1,1 p-1,0", "ptrdiff_t"},
    {"N1 C1 O1 G1 H1 W1 P1 Q3 R1 S1 s1," STEP_OVER " d1,1 p0,0", "ptrdiff_t"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S2 s1,1 d1," STEP_OVER " p0,0", "ptrdiff_t"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R3 S1 s1,1 d" STEP_OVER ",1 p0,0", "ptrdiff_t"},
    {"N1 C1 O1 G1 H1 W1 P1 Q2 R1 S2 s1," STEP_MOST " d1," STEP_MOST " p0,0", "ptrdiff_t"},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p" STEP_MOST ",-" STEP_MOST "", NULL},
    {"N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,-" STEP_OVER "", "ptrdiff_t"},
};

Test(kernels, illegal_shapes_are_named) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        pleat_conv_shape g;
        cr_assert(geometry_parse(rules[i].geometry, &g), "%s", rules[i].geometry);
        const char *wrong = pleat_conv_check(&g, sizeof(double));
        if (!rules[i].word)
            cr_expect_null(wrong, "%s: %s", rules[i].geometry, wrong);
        else
            cr_expect(wrong && strstr(wrong, rules[i].word), "%s: %s", rules[i].geometry,
                      wrong ? wrong : "legal");
    }
}

/* Legal shapes at the edge of what an index can hold. */
Test(kernels, extreme_steps) {
    static const char *const lines[] = {
        "N1 C2 O2 G1 H2 W2 P1 Q1 R1 S1 s" STEP_MOST "," SIZE_MOST " d1," SIZE_MOST " p-1,0",
        "N1 C2 O2 G1 H2 W2 P2 Q1 R1 S2 s" BY_WIDTH("9223372036854775806", "2147483646") ",2 d1," BY_WIDTH(
            "9223372036854775806", "2147483646") " p-1,0",
        "N1 C2 O2 G1 H2 W2 P1 Q1 R2 S2 s1,1 d" STEP_HALF
        ",1 p" BY_WIDTH("4611686018427387903", "1073741823") ",0",
        "N1 C1 O1 G1 H3 W3 P2 Q2 R2 S2 s1,1 d1,1 p" BY_WIDTH(
            "9223372036854775805", "2147483645") ",-" BY_WIDTH("9223372036854775805", "2147483645") "",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        pleat_conv_shape g;
        cr_assert(geometry_parse(lines[i], &g));
        problem p = problem_new(&g, i);
        for (int op = 0; op < 3; op++) {
            double *want = expected(&p, ops[op]);
            compare(&p, ops[op], sizeof(float), want);
            free(want);
        }
        problem_free(p);
    }
}

Test(kernels, sizes_by_the_usual_rule) {
    cr_expect_eq(pleat_conv_map_size(28, 3, 2, 1, 1, 1), 14);
    cr_expect_eq(pleat_conv_map_size(7, 3, 1, 1, 1, 1), 7);
    cr_expect_eq(pleat_conv_map_size(224, 7, 2, 1, 3, 3), 112);
    cr_expect_eq(pleat_conv_map_size(33, 3, 1, 6, 6, 6), 33);
    cr_expect_eq(pleat_conv_map_size(5, 5, 3, 1, 0, 0), 1);
    cr_expect_eq(pleat_conv_map_size(4, 5, 1, 1, 0, 0), 0, "the kernel does not fit");
    cr_expect_eq(pleat_conv_map_size(4, 2, 1, 4, 0, 1), 1);
    cr_expect_eq(pleat_conv_map_size(9, 2, 1, 1, -3, -4), 1);
    cr_expect_eq(pleat_conv_map_size(9, 1, 1, 1, -5, -5), 0, "nothing of the image is left");
    cr_expect_eq(pleat_conv_map_size(9, 3, 0, 1, 0, 0), 0);
    cr_expect_eq(pleat_conv_map_size(9, 0, 1, 1, 0, 0), 0);
    cr_expect_eq(pleat_conv_map_size(9, SIZE_MAX, 1, SIZE_MAX, 0, 0), 0);
    cr_expect_eq(pleat_conv_map_size(9, 2, 1, SIZE_MAX, 0, 0), 0);
    cr_expect_eq(pleat_conv_map_size(SIZE_MAX, 3, 1, 1, 1, 1), 0);
    cr_expect_eq(pleat_conv_map_size(9, 3, 1, 1, PTRDIFF_MAX, PTRDIFF_MAX), 0);
    cr_expect_eq(pleat_conv_map_size(9, 3, 1, 1, PTRDIFF_MIN, PTRDIFF_MIN), 0);

    cr_expect_eq(pleat_conv_image_size(14, 3, 2, 1, 1, 1), 27);
    cr_expect_eq(pleat_conv_image_size(7, 4, 2, 1, 1, 1), 14);
    cr_expect_eq(pleat_conv_image_size(64, 2, 2, 1, 0, 0), 128);
    cr_expect_eq(pleat_conv_image_size(1, 1, 5, 5, 0, 0), 1);
    cr_expect_eq(pleat_conv_image_size(2, 2, 1, 3, -1, -2), 8);
    cr_expect_eq(pleat_conv_image_size(1, 3, 1, 1, 2, 2), 0, "not positive");
    cr_expect_eq(pleat_conv_image_size(0, 3, 1, 1, 0, 0), 0);
    cr_expect_eq(pleat_conv_image_size(3, 0, 1, 1, 0, 0), 0);
    cr_expect_eq(pleat_conv_image_size(SIZE_MAX, 3, 2, 1, 0, 0), 0);
    cr_expect_eq(pleat_conv_image_size(3, SIZE_MAX, 1, 2, 0, 0), 0);
    cr_expect_eq(pleat_conv_image_size(PTRDIFF_MAX, 3, 1, 1, -1, -1), 0);
    cr_expect_eq(pleat_conv_image_size(3, 3, 1, 1, PTRDIFF_MIN, PTRDIFF_MIN), 0);
}

/* The two rules are inverse to each other: the smallest image for the map that an image gives. */
Test(kernels, sizes_are_inverse) {
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t seed = i;
        size_t size = 1 + random_below(&seed, 40), kernel = 1 + random_below(&seed, 6);
        size_t stride = 1 + random_below(&seed, 5), dilation = 1 + random_below(&seed, 3);
        ptrdiff_t before = random_between(&seed, -3, 6), after = random_between(&seed, -3, 6);
        size_t map = pleat_conv_map_size(size, kernel, stride, dilation, before, after);
        if (map == 0) continue;
        size_t image = pleat_conv_image_size(map, kernel, stride, dilation, before, after);
        cr_assert(image <= size && size < image + stride, "size %zu k %zu s %zu d %zu p %td,%td", size,
                  kernel, stride, dilation, before, after);
    }
}

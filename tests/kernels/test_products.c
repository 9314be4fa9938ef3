/* Matrix products on every path that the processor has, against three loops: bit for bit on whole numbers, and but for BLAS, which is
 * within the bound, also on real ones, where the loops are chains of fused multiply-adds. Operands end where their last element does, so that a sanitizer sees a read beyond; what lies between their rows is NaN,
 * between the rows of the result as it was. A case that fails prints itself, and is run alone by
 *
 *     PLEAT_PRODUCT='avx2 f32 m3 n5 k7 ta0 tb1 add0 lda8 ldb7 ldc6' build/tests/test_products */
#include "geometry.h"
#include "kernels/gemm/gemm.h"
#include "kernels/simd/cpu.h"
#include "pages.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_PRODUCTS = 1500 };

static const struct {
    const char *name;
    pleat_path path;
} paths[] = {{"im2col", {PLEAT_ENGINE_IM2COL, PLEAT_ISA_AUTO}},
             {"baseline", {PLEAT_ENGINE_AUTO, PLEAT_ISA_BASELINE}},
             {"avx2", {PLEAT_ENGINE_AUTO, PLEAT_ISA_AVX2}},
             {"avx512", {PLEAT_ENGINE_AUTO, PLEAT_ISA_AVX512}},
             {"reference", {PLEAT_ENGINE_REFERENCE, PLEAT_ISA_AUTO}}};
enum { PATHS = sizeof paths / sizeof *paths };

typedef struct one {
    size_t path, element;
    pl_gemm g;
} one;

/* ---- cases ------------------------------------------------------------------------------------------------- */

static geometry_line line_of(const one *o) {
    const pl_gemm *g = &o->g;
    geometry_line l;
    snprintf(l.text, sizeof l.text,
             "PLEAT_PRODUCT='%s f%zu m%zu n%zu k%zu ta%d tb%d add%d lda%zu ldb%zu ldc%zu'",
             paths[o->path].name, 8 * o->element, g->m, g->n, g->k, g->ta, g->tb, g->accumulate, g->lda,
             g->ldb, g->ldc);
    return l;
}

/* The one that the environment asks for. */
static bool asked_for(one *o) {
    const char *text = getenv("PLEAT_PRODUCT");
    char path[10];
    size_t bits;
    int ta, tb, add;
    pl_gemm *g = &o->g;
    if (text == NULL) return false;
    int read = sscanf(text, "%9s f%zu m%zu n%zu k%zu ta%d tb%d add%d lda%zu ldb%zu ldc%zu", path, &bits,
                      &g->m, &g->n, &g->k, &ta, &tb, &add, &g->lda, &g->ldb, &g->ldc);
    for (o->path = 0; o->path < PATHS && strcmp(paths[o->path].name, path) != 0;) o->path++;
    cr_assert(read == 11 && o->path < PATHS && (bits == 32 || bits == 64),
              "PLEAT_PRODUCT is '%s', not like 'avx2 f32 m3 n5 k7 ta0 tb1 add0 lda8 ldb7 ldc6'", text);
    o->element = bits / 8, g->ta = ta, g->tb = tb, g->accumulate = add;
    return true;
}

/* Sizes about those of tiles, panels, blocks and vectors. */
static size_t some_size(uint64_t *seed) {
    static const size_t sizes[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  12, 13, 14, 15,  16,  17,
                                   18, 27, 28, 29, 31, 32, 33, 43, 47, 48, 63, 64, 65, 100, 129, 230};
    return sizes[random_below(seed, sizeof sizes / sizeof *sizes)];
}

static one random_one(uint64_t i) {
    static const size_t depths[] = {255, 256, 257, 513, 1031, 2047, 2049, 2063, 2064, 4100};
    uint64_t seed = i;
    one o = {.path = (size_t)i % PATHS, .element = i / PATHS % 2 ? sizeof(double) : sizeof(float)};
    pl_gemm *g = &o.g;
    g->ta = random_below(&seed, 2), g->tb = random_below(&seed, 2), g->accumulate = random_below(&seed, 2);
    g->m = some_size(&seed), g->n = some_size(&seed), g->k = some_size(&seed);
    if (random_below(&seed, 4) == 0) {
        g->k = depths[random_below(&seed, sizeof depths / sizeof *depths)];
        if (g->m > 48) g->m %= 32;
        if (g->n > 48) g->n %= 48;
    }
    if (random_below(&seed, 8) == 0) g->n = 500 + random_below(&seed, 100), g->m %= 8;
    bool gaps = random_below(&seed, 2);
    g->lda = (g->ta ? g->m : g->k) + (gaps ? random_below(&seed, 5) : 0);
    g->ldb = (g->tb ? g->k : g->n) + (gaps ? random_below(&seed, 5) : 0);
    g->ldc = g->n + (gaps ? random_below(&seed, 3) : 0);
    return o;
}

/* ---- operands ------------------------------------------------------------------------------------------------ */

/* A matrix of whole rows but for the last, which ends with its last element. */
typedef struct matrix {
    size_t rows, columns, ld, n;
    double *value;
} matrix;

static matrix matrix_new(size_t rows, size_t columns, size_t ld) {
    matrix a = {rows, columns, ld, rows == 0 || columns == 0 ? 0 : (rows - 1) * ld + columns, NULL};
    a.value = malloc((a.n + 1) * sizeof *a.value);
    cr_assert_not_null(a.value);
    for (size_t i = 0; i < a.n; i++) a.value[i] = NAN;
    return a;
}

static void fill(matrix *a, uint64_t seed, double (*draw)(uint64_t *seed)) {
    for (size_t r = 0; r < a->rows; r++)
        for (size_t c = 0; c < a->columns; c++) a->value[r * a->ld + c] = draw(&seed);
}

static double whole_number(uint64_t *seed) { return (double)random_between(seed, -4, 4); }
static double real_number(uint64_t *seed) {
    return (double)random_between(seed, -(1 << 23), 1 << 23) / (1 << 23);
}
/* Few enough that some results stay finite. */
static double odd_number(uint64_t *seed) {
    static const double odd[] = {NAN, INFINITY, -INFINITY, 0, -0.0};
    return random_below(seed, 40) ? whole_number(seed) : odd[random_below(seed, 5)];
}

static void write_numbers(const double *a, size_t n, size_t element, char *to) {
    for (size_t i = 0; i < n; i++) {
        if (element == sizeof(float))
            ((float *)(void *)to)[i] = (float)a[i];
        else
            ((double *)(void *)to)[i] = a[i];
    }
}

/* The same in memory, up to the end of its block: at an address that is a multiple of the element only, or at the block's, before which
 * nothing may be read, either. */
static void *block_new(const double *a, size_t n, size_t element, char **at) {
    size_t skipped = n % 2 ? element : 0;
    char *block = malloc(n == 0 ? 1 : skipped + n * element);
    cr_assert_not_null(block);
    *at = block + skipped;
    write_numbers(a, n, element, *at);
    return block;
}

static double number_at(const char *a, size_t i, size_t element) {
    return element == sizeof(float) ? (double)((const float *)(const void *)a)[i]
                                    : ((const double *)(const void *)a)[i];
}

typedef struct operands {
    matrix a, b, c;
} operands;

static operands operands_new(const pl_gemm *g, uint64_t seed, double (*draw)(uint64_t *seed)) {
    operands o = {matrix_new(g->ta ? g->k : g->m, g->ta ? g->m : g->k, g->lda),
                  matrix_new(g->tb ? g->n : g->k, g->tb ? g->k : g->n, g->ldb),
                  matrix_new(g->m, g->n, g->ldc)};
    fill(&o.a, 3 * seed, draw), fill(&o.b, 3 * seed + 1, draw);
    for (size_t i = 0; i < o.c.n; i++) o.c.value[i] = 7;
    if (g->accumulate) fill(&o.c, 3 * seed + 2, draw);
    return o;
}

static void operands_free(operands o) { free(o.a.value), free(o.b.value), free(o.c.value); }

/* ---- a call ---------------------------------------------------------------------------------------------------- */

static void call(const one *o, const void *a, const void *b, void *c) {
    const pl_gemm_engine *p = pl_gemm_engine_for(o->element, paths[o->path].path);
    if (p == NULL) {
        if (o->element == sizeof(float))
            pl_gemm_f32(&o->g, a, b, c);
        else
            pl_gemm_f64(&o->g, a, b, c);
        return;
    }
    size_t bytes = p->workspace(&o->g);
    char *memory = malloc(bytes + 8); /* NaN, and odd */
    cr_assert_not_null(memory);
    memset(memory, 0xff, bytes + 8);
    cr_assert_leq(bytes, PL_GEMM_BYTES, "%s: %zu bytes of workspace", line_of(o).text, bytes);
    p->run(&o->g, a, b, c, bytes > 0 ? memory + 8 : NULL);
    free(memory);
}

/* What the product leaves of c, gaps included, as doubles. Without accumulation, c holds NaN before. */
static double *compute(const one *o, const operands *x) {
    char *a, *b, *c;
    double *start = malloc((x->c.n + 1) * sizeof *start), *got = malloc((x->c.n + 1) * sizeof *got);
    cr_assert(start != NULL && got != NULL);
    for (size_t i = 0; i < x->c.n; i++)
        start[i] = !o->g.accumulate && i % o->g.ldc < o->g.n ? NAN : x->c.value[i];
    void *p = block_new(x->a.value, x->a.n, o->element, &a),
         *q = block_new(x->b.value, x->b.n, o->element, &b), *r = block_new(start, x->c.n, o->element, &c);
    call(o, a, b, c);
    for (size_t i = 0; i < x->c.n; i++) got[i] = number_at(c, i, o->element);
    free(p), free(q), free(r), free(start);
    return got;
}

/* c, and what its terms' magnitudes sum to. */
static void define(const pl_gemm *g, operands *x, double *magnitude) {
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            double *c = x->c.value + i * g->ldc + j, sum = g->accumulate ? *c : 0, size = fabs(sum);
            for (size_t k = 0; k < g->k; k++) {
                double a = x->a.value[g->ta ? k * g->lda + i : i * g->lda + k],
                       b = x->b.value[g->tb ? j * g->ldb + k : k * g->ldb + j];
                sum += a * b, size += fabs(a * b);
            }
            *c = sum;
            if (magnitude != NULL) magnitude[i * g->ldc + j] = size;
        }
}

static bool equal(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

static void check_same(const one *o, uint64_t seed, double (*draw)(uint64_t *seed)) {
    operands x = operands_new(&o->g, seed, draw);
    double *got = compute(o, &x);
    define(&o->g, &x, NULL);
    for (size_t i = 0; i < x.c.n; i++)
        cr_assert(equal(got[i], x.c.value[i]), "%s: row %zu, column %zu is %g, not %g", line_of(o).text,
                  i / o->g.ldc, i % o->g.ldc, got[i], x.c.value[i]);
    free(got);
    operands_free(x);
}

static void check_bound(const one *o, uint64_t seed) {
    operands x = operands_new(&o->g, seed, real_number);
    double *got = compute(o, &x), *again = compute(o, &x);
    double *magnitude = calloc(x.c.n + 1, sizeof *magnitude);
    double terms = (double)o->g.k + o->g.accumulate, u = o->element == sizeof(float) ? 0x1p-24 : 0x1p-53;
    cr_assert_not_null(magnitude);
    define(&o->g, &x, magnitude);
    /* the definition is in double, and has errors of its own */
    double bound = (terms + 1) * (o->element == sizeof(float) ? u : 2 * u);
    for (size_t i = 0; i < x.c.n; i++) {
        double error = fabs(got[i] - x.c.value[i]);
        cr_assert(error <= bound * magnitude[i], "%s: element %zu is %.9g, not %.9g, with sum|a||b| %.9g",
                  line_of(o).text, i, got[i], x.c.value[i], magnitude[i]);
        cr_assert(equal(got[i], again[i]), "%s: element %zu differs the second time", line_of(o).text, i);
    }
    free(got), free(again), free(magnitude);
    operands_free(x);
}

/* ---- bits ------------------------------------------------------------------------------------------------------ */

static double normal_number(uint64_t *seed) {
    double u = (double)(1 + random_below(seed, 1 << 24)) / (1 << 24),
           v = (double)random_below(seed, 1 << 24) / (1 << 24);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* Products that underflow, to zeros of both signs and to what is smaller than any normal number; and zeros themselves. */
static double tiny_number(uint64_t *seed) {
    static const double zeros[] = {0, -0.0};
    size_t kind = random_below(seed, 8);
    if (kind < 2) return zeros[kind];
    return normal_number(seed) * (kind < 4 ? 0x1p-70 : 0x1p-75);
}

static double tiny_double(uint64_t *seed) { return tiny_number(seed) * 0x1p-465; }

/* The definition. */
static double chain(const one *o, const operands *x, size_t m, size_t n) {
    const pl_gemm *g = &o->g;
    bool narrow = o->element == sizeof(float);
    double sum = g->accumulate ? x->c.value[m * g->ldc + n] : 0;
    if (g->k == 0) return sum;
    for (size_t k = 0; k < g->k; k++) {
        double a = x->a.value[g->ta ? k * g->lda + m : m * g->lda + k],
               b = x->b.value[g->tb ? n * g->ldb + k : k * g->ldb + n];
        sum = narrow ? (double)fmaf((float)a, (float)b, (float)sum) : fma(a, b, sum);
    }
    return sum + 0;
}

static bool same_bits(double a, double b) { return a == b && signbit(a) == signbit(b); }

static void round_all(matrix *a, size_t element) {
    for (size_t i = 0; i < a->n && element == sizeof(float); i++) a->value[i] = (double)(float)a->value[i];
}

static void check_bits(const one *o, uint64_t seed, double (*draw)(uint64_t *seed)) {
    operands x = operands_new(&o->g, seed, draw);
    round_all(&x.a, o->element), round_all(&x.b, o->element), round_all(&x.c, o->element);
    double *got = compute(o, &x);
    for (size_t m = 0; m < o->g.m; m++)
        for (size_t n = 0; n < o->g.n; n++) {
            double wanted = chain(o, &x, m, n), is = got[m * o->g.ldc + n];
            cr_assert(same_bits(is, wanted), "%s: row %zu, column %zu is %a, not %a", line_of(o).text, m, n,
                      is, wanted);
        }
    free(got);
    operands_free(x);
}

static bool is_blas(const one *o) { return PL_BLAS && paths[o->path].path.engine == PLEAT_ENGINE_IM2COL; }

static bool nth(uint64_t i, one *o) {
    one asked;
    if (asked_for(&asked)) {
        *o = asked;
        return i == 0;
    }
    *o = random_one(i);
    return i < RANDOM_PRODUCTS * PATHS;
}

/* Every n-th, for builds that are slow; a prime, so that each path and type gets its share. */
static uint64_t stride(void) { return getenv("PLEAT_TEST_EVERY") != NULL ? 11 : 1; }

Test(products, are_three_loops) {
    one o;
    for (uint64_t i = 0; nth(i, &o); i += stride()) check_same(&o, i, whole_number);
}

static pages pages_of(const matrix *a, size_t element, bool at_end) {
    pages p = pages_new(a->n * element, at_end);
    write_numbers(a->value, a->n, element, p.data);
    return p;
}

/* Nothing beside the operands is read, even where nothing of it is used: there may be no memory. */
Test(products, nothing_beside_is_read) {
    one o;
    for (uint64_t i = 0; nth(i, &o); i += stride())
        for (int at_end = 0; at_end < 2; at_end++) {
            operands x = operands_new(&o.g, i, whole_number);
            pages a = pages_of(&x.a, o.element, at_end), b = pages_of(&x.b, o.element, at_end),
                  c = pages_of(&x.c, o.element, at_end);
            call(&o, a.data, b.data, c.data);
            pages_free(a), pages_free(b), pages_free(c);
            operands_free(x);
        }
}

/* Every size up to four, with all flags. */
Test(products, of_the_smallest_sizes) {
    for (uint64_t i = 0; i < 5 * 5 * 5 * 8; i++)
        for (size_t path = 0; path < PATHS; path++) {
            one o = {path,
                     i % 2 ? sizeof(float) : sizeof(double),
                     {.m = (size_t)i / 8 % 5, .n = (size_t)i / 40 % 5, .k = (size_t)i / 200}};
            o.g.ta = i & 1, o.g.tb = i & 2, o.g.accumulate = i & 4;
            o.g.lda = o.g.ta ? o.g.m : o.g.k, o.g.ldb = o.g.tb ? o.g.k : o.g.n, o.g.ldc = o.g.n;
            check_same(&o, i, whole_number);
            o.element = sizeof(float) + sizeof(double) - o.element;
            o.g.lda += 2, o.g.ldb++, o.g.ldc += 3;
            check_same(&o, i, whole_number);
        }
}

/* Where a sum meets NaN, or infinities of both signs, or infinity and 0, it is NaN, and only there. */
Test(products, of_what_is_not_finite) {
    one o;
    for (uint64_t i = 0; nth(i, &o); i += 5 * stride()) check_same(&o, i, odd_number);
}

Test(products, of_real_numbers_are_within_the_bound) {
    one o;
    for (uint64_t i = 0; nth(i, &o); i += 3 * stride()) check_bound(&o, i);
}

Test(products, are_chains_of_fused_multiply_adds) {
    one o;
    for (uint64_t i = 0; nth(i, &o); i += 3 * stride())
        if (!is_blas(&o)) check_bits(&o, i, normal_number);
}

Test(products, that_underflow_are_chains) {
    one o;
    for (uint64_t i = 0; nth(i, &o); i += 7 * stride())
        if (!is_blas(&o)) check_bits(&o, i, o.element == sizeof(float) ? tiny_number : tiny_double);
}

/* A row of c does not depend on how many others there are. */
Test(products, of_one_row_are_those_of_many) {
    one o;
    for (uint64_t i = 0; nth(i, &o); i += 7 * stride()) {
        if (is_blas(&o) || o.g.m == 0 || o.g.n == 0) continue;
        operands x = operands_new(&o.g, i, normal_number);
        double *all = compute(&o, &x);
        for (size_t m = 0; m < o.g.m; m += 1 + o.g.m / 5) {
            one alone = o;
            operands y = x;
            alone.g.m = 1;
            y.a.value += m * (o.g.ta ? 1 : o.g.lda), y.a.n -= o.g.k > 0 ? m * (o.g.ta ? 1 : o.g.lda) : 0;
            y.c.value += m * o.g.ldc, y.c.n = o.g.n;
            double *row = compute(&alone, &y);
            for (size_t n = 0; n < o.g.n; n++)
                cr_assert(same_bits(row[n], all[m * o.g.ldc + n]), "%s: row %zu alone differs in column %zu",
                          line_of(&o).text, m, n);
            free(row);
        }
        free(all);
        operands_free(x);
    }
}

/* W x for each pixel: a convolution with a kernel of one tap has the same order. */
Test(products, are_convolutions_with_one_tap) {
    enum { O = 21, C = 300, PIXELS = 35 };
    static float w[O * C], x[C * PIXELS], y[O * PIXELS], c[O * PIXELS];
    const pleat_conv_shape g = {.N = 1,
                                .C = C,
                                .O = O,
                                .G = 1,
                                .H = 5,
                                .W = 7,
                                .P = 5,
                                .Q = 7,
                                .R = 1,
                                .S = 1,
                                .stride = {1, 1},
                                .dilation = {1, 1}};
    uint64_t seed = 1;
    for (size_t i = 0; i < O * C; i++) w[i] = (float)normal_number(&seed);
    for (size_t i = 0; i < C * PIXELS; i++) x[i] = (float)normal_number(&seed);
    pleat_conv_plan *plan = pleat_conv_plan_new(&g, PLEAT_CONV_FORWARD, sizeof(float),
                                                (pleat_path){.engine = PLEAT_ENGINE_REFERENCE});
    cr_assert_not_null(plan);
    cr_assert_eq(pleat_conv_run(plan, x, w, y, &(pleat_work){0}), 0);
    pleat_conv_plan_free(plan);
    const pl_gemm product = {.m = O, .n = PIXELS, .k = C, .lda = C, .ldb = PIXELS, .ldc = PIXELS};
    for (size_t path = 0; path < PATHS; path++) {
        one o = {path, sizeof(float), product};
        if (is_blas(&o)) continue;
        call(&o, w, x, c);
        cr_assert_arr_eq(c, y, sizeof c, "%s", line_of(&o).text);
    }
}

/* A vector is the same memory as a row or a column. */
Test(products, with_a_vector) {
    for (uint64_t i = 0; i < 400; i++) {
        uint64_t seed = i;
        one o = {(size_t)i % PATHS, i / PATHS % 2 ? sizeof(double) : sizeof(float), {.m = 1, .n = 1}};
        pl_gemm *g = &o.g;
        *(i / 8 % 2 ? &g->m : &g->n) = 1 + random_below(&seed, 700);
        g->k = 1 + random_below(&seed, 90);
        g->ta = i / 16 % 2, g->tb = i / 32 % 2, g->accumulate = i / 64 % 2;
        g->lda = (g->ta ? g->m : g->k) + i / 128 % 2, g->ldb = (g->tb ? g->k : g->n) + i / 128 % 2;
        g->ldc = g->n + i / 256 % 2;
        check_same(&o, i, whole_number);
    }
}

/* Never without being asked for. */
Test(products, are_blas_where_that_is_asked_for) {
    for (uint64_t i = 0; i < 200; i++) {
        one o = random_one(i);
        const pl_gemm_engine *chosen = pl_gemm_engine_for(o.element, (pleat_path){0});
        const pl_gemm_engine *im2col =
            pl_gemm_engine_for(o.element, (pleat_path){.engine = PLEAT_ENGINE_IM2COL});
        cr_expect_eq(im2col == NULL, PL_BLAS);
        const pl_gemm_engine *baseline =
            o.element == sizeof(float) ? &pl_simd_gemm_baseline_f32 : &pl_simd_gemm_baseline_f64;
        cr_expect_eq(pl_gemm_engine_for(o.element, (pleat_path){.isa = PLEAT_ISA_BASELINE}), baseline);
        cr_assert_not_null(chosen);
        bool wider = pl_isa_runs_here(PLEAT_ISA_AVX2) || pl_isa_runs_here(PLEAT_ISA_AVX512);
        cr_expect_eq(chosen == baseline, !wider);
        cr_expect_eq(pl_gemm_engine_for(o.element, (pleat_path){0}), chosen);
    }
}

/* ---- borders ----------------------------------------------------------------------------------------------- */

/* A border, and its neighbours. */
#define ABOUT(border) (border) - 1, (border), (border) + 1

/* With flags, gaps and an addition in turns; small ones with all of them. */
static void check_around(size_t m, size_t n, size_t k) {
    size_t all = m * n * k < 4000 ? 16 : 2;
    for (size_t i = 0; i < all; i++)
        for (size_t path = 0; path < PATHS; path++)
            for (size_t element = sizeof(float); element <= sizeof(double); element += sizeof(float)) {
                size_t way = all == 16 ? i : (5 * (m + n + k) + 7 * i + path) % 16, gap = way / 8;
                one o = {path,
                         element,
                         {.m = m, .n = n, .k = k, .ta = way & 1, .tb = way & 2, .accumulate = way & 4}};
                o.g.lda = (o.g.ta ? m : k) + gap, o.g.ldb = (o.g.tb ? k : n) + 2 * gap, o.g.ldc = n + gap;
                check_same(&o, way, whole_number);
            }
}

/* What a tile, a vector, a panel and a block hold on one path or another. */
Test(products, on_the_borders_of_rows) {
    static const size_t m[] = {1,         2,         3,         ABOUT(6),   12,        ABOUT(14),
                               ABOUT(18), ABOUT(28), ABOUT(42), ABOUT(224), ABOUT(448)};
    static const size_t n[] = {1, 2, 3, 17, 133};
    for (size_t i = 0; i<sizeof m / sizeof *m; i += stride()> 1 ? 2 : 1)
        for (size_t j = 0; j < sizeof n / sizeof *n; j++)
            check_around(m[i], n[j], m[i] * n[j] > 5000 ? 9 : 33);
}

Test(products, on_the_borders_of_columns) {
    static const size_t n[] = {1,         2,         3,         4,          5,          ABOUT(8),
                               ABOUT(16), ABOUT(32), ABOUT(64), ABOUT(128), ABOUT(256), ABOUT(512)};
    static const size_t m[] = {1, 2, 3, 6, 7, 19, 43};
    for (size_t i = 0; i<sizeof n / sizeof *n; i += stride()> 1 ? 2 : 1)
        for (size_t j = 0; j < sizeof m / sizeof *m; j++) check_around(m[j], n[i], 1 + i % 7);
}

Test(products, on_the_borders_of_terms) {
    static const size_t k[] = {1,
                               2,
                               3,
                               4,
                               5,
                               ABOUT(8),
                               ABOUT(16),
                               ABOUT(32),
                               ABOUT(64),
                               ABOUT(256),
                               ABOUT(512),
                               ABOUT(2048),
                               2051,
                               ABOUT(2048 + 4),
                               ABOUT(2048 + 8),
                               ABOUT(2048 + 16),
                               ABOUT(4096),
                               4099,
                               ABOUT(4096 + 16)};
    static const size_t sizes[][2] = {{1, 1}, {1, 3}, {2, 5}, {3, 1}, {4, 20}, {8, 2}, {15, 4}, {1, 33}};
    for (size_t i = 0; i<sizeof k / sizeof *k; i += stride()> 1 ? 2 : 1)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            check_around(sizes[j][0], sizes[j][1], k[i]);
    static const size_t few[] = {ABOUT(16), ABOUT(32), 47};
    for (size_t i = 0; i < 7; i++) /* blocks of so few where rows of b are that long */
        for (size_t m = 1; m <= 3; m++)
            for (size_t n = 511; n <= 513; n++) check_around(m, n, few[i]);
}

/* Rows of b that are turned in registers and those that are not; rows that lie so far apart that they are copied first; terms that are a
 * few more than a copied row has. */
Test(products, on_the_borders_of_turning) {
    static const size_t m[] = {1, 2, ABOUT(4), ABOUT(10), ABOUT(14)},
                        n[] = {1, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 40},
                        k[] = {1, 2, 3, 4, 5, 127, 128, 130, 255, 257, 259, 512, 515};
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        for (size_t j = 0; j < sizeof n / sizeof *n; j++)
            for (size_t l = (i + j) % 3; l < sizeof k / sizeof *k; l += 3 * (size_t)stride())
                for (size_t path = 1; path < PATHS; path++) {
                    one o = {path,
                             (i + l) % 2 ? sizeof(float) : sizeof(double),
                             {.m = m[i], .n = n[j], .k = k[l], .ta = j % 2, .tb = true, .accumulate = l % 2}};
                    o.g.lda = j % 2 ? m[i] : 1024, o.g.ldb = 1024, o.g.ldc = n[j] + 1;
                    check_bits(&o, i + j + l, normal_number);
                    o.g.lda = j % 2 ? m[i] : k[l], o.g.ldb = k[l];
                    check_bits(&o, i + j + l, normal_number);
                }
}

/* What OpenBLAS would ask malloc for, in its own kernels for small products: which columns are left over, how many terms, and how small. */
Test(products, on_the_borders_of_small_products_of_blas) {
    for (size_t i = 0; i < 2 * 9; i++) {
        size_t element = i % 2 ? sizeof(float) : sizeof(double), lanes = 64 / element,
               rest[] = {0, 1, ABOUT(lanes / 2)};
        size_t terms[] = {1, ABOUT(2 * lanes), ABOUT(4 * lanes), 6 * lanes - 2, 6 * lanes};
        for (size_t j = 0; j < 5; j++)
            for (size_t whole = 0; whole < 3; whole++) {
                one o = {0,
                         element,
                         {.m = 2 + i % 3,
                          .n = whole * lanes + rest[j],
                          .k = terms[i / 2],
                          .accumulate = i / 2 % 2}};
                o.g.lda = o.g.k, o.g.ldb = o.g.n + j, o.g.ldc = o.g.n + 1;
                check_same(&o, i, whole_number);
            }
    }
    for (size_t k = 99; k <= 101; k++) /* a million products */
        for (size_t element = sizeof(float); element <= sizeof(double); element += sizeof(float)) {
            one o = {0, element, {.m = 500, .n = 20, .k = k, .lda = k, .ldb = 20, .ldc = 20}};
            check_same(&o, k, whole_number);
        }
}

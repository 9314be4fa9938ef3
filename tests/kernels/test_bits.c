/* Every bit is defined: each engine on each instruction set gives the bits of the reference, on numbers as networks have them, and on tiny
 * ones whose products underflow, with zeros of both signs. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv_calls.h"
#include "geometry.h"
#include "reference.h"

enum { CORNERS_AND_RANDOM = 1500, DRAWN = 700, GROUPED = 200, UNWRITTEN = 0x71 };

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
    double *factor, *shift;
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

static void judge(bits_case *c, pleat_path path) {
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

static void compare(bits_case *c, pleat_path path, int threads) {
    run(c, path, c->found, threads);
    judge(c, path);
}

/* Draws the operands, and computes what is wanted. */
static void begin_case(bits_case *c, size_t turn) {
    size_t channels = c->op == PLEAT_CONV_FORWARD ? c->g.O : c->g.C;
    size_t sizes[3] = {geometry_image(&c->g), geometry_kernel(&c->g), geometry_map(&c->g)};
    for (size_t i = 0; i < 3; i++) c->xwy[i] = numbers(sizes[i], c->element, turn % 4, turn + i);
    c->n = sizes[c->op == PLEAT_CONV_FORWARD ? 2 : c->op == PLEAT_CONV_TRANSPOSE ? 0 : 1];
    bool weight = c->op == PLEAT_CONV_WEIGHT, scaled = !weight && turn % 5 == 0;
    c->bias = weight || turn % 2 ? NULL : numbers(channels, c->element, turn % 3 ? 3 : 0, turn + 3);
    c->relu = !weight && turn % 3 == 0;
    c->factor = scaled ? numbers(channels, sizeof(double), 0, turn + 4) : NULL;
    c->shift = scaled ? numbers(channels, sizeof(double), 0, turn + 5) : NULL;
    c->want = malloc(c->n * c->element + 1), c->found = malloc(c->n * c->element + 1);
    cr_assert(c->want && c->found);
    run(c, (pleat_path){PLEAT_ENGINE_REFERENCE, PLEAT_ISA_AUTO}, c->want, 1);
}

static void end_case(bits_case *c) {
    for (size_t i = 0; i < 3; i++) free(c->xwy[i]);
    free(c->bias), free(c->want), free(c->found), free(c->factor), free(c->shift);
}

static void compare_all(bits_case *c, size_t turn) {
    begin_case(c, turn);
    for (size_t e = 0; e < sizeof engines / sizeof *engines; e++)
        for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
            pleat_path path = {engines[e], isas[i]};
            if (conv_takes(&c->g, c->element, c->op, path)) compare(c, path, 1 + (int)(turn % 3));
        }
    const pleat_path columns = {PLEAT_ENGINE_COLUMNS, PLEAT_ISA_AUTO};
    if (conv_takes(&c->g, c->element, c->op, columns)) compare(c, columns, 1 + (int)(turn % 2));
    compare(c, (pleat_path){0}, 1);
    end_case(c);
}

/* More groups than a line of the cache has channels, of one channel or a few: vectors go over groups. */
static pleat_conv_shape many_groups(uint64_t *seed) {
    pleat_conv_shape g = {.N = 1 + random_below(seed, 4), .G = 8 + random_below(seed, 30)};
    bool several = random_below(seed, 3) == 0;
    g.C = g.G * (1 + several * random_below(seed, 4)), g.O = g.G * (1 + several * random_below(seed, 4));
    g.R = 1 + random_below(seed, 4), g.S = random_below(seed, 8) ? g.R : 1 + random_below(seed, 10);
    for (size_t k = 0; k < 2; k++) {
        g.stride[k] = 1 + random_below(seed, 3), g.dilation[k] = 1 + random_below(seed, 3);
        g.pad[k] = random_between(seed, -1, 4);
    }
    g.P = 1 + random_below(seed, 12), g.Q = 1 + random_below(seed, 20);
    g.H = g.P * g.stride[0] + random_below(seed, 3), g.W = g.Q * g.stride[1] + random_below(seed, 3);
    return g;
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
    for (size_t i = 0; getenv("PLEAT_CASE") == NULL && i < GROUPED; i++, turn++) {
        c.g = many_groups(&seed);
        for (c.element = 4; c.element <= 8; c.element += 4) compare_all(&c, turn);
    }
    cr_assert(c.wrong == 0 && c.compared > 0, "%zu of %zu results have other bits than the reference's",
              c.wrong, c.compared);
}

/* ---- the definition in plain loops, as pleat_kernels.h has it ------------------------------------------------- */

static double fused(double a, double b, double c, size_t element) {
    return element == sizeof(float) ? (double)fmaf((float)a, (float)b, (float)c) : fma(a, b, c);
}

static double plus(double a, double b, size_t element) {
    return element == sizeof(float) ? (double)((float)a + (float)b) : a + b;
}

static size_t ceil_of(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static void define_products(const pleat_conv_shape *g, bool image, size_t element, double *x, const double *w,
                            double *y) {
    size_t in = g->C / g->G, out = g->O / g->G;
    for (size_t i = 0; i < (image ? geometry_image(g) : geometry_map(g)); i++) (image ? x : y)[i] = 0;
    for (size_t n = 0; n < g->N; n++)
        for (size_t o = 0; o < g->O; o++)
            for (size_t c = 0; c < in; c++)
                for (size_t k = 0; k < g->R * g->S; k++)
                    for (size_t i = 0; i < g->P * g->Q; i++) {
                        long long pixel = reference_pixel(g, i / g->Q, i % g->Q, k / g->S, k % g->S);
                        if (pixel < 0) continue;
                        double *xi = x + (n * g->C + o / out * in + c) * g->H * g->W + pixel;
                        double *yi = y + (n * g->O + o) * g->P * g->Q + i,
                               wi = w[(o * in + c) * g->R * g->S + k];
                        if (image)
                            *xi = fused(wi, *yi, *xi, element);
                        else
                            *yi = fused(wi, *xi, *yi, element);
                    }
}

/* The pixels of y in the order in which a weight's terms are added: n*P*Q + p*Q + q, the sum that it adds to, and its unit. */
typedef struct pixel {
    size_t at, lane, unit;
} pixel;

static size_t order_pixels(const pleat_conv_shape *g, size_t element, pixel *to, size_t *lanes,
                           size_t *units) {
    size_t L = 64 / element, P = g->P, Q = g->Q, in = g->C / g->G * g->R * g->S, out = g->O / g->G, count = 0,
           u = 0;
    size_t a = g->dilation[0], b = g->stride[0], step;
    while (b) step = a % b, a = b, b = step;
    step = g->R > 1 ? g->dilation[0] / a : 1;
    bool near = g->R <= 32 && g->S <= 32 && most(g->stride[0], g->stride[1]) <= 16 &&
                most(g->dilation[0], g->dilation[1]) <= 4096;
    for (size_t k = 0; k < 2; k++) near = near && g->pad[k] >= -4096 && g->pad[k] <= 4096;
    bool flat = near && g->G == g->C && g->G == g->O && g->stride[0] * g->stride[1] == 1 && g->W == Q &&
                4 * Q <= 3 * L && g->R * g->S <= 32 && most(P, g->H) * Q * g->R * g->S <= 7168;
    size_t rows = 8 * step + (g->R - 1) * g->dilation[0] / g->stride[0],
           columns = L + (g->S - 1) * g->dilation[1] / g->stride[1];
    bool few = near && !flat && g->stride[0] * g->stride[1] * rows * columns <= 32768 &&
               ((2 * out <= L && out <= Q) || (in <= 12 && 4 * Q > 3 * L));
    *lanes = flat || few ? L : 1;
    if (flat)
        for (size_t n = 0; n < g->N; n++, u++)
            for (size_t i = 0; i < P * Q; i++) to[count++] = (pixel){n * P * Q + i, i % L, u};
    else if (few)
        for (size_t n = 0; n < g->N; n++)
            for (size_t band = 0; band < P; band += 8 * step, u++)
                for (size_t k = 0; k < step; k++)
                    for (size_t column = 0; column < Q; column += L)
                        for (size_t p = band + k; p < least(P, band + 8 * step); p += step)
                            for (size_t q = column; q < least(Q, column + L); q++)
                                to[count++] = (pixel){(n * P + p) * Q + q, q % L, u};
    else if (P * Q <= 512 && near)
        for (size_t first = 0, images = ceil_of(g->N, ceil_of(g->N, 512 / (P * Q))); first < g->N;
             first += images, u++)
            for (size_t i = 0; i < P * Q; i++)
                for (size_t n = first; n < least(g->N, first + images); n++)
                    to[count++] = (pixel){n * P * Q + i, 0, u};
    else
        for (size_t n = 0; n < g->N; n++)
            for (size_t i = 0; i < P * Q; i++)
                to[count++] = (pixel){n * P * Q + i, 0, n * P + i / Q}, u = g->N * P;
    *units = u;
    return count;
}

static void define_weights(const pleat_conv_shape *g, size_t element, const double *x, double *w,
                           const double *y) {
    size_t lanes, units, in = g->C / g->G, taps = g->R * g->S, pixels = g->N * g->P * g->Q;
    pixel *order = malloc((pixels + 1) * sizeof *order);
    order_pixels(g, element, order, &lanes, &units);
    size_t weights = ceil_of(g->O * in * taps * element, 64) * 64;
    size_t chunks = ceil_of(8, g->G * ceil_of(g->O / g->G, 128) * ceil_of(in * taps, 576));
    chunks = least(least(chunks, 1 + most(1, 1048576 / weights)),
                   most(1, ceil_of(pixels, lanes > 1 ? 1024 : 512)));
    size_t each = most(1, ceil_of(units, chunks));
    for (size_t i = 0; i < g->O * in * taps; i++) {
        size_t o = i / taps / in, c = o / (g->O / g->G) * in + i / taps % in, k = 0;
        w[i] = 0;
        for (size_t chunk = 0; chunk * each < units; chunk++) {
            double sum[16] = {0};
            for (; k < pixels && order[k].unit < (chunk + 1) * each; k++) {
                size_t n = order[k].at / (g->P * g->Q), at = order[k].at % (g->P * g->Q);
                long long to = reference_pixel(g, at / g->Q, at % g->Q, i % taps / g->S, i % g->S);
                if (to < 0) continue;
                double *lane = &sum[order[k].lane], with = y[(n * g->O + o) * g->P * g->Q + at];
                *lane = fused(x[(n * g->C + c) * g->H * g->W + (size_t)to], with, *lane, element);
            }
            for (size_t half = lanes / 2; half > 0; half /= 2)
                for (size_t l = 0; l < half; l++) sum[l] = plus(sum[l], sum[l + half], element);
            w[i] = chunk ? plus(w[i], sum[0], element) : sum[0];
        }
    }
    free(order);
}

static double *doubles(const void *a, size_t n, size_t element) {
    double *d = malloc((n + 1) * sizeof *d);
    cr_assert(d);
    for (size_t i = 0; i < n; i++)
        d[i] = element == sizeof(float) ? (double)((const float *)a)[i] : ((const double *)a)[i];
    return d;
}

/* The reference gives what the header says. */
static void check_definition(bits_case *c, size_t turn) {
    size_t sizes[3] = {geometry_image(&c->g), geometry_kernel(&c->g), geometry_map(&c->g)};
    double *d[3];
    for (size_t i = 0; i < 3; i++) {
        c->xwy[i] = numbers(sizes[i], c->element, turn % 4, turn + i);
        d[i] = doubles(c->xwy[i], sizes[i], c->element);
    }
    size_t result = c->op == PLEAT_CONV_FORWARD ? 2 : c->op == PLEAT_CONV_TRANSPOSE ? 0 : 1;
    c->n = sizes[result], c->want = malloc(c->n * c->element + 1);
    run(c, (pleat_path){PLEAT_ENGINE_REFERENCE, PLEAT_ISA_AUTO}, c->want, 1);
    if (c->op == PLEAT_CONV_WEIGHT)
        define_weights(&c->g, c->element, d[0], d[1], d[2]);
    else
        define_products(&c->g, c->op == PLEAT_CONV_TRANSPOSE, c->element, d[0], d[1], d[2]);
    double *found = doubles(c->want, c->n, c->element);
    for (size_t i = 0; i < c->n; i++) {
        d[result][i] = plus(d[result][i], 0, c->element);
        if (memcmp(&found[i], &d[result][i], sizeof *found) == 0) continue;
        c->wrong++;
        fprintf(stderr, "%s f%zu: %zu is %a, not %a\n%s\n", op_names[c->op], 8 * c->element, i, found[i],
                d[result][i], geometry_reproduce(&c->g, "test_bits", "definition").text);
        break;
    }
    for (size_t i = 0; i < 3; i++) free(c->xwy[i]), free(d[i]);
    free(c->want), free(found);
}

/* Sums of floats that lie so near to the middle of two floats that, in double, they are the middle: 1 + 2^-24 (1 + 2^-36), and 1 + 2^-22 less as
 * much. */
Test(bits, floats_are_rounded_once) {
    enum { PIXELS = 33 };
    const float sign[] = {1, -1}, from[] = {1, 1 + 0x1p-22F}, want[] = {1 + 0x1p-23F, 1 + 0x1p-23F};
    float x[2 * PIXELS], y[PIXELS], w[2];
    bits_case c = {.op = PLEAT_CONV_FORWARD, .element = sizeof(float), .n = PIXELS, .xwy = {x, w, y}};
    c.g = (pleat_conv_shape){
        .N = 1, .C = 2, .O = 1, .G = 1, .H = 1, .W = PIXELS, .P = 1, .Q = PIXELS, .R = 1, .S = 1};
    c.g.stride[0] = c.g.stride[1] = c.g.dilation[0] = c.g.dilation[1] = 1;
    for (size_t k = 0; k < 2; k++) {
        w[0] = from[k], w[1] = sign[k] * 0x1p-24F * (1 + 0x1p-12F);
        for (size_t i = 0; i < PIXELS; i++) x[i] = 1, x[PIXELS + i] = 1 - 0x1p-12F + 0x1p-24F;
        for (size_t e = 0; e < sizeof engines / sizeof *engines; e++)
            for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
                pleat_path path = {engines[e], isas[i]};
                if (!conv_takes(&c.g, c.element, c.op, path)) continue;
                run(&c, path, y, 1);
                for (size_t q = 0; q < PIXELS; q++)
                    cr_expect(y[q] == want[k], "%s: %a, not %a", path_text(path).text, (double)y[q],
                              (double)want[k]);
            }
    }
}

/* At the borders of units, chunks, and kinds of order: N, C, O, G, map, kernel, stride, dilation. */
static const size_t borders[][10] = {
    {8, 16, 16, 1, 8, 8, 1, 1, 1, 1},
    {9, 16, 16, 1, 8, 8, 1, 1, 1, 1},
    {32, 16, 16, 1, 4, 4, 1, 1, 1, 1}, /* images of a unit */
    {1, 16, 16, 1, 16, 32, 1, 1, 1, 1},
    {1, 16, 16, 1, 19, 27, 1, 1, 1, 1}, /* 512 pixels, and 513 */
    {9, 16, 16, 1, 8, 64, 1, 1, 1, 1},
    {9, 3, 3, 1, 32, 32, 1, 1, 1, 1}, /* more chunks than there may be */
    {1, 3, 3, 1, 32, 32, 1, 1, 1, 1},
    {1, 3, 3, 1, 41, 25, 1, 1, 1, 1}, /* 1024 pixels, and 1025 */
    {1, 12, 17, 1, 9, 13, 1, 1, 1, 1},
    {1, 13, 17, 1, 9, 13, 1, 1, 1, 1}, /* terms that are few */
    {1, 3, 17, 1, 9, 12, 1, 1, 1, 1},
    {1, 3, 17, 1, 9, 6, 1, 1, 1, 1},
    {1, 3, 17, 1, 9, 7, 1, 1, 1, 1}, /* and maps too narrow for them */
    {1, 13, 8, 1, 9, 8, 1, 1, 1, 1},
    {1, 13, 9, 1, 9, 9, 1, 1, 1, 1},
    {1, 13, 8, 1, 9, 7, 1, 1, 1, 1}, /* channels that are few */
    {1, 13, 4, 1, 9, 4, 1, 1, 1, 1},
    {1, 13, 5, 1, 9, 5, 1, 1, 1, 1},
    {1, 2, 2, 1, 9, 17, 1, 1, 16, 16},
    {1, 2, 2, 1, 9, 17, 1, 2, 16, 16}, /* what a band reaches */
    {1, 2, 2, 2, 64, 7, 4, 4, 1, 1},
    {1, 2, 2, 2, 65, 7, 4, 4, 1, 1}, /* pixels by taps of a flat plane */
    {2, 2, 2, 2, 9, 12, 3, 3, 1, 1},
    {2, 2, 2, 2, 9, 13, 3, 3, 1, 1},
    {2, 2, 2, 2, 9, 6, 3, 3, 1, 1},
    {8, 13, 128, 1, 8, 64, 1, 1, 1, 1},
    {8, 13, 129, 1, 8, 64, 1, 1, 1, 1}, /* blocks */
    {8, 576, 9, 1, 8, 64, 1, 1, 1, 1},
    {8, 577, 9, 1, 8, 64, 1, 1, 1, 1},
    {1, 512, 256, 1, 25, 41, 1, 1, 1, 1}, /* bytes of partial sums */
};

Test(bits, definition_at_borders, .timeout = 120) {
    bits_case c = {.op = PLEAT_CONV_WEIGHT};
    for (size_t turn = 0; turn < 2 * sizeof borders / sizeof *borders; turn++) {
        const size_t *at = borders[turn / 2];
        c.g = (pleat_conv_shape){
            .N = at[0], .C = at[1], .O = at[2], .G = at[3], .P = at[4], .Q = at[5], .R = at[6], .S = at[7]};
        for (size_t k = 0; k < 2; k++) {
            c.g.stride[k] = at[8], c.g.dilation[k] = at[9];
            c.g.pad[k] = (ptrdiff_t)((at[6 + k] - 1) * at[9] / 2);
        }
        c.g.H = (at[4] - 1) * at[8] + 1, c.g.W = (at[5] - 1) * at[8] + 1;
        c.element = turn % 2 ? sizeof(float) : sizeof(double);
        check_definition(&c, turn);
    }
    cr_assert_eq(c.wrong, 0);
}

Test(bits, definition) {
    bits_case c = {0};
    uint64_t seed = 21;
    for (size_t turn = 0; turn < 400; turn++) {
        if (!geometry_case(turn, 300, &c.g)) {
            if (getenv("PLEAT_CASE")) break;
            c.g = geometry_drawn(&seed, 5e4, 3e4);
        }
        c.element = turn % 2 ? sizeof(float) : sizeof(double);
        for (int op = 0; op < 3; op++) c.op = (pleat_conv_op)op, check_definition(&c, turn);
    }
    cr_assert_eq(c.wrong, 0);
}

/* An image has the bits that it has among others, with whatever engine either is computed. */
static void check_alone(bits_case *c, size_t turn) {
    size_t sizes[3] = {geometry_image(&c->g), geometry_kernel(&c->g), geometry_map(&c->g)}, N = c->g.N;
    size_t result = c->op == PLEAT_CONV_FORWARD ? 2 : 0, operand = 2 - result;
    for (size_t i = 0; i < 3; i++) c->xwy[i] = numbers(sizes[i], c->element, turn % 4, turn + i);
    c->n = sizes[result], c->want = malloc(c->n * c->element + 1), c->found = malloc(c->n * c->element + 1);
    cr_assert(c->want && c->found);
    run(c, (pleat_path){0}, c->want, 1);
    char *all = c->xwy[operand];
    c->g.N = 1, c->n /= N;
    for (size_t n = 0; n < N; n++) {
        c->xwy[operand] = all + n * sizes[operand] / N * c->element;
        run(c, (pleat_path){0}, c->found, 1);
        if (memcmp(c->found, (char *)c->want + n * c->n * c->element, c->n * c->element) == 0) continue;
        c->wrong++;
        fprintf(stderr, "%s f%zu: image %zu of %zu has other bits alone: %s\n", op_names[c->op],
                8 * c->element, n, N, geometry_print(&c->g).text);
        break;
    }
    c->xwy[operand] = all;
    for (size_t i = 0; i < 3; i++) free(c->xwy[i]);
    free(c->want), free(c->found);
}

Test(bits, an_image_alone) {
    bits_case c = {0};
    uint64_t seed = 22;
    for (size_t turn = 0; turn < 200; turn++) {
        c.element = turn % 2 ? sizeof(float) : sizeof(double);
        for (int op = 0; op < 2; op++) {
            uint64_t again = seed;
            c.g = geometry_drawn(&again, 1e6, 2e5);
            if (c.g.N > 20) c.g.N = 20;
            c.op = (pleat_conv_op)op, check_alone(&c, turn);
            if (op == 1) seed = again;
        }
    }
    cr_assert_eq(c.wrong, 0);
}

/* As compare, with x, y or both in blocks. */
static void compare_blocked(bits_case *c, size_t blocked, pleat_path path, int threads) {
    const pleat_conv_shape g = c->g;
    size_t shapes[2][3] = {{g.N, g.C, g.H * g.W}, {g.N, g.O, g.P * g.Q}};
    size_t result = c->op == PLEAT_CONV_FORWARD ? 1 : 0;
    void *plain[3] = {c->xwy[0], c->xwy[1], c->xwy[2]}, *turned[2] = {NULL};
    for (size_t k = 0; k < 2; k++) {
        c->g.blocked[k] = blocked >> k & 1;
        if (!c->g.blocked[k] || (c->op != PLEAT_CONV_WEIGHT && k == result)) continue;
        turned[k] = malloc(shapes[k][0] * shapes[k][1] * shapes[k][2] * c->element + 1);
        cr_assert(turned[k]);
        pleat_conv_block(c->element, shapes[k], false, c->xwy[2 * k], turned[k], NULL);
        c->xwy[2 * k] = turned[k];
    }
    if (conv_takes(&c->g, c->element, c->op, path)) {
        void *found = c->found;
        run(c, path, found, threads);
        if (c->op != PLEAT_CONV_WEIGHT && c->g.blocked[result]) {
            c->found = malloc(c->n * c->element + 1);
            cr_assert(c->found);
            pleat_conv_block(c->element, shapes[result], true, found, c->found, NULL);
            free(found);
        }
        judge(c, path);
    }
    for (size_t k = 0; k < 2; k++) free(turned[k]);
    memcpy(c->xwy, plain, sizeof plain);
    c->g = g;
}

Test(bits, blocked) {
    bits_case c = {0};
    uint64_t seed = 23;
    static const size_t B[] = {8, 16, 32, 48, 80, 144};
    for (size_t turn = 0; turn < 200; turn++) {
        c.g = geometry_drawn(&seed, 2e4, 2e4);
        bool alone = turn % 4 == 0; /* x is plain, as of a first layer, or y, as of a last one */
        c.g.G = turn % 7 == 0 ? 2 : 1;
        c.g.C = alone ? c.g.G * (1 + turn % 5) : c.g.G * B[random_below(&seed, 6)],
        c.g.O = c.g.G * B[random_below(&seed, 6)];
        bool depthwise = turn % 5 == 0;
        if (depthwise) c.g.G = c.g.C = c.g.O = 8 * (1 + turn / 5 % 6);
        size_t taps = c.g.C / c.g.G * c.g.R * c.g.S;
        while (c.g.N > 1 && geometry_map(&c.g) * taps > 1000000) c.g.N /= 2;
        if (geometry_map(&c.g) * taps > 2000000) continue;
        for (c.element = 4; c.element <= 8; c.element += 4)
            for (int op = 0; op < 3; op++) {
                c.op = (pleat_conv_op)op;
                begin_case(&c, turn);
                for (size_t blocked = 1; blocked < 4; blocked++) {
                    size_t lanes = 64 / c.element;
                    if (((blocked & 1) && c.g.C % lanes) || ((blocked & 2) && c.g.O % lanes)) continue;
                    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
                        compare_blocked(
                            &c, blocked,
                            (pleat_path){depthwise ? PLEAT_ENGINE_DIRECT : PLEAT_ENGINE_IMPLICIT_GEMM,
                                         isas[i]},
                            1 + (int)(turn % 3));
                    compare_blocked(&c, blocked, (pleat_path){0}, 1);
                    if (turn % 10 == 0)
                        compare_blocked(&c, blocked, (pleat_path){PLEAT_ENGINE_REFERENCE, PLEAT_ISA_AUTO}, 1);
                }
                end_case(&c);
            }
    }
    cr_assert(c.wrong == 0 && c.compared > 1000, "%zu of %zu results have other bits than the reference's",
              c.wrong, c.compared);
}

Test(bits, conv2d) { check(PLEAT_CONV_FORWARD); }
Test(bits, conv2d_transpose) { check(PLEAT_CONV_TRANSPOSE); }
Test(bits, conv2d_weight) { check(PLEAT_CONV_WEIGHT); }

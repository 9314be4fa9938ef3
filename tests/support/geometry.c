/* Geometries to test with, as text, from a list and at random. */
#include "geometry.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const corners[] = {
    "N1 C1 O1 G1 H1 W1 P1 Q1 R1 S1 s1,1 d1,1 p0,0",     /* one of everything */
    "N2 C3 O2 G1 H1 W1 P1 Q1 R3 S3 s1,1 d1,1 p1,1",     /* one pixel, only the middle tap meets it */
    "N1 C2 O3 G1 H1 W1 P5 Q5 R3 S3 s1,1 d1,1 p3,3",     /* one pixel, a map far larger */
    "N2 C1 O4 G1 H28 W28 P14 Q14 R3 S3 s2,2 d1,1 p1,1", /* (H + 2p - R) % s != 0 */
    "N2 C4 O3 G1 H14 W14 P7 Q7 R4 S4 s2,2 d1,1 p1,1",   /* stride 2, even kernel */
    "N1 C3 O2 G1 H9 W11 P5 Q6 R3 S5 s2,2 d1,1 p1,2",    /* stride 2, odd kernels: a tap without a neighbour */
    "N1 C2 O2 G1 H9 W8 P4 Q4 R3 S3 s2,2 d1,1 p-1,-1",   /* stride 2, cropped */
    "N1 C2 O2 G1 H12 W12 P6 Q6 R3 S4 s2,2 d2,2 p2,2",   /* stride 2 and dilation 2: half of the pixels */
    "N1 C2 O2 G1 H12 W3 P6 Q6 R3 S4 s2,2 d1,1 p1,3",    /* stride 2, narrower than the kernel */
    "N2 C3 O4 G1 H7 W5 P4 Q3 R1 S1 s2,2 d1,1 p0,0",     /* 1 by 1, strided */
    "N2 C3 O4 G1 H7 W5 P7 Q5 R1 S1 s1,1 d3,3 p0,0",     /* 1 by 1: the image is its own column matrix */
    "N2 C3 O4 G1 H7 W5 P7 Q5 R1 S1 s1,1 d1,1 p1,0",     /* the same sizes, but shifted */
    "N2 C3 O4 G1 H8 W8 P8 Q8 R1 S1 s1,1 d1,1 p1,0",     /* the same, of images that fill vectors, */
    "N2 C3 O4 G1 H8 W8 P8 Q8 R1 S1 s1,1 d1,1 p0,1",     /* along either axis, */
    "N2 C3 O4 G1 H5 W19 P5 Q19 R1 S1 s1,1 d1,1 p0,0", /* and of images that fill all but the last, not shifted */
    "N2 C3 O4 G1 H5 W7 P7 Q5 R1 S1 s1,1 d1,1 p0,0",   /* the same number of pixels, but another shape */
    "N2 C3 O4 G1 H7 W5 P7 Q5 R1 S1 s2,1 d1,1 p0,0",   /* the same sizes, but with a step down */
    "N2 C3 O4 G1 H7 W5 P7 Q5 R1 S1 s1,2 d1,1 p0,0",   /* or along */
    "N1 C2 O3 G1 H11 W10 P3 Q4 R2 S1 s4,3 d1,1 p0,0", /* kernel smaller than the stride: pixels nobody meets */
    "N1 C2 O3 G1 H20 W4 P6 Q2 R2 S2 s4,4 d1,1 p1,1",  /* the same with padding */
    "N1 C2 O2 G1 H4 W4 P6 Q6 R7 S7 s1,1 d1,1 p4,4",   /* kernel larger than the image */
    "N1 C1 O2 G1 H3 W3 P9 Q9 R2 S2 s1,1 d1,1 p4,4",   /* padding larger than the kernel */
    "N1 C2 O1 G1 H8 W8 P3 Q2 R2 S3 s1,2 d1,1 p-4,-3",           /* negative padding */
    "N1 C2 O1 G1 H4 W4 P3 Q3 R2 S2 s1,1 d1,1 p-4,0",            /* cropped away altogether */
    "N1 C1 O1 G1 H5 W5 P3 Q3 R2 S2 s1,1 d9,9 p4,4",             /* dilation larger than the image */
    "N1 C1 O1 G1 H6 W6 P1 Q1 R2 S2 s1000000,1000000 d1,1 p0,0", /* a stride that takes no step */
    "N1 C2 O2 G1 H6 W6 P20 Q17 R3 S3 s3,2 d1,1 p1,1",           /* a map that runs out of the image */
    "N1 C2 O2 G1 H16 W16 P2 Q3 R3 S3 s1,1 d1,1 p1,1", /* a map that leaves most of the image unused */
    "N2 C6 O6 G6 H7 W9 P7 Q9 R3 S3 s1,1 d1,1 p1,1",   /* depthwise */
    "N2 C4 O8 G4 H8 W7 P4 Q4 R4 S3 s2,2 d1,1 p1,1",   /* depthwise with a multiplier */
    "N2 C6 O4 G2 H6 W6 P3 Q2 R3 S3 s2,3 d1,2 p1,2",   /* groups, nothing square */
    "N3 C5 O7 G1 H4 W6 P1 Q1 R4 S6 s1,1 d1,1 p0,0",   /* the kernel covers the image: a dense layer */
    "N3 C5 O1 G1 H8 W8 P8 Q8 R3 S3 s1,1 d1,1 p1,1",   /* one channel out */
    "N3 C1 O5 G1 H8 W8 P8 Q8 R1 S1 s1,1 d1,1 p0,0",   /* one channel in, one tap */
    "N1 C2 O2 G1 H1 W19 P1 Q19 R1 S5 s1,1 d1,1 p0,2", /* a line along W */
    "N1 C2 O2 G1 H19 W1 P19 Q1 R5 S1 s1,1 d1,1 p2,0", /* a line along H */
    "N1 C2 O2 G1 H5 W40 P3 Q5 R9 S16 s3,8 d1,1 p4,4", /* large kernels, large strides */
};

enum { CORNERS = sizeof corners / sizeof *corners };

/* splitmix64 */
static uint64_t next(uint64_t *seed) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t random_below(uint64_t *seed, size_t n) { return (size_t)(next(seed) % n); }

ptrdiff_t random_between(uint64_t *seed, ptrdiff_t a, ptrdiff_t b) {
    return a + (ptrdiff_t)random_below(seed, (size_t)(b - a) + 1);
}

void fill_integers(double *a, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) a[i] = (double)random_between(&seed, -4, 4);
}

bool mostly_zero(const double *a, size_t n) {
    size_t others = 0;
    for (size_t i = 0; i < n; i++) others += a[i] != 0;
    return 8 * others < n;
}

typedef struct axis {
    size_t image, map, kernel, stride, dilation;
    ptrdiff_t pad;
} axis;

/* The share of pairs of map pixel and tap that meet the image is at least a half. */
static bool meets_image(const axis *a) {
    size_t pairs = 0;
    for (size_t j = 0; j < a->map; j++)
        for (size_t k = 0; k < a->kernel; k++) {
            ptrdiff_t i = (ptrdiff_t)(j * a->stride + k * a->dilation) - a->pad;
            pairs += i >= 0 && i < (ptrdiff_t)a->image;
        }
    return 2 * pairs >= a->map * a->kernel;
}

/* The map mostly has the size that the usual rule gives for some padding at the end, sometimes any. */
static axis draw_axis(uint64_t *seed) {
    axis a = {.image = 1 + random_below(seed, 14), .kernel = 1 + random_below(seed, 5)};
    a.stride = 1 + random_below(seed, 4);
    a.dilation = random_below(seed, 2) ? 1 : 1 + random_below(seed, 3);
    ptrdiff_t extent = (ptrdiff_t)((a.kernel - 1) * a.dilation + 1);
    a.pad = random_below(seed, 5) ? random_between(seed, 0, extent) : random_between(seed, -3, -1);
    ptrdiff_t length = (ptrdiff_t)a.image + a.pad + random_between(seed, -1, 3) - extent;
    a.map =
        length < 0 || random_below(seed, 4) == 0 ? 1 + random_below(seed, 9) : (size_t)length / a.stride + 1;
    return a;
}

/* Most axes have much to compute. */
static axis random_axis(uint64_t *seed) {
    axis a = draw_axis(seed);
    while (!meets_image(&a) && random_below(seed, 20)) a = draw_axis(seed);
    return a;
}

pleat_conv_shape geometry_random(uint64_t *seed) {
    size_t G = 1, in = 1 + random_below(seed, 4), out = 1 + random_below(seed, 4);
    switch (random_below(seed, 4)) {
    case 0:
        G = 2 + random_below(seed, 3);
        break;
    case 1:
        G = 2 + random_below(seed, 5), in = 1, out = 1 + random_below(seed, 2);
        break;
    }
    axis a = random_axis(seed), b = random_axis(seed);
    return (pleat_conv_shape){
        .N = 1 + random_below(seed, 3),
        .C = G * in,
        .O = G * out,
        .G = G,
        .H = a.image,
        .W = b.image,
        .P = a.map,
        .Q = b.map,
        .R = a.kernel,
        .S = b.kernel,
        .stride = {a.stride, b.stride},
        .dilation = {a.dilation, b.dilation},
        .pad = {a.pad, b.pad},
    };
}

/* 1 .. 2^bits and somewhat more, each power of two as often as any other. */
static size_t log_uniform(uint64_t *seed, size_t most) {
    size_t bits = 0, n;
    while ((size_t)2 << bits <= most) bits++;
    do {
        size_t low = (size_t)1 << random_below(seed, bits + 1);
        n = low + random_below(seed, low);
    } while (n > most);
    return n;
}

static axis drawn_axis(uint64_t *seed, size_t image, bool line) {
    axis a = {.image = line ? 1 : log_uniform(seed, image), .kernel = line ? 1 : log_uniform(seed, 12)};
    a.stride = line || random_below(seed, 2) ? 1 : log_uniform(seed, 8);
    a.dilation = random_below(seed, 6) ? 1 : log_uniform(seed, 8);
    a.pad =
        random_below(seed, 3) == 0 ? 0 : random_between(seed, 0, (ptrdiff_t)((a.kernel - 1) * a.dilation));
    if (random_below(seed, 20) == 0) a.pad = random_between(seed, -3, 3);
    a.map = pleat_conv_map_size(a.image, a.kernel, a.stride, a.dilation, a.pad,
                                a.pad + random_between(seed, 0, 1));
    if (random_below(seed, 20) == 0) a.map += random_below(seed, 3);
    return a;
}

/* Square, mostly; sometimes a signal along one axis. */
static void drawn_axes(uint64_t *seed, axis out[2]) {
    bool line = random_below(seed, 10) == 0;
    out[1] = drawn_axis(seed, line ? 8192 : 256, false);
    out[0] = line || random_below(seed, 4) == 0 ? drawn_axis(seed, 256, line) : out[1];
    if (random_below(seed, 50) == 0) {
        axis a = out[0];
        out[0] = out[1], out[1] = a;
    }
}

static pleat_conv_shape draw_layer(uint64_t *seed) {
    size_t kind = random_below(seed, 6), G = kind < 2 ? log_uniform(seed, 400) : 1;
    bool depthwise = kind == 0;
    size_t in = depthwise ? 1 : log_uniform(seed, 400 / G);
    size_t out = depthwise ? 1 + random_below(seed, 2) : log_uniform(seed, 400 / G);
    axis a[2];
    drawn_axes(seed, a);
    return (pleat_conv_shape){
        .N = log_uniform(seed, 2000),
        .C = G * in,
        .O = G * out,
        .G = G,
        .H = a[0].image,
        .W = a[1].image,
        .P = a[0].map,
        .Q = a[1].map,
        .R = a[0].kernel,
        .S = a[1].kernel,
        .stride = {a[0].stride, a[1].stride},
        .dilation = {a[0].dilation, a[1].dilation},
        .pad = {a[0].pad, a[1].pad},
    };
}

pleat_conv_shape geometry_drawn(uint64_t *seed, double products, double numbers) {
    for (;;) {
        pleat_conv_shape g = draw_layer(seed);
        if (pleat_conv_check(&g, sizeof(double))) continue;
        double map = (double)geometry_map(&g),
               all = (double)geometry_image(&g) + map + (double)geometry_kernel(&g);
        if (all <= numbers && map * (double)(g.C / g.G * g.R * g.S) <= products) return g;
    }
}

geometry_line geometry_print(const pleat_conv_shape *g) {
    geometry_line line;
    int n = snprintf(line.text, sizeof line.text,
                     "N%zu C%zu O%zu G%zu H%zu W%zu P%zu Q%zu R%zu S%zu s%zu,%zu d%zu,%zu p%td,%td", g->N,
                     g->C, g->O, g->G, g->H, g->W, g->P, g->Q, g->R, g->S, g->stride[0], g->stride[1],
                     g->dilation[0], g->dilation[1], g->pad[0], g->pad[1]);
    if (g->blocked[0] || g->blocked[1])
        snprintf(line.text + n, sizeof line.text - (size_t)n, " b%zu,%zu", g->blocked[0], g->blocked[1]);
    return line;
}

bool geometry_parse(const char *text, pleat_conv_shape *g) {
    int end = 0, more = 0;
    *g = (pleat_conv_shape){0};
    int fields =
        sscanf(text, "N%zu C%zu O%zu G%zu H%zu W%zu P%zu Q%zu R%zu S%zu s%zu,%zu d%zu,%zu p%td,%td %n", &g->N,
               &g->C, &g->O, &g->G, &g->H, &g->W, &g->P, &g->Q, &g->R, &g->S, &g->stride[0], &g->stride[1],
               &g->dilation[0], &g->dilation[1], &g->pad[0], &g->pad[1], &end);
    if (fields == 16 && sscanf(text + end, "b%zu,%zu %n", &g->blocked[0], &g->blocked[1], &more) == 2)
        end += more;
    return fields == 16 && text[end] == '\0';
}

geometry_line geometry_reproduce(const pleat_conv_shape *g, const char *program, const char *test) {
    geometry_line line;
    const char *engine = getenv("PLEAT_ENGINE"), *isa = getenv("PLEAT_ISA");
    snprintf(line.text, sizeof line.text,
             "reproduce: PLEAT_ENGINE=%.20s PLEAT_ISA=%.20s PLEAT_CASE='%.200s' build/tests/%s --filter '%s'",
             engine ? engine : "auto", isa ? isa : "auto", geometry_print(g).text, program, test);
    return line;
}

static pleat_conv_shape parse_or_exit(const char *text) {
    pleat_conv_shape g;
    const char *wrong = "it must read like N1 C4 O2 G1 H3 W5 P2 Q3 R3 S1 s2,1 d1,1 p-1,0";
    if (geometry_parse(text, &g) && !(wrong = pleat_conv_check(&g, sizeof(double)))) return g;
    fprintf(stderr, "the geometry '%s' is illegal: %s\n", text, wrong);
    exit(2);
}

static size_t every(void) {
    const char *text = getenv("PLEAT_TEST_EVERY");
    long n = text ? strtol(text, NULL, 10) : 1;
    return n > 1 ? (size_t)n : 1;
}

bool geometry_case(size_t i, size_t random_cases, pleat_conv_shape *g) {
    const char *only = getenv("PLEAT_CASE");
    if (i >= (only ? 1 : CORNERS + random_cases / every())) return false;
    if (only || i < CORNERS) {
        *g = parse_or_exit(only ? only : corners[i]);
        return true;
    }
    uint64_t seed = CORNERS + (i - CORNERS) * every();
    *g = geometry_random(&seed);
    return true;
}

size_t geometry_image(const pleat_conv_shape *g) { return g->N * g->C * g->H * g->W; }
size_t geometry_kernel(const pleat_conv_shape *g) { return g->O * (g->C / g->G) * g->R * g->S; }
size_t geometry_map(const pleat_conv_shape *g) { return g->N * g->O * g->P * g->Q; }

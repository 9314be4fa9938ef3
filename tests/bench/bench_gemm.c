/* Time matrix products of our own beside those of BLAS, on one thread, in processor time. */
#include "kernels/gemm/gemm.h"
#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: bench_gemm [--only LAYER] [--batch N] [--f64] [--seconds S]\n"
    "\n"
    "  --only LAYER    encoder, decoder, classes, square, other or grid (default: all but the grid)\n"
    "  --batch N       of the layers, that batch alone (default: 1, 16, 64 and 500)\n"
    "  --f64           in double\n"
    "  --seconds S     for each product (default 0.1)\n"
    "\n"
    "The products of the dense layers of bench_train's networks (fwd: x W^T; dx: dy W; dw: dy^T x), square ones, others that\n"
    "are hard, and a grid of m in {1, 4, 16, 64, 256}, n in {10, 64, 128, 256, 1024}, k in {64, 256, 784, 1024, 3136}. Prints CSV:\n"
    "  ours_us, blas_us        the best of rounds in turn, in microseconds\n"
    "  ours, blas              GFLOP/s\n"
    "  ratio                   blas_us by ours_us: above 1, ours is faster\n";

typedef struct options {
    const char *only;
    size_t batch, element;
    double seconds;
} options;

typedef struct job {
    pl_gemm g;
    const pl_gemm_engine *products; /* NULL: BLAS */
    size_t element, calls;
    void *a, *b, *c, *memory;
} job;

static void run(const job *j) {
    for (size_t i = 0; i < j->calls; i++) {
        if (j->products != NULL)
            j->products->run(&j->g, j->a, j->b, j->c, j->memory);
        else if (j->element == sizeof(float))
            pl_gemm_f32(&j->g, j->a, j->b, j->c);
        else
            pl_gemm_f64(&j->g, j->a, j->b, j->c);
    }
}

static double time_calls(const job *j) {
    double start = bench_now();
    run(j);
    return (bench_now() - start) / (double)j->calls;
}

/* Ones, so that nothing is denormal, at a line of the cache, as tensors are. */
static void *ones(size_t n, size_t element) {
    void *p = aligned_alloc(64, (n * element + 63) / 64 * 64);
    for (size_t i = 0; p != NULL && i < n; i++) {
        if (element == sizeof(float))
            ((float *)p)[i] = 1;
        else
            ((double *)p)[i] = 1;
    }
    return p;
}

/* Both, in turn. */
static void measure(job *j, const pl_gemm_engine *ours, double seconds, double best[2]) {
    j->calls = 1, j->products = NULL, best[0] = best[1] = 1e30;
    run(j);
    double once = time_calls(j);
    j->calls = once > 0 && once < 1e-4 ? 1 + (size_t)(1e-4 / once) : 1;
    for (double end = bench_now() + seconds; bench_now() < end;)
        for (int side = 0; side < 2; side++) {
            j->products = side == 0 ? ours : NULL;
            run(j);
            double t = time_calls(j);
            if (t < best[side]) best[side] = t;
        }
}

static void product(const options *o, const char *layer, const char *what, pl_gemm g) {
    if (o->only != NULL && strcmp(o->only, layer) != 0) return;
    const pl_gemm_engine *ours = pl_gemm_engine_for(o->element, (pleat_path){0});
    g.lda = g.ta ? g.m : g.k, g.ldb = g.tb ? g.k : g.n, g.ldc = g.n;
    job j = {.g = g, .element = o->element};
    j.a = ones(g.m * g.k, o->element), j.b = ones(g.k * g.n, o->element), j.c = ones(g.m * g.n, o->element);
    j.memory = malloc(ours->workspace(&g) + 1);
    if (j.a && j.b && j.c && j.memory) {
        double best[2], flop = 2e-9 * (double)g.m * (double)g.n * (double)g.k;
        measure(&j, ours, o->seconds, best);
        printf("%s,%s,%zu,%zu,%zu,%d,%d,%.2f,%.2f,%.1f,%.1f,%.2f\n", layer, what, g.m, g.n, g.k, g.ta, g.tb,
               best[0] * 1e6, best[1] * 1e6, flop / best[0], flop / best[1], best[1] / best[0]);
        fflush(stdout);
    }
    free(j.a), free(j.b), free(j.c), free(j.memory);
}

static void layer(const options *o, const char *name, size_t in, size_t out) {
    static const size_t batches[] = {1, 16, 64, 500};
    for (size_t i = 0; i < (o->batch ? 1 : 4); i++) {
        size_t batch = o->batch ? o->batch : batches[i];
        product(o, name, "fwd", (pl_gemm){.m = batch, .n = out, .k = in, .tb = true});
        product(o, name, "dx", (pl_gemm){.m = batch, .n = in, .k = out});
        product(o, name, "dw", (pl_gemm){.m = out, .n = in, .k = batch, .ta = true});
    }
}

static void four(const options *o, const char *name, size_t m, size_t n, size_t k) {
    static const char *const flags[] = {"nn", "tn", "nt", "tt"};
    for (int i = 0; i < 4; i++)
        product(o, name, flags[i], (pl_gemm){.m = m, .n = n, .k = k, .ta = i & 1, .tb = i & 2});
}

static void grid(const options *o) {
    static const size_t m[] = {1, 4, 16, 64, 256}, n[] = {10, 64, 128, 256, 1024},
                        k[] = {64, 256, 784, 1024, 3136};
    for (size_t i = 0; i < 5 * 5 * 5; i++) {
        pl_gemm g = {.m = m[i / 25], .n = n[i / 5 % 5], .k = k[i % 5]};
        product(o, "grid", "nn", g);
        g.tb = true;
        product(o, "grid", "nt", g);
        g.tb = false, g.ta = true;
        product(o, "grid", "tn", g);
    }
}

static bool read_options(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--f64") == 0) {
            o->element = sizeof(double);
            continue;
        }
        if (value == NULL) return false;
        if (strcmp(argv[i], "--only") == 0)
            o->only = value;
        else if (strcmp(argv[i], "--batch") == 0 && atoi(value) > 0)
            o->batch = (size_t)atoi(value);
        else if (strcmp(argv[i], "--seconds") == 0 && atof(value) > 0)
            o->seconds = atof(value);
        else
            return false;
        i++;
    }
    return true;
}

int main(int argc, char **argv) {
    options o = {.element = sizeof(float), .seconds = 0.1};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    if (!read_options(argc, argv, &o)) return fputs(usage, stderr), 2;
    pleat_blas_single_thread();
    bench_count_cpu_time();
    printf("layer,product,m,n,k,ta,tb,ours_us,blas_us,ours,blas,ratio\n");
    layer(&o, "encoder", 1568, 32);
    layer(&o, "decoder", 32, 1568);
    layer(&o, "classes", 784, 10);
    for (size_t n = 8; n <= 1024; n *= 2) four(&o, "square", n, n, n);
    static const size_t others[][3] = {{2048, 2048, 2048}, {64, 3136, 576}, {100, 100, 100}, {200, 200, 200},
                                       {384, 384, 384},    {1000, 1, 1000}, {1, 1000, 1000}, {1, 512, 4096},
                                       {64, 1024, 1024},   {64, 4096, 512}, {17, 33, 129},   {4, 4, 2000},
                                       {2000, 8, 8},       {512, 512, 16},  {16, 16, 4096},  {500, 784, 128}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        four(&o, "other", others[i][0], others[i][1], others[i][2]);
    if (o.only != NULL && strcmp(o.only, "grid") == 0) grid(&o);
    return 0;
}

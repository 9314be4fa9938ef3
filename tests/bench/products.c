#include "products.h"

#include "kernels/gemm/gemm.h"
#include "kernels/parallel.h"
#include "timing.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNKS = 16 };

static const size_t most_floats = (size_t)1
                                  << 24; /* of an operand, so that candidates do not fill the machine */
static const size_t cached_floats = (size_t)1 << 16; /* of columns that stay in a cache */
static const double never = 1e30;

/* ---- the same product, many times -------------------------------------------------------------------- */

typedef struct job {
    pl_gemm gemm;
    size_t calls;
    pleat_pool *pool; /* shares the calls out */
    float *a, *b, *c; /* c: one for each thread */
} job;

static void one_call(void *arg, size_t task, size_t thread) {
    job *j = arg;
    (void)task;
    pl_gemm_f32(&j->gemm, j->a, j->b, j->c + thread * j->gemm.m * j->gemm.n);
}

static void all_calls(void *arg) {
    job *j = arg;
    pl_parallel(j->pool, j->calls, one_call, j);
}

/* Milliseconds; `never` where an operand is too large to try. */
static double time_job(job j, double seconds) {
    const pl_gemm *g = &j.gemm;
    size_t a = g->m * g->k, b = g->k * g->n, c = g->m * g->n * (size_t)pleat_pool_threads(j.pool);
    if (a > most_floats || b > most_floats || c > most_floats) return never;
    j.a = calloc(a, sizeof(float)), j.b = calloc(b, sizeof(float)), j.c = calloc(c, sizeof(float));
    double ms = j.a && j.b && j.c ? bench_median_ms(all_calls, &j, seconds, 5) : never;
    free(j.a);
    free(j.b);
    free(j.c);
    return ms;
}

/* On the pool's threads, or on one: for a small product that is faster. */
static double time_both(job j, double seconds) {
    double ms = time_job(j, seconds), alone = never;
    if (j.pool != NULL) {
        j.pool = NULL;
        alone = time_job(j, seconds);
    }
    return alone < ms ? alone : ms;
}

/* ---- convolutions ------------------------------------------------------------------------------------ */

static pl_gemm conv_gemm(const conv_sizes *s, product p, size_t columns) {
    size_t rows = s->rows, inner = s->inner;
    pl_gemm g = {.m = rows, .n = columns, .k = inner, .lda = inner, .ldb = columns, .ldc = columns};
    if (p == TO_COLUMNS) g.ta = true, g.m = inner, g.k = rows;
    if (p == WEIGHT) g.tb = true, g.n = inner, g.k = columns, g.lda = columns, g.ldc = inner;
    return g;
}

/* So many columns at a time, of one image or of several side by side; where that leaves threads without work, the results' columns
 * are shared out. */
static double conv_columns(const conv_sizes *s, product p, pleat_pool *pool, size_t columns, double seconds) {
    size_t threads = (size_t)pleat_pool_threads(pool), total = s->images * s->map;
    size_t batches = (total + columns - 1) / columns;
    job j = {.gemm = conv_gemm(s, p, columns), .calls = batches * s->groups, .pool = pool};
    double more = (double)(batches * columns) / (double)total;
    if (j.calls < threads && j.gemm.n >= threads) {
        size_t part = (j.gemm.n + threads - 1) / threads;
        more *= (double)(part * threads) / (double)j.gemm.n;
        j.gemm.n = part, j.gemm.ldc = part;
        if (!j.gemm.tb) j.gemm.ldb = part;
        j.calls *= threads;
    }
    return time_both(j, seconds) / more;
}

double conv_product_ms(const conv_sizes *s, product p, pleat_pool *pool, double seconds) {
    double best = never;
    size_t strip = cached_floats / s->inner, map = s->map, all = s->images * map;
    if (strip < 64) strip = 64;
    size_t columns[] = {strip, map, 4 * map, 16 * map, all};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        bool tried =
            (i == 0 && strip >= map) || (i > 1 && i < 4 && columns[i] >= all) || (i == 4 && all == map);
        if (tried) continue;
        double ms = conv_columns(s, p, pool, columns[i], seconds);
        if (ms < best) best = ms;
    }
    return best;
}

/* ---- linear layers ----------------------------------------------------------------------------------- */

double linear_product_ms(const size_t size[3], product p, pleat_pool *pool, double seconds) {
    size_t batch = size[0], in = size[1], out = size[2], calls = (size_t)pleat_pool_threads(pool);
    pl_gemm g = {.m = batch, .n = out, .k = in, .tb = true, .lda = in, .ldb = in, .ldc = out};
    if (p == TO_COLUMNS) g = (pl_gemm){.m = batch, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in};
    if (p == WEIGHT)
        g = (pl_gemm){.ta = true, .m = out, .n = in, .k = batch, .lda = out, .ldb = in, .ldc = in};
    size_t rows = g.m;
    if (calls > rows) calls = 1;
    g.m = (rows + calls - 1) / calls; /* of the result; shared out */
    if (g.ta) g.lda = g.m;
    double more = (double)(calls * g.m) / (double)rows;
    return time_both((job){.gemm = g, .calls = calls, .pool = pool}, seconds) / more;
}

/* ---- what moves -------------------------------------------------------------------------------------- */

typedef struct copy {
    pleat_pool *pool;
    char *from, *to;
    size_t chunk;
} copy;

static void copy_chunk(void *arg, size_t task, size_t thread) {
    copy *c = arg;
    (void)thread;
    memcpy(c->to + task * c->chunk, c->from + task * c->chunk, c->chunk);
}

static void copy_all(void *arg) {
    copy *c = arg;
    pl_parallel(c->pool, CHUNKS, copy_chunk, c);
}

double move_ms(double floats, pleat_pool *pool, double seconds) {
    copy c = {.pool = pool, .chunk = (size_t)(floats * sizeof(float) / 2 / CHUNKS) + 1};
    c.from = malloc(c.chunk * CHUNKS), c.to = malloc(c.chunk * CHUNKS);
    double ms = 0;
    if (c.from != NULL && c.to != NULL) {
        memset(c.from, 1, c.chunk * CHUNKS);
        ms = bench_median_ms(copy_all, &c, seconds, 5);
    }
    free(c.from);
    free(c.to);
    return ms;
}

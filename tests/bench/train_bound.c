#include "train_bound.h"

#include "kernels/gemm.h"
#include "kernels/parallel.h"
#include "timing.h"

#include <stdlib.h>
#include <string.h>

enum { LAYERS = 64, CHUNKS = 16 };

static const size_t most_floats = (size_t)1
                                  << 24; /* of an operand, so that candidates do not fill the machine */
static const double never = 1e30;

/* ---- products ---------------------------------------------------------------------------------------- */

/* The same product `calls` times, shared out over a pool. */
typedef struct products {
    pl_gemm gemm;
    size_t calls;
    pleat_pool *pool;
    float *a, *b, *c; /* c: one for each thread */
} products;

static void one_product(void *arg, size_t task, size_t thread) {
    products *p = arg;
    (void)task;
    pl_gemm_f32(&p->gemm, p->a, p->b, p->c + thread * p->gemm.m * p->gemm.n);
}

static void all_products(void *arg) {
    products *p = arg;
    pl_parallel(p->pool, p->calls, one_product, p);
}

/* Milliseconds for them; never where an operand is too large to try. */
static double time_products(products p, double seconds) {
    const pl_gemm *g = &p.gemm;
    size_t a = g->m * g->k, b = g->k * g->n, c = g->m * g->n * (size_t)pleat_pool_threads(p.pool);
    if (a > most_floats || b > most_floats || c > most_floats) return never;
    p.a = calloc(a, sizeof(float)), p.b = calloc(b, sizeof(float)), p.c = calloc(c, sizeof(float));
    double ms = p.a && p.b && p.c ? bench_median_ms(all_products, &p, seconds, 5) : never;
    free(p.a);
    free(p.b);
    free(p.c);
    return ms;
}

/* The three products of a layer with the weights W [rows,inner]: Y = W X, X = W' Y and W = Y X', where X [inner,columns]. */
typedef enum kind { FROM_COLUMNS, TO_COLUMNS, WEIGHT, KINDS } kind;

static pl_gemm gemm_of(kind k, size_t rows, size_t inner, size_t columns) {
    pl_gemm g = {.m = rows, .n = columns, .k = inner, .lda = inner, .ldb = columns, .ldc = columns};
    if (k == TO_COLUMNS) g.ta = true, g.m = inner, g.k = rows;
    if (k == WEIGHT) g.tb = true, g.n = inner, g.k = columns, g.lda = columns, g.ldc = inner;
    return g;
}

/* ---- layers ------------------------------------------------------------------------------------------ */

typedef struct meter {
    pleat_pool *pool;
    double seconds;
    const pleat_nn_layer_info *row; /* the layer's; row[-1] is the one before */
    size_t batch;
} meter;

static double faster(products p, const meter *m, double scale, double than) {
    p.pool = m->pool;
    double ms = scale * time_products(p, m->seconds);
    if (m->pool != NULL) {
        p.pool = NULL;
        double alone = scale * time_products(p, m->seconds);
        if (alone < ms) ms = alone;
    }
    return ms < than ? ms : than;
}

/* Columns of 1, 4, 16 images or of the whole batch side by side: whichever is fastest. */
static double convolution(const meter *m, kind k) {
    const size_t *x = m->row[-1].shape, *y = m->row->shape;
    bool transposed = strcmp(m->row->kind, "ConvTranspose2d") == 0;
    size_t rows = transposed ? x[1] : y[1], map = transposed ? x[2] * x[3] : y[2] * y[3];
    size_t inner = (size_t)(m->row->macs / (double)(m->batch * map * rows) + 0.5);
    size_t images[] = {1, 4, 16, m->batch};
    double best = never;
    for (size_t i = 0; i < 4; i++) {
        if (images[i] > m->batch || (i == 3 && images[i] <= 1)) continue;
        size_t calls = (m->batch + images[i] - 1) / images[i];
        products p = {.gemm = gemm_of(k, rows, inner, map * images[i]), .calls = calls};
        best = faster(p, m, (double)m->batch / (double)(calls * images[i]), best);
    }
    return best;
}

/* x [N,in], w [out,in]: y = x w', x = y w, w = y' x, whose rows are shared out. */
static double linear(const meter *m, kind k) {
    size_t in = m->row[-1].shape[1], out = m->row->shape[1];
    pl_gemm g = {.m = m->batch, .n = out, .k = in, .tb = true, .lda = in, .ldb = in, .ldc = out};
    if (k == TO_COLUMNS) g = (pl_gemm){.m = m->batch, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in};
    if (k == WEIGHT)
        g = (pl_gemm){.ta = true, .m = out, .n = in, .k = m->batch, .lda = out, .ldb = in, .ldc = in};
    size_t calls = (size_t)pleat_pool_threads(m->pool), rows = g.m;
    if (calls > rows) calls = 1;
    g.m = (rows + calls - 1) / calls;
    if (g.ta) g.lda = g.m;
    return faster((products){.gemm = g, .calls = calls}, m, (double)rows / (double)(calls * g.m), never);
}

/* Forward, the weights' gradient and, behind the first layer, the input's. A transposed convolution and a linear layer, as they
 * are kept, go forward by the product that is the other's gradient; only the sum counts. */
static double layer_gemm_ms(const meter *m, bool first) {
    if (m->row->macs == 0) return 0;
    bool is_linear = strcmp(m->row->kind, "Linear") == 0;
    bool transposed = strcmp(m->row->kind, "ConvTranspose2d") == 0;
    double sum = 0;
    for (kind k = 0; k < KINDS; k++) {
        if (first && k == (transposed ? FROM_COLUMNS : TO_COLUMNS)) continue;
        sum += is_linear ? linear(m, k) : convolution(m, k);
    }
    return sum;
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

/* Milliseconds to read and write `floats` floats in all: a copy of half of them, so that as much has to fit the caches. */
static double move_ms(double floats, pleat_pool *pool, double seconds) {
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

static double numel(const pleat_nn_layer_info *row) {
    double n = 1;
    for (size_t i = 0; i < row->rank; i++) n *= (double)row->shape[i];
    return n;
}

/* A layer without products that keeps the size can work in place, in the pass of the one before. What is left is written and read
 * once, and so is its cotangent. Of the parameters: the gradient is written and read, p, m and v are read and written. */
static double floats_moved(const pleat_nn_layer_info *row, size_t layers, double params) {
    double outputs = 0;
    for (size_t i = 1; i <= layers; i++)
        if (row[i].macs > 0 || numel(&row[i]) != numel(&row[i - 1])) outputs += numel(&row[i]);
    return 2 * numel(row) + 4 * outputs + 8 * params;
}

/* ---- all of it --------------------------------------------------------------------------------------- */

bool measure_train_bound(pleat_nn_module *net, const size_t shape[4], int threads, double seconds,
                         train_bound *out) {
    pleat_nn_layer_info row[LAYERS + 1] = {{.rank = 4}}; /* row[0] stands for the batch */
    memcpy(row[0].shape, shape, 4 * sizeof *shape);
    size_t layers;
    if (pleat_nn_layers(net, 4, shape, row + 1, LAYERS, &layers) || layers > LAYERS)
        return fprintf(stderr, "bench_train: the network cannot be measured\n"), false;
    pleat_pool *pool = threads > 1 ? pleat_pool_new(threads) : NULL;
    *out = (train_bound){0};
    bool first = true;
    for (size_t i = 1; i <= layers; i++) {
        meter m = {.pool = pool, .seconds = seconds, .row = &row[i], .batch = shape[0]};
        out->gemm_ms += layer_gemm_ms(&m, first);
        if (row[i].macs > 0) first = false;
    }
    out->move_ms = move_ms(floats_moved(row, layers, (double)pleat_nn_param_numel(net)), pool, seconds);
    pleat_pool_free(pool);
    return true;
}

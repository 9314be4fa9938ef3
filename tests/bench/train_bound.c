#include "train_bound.h"

#include "products.h"

#include <string.h>

enum { LAYERS = 64 };

/* ---- products ---------------------------------------------------------------------------------------- */

typedef struct meter {
    pleat_pool *pool;
    double seconds;
    const pleat_nn_layer_info *row; /* the layer's; row[-1] is the one before */
    size_t batch;
} meter;

static double convolution(const meter *m, product p) {
    const size_t *x = m->row[-1].shape, *y = m->row->shape;
    bool transposed = strcmp(m->row->kind, "ConvTranspose2d") == 0;
    conv_sizes s = {.rows = y[1], .map = y[2] * y[3], .images = m->batch, .groups = 1};
    if (transposed) s.rows = x[1], s.map = x[2] * x[3];
    s.inner = (size_t)(m->row->macs / (double)(m->batch * s.map * s.rows) + 0.5);
    return conv_product_ms(&s, p, m->pool, m->seconds);
}

static double linear(const meter *m, product p) {
    size_t size[3] = {m->batch, m->row[-1].shape[1], m->row->shape[1]};
    return linear_product_ms(size, p, m->pool, m->seconds);
}

/* Forward, the weights' gradient and, behind the first layer, the input's. A transposed convolution goes forward by the product that
 * is the input's gradient of the other. */
static double layer_gemm_ms(const meter *m, bool first) {
    if (m->row->macs == 0) return 0;
    bool is_linear = strcmp(m->row->kind, "Linear") == 0;
    bool transposed = strcmp(m->row->kind, "ConvTranspose2d") == 0;
    double sum = 0;
    for (product p = 0; p < PRODUCTS; p++) {
        if (first && p == (transposed ? FROM_COLUMNS : TO_COLUMNS)) continue;
        sum += is_linear ? linear(m, p) : convolution(m, p);
    }
    return sum;
}

/* ---- what moves -------------------------------------------------------------------------------------- */

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

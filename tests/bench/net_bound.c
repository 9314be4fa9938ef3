#include "net_bound.h"

#include "products.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SAMPLE: the batch that is recorded; everything else is in proportion. */
enum { NODES = 4096, READERS = 8, TIMES = 1024, SAMPLE = 4 };

static const double enough_macs = 1e8,
                    enough_floats = 1 << 26; /* for a rate; more takes in proportion longer */

/* ---- rates ------------------------------------------------------------------------------------------- */

/* The sizes of a product, and what it took: many layers, and batches, have the same. */
typedef struct product_time {
    bool linear;
    product which;
    int threads;
    conv_sizes conv;
    size_t size[3];
    double ms;
} product_time;

typedef struct meter {
    pleat_pool *pool;
    double seconds;
    size_t batch;
    double ms, macs;
} meter;

static bool same(const product_time *a, const product_time *b) {
    return a->linear == b->linear && a->which == b->which && a->threads == b->threads &&
           memcmp(&a->conv, &b->conv, sizeof a->conv) == 0 && memcmp(a->size, b->size, sizeof a->size) == 0;
}

static double timed(const meter *m, product_time t) {
    static product_time known[TIMES];
    static size_t count;
    t.threads = pleat_pool_threads(m->pool);
    for (size_t i = 0; i < count; i++)
        if (same(&known[i], &t)) return known[i].ms;
    t.ms = t.linear ? linear_product_ms(t.size, t.which, m->pool, m->seconds)
                    : conv_product_ms(&t.conv, t.which, m->pool, m->seconds);
    if (count < TIMES) known[count++] = t;
    return t.ms;
}

static void add_conv(meter *m, conv_sizes s, product which) {
    double each = (double)(s.rows * s.inner * s.map * s.groups), images = (double)m->batch;
    if (s.rows == 1 && s.groups > 1) return; /* depthwise */
    s.images = (size_t)(enough_macs / each) + 1;
    if (s.images > m->batch) s.images = m->batch;
    m->ms += timed(m, (product_time){.which = which, .conv = s}) * images / (double)s.images;
    m->macs += each * images;
}

static void add_linear(meter *m, size_t in, size_t out, product which) {
    m->ms += timed(m, (product_time){.linear = true, .which = which, .size = {m->batch, in, out}});
    m->macs += (double)m->batch * (double)in * (double)out;
}

/* ---- the recorded computation ------------------------------------------------------------------------ */

typedef struct node {
    const pleat_tensor *t;
    size_t layer; /* a layer's pass computes it; 0: it was there before */
    bool trained; /* a parameter stands behind it */
    bool begins;  /* the first of its layer's pass */
    size_t readers, reader[READERS];
} node;

typedef struct walk {
    const subject *s;
    meter *m;
    double floats; /* for SAMPLE items */
    size_t layers, count;
    bool failed;
    node node[NODES];
} walk;

static node *find(walk *w, const pleat_tensor *t) {
    for (size_t i = w->count; i-- > 0;)
        if (w->node[i].t == t) return &w->node[i];
    return NULL;
}

static bool is(const pleat_call *c, const char *part) { return strstr(c->op->name, part) != NULL; }
static bool is_conv(const pleat_call *c) { return is(c, "conv2d"); }
static bool is_product(const pleat_call *c) { return is_conv(c) || is(c, "matmul"); }
static bool is_view(const pleat_call *c) {
    static const char *const names[] = {"reshape", "contiguous", "permute",      "slice", "pad",
                                        "concat",  "stack",      "broadcast_to", "flip"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(c->op->name, names[i]) == 0) return true;
    return c->op->forward == NULL;
}
/* Begins a pass of its own. */
static bool is_layer(const pleat_call *c) {
    return is_product(c) || is(c, "norm") || is(c, "pool") || is(c, "resize") || is(c, "softmax");
}

/* `layer` reads t, or what t is a view of. */
static void read_by(walk *w, const pleat_tensor *t, size_t layer) {
    const pleat_call *c = pleat_call_of(t);
    if (c != NULL && is_view(c)) {
        for (size_t i = 0; i < c->n; i++) read_by(w, c->in[i], layer);
        return;
    }
    node *n = find(w, t);
    if (n == NULL || n->layer == layer) return;
    for (size_t i = 0; i < n->readers; i++)
        if (n->reader[i] == layer) return;
    if (n->readers < READERS) n->reader[n->readers++] = layer;
}

/* The last layer whose pass t comes out of. */
static size_t layer_of(walk *w, const pleat_tensor *t) {
    const node *n = find(w, t);
    return n ? n->layer : 0;
}

static void add_products(walk *w, const pleat_call *c) {
    const pleat_tensor *a = c->in[0], *b = c->in[1];
    const node *behind[2] = {find(w, a), find(w, b)};
    bool ga = behind[0] && behind[0]->trained, gb = behind[1] && behind[1]->trained;
    if (!is_conv(c)) {
        size_t out = pleat_size(c->out, pleat_rank(c->out) - 1);
        size_t in = pleat_numel(a) / (pleat_numel(c->out) / out);
        add_linear(w->m, in, out, FROM_COLUMNS);
        if (ga) add_linear(w->m, in, out, TO_COLUMNS);
        if (gb) add_linear(w->m, in, out, WEIGHT);
        return;
    }
    /* y = conv2d(x, w), x = conv2d_transpose(y, w), w = conv2d_weight(x, y) */
    bool transposed = is(c, "transpose"), weight = is(c, "weight");
    const pleat_tensor *y = transposed ? a : weight ? b : c->out, *x = transposed ? c->out : a;
    const size_t *k = pleat_shape(weight ? c->out : b);
    size_t groups = pleat_size(x, 1) / k[1];
    conv_sizes s = {.rows = k[0] / groups,
                    .inner = k[1] * k[2] * k[3],
                    .map = pleat_size(y, 2) * pleat_size(y, 3),
                    .groups = groups};
    product own = transposed ? TO_COLUMNS : weight ? WEIGHT : FROM_COLUMNS;
    add_conv(w->m, s, own);
    if (ga) add_conv(w->m, s, transposed ? FROM_COLUMNS : TO_COLUMNS);
    if (gb) add_conv(w->m, s, weight ? FROM_COLUMNS : WEIGHT);
}

static void visit(walk *w, const pleat_tensor *t) {
    if (w->failed || find(w, t)) return;
    const pleat_call *c = pleat_call_of(t);
    node n = {.t = t};
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        visit(w, c->in[i]);
        const node *in = find(w, c->in[i]);
        if (in == NULL) return;
        n.trained = n.trained || in->trained;
        if (in->layer > n.layer) n.layer = in->layer;
    }
    if (c == NULL)
        for (size_t p = 0; p < NET_PARTS && w->s->module[p] != NULL; p++)
            for (size_t i = 0; i < pleat_nn_param_count(w->s->module[p]); i++)
                n.trained = n.trained || pleat_nn_param(w->s->module[p], i) == t;
    bool view = c != NULL && is_view(c);
    /* a pool is two ops: one finds, one gathers */
    bool same_pool = c != NULL && is(c, "pool") && c->n > 1 && layer_of(w, c->in[1]) == n.layer;
    n.begins = c != NULL && !view && ((is_layer(c) && !same_pool) || n.layer == 0);
    if (n.begins) n.layer = ++w->layers;
    if (c != NULL && is_product(c)) add_products(w, c);
    if (w->count == NODES) {
        w->failed = true;
        return;
    }
    w->node[w->count++] = n;
    for (size_t i = 0; c != NULL && !view && i < c->n; i++) read_by(w, c->in[i], n.layer);
    if (c != NULL && is(c, "norm") && n.trained) w->floats += (double)pleat_numel(c->in[0]); /* x again */
}

static bool is_param(const node *n) { return n->layer == 0 && n->trained; }

/* Nobody else reads what this layer's pass makes: it ends in a loss. */
static bool is_last(const walk *w, size_t layer) {
    for (size_t i = 0; i < w->count; i++)
        if (w->node[i].layer == layer && w->node[i].readers > 0) return false;
    return true;
}

static double floats_moved(const walk *w) {
    double sum = w->floats;
    for (size_t i = 0; i < w->count; i++) {
        const node *n = &w->node[i];
        if (n->begins && n->trained && is_last(w, n->layer)) sum += 2 * (double)pleat_numel(n->t);
        if (n->readers == 0 || is_param(n)) continue;
        double passes = (double)n->readers + (n->layer > 0);
        sum += passes * (n->trained ? 2 : 1) * (double)pleat_numel(n->t);
    }
    return sum;
}

/* ---- all of it --------------------------------------------------------------------------------------- */

/* The floats that a computation of the batch moves; its products go to m. Negative after an error. */
static double walk_through(const subject *s, meter *m, const pleat_tensor *y) {
    walk *w = calloc(1, sizeof *w);
    if (w == NULL) return -1;
    w->s = s, w->m = m;
    visit(w, y);
    double floats = w->failed ? -1 : floats_moved(w);
    free(w);
    return floats;
}

/* Of every part; where there are two, images are made once more, without gradients. */
static bool count_parts(subject *s, meter *m, double *floats) {
    for (size_t p = 0; p < NET_PARTS && s->module[p] != NULL; p++) {
        pleat_scope scope = pleat_begin(s->ctx);
        /* the generator's loss goes through the critic, whose parameters it does not train */
        subject of_part = *s;
        of_part.module[0] = s->module[p], of_part.module[1] = NULL;
        double more = walk_through(&of_part, m, s->net->loss(s, p));
        *floats += more;
        if (more < 0) return false;
        pleat_end(scope);
    }
    if (s->module[1] == NULL) return pleat_error(s->ctx)->code == PLEAT_OK;
    subject of_none = *s;
    of_none.module[0] = NULL;
    pleat_scope scope = pleat_begin(s->ctx);
    double more = walk_through(&of_none, m, s->net->infer(s));
    *floats += more;
    pleat_end(scope);
    return more >= 0 && pleat_error(s->ctx)->code == PLEAT_OK;
}

bool measure_net_bound(const bench_net *net, size_t batch, int threads, double seconds, net_bound *out) {
    subject s = {.net = net, .batch = SAMPLE};
    meter m = {.seconds = seconds, .batch = batch, .pool = threads > 1 ? pleat_pool_new(threads) : NULL};
    double floats = 0;
    bool fine = subject_start(&s, 1) && count_parts(&s, &m, &floats);
    if (!fine) fprintf(stderr, "bench_nets: %s: its bound cannot be measured\n", net->name);
    if (fine) {
        double state = net->optimizer == NET_SGD ? 6 : 8; /* gradient, parameter, momentum; Adam has two */
        floats = floats * (double)batch / SAMPLE + state * (double)subject_params(&s);
        double part = floats < enough_floats ? floats : enough_floats;
        *out = (net_bound){.gemm_ms = m.ms,
                           .move_ms = move_ms(part, m.pool, seconds) * floats / part,
                           .gmacs = m.macs * 1e-9,
                           .mbytes = floats * sizeof(float) * 1e-6};
    }
    subject_stop(&s);
    pleat_pool_free(m.pool);
    return fine;
}

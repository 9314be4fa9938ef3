/* Sums of gradients over ranks: the bits of a tree that is written down, however late letters arrive. */
#include "tensors.h"
#include "world.h"

TestSuite(exchange, .init = tensors_begin, .fini = tensors_end, .timeout = 100);

enum { TENSORS = 9, STEPS = 4, MOST = 20 };

/* Tensors of a run, and the micro-batches of its steps. */
typedef struct plan {
    size_t n, numel[TENSORS], all[STEPS];
    pleat_dtype type[TENSORS];
    size_t fails; /* a step in which rank 1 gives up half way; STEPS: none */
    uint64_t seed;
} plan;

static plan draw_plan(uint64_t seed) {
    pleat_rng r = pleat_rng_new(seed, 5);
    plan p = {.n = 1 + pleat_rng_below(&r, TENSORS), .seed = seed, .fails = seed % 3 ? STEPS : 1};
    for (size_t i = 0; i < p.n; i++) {
        static const size_t most[] = {0, 1, 3, 40, 700, 5000};
        size_t largest = most[pleat_rng_below(&r, 6)];
        p.numel[i] = largest ? 1 + pleat_rng_below(&r, largest) : 0;
        p.type[i] = pleat_rng_below(&r, 3) ? PLEAT_F32 : PLEAT_F64;
    }
    for (size_t t = 0; t < STEPS; t++) p.all[t] = 1 + pleat_rng_below(&r, MOST);
    p.all[STEPS - 1] = 1 + p.all[STEPS - 2] / 3; /* a shorter last batch */
    return p;
}

/* Gradient i of micro-batch m in step t. */
static pleat_tensor *gradient(pleat_ctx *c, const plan *p, size_t t, size_t m, size_t i) {
    pleat_rng before = *pleat_ctx_rng(c);
    *pleat_ctx_rng(c) = pleat_rng_new(p->seed + 1, (t * MOST + m) * TENSORS + i);
    pleat_tensor *g = pleat_randn(c, p->type[i], PLEAT_SHAPE(p->numel[i]));
    *pleat_ctx_rng(c) = before;
    return g;
}

/* Node (l, k), as the rule says it. */
static pleat_tensor *node(const plan *p, size_t t, size_t i, size_t l, size_t k) {
    if (l == 0) return gradient(ctx, p, t, k, i);
    pleat_tensor *first = node(p, t, i, l - 1, 2 * k);
    bool second = (2 * k + 1) << (l - 1) < p->all[t];
    return second ? pleat_add(first, node(p, t, i, l - 1, 2 * k + 1)) : first;
}

static results expected_of(const plan *p) {
    results r = {0};
    for (size_t t = 0; t < STEPS; t++) {
        size_t top = 0;
        while ((size_t)1 << top < p->all[t]) top++;
        for (size_t i = 0; i < p->n && t != p->fails; i++) {
            pleat_scope scope = pleat_begin(ctx);
            take_tensor(&r, "sum", node(p, t, i, top, 0));
            pleat_end(scope);
        }
    }
    return r;
}

/* The gradients of this rank's block, each as soon as it is complete: from the last tensor on, or in another order. */
static void give(member *m, pln_exchange *x, const plan *p, size_t t) {
    pln_node block = pln_block(m->rank, m->ranks, p->all[t]);
    pln_pending sums = {.width = p->n, .first = block.first, .all = p->all[t]};
    size_t order = (m->rank + t + p->seed) % 3;
    bool fails = t == p->fails && m->rank == 1;
    for (size_t k = 0; k < block.count; k++) {
        for (size_t j = 0; j < p->n; j++) {
            size_t i = order ? p->n - 1 - j : j;
            pleat_tensor *nodes[PLN_MOST_NODES];
            EXPECT(m, pln_pending_put(&sums, i, gradient(m->ctx, p, t, block.first + k, i)), "put");
            if (k + 1 < block.count || (fails && j >= p->n / 2)) continue;
            EXPECT_FINE(m, pln_exchange_put(x, i, pln_pending_nodes(&sums, i, nodes), nodes));
        }
    }
    if (fails) EXPECT_FINE(m, pln_exchange_close(x));
    pln_pending_free(&sums);
}

static void add_up(member *m) {
    const plan *p = m->arg;
    pleat_tensor *to[TENSORS];
    for (size_t i = 0; i < p->n; i++) to[i] = pleat_full(m->ctx, p->type[i], PLEAT_SHAPE(p->numel[i]), 77);
    pln_exchange *x = pln_exchange_new(m->world, p->n, to);
    EXPECT(m, x, "%s", pleat_error(m->ctx)->text);
    for (size_t t = 0; t < STEPS && !*m->wrong; t++) {
        pleat_scope scope = pleat_begin(m->ctx);
        EXPECT_FINE(m, pln_exchange_begin(x, p->all[t]));
        give(m, x, p, t);
        EXPECT_FINE(m, pln_exchange_end(x, to));
        for (size_t i = 0; i < p->n && t != p->fails; i++) take_tensor(&m->results, "sum", to[i]);
        pleat_end(scope);
    }
    EXPECT(m, pleat_nn_world_traffic(m->world).steps == STEPS, "%zu", pleat_nn_world_traffic(m->world).steps);
    pln_exchange_free(x);
}

static void expect_sums(size_t n, size_t bucket, uint64_t seed) {
    char what[60];
    plan p = draw_plan(seed);
    results expected = expected_of(&p);
    snprintf(what, sizeof what, "plan %llu, buckets of %zu bytes", (unsigned long long)seed, bucket);
    ranks r = {.n = n, .seed = seed, .world = {.bucket = bucket}, .run = add_up, .arg = &p, .what = what};
    member *m = run_ranks(&r);
    expect_results(&r, m, &expected);
    free(m);
}

Test(exchange, sums_have_the_bits_of_the_tree) {
    static const size_t buckets[] = {1, 64, 4096, 0};
    for (size_t n = 2; n <= 8; n++)
        for (uint64_t k = 0; k < 8; k++) expect_sums(n, buckets[k % 4], n * 100 + k);
}

/* What travels: each gradient about twice, whatever the number of ranks. */
static void count_bytes(member *m) {
    pleat_tensor *t = pleat_zeros(m->ctx, PLEAT_F32, PLEAT_SHAPE(8 * 3 * 5 * 7));
    double before = pleat_nn_world_traffic(m->world).sent;
    pln_exchange *x = pln_exchange_new(m->world, 1, &t);
    EXPECT_FINE(m, pln_exchange_begin(x, m->ranks));
    EXPECT_FINE(m, pln_exchange_put(x, 0, 1, &t));
    EXPECT_FINE(m, pln_exchange_end(x, &t));
    double sent = pleat_nn_world_traffic(m->world).sent - before, bytes = 4 * 8 * 3 * 5 * 7;
    double expected = 2 * bytes * (double)(m->ranks - 1) / (double)m->ranks;
    EXPECT(m, sent == expected, "%.0f bytes are sent, expected %.0f", sent, expected);
    pln_exchange_free(x);
}

Test(exchange, sends_each_gradient_about_twice) {
    for (size_t n = 2; n <= 8; n++) free(run_ranks(&(ranks){.n = n, .run = count_bytes, .what = "bytes"}));
}

/* Reading, computing and printing graphs of ops. */
#include "graph.h"

#include <stdio.h>
#include <string.h>

/* ---- picking ----------------------------------------------------------------------------------------- */

/* One in twenty is about a vector, a block or a run of some loop. */
size_t graph_size(graph *g) {
    static const size_t longer[12] = {6, 7, 8, 9, 12, 15, 16, 17, 33, 64, 65, 257};
    uint8_t v = fuzz_byte(g->bytes);
    return v >= 252 ? 0 : v >= 240 ? longer[v - 240] : 1u + v % 5u;
}

const node *graph_in(const graph *g, const node *n, size_t i) { return &g->nodes[n->in[i]]; }

bool node_shape(node *n, size_t rank, const size_t *shape) {
    n->rank = rank, n->numel = 1;
    if (rank > PLEAT_MAX_RANK) return false;
    for (size_t k = 0; k < rank; k++) {
        n->shape[k] = shape[k];
        if (__builtin_mul_overflow(n->numel, shape[k], &n->numel) || n->numel > MOST_NUMEL) return false;
    }
    return true;
}

static size_t new_leaf(graph *g, size_t rank, const size_t *shape) {
    node leaf = {.bound = 4, .grain = 0};
    if (g->count + 1 >= MOST_NODES || !node_shape(&leaf, rank, shape)) return SIZE_MAX;
    g->nodes[g->count] = leaf;
    return g->count++;
}

/* One of the latest nodes, most of the time. */
size_t graph_pick(graph *g) {
    uint8_t v = fuzz_byte(g->bytes);
    size_t back = v < 192 ? v % 3 : v % g->count;
    return back < g->count ? g->count - 1 - back : 0;
}

size_t graph_pick_rank(graph *g, size_t rank) {
    size_t shape[PLEAT_MAX_RANK];
    bool again = fuzz_byte(g->bytes) % 8;
    for (size_t i = g->count; again && i-- > 0;)
        if (g->nodes[i].rank == rank) return i;
    for (size_t k = 0; k < rank; k++) shape[k] = graph_size(g);
    return new_leaf(g, rank, shape);
}

static bool has_shape(const node *n, size_t rank, const size_t *shape) {
    if (n->rank != rank) return false;
    for (size_t k = 0; k < rank; k++)
        if (n->shape[k] != shape[k]) return false;
    return true;
}

size_t graph_pick_shape(graph *g, size_t rank, const size_t *shape) {
    bool again = fuzz_byte(g->bytes) % 2;
    for (size_t i = g->count; again && i-- > 0;)
        if (has_shape(&g->nodes[i], rank, shape)) return i;
    return new_leaf(g, rank, shape);
}

bool node_unary(graph *g, node *n, size_t in) {
    if (in == SIZE_MAX) return false;
    n->inputs = 1, n->in[0] = in;
    n->bound = g->nodes[in].bound, n->grain = g->nodes[in].grain;
    return true;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static const kind *kind_number(size_t i) {
    const kind *const lists[] = {elementwise_kinds, shape_kinds, image_kinds};
    size_t all = 0;
    for (size_t l = 0; l < 3; l++)
        for (const kind *k = lists[l]; k->name; k++) all++;
    i %= all;
    for (size_t l = 0; l < 3; l++)
        for (const kind *k = lists[l]; k->name; k++)
            if (i-- == 0) return k;
    return NULL;
}

/* All sums are exact in f32; or, of real numbers, small enough for difference quotients. */
static bool is_tame(const graph *g, const node *n) {
    double most = g->real ? 1e4 : (double)(1 << 22);
    return n->bound * (g->real ? 1 : (double)((uint64_t)1 << n->grain)) <= most && n->grain < 20;
}

static void add_call(graph *g) {
    node n = {.kind = kind_number(fuzz_byte(g->bytes))};
    size_t before = g->count;
    bool fine = (!n.kind->real || g->real) && n.kind->choose(g, &n);
    if (fine && is_tame(g, &n) && g->count < MOST_NODES)
        g->nodes[g->count++] = n;
    else
        g->count = before; /* leaves that were made for it */
}

bool graph_read(graph *g, fuzz_bytes *b) {
    uint8_t mode = fuzz_byte(b);
    size_t calls = 1 + fuzz_below(b, 10), shape[4], rank;
    *g = (graph){.bytes = b, .real = mode & 1};
    rank = 1 + fuzz_below(b, 6);
    if (rank > 4) rank = 4;
    for (size_t k = 0; k < rank; k++) shape[k] = graph_size(g);
    if (new_leaf(g, rank, shape) == SIZE_MAX) return false;
    for (size_t i = 0; i < calls && (i == 0 || b->left > 0); i++) add_call(g);
    return g->nodes[g->count - 1].kind != NULL;
}

/* ---- computing --------------------------------------------------------------------------------------- */

bool index_next(size_t rank, const size_t *shape, size_t *index) {
    for (size_t k = rank; k-- > 0;) {
        if (++index[k] < shape[k]) return true;
        index[k] = 0;
    }
    return false;
}

size_t index_of(const node *x, size_t rank, const size_t *index) {
    size_t at = 0, missing = rank - x->rank;
    for (size_t k = 0; k < x->rank; k++) at = at * x->shape[k] + (x->shape[k] == 1 ? 0 : index[k + missing]);
    return at;
}

void kink(uint64_t *kinks, double side) {
    uint64_t s = side > 0 ? 3 : side < 0 ? 2 : 1;
    *kinks = (*kinks ^ s) * 0x9e3779b97f4a7c15u;
    *kinks ^= *kinks >> 29;
}

void graph_compute(const graph *g, double *const all[], uint64_t *kinks) {
    *kinks = 1;
    for (size_t i = 0; i < g->count; i++) {
        const node *n = &g->nodes[i];
        values v = {.graph = g, .out = all[i], .kinks = kinks};
        for (size_t k = 0; k < n->inputs; k++) v.in[k] = all[n->in[k]];
        if (n->kind) n->kind->compute(n, &v);
    }
}

/* ---- printing ---------------------------------------------------------------------------------------- */

static void print_sizes(const char *name, const size_t *sizes, size_t n) {
    fprintf(stderr, "%s[", name);
    for (size_t k = 0; k < n; k++) fprintf(stderr, "%s%zu", k ? "," : "", sizes[k]);
    fputc(']', stderr);
}

void graph_print(const graph *g) {
    for (size_t i = 0; i < g->count; i++) {
        const node *n = &g->nodes[i];
        fprintf(stderr, "  n%zu ", i);
        print_sizes("", n->shape, n->rank);
        fprintf(stderr, " = %s", n->kind ? n->kind->name : "leaf");
        for (size_t k = 0; k < n->inputs; k++) fprintf(stderr, " n%zu", n->in[k]);
        if (n->kind) {
            print_sizes(", a ", n->a, 4);
            print_sizes(" b ", n->b, 4);
            print_sizes(" c ", n->c, 4);
            fprintf(stderr, " axes %#x flags %d,%d number %g pads %td,%td,%td,%td groups %zu", n->axes,
                    n->flag[0], n->flag[1], n->number, n->pads[0], n->pads[1], n->pads[2], n->pads[3],
                    n->g.G);
        }
        fputc('\n', stderr);
    }
}

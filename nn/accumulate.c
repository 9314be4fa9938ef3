/* Sums over micro-batches along a fixed binary tree. Node (0, k) is the gradient of micro-batch k; node (l + 1, k) is node
 * (l, 2k) + node (l, 2k + 1), or the first alone if the second is empty. The gradient of a step is the lowest node over all
 * micro-batches: of five ((0 + 1) + (2 + 3)) + 4. So whoever has a block of 2^l micro-batches that begins at a multiple of 2^l
 * sums a whole node by itself, and whoever has any block of n sums it to at most 2 log2(n) nodes.
 *
 * Of each gradient a stack holds the complete nodes that are not yet part of a larger one. Which these are follows from how many
 * micro-batches there are. */
#include "accumulate.h"

#include <stdlib.h>

/* ---- the tree ------------------------------------------------------------------------------------------ */

pln_node pln_node_at(size_t at, size_t end, size_t all) {
    size_t count = 1;
    while (at % (2 * count) == 0 && at + count < end && (at + 2 * count <= end || end == all)) count *= 2;
    return (pln_node){at, at + count < end ? count : end - at};
}

pln_node pln_block(size_t k, size_t n, size_t all) {
    size_t each = all / n, more = all % n;
    size_t first = k * each + (k < more ? k : more);
    return (pln_node){first, each + (k < more)};
}

/* a += b */
static void add(size_t n, size_t element, void *a, const void *b) {
    if (element == sizeof(float)) {
        float *to = a;
        const float *from = b;
        for (size_t i = 0; i < n; i++) to[i] += from[i];
    } else {
        double *to = a;
        const double *from = b;
        for (size_t i = 0; i < n; i++) to[i] += from[i];
    }
}

void pln_fold(const pln_node *node, size_t nodes, size_t all, size_t n, size_t element, void *rows) {
    pln_node stack[PLN_MOST_NODES];
    char *at[PLN_MOST_NODES], *row = rows;
    size_t depth = 0;
    for (size_t k = 0; k < nodes; k++, row += n * element) {
        pln_node new = node ? node[k] : (pln_node){k, 1};
        char *p = row;
        for (; depth && pln_joins(stack[depth - 1], new, all); depth--) {
            add(n, element, at[depth - 1], p);
            p = at[depth - 1];
            new = (pln_node){stack[depth - 1].first, stack[depth - 1].count + new.count};
        }
        stack[depth] = new;
        at[depth++] = p;
    }
}

/* ---- gradients ----------------------------------------------------------------------------------------- */

static pleat_tensor **sum(const pln_pending *p, size_t node, size_t i) {
    return &p->sums[node * p->width + i];
}

static void drop(const pln_pending *p, size_t node, size_t i) {
    pleat_drop(*sum(p, node, i));
    *sum(p, node, i) = NULL;
}

void pln_pending_clear(pln_pending *p) {
    for (size_t k = 0; k < p->room; k++)
        for (size_t i = 0; i < p->width; i++) drop(p, k, i);
    for (size_t i = 0; p->count && i < p->width; i++) p->count[i] = 0;
    p->n = 0;
}

void pln_pending_free(pln_pending *p) {
    pln_pending_clear(p);
    free(p->sums);
    free(p->count);
    *p = (pln_pending){.width = p->width};
}

static bool make_room(pln_pending *p, size_t nodes) {
    size_t bytes;
    if (nodes <= p->room) return true;
    if (__builtin_mul_overflow(nodes * sizeof *p->sums, p->width, &bytes)) return false;
    if (!p->count) p->count = calloc(p->width + 1, sizeof *p->count);
    pleat_tensor **more = p->count ? realloc(p->sums, bytes + 1) : NULL;
    if (!more) return false;
    p->sums = more;
    for (size_t i = p->room * p->width; i < nodes * p->width; i++) p->sums[i] = NULL;
    p->room = nodes;
    return true;
}

/* The nodes on the stack when n micro-batches are there. */
static size_t stack_of(const pln_pending *p, size_t n, pln_node stack[PLN_MOST_NODES]) {
    size_t depth = 0;
    for (size_t k = 0; k < n; k++) {
        pln_node new = {p->first + k, 1};
        for (; depth && pln_joins(stack[depth - 1], new, p->all); depth--)
            new = (pln_node){stack[depth - 1].first, stack[depth - 1].count + new.count};
        stack[depth++] = new;
    }
    return depth;
}

bool pln_pending_put(pln_pending *p, size_t i, pleat_tensor *g) {
    pln_node stack[PLN_MOST_NODES];
    size_t n = p->count ? p->count[i] : 0;
    size_t before = stack_of(p, n, stack), level = stack_of(p, n + 1, stack) - 1;
    if (!make_room(p, before + 1)) {
        pleat_fail(pleat_ctx_of(g), PLEAT_ERR_MEMORY, "accumulate", "no memory for gradients");
        return false;
    }
    pleat_scope scope = pleat_begin(pleat_ctx_of(g));
    for (size_t k = before; k > level; k--) g = pleat_add(*sum(p, k - 1, i), g);
    pleat_hold(g);
    pleat_end(scope);
    for (size_t k = level; k < before; k++) drop(p, k, i);
    if (pleat_is_poison(g)) return false;
    *sum(p, level, i) = g;
    p->count[i]++;
    p->n = p->count[0];
    return true;
}

size_t pln_pending_nodes(const pln_pending *p, size_t i, pleat_tensor *nodes[PLN_MOST_NODES]) {
    pln_node stack[PLN_MOST_NODES];
    size_t n = p->count ? stack_of(p, p->count[i], stack) : 0;
    for (size_t k = 0; k < n; k++) nodes[k] = *sum(p, k, i);
    return n;
}

pleat_tensor *pln_pending_sum(const pln_pending *p, size_t i) {
    pleat_tensor *nodes[PLN_MOST_NODES];
    size_t n = pln_pending_nodes(p, i, nodes);
    pleat_tensor *all = n ? nodes[n - 1] : NULL;
    for (size_t k = n; k-- > 1;) all = pleat_add(nodes[k - 1], all);
    return all;
}

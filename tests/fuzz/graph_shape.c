/* Kinds of nodes: those that move elements, and matrix products. */
#include "graph.h"

#include <string.h>

/* Every element of the result is an element of the input, or 0: from[i], or SIZE_MAX. */
static void gather(const node *n, const values *v, const size_t *from) {
    for (size_t i = 0; i < n->numel; i++) v->out[i] = from[i] == SIZE_MAX ? 0 : v->in[0][from[i]];
}

/* ---- reshape, permute, flip -------------------------------------------------------------------------- */

static bool choose_reshape(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    size_t rest = graph_in(g, n, 0)->numel, rank = 1 + fuzz_below(g->bytes, 5), shape[5];
    n->a[0] = fuzz_below(g->bytes, rank); /* the axis that is left to be worked out */
    for (size_t k = 0; k < rank; k++) {
        size_t wish = k == n->a[0] ? 1 : 1 + fuzz_below(g->bytes, 6);
        shape[k] = rest % wish == 0 ? wish : 1;
        rest /= shape[k];
    }
    shape[n->a[0]] = rest;
    n->flag[0] = rest > 0;
    return node_shape(n, rank, shape);
}

static void compute_copy(const node *n, const values *v) {
    memcpy(v->out, v->in[0], n->numel * sizeof *v->out);
}

static pleat_tensor *apply_reshape(const node *n, pleat_tensor *const in[]) {
    size_t shape[PLEAT_MAX_RANK];
    memcpy(shape, n->shape, sizeof shape);
    if (n->flag[0]) shape[n->a[0]] = PLEAT_REST;
    return pleat_reshape(in[0], n->rank, shape);
}

static bool choose_permute(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK];
    for (size_t k = 0; k < x->rank; k++) n->a[k] = k;
    for (size_t k = x->rank; k > 1; k--) {
        size_t other = fuzz_below(g->bytes, k), moved = n->a[k - 1];
        n->a[k - 1] = n->a[other], n->a[other] = moved;
    }
    for (size_t k = 0; k < x->rank; k++) shape[k] = x->shape[n->a[k]];
    return node_shape(n, x->rank, shape);
}

static void compute_permute(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0);
    size_t index[PLEAT_MAX_RANK] = {0}, back[PLEAT_MAX_RANK], from[MOST_NUMEL], i = 0;
    if (n->numel == 0) return;
    do {
        for (size_t k = 0; k < n->rank; k++) back[n->a[k]] = index[k];
        from[i++] = index_of(x, x->rank, back);
    } while (index_next(n->rank, n->shape, index));
    gather(n, v, from);
}

static pleat_tensor *apply_permute(const node *n, pleat_tensor *const in[]) {
    return pleat_permute(in[0], n->a);
}

static bool choose_flip(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    n->axes = fuzz_byte(g->bytes) & ((1u << x->rank) - 1);
    return node_shape(n, x->rank, x->shape);
}

static void compute_flip(const node *n, const values *v) {
    size_t index[PLEAT_MAX_RANK] = {0}, back[PLEAT_MAX_RANK], from[MOST_NUMEL], i = 0;
    if (n->numel == 0) return;
    do {
        for (size_t k = 0; k < n->rank; k++)
            back[k] = n->axes >> k & 1 ? n->shape[k] - 1 - index[k] : index[k];
        from[i++] = index_of(graph_in(v->graph, n, 0), n->rank, back);
    } while (index_next(n->rank, n->shape, index));
    gather(n, v, from);
}

static pleat_tensor *apply_flip(const node *n, pleat_tensor *const in[]) {
    return pleat_flip(in[0], n->axes);
}

/* ---- slice and pad ----------------------------------------------------------------------------------- */

/* a: start, b: size of the smaller tensor, c: step */
static bool choose_slice(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    for (size_t k = 0; k < x->rank; k++) {
        size_t size = x->shape[k];
        n->a[k] = fuzz_below(g->bytes, size + 1);
        n->c[k] = 1 + fuzz_below(g->bytes, 3);
        size_t most = n->a[k] < size ? (size - 1 - n->a[k]) / n->c[k] + 1 : 0;
        n->b[k] = most - fuzz_below(g->bytes, 16) % (most > 1 ? 2 : 1);
    }
    return node_shape(n, x->rank, n->b);
}

static void compute_slice(const node *n, const values *v) {
    size_t index[PLEAT_MAX_RANK] = {0}, back[PLEAT_MAX_RANK], from[MOST_NUMEL], i = 0;
    if (n->numel == 0) return;
    do {
        for (size_t k = 0; k < n->rank; k++) back[k] = n->a[k] + index[k] * n->c[k];
        const node *x = graph_in(v->graph, n, 0);
        size_t at = 0;
        for (size_t k = 0; k < n->rank; k++) at = at * x->shape[k] + back[k];
        from[i++] = at;
    } while (index_next(n->rank, n->shape, index));
    gather(n, v, from);
}

static pleat_tensor *apply_slice(const node *n, pleat_tensor *const in[]) {
    return pleat_slice(in[0], n->a, n->b, n->c);
}

static bool choose_pad(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    for (size_t k = 0; k < x->rank; k++) {
        n->a[k] = fuzz_below(g->bytes, 3);
        n->c[k] = 1 + fuzz_below(g->bytes, 2);
        size_t span = x->shape[k] > 0 ? (x->shape[k] - 1) * n->c[k] + 1 : 0;
        n->b[k] = n->a[k] + span + fuzz_below(g->bytes, 3);
    }
    return node_shape(n, x->rank, n->b);
}

static void compute_pad(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0);
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
    for (size_t k = 0; k < n->numel; k++) v->out[k] = 0;
    if (x->numel == 0) return;
    do {
        size_t at = 0;
        for (size_t k = 0; k < n->rank; k++) at = at * n->shape[k] + n->a[k] + index[k] * n->c[k];
        v->out[at] = v->in[0][i++];
    } while (index_next(x->rank, x->shape, index));
}

static pleat_tensor *apply_pad(const node *n, pleat_tensor *const in[]) {
    return pleat_pad(in[0], n->b, n->a, n->c);
}

/* ---- concat ------------------------------------------------------------------------------------------ */

static bool choose_concat(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    size_t shape[PLEAT_MAX_RANK], rank = graph_in(g, n, 0)->rank;
    if (rank == 0) return false;
    memcpy(shape, graph_in(g, n, 0)->shape, sizeof shape);
    n->a[0] = fuzz_below(g->bytes, rank);
    shape[n->a[0]] = fuzz_byte(g->bytes) % 2 ? shape[n->a[0]] : graph_size(g);
    if ((n->in[1] = graph_pick_shape(g, rank, shape)) == SIZE_MAX) return false;
    n->inputs = 2;
    const node *x = graph_in(g, n, 0), *y = graph_in(g, n, 1);
    shape[n->a[0]] += x->shape[n->a[0]];
    if (y->bound > n->bound) n->bound = y->bound;
    if (y->grain > n->grain) n->grain = y->grain;
    return node_shape(n, rank, shape);
}

static void compute_concat(const node *n, const values *v) {
    size_t outer = 1, inner = 1, at = 0;
    for (size_t k = 0; k < n->a[0]; k++) outer *= n->shape[k];
    for (size_t k = n->a[0] + 1; k < n->rank; k++) inner *= n->shape[k];
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < 2; i++) {
            size_t row = graph_in(v->graph, n, i)->shape[n->a[0]] * inner;
            for (size_t k = 0; k < row; k++) v->out[at++] = v->in[i][o * row + k];
        }
}

static pleat_tensor *apply_concat(const node *n, pleat_tensor *const in[]) {
    return pleat_concat(2, in, n->a[0]);
}

/* ---- stack -------------------------------------------------------------------------------------------- */

static bool choose_stack(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    size_t shape[PLEAT_MAX_RANK], rank = graph_in(g, n, 0)->rank;
    if (rank > 4) return false;
    if ((n->in[1] = graph_pick_shape(g, rank, graph_in(g, n, 0)->shape)) == SIZE_MAX) return false;
    n->inputs = 2;
    n->a[0] = fuzz_below(g->bytes, rank + 1);
    const node *x = graph_in(g, n, 0), *y = graph_in(g, n, 1);
    if (y->bound > n->bound) n->bound = y->bound;
    if (y->grain > n->grain) n->grain = y->grain;
    for (size_t k = 0; k < rank; k++) shape[k < n->a[0] ? k : k + 1] = x->shape[k];
    shape[n->a[0]] = 2;
    return node_shape(n, rank + 1, shape);
}

static void compute_stack(const node *n, const values *v) {
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
    if (n->numel == 0) return;
    do {
        size_t which = index[n->a[0]], of_part[PLEAT_MAX_RANK];
        for (size_t k = 0; k + 1 < n->rank; k++) of_part[k] = index[k < n->a[0] ? k : k + 1];
        v->out[i++] = v->in[which][index_of(graph_in(v->graph, n, which), n->rank - 1, of_part)];
    } while (index_next(n->rank, n->shape, index));
}

static pleat_tensor *apply_stack(const node *n, pleat_tensor *const in[]) {
    return pleat_stack(2, in, n->a[0]);
}

/* ---- gather, scatter_add, index_select ---------------------------------------------------------------- */

/* a: axis, which of the three; b: an index, as numbers of a polynomial */
enum { GATHER, SCATTER_ADD, INDEX_SELECT, PICKS };

static size_t picked(const node *n, size_t i, size_t size) {
    return (i * i * n->b[0] + i * n->b[1] + n->b[2]) % size;
}

static bool choose_pick(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK];
    if (x->rank == 0) return false;
    n->a[0] = fuzz_below(g->bytes, x->rank), n->a[1] = fuzz_below(g->bytes, PICKS);
    uint8_t other = fuzz_byte(g->bytes);
    for (size_t k = 0; k < 3; k++) n->b[k] = fuzz_below(g->bytes, 7);
    for (size_t k = 0; k < x->rank; k++) {
        shape[k] = x->shape[k];
        if (n->a[1] == GATHER && shape[k] > 1) shape[k] -= other >> k & 1;
        if (n->a[1] == SCATTER_ADD) shape[k] += other >> k & 1;
    }
    shape[n->a[0]] = graph_size(g);
    if (n->a[1] == SCATTER_ADD) n->bound *= (double)(x->shape[n->a[0]] + 1);
    size_t from = n->a[1] == SCATTER_ADD ? shape[n->a[0]] : x->shape[n->a[0]];
    return from > 0 && node_shape(n, x->rank, shape);
}

static void compute_pick(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0), *part = n->a[1] == SCATTER_ADD ? x : n;
    const node *all = n->a[1] == SCATTER_ADD ? n : x;
    size_t index[PLEAT_MAX_RANK] = {0}, axis = n->a[0], i = 0;
    for (size_t k = 0; k < n->numel; k++) v->out[k] = 0;
    if (part->numel == 0) return;
    do {
        size_t there[PLEAT_MAX_RANK];
        memcpy(there, index, sizeof there);
        there[axis] = picked(n, n->a[1] == INDEX_SELECT ? index[axis] : i, all->shape[axis]);
        size_t at = index_of(all, all->rank, there);
        if (n->a[1] == SCATTER_ADD)
            v->out[at] += v->in[0][i];
        else
            v->out[i] = v->in[0][at];
        i++;
    } while (index_next(part->rank, part->shape, index));
}

static pleat_tensor *apply_pick(const node *n, pleat_tensor *const in[]) {
    size_t index[MOST_NUMEL], axis = n->a[0], scatters = n->a[1] == SCATTER_ADD;
    size_t size = scatters ? n->shape[axis] : pleat_size(in[0], axis);
    size_t count = scatters ? pleat_numel(in[0]) : n->a[1] == INDEX_SELECT ? n->shape[axis] : n->numel;
    for (size_t i = 0; i < count; i++) index[i] = picked(n, i, size);
    if (n->a[1] == INDEX_SELECT) return pleat_index_select(in[0], axis, count, index);
    return (scatters ? pleat_scatter_add : pleat_gather)(in[0], axis, n->shape, index);
}

/* ---- cumsum -------------------------------------------------------------------------------------------- */

static bool choose_cumsum(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    if (x->rank == 0) return false;
    n->a[0] = fuzz_below(g->bytes, x->rank);
    n->bound *= (double)(x->shape[n->a[0]] + 1);
    return node_shape(n, x->rank, x->shape);
}

static void compute_cumsum(const node *n, const values *v) {
    size_t index[PLEAT_MAX_RANK] = {0}, before[PLEAT_MAX_RANK], i = 0;
    if (n->numel == 0) return;
    do {
        double sum = 0;
        memcpy(before, index, sizeof before);
        for (size_t k = 0; k <= index[n->a[0]]; k++) {
            before[n->a[0]] = k;
            sum += v->in[0][index_of(n, n->rank, before)];
        }
        v->out[i++] = sum;
    } while (index_next(n->rank, n->shape, index));
}

static pleat_tensor *apply_cumsum(const node *n, pleat_tensor *const in[]) {
    return pleat_cumsum(in[0], n->a[0]);
}

/* ---- broadcast_to and sum_to ------------------------------------------------------------------------- */

static bool choose_broadcast(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK], more = x->rank < 5 ? fuzz_below(g->bytes, 2) : 0;
    if (more) shape[0] = graph_size(g);
    for (size_t k = 0; k < x->rank; k++) shape[k + more] = x->shape[k] == 1 ? graph_size(g) : x->shape[k];
    return node_shape(n, x->rank + more, shape);
}

static void compute_broadcast(const node *n, const values *v) {
    size_t index[PLEAT_MAX_RANK] = {0}, from[MOST_NUMEL], i = 0;
    if (n->numel == 0) return;
    do from[i++] = index_of(graph_in(v->graph, n, 0), n->rank, index);
    while (index_next(n->rank, n->shape, index));
    gather(n, v, from);
}

static pleat_tensor *apply_broadcast(const node *n, pleat_tensor *const in[]) {
    return pleat_broadcast_to(in[0], n->rank, n->shape);
}

static bool choose_sum_to(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK], missing = x->rank > 0 ? fuzz_below(g->bytes, x->rank) % 2 : 0, summed = 1;
    uint8_t ones = fuzz_byte(g->bytes);
    for (size_t k = 0; k < x->rank; k++) {
        bool one = k < missing || ones >> k & 1;
        if (one) summed *= x->shape[k];
        if (k >= missing) shape[k - missing] = one ? 1 : x->shape[k];
    }
    n->bound *= (double)(summed > 0 ? summed : 1);
    return node_shape(n, x->rank - missing, shape);
}

static void compute_sum_to(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0);
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
    for (size_t k = 0; k < n->numel; k++) v->out[k] = 0;
    if (x->numel == 0) return;
    do v->out[index_of(n, x->rank, index)] += v->in[0][i++];
    while (index_next(x->rank, x->shape, index));
}

static pleat_tensor *apply_sum_to(const node *n, pleat_tensor *const in[]) {
    return pleat_sum_to(in[0], n->rank, n->shape);
}

/* ---- matmul ------------------------------------------------------------------------------------------ */

/* flag: ta, tb; a: M, N, K */
static bool choose_matmul(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK], rank = x->rank, missing;
    if (rank < 2) return false;
    uint8_t way = fuzz_byte(g->bytes);
    n->flag[0] = way & 1, n->flag[1] = way & 2;
    n->a[0] = x->shape[rank - (n->flag[0] ? 1 : 2)], n->a[2] = x->shape[rank - (n->flag[0] ? 2 : 1)];
    n->a[1] = graph_size(g);
    missing = way & 4 ? rank - 2 : 0;
    for (size_t k = missing; k + 2 < rank; k++) shape[k - missing] = way & 8 ? 1 : x->shape[k];
    shape[rank - missing - 2] = n->flag[1] ? n->a[1] : n->a[2];
    shape[rank - missing - 1] = n->flag[1] ? n->a[2] : n->a[1];
    if ((n->in[1] = graph_pick_shape(g, rank - missing, shape)) == SIZE_MAX) return false;
    n->inputs = 2;
    x = graph_in(g, n, 0);
    const node *y = graph_in(g, n, 1);
    n->bound = x->bound * y->bound * (double)(n->a[2] > 0 ? n->a[2] : 1), n->grain = x->grain + y->grain;
    memcpy(shape, x->shape, sizeof shape);
    shape[rank - 2] = n->a[0], shape[rank - 1] = n->a[1];
    return node_shape(n, rank, shape) && n->numel * n->a[2] <= MOST_TERMS;
}

static void compute_matmul(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0), *y = graph_in(v->graph, n, 1);
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0, r = n->rank;
    if (n->numel == 0) return;
    do {
        double sum = 0;
        for (size_t k = 0; k < n->a[2]; k++) {
            size_t left[PLEAT_MAX_RANK], right[PLEAT_MAX_RANK];
            memcpy(left, index, sizeof left);
            memcpy(right, index, sizeof right);
            left[r - 2] = n->flag[0] ? k : index[r - 2], left[r - 1] = n->flag[0] ? index[r - 2] : k;
            right[r - 2] = n->flag[1] ? index[r - 1] : k, right[r - 1] = n->flag[1] ? k : index[r - 1];
            sum += v->in[0][index_of(x, r, left)] * v->in[1][index_of(y, r, right)];
        }
        v->out[i++] = sum;
    } while (index_next(r, n->shape, index));
}

static pleat_tensor *apply_matmul(const node *n, pleat_tensor *const in[]) {
    return pleat_matmul(in[0], in[1], .ta = n->flag[0], .tb = n->flag[1]);
}

const kind shape_kinds[] = {
    {"reshape", false, choose_reshape, compute_copy, apply_reshape},
    {"permute", false, choose_permute, compute_permute, apply_permute},
    {"flip", false, choose_flip, compute_flip, apply_flip},
    {"slice", false, choose_slice, compute_slice, apply_slice},
    {"pad", false, choose_pad, compute_pad, apply_pad},
    {"concat", false, choose_concat, compute_concat, apply_concat},
    {"stack", false, choose_stack, compute_stack, apply_stack},
    {"pick", false, choose_pick, compute_pick, apply_pick},
    {"cumsum", false, choose_cumsum, compute_cumsum, apply_cumsum},
    {"broadcast_to", false, choose_broadcast, compute_broadcast, apply_broadcast},
    {"sum_to", false, choose_sum_to, compute_sum_to, apply_sum_to},
    {"matmul", false, choose_matmul, compute_matmul, apply_matmul},
    {0},
};

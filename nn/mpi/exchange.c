/* The sum of gradients over all ranks, along the tree of accumulate.c. A rank has the nodes of its block of
 * micro-batches. Gradients travel in buckets, the last layers' first, since these are complete first. Of each bucket
 * every rank owns a segment: it gets that part of all nodes, adds them along the tree, and sends the sum to all others.
 * So each gradient is sent about twice, whatever the number of ranks, and all additions are made once.
 *
 *     out  what this rank's nodes have of the others' segments: segment by segment, node by node
 *     in   what all ranks' nodes have of this rank's segment: node by node, in the order of the micro-batches
 *     sum  the bucket */
#include <stdlib.h>
#include <string.h>

#include "elements.h"
#include "mpi/world.h"

typedef struct bucket {
    size_t first, end; /* the tensors in it */
    size_t n, element; /* elements, and bytes of one */
    size_t missing;    /* tensors that are not there yet */
    bool left, summed;
    char *out, *in, *sum;
    size_t out_room, in_room; /* bytes */
    pln_request *request;     /* of nodes to come, nodes sent, sums to come, sums sent: [4][ranks] */
} bucket;

struct pln_exchange {
    pleat_nn_world *w;
    size_t tensors, *numel, *offset; /* elements before it in its bucket */
    bool *there;
    size_t buckets;
    bucket *bucket;
    size_t all;     /* micro-batches of the step */
    size_t *first;  /* the number of rank r's first node; [ranks + 1] */
    pln_node *node; /* of all ranks */
    size_t node_room;
    size_t next;     /* the next bucket to leave */
    double departed; /* the time of the first */
};

enum { NODES_IN, NODES_OUT, SUMS_IN, SUMS_OUT, KINDS };

static pln_request *requests(const pln_exchange *x, const bucket *b, size_t kind) {
    return b->request + kind * x->w->t.size;
}

static pln_node segment(const pln_exchange *x, const bucket *b, size_t rank) {
    return pln_block(rank, x->w->t.size, b->n);
}

static size_t nodes_of(const pln_exchange *x, size_t rank) { return x->first[rank + 1] - x->first[rank]; }

/* ---- making and freeing --------------------------------------------------------------------------------- */

static size_t element_of(const pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? sizeof(float) : sizeof(double);
}

/* Bytes of a bucket. What leaves with the first layer's gradient is hidden by nothing, so a small network has several buckets,
 * too; but a message costs some tens of microseconds, in which a network of a gigabyte a second moves 64 KiB. */
static size_t bucket_bytes(const pln_exchange *x, pleat_tensor *const *like) {
    enum { PARTS = 8, LEAST = 1 << 16, MOST = 1 << 20 };
    size_t all = 0;
    for (size_t i = 0; i < x->tensors; i++) all += x->numel[i] * element_of(like[i]);
    size_t part = all / PARTS;
    return x->w->bucket ? x->w->bucket : part < LEAST ? LEAST : part > MOST ? MOST : part;
}

/* Tensors from the last to the first, of one type, until a bucket has its bytes. With `b` NULL they are counted. */
static size_t fill_buckets(const pln_exchange *x, pleat_tensor *const *like, bucket *b) {
    size_t count = 0, bytes = bucket_bytes(x, like);
    for (size_t end = x->tensors; end > 0; count++) {
        pleat_dtype type = pleat_dtype_of(like[end - 1]);
        size_t first = end, n = 0, element = element_of(like[end - 1]);
        while (first > 0 && pleat_dtype_of(like[first - 1]) == type && n * element < bytes)
            n += x->numel[--first];
        if (b) b[count] = (bucket){.first = first, .end = end, .n = n, .element = element};
        end = first;
    }
    return count;
}

static bool allocate(pln_exchange *x, pleat_tensor *const *like) {
    size_t ranks = x->w->t.size;
    x->numel = calloc(x->tensors + 1, sizeof *x->numel);
    x->offset = calloc(x->tensors + 1, sizeof *x->offset);
    x->there = calloc(x->tensors + 1, sizeof *x->there);
    x->first = calloc(ranks + 1, sizeof *x->first);
    if (!x->numel || !x->offset || !x->there || !x->first) return false;
    for (size_t i = 0; i < x->tensors; i++) x->numel[i] = pleat_numel(like[i]);
    size_t count = fill_buckets(x, like, NULL);
    x->bucket = calloc(count + 1, sizeof *x->bucket);
    if (!x->bucket) return false;
    x->buckets = fill_buckets(x, like, x->bucket);
    for (size_t k = 0; k < count; k++) {
        bucket *b = &x->bucket[k];
        for (size_t i = b->first + 1; i < b->end; i++) x->offset[i] = x->offset[i - 1] + x->numel[i - 1];
        b->sum = calloc(b->n + 1, b->element);
        b->request = calloc(ranks, KINDS * sizeof *b->request);
        if (!b->sum || !b->request) return false;
    }
    return true;
}

pln_exchange *pln_exchange_new(pleat_nn_world *w, size_t n, pleat_tensor *const *like) {
    pln_exchange *x = calloc(1, sizeof *x);
    if (x) {
        x->w = w, x->tensors = n;
        if (allocate(x, like)) return x;
    }
    pln_exchange_free(x);
    pleat_fail(w->ctx, PLEAT_ERR_MEMORY, "exchange", "no memory for the gradients of %zu ranks", w->t.size);
    return NULL;
}

void pln_exchange_free(pln_exchange *x) {
    if (!x) return;
    for (size_t k = 0; x->bucket && k < x->buckets; k++) {
        free(x->bucket[k].out);
        free(x->bucket[k].in);
        free(x->bucket[k].sum);
        free(x->bucket[k].request);
    }
    free(x->bucket);
    free(x->numel);
    free(x->offset);
    free(x->there);
    free(x->first);
    free(x->node);
    free(x);
}

/* ---- a step --------------------------------------------------------------------------------------------- */

/* The nodes of all ranks: how many there are, and with `node` which. */
static size_t list_nodes(pln_exchange *x, pln_node *node) {
    size_t n = 0, ranks = x->w->t.size;
    for (size_t r = 0; r < ranks; r++) {
        pln_node block = pln_block(r, ranks, x->all);
        x->first[r] = n;
        for (size_t at = block.first, end = at + block.count; at < end; n++) {
            pln_node next = pln_node_at(at, end, x->all);
            if (node) node[n] = next;
            at += next.count;
        }
    }
    x->first[ranks] = n;
    return n;
}

/* Grow *p to n times `each` elements; zeros at first, so that nothing is ever sent that nobody wrote. */
static bool grow(char **p, size_t *room, size_t n, size_t each, size_t element) {
    size_t bytes;
    if (__builtin_mul_overflow(n * element, each, &bytes)) return false;
    if (bytes <= *room) return true;
    char *more = calloc(bytes, 1);
    if (!more) return false;
    free(*p);
    *p = more;
    *room = bytes;
    return true;
}

static bool make_room(pln_exchange *x) {
    size_t rank = x->w->t.rank, nodes = list_nodes(x, NULL), bytes = x->node_room * sizeof *x->node;
    if (!grow((char **)&x->node, &bytes, nodes, sizeof *x->node, 1)) return false;
    x->node_room = bytes / sizeof *x->node;
    list_nodes(x, x->node);
    for (size_t k = 0; k < x->buckets; k++) {
        bucket *b = &x->bucket[k];
        if (!grow(&b->out, &b->out_room, b->n, nodes_of(x, rank), b->element)) return false;
        if (!grow(&b->in, &b->in_room, segment(x, b, rank).count, nodes, b->element)) return false;
    }
    return true;
}

static int tag_of(const pln_exchange *x, const bucket *b, size_t kind) {
    return PLN_TAG_GRADIENTS + (int)(2 * (size_t)(b - x->bucket) + kind / 2);
}

/* Ask all others for what they will have for this bucket. */
static pleat_status expect(pln_exchange *x, bucket *b) {
    pleat_nn_world *w = x->w;
    size_t own = segment(x, b, w->t.rank).count * b->element;
    pleat_status status = PLEAT_OK;
    for (size_t r = 0; r < w->t.size && !status; r++) {
        pln_node theirs = segment(x, b, r);
        size_t nodes = nodes_of(x, r);
        if (r == w->t.rank) continue;
        if (nodes && own)
            status = pln_receive(w, &requests(x, b, NODES_IN)[r], b->in + x->first[r] * own, nodes * own, r,
                                 tag_of(x, b, NODES_IN));
        if (theirs.count && !status)
            status = pln_receive(w, &requests(x, b, SUMS_IN)[r], b->sum + theirs.first * b->element,
                                 theirs.count * b->element, r, tag_of(x, b, SUMS_IN));
    }
    return status;
}

static pleat_status leave(pln_exchange *x, bucket *b) {
    pleat_nn_world *w = x->w;
    size_t nodes = nodes_of(x, w->t.rank);
    pleat_status status = PLEAT_OK;
    if (x->departed == 0) x->departed = pln_now();
    for (size_t r = 0; r < w->t.size && nodes && !status; r++) {
        pln_node theirs = segment(x, b, r);
        if (r != w->t.rank && theirs.count)
            status = pln_send(w, &requests(x, b, NODES_OUT)[r], b->out + nodes * theirs.first * b->element,
                              nodes * theirs.count * b->element, r, tag_of(x, b, NODES_OUT));
    }
    return status;
}

/* Add this rank's segment along the tree, and send it. */
static pleat_status sum_up(pln_exchange *x, bucket *b) {
    pleat_nn_world *w = x->w;
    pln_node own = segment(x, b, w->t.rank);
    size_t bytes = own.count * b->element;
    char *sum = b->sum + own.first * b->element;
    pleat_status status = PLEAT_OK;
    b->summed = true;
    if (!bytes) return status;
    pln_fold(x->node, x->first[w->t.size], x->all, own.count, b->element, b->in);
    memcpy(sum, b->in, bytes);
    for (size_t r = 0; r < w->t.size && !status; r++)
        if (r != w->t.rank)
            status = pln_send(w, &requests(x, b, SUMS_OUT)[r], sum, bytes, r, tag_of(x, b, SUMS_OUT));
    return status;
}

/* Do what can be done without waiting. Whoever owes nodes is waited for by all, so it is named before those who owe sums. */
static pleat_status look(void *arg, size_t *open, size_t *peer) {
    pln_exchange *x = arg;
    size_t ranks = x->w->t.size;
    pleat_status status = PLEAT_OK;
    for (size_t k = 0; k < x->buckets && !status; k++) {
        bucket *b = &x->bucket[k];
        size_t nodes = 0;
        status = pln_test(x->w, ranks, requests(x, b, NODES_IN), &nodes, peer);
        if (!status && !nodes && b->left && !b->summed) status = sum_up(x, b);
        *open += nodes;
    }
    for (size_t k = 0; k < x->buckets && !status; k++)
        status = pln_test(x->w, 3 * ranks, requests(x, &x->bucket[k], NODES_OUT), open, peer);
    return status;
}

/* Send all buckets that are complete, in their order, which is the same on all ranks. */
static pleat_status advance(pln_exchange *x) {
    size_t open = 0, peer = SIZE_MAX;
    pleat_status status = PLEAT_OK;
    while (!status && x->next < x->buckets && !x->bucket[x->next].missing) {
        bucket *b = &x->bucket[x->next++];
        b->left = true;
        status = leave(x, b);
    }
    return status ? status : look(x, &open, &peer);
}

pleat_status pln_exchange_begin(pln_exchange *x, size_t all) {
    x->all = all;
    x->next = 0;
    x->departed = 0;
    if (x->w->broken) return pln_check_lost(x->w);
    if (!make_room(x)) {
        pleat_fail(x->w->ctx, PLEAT_ERR_MEMORY, "exchange",
                   "no memory for the gradients of %zu micro-batches", all);
        pln_lose(x->w, x->w->t.rank, "has no memory for gradients");
        return PLEAT_ERR_MEMORY;
    }
    bool idle = !nodes_of(x, x->w->t.rank);
    pleat_status status = PLEAT_OK;
    for (size_t k = 0; k < x->buckets && !status; k++) {
        bucket *b = &x->bucket[k];
        b->left = b->summed = false;
        b->missing = idle ? 0 : b->end - b->first;
        status = expect(x, b);
    }
    for (size_t i = 0; i < x->tensors; i++) x->there[i] = idle;
    return status ? status : advance(x);
}

/* Copy elements at..at+n-1 of a bucket of node k from `from`. */
static void place(pln_exchange *x, bucket *b, size_t k, size_t at, size_t n, const char *from) {
    size_t rank = x->w->t.rank, nodes = nodes_of(x, rank);
    for (size_t r = 0; r < x->w->t.size; r++) {
        pln_node s = segment(x, b, r);
        size_t first = at > s.first ? at : s.first, end = at + n;
        if (end > s.first + s.count) end = s.first + s.count;
        if (first >= end) continue;
        char *to = r == rank ? b->in + (x->first[rank] + k) * s.count * b->element
                             : b->out + (nodes * s.first + k * s.count) * b->element;
        memcpy(to + (first - s.first) * b->element, from + (first - at) * b->element,
               (end - first) * b->element);
    }
}

pleat_status pln_exchange_put(pln_exchange *x, size_t i, size_t n, pleat_tensor *const *nodes) {
    size_t k = 0;
    while (i < x->bucket[k].first) k++;
    bucket *b = &x->bucket[k];
    if (x->there[i]) return PLEAT_OK;
    for (size_t j = 0; j < n && j < nodes_of(x, x->w->t.rank); j++) {
        const void *from = pln_const_elements(nodes[j]);
        if (!from) return PLEAT_ERR_ARGUMENT;
        place(x, b, j, x->offset[i], x->numel[i], from);
    }
    x->there[i] = true;
    b->missing--;
    return advance(x);
}

pleat_status pln_exchange_close(pln_exchange *x) {
    for (size_t k = 0; k < x->buckets; k++) x->bucket[k].missing = 0;
    for (size_t i = 0; i < x->tensors; i++) x->there[i] = true;
    return x->w->broken ? pln_check_lost(x->w) : advance(x);
}

pleat_status pln_exchange_end(pln_exchange *x, pleat_tensor *const *to) {
    double start = pln_now();
    pleat_status status = pln_wait_until(x->w, look, x, "gradients");
    pleat_nn_traffic *t = &x->w->traffic;
    t->steps++;
    t->waited += pln_now() - start;
    t->busy += pln_now() - x->departed;
    for (size_t k = 0; k < x->buckets && !status; k++) {
        const bucket *b = &x->bucket[k];
        for (size_t i = b->first; i < b->end; i++) {
            void *elements = pleat_write_now(to[i], "a sum over ranks");
            if (!elements) return PLEAT_ERR_ARGUMENT;
            memcpy(elements, b->sum + x->offset[i] * b->element, x->numel[i] * b->element);
        }
    }
    return status;
}

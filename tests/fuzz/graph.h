/* graph.h: random graphs of ops, with every value computed a second time by loops that share nothing with the library.
 *
 * A graph is read from bytes. Its leaves are numbers, its other nodes are calls of ops on nodes before them; the last node is the
 * result. A kind of node (graph_*.c) chooses its options so that the call is legal, computes it naively, and calls the op. */
#ifndef GRAPH_H
#define GRAPH_H

#include "fuzz.h"
#include "pleat_kernels.h"

enum { MOST_NODES = 40, MOST_INPUTS = 3, MOST_NUMEL = 600, MOST_TERMS = 20000 };

typedef struct kind kind;

typedef struct node {
    const kind *kind; /* NULL: a leaf */
    size_t inputs, in[MOST_INPUTS];
    size_t rank, shape[PLEAT_MAX_RANK], numel;
    double bound; /* no sum of absolute terms exceeds it, */
    int grain;    /* and all of them are multiples of 2^-grain */
    /* options, as the kind understands them */
    size_t a[PLEAT_MAX_RANK], b[PLEAT_MAX_RANK], c[PLEAT_MAX_RANK];
    unsigned axes;
    bool flag[2];
    double number;
    ptrdiff_t pads[4];
    pleat_conv_shape g;
} node;

typedef struct graph {
    fuzz_bytes *bytes;
    bool real; /* the leaves are no whole numbers, and there are ops that do not keep numbers whole */
    size_t count;
    node nodes[MOST_NODES];
} graph;

/* What a kind computes with. */
typedef struct values {
    const graph *graph;
    const double *in[MOST_INPUTS];
    double *out;
    uint64_t *kinks; /* on which side of every kink the inputs are, as one number */
} values;

struct kind {
    const char *name;
    bool real; /* only for graphs of real numbers */
    /* Set inputs, options, shape and bound; false where nothing legal comes of it. */
    bool (*choose)(graph *g, node *n);
    void (*compute)(const node *n, const values *v);
    pleat_tensor *(*apply)(const node *n, pleat_tensor *const in[]);
};

/* The kinds, each list up to one without a name. */
extern const kind elementwise_kinds[], shape_kinds[], image_kinds[];

/* ---- graphs ------------------------------------------------------------------------------------------ */

/* Read a graph of at least one call; false if the bytes make none. */
bool graph_read(graph *g, fuzz_bytes *b);
/* All values; leaves must be filled in. */
void graph_compute(const graph *g, double *const all[], uint64_t *kinks);
/* Its nodes, one a line, on standard error. */
void graph_print(const graph *g);

/* ---- for the kinds ----------------------------------------------------------------------------------- */

/* A node that is there already; of that rank, or a new leaf of it; of exactly that shape, or a new leaf. SIZE_MAX where there is
 * no room. */
size_t graph_pick(graph *g);
size_t graph_pick_rank(graph *g, size_t rank);
size_t graph_pick_shape(graph *g, size_t rank, const size_t *shape);
/* An axis size: mostly 1 to 5, sometimes up to 257. */
size_t graph_size(graph *g);
/* The i-th input of n. */
const node *graph_in(const graph *g, const node *n, size_t i);
/* Set the shape; false where it is too large. */
bool node_shape(node *n, size_t rank, const size_t *shape);
/* One input, whose bound and grain the result has. */
bool node_unary(graph *g, node *n, size_t in);

/* The next index in row-major order; false behind the last. */
bool index_next(size_t rank, const size_t *shape, size_t *index);
/* The element of x that stands at the index of a result of that rank to which x is broadcast. */
size_t index_of(const node *x, size_t rank, const size_t *index);
/* Note a side of a kink. */
void kink(uint64_t *kinks, double side);

#endif

/* SIMD matrix products, for sizes in which they beat BLAS. Compiled once for each instruction set and type; ENGINE is the name of the table.
 *
 * There are two ways. Outer: vectors go over the columns of c; a tile of MR rows by NR vectors of c stays in registers while k goes by,
 * a broadcast of a times a vector of b. Dot: where b is transposed, rows of both are read along k in place, and each result is a vector
 * of partial sums until the end; that spares transposing b, which pays where few rows of a would use it.
 *
 * Outer goes through k in blocks of KC terms, so that the panel of b below a tile stays in L1. b is packed into panels where it has to be
 * transposed, where the last columns fill no vector, and where enough rows use it; a is packed where enough panels do. */
#include "kernels/gemm/gemm.h"
#include "kernels/simd/vectors.h"

#include <stdint.h>
#include <string.h>

/* The tallest tile with so many vectors: as many sums as stay in registers. */
enum {
    MR_NR2 = REGISTERS == 32 ? 14 : 6,
    MR_NR4 = REGISTERS == 32 ? 6 : 2,
    MR_NR8 = REGISTERS == 32 ? 2 : 1
};

enum {
    DOT_SUMS = REGISTERS == 32 ? 16 : 8, /* vectors of sums of a tile of dot products */
    DOT_DEPTH = 2048,                    /* terms of a block of dot products, whole vectors */
    KC = 256,                            /* terms of a block, */
    FEW = 16, /* and of one with so few rows that b is read once: rows of b from end to end, side by side, */
    LONG = 512,         /* where they are so long */
    MC = 224,           /* rows of a in a block */
    REUSE = 3 * MR_NR2, /* so many rows are worth a packed copy of b; */
    REUSE_A = 128,      /* and so many columns one of a */
    LATENCY = 8,        /* sums that have to be under way for the processor to be busy */
};

/* How a product is done, by its sizes alone. */
typedef struct plan {
    bool dot, pack_a, pack_b; /* pack_b: all of it, not the last columns only */
    size_t rows, depth;       /* of a block */
    size_t vectors;           /* of a panel, at most */
    size_t a_bytes, b_bytes;  /* of the workspace */
} plan;

/* The binary logarithm of the largest power of two that is at most n and at most 2^limit. */
static size_t log_of(size_t n, size_t limit) {
    size_t log = 0;
    while (log < limit && (size_t)2 << log <= n) log++;
    return log;
}

/* Outer turns b, and that costs its size, and has no use for lanes beyond the last column; dot products add up lanes at the end, and read a
 * again for every few columns, two lines of the cache for a vector unless rows begin with a line. In cycles for a result, where
 * a cycle is worth two vectors of products. */
static bool by_dots_pays(const pl_gemm *g) {
    if (g->ta || !g->tb || g->k < LANES) return false;
    double k = (double)ceil_div(g->k, LANES) / 2, used = (double)g->n / (double)round_up(g->n, LANES);
    double outer = k / used + 8 * k / (double)g->m;
    double dot = (g->lda % LANES + g->ldb % LANES == 0 ? 1.2 : 1.5) * k + 2;
    return dot <= outer;
}

static plan make_plan(const pl_gemm *g) {
    plan p = {.dot = by_dots_pays(g)};
    if (p.dot) return p;
    p.rows = even_part(g->m, MC), p.depth = even_part(g->k, g->m <= MR_NR8 && g->n >= LONG ? FEW : KC);
    p.vectors = g->m <= MR_NR8 ? 8 : g->m <= MR_NR4 ? 4 : 2;
    p.pack_b = g->tb || g->m > REUSE;
    p.pack_a = g->m > 1 && g->n >= REUSE_A;
    if (p.pack_a) p.a_bytes = round_up(p.rows * p.depth * sizeof(T), LINE);
    if (p.pack_b || g->n < LANES) p.b_bytes = p.depth * p.vectors * VECTOR_BYTES;
    return p;
}

/* A column is the same memory as a row, so a product with one is that of a row with the transposed matrix: a and b change places. */
static bool exchanged(const pl_gemm *g) { return g->n == 1 && g->ldc == 1 && g->m > 1; }

static pl_gemm by_rows(const pl_gemm *g) {
    pl_gemm r = *g;
    if (exchanged(g)) r = (pl_gemm){!g->tb, !g->ta, g->accumulate, 1, g->m, g->k, g->ldb, g->lda, g->m};
    if (r.m == 1 && r.ta && r.lda == 1) r.ta = false, r.lda = r.k;
    if (r.n == 1 && !r.tb && r.ldb == 1) r.tb = true, r.ldb = r.k;
    return r;
}

static bool empty(const pl_gemm *g) { return g->m == 0 || g->n == 0 || g->k == 0; }

static size_t workspace(const pl_gemm *g) {
    pl_gemm r = by_rows(g);
    if (empty(g)) return 0;
    plan p = make_plan(&r);
    size_t bytes = p.a_bytes + p.b_bytes;
    return bytes > 0 ? bytes + LINE : 0; /* to begin at a line */
}

#include "kernels/gemm/simd_gemm.inc"

static void run(const pl_gemm *g, const void *a, const void *b, void *c, void *memory) {
    pl_gemm r = by_rows(g);
    size_t beyond = (size_t)(uintptr_t)memory % LINE;
    char *aligned = memory == NULL ? NULL : (char *)memory + (beyond ? LINE - beyond : 0);
    if (exchanged(g)) {
        const void *d = a;
        a = b, b = d;
    }
    run_gemm(&r, a, b, c, aligned);
}

const pl_gemm_engine ENGINE = {sizeof(T), ISA, workspace, run};

/* SIMD matrix products. Compiled once for each instruction set and type; ENGINE is the name of the table.
 *
 * Each element of c is one chain of fused multiply-adds over k, so vectors and registers go over elements of c alone: a tile of MR rows by NR
 * vectors of c stays in registers while k goes by, a broadcast of a times a vector of b. Blocks of KC terms keep the panel of b below a
 * tile in a near cache; the next block goes on from what is in c.
 *
 * Where b is transposed, its rows have to be turned into vectors over the columns. For few rows of a that is done in registers (turn.inc).
 * Otherwise b is packed into panels; also where its columns fill no vector, and where enough rows use it. a is packed where enough panels
 * use it. A product is done as b^T a^T, where that fills more lanes, or leaves less to turn. */
#include "kernels/gemm/gemm.h"
#include "kernels/simd/vectors.h"

#include <stdint.h>
#include <string.h>

/* The tallest tile with so many vectors: as many sums as stay in registers. */
enum {
    MR_NR1 = REGISTERS == 32 ? 14 : 12,
    MR_NR2 = REGISTERS == 32 ? 14 : 6,
    MR_NR4 = REGISTERS == 32 ? 6 : 2,
    MR_NR8 = REGISTERS == 32 ? 2 : 1
};

enum {
    KC = 256, /* terms of a block, */
    FEW = 16, /* and of one with so few rows that b is read once: rows of b from end to end, side by side, */
    LONG = 512,                      /* where they are so long */
    RUN = 1024 / sizeof(T),          /* terms of a row that is copied before it is turned, */
    COPIED = RUN + LINE / sizeof(T), /* and how far apart such rows are: an odd number of lines */
    MC = 224,                        /* rows of a in a block */
    SHORT = 16, /* so few rows of b that fill no vector are copied; of more, for one tile, the last ones */
    REUSE = 3 * MR_NR2,                   /* so many rows are worth a packed copy of b; */
    REUSE_A = 128,                        /* and so many columns one of a */
    TURN_ROWS = REGISTERS == 32 ? 10 : 4, /* few rows */
    LATENCY = VECTOR_BYTES == 64 ? 4 : 8, /* sums that have to be under way for the processor to be busy */
};

/* The first cache: so many lines that lie a multiple of WAY apart have room. */
enum { WAYS = 8, WAY = 4096 };

/* How a product is done, by its sizes alone. */
typedef struct plan {
    bool turn, pack_a, pack_b;
    size_t rows, columns, depth; /* of a block */
    size_t in_place;             /* rows of b that may be read so, with what follows them */
    size_t vectors, tallest;     /* of a panel, of a tile, at most */
    size_t a_bytes, b_bytes;     /* of the workspace */
} plan;

/* A product, or the transposed one: c is stored [n,m], unless it is one row of vectors. */
typedef struct task {
    pl_gemm g;
    bool exchanged, c_turned;
} task;

#include "kernels/gemm/turn.inc"

/* The binary logarithm of the largest power of two that is at most n and at most 2^limit. */
static size_t log_of(size_t n, size_t limit) {
    size_t log = 0;
    while (log < limit && (size_t)2 << log <= n) log++;
    return log;
}

/* Whether `rows` rows that lie so many elements apart throw each other out of the first cache. */
static bool crowded(size_t rows, size_t ld) {
    size_t bytes = ld * sizeof(T), together = 1;
    while (together < WAY / LINE && bytes % (2 * together * LINE) == 0) together *= 2;
    return rows * together > WAYS * (WAY / LINE);
}

static bool turns_in_registers(const pl_gemm *g) {
    return g->tb && g->m <= TURN_ROWS && g->n >= TURN && g->k >= QUAD;
}

/* Cycles for a term of all sums, where a cycle is worth a vector of products: of half a vector, two, as there are narrower ones. */
static double cost(const pl_gemm *g, bool c_turned) {
    double m = (double)g->m, vectors = 2 * g->n <= LANES ? 0.6 : (double)ceil_div(g->n, LANES);
    double sums = fmax(m * vectors, LATENCY), store = c_turned ? 2 * m * (double)g->n / (double)g->k : 0;
    if (!g->tb) return sums + store;
    if (turns_in_registers(g)) return fmax(0.95 * sums + 2.2 * vectors, LATENCY) + store;
    return sums + (g->n < TURN || g->k < QUAD ? 1.5 * (double)g->n : 4.5 * vectors) + store;
}

/* A single column without gaps is stored like a row, and is read in place. */
static pl_gemm without_gaps(pl_gemm g) {
    if (g.m == 1 && g.ta && g.lda == 1) g.ta = false, g.lda = g.k;
    if (g.n == 1 && g.tb) g.tb = false, g.ldb = 1;
    return g;
}

static task task_of(const pl_gemm *g) {
    bool row = g->n == 1 && g->ldc == 1; /* a column is the same memory as a row */
    pl_gemm e = {!g->tb, !g->ta, g->accumulate, g->n, g->m, g->k, g->ldb, g->lda, row ? g->m : g->ldc};
    task t = {.g = without_gaps(*g)};
    e = without_gaps(e);
    if (cost(&e, !row) < 0.95 * cost(&t.g, false)) t = (task){e, true, !row};
    return t;
}

/* The columns of a block, whole panels: as many as there is room for where several blocks of rows use them. Otherwise a panel is packed just
 * before its use, or a few, if that makes runs in the rows of b longer. */
static size_t packed_columns(const pl_gemm *g, const plan *p) {
    enum { PANELS = 4 };
    size_t width = p->vectors * LANES, room = PL_GEMM_BYTES - 2 * LINE - p->a_bytes;
    size_t most = g->m > p->rows ? room / (p->depth * sizeof(T)) / width : g->tb ? 1 : PANELS;
    return round_up(even_part(g->n, most * width), width);
}

/* Of the rows of b, those from whose beginning a vector can be read. */
static size_t rows_before_last(const pl_gemm *g) {
    size_t elements = (g->k - 1) * g->ldb + g->n;
    return elements < LANES ? 0 : min(g->k, (elements - LANES) / max(1, g->ldb) + 1);
}

/* Rows that crowd are copied, a block of terms at a time, to where they do not. */
static plan turning_plan(const pl_gemm *g) {
    const size_t columns = turn_groups(g->m) * TURN;
    plan p = {.turn = true, .pack_b = crowded(columns, g->ldb), .pack_a = !g->ta && crowded(g->m, g->lda)};
    p.depth = p.pack_a || p.pack_b ? RUN : g->k;
    p.columns = even_part(g->n, columns);
    if (p.pack_a) p.a_bytes = g->m * COPIED * sizeof(T);
    if (p.pack_b) p.b_bytes = columns * COPIED * sizeof(T);
    return p;
}

static plan make_plan(const pl_gemm *g) {
    plan p = {0};
    if (turns_in_registers(g)) return turning_plan(g);
    p.vectors = g->m <= MR_NR8 ? 8 : g->m <= MR_NR4 ? 4 : 2;
    p.depth = even_part(g->k, g->m <= MR_NR8 && g->n >= LONG ? FEW : g->n <= LANES ? 2 * KC : KC);
    p.rows = even_part(g->m, MC);
    p.pack_b = g->tb || (g->n >= LANES && g->m > REUSE);
    p.pack_a = g->m > 1 && g->n >= REUSE_A;
    p.tallest = !g->ta && !p.pack_a && crowded(MR_NR2, g->lda) ? WAYS - 1 : MR_NR1;
    if (p.pack_a) p.a_bytes = round_up(p.rows * p.depth * sizeof(T), LINE);
    p.columns = p.pack_b ? packed_columns(g, &p) : g->n;
    if (p.pack_b) p.b_bytes = p.depth * p.columns * sizeof(T);
    bool copied = g->n < LANES && !g->tb, all = g->k <= SHORT || g->m > MR_NR1;
    p.in_place = !copied ? g->k : all ? 0 : rows_before_last(g);
    if (copied) p.b_bytes = min(p.depth, g->k - p.in_place) * VECTOR_BYTES;
    return p;
}

static bool empty(const pl_gemm *g) { return g->m == 0 || g->n == 0 || g->k == 0; }

#include "kernels/gemm/simd_gemm.inc"

/* Half a vector of AVX-512 is a whole one of AVX2, of which there are two in each cycle. */
static const pl_gemm_engine *narrower(const task *t) {
#ifdef PL_AVX2
    if (ISA == PLEAT_ISA_AVX512 && 2 * t->g.n <= LANES)
        return sizeof(T) == sizeof(float) ? &pl_simd_gemm_avx2_f32 : &pl_simd_gemm_avx2_f64;
#endif
    (void)t;
    return NULL;
}

static size_t workspace(const pl_gemm *g) {
    if (empty(g)) return 0;
    task t = task_of(g);
    if (narrower(&t) != NULL) return narrower(&t)->workspace(g);
    plan p = make_plan(&t.g);
    size_t bytes = p.a_bytes + p.b_bytes;
    return bytes > 0 ? bytes + LINE : 0; /* to begin at a line */
}

static void run(const pl_gemm *g, const void *a, const void *b, void *c, void *memory) {
    if (empty(g)) {
        for (size_t m = 0; m < g->m && !g->accumulate; m++) memset((T *)c + m * g->ldc, 0, g->n * sizeof(T));
        return;
    }
    task t = task_of(g);
    if (narrower(&t) != NULL) {
        narrower(&t)->run(g, a, b, c, memory);
        return;
    }
    size_t beyond = (size_t)(uintptr_t)memory % LINE;
    char *aligned = memory == NULL ? NULL : (char *)memory + (beyond ? LINE - beyond : 0);
    run_task(&t, t.exchanged ? b : a, t.exchanged ? a : b, c, aligned);
}

/* With more rows, turning costs little beside the products; fewer columns than fill a vector are turned as fast as read. */
static bool gains_by_turning(const pl_gemm *g) {
    enum { ROWS = 64 };
    return g->tb && g->m <= ROWS && g->n >= LANES;
}

static void turn_b(size_t n, size_t k, const void *from, size_t ld, void *to, size_t step) {
    turn_any(n, k, from, ld, to, step);
}

const pl_gemm_engine ENGINE = {sizeof(T), ISA, workspace, run, gains_by_turning, turn_b};

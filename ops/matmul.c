/* matmul: products of matrices over broadcast leading axes. Law:
 * (a b)^T = b^T a^T; the family of the four products with a or b transposed is closed under its vjp. */
#include "kernels/gemm/gemm.h"
#include "kernels/parallel.h"
#include "rules.h"

typedef struct flags {
    bool ta, tb;
} flags;

static pleat_tensor *product(pleat_tensor *a, pleat_tensor *b, bool ta, bool tb) {
    return pleat_matmul(a, b, .ta = ta, .tb = tb);
}

/* ---- shape ----------------------------------------------------------------------------------------------- */

static size_t matmul_attributes(const pleat_call *c, pleat_attr *out) {
    const flags *f = c->attrs;
    out[0] = pl_attr_flag("ta", f->ta);
    out[1] = pl_attr_flag("tb", f->tb);
    return 2;
}

static bool matmul_shape(pleat_call *c) {
    const pleat_tensor *a = c->in[0], *b = c->in[1];
    const flags *f = c->attrs;
    if (a->rank < 2 || b->rank < 2) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "both must have rank 2 or more");
    }
    size_t m = pl_size_from_end(a, f->ta ? 0 : 1), ka = pl_size_from_end(a, f->ta ? 1 : 0);
    size_t kb = pl_size_from_end(b, f->tb ? 0 : 1), n = pl_size_from_end(b, f->tb ? 1 : 0);
    if (ka != kb) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "the inner sizes %zu and %zu%s must be equal", ka, kb,
                               f->ta || f->tb ? " (as transposed)" : "");
    }
    c->rank = a->rank > b->rank ? a->rank : b->rank;
    for (size_t k = 2; k < c->rank; k++) {
        size_t p = pl_size_from_end(a, k), q = pl_size_from_end(b, k);
        if (p != q && p != 1 && q != 1) {
            return pleat_call_fail(c, PLEAT_ERR_SHAPE, "leading sizes %zu and %zu: equal, or one of them 1",
                                   p, q);
        }
        c->shape[c->rank - 1 - k] = p == 1 ? q : p;
    }
    c->shape[c->rank - 2] = m;
    c->shape[c->rank - 1] = n;
    return true;
}

/* ---- forward --------------------------------------------------------------------------------------------- */

/* One operand as a product sees it. */
typedef struct matrix {
    pleat_tensor *t; /* retained */
    bool transposed; /* as stored */
    size_t ld;
} matrix;

/* Rows without gaps, or columns without gaps, are read in place; anything else is copied first. */
static bool matrix_of(pleat_tensor *t, bool flag, matrix *out) {
    size_t rows = pl_size_from_end(t, 1), columns = pl_size_from_end(t, 0);
    ptrdiff_t down = pl_stride_from_end(t, 1), right = pl_stride_from_end(t, 0);
    bool by_rows = (right == 1 || columns <= 1) && (down >= (ptrdiff_t)columns || rows <= 1);
    bool by_columns = (down == 1 || rows <= 1) && (right >= (ptrdiff_t)rows || columns <= 1);
    if (by_rows) {
        *out = (matrix){pl_retain(t), flag, rows > 1 ? (size_t)down : columns};
    } else if (by_columns) {
        *out = (matrix){pl_retain(t), !flag, columns > 1 ? (size_t)right : rows};
    } else {
        *out = (matrix){pl_dense(t), flag, columns};
    }
    return !out->t->poison;
}

/* The work is cut along the longer side of c. BLAS's results may depend on where, so that goes by its size alone. */
typedef struct plan {
    const pleat_call *c;
    matrix a, b;
    pl_gemm whole;
    size_t batch, pieces, piece;
    bool by_rows;
    const pl_gemm_engine *engine; /* NULL: BLAS */
    const void *turned;           /* the elements of b in the order [k,n]; or NULL */
    char *memory;                 /* of all threads */
    size_t bytes;                 /* of one thread */
} plan;

static ptrdiff_t batch_offset(const pleat_call *c, const pleat_tensor *t, size_t number) {
    ptrdiff_t offset = 0;
    for (size_t k = 2; k < c->rank; k++) {
        size_t size = c->shape[c->rank - 1 - k];
        offset += (ptrdiff_t)(number % size) * pl_stride_from_end(t, k);
        number /= size;
    }
    return offset;
}

/* b [n,k] turned once for many products of few rows, by a network's dense layers; or as it is stored. */
static void turn_b(plan *p) {
    pleat_tensor *b = p->c->in[1];
    const pl_gemm *g = &p->whole;
    const pl_gemm_engine *e = p->engine;
    if (e == NULL || e->turn == NULL || b->rank != 2 || !e->gains_by_turning(g)) return;
    const size_t line = 64 / e->element, ld = (g->n + line - 1) / line * line;
    size_t bytes;
    bool fresh, fits = pl_mul_ok(ld * e->element, g->k, &bytes);
    void *turned = fits ? pl_pack_at_last(b, e, (size_t[]){g->n, g->k, g->ldb}, bytes, &fresh) : NULL;
    if (turned == NULL) return;
    if (fresh) e->turn(g->n, g->k, b->data, g->ldb, turned, ld);
    p->turned = turned;
    p->whole.tb = false, p->whole.ldb = ld;
}

static void multiply(const plan *p, const pl_gemm *g, const void *a, const void *b, void *c, void *memory) {
    if (p->engine != NULL)
        p->engine->run(g, a, b, c, memory);
    else if (p->c->dtype == PLEAT_F64)
        pl_gemm_f64(g, a, b, c);
    else
        pl_gemm_f32(g, a, b, c);
}

static void run_piece(void *arg, size_t task, size_t thread) {
    const plan *p = arg;
    pl_gemm g = p->whole;
    size_t number = task / p->pieces, from = task % p->pieces * p->piece;
    size_t *side = p->by_rows ? &g.m : &g.n;
    *side = *side - from < p->piece ? *side - from : p->piece;
    ptrdiff_t a = batch_offset(p->c, p->a.t, number), b = batch_offset(p->c, p->b.t, number);
    if (p->by_rows) {
        a += (ptrdiff_t)(from * (g.ta ? 1 : g.lda));
    } else {
        b += (ptrdiff_t)(from * (g.tb ? g.ldb : 1));
    }
    size_t c = number * p->whole.m * p->whole.n + from * (p->by_rows ? g.ldc : 1);
    size_t element = pl_element(p->c->dtype);
    const char *elements_of_b = p->turned != NULL ? p->turned : p->b.t->data;
    multiply(p, &g, (const char *)p->a.t->data + a * (ptrdiff_t)element,
             elements_of_b + b * (ptrdiff_t)element, (char *)p->c->out->data + c * element,
             p->memory != NULL ? p->memory + thread * p->bytes : NULL);
}

static double macs(const pl_gemm *g) { return (double)g->m * (double)g->n * (double)g->k; }

static void cut(plan *p, int threads) {
    enum {
        MOST = 8,
        LEAST = 64,
        LONG = 256
    };                        /* so many pieces at most, unless each has that many rows of the longer side */
    const double worth = 1e6; /* multiply-adds a piece, some ten microseconds of one core */
    const pl_gemm *g = &p->whole;
    size_t side = g->m >= g->n ? g->m : g->n;
    double whole = macs(g) / worth;
    size_t most = side / LONG > MOST ? side / LONG : MOST;
    size_t pieces = whole < (double)most ? (size_t)whole : most;
    if (p->engine != NULL && threads == 1) pieces = 1; /* each would pack what all share */
    p->by_rows = g->m >= g->n;
    p->piece = pieces <= 1 ? side : (side / pieces + LEAST - 1) / LEAST * LEAST;
    if (p->piece == 0) p->piece = 1;
    p->pieces = (side + p->piece - 1) / p->piece;
}

/* The workspace of each thread. */
static bool take_memory(plan *p, int threads) {
    enum { LINE = 64 }; /* of the cache: no two threads write to the same one */
    if (p->engine == NULL) return true;
    pl_gemm whole = p->whole, last = p->whole;
    size_t *side = p->by_rows ? &last.m : &last.n, rest = *side % p->piece;
    *(p->by_rows ? &whole.m : &whole.n) = p->piece;
    if (rest > 0) *side = rest;
    size_t bytes = p->engine->workspace(&whole), more = p->engine->workspace(&last);
    if (more > bytes) bytes = more;
    if (bytes == 0) return true;
    p->bytes = (bytes + LINE - 1) / LINE * LINE;
    p->memory = pl_take(&p->c->ctx->memory, p->bytes * (size_t)threads);
    return p->memory != NULL ||
           pleat_call_fail(p->c, PLEAT_ERR_MEMORY, "no memory for %zu bytes of workspace",
                           p->bytes * (size_t)threads);
}

#define MAP outer_map
#define EXPR x *z + 0
#include "core/map2.inc"

static void exchange_last_axes(pleat_tensor *t) {
    size_t size = t->shape[t->rank - 1];
    ptrdiff_t stride = t->stride[t->rank - 1];
    t->shape[t->rank - 1] = t->shape[t->rank - 2];
    t->stride[t->rank - 1] = t->stride[t->rank - 2];
    t->shape[t->rank - 2] = size;
    t->stride[t->rank - 2] = stride;
}

/* A column times a row, [m,1] [1,n]: the gradient of a layer's weights for a single item. Nothing is summed, but for the zero that every
 * sum begins with, and ends with. */
static bool outer(const pleat_call *c) {
    const flags *f = c->attrs;
    pleat_tensor column = *c->in[0], row = *c->in[1];
    if (f->ta) exchange_last_axes(&column);
    if (f->tb) exchange_last_axes(&row);
    pl_each(&outer_map, c->out, 2, (pleat_tensor *[]){&row, &column}, NULL);
    return true;
}

static bool matmul_forward(const pleat_call *c) {
    const flags *f = c->attrs;
    plan p = {.c = c, .batch = 1};
    if (c->out->numel == 0) return true;
    bool single = pl_size_from_end(c->in[0], f->ta ? 1 : 0) == 1;
    if (single && c->shape[c->rank - 1] >= 64) return outer(c); /* rows long enough for a loop of their own */
    bool ready = matrix_of(c->in[0], f->ta, &p.a);
    ready = matrix_of(c->in[1], f->tb, &p.b) && ready;
    if (ready) {
        p.whole = (pl_gemm){.ta = p.a.transposed,
                            .tb = p.b.transposed,
                            .lda = p.a.ld,
                            .ldb = p.b.ld,
                            .m = c->shape[c->rank - 2],
                            .n = c->shape[c->rank - 1],
                            .ldc = c->shape[c->rank - 1],
                            .k = pl_size_from_end(c->in[0], f->ta ? 1 : 0)};
        for (size_t k = 0; k + 2 < c->rank; k++) p.batch *= c->shape[k];
        ready =
            pl_gemm_fits(&p.whole) || pleat_call_fail(c, PLEAT_ERR_SHAPE, "a size is beyond BLAS's integers");
    }
    if (ready) {
        double work = macs(&p.whole) / 16 * (double)p.batch;
        int threads = pl_most_threads(c->ctx, work);
        p.engine = pl_gemm_engine_for(pl_element(c->dtype), c->ctx->path);
        turn_b(&p);
        cut(&p, threads);
        ready = take_memory(&p, threads);
        if (ready) pl_parallel(pl_pool_for(c->ctx, work), p.batch * p.pieces, run_piece, &p);
        pl_give(&c->ctx->memory, p.memory);
    }
    pl_release(p.a.t);
    pl_release(p.b.t);
    return ready;
}

/* ---- vjp ------------------------------------------------------------------------------------------------- */

static pleat_tensor *matmul_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    const flags *f = c->attrs;
    pleat_tensor *a = c->in[0], *b = c->in[1];
    pleat_tensor *to;
    if (i == 0) {
        to = f->ta ? product(b, g, f->tb, true) : product(g, b, false, !f->tb);
    } else {
        to = f->tb ? product(g, a, true, f->ta) : product(a, g, !f->ta, false);
    }
    return pl_sum_like(to, c->in[i]);
}

static const pleat_op matmul_op = {"matmul", matmul_shape, matmul_forward, matmul_vjp, matmul_attributes,
                                   &pl_own,  NULL};

pleat_tensor *pleat_matmul_with(pleat_matmul_args args) {
    flags f = {args.ta, args.tb};
    return pleat_apply(&matmul_op, 2, (pleat_tensor *[]){args.a, args.b}, &f, sizeof f);
}

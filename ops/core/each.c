/* One loop nest over strided tensors for all element-wise ops. Axes that are contiguous with each other are
 * merged, the last axis goes to the op's inner loop, and the others are split among the threads. */
#include "core/core.h"
#include "kernels/parallel.h"

enum { OPERANDS = 3, PIECE = 16384 };

/* The merged loop nest. Axis 0 is the outermost; axis rank-1 is the inner loop. */
typedef struct nest {
    pl_loop loop;
    const void *attrs;
    size_t operands, rank;
    size_t shape[PLEAT_MAX_RANK + 1];
    ptrdiff_t stride[OPERANDS][PLEAT_MAX_RANK + 1];
    char *data[OPERANDS];
    size_t element[OPERANDS];
    size_t rows, pieces, rows_per_task; /* a row has `pieces` pieces of at most PIECE elements */
} nest;

static bool merges(const nest *t, size_t axis, const ptrdiff_t *inner, size_t inner_size) {
    for (size_t i = 0; i < t->operands; i++) {
        if (t->stride[i][axis] != inner[i] * (ptrdiff_t)inner_size) return false;
    }
    return true;
}

/* Append an inner axis, or merge it with the previous one. */
static void add_axis(nest *t, size_t size, const ptrdiff_t *stride) {
    if (size == 1) return;
    if (t->rank > 0 && merges(t, t->rank - 1, stride, size)) {
        t->shape[t->rank - 1] *= size;
    } else {
        t->shape[t->rank++] = size;
    }
    for (size_t i = 0; i < t->operands; i++) t->stride[i][t->rank - 1] = stride[i];
}

static void nest_init(nest *t, pleat_tensor *const *operand) {
    const pleat_tensor *y = operand[0];
    for (size_t i = 0; i < t->operands; i++) {
        t->data[i] = operand[i]->data;
        t->element[i] = pl_element(operand[i]->dtype);
    }
    for (size_t k = y->rank; k-- > 0;) {
        ptrdiff_t stride[OPERANDS];
        for (size_t i = 0; i < t->operands; i++) stride[i] = pl_stride_from_end(operand[i], k);
        add_axis(t, pl_size_from_end(y, k), stride);
    }
    if (t->rank == 0) t->shape[t->rank++] = 1; /* a scalar is one element; its strides are zero */
    size_t run = t->shape[t->rank - 1];
    t->rows = 1;
    for (size_t k = 0; k + 1 < t->rank; k++) t->rows *= t->shape[k];
    t->pieces = (run + PIECE - 1) / PIECE;
    t->rows_per_task = t->pieces > 1 ? 1 : PIECE / run;
}

/* Rows first..last-1, elements from..from+n-1 of each. */
static void run_rows(const nest *t, size_t first, size_t last, size_t from, size_t n) {
    size_t index[PLEAT_MAX_RANK + 1], outer = t->rank - 1;
    ptrdiff_t offset[OPERANDS], step[OPERANDS];
    for (size_t i = 0; i < t->operands; i++) {
        step[i] = t->stride[i][outer];
        offset[i] = (ptrdiff_t)from * step[i];
    }
    for (size_t k = outer, rest = first; k-- > 0; rest /= t->shape[k]) {
        index[k] = rest % t->shape[k];
        for (size_t i = 0; i < t->operands; i++) offset[i] += (ptrdiff_t)index[k] * t->stride[i][k];
    }
    for (size_t row = first; row < last; row++) {
        void *p[OPERANDS];
        for (size_t i = 0; i < t->operands; i++) p[i] = t->data[i] + offset[i] * (ptrdiff_t)t->element[i];
        t->loop(n, p, step, t->attrs);
        for (size_t k = outer; k-- > 0;) {
            bool carry = ++index[k] == t->shape[k];
            ptrdiff_t back = carry ? (ptrdiff_t)t->shape[k] : 0;
            if (carry) index[k] = 0;
            for (size_t i = 0; i < t->operands; i++) offset[i] += (1 - back) * t->stride[i][k];
            if (!carry) break;
        }
    }
}

static void run_task(void *arg, size_t task, size_t thread) {
    (void)thread;
    const nest *t = arg;
    size_t run = t->shape[t->rank - 1];
    if (t->pieces > 1) {
        size_t row = task / t->pieces, from = task % t->pieces * PIECE;
        run_rows(t, row, row + 1, from, run - from < PIECE ? run - from : PIECE);
    } else {
        size_t first = task * t->rows_per_task, last = first + t->rows_per_task;
        run_rows(t, first, last < t->rows ? last : t->rows, 0, run);
    }
}

static void run_nest(nest *t, pleat_tensor *const *operand) {
    const pleat_tensor *y = operand[0];
    if (y->numel == 0) return;
    nest_init(t, operand);
    size_t tasks = t->pieces > 1 ? t->rows * t->pieces : (t->rows + t->rows_per_task - 1) / t->rows_per_task;
    /* four elements cost about as much as one multiply-add of other loops */
    pl_parallel(pl_pool_for(y->ctx, (double)y->numel / 4), tasks, run_task, t);
}

void pl_each(const pl_map *map, pleat_tensor *y, size_t n, pleat_tensor *const *x, const void *attrs) {
    nest t = {.loop = y->dtype == PLEAT_F64 ? map->f64 : map->f32, .attrs = attrs, .operands = n + 1};
    pleat_tensor *operand[OPERANDS] = {y};
    for (size_t i = 0; i < n; i++) operand[i + 1] = x[i];
    run_nest(&t, operand);
}

/* ---- copies --------------------------------------------------------------------------------------------- */

#define MAP copy_same
#define EXPR x
#include "core/map1.inc"

static void narrow(size_t n, void *const p[], const ptrdiff_t s[], const void *attrs) {
    (void)attrs;
    float *y = p[0];
    const double *x = p[1];
    for (size_t i = 0; i < n; i++) y[(ptrdiff_t)i * s[0]] = (float)x[(ptrdiff_t)i * s[1]];
}

static void widen(size_t n, void *const p[], const ptrdiff_t s[], const void *attrs) {
    (void)attrs;
    double *y = p[0];
    const float *x = p[1];
    for (size_t i = 0; i < n; i++) y[(ptrdiff_t)i * s[0]] = (double)x[(ptrdiff_t)i * s[1]];
}

void pl_copy(pleat_tensor *dst, pleat_tensor *src) {
    static const pl_map from_other = {.f32 = narrow, .f64 = widen};
    pl_each(dst->dtype == src->dtype ? &copy_same : &from_other, dst, 1, &src, NULL);
}

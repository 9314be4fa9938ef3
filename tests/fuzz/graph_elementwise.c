/* Kinds of nodes: functions of one number, of two and of three, and those along axes. */
#include "graph.h"

#include <math.h>
#include <string.h>

/* ---- one number -------------------------------------------------------------------------------------- */

typedef struct function {
    const char *name;
    pleat_tensor *(*op)(pleat_tensor *x);
    double (*value)(double x);
    bool kinked; /* at 0; relu6 at 6, too */
} function;

static double negative(double x) { return -x; }
static double squared(double x) { return x * x; }
static double rectified(double x) { return x > 0 ? x : 0; }
static double capped(double x) { return rectified(x) < 6 ? rectified(x) : 6; }
static double stepped(double x) { return x > 0 ? 1 : 0; }
static double sign_of(double x) { return (x > 0) - (x < 0); }
static double itself(double x) { return x; }
static double sigmoid_of(double x) { return 1 / (1 + exp(-x)); }
static double softplus_of(double x) { return log1p(exp(-fabs(x))) + (x > 0 ? x : 0); }
static double silu_of(double x) { return x * sigmoid_of(x); }
static double gelu_of(double x) { return x * (1 + erf(x * 0.70710678118654752440)) / 2; }

static const function functions[] = {
    {"neg", pleat_neg, negative, false},
    {"square", pleat_square, squared, false},
    {"relu", pleat_relu, rectified, true},
    {"step", pleat_step, stepped, true},
    {"abs", pleat_abs, fabs, true},
    {"sign", pleat_sign, sign_of, true},
    {"contiguous", pleat_contiguous, itself, false},
    {"floor", pleat_floor, floor, false},
    {"round", pleat_round, nearbyint, false},
    {"relu6", pleat_relu6, capped, true},
    {"exp", pleat_exp, exp, false},
    {"tanh", pleat_tanh, tanh, false},
    {"sigmoid", pleat_sigmoid, sigmoid_of, false},
    {"softplus", pleat_softplus, softplus_of, false},
    {"silu", pleat_silu, silu_of, false},
    {"gelu", pleat_gelu, gelu_of, false},
    {"erf", pleat_erf, erf, false},
    {"sin", pleat_sin, sin, false},
    {"cos", pleat_cos, cos, false},
};
enum {
    SQUARE = 1,
    FLOOR = 7,
    ROUND,
    RELU6,
    WHOLE,
    EXP = WHOLE,
    FUNCTIONS = sizeof functions / sizeof *functions
};

static bool choose_function(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    n->a[0] = fuzz_below(g->bytes, g->real ? FUNCTIONS : WHOLE);
    if (g->real && (n->a[0] == FLOOR || n->a[0] == ROUND))
        return false; /* rounding may fall to either side */
    if (n->a[0] == SQUARE) n->bound *= n->bound, n->grain *= 2;
    if (n->a[0] == EXP) n->bound = exp(n->bound);
    if (n->a[0] > EXP || n->a[0] == FLOOR || n->a[0] == ROUND) n->bound += 1;
    const node *x = graph_in(g, n, 0);
    return node_shape(n, x->rank, x->shape);
}

static void compute_function(const node *n, const values *v) {
    const function *f = &functions[n->a[0]];
    for (size_t i = 0; i < n->numel; i++) {
        if (f->kinked) kink(v->kinks, v->in[0][i]);
        if (n->a[0] == RELU6) kink(v->kinks, v->in[0][i] - 6);
        v->out[i] = f->value(v->in[0][i]);
    }
}

static pleat_tensor *apply_function(const node *n, pleat_tensor *const in[]) {
    return functions[n->a[0]].op(in[0]);
}

/* scale, shift, and clamp to -number .. number + 1 */
static bool choose_affine(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    n->a[0] = fuzz_below(g->bytes, 3);
    n->number = (double)fuzz_within(g->bytes, n->a[0] == 2 ? 0 : -3, 3);
    if (n->a[0] == 0) n->bound *= fabs(n->number);
    if (n->a[0] == 1) n->bound += fabs(n->number);
    const node *x = graph_in(g, n, 0);
    return node_shape(n, x->rank, x->shape);
}

static void compute_affine(const node *n, const values *v) {
    double low = -n->number, high = n->number + 1;
    for (size_t i = 0; i < n->numel; i++) {
        double x = v->in[0][i];
        if (n->a[0] == 2) kink(v->kinks, x - low), kink(v->kinks, x - high);
        v->out[i] = n->a[0] == 0   ? x * n->number
                    : n->a[0] == 1 ? x + n->number
                    : x < low      ? low
                    : x > high     ? high
                                   : x;
    }
}

static pleat_tensor *apply_affine(const node *n, pleat_tensor *const in[]) {
    if (n->a[0] == 0) return pleat_scale(in[0], n->number);
    return n->a[0] == 1 ? pleat_shift(in[0], n->number) : pleat_clamp(in[0], -n->number, n->number + 1);
}

/* ---- two and three ----------------------------------------------------------------------------------- */

enum { ADD, SUB, MUL, MAXIMUM, MINIMUM, GT, GE, LT, LE, EQ, NE, PAIRS };

static pleat_tensor *(*const pair_ops[PAIRS])(pleat_tensor *, pleat_tensor *) = {
    pleat_add, pleat_sub, pleat_mul, pleat_maximum, pleat_minimum, pleat_gt,
    pleat_ge,  pleat_lt,  pleat_le,  pleat_eq,      pleat_ne};

static double pair_value(size_t op, double x, double y) {
    const double results[PAIRS] = {x + y,  x - y, x * y,  x > y ? x : y, x < y ? x : y, x > y,
                                   x >= y, x < y, x <= y, x == y,        x != y};
    return results[op];
}

/* A node that can be broadcast with x: of x's shape, of its last axes, with sizes of 1, or with an axis more. */
static size_t pick_partner(graph *g, const node *x) {
    size_t shape[PLEAT_MAX_RANK], rank = x->rank, way = fuzz_byte(g->bytes), missing = 0;
    if (way % 4 == 1 && rank > 0) missing = 1 + way / 4 % rank;
    for (size_t k = missing; k < rank; k++) shape[k - missing] = x->shape[k];
    rank -= missing;
    for (size_t k = 0; way % 4 == 2 && k < rank; k++)
        if (way >> (2 + k) & 1) shape[k] = 1;
    if (way % 4 == 3 && rank < 5) {
        memmove(shape + 1, shape, rank * sizeof *shape);
        shape[0] = 1 + way / 4 % 3;
        rank++;
    }
    return graph_pick_shape(g, rank, shape);
}

/* The shape of all inputs broadcast together. */
static bool broadcast_shape(const graph *g, node *n) {
    size_t shape[PLEAT_MAX_RANK], rank = 0;
    for (size_t i = 0; i < n->inputs; i++)
        if (graph_in(g, n, i)->rank > rank) rank = graph_in(g, n, i)->rank;
    for (size_t k = 0; k < rank; k++) {
        shape[k] = 1;
        for (size_t i = 0; i < n->inputs; i++) {
            const node *x = graph_in(g, n, i);
            size_t missing = rank - x->rank, size = k < missing ? 1 : x->shape[k - missing];
            if (size == 1) continue;
            if (shape[k] != 1 && shape[k] != size) return false;
            shape[k] = size;
        }
    }
    return node_shape(n, rank, shape);
}

static bool choose_pair(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    n->a[0] = fuzz_below(g->bytes, PAIRS);
    n->in[1] = pick_partner(g, graph_in(g, n, 0));
    if (n->in[1] == SIZE_MAX) return false;
    n->inputs = 2;
    n->flag[0] = fuzz_byte(g->bytes) & 1;
    if (n->flag[0]) {
        size_t first = n->in[0];
        n->in[0] = n->in[1], n->in[1] = first;
    }
    const node *x = graph_in(g, n, 0), *y = graph_in(g, n, 1);
    n->bound = n->a[0] == MUL ? x->bound * y->bound : x->bound + y->bound + 1;
    n->grain = n->a[0] == MUL ? x->grain + y->grain : x->grain > y->grain ? x->grain : y->grain;
    return broadcast_shape(g, n);
}

static void compute_pair(const node *n, const values *v) {
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
    if (n->numel == 0) return;
    do {
        double x = v->in[0][index_of(graph_in(v->graph, n, 0), n->rank, index)];
        double y = v->in[1][index_of(graph_in(v->graph, n, 1), n->rank, index)];
        if (n->a[0] >= MAXIMUM) kink(v->kinks, x - y);
        v->out[i++] = pair_value(n->a[0], x, y);
    } while (index_next(n->rank, n->shape, index));
}

static pleat_tensor *apply_pair(const node *n, pleat_tensor *const in[]) {
    return pair_ops[n->a[0]](in[0], in[1]);
}

static bool choose_where(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    for (size_t i = 1; i < 3; i++)
        if ((n->in[i] = pick_partner(g, graph_in(g, n, 0))) == SIZE_MAX) return false;
    n->inputs = 3;
    n->bound = fmax(graph_in(g, n, 1)->bound, graph_in(g, n, 2)->bound);
    for (size_t i = 1; i < 3; i++)
        if (graph_in(g, n, i)->grain > n->grain) n->grain = graph_in(g, n, i)->grain;
    return broadcast_shape(g, n);
}

static void compute_where(const node *n, const values *v) {
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
    if (n->numel == 0) return;
    do {
        double at[3];
        for (size_t k = 0; k < 3; k++) at[k] = v->in[k][index_of(graph_in(v->graph, n, k), n->rank, index)];
        kink(v->kinks, at[0]);
        v->out[i++] = at[0] != 0 ? at[1] : at[2];
    } while (index_next(n->rank, n->shape, index));
}

static pleat_tensor *apply_where(const node *n, pleat_tensor *const in[]) {
    (void)n;
    return pleat_where(in[0], in[1], in[2]);
}

/* ---- along axes -------------------------------------------------------------------------------------- */

enum { SUM, AMAX, AMIN, MEAN, VAR, LOG_SUM_EXP, REDUCTIONS, WHOLE_REDUCTIONS = MEAN };

static bool choose_reduction(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK], rank = 0, summed = 1;
    n->a[0] = fuzz_below(g->bytes, g->real ? REDUCTIONS : WHOLE_REDUCTIONS);
    n->axes = fuzz_byte(g->bytes) & ((1u << x->rank) - 1);
    n->flag[0] = fuzz_byte(g->bytes) & 1; /* keep */
    unsigned axes = n->axes ? n->axes : (1u << x->rank) - 1;
    for (size_t k = 0; k < x->rank; k++) {
        bool along = axes >> k & 1;
        if (along) summed *= x->shape[k];
        if (!along || n->flag[0]) shape[rank++] = along ? 1 : x->shape[k];
    }
    if (summed == 0 && n->a[0] != SUM) return false;
    if (n->a[0] == SUM) n->bound *= (double)summed;
    if (n->a[0] == VAR) n->bound *= 2 * n->bound;
    if (n->a[0] == LOG_SUM_EXP && n->bound > 600) return false; /* the loops may overflow */
    if (n->a[0] == LOG_SUM_EXP) n->bound += log((double)summed);
    n->number = (double)summed;
    return node_shape(n, rank, shape);
}

/* Where an element of x goes. */
static size_t reduced(const node *n, const node *x, const size_t *index) {
    size_t at = 0;
    unsigned axes = n->axes ? n->axes : (1u << x->rank) - 1;
    for (size_t k = 0; k < x->rank; k++)
        if (!(axes >> k & 1)) at = at * x->shape[k] + index[k];
    return at;
}

/* Of x, or of the function of its distance from the mean. */
static void sum_up(const node *n, const values *v, const double *mean, double (*f)(double)) {
    const node *x = graph_in(v->graph, n, 0);
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
    for (size_t k = 0; k < n->numel; k++) v->out[k] = 0;
    if (x->numel == 0) return;
    do {
        size_t at = reduced(n, x, index);
        double d = v->in[0][i++] - (mean ? mean[at] : 0);
        v->out[at] += f(d);
    } while (index_next(x->rank, x->shape, index));
    bool mean_of = n->a[0] == MEAN || n->a[0] == VAR;
    for (size_t k = 0; mean_of && k < n->numel; k++) v->out[k] /= n->number;
}

static void find_extremes(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0);
    double sign = n->a[0] == AMAX ? 1 : -1;
    for (size_t k = 0; k < n->numel; k++) v->out[k] = -sign * (double)INFINITY;
    for (int turn = 0; turn < 2 && x->numel > 0; turn++) {
        size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
        do {
            size_t at = reduced(n, x, index);
            double value = v->in[0][i++];
            if (turn) kink(v->kinks, value - v->out[at]);
            if (sign * value > sign * v->out[at]) v->out[at] = value;
        } while (index_next(x->rank, x->shape, index));
    }
}

static void compute_reduction(const node *n, const values *v) {
    double mean[MOST_NUMEL];
    if (n->a[0] == AMAX || n->a[0] == AMIN) {
        find_extremes(n, v);
        return;
    }
    sum_up(n, v, NULL, n->a[0] == LOG_SUM_EXP ? exp : itself);
    for (size_t k = 0; n->a[0] == LOG_SUM_EXP && k < n->numel; k++) v->out[k] = log(v->out[k]);
    if (n->a[0] != VAR) return;
    memcpy(mean, v->out, n->numel * sizeof *mean);
    sum_up(n, v, mean, squared);
}

static pleat_tensor *apply_reduction(const node *n, pleat_tensor *const in[]) {
    pleat_sum_args args = {.x = in[0], .axes = n->axes, .keep = n->flag[0]};
    static pleat_tensor *(*const ops[REDUCTIONS])(pleat_sum_args) = {pleat_sum_with,  pleat_amax_with,
                                                                     pleat_amin_with, pleat_mean_with,
                                                                     pleat_var_with,  pleat_log_sum_exp_with};
    return ops[n->a[0]](args);
}

/* argmax, softmax and log_softmax */
static bool choose_along(graph *g, node *n) {
    if (!node_unary(g, n, graph_pick(g))) return false;
    const node *x = graph_in(g, n, 0);
    size_t shape[PLEAT_MAX_RANK], rank = 0;
    if (x->rank == 0) return false;
    n->a[0] = g->real ? fuzz_below(g->bytes, 3) : 0;
    n->a[1] = fuzz_below(g->bytes, x->rank);
    if (x->shape[n->a[1]] == 0) return false;
    for (size_t k = 0; k < x->rank; k++)
        if (n->a[0] > 0 || k != n->a[1]) shape[rank++] = x->shape[k];
    if (n->a[0] == 0) n->bound = (double)x->shape[n->a[1]], n->grain = 0;
    if (n->a[0] == 2) n->bound = 2 * n->bound + 10;
    return node_shape(n, rank, shape);
}

static void compute_row(const node *n, const values *v, const double *from, double *to, size_t size,
                        size_t step) {
    size_t best = 0;
    double sum = 0;
    for (size_t i = 1; i < size; i++)
        if (from[i * step] > from[best * step]) best = i;
    for (size_t i = 0; i < size; i++) {
        if (n->a[0] == 0) kink(v->kinks, from[i * step] - from[best * step]);
        sum += exp(from[i * step] - from[best * step]);
    }
    if (n->a[0] == 0) *to = (double)best;
    for (size_t i = 0; n->a[0] > 0 && i < size; i++) {
        double score = from[i * step] - from[best * step];
        to[i * step] = n->a[0] == 1 ? exp(score) / sum : score - log(sum);
    }
}

static void compute_along(const node *n, const values *v) {
    const node *x = graph_in(v->graph, n, 0);
    size_t outer = 1, inner = 1, size = x->shape[n->a[1]];
    for (size_t k = 0; k < n->a[1]; k++) outer *= x->shape[k];
    for (size_t k = n->a[1] + 1; k < x->rank; k++) inner *= x->shape[k];
    for (size_t i = 0; i < outer; i++)
        for (size_t j = 0; j < inner; j++)
            compute_row(n, v, v->in[0] + i * size * inner + j,
                        v->out + i * (n->a[0] == 0 ? 1 : size) * inner + j, size, inner);
}

/* As a leaf: nothing depends on x. */
static pleat_tensor *largest_at(pleat_tensor *x, size_t axis) {
    size_t shape[PLEAT_MAX_RANK], rank = 0, index[MOST_NUMEL];
    for (size_t k = 0; k < pleat_rank(x); k++)
        if (k != axis) shape[rank++] = pleat_size(x, k);
    if (pleat_argmax(x, axis, index) != PLEAT_OK) return pleat_poison(pleat_ctx_of(x));
    pleat_tensor *y = pleat_empty(pleat_ctx_of(x), pleat_dtype_of(x), rank, shape);
    for (size_t i = 0; i < pleat_numel(y); i++)
        if (pleat_dtype_of(x) == PLEAT_F64)
            pleat_f64(y)[i] = (double)index[i];
        else
            pleat_f32(y)[i] = (float)index[i];
    return y;
}

static pleat_tensor *apply_along(const node *n, pleat_tensor *const in[]) {
    static pleat_tensor *(*const ops[])(pleat_tensor *, size_t) = {largest_at, pleat_softmax,
                                                                   pleat_log_softmax};
    return ops[n->a[0]](in[0], n->a[1]);
}

const kind elementwise_kinds[] = {
    {"function", false, choose_function, compute_function, apply_function},
    {"affine", false, choose_affine, compute_affine, apply_affine},
    {"pair", false, choose_pair, compute_pair, apply_pair},
    {"where", false, choose_where, compute_where, apply_where},
    {"reduction", false, choose_reduction, compute_reduction, apply_reduction},
    {"along", false, choose_along, compute_along, apply_along},
    {0},
};

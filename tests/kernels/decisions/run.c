/* One case on one engine, against the seven loops. */
#include "decisions.h"
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64, UNWRITTEN = 0x71 }; /* as a number of either type: large, and finite */

static void *allocate(size_t bytes) {
    void *p = malloc(bytes + 1);
    if (!p) exit(2);
    return p;
}

void case_begin(decision_case *c, const pleat_conv_shape *g, uint64_t seed) {
    *c = (decision_case){.g = *g, .n = {geometry_image(g), geometry_kernel(g), geometry_map(g)}};
    for (size_t k = 0; k < 3; k++) {
        c->values[k] = allocate(c->n[k] * sizeof(double));
        fill_integers(c->values[k], c->n[k], seed + k);
    }
}

void case_end(decision_case *c) {
    for (size_t k = 0; k < 3; k++) free(c->values[k]), free(c->want[k]);
}

/* Of x, w, y: the one that an operator gives, and its operands in the order of the public functions. */
static size_t result_of(pleat_conv_op op) {
    return op == PLEAT_CONV_FORWARD ? 2 : op == PLEAT_CONV_TRANSPOSE ? 0 : 1;
}
static size_t first_of(pleat_conv_op op) { return op == PLEAT_CONV_TRANSPOSE ? 2 : 0; }
static size_t second_of(pleat_conv_op op) { return op == PLEAT_CONV_WEIGHT ? 2 : 1; }

static double *definition(const decision_case *c, pleat_conv_op op, double *const values[3]) {
    double *all[3] = {values[0], values[1], values[2]};
    size_t r = result_of(op);
    all[r] = allocate(c->n[r] * sizeof(double));
    reference_conv(&c->g, op, all[0], all[1], all[2]);
    return all[r];
}

static void *typed(const double *a, size_t n, size_t element) {
    void *b = allocate(n * element);
    for (size_t i = 0; i < n; i++) {
        if (element == sizeof(float))
            ((float *)b)[i] = (float)a[i];
        else
            ((double *)b)[i] = a[i];
    }
    return b;
}

/* Where a number of x, w or y is in memory. */
static size_t place_of(const decision_case *c, size_t operand, size_t element, size_t i) {
    const pleat_conv_shape *g = &c->g;
    bool map = operand == 2;
    size_t channels = map ? g->O : g->C, pixels = map ? g->P * g->Q : g->H * g->W;
    if (operand == 1) return i;
    return pl_place(g, map, element, i / pixels / channels, i / pixels % channels, i % pixels);
}

static void *laid_out(const decision_case *c, size_t operand, const double *a, size_t element) {
    double *b = allocate(c->n[operand] * sizeof(double));
    for (size_t i = 0; i < c->n[operand]; i++) b[place_of(c, operand, element, i)] = a[i];
    void *all = typed(b, c->n[operand], element);
    free(b);
    return all;
}

static double number_at(const void *a, size_t i, size_t element) {
    return element == sizeof(float) ? (double)((const float *)a)[i] : ((const double *)a)[i];
}

/* Memory that nobody has written, between guards. For a memory checker it can be left as it came. */
static unsigned char *unwritten(size_t bytes) {
    unsigned char *p = allocate(bytes + 2 * GUARD);
    memset(p, 0x5a, GUARD), memset(p + GUARD + bytes, 0x5a, GUARD);
    if (!getenv("PLEAT_TEST_UNWRITTEN")) memset(p + GUARD, UNWRITTEN, bytes);
    return p;
}

static bool is_guarded(const unsigned char *p, size_t bytes) {
    for (size_t i = 0; i < GUARD; i++)
        if (p[i] != 0x5a || p[GUARD + bytes + i] != 0x5a) return false;
    return true;
}

typedef struct attempt {
    decision_case *c;
    const decision_set *set;
    double *const *values;
    const double *want;
    bool bias, relu, finish,
        mend; /* mend: what padding has made NaN is repaired, otherwise nothing must be */
    pleat_pool *pool;
} attempt;

static const char *wrong(const attempt *t, const char *what, size_t i, double found, double want) {
    static char text[700];
    snprintf(text, sizeof text, "%s%s%s%s%s, %d threads: %s, element %zu is %.9g instead of %.9g\n%s",
             set_words(t->set).text, t->bias ? ", bias" : "", t->relu ? ", relu" : "",
             t->finish ? ", finish" : "", t->mend ? ", not finite" : "", pleat_pool_threads(t->pool), what, i,
             found, want, geometry_reproduce(&t->c->g, "test_decisions", "decisions/every_pair").text);
    return text;
}

/* Those of channel c, whose products with whole numbers are exact in double, and rounded in float. */
static double factor_of(size_t c) { return (double)(float)(0.7 - 0.3 * (double)(c % 5)); }
static double shift_of(size_t c) { return (double)(c % 3) / 3 - 0.2; }
enum { MOST = 6 };

/* v after everything that may follow the sum. */
static double ended(const attempt *t, size_t channel, const double *bias, double v) {
    if (t->bias) v += bias[channel];
    if (t->finish) v = v * factor_of(channel) + shift_of(channel);
    if (t->finish && t->set->small->element == sizeof(float)) v = (double)(float)v;
    if (t->relu && v < 0) v = 0;
    return t->finish && t->relu && v > MOST ? MOST : v;
}

static const char *compare(const attempt *t, const void *found, const double *bias) {
    const pleat_conv_shape *g = &t->c->g;
    bool image = t->set->op == PLEAT_CONV_TRANSPOSE;
    size_t r = result_of(t->set->op), n = t->c->n[r], channels = image ? g->C : g->O,
           pixels = image ? g->H * g->W : g->P * g->Q, element = t->set->small->element;
    for (size_t i = 0; i < n; i++) {
        double want = ended(t, i / pixels % channels, bias, t->want[i]),
               v = number_at(found, place_of(t->c, r, element, i), element);
        if (v == want || (t->mend && isnan(v) && isnan(want))) continue;
        return wrong(t, "wrong value", i, v, want);
    }
    return NULL;
}

/* The operands in the engine's type, and what it needs for a call. */
typedef struct buffers {
    void *operand[3];
    unsigned char *result, *workspace; /* between guards */
    size_t result_bytes, workspace_bytes;
} buffers;

static void prepare(const attempt *t, const pleat_conv_plan *plan, buffers *b, pl_conv_call *call) {
    size_t element = t->set->small->element, r = result_of(t->set->op);
    for (size_t k = 0; k < 3; k++) b->operand[k] = laid_out(t->c, k, t->values[k], element);
    b->result_bytes = t->c->n[r] * element;
    b->workspace_bytes = plan->shared_bytes + plan->thread_bytes * (size_t)pleat_pool_threads(t->pool) + LINE;
    b->result = unwritten(b->result_bytes), b->workspace = unwritten(b->workspace_bytes);
    void *xwy[3] = {b->operand[0], b->operand[1], b->operand[2]};
    xwy[r] = b->result + GUARD;
    call->x = xwy[0], call->w = xwy[1], call->y = xwy[2];
    uintptr_t begin = (uintptr_t)(b->workspace + GUARD);
    call->workspace = (char *)b->workspace + GUARD + (LINE - begin % LINE) % LINE;
}

static const char *check_run(const attempt *t, const pleat_conv_plan *plan, pl_conv_call *call,
                             const double *biases) {
    if (plan->packed_bytes > 0) {
        plan->engine->pack(plan, call->w, call->workspace, t->pool);
        call->packed = call->workspace;
    }
    plan->engine->run(plan, call);
    if (t->mend) pl_fix_padding_nan(plan, call);
    const char *error = compare(t, pl_result(plan, call), biases);
    if (!error && !t->mend && pl_fix_padding_nan(plan, call))
        error = wrong(t, "finite values repaired", 0, 0, 0);
    return error;
}

static const char *run_attempt(const attempt *t) {
    size_t channels = t->set->op == PLEAT_CONV_TRANSPOSE ? t->c->g.C : t->c->g.O;
    double *biases = allocate(channels * sizeof(double)), *factors = allocate(2 * channels * sizeof(double));
    fill_integers(biases, channels, 7);
    for (size_t k = 0; k < channels; k++) factors[k] = factor_of(k), factors[channels + k] = shift_of(k);
    pl_finish finish = {factors, factors + channels, t->relu, MOST};
    void *bias = typed(biases, channels, t->set->small->element);
    pleat_conv_plan *plan;
    if (!t->set->small->make(&t->c->g, t->set->op, &plan) || !plan) exit(2);
    pl_conv_call call = {.bias = t->bias ? bias : NULL, .relu = t->relu && !t->finish, .pool = t->pool};
    if (t->finish) call.finish = &finish;
    buffers b;
    prepare(t, plan, &b, &call);
    const char *error = check_run(t, plan, &call, biases);
    if (!error && !is_guarded(b.workspace, b.workspace_bytes))
        error = wrong(t, "written beside the workspace", 0, 0, 0);
    if (!error && !is_guarded(b.result, b.result_bytes))
        error = wrong(t, "written beside the result", 0, 0, 0);
    for (size_t k = 0; k < 3; k++) free(b.operand[k]);
    free(bias), free(biases), free(factors), free(b.workspace), free(b.result);
    pleat_conv_plan_free(plan);
    return error;
}

/* Otherwise what follows the sum is the caller's. */
static bool has_end(const decision_set *s) { return s->small->has_epilogue && s->op != PLEAT_CONV_WEIGHT; }

/* Inf and NaN in one operand, in few places. */
static const char *run_not_finite(decision_case *c, const decision_set *s, size_t operand, pleat_pool *pool) {
    double *values[3] = {c->values[0], c->values[1], c->values[2]}, *was = values[operand];
    uint64_t seed = c->n[operand];
    size_t bytes = c->n[operand] * sizeof(double);
    values[operand] = memcpy(allocate(bytes), was, bytes);
    for (size_t k = 0; k < 3; k++)
        values[operand][random_below(&seed, c->n[operand])] = k == 0   ? -HUGE_VAL
                                                              : k == 1 ? HUGE_VAL
                                                                       : nan("");
    double *want = definition(c, s->op, values);
    attempt t = {.c = c, .set = s, .values = values, .want = want, .mend = true, .pool = pool};
    t.finish = has_end(s) && operand == first_of(s->op);
    const char *error = run_attempt(&t);
    free(values[operand]), free(want);
    return error;
}

const char *case_run(decision_case *c, const decision_set *s, pleat_pool *pool) {
    size_t r = result_of(s->op);
    const char *error = NULL;
    bool ends = has_end(s);
    if (!c->want[r]) c->want[r] = definition(c, s->op, c->values);
    attempt t = {.c = c, .set = s, .values = c->values, .want = c->want[r]};
    for (int k = 0; k < (ends ? 6 : 2) && !error; k++) {
        t.pool = k % 2 ? pool : NULL;
        t.bias = ends && k % 4 > 1, t.relu = ends && (k == 1 || k == 2 || k == 4);
        t.finish = k > 3;
        error = run_attempt(&t);
    }
    if (!error) error = run_not_finite(c, s, first_of(s->op), pool);
    return error ? error : run_not_finite(c, s, second_of(s->op), NULL);
}

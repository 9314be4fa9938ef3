/* From the calls of a prepared function to actions on areas: which area a tensor is in, for how long, and where. */
#include <stdlib.h>
#include <string.h>

#include "export/export.h"
#include "module.h"

#define OP "export_c"

bool pln_cannot(pln_c_file *f, const pleat_call *c, const char *why) {
    char text[300];
    pleat_fail(f->ctx, PLEAT_ERR_ARGUMENT, OP, "%s: %s",
               pln_call_text(f->p, c, f->args->m, text, sizeof text), why);
    return false;
}

static bool no_memory(pln_c_file *f) {
    pleat_fail(f->ctx, PLEAT_ERR_MEMORY, OP, "no memory for the list of calls");
    return false;
}

/* ---- areas and views ------------------------------------------------------------------------------------------ */

static pln_area *new_area(pln_c_file *f, pln_area_kind kind, size_t numbers) {
    pln_area *a = calloc(1, sizeof *a);
    if (!a) return no_memory(f), NULL;
    *a = (pln_area){.kind = kind, .numbers = numbers, .first = f->count, .last = f->count};
    if (f->areas) a->index = ((pln_area *)((char *)f->last_area - offsetof(pln_area, next)))->index + 1;
    *f->last_area = a;
    f->last_area = &a->next;
    return a;
}

static void dense_view(pln_view *v, pln_area *area, size_t rank, const size_t *shape) {
    *v = (pln_view){.area = area, .rank = rank};
    ptrdiff_t step = 1;
    for (size_t k = rank; k-- > 0; step *= (ptrdiff_t)shape[k]) v->shape[k] = shape[k], v->stride[k] = step;
}

size_t pln_numbers(const pln_view *v) {
    size_t n = 1;
    for (size_t k = 0; k < v->rank; k++) n *= v->shape[k];
    return n;
}

bool pln_is_dense(const pln_view *v) {
    ptrdiff_t step = 1;
    for (size_t k = v->rank; k-- > 0; step *= (ptrdiff_t)v->shape[k])
        if (v->shape[k] != 1 && v->stride[k] != step) return false;
    return true;
}

static bool remember(pln_c_file *f, const pleat_tensor *t, const pln_view *v) {
    struct known *k = malloc(sizeof *k);
    if (!k) return no_memory(f);
    *k = (struct known){t, *v, f->known};
    f->known = k;
    return true;
}

static bool view_of(pln_c_file *f, const pleat_tensor *t, pln_view *v) {
    for (struct known *k = f->known; k; k = k->next)
        if (k->t == t) return *v = k->view, true;
    pln_area *a = new_area(f, PLN_CONSTANT, pleat_numel(t));
    if (!a) return false;
    a->constant = t;
    dense_view(v, a, pleat_rank(t), pleat_shape(t));
    return remember(f, t, v);
}

/* ---- actions -------------------------------------------------------------------------------------------------- */

static pln_action *new_action(pln_c_file *f, const pln_rule *rule, const pleat_call *c) {
    pln_action *a = calloc(1, sizeof *a);
    if (!a) return no_memory(f), NULL;
    *a = (pln_action){.rule = rule, .call = c};
    *f->last_action = a;
    f->last_action = &a->next;
    f->count++;
    return a;
}

/* A strided view as a dense one, which a copy of its own makes. */
static bool make_dense(pln_c_file *f, const pleat_call *c, pln_view *v) {
    if (pln_is_dense(v)) return true;
    pln_area *area = new_area(f, PLN_ARENA, pln_numbers(v));
    pln_action *copy = area ? new_action(f, pln_rule_of("copy"), c) : NULL;
    if (!copy) return false;
    copy->n = 1, copy->in[0] = *v;
    v->area->last = f->count - 1;
    dense_view(&copy->out, area, v->rank, v->shape);
    *v = copy->out;
    return true;
}

static bool add_view(pln_c_file *f, const pleat_call *c) {
    pln_view v;
    if (!view_of(f, c->in[0], &v)) return false;
    v.offset = (size_t)((ptrdiff_t)v.offset + c->offset), v.rank = c->rank;
    memcpy(v.shape, c->shape, sizeof v.shape);
    memcpy(v.stride, c->stride, sizeof v.stride);
    return remember(f, c->out, &v);
}

/* The numbers of a norm by given statistics, inputs `from` on, in place of these. */
static bool add_norm(pln_c_file *f, pln_action *a, size_t from) {
    pln_area *area = new_area(f, PLN_CONSTANT, 2 * pleat_numel(a->call->in[from]));
    if (!area) return false;
    area->norm = a->call;
    a->n = from + 1;
    a->in[from] = (pln_view){.area = area, .rank = 1, .shape = {area->numbers}, .stride = {1}};
    return true;
}

/* Where the inputs of a norm begin; 0: the call has none. */
static size_t norm_of(const pleat_call *c) {
    long norm = 0;
    if (!strcmp(c->op->name, "rescale")) return 1;
    if (!strncmp(c->op->name, "conv2d", 6)) pln_whole(c, "norm", 1, &norm);
    return norm ? c->n - (size_t)norm : 0;
}

/* [C] as [C,1,..], which is broadcast to [N,C,..]. */
static void make_channels(pln_view *v, size_t rank) {
    for (v->rank = 1; v->rank < rank - 1; v->rank++) v->shape[v->rank] = 1;
}

static bool add_call(pln_c_file *f, const pleat_call *c) {
    const pln_rule *rule = pleat_op_is_known(c->op) ? pln_rule_of(c->op->name) : NULL;
    if (!rule) return pln_cannot(f, c, "this op has no form in C yet");
    size_t n = c->n, norm = norm_of(c);
    pln_view in[8];
    if (n > 8) return pln_cannot(f, c, "more than 8 inputs");
    for (size_t i = 0; i < n; i++) {
        if (!view_of(f, c->in[i], &in[i])) return false;
        if (!rule->expression && !make_dense(f, c, &in[i])) return false;
    }
    if (!strcmp(rule->op, "prelu") && in[1].area->numbers > 1) make_channels(&in[1], c->rank);
    pln_area *area = new_area(f, PLN_ARENA, pleat_numel(c->out));
    pln_action *a = area ? new_action(f, rule, c) : NULL;
    if (!a) return false;
    a->n = n;
    memcpy(a->in, in, n * sizeof *in);
    for (size_t i = 0; i < n; i++) in[i].area->last = f->count - 1;
    dense_view(&a->out, area, c->rank, c->shape);
    return (!norm || add_norm(f, a, norm)) && remember(f, c->out, &a->out);
}

/* ---- fewer and smaller areas ------------------------------------------------------------------------------------ */

static bool is_op(const pln_action *a, const char *op) { return a && !strcmp(a->rule->op, op); }

/* Windows side by side, none of them in padding. */
static bool tiles(const pleat_call *pool, size_t window[2]) {
    long kernel[2], stride[2], pad[2], dilation[2];
    pln_whole(pool, "kernel", 2, kernel), pln_whole(pool, "stride", 2, stride);
    pln_whole(pool, "pad", 2, pad), pln_whole(pool, "dilation", 2, dilation);
    for (size_t k = 0; k < 2; k++) {
        window[k] = (size_t)kernel[k];
        bool whole = pool->shape[2 + k] * window[k] <= pleat_shape(pool->in[0])[2 + k];
        if (kernel[k] != stride[k] || pad[k] || dilation[k] > 1 || !whole) return false;
    }
    return true;
}

/* A pool that alone reads what a convolution makes is computed within it: the map between them is not stored. */
static void fuse_pools(pln_c_file *f) {
    for (pln_action *a = f->actions; a; a = a->next) {
        pln_action *b = a->next;
        if (!is_op(a, "conv2d") || !is_op(b, "max_pool2d") || b->in[0].area != a->out.area) continue;
        if (a->out.area->last != a->out.area->first + 1 || !tiles(b->call, a->pool)) continue;
        a->out.area->numbers = 0;
        a->out = b->out, a->out.area->first--;
        a->next = b->next;
        if (!b->next) f->last_action = &a->next;
        free(b);
    }
}

static pln_area *root_of(pln_area *a) {
    while (a->same) a = a->same;
    return a;
}

/* An element-wise result takes the place of an operand that is read for the last time. */
static void share_places(pln_c_file *f) {
    for (pln_action *a = f->actions; a; a = a->next)
        for (size_t i = 0; a->rule->expression && i < a->n; i++) {
            pln_area *from = a->in[i].area, *to = a->out.area;
            bool whole = pln_is_dense(&a->in[i]) && !a->in[i].offset && from->numbers == to->numbers;
            if (from->kind != PLN_ARENA || root_of(from)->last != to->first || !whole) continue;
            to->same = from = root_of(from), from->last = to->last;
            if (to->kind == PLN_OUTPUT) from->kind = PLN_OUTPUT;
            break;
        }
    for (pln_area *a = f->areas; a; a = a->next)
        if (a->same) a->kind = a->same->kind;
}

/* ---- places ----------------------------------------------------------------------------------------------------- */

/* The first place that no area before it has at the same time. */
static void place(pln_c_file *f, pln_area *a) {
    for (bool moved = true; moved;) {
        moved = false;
        for (pln_area *o = f->areas; o != a; o = o->next) {
            bool apart = o->last < a->first || a->last < o->first || o->place + o->numbers <= a->place ||
                         a->place + a->numbers <= o->place;
            if (o->kind != PLN_ARENA || o->same || !o->numbers || apart) continue;
            a->place = o->place + o->numbers, moved = true;
        }
    }
}

static void place_all(pln_c_file *f) {
    for (pln_action *a = f->actions; a; a = a->next)
        for (size_t i = 0; i < a->n; i++) a->in[i].area->used = true;
    for (pln_area *a = f->areas; a; a = a->next) {
        if (a->kind == PLN_CONSTANT && a->used)
            f->constants += a->numbers * (a->norm ? sizeof(double) : sizeof(float));
        if (a->kind != PLN_ARENA || !a->numbers) continue;
        if (a->same)
            a->place = a->same->place;
        else
            place(f, a);
        if (a->place + a->numbers > f->arena) f->arena = a->place + a->numbers;
    }
}

/* The call at which the numbers that are live, or the constants so far, are most or exceed `limit` bytes. */
static const pleat_call *too_much(const pln_c_file *f, bool ram, size_t limit) {
    size_t constants = 0;
    const pleat_call *at = NULL;
    for (const pln_action *a = f->actions; a; a = a->next) {
        at = a->call;
        if (ram && a->out.area->kind == PLN_ARENA &&
            (a->out.area->place + a->out.area->numbers) * sizeof(float) > limit)
            return at;
        for (size_t i = 0; i < a->n; i++)
            if (a->in[i].area->kind == PLN_CONSTANT)
                constants += a->in[i].area->numbers * (a->in[i].area->norm ? sizeof(double) : sizeof(float));
        if (!ram && constants > limit) return at;
    }
    return at;
}

static bool within(pln_c_file *f, const char *what, size_t bytes, size_t limit) {
    if (!limit || bytes <= limit) return true;
    char text[300];
    const pleat_call *at = too_much(f, what[0] == 'R', limit);
    pleat_fail(f->ctx, PLEAT_ERR_ARGUMENT, OP,
               "%s: %zu bytes are needed, %zu are allowed; they do not suffice at %s", what, bytes, limit,
               pln_call_text(f->p, at, f->args->m, text, sizeof text));
    return false;
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

/* What is returned: the last area itself, if a call makes it whole, or a copy. */
static bool end_with(pln_c_file *f, const pleat_tensor *y, const pleat_call *last) {
    pln_view v;
    if (!view_of(f, y, &v)) return false;
    size_t numbers = pleat_numel(y);
    if (v.area->kind == PLN_ARENA && pln_is_dense(&v) && !v.offset && v.area->numbers == numbers) {
        v.area->kind = PLN_OUTPUT;
        return true;
    }
    pln_area *area = new_area(f, PLN_OUTPUT, numbers);
    pln_action *copy = area ? new_action(f, pln_rule_of("copy"), last) : NULL;
    if (!copy) return false;
    copy->n = 1, copy->in[0] = v, v.area->last = f->count - 1;
    dense_view(&copy->out, area, v.rank, v.shape);
    return true;
}

bool pln_plan_c(pln_c_file *f) {
    const pleat_tensor *x = pleat_prepared_x(f->p);
    const pleat_call *c = NULL, *last = NULL;
    f->last_area = &f->areas, f->last_action = &f->actions;
    pln_view v;
    pln_area *area = new_area(f, PLN_INPUT, pleat_numel(x));
    if (!area) return false;
    dense_view(&v, area, pleat_rank(x), pleat_shape(x));
    if (!remember(f, x, &v)) return false;
    for (size_t i = 0; (c = pleat_prepared_call(f->p, i)) != NULL; i++) {
        if (pleat_prepared_is_constant(f->p, c->out)) continue;
        if (!(c->op->forward ? add_call(f, c) : add_view(f, c))) return false;
        last = c;
    }
    if (!end_with(f, pleat_prepared_result(f->p), last)) return false;
    fuse_pools(f);
    share_places(f);
    place_all(f);
    return within(f, "RAM", f->arena * sizeof(float), f->args->ram) &&
           within(f, "flash", f->constants, f->args->flash);
}

void pln_free_plan(pln_c_file *f) {
    for (pln_area *a = f->areas, *next; a; a = next) next = a->next, free(a);
    for (pln_action *a = f->actions, *next; a; a = next) next = a->next, free(a);
    for (struct known *k = f->known, *next; k; k = next) next = k->next, free(k);
}

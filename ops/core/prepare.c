/* Prepared functions. A function of tensors runs once, while its calls are taken down; after that the same
 * calls run again, on tensors whose memory is planned. They have a context of their own, and what they
 * share with the first one they only read: so each thread may have a prepared copy.
 *
 * A tensor becomes a value, its storage a room. A room varies if it depends on x. What does not vary is
 * computed when the function is prepared, and again when an element that it is made of was written. */
#include <string.h>

#include "core/prepare.h"

static const char op[] = "prepare";

/* ---- values -------------------------------------------------------------------------------------------- */

static room *find_room(const pleat_prepared *p, const pl_storage *s) {
    room *r = p->rooms;
    while (r != NULL && r->original != s) r = r->next;
    return r;
}

/* A storage that no step has written is a leaf. */
static room *room_for(pleat_prepared *p, const pl_storage *s) {
    room *r = find_room(p, s);
    if (r != NULL) return r;
    r = pl_take(&p->ctx->memory, sizeof *r);
    if (r == NULL) return NULL;
    *r = (room){.own = {.refs = 1, .bytes = s->bytes, .data = s->data}, .original = s, .leaf = true};
    *p->last_room = r;
    p->last_room = &r->next;
    return r;
}

/* NULL without memory. */
static value *value_of(pleat_prepared *p, pleat_tensor *t) {
    for (value *v = p->values; v != NULL; v = v->next)
        if (v->original == t) return v;
    room *r = room_for(p, t->storage);
    value *v = r != NULL ? pl_take(&p->ctx->memory, sizeof *v) : NULL;
    if (v == NULL) return NULL;
    *v = (value){.own = *t, .original = pl_retain(t), .next = p->values};
    v->own.ctx = p->ctx, v->own.storage = &r->own, v->own.refs = 1;
    v->own.story = NULL, v->own.call = NULL;
    v->own.list = PL_NOWHERE, v->own.previous = v->own.next = NULL;
    return p->values = v;
}

static void make_result(room *r, size_t time, bool varies) {
    r->leaf = false, r->varies = varies;
    r->first = r->last = time;
}

/* ---- what the function does ------------------------------------------------------------------------------ */

bool pl_trace_hides(const pleat_tensor *t, const char *by) {
    const room *r = t->poison ? NULL : find_room(t->ctx->trace, t->storage);
    if (r == NULL || !r->varies) return false;
    t->ctx->trace->failed = true;
    pleat_fail(
        t->ctx, PLEAT_ERR_ARGUMENT, op,
        "the function looks at elements that depend on x, by %s; what it makes of them would be the same in each run",
        by);
    return true;
}

void pl_trace_write(const pleat_tensor *t, const char *by) {
    pleat_prepared *p = t->ctx->trace;
    if (t->list != PL_NOWHERE && t->list >= p->depth && find_room(p, t->storage) == NULL) return;
    p->failed = true;
    pleat_fail(t->ctx, PLEAT_ERR_ARGUMENT, op,
               "the function writes in place to a tensor that it has not just made, by %s; a run would not",
               by);
}

/* With the attrs as the shape rule has completed them. */
step *pl_step_new(pleat_prepared *p, const pleat_call *c, size_t inputs, size_t attrs_bytes) {
    size_t head = pl_up_to_16(sizeof(step)), list = pl_up_to_16(inputs * sizeof *c->in);
    step *s = pl_take(&p->ctx->memory, head + list + attrs_bytes);
    if (s == NULL) return NULL;
    *s = (step){.call = *c, .caller = c->ctx->caller, .attrs_bytes = attrs_bytes};
    s->call.ctx = p->ctx;
    s->call.in = (pleat_tensor **)(void *)((char *)s + head);
    s->call.attrs = attrs_bytes > 0 ? (char *)s + head + list : NULL;
    if (attrs_bytes > 0) memcpy((char *)s + head + list, c->attrs, attrs_bytes);
    return s;
}

static bool take_operands(pleat_prepared *p, step *s, const pleat_call *c) {
    for (size_t i = 0; i < c->n; i++) {
        value *v = value_of(p, c->in[i]);
        if (v == NULL) return false;
        s->call.in[i] = &v->own;
        s->varies = s->varies || room_of(v)->varies;
        room_of(v)->last = p->count;
    }
    value *v = value_of(p, c->out);
    if (v == NULL) return false;
    s->call.out = &v->own;
    if (c->op->forward != NULL) make_result(room_of(v), p->count, s->varies);
    return true;
}

bool pl_trace_call(const pleat_call *c, size_t attrs_bytes) {
    pleat_prepared *p = c->ctx->trace;
    if (c->ctx->recording)
        return pleat_call_fail(c, PLEAT_ERR_ARGUMENT,
                               "a function that is prepared must not turn recording on");
    step *s = pl_step_new(p, c, c->n, attrs_bytes);
    if (s == NULL || !take_operands(p, s, c)) {
        pl_give(&p->ctx->memory, s);
        return pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory to prepare the call");
    }
    *p->last_step = s;
    p->last_step = &s->next;
    p->count++;
    return true;
}

static bool is_drawn_from(const pleat_ctx *ctx, const pleat_rng *before) {
    return memcmp(&ctx->rng, before, sizeof *before) != 0;
}

/* The function's result on zeros, its calls being taken down; NULL after an error. */
static pleat_tensor *trace(pleat_prepared *p, const pleat_prepare_args *a) {
    pleat_ctx *ctx = p->origin;
    const pleat_rng before = ctx->rng;
    pleat_tensor *x = pleat_zeros(ctx, a->dtype, a->rank, a->shape);
    if (x->poison) return NULL;
    if ((p->x = value_of(p, x)) == NULL) {
        pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory for x");
        return NULL;
    }
    make_result(room_of(p->x), 0, true);
    bool recording = pleat_set_recording(ctx, false);
    ctx->trace = p, ctx->passing = true;
    pleat_tensor *y = a->f(x, a->user);
    ctx->trace = NULL, ctx->passing = false;
    pleat_set_recording(ctx, recording);
    const char *wrong = NULL;
    if (y == NULL || y->ctx != ctx)
        wrong = "the function returned no tensor of its x's context";
    else if (is_drawn_from(ctx, &before))
        wrong = "the function draws random numbers, which would be the same in each run";
    else if (y->poison || p->failed)
        wrong = "the function failed";
    if (wrong == NULL) return y;
    pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "%s", wrong);
    return NULL;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

static size_t whole_lines(const room *r) { return (r->own.bytes + 63) / 64 * 64; }

/* The first place that no other room has at the same time; *end is behind it. Rooms are in the order of
 * their first steps. */
static bool place(const pleat_prepared *p, room *r, size_t *end) {
    if (__builtin_add_overflow(r->place, whole_lines(r), end)) return false;
    for (const room *o = p->rooms; o != r; o = o->next) {
        size_t o_end = o->place + whole_lines(o);
        if (o->leaf || o->last < r->first || o_end <= r->place || *end <= o->place) continue;
        r->place = o_end;
        return place(p, r, end);
    }
    return true;
}

/* Rooms that do not vary are there all the time. */
static bool place_rooms(pleat_prepared *p, size_t *bytes) {
    *bytes = 0;
    for (room *r = p->rooms; r != NULL; r = r->next) {
        size_t end;
        if (r->leaf) continue;
        if (!r->varies) r->first = 0, r->last = p->count;
        if (!place(p, r, &end)) return false;
        if (end > *bytes) *bytes = end;
    }
    return true;
}

static bool plan_memory(pleat_prepared *p) {
    size_t bytes;
    if (!place_rooms(p, &bytes) || (p->arena = pl_take(&p->ctx->memory, bytes)) == NULL) return false;
    for (room *r = p->rooms; r != NULL; r = r->next)
        if (!r->leaf) r->own.data = p->arena + r->place;
    for (value *v = p->values; v != NULL; v = v->next) {
        v->own.data = (char *)v->own.storage->data + (v->original->data - (char *)v->original->storage->data);
        if (room_of(v)->leaf) continue;
        pl_release(v->original);
        v->original = NULL;
    }
    return true;
}

/* ---- runs ------------------------------------------------------------------------------------------------ */

static bool run_steps(pleat_prepared *p, bool varies) {
    for (step *s = p->steps; s != NULL; s = s->next) {
        if (s->varies != varies || s->call.op->forward == NULL) continue;
        pl_packs_free(&p->ctx->memory, s->call.out->storage);
        if (!s->call.op->forward(&s->call))
            return pleat_call_fail(&s->call, PLEAT_ERR_ARGUMENT, "the op failed without giving a reason");
    }
    return true;
}

/* Look at the versions of all leaves, if anything was written. Elements whose pointer is out may have
 * changed at any time. */
static bool leaves_are_new(pleat_prepared *p) {
    size_t writes = __atomic_load_n(&p->origin->writes, __ATOMIC_RELAXED);
    bool any = false;
    if (writes == p->writes && !p->exposed) return false;
    p->writes = writes, p->exposed = false;
    for (room *r = p->rooms; r != NULL; r = r->next) {
        if (!r->leaf || (!r->original->exposed && r->own.version == r->original->version)) continue;
        pl_packs_free(&p->ctx->memory, &r->own);
        r->own.version = r->original->version, r->own.exposed = r->original->exposed;
        p->exposed = p->exposed || r->own.exposed;
        any = true;
    }
    return any;
}

static bool run_all(pleat_prepared *p) {
    pleat_scope scope =
        pleat_begin(p->ctx); /* for ops of the user's own whose forward functions make tensors */
    bool done = (!leaves_are_new(p) || run_steps(p, false)) && run_steps(p, true);
    pleat_end(scope);
    return done;
}

static pleat_status run(pleat_prepared *p, pleat_dtype dtype, const void *x, void *y) {
    if (p == NULL) return PLEAT_ERR_ARGUMENT;
    pleat_tensor *in = &p->x->own, *out = &p->y->own, to = *out;
    const char *name = in->dtype == PLEAT_F64 ? "f64" : "f32";
    pleat_clear_error(p->ctx);
    if (dtype != in->dtype) return pleat_fail(p->ctx, PLEAT_ERR_DTYPE, "run", "x is %s", name);
    if (y != NULL && dtype != out->dtype)
        return pleat_fail(p->ctx, PLEAT_ERR_DTYPE, "run",
                          "x is %s and y is not; pleat_prepared_result has it", name);
    if (x == NULL && in->numel > 0)
        return pleat_fail(p->ctx, PLEAT_ERR_ARGUMENT, "run", "x is a null pointer");
    if (in->numel > 0) memcpy(in->data, x, in->numel * pl_element(dtype));
    if (!run_all(p)) return p->ctx->error.code;
    to.data = y;
    pl_row_major(to.rank, to.shape, to.stride);
    if (y != NULL && out->numel > 0) pl_copy(&to, out);
    return PLEAT_OK;
}

pleat_status pleat_run_f32(pleat_prepared *p, const float *x, float *y) { return run(p, PLEAT_F32, x, y); }
pleat_status pleat_run_f64(pleat_prepared *p, const double *x, double *y) { return run(p, PLEAT_F64, x, y); }

const pleat_tensor *pleat_prepared_result(const pleat_prepared *p) {
    return p != NULL ? &p->y->own : pleat_poison(NULL);
}

/* ---- the calls ------------------------------------------------------------------------------------------- */

const pleat_call *pleat_prepared_call(const pleat_prepared *p, size_t i) {
    const step *s = p != NULL ? p->steps : NULL;
    for (; s != NULL; s = s->next)
        if (i-- == 0) return &s->call;
    return NULL;
}

const void *pleat_set_caller(pleat_ctx *ctx, const void *caller) {
    const void *before = ctx != NULL ? ctx->caller : NULL;
    if (ctx != NULL) ctx->caller = caller;
    return before;
}

const void *pleat_prepared_caller(const pleat_prepared *p, const pleat_call *c) {
    const step *s = p != NULL ? p->steps : NULL;
    while (s != NULL && &s->call != c) s = s->next;
    return s != NULL ? s->caller : NULL;
}

const pleat_tensor *pleat_prepared_x(const pleat_prepared *p) {
    return p != NULL ? &p->x->own : pleat_poison(NULL);
}

bool pleat_prepared_is_constant(const pleat_prepared *p, const pleat_tensor *t) {
    for (const room *r = p->rooms; r != NULL; r = r->next)
        if (&r->own == t->storage) return !r->varies;
    return false;
}

pleat_tensor *pleat_prepared_original(const pleat_prepared *p, const pleat_tensor *t) {
    for (const value *v = p->values; v != NULL; v = v->next)
        if (&v->own == t) return v->original;
    return NULL;
}

/* ---- making and freeing ---------------------------------------------------------------------------------- */

static void free_values(pleat_prepared *p) {
    pl_memory *m = &p->ctx->memory;
    for (value *v = p->values, *next; v != NULL; v = next) {
        next = v->next;
        if (v->original != NULL) pl_release(v->original);
        pl_give(m, v);
    }
    for (room *r = p->rooms, *next; r != NULL; r = next) {
        next = r->next;
        pl_packs_free(m, &r->own);
        pl_give(m, r);
    }
}

void pleat_prepared_free(pleat_prepared *p) {
    if (p == NULL) return;
    pleat_ctx *ctx = p->ctx;
    free_values(p);
    for (step *s = p->steps, *next; s != NULL; s = next) {
        next = s->next;
        pl_give(&ctx->memory, s);
    }
    pl_give(&ctx->memory, p->arena);
    pl_give(&ctx->memory, p);
    pleat_ctx_free(ctx);
}

/* Its context computes in the same way, from the same allocator. */
static pleat_prepared *prepared_new(pleat_ctx *origin, int threads) {
    const pl_memory *m = &origin->memory;
    pleat_ctx *ctx = pleat_ctx_new(.threads = threads != 0 ? threads : 1, .alloc = m->alloc, .free = m->free,
                                   .user = m->user);
    pleat_prepared *p = ctx != NULL ? pl_take(&ctx->memory, sizeof *p) : NULL;
    if (p == NULL) {
        pleat_ctx_free(ctx);
        return NULL;
    }
    ctx->path = origin->path;
    ctx->recording = ctx->debug = false;
    ctx->patience = 0;
    *p = (pleat_prepared){.ctx = ctx, .origin = origin};
    p->last_room = &p->rooms, p->last_step = &p->steps;
    return p;
}

/* A first run makes plans, packs and room for the others, and starts the threads. */
static bool run_first(pleat_prepared *p) {
    pleat_tensor *x = &p->x->own;
    pleat_clear_error(p->ctx);
    p->writes = p->origin->writes - 1; /* look at them all */
    if (x->numel > 0) memset(x->data, 0, x->numel * pl_element(x->dtype));
    leaves_are_new(p);
    bool done = run_steps(p, false) && run_all(p);
    if (!done) pleat_fail(p->origin, p->ctx->error.code, op, "the first run: %s", p->ctx->error.text);
    return done;
}

static bool prepare(pleat_prepared *p, const pleat_prepare_args *a) {
    pleat_scope scope = pleat_begin(p->origin);
    p->depth = scope.depth;
    pleat_tensor *y = scope.ctx != NULL ? trace(p, a) : NULL;
    bool planned = y != NULL && (p->y = value_of(p, y)) != NULL;
    if (planned) {
        room_of(p->y)->last = p->count;
        planned = pl_absorb_steps(p) && plan_memory(p);
        if (planned) pl_choose_layouts(p);
    }
    if (y != NULL && !planned)
        pleat_fail(p->origin, PLEAT_ERR_MEMORY, op, "no memory for what lies between x and y");
    pleat_end(scope);
    return planned && run_first(p);
}

pleat_prepared *pleat_prepare_with(pleat_prepare_args a) {
    if (a.ctx == NULL) return NULL;
    const char *wrong = a.f == NULL ? "the function is a null pointer" : NULL;
    if (a.ctx->trace != NULL) {
        a.ctx->trace->failed = true;
        wrong = "a function that is being prepared cannot prepare another";
    }
    if (wrong != NULL) return pleat_fail(a.ctx, PLEAT_ERR_ARGUMENT, op, "%s", wrong), NULL;
    pleat_prepared *p = prepared_new(a.ctx, a.threads);
    if (p == NULL) pleat_fail(a.ctx, PLEAT_ERR_MEMORY, op, "no memory for another context");
    if (p == NULL || prepare(p, &a)) return p;
    pleat_prepared_free(p);
    return NULL;
}

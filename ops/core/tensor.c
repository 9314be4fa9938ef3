/* Tensors: shape and strides over shared elements, reference counts, and input and output of data. */
#include "pleat.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/core.h"

size_t pl_element(pleat_dtype dtype) { return dtype == PLEAT_F64 ? sizeof(double) : sizeof(float); }

size_t pl_counts(pleat_dtype dtype) {
    uint64_t n = (uint64_t)1 << (dtype == PLEAT_F64 ? DBL_MANT_DIG : FLT_MANT_DIG);
    return n < SIZE_MAX ? (size_t)n : SIZE_MAX;
}

pl_text pl_shape_phrase(size_t rank, const size_t *shape) {
    pl_text t = {.text = "["};
    size_t used = 1;
    for (size_t i = 0; i < rank && i < PLEAT_MAX_RANK; i++) {
        const char *gap = i == 0 ? "" : ",";
        char *to = t.text + used;
        used += (size_t)(shape[i] == PLEAT_REST ? snprintf(to, sizeof t.text - used, "%srest", gap)
                                                : snprintf(to, sizeof t.text - used, "%s%zu", gap, shape[i]));
    }
    snprintf(t.text + used, sizeof t.text - used, "]");
    return t;
}

char *pleat_shape_text(const pleat_tensor *t, char *buffer, size_t bytes) {
    if (bytes > 0) snprintf(buffer, bytes, "%s", pleat_is_poison(t) ? "poison" : pl_shape_of(t).text);
    return buffer;
}

void pl_row_major(size_t rank, const size_t *shape, ptrdiff_t *stride) {
    size_t step = 1;
    for (size_t i = rank; i-- > 0;) {
        stride[i] = (ptrdiff_t)step;
        step *= shape[i] == 0 ? 1 : shape[i];
    }
}

bool pl_same_shape(const pleat_tensor *a, const pleat_tensor *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

/* ---- lifetime --------------------------------------------------------------------------------------------- */

/* Bytes of a shape. The product of the sizes other than 0 must not overflow, also if one of them is 0. */
static bool count_bytes(pleat_dtype dtype, size_t rank, const size_t *shape, size_t *bytes) {
    size_t all = pl_element(dtype), fits = all;
    for (size_t i = 0; i < rank; i++) {
        all *= shape[i];
        if (!pl_mul_ok(fits, shape[i] == 0 ? 1 : shape[i], &fits)) return false;
    }
    *bytes = all;
    return fits <= PTRDIFF_MAX / 2;
}

static bool shape_is_legal(pleat_ctx *ctx, const char *op, pleat_dtype dtype, size_t rank,
                           const size_t *shape, size_t *bytes) {
    if (rank > PLEAT_MAX_RANK) {
        pleat_fail(ctx, PLEAT_ERR_SHAPE, op, "rank %zu: a tensor has at most %d axes", rank, PLEAT_MAX_RANK);
    } else if (dtype != PLEAT_F32 && dtype != PLEAT_F64) {
        pleat_fail(ctx, PLEAT_ERR_DTYPE, op, "type %d: it must be PLEAT_F32 or PLEAT_F64", (int)dtype);
    } else if (rank > 0 && shape == NULL) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "rank %zu, but the shape is a null pointer", rank);
    } else if (!count_bytes(dtype, rank, shape, bytes)) {
        pleat_fail(ctx, PLEAT_ERR_SHAPE, op, "%s: the product of the sizes in bytes must be below 2^62",
                   pl_shape_phrase(rank, shape).text);
    } else {
        return true;
    }
    return false;
}

/* pleat_apply tells more of the tensors that an op makes. */
__attribute__((cold)) static void begin_story(pleat_tensor *t, const char *op) {
    t->story = (pl_story *)(void *)(t + 1);
    *t->story = (pl_story){.number = ++t->ctx->created};
    snprintf(t->story->made_by, sizeof t->story->made_by, "%s %s", op, pl_shape_of(t).text);
}

__attribute__((cold)) void pl_fail_dead(const pleat_tensor *t, const char *op, const char *what) {
    pleat_fail(t->ctx, PLEAT_ERR_ARGUMENT, op,
               "%s%sit was made by %s, as tensor number %llu of the context, and %s",
               what == NULL ? "" : what, what == NULL ? "" : " is dead: ", t->story->made_by,
               (unsigned long long)t->story->number,
               t->story->dropped ? "was given back by pleat_drop"
                                 : "its scope has ended; pleat_keep or pleat_hold keeps it");
}

/* A tensor in the innermost scope, still without storage. */
static pleat_tensor *tensor_shell(pleat_ctx *ctx, const char *op, pleat_dtype dtype, size_t rank,
                                  const size_t *shape) {
    pleat_tensor *t = pl_take(&ctx->memory, sizeof *t + (ctx->debug ? sizeof *t->story : 0));
    if (t == NULL) return NULL;
    *t = (pleat_tensor){.ctx = ctx, .dtype = dtype, .rank = rank, .refs = 1, .numel = 1};
    for (size_t i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        t->numel *= shape[i];
    }
    if (ctx->debug) begin_story(t, op);
    ctx->memory.info.tensors++;
    pl_list(t, ctx->open - 1);
    return t;
}

static pl_storage *storage_new(pl_memory *m, size_t bytes) {
    pl_storage *s = pl_take(m, sizeof *s);
    if (s == NULL) return NULL;
    *s = (pl_storage){.refs = 1, .bytes = bytes, .data = pl_take(m, bytes)};
    if (s->data != NULL) return s;
    pl_give(m, s);
    return NULL;
}

pleat_tensor *pl_tensor_new(pleat_ctx *ctx, const char *op, pleat_dtype dtype, size_t rank,
                            const size_t *shape) {
    size_t bytes = 0;
    if (ctx == NULL || !shape_is_legal(ctx, op, dtype, rank, shape, &bytes)) return pleat_poison(ctx);
    pl_storage *storage = storage_new(&ctx->memory, bytes);
    pleat_tensor *t = storage == NULL ? NULL : tensor_shell(ctx, op, dtype, rank, shape);
    if (t == NULL) {
        if (storage != NULL) {
            pl_give(&ctx->memory, storage->data);
            pl_give(&ctx->memory, storage);
        }
        pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory for a tensor %s of %zu bytes",
                   pl_shape_phrase(rank, shape).text, bytes);
        return pleat_poison(ctx);
    }
    t->storage = storage;
    t->data = storage->data;
    pl_row_major(rank, shape, t->stride);
    return t;
}

pleat_tensor *pl_tensor_view(pleat_tensor *base, const char *op, size_t rank, const size_t *shape,
                             const ptrdiff_t *stride, ptrdiff_t offset) {
    size_t bytes = 0; /* a broadcast view may have more elements than its base */
    if (!shape_is_legal(base->ctx, op, base->dtype, rank, shape, &bytes)) return pleat_poison(base->ctx);
    pleat_tensor *t = tensor_shell(base->ctx, op, base->dtype, rank, shape);
    if (t == NULL) {
        pleat_fail(base->ctx, PLEAT_ERR_MEMORY, op, "no memory for a view %s",
                   pl_shape_phrase(rank, shape).text);
        return pleat_poison(base->ctx);
    }
    t->storage = base->storage;
    t->storage->refs++;
    t->data = base->data + offset * (ptrdiff_t)pl_element(base->dtype);
    for (size_t i = 0; i < rank; i++) t->stride[i] = stride[i];
    return t;
}

pleat_tensor *pl_retain(pleat_tensor *t) {
    if (!t->poison) t->refs++;
    return t;
}

/* To everybody who comes back to it, a dead tensor is poison that has a story. */
__attribute__((cold)) static void bury(pleat_tensor *t) {
    pleat_ctx *ctx = t->ctx;
    *t = (pleat_tensor){.ctx = ctx,
                        .dtype = t->dtype,
                        .poison = true,
                        .dead = true,
                        .numel = 1,
                        .refs = 1,
                        .list = PL_NOWHERE};
    t->story = (pl_story *)(void *)(t + 1);
    pl_bury_handle(&ctx->memory, t);
}

/* Free t, and prepend the inputs that only t referenced to `rest`. */
static pleat_tensor *free_one(pleat_tensor *t, pleat_tensor *rest) {
    pl_memory *m = &t->ctx->memory;
    for (size_t i = 0; t->call != NULL && i < t->call->n; i++) {
        pleat_tensor *in = t->call->in[i];
        if (--in->refs > 0) continue;
        in->next = rest;
        rest = in;
    }
    pl_give(m, t->call);
    if (--t->storage->refs == 0) {
        pl_packs_free(m, t->storage);
        (t->story != NULL ? pl_bury_elements : pl_give)(m, t->storage->data);
        pl_give(m, t->storage);
    }
    m->info.tensors--;
    if (t->story == NULL)
        pl_give(m, t);
    else
        bury(t);
    return rest;
}

void pl_release(pleat_tensor *t) {
    if (t->poison || --t->refs > 0) return;
    /* a list in place of recursion: a history may be a million calls deep */
    t->next = NULL;
    while (t != NULL) t = free_one(t, t->next);
}

void pl_consume(pleat_tensor *t) {
    pleat_call *call = t->call;
    t->call = NULL;
    t->consumed = true;
    for (size_t i = 0; i < call->n; i++) pl_release(call->in[i]);
    pl_give(&t->ctx->memory, call);
}

/* ---- creation ------------------------------------------------------------------------------------------- */

static void fill(pleat_tensor *t, double value) {
    if (t->poison) return;
    if (t->dtype == PLEAT_F64) {
        for (size_t i = 0; i < t->numel; i++) ((double *)t->data)[i] = value;
    } else {
        for (size_t i = 0; i < t->numel; i++) ((float *)t->data)[i] = (float)value;
    }
}

pleat_tensor *pleat_empty(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape) {
    return pl_tensor_new(ctx, "empty", dtype, rank, shape);
}

pleat_tensor *pleat_zeros(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape) {
    pleat_tensor *t = pl_tensor_new(ctx, "zeros", dtype, rank, shape);
    if (!t->poison) memset(t->data, 0, t->numel * pl_element(dtype));
    return t;
}

pleat_tensor *pleat_full(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape, double value) {
    pleat_tensor *t = pl_tensor_new(ctx, "full", dtype, rank, shape);
    fill(t, value);
    return t;
}

pleat_tensor *pleat_zeros_like(const pleat_tensor *t) {
    if (pleat_is_poison(t)) return pleat_poison(pleat_ctx_of(t));
    return pleat_zeros(t->ctx, t->dtype, t->rank, t->shape);
}

pleat_tensor *pleat_full_like(const pleat_tensor *t, double value) {
    if (pleat_is_poison(t)) return pleat_poison(pleat_ctx_of(t));
    return pleat_full(t->ctx, t->dtype, t->rank, t->shape, value);
}

static pleat_tensor *no_data(pleat_tensor *t, const char *op) {
    pleat_ctx *ctx = t->ctx;
    pleat_drop(t);
    pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "the data is a null pointer");
    return pleat_poison(ctx);
}

pleat_tensor *pleat_from(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape,
                         const void *data) {
    pleat_tensor *t = pl_tensor_new(ctx, "from", dtype, rank, shape);
    if (t->poison || t->numel == 0) return t;
    if (data == NULL) return no_data(t, "from");
    memcpy(t->data, data, t->numel * pl_element(dtype));
    return t;
}

pleat_tensor *pleat_from_f64(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape,
                             const double *data) {
    if (dtype == PLEAT_F64) return pleat_from(ctx, dtype, rank, shape, data);
    pleat_tensor *t = pl_tensor_new(ctx, "from_f64", dtype, rank, shape);
    if (t->poison || t->numel == 0) return t;
    if (data == NULL) return no_data(t, "from_f64");
    for (size_t i = 0; i < t->numel; i++) ((float *)t->data)[i] = (float)data[i];
    return t;
}

/* ---- queries ------------------------------------------------------------------------------------------- */

/* t, or the poison that belongs to no context for a null pointer. A dead t is reported. */
static const pleat_tensor *known(const pleat_tensor *t) {
    if (t == NULL) return pleat_poison(NULL);
    if (t->dead) pl_fail_dead(t, "dead tensor", NULL);
    return t;
}

pleat_ctx *pleat_ctx_of(const pleat_tensor *t) { return known(t)->ctx; }
pleat_dtype pleat_dtype_of(const pleat_tensor *t) { return known(t)->dtype; }
size_t pleat_rank(const pleat_tensor *t) { return known(t)->rank; }
const size_t *pleat_shape(const pleat_tensor *t) { return known(t)->shape; }
size_t pleat_size(const pleat_tensor *t, size_t axis) { return axis < known(t)->rank ? t->shape[axis] : 0; }
size_t pleat_numel(const pleat_tensor *t) { return known(t)->numel; }
bool pleat_is_poison(const pleat_tensor *t) { return known(t)->poison; }

bool pl_unreadable(const pleat_tensor *t, const char *op) {
    if (t != NULL && t->dead) pl_fail_dead(t, op, "the tensor");
    if (pl_is_poison(t)) return true;
    return t->ctx->trace != NULL && pl_trace_hides(t, op);
}

bool pleat_is_contiguous(const pleat_tensor *t) {
    if (pleat_is_poison(t)) return false;
    ptrdiff_t step = 1;
    for (size_t i = t->rank; i-- > 0;) {
        if (t->shape[i] != 1 && t->stride[i] != step) return t->numel == 0;
        step *= (ptrdiff_t)t->shape[i];
    }
    return true;
}

static const void *data_as(const pleat_tensor *t, pleat_dtype dtype, const char *op) {
    if (t == NULL) return NULL;
    if (pl_unreadable(t, op)) {
        pleat_fail(t->ctx, PLEAT_ERR_ARGUMENT, op, "the tensor is poison");
    } else if (t->dtype != dtype) {
        pleat_fail(t->ctx, PLEAT_ERR_DTYPE, op, "the tensor's type is %s",
                   t->dtype == PLEAT_F32 ? "f32" : "f64");
    } else if (!pleat_is_contiguous(t)) {
        pleat_fail(t->ctx, PLEAT_ERR_ARGUMENT, op, "%s is a view with gaps; take pleat_contiguous of it",
                   pl_shape_of(t).text);
    } else {
        return t->data;
    }
    return NULL;
}

const float *pleat_const_f32(const pleat_tensor *t) { return data_as(t, PLEAT_F32, "const_f32"); }
const double *pleat_const_f64(const pleat_tensor *t) { return data_as(t, PLEAT_F64, "const_f64"); }

void pl_wrote(pleat_tensor *t, const char *by) {
    t->storage->version++;
    __atomic_fetch_add(&t->ctx->writes, 1, __ATOMIC_RELAXED);
    t->storage->writer = by;
    if (t->ctx->trace != NULL) pl_trace_write(t, by);
    pl_packs_free(&t->ctx->memory, t->storage);
}

/* The pointer may be kept, and nobody sees what is written by it later. */
static void *writable(pleat_tensor *t, pleat_dtype dtype, const char *op) {
    if (data_as(t, dtype, op) == NULL) return NULL;
    pl_wrote(t, "a pointer of pleat_f32 or pleat_f64");
    t->storage->exposed = true;
    return t->data;
}

float *pleat_f32(pleat_tensor *t) { return writable(t, PLEAT_F32, "f32"); }
double *pleat_f64(pleat_tensor *t) { return writable(t, PLEAT_F64, "f64"); }

void *pleat_write_now(pleat_tensor *t, const char *by) {
    if (t == NULL || data_as(t, t->dtype, "write_now") == NULL) return NULL;
    pl_wrote(t, by);
    return t->data;
}

double pleat_item(const pleat_tensor *t) {
    if (pl_unreadable(t, "item")) return NAN;
    if (t->numel != 1) {
        pleat_fail(t->ctx, PLEAT_ERR_SHAPE, "item", "%s has %zu elements; item wants exactly one",
                   pl_shape_of(t).text, t->numel);
        return NAN;
    }
    return pl_element_at(t, 0);
}

double pleat_at(const pleat_tensor *t, const size_t *index) {
    if (pl_unreadable(t, "at")) return NAN;
    ptrdiff_t offset = 0;
    for (size_t i = 0; i < t->rank; i++) {
        if (index[i] >= t->shape[i]) {
            pleat_fail(t->ctx, PLEAT_ERR_SHAPE, "at", "%s: index %zu on axis %zu is outside",
                       pl_shape_of(t).text, index[i], i);
            return NAN;
        }
        offset += (ptrdiff_t)index[i] * t->stride[i];
    }
    return pl_element_at(t, offset);
}

void pleat_read_f64(const pleat_tensor *t, double *out) {
    if (pl_unreadable(t, "read_f64")) {
        out[0] = NAN;
        return;
    }
    size_t index[PLEAT_MAX_RANK] = {0};
    ptrdiff_t offset = 0;
    for (size_t i = 0; i < t->numel; i++) {
        out[i] = pl_element_at(t, offset);
        for (size_t k = t->rank; k-- > 0;) {
            offset += t->stride[k];
            if (++index[k] < t->shape[k]) break;
            offset -= (ptrdiff_t)t->shape[k] * t->stride[k];
            index[k] = 0;
        }
    }
}

/* ---- copying ------------------------------------------------------------------------------------------ */

pleat_tensor *pl_dense(pleat_tensor *t) {
    if (t->poison || pleat_is_contiguous(t)) return pl_retain(t);
    pleat_tensor *copy = pl_tensor_new(t->ctx, "contiguous", t->dtype, t->rank, t->shape);
    if (copy->poison) return copy;
    pl_copy(copy, t);
    pl_unlist(copy);
    return copy;
}

pleat_status pleat_assign(pleat_tensor *dst, const pleat_tensor *src) {
    if (pl_unreadable(dst, "assign") || pl_unreadable(src, "assign")) {
        pleat_ctx *ctx = pleat_ctx_of(dst) != NULL ? pleat_ctx_of(dst) : pleat_ctx_of(src);
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "assign", "one of the tensors is poison");
    }
    if (!pl_same_shape(dst, src)) {
        return pleat_fail(dst->ctx, PLEAT_ERR_SHAPE, "assign", "%s and %s: the shapes must be the same",
                          pl_shape_of(dst).text, pl_shape_of(src).text);
    }
    for (size_t k = 0; k < dst->rank; k++) {
        if (dst->stride[k] != 0 || dst->shape[k] < 2) continue;
        return pleat_fail(dst->ctx, PLEAT_ERR_ARGUMENT, "assign",
                          "%s is broadcast along axis %zu, where its elements are one and the same",
                          pl_shape_of(dst).text, k);
    }
    pl_wrote(dst, "pleat_assign");
    if (dst->storage != src->storage) {
        pl_copy(dst, (pleat_tensor *)src);
        return PLEAT_OK;
    }
    pleat_tensor *copy = pl_tensor_new(src->ctx, "assign", src->dtype, src->rank, src->shape);
    if (copy->poison) return PLEAT_ERR_MEMORY;
    pl_copy(copy, (pleat_tensor *)src);
    pl_copy(dst, copy);
    pleat_drop(copy);
    return PLEAT_OK;
}

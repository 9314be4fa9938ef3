/* core.h: the data structures and helpers of ops/ that are not public. */
#ifndef PL_CORE_H
#define PL_CORE_H

#include "kernels/pleat_kernels.h"
#include "pleat.h"

/* ---- memory: blocks that the context recycles --------------------------------------------------------- */

/* The number of size classes: four per power of two, from 64 bytes. */
#define PL_CLASSES 172

typedef struct pl_block pl_block;
typedef struct pl_chunk pl_chunk;

/* Debug mode: blocks of tensors that have died, oldest first. They are not used again until others have
 * followed them, so a use of them is noticed. */
typedef struct pl_grave {
    pl_block *first, *last;
    size_t bytes;
} pl_grave;

typedef struct pl_memory {
    void *(*alloc)(void *user, size_t bytes);
    void (*free)(void *user, void *block);
    void *user;
    pl_block *waiting[PL_CLASSES];
    pl_chunk *chunks;           /* in the order of their making */
    pl_grave elements, handles; /* empty unless the context has .debug */
    pleat_memory_info info;
} pl_memory;

/* A block of at least `bytes`, aligned to 64, uninitialised; NULL, without a report, if memory is short. */
void *pl_take(pl_memory *m, size_t bytes);
void pl_give(pl_memory *m, void *block); /* NULL is allowed */
void pl_memory_trim(pl_memory *m);
/* In place of pl_give: the block is kept in the grave. Elements are overwritten with NaN and fenced off from
 * ASan's and valgrind's point of view, handles stay as they are. */
void pl_bury_elements(pl_memory *m, void *block);
void pl_bury_handle(pl_memory *m, void *block);
/* All blocks of a grave become free for reuse. */
void pl_exhume(pl_memory *m, pl_grave *g);

/* a * b into *out; false on overflow. */
static inline bool pl_mul_ok(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }

/* ---- tensors ------------------------------------------------------------------------------------------ */

typedef struct pl_pack pl_pack;

/* The elements of a tensor, shared with its views. */
typedef struct pl_storage {
    size_t refs;
    size_t bytes;
    void *data;
    uint64_t
        version; /* grows with each write in place, and with each pointer that is given out to write by */
    const char *writer; /* who wrote last, "pleat_assign" */
    bool blocked;       /* in blocks of channels, within a prepared function (core/layouts.c) */
    bool exposed;       /* a user may hold a pointer to write by, for as long as the storage lives */
    pl_pack *packs;     /* copies in another order (core/packs.c), */
    size_t
        reads; /* and how often one was wished for since the last write, where it costs more than it saves once */
} pl_storage;

/* Note a write in place, before it begins: packs are gone. `by` lives as long as t. */
void pl_wrote(pleat_tensor *t, const char *by);

/* The list of a tensor: the index of a scope on the stack, or one of these. */
enum { PL_HELD = 0, PL_ROOT = 1 };
#define PL_NOWHERE SIZE_MAX

/* Debug mode: what a dead tensor tells; behind the tensor in its block. */
typedef struct pl_story {
    uint64_t number;   /* of the tensor, in order of creation from 1 */
    bool dropped;      /* it died by pleat_drop, not by the end of a scope */
    char made_by[240]; /* "conv2d([2,3,5,4], [4,3,3,2])" */
} pl_story;

struct pleat_tensor {
    pleat_ctx *ctx;
    pl_storage *storage;
    char *data; /* the first element */
    pleat_dtype dtype;
    bool poison; /* or dead, in debug mode */
    bool dead;
    bool unrecorded; /* an op computed it while recording was off */
    bool consumed;   /* a walk has given back the call that computed it */
    size_t rank, numel;
    size_t shape[PLEAT_MAX_RANK];
    ptrdiff_t stride[PLEAT_MAX_RANK]; /* in elements */

    pl_story *story;  /* NULL without .debug */
    pleat_call *call; /* the op call that computed it; NULL for a leaf */
    /* one for its list, for each recorded call that reads it, and for a running gradient walk */
    size_t refs;

    size_t list; /* PL_HELD, PL_ROOT, a scope, or PL_NOWHERE */
    pleat_tensor *previous, *next;

    uint64_t mark; /* the latest gradient walk that reached it, */
    size_t slot;   /* and its index in that walk */
};

size_t pl_element(pleat_dtype dtype); /* bytes */
/* How many whole numbers, from 0 on, the type tells apart; or SIZE_MAX, if size_t cannot count as far. */
size_t pl_counts(pleat_dtype dtype);

/* A new tensor, uninitialised, row-major, in the innermost scope; poison if the shape is too large or memory
 * is short. */
pleat_tensor *pl_tensor_new(pleat_ctx *ctx, const char *op, pleat_dtype dtype, size_t rank,
                            const size_t *shape);
/* A new tensor in the innermost scope that shares the elements of `base`. */
pleat_tensor *pl_tensor_view(pleat_tensor *base, const char *op, size_t rank, const size_t *shape,
                             const ptrdiff_t *stride, ptrdiff_t offset);

/* Report that t is dead, and its story; `what` it is to op, or NULL. */
void pl_fail_dead(const pleat_tensor *t, const char *op, const char *what);

/* pleat_is_poison; a dead t is reported under the name of op. */
bool pl_unreadable(const pleat_tensor *t, const char *op);

/* pleat_is_poison and pleat_rank of a t that pleat_apply will check: a dead tensor is not reported yet. */
static inline bool pl_is_poison(const pleat_tensor *t) { return t == NULL || t->poison; }
static inline size_t pl_rank(const pleat_tensor *t) { return t == NULL ? 0 : t->rank; }

pleat_tensor *pl_retain(pleat_tensor *t);
void pl_release(pleat_tensor *t); /* the last reference frees t and all tensors that only t referenced */
/* Give back the call that computed t, and all tensors that only the call referenced. */
void pl_consume(pleat_tensor *t);

/* Put t on a list, which takes over one of the caller's references, or remove it from its list. */
void pl_list(pleat_tensor *t, size_t list);
void pl_unlist(pleat_tensor *t);

/* t itself if it is row-major, else a copy outside of the recorded history; both retained. Poison if memory
 * is short. */
pleat_tensor *pl_dense(pleat_tensor *t);

void pl_row_major(size_t rank, const size_t *shape, ptrdiff_t *stride);
bool pl_same_shape(const pleat_tensor *a, const pleat_tensor *b);

/* Axis k counted from the last axis: size (1 if there is none) and stride (0 where the size is 1). */
static inline size_t pl_size_from_end(const pleat_tensor *t, size_t k) {
    return k < t->rank ? t->shape[t->rank - 1 - k] : 1;
}
static inline ptrdiff_t pl_stride_from_end(const pleat_tensor *t, size_t k) {
    return k < t->rank && t->shape[t->rank - 1 - k] != 1 ? t->stride[t->rank - 1 - k] : 0;
}

/* The element `offset` elements from the first. */
static inline double pl_element_at(const pleat_tensor *t, ptrdiff_t offset) {
    return t->dtype == PLEAT_F64 ? ((const double *)(const void *)t->data)[offset]
                                 : (double)((const float *)(const void *)t->data)[offset];
}

/* A shape as text: "[2,3]". */
typedef struct pl_text {
    char text[PLEAT_MAX_RANK * 21 + 3];
} pl_text;
pl_text pl_shape_phrase(size_t rank, const size_t *shape);
static inline pl_text pl_shape_of(const pleat_tensor *t) { return pl_shape_phrase(t->rank, t->shape); }

/* v with `digits` significant digits and a decimal point in every locale. printf uses the locale's decimal
 * point, so no other function of ops/ passes a floating number to it. */
typedef struct pl_digits {
    char text[32];
} pl_digits;
pl_digits pl_number(double v, int digits);
/* The same by another of printf's conversions, 'e' or 'f', with `digits` behind the point; and how many
 * significant digits tell v from every other number of the type. */
pl_digits pl_number_as(char how, double v, int digits);
int pl_shortest(double v, pleat_dtype dtype);

/* ---- context ------------------------------------------------------------------------------------------ */

typedef struct pl_scope {
    pleat_tensor *first;
    uint64_t serial;
} pl_scope;

/* Plans of convolutions: each at the hash of its shape, or at the next free entry after it. */
enum { PL_PLAN_ROOM = 1024, PL_MOST_PLANS = PL_PLAN_ROOM / 4 * 3 };

typedef struct pl_plan_entry {
    pleat_conv_plan *plan;
    pleat_conv_op op;
    pleat_dtype dtype;
} pl_plan_entry;

typedef struct pl_plans {
    size_t count, generation; /* generation: how often all have been freed */
    pl_plan_entry entry[PL_PLAN_ROOM];
} pl_plans;

struct pleat_ctx {
    pl_memory memory;
    int threads; /* requested */
    pleat_pool *pool;
    pleat_path path; /* forced by the environment */
    pl_plans plans;  /* of convolutions */
    bool recording, debug;
    bool passing;     /* what is read now is not read again: packs do not pay */
    size_t patience;  /* so many reads pay for a pack that is not needed */
    uint64_t created; /* tensors so far; counted in debug mode only */
    size_t writes;    /* in place, so far; other threads look at it (core/prepare.c) */
    pleat_rng rng;
    pleat_error_info error;
    pleat_tensor poison;

    pl_scope *scopes; /* [held, root, user's scopes ...] */
    size_t open, capacity;
    uint64_t serial;        /* of the latest scope */
    uint64_t walks;         /* gradient walks so far */
    const pleat_call *rule; /* the call whose gradient rule is running */
    pleat_prepared *trace;  /* of the function that is being prepared, which takes down each call; or NULL */
    const void *caller;     /* who applies calls, for those who ask */
    struct pl_lockstep *lockstep; /* that runs, or NULL */
    /* A tensor, retained, that the rule of one input has left to those of the call's other inputs; or NULL. */
    pleat_tensor *shared;
};

/* The plan for a legal shape, valid until the next call; NULL without memory. */
const pleat_conv_plan *pl_conv_plan(pleat_ctx *ctx, const pleat_conv_shape *g, pleat_conv_op op,
                                    pleat_dtype dtype);
void pl_plans_free(pl_plans *plans);

/* Which copy: who reads it, a plan or an engine; what else its order depends on; and the place of its first
 * element in the storage. */
typedef struct pl_pack_key {
    const void *reader;
    size_t sizes[3];
    ptrdiff_t offset;
} pl_pack_key;

/* The header of a pack, before its bytes; it keeps their alignment. */
struct pl_pack {
    _Alignas(64) pl_pack_key key;
    pl_pack *next;
};

/* Bytes that belong to t's elements until these are written or die; they begin at a multiple of 64. The
 * caller fills them where *fresh becomes true. NULL: a pack would not pay, or would not be safe, or memory
 * is short; the caller does without. */
void *pl_pack_of(pleat_tensor *t, const void *reader, const size_t sizes[3], size_t bytes, bool *fresh);
/* The same, from the context's patience-th wish on. */
void *pl_pack_at_last(pleat_tensor *t, const void *reader, const size_t sizes[3], size_t bytes, bool *fresh);
void pl_packs_free(pl_memory *m, pl_storage *s);

/* ---- ops ---------------------------------------------------------------------------------------------- */

/* Attributes may hold any type, so they are aligned to the largest alignment. */
static inline size_t pl_up_to_16(size_t bytes) { return (bytes + 15) / 16 * 16; }

/* The versions of the storage of each input of a recorded call, and at [n] of its result. */
static inline uint64_t *pl_versions(const pleat_call *c) {
    return (uint64_t *)(void *)((char *)c->in + pl_up_to_16(c->n * sizeof *c->in));
}

/* Were elements of t written since the call was recorded whose gradient rule is running? Report it; false. */
bool pl_is_stale(const pleat_tensor *t);
bool pl_fail_stale(const pleat_tensor *t);

/* The shape rules of two broadcast operands, and of an op whose result has the shape of its first input. */
bool pl_shape_broadcast(pleat_call *c);
bool pl_shape_same(pleat_call *c);

/* Report an error about x; the line is x's shape, then `format` as printf formats it. Returns poison. */
pleat_tensor *pl_reject(const pleat_tensor *x, const char *op, pleat_status code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Apply an op of two tensors without attrs. */
pleat_tensor *pl_apply_two(const pleat_op *op, pleat_tensor *x, pleat_tensor *y);

/* Report that the argument `what` of an op is a null pointer; poison. */
pleat_tensor *pl_null(const pleat_tensor *x, const char *op, const char *what);

/* What steps of a prepared function may ask of the library's own ops. */
typedef struct pl_traits {
    /* May the tensors of c be blocked as their storages say? NULL: no. */
    bool (*takes_blocked)(const pleat_call *c);
    /* Make c compute what `next` makes of its result, in one pass: c's attrs may be changed, and its inputs have room
     * for four more. False: c is as it was. NULL: never. */
    bool (*absorbs)(pleat_call *c, const pleat_call *next);
} pl_traits;

/* Of an op without traits, and of one that is element-wise. */
extern const pl_traits pl_own, pl_element_wise;

/* takes_blocked of an op that is element-wise: all tensors have one shape and one order, but for single
 * numbers. */
bool pl_alike_blocked(const pleat_call *c);

/* The gradient rule of a piecewise constant op: zero for every input. */
pleat_tensor *pl_zero_vjp(const pleat_call *c, size_t i, pleat_tensor *g);

/* Attributes: n whole numbers, as they are or cast from ptrdiff_t; n reals; the axes of a set
 * (PLEAT_AXES). */
pleat_attr pl_attr_whole(const char *name, size_t n, const size_t *values, bool usual);
pleat_attr pl_attr_real(const char *name, size_t n, const double *values);
pleat_attr pl_attr_axes(const char *name, unsigned axes);
static inline pleat_attr pl_attr_flag(const char *name, bool on) {
    return pl_attr_whole(name, 1, (size_t[]){on}, !on);
}
/* The attributes of an op whose attrs are one size_t, "axis", or one double, "a". */
size_t pl_axis_attributes(const pleat_call *c, pleat_attr *out);
size_t pl_a_attributes(const pleat_call *c, pleat_attr *out);

/* Four pads from the options pad and pads, of which one at most may be given. False after an error of
 * `op`. */
bool pl_pads(pleat_ctx *ctx, const char *op, const ptrdiff_t pad[2], const ptrdiff_t pads[4],
             ptrdiff_t out[4]);

/* Set the shape of c's result. */
void pl_call_shape(pleat_call *c, size_t rank, const size_t *shape);

/* While a function is being prepared (core/prepare.c): take down a call that is done; false after an error.
 * Report whoever looks at elements that each run will have anew, and true; and whoever writes what a run
 * will not write. */
bool pl_trace_call(const pleat_call *c, size_t attrs_bytes);
bool pl_trace_hides(const pleat_tensor *t, const char *by);
void pl_trace_write(const pleat_tensor *t, const char *by);

/* ---- element by element ------------------------------------------------------------------------------- */

#define PL_JOIN_(a, b) a##b
#define PL_JOIN(a, b) PL_JOIN_(a, b)

/* A loop over n elements: p[0] is written, p[1].. are read; s[] are their strides in elements. */
typedef void (*pl_loop)(size_t n, void *const p[], const ptrdiff_t s[], const void *attrs);
/* One expression compiled for both types (core/map1.inc, core/map2.inc). */
typedef struct pl_map {
    pl_loop f32, f64;
} pl_map;

/* y = map(x[0], .., x[n-1]) for n of 1 or 2, each x broadcast to y's shape. y overlaps with no x. */
void pl_each(const pl_map *map, pleat_tensor *y, size_t n, pleat_tensor *const *x, const void *attrs);

/* Copy src to dst of the same shape, converting the type. They do not overlap. */
void pl_copy(pleat_tensor *dst, pleat_tensor *src);

/* The context's thread pool if `work` elementary operations are enough to pay for it, otherwise NULL. The
 * threads start at the first such call. */
pleat_pool *pl_pool_for(pleat_ctx *ctx, double work);

/* The most threads that this pool can have, whether they are awake or not: room for each is taken by this number, so that
 * a warm step asks for the same blocks as the step before it. */
int pl_most_threads(const pleat_ctx *ctx, double work);

#endif

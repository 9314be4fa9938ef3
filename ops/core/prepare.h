/* prepare.h: a prepared function as it is kept. Private to prepare.c and layouts.c. */
#ifndef PL_PREPARE_H
#define PL_PREPARE_H

#include "core/core.h"

/* The storage of values. A leaf is one of the first context, whose elements are read where they are; the
 * others have a place. */
typedef struct room {
    pl_storage own;
    const pl_storage *original;
    bool leaf, varies;
    size_t first, last; /* the steps that write it, and read it last */
    size_t place;       /* in the arena */
    struct room *next;
} room;

typedef struct value {
    pleat_tensor own;
    pleat_tensor *original; /* retained; of a result only while the function is being prepared */
    struct value *next;
} value;

typedef struct step {
    pleat_call call;    /* of values */
    const void *caller; /* who applied it */
    size_t attrs_bytes;
    bool varies;
    struct step *next;
} step;

struct pleat_prepared {
    pleat_ctx *ctx, *origin; /* its own; the first */
    room *rooms, **last_room;
    value *values, *x, *y;
    step *steps, **last_step;
    size_t count;  /* of steps */
    size_t depth;  /* of the function's scope: what is made there is its own */
    size_t writes; /* of the first context when the leaves were looked at */
    bool exposed;  /* a pointer to a leaf's elements is out */
    char *arena;
    bool failed; /* the function did what a run would not */
};

static inline room *room_of(const value *v) { return (room *)v->own.storage; }

/* A step like c, with room for so many inputs, which are not set; NULL without memory. */
step *pl_step_new(pleat_prepared *p, const pleat_call *c, size_t inputs, size_t attrs_bytes);

/* Steps that compute what the only reader of their results makes of them (absorb.c). False without memory. */
bool pl_absorb_steps(pleat_prepared *p);

/* Which rooms hold blocked tensors (layouts.c). */
void pl_choose_layouts(pleat_prepared *p);

#endif

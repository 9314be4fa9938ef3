/* Steps that absorb others. Where a step alone reads what the step before it makes, as a norm or a rectifier behind a convolution, and
 * that one can compute both in a pass, the two become one, and the tensor between them is never stored. Law: the bits of the result do not
 * depend on it. What the second reads beside must not vary, since it is read earlier. */
#include <string.h>

#include "core/prepare.h"

/* The step that alone reads the result of s, as its first input; NULL: there is none, or what it reads beside varies. A view is a step, too,
 * and reads what it shows. */
static step *only_reader(const pleat_prepared *p, const step *s) {
    step *reader = NULL;
    if (s->call.out->storage == p->y->own.storage) return NULL;
    for (step *next = s->next; next != NULL; next = next->next)
        for (size_t i = 0; i < next->call.n; i++) {
            if (next->call.in[i] != s->call.out) continue;
            if (reader != NULL || i > 0) return NULL;
            reader = next;
        }
    for (size_t i = 1; reader != NULL && i < reader->call.n; i++)
        if (((const room *)reader->call.in[i]->storage)->varies) return NULL;
    return reader;
}

/* s and its reader in one; *out is NULL if s does not absorb it. False without memory. */
static bool joined(pleat_prepared *p, const step *s, const step *reader, step **out) {
    bool (*absorbs)(pleat_call *, const pleat_call *) = s->call.op->traits->absorbs;
    step *both = *out = pl_step_new(p, &s->call, s->call.n + 4, s->attrs_bytes);
    if (both == NULL) return false;
    memcpy(both->call.in, s->call.in, s->call.n * sizeof *s->call.in);
    if (reader->call.n <= 5 && absorbs(&both->call, &reader->call)) {
        both->call.out = reader->call.out;
        both->caller = s->caller, both->varies = s->varies, both->next = s->next;
    } else {
        pl_give(&p->ctx->memory, both);
        *out = NULL;
    }
    return true;
}

/* The tensor between them takes no memory, and the result is there as early as it was. */
static void move_rooms(const step *s, const step *reader) {
    room *between = (room *)s->call.out->storage, *result = (room *)reader->call.out->storage;
    result->first = between->first;
    between->own.bytes = 0, between->varies = false;
}

static void unlink_step(pleat_prepared *p, step **at, step *s) {
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    if (s->next == NULL) p->last_step = at;
    pl_give(&p->ctx->memory, s);
}

bool pl_absorb_steps(pleat_prepared *p) {
    for (step **at = &p->steps; *at != NULL;) {
        step *s = *at, *both = NULL;
        const pl_traits *traits = s->call.op->traits;
        step *reader = s->varies && traits != NULL && traits->absorbs != NULL ? only_reader(p, s) : NULL;
        bool known = reader != NULL && reader->call.op->traits != NULL && reader->call.op->forward != NULL;
        if (known && !joined(p, s, reader, &both)) return false;
        if (both == NULL) {
            at = &s->next;
            continue;
        }
        move_rooms(s, reader);
        *at = both; /* which may absorb another */
        pl_give(&p->ctx->memory, s);
        unlink_step(p, &both->next, reader);
    }
    return true;
}

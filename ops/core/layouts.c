/* Layouts that stay. Between the steps of a prepared function a tensor [N,C,H,W] may lie in blocks of
 * channels, row-major as [N,C/V,H,W,V] with V channels in 64 bytes: so engines read and write whole vectors,
 * and neither pack nor turn. Nobody sees it: what enters and leaves the function is row-major. Law: the bits
 * of the result do not depend on it.
 *
 * A tensor stays blocked if each step that writes or reads it can do with that. All that might be blocked are
 * supposed to be at first; a step that refuses makes its own row-major, until no step refuses. */
#include "core/prepare.h"
#include "kernels/sizes.h"

static bool can_be_blocked(const pleat_tensor *t) {
    ptrdiff_t stride[PLEAT_MAX_RANK];
    if (t->rank != 4 || t->numel == 0 || t->shape[1] % (LINE / pl_element(t->dtype)) != 0) return false;
    pl_row_major(t->rank, t->shape, stride);
    for (size_t k = 0; k < t->rank; k++)
        if (t->shape[k] != 1 && t->stride[k] != stride[k]) return false;
    return t->data == t->storage->data;
}

/* All its values are the same tensor, which a step makes from x, and nobody else looks at. */
static bool is_candidate(const pleat_prepared *p, const room *r) {
    const pleat_tensor *first = NULL;
    if (r->leaf || !r->varies || r == room_of(p->x) || r == room_of(p->y)) return false;
    for (const value *v = p->values; v != NULL; v = v->next) {
        if (room_of(v) != r) continue;
        if (!can_be_blocked(&v->own) || (first != NULL && !pl_same_shape(first, &v->own))) return false;
        first = &v->own;
    }
    return true;
}

static pl_storage *storage_of(const pleat_call *c, size_t i) {
    return (i < c->n ? c->in[i] : c->out)->storage;
}

static bool has_blocked(const pleat_call *c) {
    for (size_t i = 0; i <= c->n; i++)
        if (storage_of(c, i)->blocked) return true;
    return false;
}

/* Are all steps content? If not, the tensors of those that are not have become row-major. */
static bool settle(pleat_prepared *p) {
    bool settled = true;
    for (step *s = p->steps; s != NULL; s = s->next) {
        const pleat_call *c = &s->call;
        bool (*takes)(const pleat_call *) = c->op->traits != NULL ? c->op->traits->takes_blocked : NULL;
        if (c->op->forward == NULL || !has_blocked(c) || (takes != NULL && takes(c))) continue;
        for (size_t i = 0; i <= c->n; i++) storage_of(c, i)->blocked = false;
        settled = false;
    }
    return settled;
}

void pl_choose_layouts(pleat_prepared *p) {
    for (room *r = p->rooms; r != NULL; r = r->next) r->own.blocked = is_candidate(p, r);
    while (!settle(p)) continue;
}

bool pl_alike_blocked(const pleat_call *c) {
    for (size_t i = 0; i < c->n; i++) {
        const pleat_tensor *t = c->in[i];
        bool alike = pl_same_shape(t, c->out) && t->storage->blocked == c->out->storage->blocked;
        if (t->numel != 1 && !alike) return false;
    }
    return true;
}

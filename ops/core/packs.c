/* Packs: copies of a storage's elements in the order in which their reader takes them, such as the packed
 * weights of a convolution. They hang on the storage, and go with its elements: each write in place frees
 * them, so none is stale. A reader packs anew after that.
 *
 * Only where elements are read more often than they are written: in evaluation. In training each plan reads
 * weights once between two steps, so a pack would be a second copy of all weights, twice, for nothing. */
#include <string.h>

#include "core/core.h"

enum {
    MOST = 2
}; /* of one place, the latest: a network that sees images of many sizes has plans without end */

/* Does what reads t now read it again before somebody writes it, and will the write be seen? */
static bool pays(const pleat_tensor *t) {
    const pleat_ctx *ctx = t->ctx;
    if (ctx->recording || ctx->passing || ctx->rule != NULL) return false;
    return !t->storage->exposed && pleat_is_contiguous(t);
}

static pl_pack *unlink_pack(pl_pack **at) {
    pl_pack *p = *at;
    *at = p->next;
    return p;
}

/* The pack of that key, out of the list; or NULL, and there is room for one more of its place. */
static pl_pack *find(pl_memory *m, pl_storage *s, const pl_pack_key *key) {
    size_t others = 0;
    for (pl_pack **at = &s->packs; *at != NULL;) {
        if (memcmp(&(*at)->key, key, sizeof *key) == 0) return unlink_pack(at);
        if ((*at)->key.offset == key->offset && ++others == MOST)
            pl_give(m, unlink_pack(at));
        else
            at = &(*at)->next;
    }
    return NULL;
}

void *pl_pack_of(pleat_tensor *t, const void *reader, const size_t sizes[3], size_t bytes, bool *fresh) {
    pl_memory *m = &t->ctx->memory;
    pl_storage *s = t->storage;
    if (!pays(t) || bytes > PTRDIFF_MAX / 2) return NULL;
    pl_pack_key key = {reader, {sizes[0], sizes[1], sizes[2]}, t->data - (char *)s->data};
    pl_pack *p = find(m, s, &key);
    *fresh = p == NULL;
    if (p == NULL) p = pl_take(m, sizeof *p + bytes);
    if (p == NULL) return NULL;
    *p = (pl_pack){key, s->packs};
    s->packs = p;
    return p + 1;
}

void *pl_pack_at_last(pleat_tensor *t, const void *reader, const size_t sizes[3], size_t bytes, bool *fresh) {
    if (!pays(t) || ++t->storage->reads < t->ctx->patience) return NULL;
    return pl_pack_of(t, reader, sizes, bytes, fresh);
}

void pl_packs_free(pl_memory *m, pl_storage *s) {
    s->reads = 0;
    while (s->packs != NULL) pl_give(m, unlink_pack(&s->packs));
}

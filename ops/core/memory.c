/* Blocks of memory. Small ones have size classes: one that is returned waits in the list of its class. Large
 * ones are cut from chunks, and grow together again with what is free beside them: activations make room for
 * gradients of other sizes. A loop that repeats itself calls the allocator in its first iteration only. */
#include <string.h>

#include "core/core.h"

#if __has_include(<valgrind/memcheck.h>)
#    include <valgrind/memcheck.h>
#else
#    define VALGRIND_MAKE_MEM_NOACCESS(block, bytes) ((void)(block), (void)(bytes))
#    define VALGRIND_MAKE_MEM_UNDEFINED(block, bytes) ((void)(block), (void)(bytes))
#    define RUNNING_ON_VALGRIND false
#endif

/* They exist in a program that was built with ASan. */
void __asan_poison_memory_region(const volatile void *block, size_t bytes) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *block, size_t bytes) __attribute__((weak));

enum {
    ALIGN = 64,
    LARGE = 1 << 16,  /* blocks of more bytes are cut from chunks */
    GROWTH = 4,       /* a chunk has at least that part of what was reserved before */
    GRAVE = 64 << 20, /* bytes that are kept of each kind */
};

/* The header of a block, before the bytes that the caller gets; it keeps their alignment. */
struct pl_block {
    _Alignas(ALIGN) void *raw; /* what the allocator returned; NULL for a piece of a chunk */
    pl_chunk *chunk;           /* NULL for a small block */
    size_t bytes;
    pl_block *next;
};

/* The header of a chunk, before its first piece. */
struct pl_chunk {
    _Alignas(ALIGN) void *raw;
    size_t bytes;   /* of a piece that is the whole chunk */
    pl_block *free; /* pieces in the order of their addresses; no two of them touch */
    pl_chunk *next; /* a later one */
};

static size_t round_up(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

static void *aligned(void *raw) { return (char *)raw + (ALIGN - (uintptr_t)raw % ALIGN) % ALIGN; }

static void *ask(pl_memory *m, size_t bytes, size_t headers) {
    void *raw = m->alloc(m->user, bytes + headers + ALIGN - 1);
    if (raw == NULL) return NULL;
    m->info.allocations++;
    m->info.reserved += bytes;
    return raw;
}

static void give_back(pl_memory *m, void *raw, size_t bytes) {
    m->info.reserved -= bytes;
    m->free(m->user, raw);
}

/* ---- small blocks ---------------------------------------------------------------------------------------- */

/* Sizes 64, 80, 96, 112, 128, 160, ...: at most a fifth of a block is unused. */
static size_t class_size(size_t class) { return (size_t)(4 + class % 4) << (class / 4 + 4); }

static size_t class_of(size_t bytes) {
    if (bytes <= ALIGN) return 0;
    /* 2^power < bytes <= 2^(power+1) */
    size_t power = 63 - (size_t)__builtin_clzll((unsigned long long)(bytes - 1));
    size_t quarter = (size_t)1 << (power - 2);
    size_t steps = (bytes - ((size_t)1 << power) + quarter - 1) / quarter; /* 1..4 */
    return (power - 6) * 4 + steps;
}

static pl_block *take_small(pl_memory *m, size_t bytes) {
    size_t class = class_of(bytes), whole = class_size(class);
    if (class >= PL_CLASSES) return NULL;
    pl_block *b = m->waiting[class];
    if (b != NULL) {
        m->waiting[class] = b->next;
        return b;
    }
    void *raw = ask(m, whole, sizeof *b);
    if (raw == NULL) return NULL;
    b = aligned(raw);
    *b = (pl_block){.raw = raw, .bytes = whole};
    return b;
}

static void return_small(pl_memory *m, pl_block *b) {
    pl_block **list = &m->waiting[class_of(b->bytes)];
    b->next = *list;
    *list = b;
}

/* ---- large blocks ---------------------------------------------------------------------------------------- */

/* A memory checker sees the end of a block only if each is one of the allocator's. */
static bool is_large(size_t bytes) {
    return bytes > LARGE && __asan_poison_memory_region == NULL && !RUNNING_ON_VALGRIND;
}

static char *end_of(pl_block *b) { return (char *)(b + 1) + b->bytes; }

/* The first `bytes` of a free piece; the rest, if it has room for a header and more, stays in the list. */
static pl_block *cut(pl_block **from, size_t bytes) {
    pl_block *b = *from;
    if (b->bytes - bytes <= sizeof *b) {
        *from = b->next;
        return b;
    }
    pl_block *rest = (pl_block *)(void *)((char *)(b + 1) + bytes);
    *rest = (pl_block){.chunk = b->chunk, .bytes = b->bytes - bytes - sizeof *b, .next = b->next};
    *from = rest;
    b->bytes = bytes;
    return b;
}

static pl_chunk *chunk_new(pl_memory *m, size_t bytes) {
    void *raw = ask(m, bytes, sizeof(pl_chunk) + sizeof(pl_block));
    if (raw == NULL) return NULL;
    pl_chunk *c = aligned(raw), **last = &m->chunks;
    pl_block *all = (pl_block *)(void *)(c + 1);
    *c = (pl_chunk){.raw = raw, .bytes = bytes, .free = all};
    *all = (pl_block){.chunk = c, .bytes = bytes};
    while (*last != NULL) last = &(*last)->next;
    return *last = c;
}

/* The first piece that is large enough: what lies behind stays whole, and untouched pages cost nothing. */
static pl_block *take_large(pl_memory *m, size_t bytes) {
    bytes = round_up(bytes);
    for (pl_chunk *c = m->chunks; c != NULL; c = c->next) {
        for (pl_block **b = &c->free; *b != NULL; b = &(*b)->next)
            if ((*b)->bytes >= bytes) return cut(b, bytes);
    }
    size_t growth = round_up(m->info.reserved / GROWTH);
    pl_chunk *c = growth > bytes ? chunk_new(m, growth) : NULL;
    if (c == NULL) c = chunk_new(m, bytes);
    return c == NULL ? NULL : cut(&c->free, bytes);
}

/* Make one of b and the next free piece if they touch. */
static void join(pl_block *b) {
    if (b->next == NULL || end_of(b) != (char *)b->next) return;
    b->bytes += sizeof *b + b->next->bytes;
    b->next = b->next->next;
}

static void return_large(pl_block *b) {
    pl_block **at = &b->chunk->free, *before = NULL;
    for (; *at != NULL && *at < b; at = &before->next) before = *at;
    b->next = *at;
    *at = b;
    join(b);
    if (before != NULL) join(before);
}

/* ---- both ------------------------------------------------------------------------------------------------ */

static pl_block *find(pl_memory *m, size_t bytes) {
    return is_large(bytes) ? take_large(m, bytes) : take_small(m, bytes);
}

void *pl_take(pl_memory *m, size_t bytes) {
    if (bytes > PTRDIFF_MAX / 2) return NULL;
    pl_block *b = find(m, bytes);
    if (b == NULL) {
        pl_memory_trim(m);
        b = find(m, bytes);
    }
    if (b == NULL) return NULL;
    m->info.in_use += b->bytes;
    if (m->info.in_use > m->info.peak) m->info.peak = m->info.in_use;
    return b + 1;
}

static void make_free(pl_memory *m, pl_block *b) {
    if (b->chunk != NULL)
        return_large(b);
    else
        return_small(m, b);
}

void pl_give(pl_memory *m, void *block) {
    if (block == NULL) return;
    pl_block *b = (pl_block *)block - 1;
    m->info.in_use -= b->bytes;
    make_free(m, b);
}

/* ---- debug mode ------------------------------------------------------------------------------------------ */

/* The oldest block of a grave becomes free for reuse. */
static void exhume_one(pl_memory *m, pl_grave *g) {
    pl_block *b = g->first;
    g->first = b->next;
    if (g->first == NULL) g->last = NULL;
    g->bytes -= b->bytes;
    if (__asan_unpoison_memory_region != NULL) __asan_unpoison_memory_region(b + 1, b->bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(b + 1, b->bytes);
    make_free(m, b);
}

void pl_exhume(pl_memory *m, pl_grave *g) {
    while (g->first != NULL) exhume_one(m, g);
}

static void bury(pl_memory *m, pl_grave *g, pl_block *b) {
    m->info.in_use -= b->bytes;
    b->next = NULL;
    *(g->last != NULL ? &g->last->next : &g->first) = b;
    g->last = b;
    g->bytes += b->bytes;
    while (g->bytes > GRAVE && g->first != g->last) exhume_one(m, g);
}

void pl_bury_elements(pl_memory *m, void *block) {
    pl_block *b = (pl_block *)block - 1;
    memset(block, 0xff, b->bytes); /* NaN in both types */
    if (__asan_poison_memory_region != NULL) __asan_poison_memory_region(block, b->bytes);
    VALGRIND_MAKE_MEM_NOACCESS(block, b->bytes);
    bury(m, &m->elements, b);
}

void pl_bury_handle(pl_memory *m, void *block) { bury(m, &m->handles, (pl_block *)block - 1); }

/* Chunks of which no piece is in use. */
static void trim_chunks(pl_memory *m) {
    for (pl_chunk **at = &m->chunks; *at != NULL;) {
        pl_chunk *c = *at;
        if (c->free == NULL || c->free->bytes < c->bytes) {
            at = &c->next;
        } else {
            *at = c->next;
            give_back(m, c->raw, c->bytes);
        }
    }
}

void pl_memory_trim(pl_memory *m) {
    pl_exhume(m, &m->elements);
    trim_chunks(m);
    for (size_t class = 0; class < PL_CLASSES; class ++) {
        for (pl_block *b = m->waiting[class], *next; b != NULL; b = next) {
            next = b->next;
            give_back(m, b->raw, b->bytes);
        }
        m->waiting[class] = NULL;
    }
}

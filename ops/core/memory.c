/* Blocks of memory in size classes. A returned block waits in the free list of its class, so a loop that
 * repeats the same sizes calls the allocator in its first iteration only. */
#include <string.h>

#include "core/core.h"

#if __has_include(<valgrind/memcheck.h>)
#    include <valgrind/memcheck.h>
#else
#    define VALGRIND_MAKE_MEM_NOACCESS(block, bytes) ((void)(block), (void)(bytes))
#    define VALGRIND_MAKE_MEM_UNDEFINED(block, bytes) ((void)(block), (void)(bytes))
#endif

/* They exist in a program that was built with ASan. */
void __asan_poison_memory_region(const volatile void *block, size_t bytes) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *block, size_t bytes) __attribute__((weak));

enum { ALIGN = 64, GRAVE = 64 << 20 }; /* bytes that are kept of each kind */

/* The header of a block, before the bytes that the caller gets; it keeps their alignment. */
struct pl_block {
    _Alignas(ALIGN) void *raw; /* what the allocator returned */
    size_t class;
    pl_block *next;
};

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

static pl_block *block_new(pl_memory *m, size_t class) {
    size_t bytes = class_size(class);
    char *raw = m->alloc(m->user, bytes + sizeof(pl_block) + ALIGN - 1);
    if (raw == NULL) return NULL;
    m->info.allocations++;
    m->info.reserved += bytes;
    pl_block *b = (pl_block *)(raw + (ALIGN - (uintptr_t)raw % ALIGN) % ALIGN);
    *b = (pl_block){.raw = raw, .class = class};
    return b;
}

void *pl_take(pl_memory *m, size_t bytes) {
    size_t class = class_of(bytes);
    if (class >= PL_CLASSES) return NULL;
    pl_block *b = m->waiting[class];
    if (b != NULL) {
        m->waiting[class] = b->next;
    } else {
        b = block_new(m, class);
        if (b == NULL) {
            pl_memory_trim(m);
            b = block_new(m, class);
        }
        if (b == NULL) return NULL;
    }
    m->info.in_use += class_size(class);
    if (m->info.in_use > m->info.peak) m->info.peak = m->info.in_use;
    return b + 1;
}

void pl_give(pl_memory *m, void *block) {
    if (block == NULL) return;
    pl_block *b = (pl_block *)block - 1;
    m->info.in_use -= class_size(b->class);
    b->next = m->waiting[b->class];
    m->waiting[b->class] = b;
}

/* ---- debug mode ------------------------------------------------------------------------------------------ */

/* The oldest block of a grave becomes free for reuse. */
static void exhume_one(pl_memory *m, pl_grave *g) {
    pl_block *b = g->first;
    size_t bytes = class_size(b->class);
    g->first = b->next;
    if (g->first == NULL) g->last = NULL;
    g->bytes -= bytes;
    if (__asan_unpoison_memory_region != NULL) __asan_unpoison_memory_region(b + 1, bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(b + 1, bytes);
    b->next = m->waiting[b->class];
    m->waiting[b->class] = b;
}

void pl_exhume(pl_memory *m, pl_grave *g) {
    while (g->first != NULL) exhume_one(m, g);
}

static void bury(pl_memory *m, pl_grave *g, pl_block *b) {
    m->info.in_use -= class_size(b->class);
    b->next = NULL;
    *(g->last != NULL ? &g->last->next : &g->first) = b;
    g->last = b;
    g->bytes += class_size(b->class);
    while (g->bytes > GRAVE && g->first != g->last) exhume_one(m, g);
}

void pl_bury_elements(pl_memory *m, void *block) {
    pl_block *b = (pl_block *)block - 1;
    size_t bytes = class_size(b->class);
    memset(block, 0xff, bytes); /* NaN in both types */
    if (__asan_poison_memory_region != NULL) __asan_poison_memory_region(block, bytes);
    VALGRIND_MAKE_MEM_NOACCESS(block, bytes);
    bury(m, &m->elements, b);
}

void pl_bury_handle(pl_memory *m, void *block) { bury(m, &m->handles, (pl_block *)block - 1); }

void pl_memory_trim(pl_memory *m) {
    pl_exhume(m, &m->elements);
    for (size_t class = 0; class < PL_CLASSES; class ++) {
        for (pl_block *b = m->waiting[class], *next; b != NULL; b = next) {
            next = b->next;
            m->info.reserved -= class_size(class);
            m->free(m->user, b->raw);
        }
        m->waiting[class] = NULL;
    }
}

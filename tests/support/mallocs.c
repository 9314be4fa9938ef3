/* Definitions in the program win over those of the C library, in all shared libraries too. */
#include "mallocs.h"

#include <errno.h>
#include <features.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define ADDRESS_SANITIZER
#    endif
#    if __has_feature(thread_sanitizer)
#        define NOT_COUNTED
#    endif
#endif
#ifdef __SANITIZE_ADDRESS__
#    define ADDRESS_SANITIZER
#endif
#ifdef __SANITIZE_THREAD__
#    define NOT_COUNTED
#endif
#ifdef UNBOXED /* for valgrind, which puts its own malloc in the place of the C library's only */
#    define NOT_COUNTED
#endif

#if defined(__GLIBC__) && !defined(NOT_COUNTED)
static atomic_size_t calls, own_calls, first_failing = SIZE_MAX, failing, failed;
static atomic_size_t living;
static atomic_bool counting;
static _Thread_local bool
    own; /* the thread that has started it: AddressSanitizer ends a program that has no memory for a thread */

/* AddressSanitizer's functions have these names beside their usual ones, and know every block that passes through here. */
#    ifdef ADDRESS_SANITIZER
#        define SYSTEM(name) __interceptor_##name
#    else
#        define SYSTEM(name) __libc_##name
#    endif
void *SYSTEM(malloc)(size_t);
void *SYSTEM(calloc)(size_t, size_t);
void *SYSTEM(realloc)(void *, size_t);
void *SYSTEM(memalign)(size_t, size_t);
void SYSTEM(free)(void *);
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *block, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);
void *memalign(size_t alignment, size_t bytes);
int posix_memalign(void **block, size_t alignment, size_t bytes);
char *strdup(const char *text);
void free(void *block);

static bool granted(void) {
    if (!atomic_load_explicit(&counting, memory_order_relaxed)) return true;
    atomic_fetch_add(&calls, 1);
    if (!own) return true;
    size_t call = atomic_fetch_add(&own_calls, 1) + 1, first = atomic_load(&first_failing);
    if (call < first || call - first >= atomic_load(&failing)) return true;
    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return false;
}

static void *handed_out(void *block) {
    if (block) atomic_fetch_add_explicit(&living, 1, memory_order_relaxed);
    return block;
}

void *malloc(size_t bytes) { return granted() ? handed_out(SYSTEM(malloc)(bytes)) : NULL; }
void *calloc(size_t n, size_t bytes) { return granted() ? handed_out(SYSTEM(calloc)(n, bytes)) : NULL; }
void *aligned_alloc(size_t alignment, size_t bytes) {
    return granted() ? handed_out(SYSTEM(memalign)(alignment, bytes)) : NULL;
}
void *memalign(size_t alignment, size_t bytes) { return aligned_alloc(alignment, bytes); }

int posix_memalign(void **block, size_t alignment, size_t bytes) {
    void *made = aligned_alloc(alignment, bytes);
    if (made) *block = made;
    return made ? 0 : ENOMEM;
}

void *realloc(void *block, size_t bytes) {
    if (!granted()) return NULL;
    void *moved = SYSTEM(realloc)(block, bytes);
    if (!block) return handed_out(moved);
    if (!moved && !bytes) atomic_fetch_sub_explicit(&living, 1, memory_order_relaxed); /* it was a free */
    return moved;
}

/* The sanitizer's own functions do not pass through malloc. */
char *strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

#    ifdef ADDRESS_SANITIZER
char *__interceptor_realpath(const char *path, char *to);
char *realpath(const char *path, char *to);
char *realpath(const char *path, char *to) {
    if (to) return __interceptor_realpath(path, to);
    return granted() ? handed_out(__interceptor_realpath(path, NULL)) : NULL;
}
#    endif

void free(void *block) {
    if (block) atomic_fetch_sub_explicit(&living, 1, memory_order_relaxed);
    SYSTEM(free)(block);
}

bool mallocs_are_counted(void) { return true; }

void mallocs_start_failing_some(size_t first, size_t count) {
    own = true;
    atomic_store(&calls, 0);
    atomic_store(&own_calls, 0);
    atomic_store(&failed, 0);
    atomic_store(&first_failing, first);
    atomic_store(&failing, count);
    atomic_store(&counting, true);
}

void mallocs_start_failing(size_t n) { mallocs_start_failing_some(n, SIZE_MAX); }
void mallocs_start(void) { mallocs_start_failing_some(SIZE_MAX, 0); }

size_t mallocs_stop(void) {
    atomic_store(&counting, false);
    return atomic_load(&calls);
}

size_t mallocs_failed(void) { return atomic_load(&failed); }
size_t mallocs_living(void) { return atomic_load(&living); }
#else
bool mallocs_are_counted(void) { return false; }
void mallocs_start(void) {}
void mallocs_start_failing(size_t n) { (void)n; }
void mallocs_start_failing_some(size_t first, size_t count) { (void)first, (void)count; }
size_t mallocs_stop(void) { return 0; }
size_t mallocs_failed(void) { return 0; }
size_t mallocs_living(void) { return 0; }
#endif

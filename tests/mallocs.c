/* Definitions in the program win over those of the C library, in all shared libraries too. */
#include "mallocs.h"

#include <features.h>
#include <stdatomic.h>
#include <stdint.h>

#if defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define SANITIZED
#    endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define SANITIZED
#endif
#ifdef UNBOXED /* for valgrind, which puts its own malloc in the place of the C library's only */
#    define SANITIZED
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
static atomic_size_t calls, failing;
static atomic_bool counting;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *block, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);

static bool granted(void) {
    if (!atomic_load_explicit(&counting, memory_order_relaxed)) return true;
    return atomic_fetch_add(&calls, 1) + 1 < atomic_load(&failing);
}

void *malloc(size_t bytes) { return granted() ? __libc_malloc(bytes) : NULL; }
void *calloc(size_t n, size_t bytes) { return granted() ? __libc_calloc(n, bytes) : NULL; }
void *realloc(void *block, size_t bytes) { return granted() ? __libc_realloc(block, bytes) : NULL; }
void *aligned_alloc(size_t alignment, size_t bytes) {
    return granted() ? __libc_memalign(alignment, bytes) : NULL;
}

bool mallocs_are_counted(void) { return true; }

void mallocs_start_failing(size_t n) {
    atomic_store(&calls, 0);
    atomic_store(&failing, n);
    atomic_store(&counting, true);
}

void mallocs_start(void) { mallocs_start_failing(SIZE_MAX); }

size_t mallocs_stop(void) {
    atomic_store(&counting, false);
    return atomic_load(&calls);
}
#else
bool mallocs_are_counted(void) { return false; }
void mallocs_start(void) {}
void mallocs_start_failing(size_t n) { (void)n; }
size_t mallocs_stop(void) { return 0; }
#endif

/* Definitions in the program win over those of the C library, in all shared libraries too. */
#include "mallocs.h"

#include <features.h>
#include <stdatomic.h>

#if defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define SANITIZED
#    endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define SANITIZED
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
static atomic_size_t calls;
static atomic_bool counting;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *block, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);

static void count(void) {
    if (atomic_load_explicit(&counting, memory_order_relaxed)) atomic_fetch_add(&calls, 1);
}

void *malloc(size_t bytes) { return count(), __libc_malloc(bytes); }
void *calloc(size_t n, size_t bytes) { return count(), __libc_calloc(n, bytes); }
void *realloc(void *block, size_t bytes) { return count(), __libc_realloc(block, bytes); }
void *aligned_alloc(size_t alignment, size_t bytes) { return count(), __libc_memalign(alignment, bytes); }

bool mallocs_are_counted(void) { return true; }

void mallocs_start(void) {
    atomic_store(&calls, 0);
    atomic_store(&counting, true);
}

size_t mallocs_stop(void) {
    atomic_store(&counting, false);
    return atomic_load(&calls);
}
#else
bool mallocs_are_counted(void) { return false; }
void mallocs_start(void) {}
size_t mallocs_stop(void) { return 0; }
#endif

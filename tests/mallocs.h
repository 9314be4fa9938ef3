/* mallocs.h: counts the calls of malloc, calloc, realloc and aligned_alloc of the whole process, libraries included, and makes
 * them fail. */
#ifndef MALLOCS_H
#define MALLOCS_H

#include <stdbool.h>
#include <stddef.h>

/* False under a sanitizer, which has a malloc of its own, and where the C library is not glibc. */
bool mallocs_are_counted(void);

void mallocs_start(void);
/* The same, and the n-th call (the first is 1) and all that follow it return NULL. */
void mallocs_start_failing(size_t n);
/* Calls since the start. */
size_t mallocs_stop(void);

#endif

/* mallocs.h: counts the calls of malloc, calloc, realloc and their like of the whole process, libraries included, and makes them
 * fail; counts the blocks that are alive. */
#ifndef MALLOCS_H
#define MALLOCS_H

#include <stdbool.h>
#include <stddef.h>

/* False under ThreadSanitizer and without Criterion's boxes, which is for valgrind: both have a malloc of their own; and where the C
 * library is not glibc. */
bool mallocs_are_counted(void);

void mallocs_start(void);
/* The same, and the n-th call of this thread (the first is 1) and all that follow it return NULL. */
void mallocs_start_failing(size_t n);
/* The same, and this thread's calls first .. first + count - 1 return NULL. */
void mallocs_start_failing_some(size_t first, size_t count);
/* Calls of all threads since the start. */
size_t mallocs_stop(void);

/* Calls that were made to fail since the start. */
size_t mallocs_failed(void);
/* Blocks that have been handed out and not been given back. */
size_t mallocs_living(void);

#endif

/* The one place where threads are made. */
#ifndef PL_PARALLEL_H
#define PL_PARALLEL_H

#include <stddef.h>

/* One piece of work: `task` says which, `thread` (0 <= thread < threads) whose scratch memory it may use. */
typedef void (*pl_task)(void *arg, size_t task, size_t thread);

/* Run body(arg, task, thread) for every task 0..tasks-1, in any order, on at most `threads` threads. How the work is
 * cut into tasks must not depend on `threads`: then the result does not, either. */
void pl_parallel(int threads, size_t tasks, pl_task body, void *arg);

/* What OpenMP would take by itself; 1 without OpenMP. */
int pl_default_threads(void);

#endif

/* The one place where threads are used. */
#ifndef PL_PARALLEL_H
#define PL_PARALLEL_H

#include "kernels/pleat_kernels.h"

/* One piece of work: `task` says which, `thread` (below the pool's number of threads) whose scratch memory it may use. */
typedef void (*pl_task)(void *arg, size_t task, size_t thread);

/* Run body(arg, task, thread) for every task 0..tasks-1, in any order, on the pool's threads (NULL: on the caller's alone). How
 * the work is cut into tasks must not depend on the number of threads: then the result does not, either. A task must not start
 * tasks of its own. */
void pl_parallel(pleat_pool *pool, size_t tasks, pl_task body, void *arg);

/* Do all threads of the pool look for work, so that sharing costs about a microsecond? They do for some tens of microseconds after
 * the last. NULL: no. */
bool pl_pool_is_awake(pleat_pool *pool);

#endif

#include "kernels/parallel.h"

#include "pleat_config.h"
#ifdef PL_HAVE_OPENMP
#    include <omp.h>
#    include <stdatomic.h>
#endif

static void serial(size_t tasks, pl_task body, void *arg) {
    for (size_t i = 0; i < tasks; i++) body(arg, i, 0);
}

#ifdef PL_HAVE_OPENMP
/* The tasks are dealt out by a counter of our own: clang's OpenMP calls malloc for each loop that it schedules dynamically. */
void pl_parallel(int threads, size_t tasks, pl_task body, void *arg) {
    if (threads <= 1 || tasks <= 1) {
        serial(tasks, body, arg);
        return;
    }
    atomic_size_t next = 0;
#    pragma omp parallel num_threads(threads)
    for (size_t i; (i = atomic_fetch_add(&next, 1)) < tasks;) body(arg, i, (size_t)omp_get_thread_num());
}

int pl_default_threads(void) { return omp_get_max_threads(); }
#else
void pl_parallel(int threads, size_t tasks, pl_task body, void *arg) {
    (void)threads;
    serial(tasks, body, arg);
}

int pl_default_threads(void) { return 1; }
#endif

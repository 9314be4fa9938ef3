#include "kernels/parallel.h"

#include "pleat_config.h"
#ifdef PL_HAVE_OPENMP
#    include <omp.h>
#endif

static void serial(size_t tasks, pl_task body, void *arg) {
    for (size_t i = 0; i < tasks; i++) body(arg, i, 0);
}

#ifdef PL_HAVE_OPENMP
void pl_parallel(int threads, size_t tasks, pl_task body, void *arg) {
    if (threads <= 1 || tasks <= 1) {
        serial(tasks, body, arg);
        return;
    }
#    pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (size_t i = 0; i < tasks; i++) body(arg, i, (size_t)omp_get_thread_num());
}

int pl_default_threads(void) { return omp_get_max_threads(); }
#else
void pl_parallel(int threads, size_t tasks, pl_task body, void *arg) {
    (void)threads;
    serial(tasks, body, arg);
}

int pl_default_threads(void) { return 1; }
#endif

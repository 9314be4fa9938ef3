/* A pool of threads that share out numbered tasks. The caller takes tasks itself and waits only for a thread that is inside of
 * one: a worker that the system has put aside delays nobody. (OpenMP waits for every thread at the end of every loop; on a
 * machine that does other work too, a training step became ten times slower than on one thread.) */
#define _GNU_SOURCE /* sched_getaffinity */

#include "kernels/parallel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CLOSED = 1 << 30, /* in `inside`: no job to join */
    /* A worker looks for the next job some hundreds of microseconds before it sleeps, as waking it takes up to a tenth of that; after
     * some tens it yields now and then to a thread that wants the core, such as a loader's. */
    SPINS = 20000,
    SPINS_ALONE = 4000,
    SPINS_TO_YIELD = 64,
    MOST_CORES = 1 << 20,
};

struct pleat_pool {
    int threads; /* the caller included */
    pid_t
        owner; /* the process that has the workers: the child of a fork has a copy of the pool, and none of them */
    pthread_t *workers;

    /* the job; written while the pool is closed and nobody is inside */
    pl_task body;
    void *arg;
    size_t tasks;
    atomic_size_t next;

    atomic_int inside;         /* workers that have joined the job, and CLOSED */
    atomic_uint_fast64_t jobs; /* so far: a worker looks for a change */
    atomic_bool quit;

    pthread_mutex_t mutex; /* for those who sleep */
    pthread_cond_t wake;
    atomic_int sleepers;
    atomic_int numbered; /* workers that have taken their number */
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_tasks(pleat_pool *p, size_t thread) {
    for (size_t i; (i = atomic_fetch_add(&p->next, 1)) < p->tasks;) p->body(p->arg, i, thread);
}

static void join_job(pleat_pool *p, size_t thread) {
    if (!(atomic_fetch_add(&p->inside, 1) & CLOSED)) take_tasks(p, thread);
    atomic_fetch_sub(&p->inside, 1);
}

static bool something_new(pleat_pool *p, uint64_t seen) {
    return atomic_load(&p->jobs) != seen || atomic_load(&p->quit);
}

static void await_job(pleat_pool *p, uint64_t seen) {
    for (int i = 0; i < SPINS; i++) {
        if (something_new(p, seen)) return;
        pause_briefly();
        if (i >= SPINS_ALONE && i % SPINS_TO_YIELD == 0) sched_yield();
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    while (!something_new(p, seen)) pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
}

static void wake_all(pleat_pool *p) {
    if (atomic_load(&p->sleepers) == 0) return;
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

static void *work(void *pool) {
    pleat_pool *p = pool;
    size_t thread = 1 + (size_t)atomic_fetch_add(&p->numbered, 1);
    pleat_blas_single_thread(); /* a BLAS that was built with OpenMP keeps the number for each thread */
    for (uint64_t seen = 0; !atomic_load(&p->quit);) {
        await_job(p, seen);
        seen = atomic_load(&p->jobs);
        join_job(p, thread);
    }
    return NULL;
}

/* As many as can be had. Signals are the program's business, so they must not land in a worker. */
static void start_workers(pleat_pool *p, int threads) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->threads < threads && pthread_create(&p->workers[p->threads - 1], NULL, work, p) == 0)
        p->threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the pool ------------------------------------------------------------------------------------------------ */

pleat_pool *pleat_pool_new(int threads) {
    if (threads < 1) threads = 1;
    pleat_pool *p = calloc(1, sizeof *p);
    pthread_t *workers = calloc((size_t)threads, sizeof *workers);
    if (p == NULL || workers == NULL) {
        free(p);
        free(workers);
        return NULL;
    }
    p->workers = workers;
    p->threads = 1;
    p->owner = getpid();
    atomic_init(&p->inside, CLOSED);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    start_workers(p, threads);
    return p;
}

static void end_workers(pleat_pool *p) {
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->quit, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
    for (int i = 0; i < p->threads - 1; i++) pthread_join(p->workers[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
}

/* A child leaves mutex and condition as they are: a worker may have held the one, and destroying the other waits for it. */
void pleat_pool_free(pleat_pool *p) {
    if (p == NULL) return;
    if (p->owner == getpid()) end_workers(p);
    free(p->workers);
    free(p);
}

int pleat_pool_threads(const pleat_pool *p) { return p == NULL || p->owner != getpid() ? 1 : p->threads; }

#ifdef __linux__
/* The system refuses a set that could not hold all of the machine's cores, and does not say how many there are. */
int pleat_cores(void) {
    int cores = 0, error = EINVAL;
    for (size_t most = 1024; error == EINVAL && most <= MOST_CORES; most *= 2) {
        size_t bytes = CPU_ALLOC_SIZE(most);
        cpu_set_t *set = CPU_ALLOC(most);
        if (set == NULL) break;
        error = sched_getaffinity(0, bytes, set) == 0 ? 0 : errno;
        if (error == 0) cores = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
    }
    return cores > 0 ? cores : 1;
}
#else
int pleat_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 && cores <= MOST_CORES ? (int)cores : 1;
}
#endif

bool pl_pool_is_awake(pleat_pool *p) { return p != NULL && atomic_load(&p->sleepers) == 0; }

void pl_parallel(pleat_pool *p, size_t tasks, pl_task body, void *arg) {
    if (tasks <= 1 || pleat_pool_threads(p) == 1) {
        for (size_t i = 0; i < tasks; i++) body(arg, i, 0);
        return;
    }
    p->body = body;
    p->arg = arg;
    p->tasks = tasks;
    atomic_store(&p->next, 0);
    atomic_fetch_and(&p->inside, ~CLOSED);
    atomic_fetch_add(&p->jobs, 1);
    wake_all(p);
    take_tasks(p, 0);
    atomic_fetch_or(&p->inside, CLOSED);
    for (int i = 0; atomic_load(&p->inside) != CLOSED; i++) {
        if (i < SPINS_ALONE) {
            pause_briefly();
        } else {
            sched_yield(); /* it may be waiting for this very core */
        }
    }
}

/* Ctrl-C by a handler that only counts: runs look at the count between their steps. Blocking the signals would need no global,
 * but a BLAS may have threads of its own (OpenBLAS starts them when it is loaded), and there the signal would land. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "train/train.h"

enum { SIGNALS = 2 };
static const int numbers[SIGNALS] = {SIGINT, SIGTERM};

/* What a handler can reach is global, and so are a process's actions: the first run to hold them saves them, the last restores
 * them, in whatever order the runs end. */
static struct {
    atomic_uint arrived[SIGNALS];
    pthread_mutex_t mutex; /* guards all below */
    unsigned holders;
    unsigned reported[SIGNALS]; /* of those that arrived */
    bool held[SIGNALS];
    struct sigaction before[SIGNALS];
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void count(int number) { atomic_fetch_add(&shared.arrived[number == numbers[0] ? 0 : 1], 1); }

static unsigned all_arrived(void) {
    return atomic_load(&shared.arrived[0]) + atomic_load(&shared.arrived[1]);
}

static void report_all(void) {
    for (size_t i = 0; i < SIGNALS; i++) shared.reported[i] = atomic_load(&shared.arrived[i]);
}

static void install(void) {
    struct sigaction counting = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigemptyset(&counting.sa_mask);
    report_all();
    for (size_t i = 0; i < SIGNALS; i++) {
        struct sigaction *before = &shared.before[i];
        shared.held[i] = sigaction(numbers[i], NULL, before) == 0 && before->sa_handler != SIG_IGN &&
                         sigaction(numbers[i], &counting, NULL) == 0;
    }
}

/* Sets those that came and that no run has told its caller of. */
static void restore(bool unreported[SIGNALS]) {
    for (size_t i = 0; i < SIGNALS; i++) {
        if (shared.held[i]) sigaction(numbers[i], &shared.before[i], NULL);
        unreported[i] = atomic_load(&shared.arrived[i]) != shared.reported[i];
    }
}

void pln_signals_hold(pln_signals *s) {
    pthread_mutex_lock(&shared.mutex);
    if (shared.holders++ == 0) install();
    *s = (pln_signals){.holding = true, .seen = all_arrived()};
    pthread_mutex_unlock(&shared.mutex);
}

bool pln_signals_came(pln_signals *s) {
    if (!s->holding || all_arrived() == s->seen) return false;
    pthread_mutex_lock(&shared.mutex);
    report_all();
    pthread_mutex_unlock(&shared.mutex);
    pln_signals_release(s);
    return true;
}

void pln_signals_release(pln_signals *s) {
    bool unreported[SIGNALS] = {false};
    if (!s->holding) return;
    s->holding = false;
    pthread_mutex_lock(&shared.mutex);
    if (--shared.holders == 0) restore(unreported);
    pthread_mutex_unlock(&shared.mutex);
    for (size_t i = 0; i < SIGNALS; i++)
        if (unreported[i]) kill(getpid(), numbers[i]);
}

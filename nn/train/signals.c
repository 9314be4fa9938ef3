/* Ctrl-C by a handler that counts; the run reads the count between its steps. Blocking the signals would need
 * no global, but a BLAS may have threads (OpenBLAS starts them when it is loaded), and the signal would be
 * delivered to one of them. */
#define _POSIX_C_SOURCE 200809L

#include "train/train.h"

#include <stdatomic.h>

static const int numbers[PLN_SIGNALS] = {SIGINT, SIGTERM};

/* A handler can reach globals only. The count grows; a run compares it with an earlier value. */
static atomic_uint arrived;

static void count(int number) {
    (void)number;
    atomic_fetch_add(&arrived, 1);
}

void pln_signals_hold(pln_signals *s) {
    struct sigaction counting = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigemptyset(&counting.sa_mask);
    s->seen = atomic_load(&arrived);
    for (size_t i = 0; i < PLN_SIGNALS; i++) {
        s->held[i] = sigaction(numbers[i], NULL, &s->before[i]) == 0 && s->before[i].sa_handler != SIG_IGN &&
                     sigaction(numbers[i], &counting, NULL) == 0;
    }
}

bool pln_signals_came(pln_signals *s) {
    if (atomic_load(&arrived) == s->seen) return false;
    pln_signals_release(s);
    return true;
}

void pln_signals_release(pln_signals *s) {
    for (size_t i = 0; i < PLN_SIGNALS; i++) {
        if (s->held[i]) sigaction(numbers[i], &s->before[i], NULL);
        s->held[i] = false;
    }
}

/* Ctrl-C without a handler: the signals are blocked while a run is under way, and asked for between its steps. */
#define _POSIX_C_SOURCE 200809L

#include "train/train.h"

#include <pthread.h>
#include <time.h>

static void watch(pln_signals *s, int number) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&s->watched, number);
}

void pln_signals_hold(pln_signals *s) {
    sigemptyset(&s->watched);
    watch(s, SIGINT);
    watch(s, SIGTERM);
    s->held = pthread_sigmask(SIG_BLOCK, &s->watched, &s->before) == 0;
}

bool pln_signals_came(pln_signals *s) {
    struct timespec at_once = {0, 0};
    if (!s->held || sigtimedwait(&s->watched, NULL, &at_once) < 0) return false;
    pln_signals_release(s);
    return true;
}

void pln_signals_release(pln_signals *s) {
    if (s->held) pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    s->held = false;
}

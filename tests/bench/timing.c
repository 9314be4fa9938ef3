#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 4096 };

/* Seconds. A fresh process runs slowly for some tenths of a second, until the processor has noticed. */
static double warm_up = 0.35;
static const double next_warm_up = 0.03;

static clockid_t kept_by = CLOCK_MONOTONIC;

void bench_count_cpu_time(void) { kept_by = CLOCK_PROCESS_CPUTIME_ID; }

double bench_now(void) {
    struct timespec t;
    clock_gettime(kept_by, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ms(void (*body)(void *), void *arg, double seconds, int repeats) {
    double sample[SAMPLES];
    int n = 0;
    for (double start = bench_now(); n < SAMPLES && (n < repeats || bench_now() - start < seconds); n++) {
        double begin = bench_now();
        body(arg);
        sample[n] = bench_now() - begin;
    }
    qsort(sample, (size_t)n, sizeof *sample, by_value);
    return 1e3 * sample[n / 2];
}

double bench_warm_median_ms(void (*body)(void *), void *arg, double warm, double seconds) {
    double start = bench_now();
    do body(arg);
    while (bench_now() - start < warm);
    return median_ms(body, arg, seconds, 1);
}

double bench_median_ms(void (*body)(void *), void *arg, double seconds, int repeats) {
    body(arg);
    body(arg);
    for (double start = bench_now(); bench_now() - start < warm_up;) body(arg);
    warm_up = next_warm_up;
    return median_ms(body, arg, seconds, repeats);
}

double bench_status_mib(const char *key) {
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL) return 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) kib = atof(line + strlen(key));
    fclose(f);
    return kib / 1024;
}

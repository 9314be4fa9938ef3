/* What the benchmarks share: a clock, and the median time of something repeated. */
#ifndef PLEAT_BENCH_TIMING_H
#define PLEAT_BENCH_TIMING_H

/* Seconds since some fixed moment. */
double bench_now(void);

/* Milliseconds: the median of at least `repeats` calls of body(arg), and of as many as `seconds` allow, after two calls and
 * some tens of milliseconds to warm up; some hundreds, the first time. */
double bench_median_ms(void (*body)(void *arg), void *arg, double seconds, int repeats);

#endif

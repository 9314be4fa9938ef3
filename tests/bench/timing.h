/* What the benchmarks share: a clock, the median time of something repeated, and the process's memory. */
#ifndef PLEAT_BENCH_TIMING_H
#define PLEAT_BENCH_TIMING_H

/* Seconds since some fixed moment. */
double bench_now(void);

/* From now on time is what the process has used of processors, all its threads together. */
void bench_count_cpu_time(void);

/* Milliseconds: the median of at least `repeats` calls of body(arg), and of as many as `seconds` allow, after two calls and
 * some tens of milliseconds to warm up; some hundreds, the first time. */
double bench_median_ms(void (*body)(void *arg), void *arg, double seconds, int repeats);

/* The same for bodies that may take seconds: at least one call, and as many as `warm` seconds allow, then at least one that
 * counts. */
double bench_warm_median_ms(void (*body)(void *arg), void *arg, double warm, double seconds);

/* A line of /proc/self/status in MiB, "VmHWM:" (the peak of the program's memory) or "VmRSS:"; 0 where there is none. */
double bench_status_mib(const char *key);

#endif

/* Leaks are looked for in the processes of the tests, where our code runs. Criterion's own process, which starts them and
 * counts, loses now and then a record of its own: 48 bytes that would fail a program whose tests all pass. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>

static int is_counting;

ReportHook(PRE_ALL)(struct criterion_test_set *tests) {
    (void)tests;
    is_counting = 1;
}

/* The sanitizer's question, asked when a process ends: 1 keeps it from looking. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return is_counting; }

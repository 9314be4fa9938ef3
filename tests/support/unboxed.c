/* Runs Criterion's tests without Criterion: each in a fork of this process, or in this one where there are no others (WebAssembly).
 * Criterion starts the program anew for each test, and hands it memory at an address of its own, which ThreadSanitizer keeps for
 * itself; valgrind would start anew as often; and few other machines have a Criterion to link.
 *     PROGRAM [--filter PATTERN] [options of Criterion, which are passed over] */
#define _XOPEN_SOURCE 700 /* strdup */

#include <criterion/criterion.h>
#include <criterion/event.h>
#include <criterion/options.h>

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSED, FAILED, SKIPPED, CRASHED };

/* The linker makes these, where a program has the section. */
extern struct criterion_test *__start_cr_tst[] __attribute__((weak)), *__stop_cr_tst[] __attribute__((weak));
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak)), *__stop_cr_sts[] __attribute__((weak));

struct criterion_options criterion_options;

static const struct criterion_test *running;
static bool failed;

/* Not back to the fixture's end: what it would find is half done. */
#ifdef __EMSCRIPTEN__
static jmp_buf out;
static _Noreturn void leave(int how) { longjmp(out, how); }
#else
static _Noreturn void leave(int how) { exit(how); }
#endif

/* ---- what the tests' macros call ----------------------------------------------------------------------- */

int cr_asprintf(char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    *text = malloc((size_t)length + 1);
    if (*text == NULL) return -1;
    va_start(args, format);
    vsnprintf(*text, (size_t)length + 1, format, args);
    va_end(args);
    return length;
}

void cr_asprintf_free(char *text) { free(text); }

/* The second argument is the condition. */
char *cr_translate_assert_msg(int index, ...) {
    va_list args;
    va_start(args, index);
    char *text = strdup(va_arg(args, const char *));
    va_end(args);
    return text;
}

void criterion_send_assert(struct criterion_assert_stats *s) {
    if (!s->passed)
        fprintf(stderr, "[----] %s:%u: Assertion Failed\n[----]   %s\n", s->file, s->line, s->message);
}

void cri_asserts_passed_incr(void) {}
void criterion_continue_test(void) { failed = true; }

void criterion_abort_test(void) { leave(FAILED); }

void criterion_skip_test(const char *format, ...) {
    (void)format;
    leave(SKIPPED);
}

static const struct criterion_test_extra_data *suite(void) {
    for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++)
        if (strcmp((*s)->name, running->category) == 0) return (*s)->data;
    return NULL;
}

void criterion_internal_test_setup(void) {
    const struct criterion_test_extra_data *s = suite();
    if (s != NULL && s->init != NULL) s->init();
    if (running->data->init != NULL) running->data->init();
}

void criterion_internal_test_main(void (*body)(void)) { body(); }

void criterion_internal_test_teardown(void) {
    const struct criterion_test_extra_data *s = suite();
    if (running->data->fini != NULL) running->data->fini();
    if (s != NULL && s->fini != NULL) s->fini();
}

/* ---- the program ------------------------------------------------------------------------------------------ */

#ifdef __EMSCRIPTEN__
static int run(const struct criterion_test *test) {
    running = test, failed = false;
    int how = setjmp(out);
    if (how == 0) test->test();
    return how != 0 ? how : failed ? FAILED : PASSED;
}
#else
static int run(const struct criterion_test *test) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        running = test;
        test->test();
        exit(failed ? FAILED : PASSED);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return CRASHED;
    if (WIFSIGNALED(status)) fprintf(stderr, "[----] ended by signal %d\n", WTERMSIG(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : CRASHED;
}
#endif

/* A program may have one of its own, and use the rest. */
__attribute__((weak)) int main(int argc, char **argv) {
    const char *filter = NULL;
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--filter") == 0) filter = argv[i + 1];
    unsigned tested = 0, passed = 0, crashed = 0;
    for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++) {
        char name[256];
        snprintf(name, sizeof name, "%s/%s", (*t)->category, (*t)->name);
        if ((*t)->data->disabled || (filter != NULL && fnmatch(filter, name, 0) != 0)) continue;
        int how = run(*t);
        if (how != PASSED && how != SKIPPED) fprintf(stderr, "[FAIL] %s: %d\n", name, how);
        tested += how != SKIPPED, passed += how == PASSED, crashed += how == CRASHED;
    }
    fprintf(stderr, "[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: %u \n", tested,
            passed, tested - passed, crashed);
    return tested != passed;
}

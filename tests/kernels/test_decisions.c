/* Every pair of decisions that the convolution engines can make: met by a list of geometries, and right there. tests/README.md says what
 * that promises. The list was found by build/tests/decisions_search. */
#include "decisions/decisions.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3 };

static decision_set sets[MOST_SETS];
static pleat_conv_shape cases[MOST_CASES];

/* The list, or the geometry of PLEAT_CASE alone. */
static size_t all_cases(void) {
    if (getenv("PLEAT_CASE")) return geometry_case(0, 0, cases);
    size_t n = decision_cases(cases, MOST_CASES);
    cr_assert(n > 0, "cases.txt cannot be read");
    return n;
}

/* Which of the sets learn something from a case: those on which it meets a pair that no case before it met. */
static bool teaches(const decision_set *s, const pleat_conv_shape *g, pairs *met) {
    size_t d[PL_QUESTIONS], n = decisions_of(s, g, d);
    return pairs_add(met, d, n) > 0 || (n > 0 && getenv("PLEAT_CASE"));
}

Test(decisions, every_pair) {
    size_t n = all_cases(), count = decision_sets(sets), runs = 0;
    pairs *met = calloc(count, sizeof *met);
    cr_assert_not_null(met);
    pleat_blas_single_thread();
    pleat_pool *pool = pleat_pool_new(THREADS);
    for (size_t i = 0; i < n; i++) {
        decision_case c;
        case_begin(&c, &cases[i], i);
        for (size_t k = 0; k < count; k++) {
            if (!teaches(&sets[k], &cases[i], &met[k])) continue;
            const char *wrong = case_run(&c, &sets[k], pool);
            cr_assert_null(wrong, "%s", wrong);
            runs++;
        }
        case_end(&c);
    }
    pleat_pool_free(pool);
    free(met);
    cr_assert_gt(runs, 0);
}

/* Baseline vectors that are not those of the machines whose pairs are listed. */
#if defined(__aarch64__) || defined(__AVX__)
#    define OF_OTHERS true
#else
#    define OF_OTHERS false
#endif

/* A pair that nobody meets is one that a rule excludes, and a rule excludes none that somebody meets. */
Test(decisions, no_pair_is_left_out, .disabled = OF_OTHERS) {
    static pairs met, impossible;
    const char *table = getenv("PLEAT_TABLE");
    size_t n = decision_cases(cases, MOST_CASES), count = decision_sets(sets);
    for (size_t k = 0; k < count; k++) {
        size_t d[PL_QUESTIONS], answers = 0, found = 0, excluded = 0;
        const char *wrong = pairs_impossible(&sets[k], &impossible);
        cr_assert_null(wrong, "%s", wrong);
        memset(&met, 0, sizeof met);
        for (size_t i = 0; i < n; i++) pairs_add(&met, d, decisions_of(&sets[k], &cases[i], d));
        for (size_t a = 0; a < DECISIONS; a++)
            for (size_t b = a; b < DECISIONS; b++) {
                decision_words first = decision_text(&sets[k], a), second = decision_text(&sets[k], b);
                bool asked =
                    a == b ? *first.text : a / ANSWERS != b / ANSWERS && met.has[a][a] && met.has[b][b];
                if (!asked) continue;
                cr_expect(met.has[a][b] != impossible.has[a][b], "%s: %s with %s is %s",
                          set_words(&sets[k]).text, first.text, second.text,
                          met.has[a][b] ? "met, and not impossible" : "not met");
                answers += a == b && met.has[a][a];
                found += a != b && met.has[a][b], excluded += a != b && impossible.has[a][b];
                if (table && a != b && (met.has[a][b] || *table == '2'))
                    printf("%s | %s | %s | %s\n", set_words(&sets[k]).text, first.text, second.text,
                           met.has[a][b] ? "met" : "impossible");
            }
        if (table)
            printf("%s: %zu answers, %zu pairs met, %zu impossible\n", set_words(&sets[k]).text, answers,
                   found, excluded);
    }
}

/* Triples of decisions: looks for geometries that meet them, and runs each that meets a new one.
 *
 *     build/tests/decisions_triples [--rounds N] [--seed N]
 *
 * A triple is open where its three pairs are met and it is not: a search cannot tell whether some shape has it. */
#include "decisions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 20000, THREADS = 3, STEPS = 100 };

typedef struct found {
    pleat_conv_shape g;
    size_t decision[PL_QUESTIONS], n;
} found;

typedef struct search {
    const decision_set *set;
    uint64_t seed;
    pairs pairs;
    unsigned char has[DECISIONS][DECISIONS][DECISIONS]; /* ascending numbers */
    found pool[POOL];
    size_t n, met, wrong;
    pleat_pool *threads;
} search;

static size_t add_triples(search *s, const found *f) {
    size_t added = 0;
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = i + 1; k < f->n; k++)
            for (size_t l = k + 1; l < f->n; l++) {
                unsigned char *has = &s->has[f->decision[i]][f->decision[k]][f->decision[l]];
                added += !*has, *has = 1;
            }
    return added;
}

/* Runs what meets a new triple, and keeps it. */
static bool try(search *s, const pleat_conv_shape *g, found *f) {
    f->g = *g, f->n = 0;
    if (!is_small_case(g)) return false;
    f->n = decisions_of(s->set, g, f->decision);
    size_t added = add_triples(s, f);
    if (added == 0) return f->n > 0;
    pairs_add(&s->pairs, f->decision, f->n);
    s->met += added;
    decision_case c;
    case_begin(&c, g, s->n);
    const char *wrong = case_run(&c, s->set, s->threads);
    case_end(&c);
    if (wrong) s->wrong++, printf("%s\n", wrong);
    if (s->n < POOL) s->pool[s->n++] = *f;
    return true;
}

static void explore(search *s, size_t rounds) {
    found f;
    for (size_t i = 0; i < rounds; i++) {
        bool fresh = s->n == 0 || random_below(&s->seed, 8) == 0;
        pleat_conv_shape g = fresh ? geometry_changed(&s->seed) : s->pool[random_below(&s->seed, s->n)].g;
        for (size_t k = 1 + random_below(&s->seed, 3); k-- > 0;) geometry_change(&s->seed, &g);
        try(s, &g, &f);
    }
}

static bool has(const found *f, size_t d) {
    for (size_t i = 0; i < f->n; i++)
        if (f->decision[i] == d) return true;
    return false;
}

/* From one that has a and b by steps that keep them. */
static void walk(search *s, size_t a, size_t b, size_t c) {
    size_t first = random_below(&s->seed, s->n);
    for (size_t i = 0; i < s->n; i++) {
        found at = s->pool[(first + i) % s->n], next;
        if (!has(&at, a) || !has(&at, b)) continue;
        for (size_t k = 0; k < STEPS && !s->has[a][b][c]; k++) {
            pleat_conv_shape g = at.g;
            for (size_t l = 1 + random_below(&s->seed, 3); l-- > 0;) geometry_change(&s->seed, &g);
            if (try(s, &g, &next) && has(&next, a) && has(&next, b)) at = next;
        }
        return;
    }
}

static size_t open_triples(search *s, bool look) {
    size_t n = 0;
    for (size_t a = 0; a < DECISIONS; a++)
        for (size_t b = a + 1; b < DECISIONS; b++) {
            if (!s->pairs.has[a][b]) continue;
            for (size_t c = b + 1; c < DECISIONS; c++) {
                if (s->has[a][b][c] || !s->pairs.has[a][c] || !s->pairs.has[b][c]) continue;
                if (look) walk(s, a, b, c);
                n += !s->has[a][b][c];
            }
        }
    return n;
}

int main(int count, char **argument) {
    static decision_set sets[MOST_SETS];
    static search s;
    static pleat_conv_shape cases[MOST_CASES];
    size_t rounds = 200000, seed = 1, wrong = 0, runs = 0, met = 0, open = 0;
    for (int i = 1; i + 1 < count; i += 2) {
        if (strcmp(argument[i], "--rounds") == 0) rounds = strtoul(argument[i + 1], NULL, 10);
        if (strcmp(argument[i], "--seed") == 0) seed = strtoul(argument[i + 1], NULL, 10);
    }
    size_t n = decision_cases(cases, MOST_CASES), all = decision_sets(sets);
    pleat_blas_single_thread();
    pleat_pool *threads = pleat_pool_new(THREADS);
    for (size_t k = 0; k < all; k++) {
        found f;
        memset(&s, 0, sizeof s);
        s.set = &sets[k], s.seed = seed * MOST_SETS + k, s.threads = threads;
        for (size_t i = 0; i < n; i++) try(&s, &cases[i], &f);
        explore(&s, rounds), open_triples(&s, true);
        size_t left = open_triples(&s, false);
        printf("%s: %zu triples met, %zu open, %zu geometries run, %zu wrong\n", set_words(s.set).text, s.met,
               left, s.n, s.wrong);
        fflush(stdout);
        wrong += s.wrong, runs += s.n, met += s.met, open += left;
    }
    pleat_pool_free(threads);
    printf("all: %zu triples met, %zu open, %zu geometries run, %zu wrong\n", met, open, runs, wrong);
    return wrong > 0;
}

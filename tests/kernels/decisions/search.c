/* Looks for geometries that meet every pair of decisions, and writes them, as few as it can: decisions_search > decisions.txt */
#include "decisions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 4000, TRIES = 2000 };

typedef struct found {
    pleat_conv_shape g;
    size_t decision[PL_QUESTIONS], n;
} found;

typedef struct search {
    const decision_set *set;
    uint64_t seed;
    pairs pairs, impossible;
    found pool[POOL];
    size_t n, walks; /* walks: for each pair, from so many geometries */
} search;

static bool is_new(search *s, const pleat_conv_shape *g) {
    found *f = &s->pool[s->n];
    if (s->n == POOL || !is_small_case(g)) return false;
    f->g = *g, f->n = decisions_of(s->set, g, f->decision);
    bool added = pairs_add(&s->pairs, f->decision, f->n) > 0;
    s->n += added;
    return added;
}

static void explore(search *s, size_t rounds) {
    for (size_t i = 0; i < rounds; i++) {
        pleat_conv_shape g = s->n == 0 || random_below(&s->seed, 8) == 0
                                 ? geometry_changed(&s->seed)
                                 : s->pool[random_below(&s->seed, s->n)].g;
        for (size_t k = random_below(&s->seed, 3); k-- > 0;) geometry_change(&s->seed, &g);
        geometry_change(&s->seed, &g);
        is_new(s, &g);
    }
}

static bool has(const found *f, size_t d) {
    for (size_t i = 0; i < f->n; i++)
        if (f->decision[i] == d) return true;
    return false;
}

/* From one that has a to one that has b, too, by steps that keep a. */
static bool walk_from(search *s, found at, size_t a, size_t b) {
    for (size_t k = 0; k < TRIES; k++) {
        found next = at;
        for (size_t c = 1 + random_below(&s->seed, 3); c-- > 0;) geometry_change(&s->seed, &next.g);
        if (!is_small_case(&next.g)) continue;
        is_new(s, &next.g);
        next.n = decisions_of(s->set, &next.g, next.decision);
        if (!has(&next, a)) continue;
        at = next;
        if (has(&at, b)) return true;
    }
    return false;
}

static bool walk(search *s, size_t a, size_t b) {
    size_t first = random_below(&s->seed, s->n), walks = 0;
    for (size_t i = 0; i < s->n && walks < s->walks; i++) {
        const found *at = &s->pool[(first + i) % s->n];
        if (has(at, a) && (walks++, walk_from(s, *at, a, b))) return true;
    }
    return false;
}

/* Both orders, wherever each is met alone and the two not together. Returns how many pairs there are. */
static size_t pairs_left(search *s, bool look) {
    size_t n = 0;
    for (size_t a = 0; a < DECISIONS; a++)
        for (size_t b = a + 1; b < DECISIONS; b++) {
            bool open = a / ANSWERS != b / ANSWERS && !s->pairs.has[a][b] && !s->impossible.has[a][b];
            if (!open || !s->pairs.has[a][a] || !s->pairs.has[b][b]) continue;
            if (look && (walk(s, a, b) || walk(s, b, a))) continue;
            n++;
            if (!look)
                fprintf(stderr, "open: %s: %s with %s\n", set_words(s->set).text,
                        decision_text(s->set, a).text, decision_text(s->set, b).text);
        }
    return n;
}

/* The fewest of the pool that meet all that it meets, taken greedily; those of `kept` are there already. */
static void keep(search *s, pleat_conv_shape *kept, size_t *n) {
    static pairs done;
    memset(&done, 0, sizeof done);
    size_t d[PL_QUESTIONS];
    for (size_t i = 0; i < *n; i++) pairs_add(&done, d, decisions_of(s->set, &kept[i], d));
    for (;;) {
        size_t best = 0, most = 0;
        for (size_t i = 0; i < s->n; i++) {
            size_t fresh = 0;
            for (size_t a = 0; a < s->pool[i].n; a++)
                for (size_t b = a; b < s->pool[i].n; b++)
                    fresh += !done.has[s->pool[i].decision[a]][s->pool[i].decision[b]];
            if (fresh > most) most = fresh, best = i;
        }
        if (most == 0) return;
        pairs_add(&done, s->pool[best].decision, s->pool[best].n);
        kept[(*n)++] = s->pool[best].g;
    }
}

static void search_set(search *s, pleat_conv_shape *kept, size_t *n, size_t rounds) {
    s->walks = 1 + rounds / 50000;
    size_t d[PL_QUESTIONS];
    const char *wrong = pairs_impossible(s->set, &s->impossible);
    if (wrong) fprintf(stderr, "%s\n", wrong);
    for (size_t k = 0; k < *n; k++)
        if (decisions_of(s->set, &kept[k], d)) is_new(s, &kept[k]);
    explore(s, rounds);
    for (size_t round = 0; round < 3 && pairs_left(s, true); round++) explore(s, rounds / 4);
    size_t before = *n, left = pairs_left(s, false);
    keep(s, kept, n);
    fprintf(stderr, "%s: %zu pairs open, %zu geometries more\n", set_words(s->set).text, left, *n - before);
    for (size_t a = 0; a < DECISIONS; a++)
        for (size_t b = a; b < DECISIONS; b++)
            if (s->pairs.has[a][b] && s->impossible.has[a][b])
                fprintf(stderr, "not impossible: %s: %s with %s\n", set_words(s->set).text,
                        decision_text(s->set, a).text, decision_text(s->set, b).text);
    for (size_t a = 0; a < DECISIONS; a++)
        if (decision_text(s->set, a).text[0] && !s->pairs.has[a][a] && !s->impossible.has[a][a])
            fprintf(stderr, "open: %s: %s\n", set_words(s->set).text, decision_text(s->set, a).text);
}

int main(int count, char **argument) {
    static decision_set sets[MOST_SETS];
    static search s;
    static pleat_conv_shape kept[MOST_CASES];
    size_t n = 0, all = decision_sets(sets), rounds = count > 1 ? strtoul(argument[1], NULL, 10) : 400000;
    for (size_t i = 0; i < all; i++) {
        memset(&s, 0, sizeof s);
        s.set = &sets[i], s.seed = i;
        search_set(&s, kept, &n, rounds);
    }
    puts(
        "# Geometries that meet every pair of decisions that some shape has, found by build/tests/decisions_search > tests/kernels/decisions/cases.txt");
    for (size_t i = 0; i < n; i++) puts(geometry_print(&kept[i]).text);
    return 0;
}

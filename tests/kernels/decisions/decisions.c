/* Decisions: their words, which pairs a suite meets, and which no shape can have. */
#include "decisions.h"

#include "kernels/simd/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL(name) extern const pl_engine name##_small_f32, name##_small_f64;
SMALL(pl_im2col)
SMALL(pl_implicit_gemm_baseline)
SMALL(pl_direct_baseline)
SMALL(pl_planes_baseline)
SMALL(pl_depthwise_baseline)
#ifdef PL_AVX2
SMALL(pl_implicit_gemm_avx2)
SMALL(pl_direct_avx2)
SMALL(pl_planes_avx2)
SMALL(pl_depthwise_avx2)
#endif
#ifdef PL_AVX512
SMALL(pl_implicit_gemm_avx512)
SMALL(pl_direct_avx512)
SMALL(pl_planes_avx512)
SMALL(pl_depthwise_avx512)
#endif
#undef SMALL

#define BOTH(name) \
    { &name##_small_f32, &name##_small_f64 }

size_t decision_sets(decision_set out[MOST_SETS]) {
    static const struct {
        const char *isa, *kind;
        const pl_engine *engine[2];
        size_t vector;
    } engines[] = {
        {"any", "im2col", BOTH(pl_im2col), 16},
        {"baseline", "implicit_gemm", BOTH(pl_implicit_gemm_baseline), 16},
        {"baseline", "direct", BOTH(pl_direct_baseline), 16},
        {"baseline", "planes", BOTH(pl_planes_baseline), 16},
        {"baseline", "depthwise", BOTH(pl_depthwise_baseline), 16},
#ifdef PL_AVX2
        {"avx2", "implicit_gemm", BOTH(pl_implicit_gemm_avx2), 32},
        {"avx2", "direct", BOTH(pl_direct_avx2), 32},
        {"avx2", "planes", BOTH(pl_planes_avx2), 32},
        {"avx2", "depthwise", BOTH(pl_depthwise_avx2), 32},
#endif
#ifdef PL_AVX512
        {"avx512", "implicit_gemm", BOTH(pl_implicit_gemm_avx512), 64},
        {"avx512", "direct", BOTH(pl_direct_avx512), 64},
        {"avx512", "planes", BOTH(pl_planes_avx512), 64},
        {"avx512", "depthwise", BOTH(pl_depthwise_avx512), 64},
#endif
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        if (!pl_isa_runs_here(engines[i].engine[0]->isa)) continue;
        for (size_t k = 0; k < 6; k++)
            out[n++] = (decision_set){engines[i].isa, engines[i].kind, engines[i].engine[k / 3],
                                      engines[i].vector, (pleat_conv_op)(k % 3)};
    }
    return n;
}

/* ---- words ---------------------------------------------------------------------------------------------- */

#define COUNT \
    { NULL, "1", "2", "3+" }
#define REST \
    { NULL, "full", "less" }

static const struct {
    const char *name, *answer[ANSWERS];
} words[PL_QUESTIONS] = {
    [PL_FORM] = {"form", {NULL}},
    [PL_GROUPS] = {"groups", COUNT},
    [PL_PHASES] = {"phases", {NULL, "none", "left", "joint", "down", "along", "both"}},
    [PL_TAPS] = {"taps", {NULL, "all", "some", "none"}},
    [PL_PACKING] = {"packing", {NULL, "once", "often"}},
    [PL_BLOCKS] = {"blocks", COUNT},
    [PL_LAST_BLOCK] = {"last-block", REST},
    [PL_PARTS] = {"parts", COUNT},
    [PL_LAST_PART] = {"last-part", REST},
    [PL_TILES] = {"tiles", COUNT},
    [PL_LAST_TILE] = {"last-tile", REST},
    [PL_CUT] = {"cut", {NULL, "images", "image", "rows", "row"}},
    [PL_STRIPS] = {"strips", COUNT},
    [PL_LAST_STRIP] = {"last-strip", REST},
    [PL_VECTORS] = {"vectors", {NULL, "1", "2", "3", "4", "odd", "even"}},
    [PL_LAST_VECTOR] = {"last-vector", REST},
    [PL_RIM] = {"rim", {NULL, "ignored", "none", "rows", "columns", "both"}},
    [PL_SHARED] = {"shared", {NULL, "none", "beside", "below", "both"}},
    [PL_FILL] = {"fill",
                 {NULL, "whole", "short", "short-evens", "long", "long-evens", "long-steps", "copy",
                  "in-place"}},
    [PL_STORE] = {"store", {NULL, "whole", "short", "short-pairs", "rows", "pairs", "apart"}},
    [PL_LENGTH] = {"length", {NULL, "vectors", "quads", "few"}},
    [PL_AHEAD] = {"ahead", {NULL, "no", "yes"}},
    [PL_CHUNKS] = {"chunks", COUNT},
    [PL_LAST_CHUNK] = {"last-chunk", REST},
    [PL_MARGIN] = {"margin", {NULL, "ends", "rows"}},
    [PL_REACH] = {"reach", {NULL, "next", "hops", "skips"}},
    [PL_LAYOUT] = {"layout", {NULL, "plain", "x", "y", "both"}},
};
#undef COUNT
#undef REST

/* The loops of an engine: the answers to PL_FORM. */
static const char *const *forms_of(const decision_set *s) {
    static const char *const im2col[ANSWERS] = {NULL, "columns", "image"},
                             *const implicit[ANSWERS] = {NULL, "pixels", "channels", "outers", "dots"},
                             *const direct[ANSWERS] = {NULL, "unrolled", "any-taps"},
                             *const depthwise[ANSWERS] = {NULL, "one", "several"};
    return strcmp(s->kind, "im2col") == 0          ? im2col
           : strcmp(s->kind, "implicit_gemm") == 0 ? implicit
           : strcmp(s->kind, "depthwise") == 0     ? depthwise
                                                   : direct;
}

static const char *answer_word(const decision_set *s, size_t decision) {
    size_t question = decision / ANSWERS, answer = decision % ANSWERS;
    return question == PL_FORM ? forms_of(s)[answer] : words[question].answer[answer];
}

decision_words set_words(const decision_set *s) {
    static const char *const ops[] = {"forward", "transpose", "weight"};
    decision_words w;
    snprintf(w.text, sizeof w.text, "%s %s %s %s", s->isa, s->kind,
             s->small->element == sizeof(float) ? "f32" : "f64", ops[s->op]);
    return w;
}

decision_words decision_text(const decision_set *s, size_t decision) {
    decision_words w = {""};
    const char *answer = answer_word(s, decision);
    if (answer) snprintf(w.text, sizeof w.text, "%s=%s", words[decision / ANSWERS].name, answer);
    return w;
}

/* ---- pairs ---------------------------------------------------------------------------------------------- */

size_t decisions_of(const decision_set *s, const pleat_conv_shape *g, size_t out[PL_QUESTIONS]) {
    size_t n = 0;
    pleat_conv_plan *plan;
    bool plain = !g->blocked[0] && !g->blocked[1];
    if (!plain && (!s->small->takes_blocked || pleat_conv_check(g, s->small->element))) return 0;
    if (!s->small->make(g, s->op, &plan)) return 0;
    if (!plan) exit(2);
    pl_decisions d = s->small->decide(plan);
    pleat_conv_plan_free(plan);
    for (size_t q = 0; q < PL_QUESTIONS; q++)
        if (d.answer[q]) out[n++] = q * ANSWERS + d.answer[q];
    return n;
}

bool is_small_case(const pleat_conv_shape *g) {
    if (g->N == 0 || pleat_conv_check(g, sizeof(double))) return false;
    double map = (double)geometry_map(g), terms = map * (double)(g->C / g->G * g->R * g->S);
    return terms <= 400000 && map <= 20000 && geometry_image(g) <= 20000 && geometry_kernel(g) <= 20000;
}

size_t pairs_add(pairs *p, const size_t *decisions, size_t n) {
    size_t added = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i; k < n; k++) {
            bool *has = &p->has[decisions[i]][decisions[k]];
            added += !*has;
            *has = true;
        }
    return added;
}

/* ---- rules ---------------------------------------------------------------------------------------------- */

/* Cuts a field off a rule, without the spaces around it. */
static char *cut_field(char **rest) {
    char *field = *rest + strspn(*rest, " "), *end = field + strcspn(field, "|");
    *rest = *end ? end + 1 : end;
    while (end > field && end[-1] == ' ') end--;
    *end = '\0';
    return field;
}

/* Whether a word is in a list like "a/b/c"; "*" is all. */
static bool is_listed(const char *list, const char *word) {
    size_t n = strlen(word);
    if (strcmp(list, "*") == 0) return true;
    for (const char *at = list; *at; at += strcspn(at, "/"), at += *at == '/')
        if (strncmp(at, word, n) == 0 && (at[n] == '/' || at[n] == '\0')) return true;
    return false;
}

/* The decisions of a set that a pattern like "last-part=full/less" names; returns how many. */
static size_t match(const decision_set *s, const char *pattern, size_t out[ANSWERS]) {
    size_t n = 0, name = strcspn(pattern, "=");
    if (pattern[name] == '\0') return 0;
    for (size_t q = 0; q < PL_QUESTIONS; q++) {
        if (strlen(words[q].name) != name || strncmp(words[q].name, pattern, name) != 0) continue;
        for (size_t a = 1; a < ANSWERS; a++) {
            const char *word = answer_word(s, q * ANSWERS + a);
            if (word && is_listed(pattern + name + 1, word)) out[n++] = q * ANSWERS + a;
        }
    }
    return n;
}

static bool is_meant(const decision_set *s, const char *kind, const char *ops, const char *lanes) {
    char number[24], exactly[40];
    snprintf(number, sizeof number, "%zu", s->vector / s->small->element);
    snprintf(exactly, sizeof exactly, "%s:%s", s->isa, number);
    return is_listed(kind, s->kind) && strchr(ops, "ftw"[s->op]) &&
           (is_listed(lanes, number) || is_listed(lanes, exactly));
}

static bool apply_rule(const decision_set *s, char *line, pairs *p) {
    char *kind = cut_field(&line), *ops = cut_field(&line), *lanes = cut_field(&line);
    char *first = cut_field(&line), *second = cut_field(&line), *why = cut_field(&line);
    size_t a[ANSWERS], b[ANSWERS];
    if (!is_meant(s, kind, ops, lanes)) return true;
    size_t n = match(s, first, a), m = strcmp(second, "never") == 0 ? 0 : match(s, second, b);
    for (size_t i = 0; i < n; i++) {
        if (m == 0) p->has[a[i]][a[i]] = true;
        for (size_t k = 0; k < m; k++) p->has[a[i] < b[k] ? a[i] : b[k]][a[i] < b[k] ? b[k] : a[i]] = true;
    }
    return n > 0 && (m > 0 || strcmp(second, "never") == 0) && *why;
}

const char *pairs_impossible(const decision_set *s, pairs *p) {
    static char line[400], wrong[600];
    FILE *f = fopen(PLEAT_ORACLE_DIR "/../kernels/decisions/impossible.txt", "r");
    memset(p, 0, sizeof *p);
    if (!f) return "impossible.txt cannot be read";
    const char *error = NULL;
    while (!error && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0') continue;
        snprintf(wrong, sizeof wrong, "%s: a rule that says nothing: %s", set_words(s).text, line);
        if (!apply_rule(s, line, p)) error = wrong;
    }
    fclose(f);
    return error;
}

size_t decision_cases(pleat_conv_shape *out, size_t most) {
    FILE *f = fopen(PLEAT_ORACLE_DIR "/../kernels/decisions/cases.txt", "r");
    char line[400];
    size_t n = 0;
    while (f && n < most && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#') continue;
        if (!geometry_parse(line, &out[n++])) n = most = 0;
    }
    if (f) fclose(f);
    return n;
}

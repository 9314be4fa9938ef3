/* decisions.h: which decisions of the engines a list of geometries meets, alone and together.
 *
 * A set is an engine for one instruction set, with one type and one operator. The engines are compiled once more for these tests, with
 * limits so small that a few thousand numbers need several blocks, parts, tiles, strips and partial sums. A decision is a question and
 * its answer (kernels/conv/decisions.h), and counts as question * ANSWERS + answer. */
#ifndef DECISIONS_H
#define DECISIONS_H

#include "geometry.h"
#include "kernels/conv/engine.h"

#include <stdbool.h>
#include <stddef.h>

enum { ANSWERS = 9, DECISIONS = PL_QUESTIONS * ANSWERS, MOST_SETS = 80, MOST_CASES = 5000 };

typedef struct decision_set {
    const char *isa, *kind; /* "avx2", "implicit_gemm" */
    const pl_engine *small;
    size_t vector; /* bytes */
    pleat_conv_op op;
} decision_set;

/* Those that the processor can run. Returns how many. */
size_t decision_sets(decision_set out[MOST_SETS]);

typedef struct decision_words {
    char text[80];
} decision_words;

decision_words set_words(const decision_set *s);                      /* as "avx512 panels f32 transpose" */
decision_words decision_text(const decision_set *s, size_t decision); /* as "packing=once"; "" for none */

/* The decisions for a geometry, in ascending order. Returns how many; 0 if the engine does not take it. */
size_t decisions_of(const decision_set *s, const pleat_conv_shape *g, size_t out[PL_QUESTIONS]);

/* A geometry after a change or two: of a size, a stride, a dilation, a padding; and one after many. */
void geometry_change(uint64_t *seed, pleat_conv_shape *g);
pleat_conv_shape geometry_changed(uint64_t *seed);

/* Legal, and small enough for the seven loops. */
bool is_small_case(const pleat_conv_shape *g);

/* Pairs of decisions, the smaller number first; of a single one, as a pair with itself. */
typedef struct pairs {
    bool has[DECISIONS][DECISIONS];
} pairs;

/* All pairs of some decisions. Returns how many are new. */
size_t pairs_add(pairs *p, const size_t *decisions, size_t n);

/* The pairs that no shape has, by the rules of impossible.txt. Returns NULL, or what is wrong with that file. */
const char *pairs_impossible(const decision_set *s, pairs *p);

/* The geometries of cases.txt, at most `most`. Returns how many, 0 if the file cannot be read or has a wrong line. */
size_t decision_cases(pleat_conv_shape *out, size_t most);

/* A geometry with whole numbers as operands. */
typedef struct decision_case {
    pleat_conv_shape g;
    size_t n[3];       /* of x, w, y */
    double *values[3]; /* x, w, y */
    double *want[3];   /* what the seven loops give for each of them, or NULL */
} decision_case;

void case_begin(decision_case *c, const pleat_conv_shape *g, uint64_t seed);
void case_end(decision_case *c);

/* Runs a case on a set's engine, with and without bias, relu and finish, on one thread and three, against the seven loops, bit for bit. Memory
 * that nobody has written holds large numbers, and the engine's own result is compared: no repair of NaN can hide a fault. Then
 * with factors that are not finite, repair included. Returns what is wrong, or NULL. */
const char *case_run(decision_case *c, const decision_set *s, pleat_pool *pool);

#endif

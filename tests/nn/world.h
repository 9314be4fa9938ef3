/* world.h: worlds whose ranks are threads of a test, over letters in memory. */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpi/world.h"
#include "pleat_nn.h"
#include "width.h"

/* ---- letters --------------------------------------------------------------------------------------------- */

/* A box for each rank. */
typedef struct post post;

/* Seed 0: letters are copied, and arrive at once. Any other: some are copied, others stay where they are until they are
 * received, and some arrive late. */
post *post_new(size_t size, uint64_t seed);
void post_free(post *p);
pln_transport post_transport(post *p, size_t rank);
/* What the rank sends from now on gets lost. */
void post_lose(post *p, size_t rank);
/* Letters that nobody has asked for. */
size_t post_left(const post *p);
/* Was a letter of another length than the one that was asked for? */
bool post_mismatched(const post *p);

/* ---- what came out of a rank ------------------------------------------------------------------------------- */

enum { RESULTS = 400 };

typedef struct result {
    char name[64];
    uint64_t hash;
    double first; /* number, to be shown */
} result;

typedef struct results {
    size_t n;
    result of[RESULTS];
} results;

void take_number(results *r, const char *name, double x);
void take_tensor(results *r, const char *name, const pleat_tensor *t);
/* State dict; state, steps and rate of the optimizer; averages: of those that are not NULL. */
void take_part(results *r, const pleat_nn_part *p);
void take_rng(results *r, pleat_ctx *ctx);
/* NULL, or where the first difference is. */
const char *differ(const results *a, const results *b);

/* ---- ranks ------------------------------------------------------------------------------------------------- */

typedef struct member {
    size_t rank, ranks;
    pleat_ctx *ctx;
    pleat_nn_world *world;
    post *post;
    const void *arg; /* of the test */
    char wrong[400]; /* the first thing that was */
    results results;
} member;

/* Criterion's own assertions are for its thread alone. */
#define EXPECT(m, condition, ...) \
    ((condition) ? (void)0 : complain(m, __FILE__, __LINE__, #condition, __VA_ARGS__))
__attribute__((format(printf, 5, 6))) void complain(member *m, const char *file, int line,
                                                    const char *condition, const char *format, ...);
#define EXPECT_FINE(m, status) EXPECT(m, (status) == PLEAT_OK, "%s", pleat_error((m)->ctx)->text)
/* The status is `code`, and so is the error, with this part in its one line; clears it. */
void expect_error_of(member *m, pleat_status status, pleat_status code, const char *part);

typedef struct ranks {
    size_t n;
    uint64_t seed;
    pleat_nn_world_args world;
    void (*run)(member *m);
    const void *arg;
    bool loses; /* letters may be left at the end */
    const char *what;
} ranks;

/* Run it on n ranks. The caller frees the members. */
member *run_ranks(const ranks *r);
/* All members have these results. */
void expect_results(const ranks *r, const member *m, const results *expected);

#endif

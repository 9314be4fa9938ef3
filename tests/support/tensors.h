/* tensors.h: what the tests of ops/ share: a context for each test, tensors of whole numbers (whose sums and products
 * are exact), and comparisons that say where they fail. */
#ifndef TENSORS_H
#define TENSORS_H

#include <criterion/criterion.h>

#include "pleat.h"
#include "width.h"

/* The fixtures of a suite: a context of two threads for each test. A test must not leave an error behind. */
extern pleat_ctx *ctx;
void tensors_begin(void);
void tensors_end(void);

/* Whole numbers -4..4 from the context's stream. */
pleat_tensor *whole(pleat_dtype dtype, size_t rank, const size_t *shape);
/* 1, 2, 3, ... */
pleat_tensor *counted(pleat_dtype dtype, size_t rank, const size_t *shape);
/* The values of t, rounded to the other type. */
pleat_tensor *as_type(pleat_tensor *t, pleat_dtype dtype);
/* t's values in a view with gaps along the last two axes, backwards along the last: nothing that BLAS can read. */
pleat_tensor *gappy(pleat_tensor *t);

/* Where the largest of each line along the axis stands, as f64 numbers; poison if argmax refuses. */
pleat_tensor *largest_at(pleat_tensor *t, size_t axis);

/* The next index in row-major order; false, and all zeros, after the last. */
bool next_index(size_t rank, const size_t *shape, size_t *index);
/* The element of t that stands at `index` of a tensor of `rank` axes to which t is broadcast. */
double broadcast_at(const pleat_tensor *t, size_t rank, const size_t *index);
/* x as a value of the type. */
double rounded(pleat_dtype dtype, double x);

/* Shape, type and every element are the same, bit for bit (a NaN equals a NaN). */
bool same(const pleat_tensor *found, const pleat_tensor *expected);
/* Shapes are the same, and no difference exceeds `tolerance` times the largest |expected| or 1. */
bool near(const pleat_tensor *found, const pleat_tensor *expected, double tolerance);
/* The shape and the values, exactly. */
bool holds(const pleat_tensor *found, size_t rank, const size_t *shape, const double *values);
/* t is poison; the context's error has this code, is about `op`, and says every part (up to four, then NULL) in one
 * line. Clears the error. */
bool refused(const pleat_tensor *t, pleat_status code, const char *op, const char *const parts[4]);
/* The same for a verb's status. */
bool failed(pleat_status status, pleat_status code, const char *op, const char *const parts[4]);
/* What the last of these found wrong. */
const char *difference(void);

#define EXPECT_SAME(found, expected) cr_assert(same(found, expected), "%s", difference())
#define EXPECT_NEAR(found, expected, tolerance) \
    cr_assert(near(found, expected, tolerance), "%s", difference())
#define VALUES(...) \
    (const double[]) { __VA_ARGS__ }
#define EXPECT_HOLDS(found, ...) cr_assert(holds(found, __VA_ARGS__), "%s", difference())
#define PARTS(...) \
    (const char *const[4]) { __VA_ARGS__ }
#define EXPECT_REFUSED(t, code, op, ...) \
    cr_assert(refused(t, code, op, PARTS(__VA_ARGS__)), "%s", difference())
#define EXPECT_FAILED(status, code, op, ...) \
    cr_assert(failed(status, code, op, PARTS(__VA_ARGS__)), "%s", difference())
#define EXPECT_OK(status) cr_assert((status) == PLEAT_OK, "%s", pleat_error(ctx)->text)

#endif

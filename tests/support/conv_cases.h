/* conv_cases.h: the geometries of geometry.h as tensors of whole numbers, for the op-level laws of the convolution
 * family. The form T(x, w, y) is linear in each of three tensors; each stands here under its letter. */
#ifndef CONV_CASES_H
#define CONV_CASES_H

#include "geometry.h"
#include "reference.h"
#include "tensors.h"

typedef enum letter { X, W, Y } letter;

typedef struct conv_case {
    pleat_conv_shape g;
    pleat_tensor *t[3]; /* one of each shape */
} conv_case;

/* The i-th of the corner cases and then `random` random ones, made anew of whole numbers. False behind the last. */
bool conv_case_next(conv_case *c, size_t i, size_t random, pleat_dtype dtype);

/* The arguments of the op for dT/d(letter), with every size explicit. */
pleat_conv_args derivative_args(const pleat_conv_shape *g, letter of, pleat_tensor *const t[3]);

/* dT/d(letter) by the op for it, with every size explicit: conv2d gives Y, conv2d_transpose X, conv2d_weight W. */
pleat_tensor *derivative(const pleat_conv_shape *g, letter of, pleat_tensor *const t[3]);

/* The same by the seven loops. */
pleat_tensor *naive_derivative(const pleat_conv_shape *g, letter of, pleat_tensor *const t[3]);

/* Equal as numbers, whatever the signs of zeros; difference() says where not. */
bool equal(pleat_tensor *found, pleat_tensor *expected);

#define EXPECT_EQUAL(found, expected, c, test)                \
    cr_assert(equal(found, expected), "%s\n%s", difference(), \
              geometry_reproduce(&(c)->g, "test_laws", test).text)

#endif

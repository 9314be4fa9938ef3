/* borders.h: what tests of borders share, of sizes that choose a way. */
#ifndef BORDERS_H
#define BORDERS_H

#include "tensors.h"

/* A border, and its neighbours. */
#define ABOUT(border) (border) - 1, (border), (border) + 1

/* Run a test in both types, on one thread and on three. */
void on_every_number_of_threads(void (*test)(pleat_dtype type));

/* n zeros, which the caller frees. */
double *room_for(size_t n);
/* t's elements, which the caller frees: read by their strides, one by one. */
double *numbers_of(pleat_tensor *t);
/* t's elements are these, but for the sign of 0. */
void expect_numbers(const char *what, pleat_tensor *found, const double *expected);

#endif

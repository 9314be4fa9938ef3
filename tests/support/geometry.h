/* Geometries of convolutions to test with: hand-written corner cases and random ones, each a line of text.
 *
 *     for (size_t i = 0; geometry_case(i, 2000, &g); i++) ...      // the corners, then 2000 random ones
 *
 * A geometry prints as `N1 C4 O2 G1 H3 W5 P2 Q3 R3 S1 s2,1 d1,1 p-1,0`: sizes, strides, dilations, paddings; ` b1,0` follows
 * where x is in blocks of channels, ` b0,1` where y is. With such a line in the environment as PLEAT_CASE, it is the only case;
 * with PLEAT_TEST_EVERY=n only every n-th of the random ones is drawn, for builds that are slow. */
#ifndef GEOMETRY_H
#define GEOMETRY_H

#include "pleat_kernels.h"
#include "width.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The i-th case; false behind the last one. Exits with a message if PLEAT_CASE is no legal geometry. */
bool geometry_case(size_t i, size_t random_cases, pleat_conv_shape *g);

pleat_conv_shape geometry_random(uint64_t *seed);

/* Sizes as networks have them, log-uniform: a batch of up to 2000, 400 channels in and out, images of up to 256 by 256 or lines of up to
 * 8192, kernels of up to 12, strides of up to 8, groups of one channel or of several; at most so many products, and numbers in x, w and y. */
pleat_conv_shape geometry_drawn(uint64_t *seed, double products, double numbers);

typedef struct geometry_line {
    char text[400];
} geometry_line;

geometry_line geometry_print(const pleat_conv_shape *g);
bool geometry_parse(const char *text, pleat_conv_shape *g);

/* The command that runs one case of one test again. */
geometry_line geometry_reproduce(const pleat_conv_shape *g, const char *program, const char *test);

/* Elements of x, w and y. */
size_t geometry_image(const pleat_conv_shape *g);
size_t geometry_kernel(const pleat_conv_shape *g);
size_t geometry_map(const pleat_conv_shape *g);

/* Numbers for the cases: a stream for each seed, the same on every machine. */
size_t random_below(uint64_t *seed, size_t n);                      /* 0 .. n-1 */
ptrdiff_t random_between(uint64_t *seed, ptrdiff_t a, ptrdiff_t b); /* a .. b */

/* Small integers, -4 .. 4: their sums are exact in float, so that results compare bit for bit. */
void fill_integers(double *a, size_t n, uint64_t seed);

/* Less than an eighth of the numbers differ from 0: comparing them proves little. */
bool mostly_zero(const double *a, size_t n);

#endif

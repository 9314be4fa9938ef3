/* The convolution family as its definition: one sum over seven indices, with nothing clever in it. */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "pleat_kernels.h"

/* T(x, w, y) = sum y[n,o,p,q] w[o,c,r,s] x[n, c, p*sh + r*dh - ph, q*sw + s*dw - pw], derived for the operand that
 * the operator gives: y for forward, x for transpose, w for weight. That operand is overwritten. */
void reference_conv(const pleat_conv_shape *g, pleat_conv_op op, double *x, double *w, double *y);

/* The pixel of x that map pixel (p, q) meets through tap (r, s), as an index into one channel, or -1 outside. */
long long reference_pixel(const pleat_conv_shape *g, size_t p, size_t q, size_t r, size_t s);

#endif

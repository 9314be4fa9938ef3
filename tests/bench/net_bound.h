/* The least that a training step of any network can take: its matrix products at BLAS's rate, and the passes over memory that its
 * recorded computation cannot do without. */
#ifndef PLEAT_BENCH_NET_BOUND_H
#define PLEAT_BENCH_NET_BOUND_H

#include "nets.h"

#include <pleat_kernels.h>

typedef struct net_bound {
    double gemm_ms, move_ms;
    double gmacs;  /* multiply-adds of the products in units of 10^9 */
    double mbytes; /* that move, in units of 10^6 */
} net_bound;

/* Measured, with buffers of its own. Counted from the recorded computation of the losses, so what is counted hardly depends on how
 * the library makes ops of it:
 *
 * - products: each convolution and matmul, and one more for each of its operands that a parameter stands behind. A depthwise
 *   convolution has none: memory bounds it.
 * - moved: each tensor between two layers is written once and read once by every layer that takes it; where a parameter stands
 *   behind it, its cotangent likewise. Element by element ops, sums and losses join the pass of the layer before, and of a
 *   layer that ends in a loss only the cotangent moves. Views and concat are free. A norm is a layer of its own: it reads x and
 *   writes y, and backwards reads x again, reads gy and writes gx; its sums come for nothing, out of the passes that write
 *   x and gy. Of the parameters: gradient written and read, parameter and the optimizer's state read and written.
 *
 * False, with a line on stderr, if that fails. */
bool measure_net_bound(const bench_net *net, size_t batch, int threads, double seconds, net_bound *out);

#endif

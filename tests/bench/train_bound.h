/* The least that a training step can take: its matrix products at BLAS's rate, and one pass over what must move. */
#ifndef PLEAT_BENCH_TRAIN_BOUND_H
#define PLEAT_BENCH_TRAIN_BOUND_H

#include <pleat_kernels.h>
#include <pleat_nn.h>

typedef struct train_bound {
    /* every convolution and linear layer: forward, and both gradients (the first layer has but one) */
    double gemm_ms;
    /* batch, activations and their cotangents written and read once; parameters, gradients and Adam's */
    double move_ms;
} train_bound;

/* Measured, with buffers of its own, for a network without groups; `seconds` for each product. False, with a line on stderr, if
 * there is no memory, or the network has too many layers. */
bool measure_train_bound(pleat_nn_module *net, const size_t shape[4], int threads, double seconds,
                         train_bound *out);

#endif

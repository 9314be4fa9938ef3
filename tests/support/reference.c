/* The definition of the convolution family in seven loops. It shares no code with the kernels. */
#include "reference.h"

#include <stdint.h>

long long reference_pixel(const pleat_conv_shape *g, size_t p, size_t q, size_t r, size_t s) {
    int64_t i = (int64_t)p * (int64_t)g->stride[0] + (int64_t)r * (int64_t)g->dilation[0] - g->pad[0];
    int64_t j = (int64_t)q * (int64_t)g->stride[1] + (int64_t)s * (int64_t)g->dilation[1] - g->pad[1];
    if (i < 0 || j < 0 || i >= (int64_t)g->H || j >= (int64_t)g->W) return -1;
    return i * (int64_t)g->W + j;
}

/* The terms of one map pixel and one pair of channels. */
static void add_terms(const pleat_conv_shape *g, pleat_conv_op op, double *x, double *w, double *y, size_t p,
                      size_t q) {
    for (size_t r = 0; r < g->R; r++)
        for (size_t s = 0; s < g->S; s++) {
            long long pixel = reference_pixel(g, p, q, r, s);
            if (pixel < 0) continue;
            double *xi = x + pixel, *wi = w + r * g->S + s, *yi = y + p * g->Q + q;
            if (op == PLEAT_CONV_FORWARD) *yi += *wi * *xi;
            if (op == PLEAT_CONV_TRANSPOSE) *xi += *wi * *yi;
            if (op == PLEAT_CONV_WEIGHT) *wi += *xi * *yi;
        }
}

static void clear(double *a, size_t n) {
    for (size_t i = 0; i < n; i++) a[i] = 0;
}

void reference_conv(const pleat_conv_shape *g, pleat_conv_op op, double *x, double *w, double *y) {
    size_t in = g->C / g->G, out = g->O / g->G;
    if (op == PLEAT_CONV_FORWARD) clear(y, g->N * g->O * g->P * g->Q);
    if (op == PLEAT_CONV_TRANSPOSE) clear(x, g->N * g->C * g->H * g->W);
    if (op == PLEAT_CONV_WEIGHT) clear(w, g->O * in * g->R * g->S);
    for (size_t n = 0; n < g->N; n++)
        for (size_t o = 0; o < g->O; o++)
            for (size_t c = 0; c < in; c++) {
                double *xc = x + (n * g->C + o / out * in + c) * g->H * g->W;
                double *wc = w + (o * in + c) * g->R * g->S;
                double *yc = y + (n * g->O + o) * g->P * g->Q;
                for (size_t p = 0; p < g->P; p++)
                    for (size_t q = 0; q < g->Q; q++) add_terms(g, op, xc, wc, yc, p, q);
            }
}

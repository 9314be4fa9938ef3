/* finish.h: what the numbers of a channel go through last: a factor and a shift, relu, an upper end. For convolutions, and for the op
 * that does nothing else; one loop, so that both have the same bits. Private to ops/. */
#ifndef PL_FINISH_H
#define PL_FINISH_H

#include <stdbool.h>
#include <stddef.h>

/* v of type T becomes w = (T)((double)v factor + shift); then with relu 0 where w <= 0, and `most` where w is above. NaN stays NaN. Of
 * floats and a factor that is one the product of doubles is exact: so it does not matter whether it is fused with the sum, which is
 * rounded to double, and then to float. */
typedef struct pl_finish {
    const double *factor, *shift; /* of each channel; NULL: w = v */
    bool relu;
    double most; /* infinity: there is no upper end */
} pl_finish;

/* Rows of n numbers, `step` from one to the next: of one channel, or each number of a channel of its own. */
typedef struct pl_rows {
    size_t rows, n, step;
    bool channels;
} pl_rows;

/* `element` bytes a number; channel: that of a row, or of a row's first number. `from` may be `to`, and must not overlap with it otherwise. */
void pl_finish_rows(const pl_finish *f, size_t element, size_t channel, pl_rows r, const void *from,
                    void *to);

#endif

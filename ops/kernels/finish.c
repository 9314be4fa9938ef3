/* What the numbers of a channel go through last. It is compiled here for every caller, since the engines fuse products and sums. */
#include "kernels/finish.h"

#define FINISH static inline __attribute__((always_inline))
/* Before a loop: what an iteration writes, no other one reads. */
#ifdef __clang__
#    define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#    define INDEPENDENT _Pragma("GCC ivdep")
#endif
#define BODY "kernels/finish.inc"
#include "kernels/both_types.inc"

void pl_finish_rows(const pl_finish *f, size_t element, size_t channel, pl_rows r, const void *from,
                    void *to) {
    if (r.step == r.n && !r.channels) r.n *= r.rows, r.rows = 1;
    if (element == sizeof(float))
        finish_f32(f, channel, r, from, to);
    else
        finish_f64(f, channel, r, from, to);
}

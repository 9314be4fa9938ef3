/* bits.h: hashes of what is computed, the same on every machine, and cases whose hash is written down. */
#ifndef BITS_H
#define BITS_H

#include "pleat.h"

#define BITS_NONE 0xcbf29ce484222325u /* the hash of nothing */

/* The hash of what had `hash`, and of a number after it. Which NaN a processor makes is its own affair: all count the same. */
uint64_t bits_add(uint64_t hash, uint64_t number);
uint64_t bits_add_f64(uint64_t hash, double x);
uint64_t bits_add_tensor(uint64_t hash, const pleat_tensor *t); /* in row-major order */
uint64_t bits_add_bytes(uint64_t hash, size_t n, const uint8_t *bytes);

/* f of uniform numbers from -2 to 2: x of this shape, w and b of its axis 1 alone. The hash is of f, of its gradients, and of a gradient of
 * these for x, in f32 and then in f64. */
typedef struct bits_case {
    const char *name;
    pleat_tensor *(*f)(pleat_tensor *x, pleat_tensor *w, pleat_tensor *b);
    size_t rank, shape[4];
    uint64_t hash;
} bits_case;

#define BITS_OF(name, expression)                                                  \
    static pleat_tensor *name(pleat_tensor *x, pleat_tensor *w, pleat_tensor *b) { \
        (void)x, (void)w, (void)b;                                                 \
        return expression;                                                         \
    }

/* Every case has its hash, on one thread and on more. */
void bits_expect(size_t n, const bits_case *cases);

#endif

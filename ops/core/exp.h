/* exp.h: an exponential that compilers vectorise, with the same bits on every platform. The exp of a C
 * library is called per element, and its last bit depends on the library. */
#ifndef PL_EXP_H
#define PL_EXP_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x = 2^n e^r with an integer n and |r| <= log(2)/2, in double, whose exponent has room for every n of a
 * float. The series ends with r^8/8!: one result in fifty thousand is not the nearest float but its
 * neighbour. wide: before it is rounded; e^-150 for less, e^150 for more. */
static inline double pl_exp_wide(float v) {
    static const double shift = 0x1.8p52; /* adding it rounds to an integer in the low bits */
    double x = v < -150 ? -150 : v > 150 ? 150 : v;
    double whole = x * 0x1.71547652b82fep0 + shift, r = x - (whole - shift) * 0x1.62e42fefa39efp-1;
    double low = 1 + r + r * r * (1.0 / 2 + r * (1.0 / 6));
    double high = 1.0 / 24 + r * (1.0 / 120) + r * r * (1.0 / 720 + r * (1.0 / 5040) + r * r * (1.0 / 40320));
    double y = low + r * r * r * r * high;
    uint64_t bits, n;
    memcpy(&bits, &y, sizeof bits);
    memcpy(&n, &whole, sizeof n);
    bits += n << 52; /* add n to the exponent */
    memcpy(&y, &bits, sizeof y);
    return y;
}
static inline float pl_exp_f32(float v) { return (float)pl_exp_wide(v); }

/* e^x of x's type */
#define pl_exp(x) _Generic((x), float : pl_exp_f32, double : exp)(x)

#endif

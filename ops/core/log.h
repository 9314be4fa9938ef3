/* log.h: logarithms of floats in double, which compilers vectorise, with the same bits on every platform; see
 * exp.h. */
#ifndef PL_LOG_H
#define PL_LOG_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2 atanh(s) = ln((1 + s) / (1 - s)) for |s| <= 1/3, to 1e-11 of it: s + s^3/3 + .. + s^21/21, twice. */
static inline double pl_twice_atanh(double s) {
    const double q = s * s, p = q * q;
    double low = 1 + q * (1.0 / 3) + p * (1.0 / 5 + q * (1.0 / 7));
    double high = 1.0 / 9 + q * (1.0 / 11) + p * (1.0 / 13 + q * (1.0 / 15));
    double top = 1.0 / 17 + q * (1.0 / 19) + p * (1.0 / 21);
    return 2 * s * (low + p * p * (high + p * p * top));
}

/* ln(1 + e) for 0 <= e <= 1 */
static inline double pl_log1p_unit(double e) { return pl_twice_atanh(e / (2 + e)); }

/* ln u for a normal u > 0 or infinity; -709 for 0, NaN otherwise. u = 2^n m with m from sqrt(1/2) to
 * sqrt(2). */
static inline double pl_log_wide(double u) {
    uint64_t bits, mantissa;
    memcpy(&bits, &u, sizeof bits);
    mantissa = (bits & 0xfffffffffffff) | 0x3ff0000000000000;
    double m, n;
    memcpy(&m, &mantissa, sizeof m);
    /* the exponent as a double: its digits below those of 2^52 */
    uint64_t digits = 0x4330000000000000 | (bits >> 52);
    memcpy(&n, &digits, sizeof n);
    n -= 0x1p52 + 1023;
    n = m > 1.4142135623730951 ? n + 1 : n;
    m = m > 1.4142135623730951 ? m / 2 : m;
    double y = n * 0x1.62e42fefa39efp-1 + pl_twice_atanh((m - 1) / (m + 1));
    return u >= 0 ? y : (double)NAN;
}

/* ln(1 - x) for x <= 1, like pl_log_wide; the digits of x that 1 - x loses are added. */
static inline double pl_log1m_wide(double x) {
    const double u = 1 - x, lost = (1 - u) - x;
    return pl_log_wide(u) + lost / (u > 0 ? u : 1);
}

#endif

/* functions.h: exp, log and their kin with the same bits on every processor, from every compiler. A C library's own
 * differ in the last bit from one version to the next, and are called for one element at a time.
 *
 * All are computed in double, by additions, multiplications, divisions and square roots that IEEE 754 rounds, in the
 * order that is written here; nothing is contracted. Those without a branch are vectorised by the compiler. The errors
 * are at most 2 ulp of a double. A float is the double's result rounded: at most 0.51 ulp of a float. */
#ifndef PL_FUNCTIONS_H
#define PL_FUNCTIONS_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* 16: so are floats, and only half precision is as wide as it can be (-march=native with AVX-512 FP16) */
#if (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16) || defined __FAST_MATH__
#    error \
        "floats are to be rounded at each operation, in its order: no -ffast-math; x86 needs -msse2 -mfpmath=sse, s390x -fexcess-precision=fast"
#endif

/* ---- numbers and their bits ------------------------------------------------------------------------------ */

static inline uint64_t pl_bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double pl_of_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define PL_ROUNDS \
    0x1.8p52 /* what is added to it loses its digits behind the point, and stands in the low bits */

/* 2^n of n + PL_ROUNDS, for n from -1022 to 1023 */
static inline double pl_power_of_two(double n) { return pl_of_bits((pl_bits_of(n) + 1023) << 52); }

/* y 2^n, rounded once where it becomes subnormal; n is an integer from -2044 to 2046 */
static inline double pl_scaled(double y, double n) {
    const double half = n * 0.5 + PL_ROUNDS, rest = n - (half - PL_ROUNDS) + PL_ROUNDS;
    return y * pl_power_of_two(half) * pl_power_of_two(rest);
}

/* ---- exp --------------------------------------------------------------------------------------------------- */

#define PL_LN2_HIGH 0x1.62e42fee00000p-1 /* 32 bits, so that its multiples by an exponent are exact */
#define PL_LN2_LOW 0x1.a39ef35793c76p-33

/* e^(r + c) - 1 - r for |r| <= ln(2)/2 and c below its last digit: the series up to r^13 */
static inline double pl_exp_series(double r, double c) {
    const double q = r * r, p = q * q;
    double a = 1.0 / 6 + r * (1.0 / 24), b = 1.0 / 120 + r * (1.0 / 720);
    double C = 1.0 / 5040 + r * (1.0 / 40320), d = 1.0 / 362880 + r * (1.0 / 3628800);
    double e = 1.0 / 39916800 + r * (1.0 / 479001600) + q * (1.0 / 6227020800);
    return q * 0.5 + (q * r * (a + q * b + p * (C + q * d + p * e)) + (c + c * r));
}

/* 1 + r + rest, of which 1 + r is rounded with what it lost */
static inline double pl_exp_sum(double r, double rest) {
    const double sum = 1 + r;
    return sum + (((1 - sum) + r) + rest);
}

/* r and c of x = n ln(2) + r + c with an integer n */
static inline double pl_exp_reduced(double x, double *n, double *c) {
    *n = (x * 0x1.71547652b82fep0 + PL_ROUNDS) - PL_ROUNDS;
    const double high = x - *n * PL_LN2_HIGH, low = *n * PL_LN2_LOW, r = high - low;
    *c = (high - r) - low;
    return r;
}

static inline double pl_exp_f64(double v) {
    double x = v < -746 ? -746 : v > 710 ? 710 : v, n, c;
    const double r = pl_exp_reduced(x, &n, &c);
    return pl_scaled(pl_exp_sum(r, pl_exp_series(r, c)), n);
}

/* e^x - 1 = 2^n (e^r - 1) + (2^n - 1) */
static inline double pl_expm1_f64(double v) {
    double x = v < -50 ? -50 : v > 710 ? 710 : v, n, c;
    const double r = pl_exp_reduced(x, &n, &c), y = r + pl_exp_series(r, c);
    const double most = n > 1023 ? 1023 : n, power = pl_power_of_two(most + PL_ROUNDS);
    const double z = y * power + (power - 1);
    return v == 0 ? v : n > 1023 ? z * 2 + 1 : z;
}

/* ---- log --------------------------------------------------------------------------------------------------- */

/* n and m of u = 2^n m with m from sqrt(1/2) to sqrt(2); u is normal and above 0 */
static inline double pl_log_reduced(double u, double *n) {
    const uint64_t bits = pl_bits_of(u);
    const double m = pl_of_bits((bits & 0xfffffffffffff) | 0x3ff0000000000000);
    /* the exponent as a double: its digits below those of 2^52 */
    const double exponent = pl_of_bits(0x4330000000000000 | (bits >> 52)) - (0x1p52 + 1023);
    *n = m > 1.4142135623730951 ? exponent + 1 : exponent;
    return m > 1.4142135623730951 ? m / 2 : m;
}

/* With s = f / (2 + f), |s| <= 0.1716 and z = s^2, ln(1 + f) = s (2 + 2/3 z + 2/5 z^2 + .. + 2/25 z^12); without the first
 * two terms and z */
static inline double pl_log_tail(double z) {
    const double w = z * z;
    double a = 2.0 / 5 + z * (2.0 / 7), b = 2.0 / 9 + z * (2.0 / 11), c = 2.0 / 13 + z * (2.0 / 15);
    double d = 2.0 / 17 + z * (2.0 / 19), e = 2.0 / 21 + z * (2.0 / 23) + w * (2.0 / 25);
    return z * (a + w * (b + w * (c + w * (d + w * e))));
}

/* n ln(2) + ln(1 + f) + c. 2 s = f - s f, so that f is exact: f - (f^2/2 - s (f^2/2 + series)). */
static inline double pl_log_sum(double n, double f, double c) {
    const double s = f / (2 + f), half = 0.5 * f * f, z = s * s;
    const double series = z * (2.0 / 3 + pl_log_tail(z));
    return n * PL_LN2_HIGH - ((half - (s * (half + series) + (n * PL_LN2_LOW + c))) - f);
}

/* what an infinity, 0 and what is below it have for a logarithm */
static inline double pl_log_edges(double u, double y) {
    y = u > 0x1.fffffffffffffp1023 ? u : y;
    y = u == 0 ? -HUGE_VAL : y;
    return u >= 0 ? y : (double)NAN;
}

static inline double pl_log_f64(double u) {
    const double small = u < 0x1p-1022 ? 54 : 0, v = u < 0x1p-1022 ? u * 0x1p54 : u;
    double n;
    const double m = pl_log_reduced(v, &n);
    return pl_log_edges(u, pl_log_sum(n - small, m - 1, 0));
}

/* ln(1 + x); the digits of x that 1 + x loses are added to the logarithm of the sum. */
static inline double pl_log1p_f64(double x) {
    const double u = 1 + x, lost = x < 1 ? x - (u - 1) : 1 - (u - x);
    double n;
    const double m = pl_log_reduced(u, &n);
    const double f = n == 0 ? x : m - 1, c = n == 0 ? 0 : lost / u;
    const double y = pl_log_edges(u, pl_log_sum(n, f, c));
    return x == 0 ? x : y;
}

/* ---- of the exponential ------------------------------------------------------------------------------------ */

static inline double pl_softplus_f64(double x) {
    return (x < 0 ? 0 : x) + pl_log1p_f64(pl_exp_f64(-fabs(x)));
}

/* (tanh(x) - x) / x^3 for |x| <= 1/2, a polynomial in x^2; tests/support/coefficients.py */
static inline double pl_tanh_small(double z) {
    const double w = z * z, v = w * w;
    double a = -0x1.5555555555555p-2 + z * 0x1.11111111110ecp-3,
           b = -0x1.ba1ba1ba15daap-5 + z * 0x1.664f487fed22ap-6;
    double c = -0x1.226e34a851d2cp-7 + z * 0x1.d6d39b48449bfp-9,
           d = -0x1.7d9e74586c684p-10 + z * 0x1.350ce30757046p-11;
    double e = -0x1.efab6555ccc22p-13 + z * 0x1.71eb85bee4b4ap-14 + w * -0x1.8117b15cbb104p-16;
    return (a + w * b) + v * ((c + w * d) + v * e);
}

static inline double pl_tanh_f64(double x) {
    const double a = fabs(x) > 20 ? 20 : fabs(x), z = a * a, small = a + a * (z * pl_tanh_small(z));
    const double large = 1 - 2 / (pl_exp_f64(2 * a) + 1);
    return x != x ? x : copysign(a < 0.5 ? small : large, x);
}

/* 1 / (1 + e^-x); near 0 (1 + tanh(x/2)) / 2, and below -1 e - e^2 / (1 + e) with e = e^x, where these are rounded less */
static inline double pl_sigmoid_f64(double x) {
    const double e = pl_exp_f64(x < -1 ? x : -x), y = 1 / (1 + e), h = x / 2, z = h * h;
    const double near = 0.5 + 0.5 * (h + h * (z * pl_tanh_small(z))), below = e - e * (e * y);
    return x < -1 ? below : x < 1 ? near : y;
}

/* ---- erf --------------------------------------------------------------------------------------------------- */

/* (erf(x) - x) / x for |x| <= 1, a polynomial in x^2; tests/support/coefficients.py */
static inline double pl_erf_small(double z) {
    const double w = z * z, v = w * w;
    double a = 0x1.06eba8214db69p-3 + z * -0x1.812746b0379e7p-2;
    double b = 0x1.ce2f21a042bdep-4 + z * -0x1.b82ce312889bap-6;
    double c = 0x1.565bcd0e6502dp-8 + z * -0x1.c02db3feeb579p-11;
    double d = 0x1.f9a326c233146p-14 + z * -0x1.f4d2561aeafd4p-17;
    double e = 0x1.b9e6509b9867dp-20 + z * -0x1.5f6d925a0bc7ap-23;
    double f = 0x1.fc4356498c2d9p-27 + z * -0x1.4e607b41a6416p-30;
    double g = 0x1.7f072188e194dp-34 + z * -0x1.29b9f1b3df556p-38;
    return (a + w * b) + v * ((c + w * d) + v * ((e + w * f) + v * g));
}

/* e^(x^2) (1 - erf(x)) for x from 1 to 6, a polynomial in t = 1 / (x + 2) */
static inline double pl_erfcx(double t) {
    const double q = t * t, p = q * q, o = p * p;
    const double a = -0x1.95304e61b6c4cp-26 + t * 0x1.20ddbc2026af3p-1;
    const double b = 0x1.20d79b0ad49ddp+0 + t * 0x1.fa1d13797d477p+0;
    const double c = 0x1.63983af247430p+1 + t * 0x1.a14e27e559e4dp+1;
    const double d = -0x1.930379c6ae01ep+2 + t * 0x1.4b878a68a8806p+5;
    const double e = -0x1.44fc3a3205baep+8 + t * 0x1.89233568f7d26p+10;
    const double f = -0x1.849068c695688p+12 + t * 0x1.30279afa9a8d5p+14;
    const double g = -0x1.60de8b6b57d20p+15 + t * 0x1.266edb67a0d1ep+16;
    const double h = -0x1.5909588f550f4p+16 + t * 0x1.0f3af1ee4baccp+16;
    const double i = -0x1.024fbbff55ce4p+15 + t * 0x1.c49d5026d94f3p+12;
    return (a + q * b) + p * (c + q * d) + o * ((e + q * f) + p * (g + q * h) + o * i);
}

static inline double pl_erf_f64(double x) {
    const double a = fabs(x) > 6 ? 6 : fabs(x), z = a * a;
    const double small = a + a * pl_erf_small(z), large = 1 - pl_exp_f64(-z) * pl_erfcx(1 / (a + 2));
    return x != x ? x : copysign(a < 1 ? small : large, x);
}

/* ---- sin and cos -------------------------------------------------------------------------------------------- */

/* sin and cos of r + c for |r| <= pi/4 and c below its last digit: the series up to r^19 and r^18 */
static inline double pl_sin_series(double r, double c) {
    const double z = r * r, w = z * z;
    double a = -1.0 / 6 + z * (1.0 / 120), b = -1.0 / 5040 + z * (1.0 / 362880);
    double d = -1.0 / 39916800 + z * (1.0 / 6227020800),
           e = -1.0 / 1307674368000 + z * (1.0 / 355687428096000);
    return r + (r * z * (a + w * (b + w * (d + w * e))) + c * (1 - 0.5 * z));
}

static inline double pl_cos_series(double r, double c) {
    const double z = r * r, w = z * z, half = 0.5 * z, most = 1 - half;
    double a = 1.0 / 24 + z * (-1.0 / 720), b = 1.0 / 40320 + z * (-1.0 / 3628800);
    double d = 1.0 / 479001600 + z * (-1.0 / 87178291200),
           e = 1.0 / 20922789888000 + z * (-1.0 / 6402373705728000);
    return most + (((1 - most) - half) + (w * (a + w * (b + w * (d + w * e))) - r * c));
}

/* x less the nearest multiple of pi/2, as r + c, and that multiple modulo 4 */
typedef struct pl_angle {
    double r, c;
    unsigned quarter;
} pl_angle;

/* a + b, and what rounding lost */
static inline double pl_two_sum(double a, double b, double *lost) {
    const double sum = a + b, of_b = sum - a;
    *lost = (a - (sum - of_b)) + (b - of_b);
    return sum;
}

/* For |x| <= 2^30. The parts of pi/2 have 22 digits each, so that their multiples are exact. */
static inline pl_angle pl_angle_near(double x) {
    static const double part[6] = {0x1.921fbp+0,  0x1.5110bp-22, 0x1.1846980000000p-44,
                                   0x1.3198ap-69, 0x1.701b8p-92, 0x1.cd129p-115};
    const double whole = x * 0x1.45f306dc9c883p-1 + PL_ROUNDS, n = whole - PL_ROUNDS;
    double r = (x - n * part[0]) - n * part[1], c = 0, lost;
    for (int i = 2; i < 6; i++) {
        r = pl_two_sum(r, -n * part[i], &lost);
        c += lost;
    }
    const double sum = pl_two_sum(r, c, &lost);
    return (pl_angle){sum, lost, (unsigned)(pl_bits_of(whole) & 3)};
}

/* For what is larger and finite: the digits of 2/pi that matter times the integer that x is a multiple of. */
pl_angle pl_angle_far(double x);

static inline double pl_sin_of(pl_angle a) {
    const double y = a.quarter & 1 ? pl_cos_series(a.r, a.c) : pl_sin_series(a.r, a.c);
    return a.quarter & 2 ? -y : y;
}

static inline double pl_sin_f64(double x) {
    if (x == 0) return x;
    return pl_sin_of(fabs(x) <= 0x1p30 ? pl_angle_near(x) : pl_angle_far(x));
}

static inline double pl_cos_f64(double x) {
    pl_angle a = fabs(x) <= 0x1p30 ? pl_angle_near(x) : pl_angle_far(x);
    a.quarter++;
    return pl_sin_of(a);
}

/* cos(2 pi v) for v from 0 to 1 */
static inline double pl_cos_turns(double v) {
    const double whole = 4 * v + PL_ROUNDS, r = (4 * v - (whole - PL_ROUNDS)) * 0x1.921fb54442d18p+0;
    return pl_sin_of((pl_angle){r, 0, (unsigned)(pl_bits_of(whole) & 3) + 1});
}

/* ---- pow ---------------------------------------------------------------------------------------------------- */

static inline bool pl_is_whole(double y) {
    return fabs(y) >= 0x1p52 || (fabs(y) + 0x1p52) - 0x1p52 == fabs(y);
}
static inline bool pl_is_odd(double y) { return pl_is_whole(y) && fabs(y) < 0x1p53 && !pl_is_whole(y / 2); }

/* x^y as C's pow defines it */
double pl_pow_f64(double x, double y);

/* sqrt(x^2 + y^2), whose squares may be out of range */
static inline double pl_hypot_f64(double x, double y) {
    const double a = fabs(x), b = fabs(y), most = a > b ? a : b, part = (a > b ? b : a) / most;
    return most > 0 && !isinf(most) ? most * sqrt(1 + part * part) : most;
}

/* ---- of floats ---------------------------------------------------------------------------------------------- */

/* Shorter series, where loops are hot; the others round the function of doubles. */

/* e^x = 2^n e^r with an integer n and |r| <= log(2)/2, in double, whose exponent has room for every n of a
 * float. The series ends with r^8/8!: one result in fifty thousand is not the nearest float but its
 * neighbour. wide: before it is rounded; e^-150 for less, e^150 for more. */
static inline double pl_exp_wide(float v) {
    double x = v < -150 ? -150 : v > 150 ? 150 : v;
    double whole = x * 0x1.71547652b82fep0 + PL_ROUNDS, r = x - (whole - PL_ROUNDS) * 0x1.62e42fefa39efp-1;
    double low = 1 + r + r * r * (1.0 / 2 + r * (1.0 / 6));
    double high = 1.0 / 24 + r * (1.0 / 120) + r * r * (1.0 / 720 + r * (1.0 / 5040) + r * r * (1.0 / 40320));
    return pl_of_bits(pl_bits_of(low + r * r * r * r * high) +
                      (pl_bits_of(whole) << 52)); /* n more in the exponent */
}

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

/* ln u for a normal u > 0 or infinity; -709 for 0, NaN otherwise. */
static inline double pl_log_wide(double u) {
    double n;
    const double m = pl_log_reduced(u, &n), y = n * 0x1.62e42fefa39efp-1 + pl_twice_atanh((m - 1) / (m + 1));
    return u >= 0 ? y : (double)NAN;
}

/* ln(1 - x) for x <= 1, like pl_log_wide; the digits of x that 1 - x loses are added. */
static inline double pl_log1m_wide(double x) {
    const double u = 1 - x, lost = (1 - u) - x;
    return pl_log_wide(u) + lost / (u > 0 ? u : 1);
}

static inline float pl_exp_f32(float x) { return (float)pl_exp_wide(x); }
static inline float pl_log_f32(float x) { return (float)pl_log_edges((double)x, pl_log_wide((double)x)); }
static inline float pl_sigmoid_f32(float x) { return (float)(1 / (1 + pl_exp_wide(-x))); }
/* max(x, 0) + ln(1 + e^-|x|), of which e^-|x| does not overflow; NaN stays NaN */
static inline float pl_softplus_f32(float x) {
    return (float)((double)(x > 0 ? x : 0) + pl_log1p_unit(pl_exp_wide(-fabsf(x))));
}

static inline float pl_expm1_f32(float x) { return (float)pl_expm1_f64((double)x); }
static inline float pl_log1p_f32(float x) { return (float)pl_log1p_f64((double)x); }
static inline float pl_tanh_f32(float x) { return (float)pl_tanh_f64((double)x); }
static inline float pl_erf_f32(float x) { return (float)pl_erf_f64((double)x); }
/* sin of x + quarters pi/2: up to 2^20 by two parts of pi/2, of which the first has 33 digits, and shorter series */
static inline float pl_sin_f32_of(float x, unsigned quarters) {
    if (!(fabsf(x) <= 0x1p20f)) {
        pl_angle far = fabs((double)x) <= 0x1p30 ? pl_angle_near((double)x) : pl_angle_far((double)x);
        far.quarter += quarters;
        return (float)pl_sin_of(far);
    }
    const double whole = (double)x * 0x1.45f306dc9c883p-1 + PL_ROUNDS, n = whole - PL_ROUNDS;
    const double r = ((double)x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34, z = r * r, w = z * z;
    const double sine = r + r * z *
                                ((-1.0 / 6 + z * (1.0 / 120)) +
                                 w * (-1.0 / 5040 + z * (1.0 / 362880) + w * (-1.0 / 39916800)));
    const double cosine =
        1 + z * ((-1.0 / 2 + z * (1.0 / 24)) + w * (-1.0 / 720 + z * (1.0 / 40320) + w * (-1.0 / 3628800)));
    const uint64_t quarter = pl_bits_of(whole) + quarters;
    const double y = quarter & 1 ? cosine : sine;
    return (float)(quarter & 2 ? -y : y);
}

static inline float pl_sin_f32(float x) { return x == 0 ? x : pl_sin_f32_of(x, 0); }
static inline float pl_cos_f32(float x) { return pl_sin_f32_of(x, 1); }

/* x^y of a float x >= 0 or NaN */
static inline float pl_pow_f32(float x, double y) {
    const double z = pl_exp_f64(y * pl_log_f64((double)x));
    return ((y == 0) | (x == 1)) ? 1 : (float)z;
}

/* ---- of x's type -------------------------------------------------------------------------------------------- */

#define PL_OF_TYPE(f, x) _Generic((x), float : pl_##f##_f32, double : pl_##f##_f64)
#define pl_exp(x) PL_OF_TYPE(exp, x)(x)
#define pl_expm1(x) PL_OF_TYPE(expm1, x)(x)
#define pl_log(x) PL_OF_TYPE(log, x)(x)
#define pl_sigmoid(x) PL_OF_TYPE(sigmoid, x)(x)
#define pl_softplus(x) PL_OF_TYPE(softplus, x)(x)
#define pl_tanh(x) PL_OF_TYPE(tanh, x)(x)
#define pl_erf(x) PL_OF_TYPE(erf, x)(x)
#define pl_sin(x) PL_OF_TYPE(sin, x)(x)
#define pl_cos(x) PL_OF_TYPE(cos, x)(x)
#define pl_pow(x, y) PL_OF_TYPE(pow, x)(x, y)

#endif

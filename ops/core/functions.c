/* The functions that are not for loops: angles beyond 2^30, and pow. */
#include "core/functions.h"

#include "pleat_op.h"

/* ---- numbers as a sum of two --------------------------------------------------------------------------------- */

/* high + low; low is below high's last digit, or about there */
typedef struct pair {
    double high, low;
} pair;

static pair pair_of(double a, double b) {
    pair p;
    p.high = pl_two_sum(a, b, &p.low);
    return p;
}

/* a b, without rounding: each is cut into halves of 26 digits (Dekker, Numerische Mathematik 18, 1971). */
static pair product(double a, double b) {
    const double ca = a * 134217729, cb = b * 134217729;
    const double ah = ca - (ca - a), bh = cb - (cb - b), al = a - ah, bl = b - bh, high = a * b;
    return (pair){high, ((ah * bh - high) + ah * bl + al * bh) + al * bl};
}

static pair times(pair a, pair b) {
    const pair p = product(a.high, b.high);
    return pair_of(p.high, p.low + (a.high * b.low + a.low * b.high));
}

static pair plus(pair a, pair b) {
    const pair sum = pair_of(a.high, b.high);
    return pair_of(sum.high, sum.low + (a.low + b.low));
}

/* ---- large angles -------------------------------------------------------------------------------------------- */

/* The digits of 2/pi behind the point. */
static const uint32_t two_by_pi[] = {
    0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561,
    0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e, 0xe88235f5, 0x2ebb4484,
    0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4, 0x9c845f8b, 0xbdf9283b, 0x1ff897ff, 0xde05980f,
    0xef2f118b, 0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d, 0x7527bac7, 0xebe5f17b,
    0x3d0739f7, 0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046, 0xfc7b6bab};

enum { WORDS = 7, LIMBS = WORDS + 2 };

/* P = m times the seven words of 2/pi from the first on that is worth less than 4 times m's last digit, 2^e. Returns
 * how many digits of P stand behind the point (Payne and Hanek, SIGNUM 18, 1983). */
static int multiply(uint64_t m, int e, uint32_t P[LIMBS]) {
    const int first = e < 2 ? 0 : (e - 2) / 32;
    const uint64_t half[2] = {m & 0xffffffff, m >> 32};
    memset(P, 0, LIMBS * sizeof *P);
    for (size_t h = 0; h < 2; h++) {
        uint64_t carry = 0;
        for (size_t i = 0; i < WORDS; i++) {
            carry += P[i + h] + half[h] * two_by_pi[first + WORDS - 1 - (int)i];
            P[i + h] = (uint32_t)carry;
            carry >>= 32;
        }
        P[WORDS + h] = (uint32_t)carry;
    }
    return 32 * (first + WORDS) - e;
}

static unsigned digit(const uint32_t P[LIMBS], int i) { return P[i / 32] >> (i % 32) & 1; }

/* What stands behind the point, less 1 if `less`. */
static pair fraction(uint32_t P[LIMBS], int point, bool less) {
    pair sum = {0, 0};
    uint32_t borrow = less;
    for (int i = 0; i < LIMBS; i++) { /* to the sign and the size of the distance to the nearest integer */
        if (less) P[i] = ~P[i] + borrow, borrow = borrow && P[i] == 0;
        if (i >= point / 32) P[i] &= i > point / 32 ? 0 : ((uint32_t)1 << point % 32) - 1;
    }
    for (int i = LIMBS; i-- > 0;) sum = plus(sum, (pair){ldexp(P[i], 32 * i - point), 0});
    return less ? (pair){-sum.high, -sum.low} : sum;
}

pl_angle pl_angle_far(double x) {
    if (!isfinite(x)) return (pl_angle){(double)NAN, 0, 0};
    const uint64_t bits = pl_bits_of(x);
    const int e = (int)(bits >> 52 & 2047) - 1075;
    uint32_t P[LIMBS];
    const int point = multiply((bits & 0xfffffffffffff) | 0x10000000000000, e, P);
    const unsigned up = digit(P, point - 1), quarter = digit(P, point) + 2 * digit(P, point + 1) + up;
    const pair half_pi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
    const pair r = times(fraction(P, point, up), half_pi);
    return x < 0 ? (pl_angle){-r.high, -r.low, 0 - quarter} : (pl_angle){r.high, r.low, quarter};
}

/* ---- pow ----------------------------------------------------------------------------------------------------- */

/* ln u to 2^-64 of it, for a normal u above 0: n ln(2) + s (2 + 2/3 s^2 + ..), the first two terms in pairs */
static pair log_of(double u) {
    double n;
    const double m = pl_log_reduced(u, &n), f = m - 1;
    const pair below = pair_of(m, 1);
    pair s = {f / below.high, 0};
    const pair back = product(s.high, below.high);
    s.low = (((f - back.high) - back.low) - s.high * below.low) / below.high;
    const pair z = times(s, s), third = times(z, (pair){0x1.5555555555555p-1, 0x1.5555555555555p-55});
    const double rest = z.high * pl_log_tail(z.high);
    const pair y = times(s, plus((pair){2, 0}, pair_of(third.high, third.low + rest)));
    return plus(pair_of(n * PL_LN2_HIGH, n * PL_LN2_LOW), y);
}

/* u^y for a finite u > 0 other than 1, and a finite y */
static double power(double u, double y) {
    const bool small = u < 0x1p-1022;
    pair l = log_of(small ? u * 0x1p54 : u);
    if (small) l = plus(l, (pair){-54 * PL_LN2_HIGH, -54 * PL_LN2_LOW});
    if (fabs(y * l.high) > 750 || fabs(y) > 0x1p70) return (l.high > 0) == (y > 0) ? HUGE_VAL : 0;
    pair p = product(y, l.high);
    p = pair_of(p.high, p.low + y * l.low);
    const double n = (p.high * 0x1.71547652b82fep0 + PL_ROUNDS) - PL_ROUNDS;
    const double high = p.high - n * PL_LN2_HIGH, low = n * PL_LN2_LOW - p.low, r = high - low;
    return pl_scaled(pl_exp_sum(r, pl_exp_series(r, (high - r) - low)), n);
}

double pl_pow_f64(double x, double y) {
    if (y == 0 || x == 1) return 1;
    if (isnan(x) || isnan(y)) return x + y;
    const double u = fabs(x), sign = signbit(x) && pl_is_odd(y) ? -1 : 1;
    if (isinf(y)) return u == 1 ? 1 : (u > 1) == (y > 0) ? HUGE_VAL : 0;
    if (u == 0 || isinf(u)) return sign * ((u == 0) == (y < 0) ? HUGE_VAL : 0);
    if (x < 0 && !pl_is_whole(y)) return (double)NAN;
    return u == 1 ? sign : sign * power(u, y);
}

/* ---- for other floors ---------------------------------------------------------------------------------------- */

double pleat_pow_f64(double x, double y) { return pl_pow_f64(x, y); }
double pleat_cos_f64(double x) { return pl_cos_f64(x); }
double pleat_log_f64(double x) { return pl_log_f64(x); }

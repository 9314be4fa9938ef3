/* The functions with defined bits: how far they are from the true values, what they give where C names the result, and that the
 * bits are those that are written down here. */
#include <criterion/criterion.h>
#include <float.h>

#include "core/functions.h"
#include "functions_table.h"
#include "pleat.h"

/* What is drawn: all over the range that matters, near the centre, and any bits at all. */
static double draw(pleat_rng *r, const function *f, size_t i) {
    const double u = pleat_rng_uniform(r);
    if (i % 3 == 0) return f->low + (f->high - f->low) * u;
    if (i % 3 == 1) return f->centre + (2 * u - 1) * ldexp(1, -(int)pleat_rng_below(r, 30));
    return pl_of_bits((uint64_t)pleat_rng_u32(r) << 32 | pleat_rng_u32(r));
}

/* The distance in units of the last of `digits` digits of the true value, subnormal ones among them. */
static double distance(long double y, long double true_value, int digits, int least) {
    int e;
    frexpl(true_value, &e);
    return (double)(fabsl(y - true_value) / ldexpl(1, (e - digits > least ? e - digits : least)));
}

static bool is_number(double y) { return isfinite(y) && fabs(y) > 0; }

Test(functions, doubles_are_within_two_ulp) {
    if (LDBL_MANT_DIG <= DBL_MANT_DIG) cr_skip_test("no long double to compare with");
    for (size_t k = 0; k < FUNCTIONS; k++) {
        const function *f = &functions[k];
        pleat_rng r = pleat_rng_new(1, k);
        for (size_t i = 0; i < 200000; i++) {
            const double x = draw(&r, f, i), y = f->f64(x);
            const long double want = f->exact((long double)x);
            if (!is_number((double)want) || !is_number(y))
                cr_assert((isnan(y) && isnan((double)want)) || y == (double)want, "%s(%a) = %a, not %a",
                          f->name, x, y, (double)want);
            else
                cr_assert(distance((long double)y, want, 53, -1074) <= 2, "%s(%a) = %a, not %a", f->name, x,
                          y, (double)want);
        }
    }
}

/* every_float looks at all of them. */
Test(functions, floats_are_nearly_the_nearest) {
    for (size_t k = 0; k < FUNCTIONS; k++) {
        const function *f = &functions[k];
        pleat_rng r = pleat_rng_new(2, k);
        for (size_t i = 0; i < 200000; i++) {
            const float x = (float)draw(&r, f, i), y = f->f32(x);
            const long double want = f->exact((long double)x);
            if (!is_number((double)(float)want) || !is_number((double)y))
                cr_assert((isnan(y) && isnan((double)want)) || y == (float)want, "%s(%a) = %a, not %a",
                          f->name, (double)x, (double)y, (double)want);
            else
                cr_assert(distance((long double)y, want, 24, -149) <= 0.51, "%s(%a) = %a, not %a", f->name,
                          (double)x, (double)y, (double)want);
        }
    }
}

/* ---- powers --------------------------------------------------------------------------------------------- */

static bool same_number(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

Test(functions, powers_are_as_c_defines_them) {
    static const double special[] = {0,
                                     1,
                                     2,
                                     3,
                                     0.5,
                                     1.5,
                                     0x1p-1074,
                                     0x1p-1022,
                                     0x1p53,
                                     0x1p53 + 2,
                                     0x1p52 + 1,
                                     DBL_MAX,
                                     HUGE_VAL,
                                     0x1.fffffffffffffp-1,
                                     0x1.0000000000001p0};
    enum { SPECIAL = sizeof special / sizeof *special };
    for (size_t i = 0; i < 4 * SPECIAL * SPECIAL; i++) {
        const double x = special[i / 4 % SPECIAL] * (i % 2 ? 1 : -1),
                     y = special[i / 4 / SPECIAL] * (i % 4 < 2 ? 1 : -1);
        const double z = pl_pow_f64(x, y), want = pow(x, y);
        if (is_number(want))
            cr_expect(fabs(z - want) <= 4e-16 * fabs(want) + 0x1p-1074, "%a^%a = %a, not %a", x, y, z, want);
        else
            cr_expect(same_number(z, want), "%a^%a = %a, not %a", x, y, z, want);
    }
    cr_expect(isnan(pl_pow_f64((double)NAN, 1)) && isnan(pl_pow_f64(2, (double)NAN)));
    cr_expect_eq(pl_pow_f64((double)NAN, 0), 1);
    cr_expect_eq(pl_pow_f64(1, (double)NAN), 1);
}

Test(functions, powers_are_within_two_ulp) {
    if (LDBL_MANT_DIG <= DBL_MANT_DIG) cr_skip_test("no long double to compare with");
    pleat_rng r = pleat_rng_new(3, 0);
    for (size_t i = 0; i < 300000; i++) {
        const double x = exp(ldexp(2 * pleat_rng_uniform(&r) - 1, (int)pleat_rng_below(&r, 9)));
        const double y = (2 * pleat_rng_uniform(&r) - 1) * 700 / log(x), z = pl_pow_f64(x, y);
        const long double want = powl((long double)x, (long double)y);
        cr_assert(distance((long double)z, want, 53, -1074) <= 2, "%a^%a = %a, not %a", x, y, z,
                  (double)want);
        const float u = (float)x, v = pl_pow_f32(u, y);
        const long double wanted = powl((long double)u, (long double)y);
        if (is_number((double)(float)wanted))
            cr_assert(distance((long double)v, wanted, 24, -149) <= 0.51, "%a^%a = %a, not %a", (double)u, y,
                      (double)v, (double)wanted);
    }
}

Test(functions, hypotenuses_of_any_size) {
    for (int e = -1070; e <= 1020; e += 5)
        cr_expect(fabs(pl_hypot_f64(ldexp(-3, e), ldexp(4, e)) - ldexp(5, e)) <= ldexp(1e-15, e), "e = %d",
                  e);
    cr_expect(pl_hypot_f64(0, -0.0) == 0 && isnan(pl_hypot_f64((double)NAN, 1)) &&
              isnan(pl_hypot_f64(1, (double)NAN)));
    cr_expect(pl_hypot_f64(-HUGE_VAL, 1) == HUGE_VAL && pl_hypot_f64(HUGE_VAL, HUGE_VAL) == HUGE_VAL);
}

/* ---- bits ----------------------------------------------------------------------------------------------- */

static uint64_t hashed(uint64_t hash, uint64_t bits) { return (hash ^ bits) * 0x100000001b3u; }

/* An op has the bits of its function, in loops of vectors and over elements that lie apart. */
Test(functions, ops_have_their_bits) {
    static const struct {
        const char *name;
        pleat_tensor *(*op)(pleat_tensor *x);
    } ops[] = {{"exp", pleat_exp},           {"log", pleat_log},   {"sigmoid", pleat_sigmoid},
               {"softplus", pleat_softplus}, {"tanh", pleat_tanh}, {"erf", pleat_erf},
               {"sin", pleat_sin},           {"cos", pleat_cos}};
    enum { OPS = sizeof ops / sizeof *ops };
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    size_t seen = 0;
    for (size_t k = 0; k < FUNCTIONS && seen < OPS; k++) {
        const function *f = &functions[k];
        if (strcmp(ops[seen].name, f->name) != 0) continue;
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
            pleat_tensor *x = pleat_uniform(ctx, type, PLEAT_SHAPE(333, 2), f->low, f->high);
            pleat_tensor *y = ops[seen].op(x), *apart = ops[seen].op(pleat_flip(x, PLEAT_AXES(0)));
            for (size_t i = 0; i < 666; i++) {
                const double v = pleat_at(x, (size_t[]){i / 2, i % 2});
                const double want = type == PLEAT_F32 ? (double)f->f32((float)v) : f->f64(v);
                cr_assert(same_number(pleat_at(y, (size_t[]){i / 2, i % 2}), want), "%s(%a)", f->name, v);
                cr_assert(same_number(pleat_at(apart, (size_t[]){332 - i / 2, i % 2}), want), "%s(%a)",
                          f->name, v);
            }
        }
        seen++;
    }
    cr_expect_eq(seen, OPS); /* in the order of the table */
    cr_expect_eq(pleat_error(ctx)->code, PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_ctx_free(ctx);
}

/* The same on every processor and from every compiler; a change of a series changes them, and the results of users. */
Test(functions, have_these_bits) {
    for (size_t k = 0; k < FUNCTIONS; k++) {
        const function *f = &functions[k];
        pleat_rng r = pleat_rng_new(4, k);
        uint64_t hash = 0xcbf29ce484222325u;
        for (size_t i = 0; i < 30000; i++) {
            const double x = f->low + (f->high - f->low) * pleat_rng_uniform(&r);
            hash = hashed(hash, pl_bits_of(f->f64(x)));
            hash = hashed(hash, pl_bits_of((double)f->f32((float)x)));
            hash = hashed(hash, pl_bits_of(pl_pow_f64(fabs(x), 1.7)));
        }
        cr_expect_eq(hash, f->hash, "%s: 0x%016llx", f->name, (unsigned long long)hash);
    }
}

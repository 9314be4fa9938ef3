/* How often a verdict is false: no right function is called wrong, and no wrong one right whose error exceeds
 * the smallest that the check says it sees. Functions of ten kinds, with constants, offsets and scales over
 * many powers of ten. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "pleat.h"
#include "pleat_check.h"

typedef struct member {
    int kind;
    double a, b, offset;
    int fault;
    double error;  /* of the gradient, relative */
    bool vanishes; /* the gradient is 0, and no part of it is an error */
} member;

#define T float
#define F(name) name##f
#define NAME(x) x##_f32
#define WITH(x) x##_f32_with
#include "checks_random.inc"

#define T double
#define F(name) name
#define NAME(x) x##_f64
#define WITH(x) x##_f64_with
#include "checks_random.inc"

static double power(pleat_rng *r, double low, double high) {
    return pow(10, low + (high - low) * pleat_rng_uniform(r));
}

/* Function `number`, and where it is checked. In float the constants spread less: a sine of 10^5 is no smooth
 * function there. */
static member draw(uint64_t number, bool f32, size_t *n, double *x) {
    pleat_rng r = pleat_rng_new(number, 5);
    member k = {.kind = (int)pleat_rng_below(&r, 10),
                .a = power(&r, -2, f32 ? 1 : 2),
                .b = power(&r, -2, f32 ? 1 : 2)};
    *n = 1 + (size_t)pleat_rng_below(&r, pleat_rng_below(&r, 10) == 0 ? 400 : 12);
    if (pleat_rng_below(&r, 3) == 0) k.offset = f32 ? power(&r, -2, 3) : power(&r, -2, 10);
    double scale = pleat_rng_below(&r, 2) ? 1 : f32 ? power(&r, -2, 1) : power(&r, -18, 3);
    bool mixed = !f32 && pleat_rng_below(&r, 5) == 0;
    for (size_t i = 0; i < *n; i++) {
        x[i] = pleat_rng_normal(&r) * scale * (mixed ? power(&r, -3, 3) : 1);
        if (pleat_rng_below(&r, 8) == 0 && i > 0) x[i] = 0;
    }
    k.fault = (int)pleat_rng_below(&r, 3);
    return k;
}

static void expect_no_false_verdict(bool f32, size_t least_right) {
    size_t right = 0, caught = 0, tried = 0;
    double x[400];
    for (uint64_t number = 0; number < 10000; number++) {
        size_t n;
        pleat_check_report r, w;
        member k = draw(number, f32, &n, x);
        pleat_verdict v = (f32 ? check_f32 : check_f64)(&k, n, x, number, &r);
        cr_assert_neq(v, PLEAT_CHECK_WRONG, "function %d, kind %d, n = %zu: %s", (int)number, k.kind, n,
                      r.text);
        right += v == PLEAT_CHECK_RIGHT;
        if (v != PLEAT_CHECK_RIGHT || r.visible == 0 || k.vanishes || number % 3) continue;
        k.error = 1.1 * r.visible;
        v = (f32 ? check_f32 : check_f64)(&k, n, x, number + 1, &w);
        tried++;
        caught += v == PLEAT_CHECK_WRONG;
        cr_assert(v != PLEAT_CHECK_RIGHT || k.error <= w.visible,
                  "function %d, kind %d, n = %zu, error %g: %s", (int)number, k.kind, n, k.error, w.text);
    }
    cr_expect_geq(right, least_right, "only %zu right ones were called right", right);
    cr_expect_geq(caught, tried * 9 / 10, "of %zu wrong ones only %zu were called wrong", tried, caught);
    if (getenv("PLEAT_TABLE"))
        printf("%s: right %zu of 10000; wrong %zu of %zu\n", f32 ? "f32" : "f64", right, caught, tried);
}

Test(checks_random, f64) { expect_no_false_verdict(false, 6500); }
Test(checks_random, f32) { expect_no_false_verdict(true, 5500); }

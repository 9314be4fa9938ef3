/* The functions of pleat_check.h: what the caller gives becomes a pair, for both types from one template. */
#include <math.h>
#include <stdio.h>

#include "autograd/check_calls.h"

static size_t reals(size_t numbers, bool is_complex) {
    return numbers > SIZE_MAX / 2 ? SIZE_MAX : numbers * (is_complex ? 2 : 1);
}

/* Set the sizes; false, with a report, if the functions are not `given`. */
static bool arguments_are_fine(pl_check_pair *p, bool given, size_t n, size_t m) {
    p->n = reals(n, p->is_complex);
    p->m = reals(m, p->is_complex);
    if (!given)
        return pl_verdict(p, PLEAT_CHECK_REFUSED, "two functions%s are needed",
                          p->linear ? "" : ", and an x");
    if (!(p->tolerance >= 0) || isinf(p->tolerance))
        return pl_verdict(p, PLEAT_CHECK_REFUSED,
                          "the tolerance is %s; it must be 0, for the default, or positive",
                          pl_number(p->tolerance, 3).text);
    return true;
}

static int copy_text(const pleat_check_report *r, char *text, size_t bytes) {
    if (text != NULL && bytes > 0) snprintf(text, bytes, "%s", r->text);
    return (int)r->verdict;
}

#define T float
#define IS_F32 true
#define NAME(x) x##_f32
#define WITH(x) x##_f32_with
#define PLAIN(x) x##_plain_f32
#include "check_arrays.inc"

#define T double
#define IS_F32 false
#define NAME(x) x##_f64
#define WITH(x) x##_f64_with
#define PLAIN(x) x##_plain_f64
#include "check_arrays.inc"

/* Calls of functions on plain arrays, under watch. */
#include "autograd/check_calls.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands in outputs before a call; no result is likely to be either. */
static const double fills[2] = {12345.671875, -98765.4375};

/* ---- numbers ------------------------------------------------------------------------------------------------ */

double pl_round(const pl_check_pair *p, double v) { return p->f32 ? (double)(float)v : v; }
double pl_epsilon(const pl_check_pair *p) { return p->f32 ? (double)FLT_EPSILON : DBL_EPSILON; }

double pl_element_of(const pl_check_pair *p, const void *array, size_t i) {
    return p->f32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

double pl_dot(size_t n, const double *a, const double *b) {
    double sum = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        double term = a[i] * b[i], next = sum + term;
        lost += fabs(sum) >= fabs(term) ? (sum - next) + term : (term - next) + sum;
        sum = next;
    }
    return sum + lost;
}

double pl_norm(size_t n, const double *a, const double *b) {
    double largest = 0, sum = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs(a[i] * b[i]));
    if (largest == 0 || isinf(largest)) return largest;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i] / largest * (a[i] * b[i] / largest);
    return largest * sqrt(sum);
}

void pl_directions(const pl_check_pair *p, pleat_rng *r, size_t n, const double *s, double *v) {
    for (size_t i = 0; i < n; i++) {
        double length = 1 + pleat_rng_uniform(r), sign = pleat_rng_u32(r) & 1 ? 1 : -1;
        v[i] = pl_round(p, sign * length * (s != NULL ? s[i] : 1));
    }
}

/* ---- reports ------------------------------------------------------------------------------------------------ */

bool pl_verdict(pl_check_pair *p, pleat_verdict v, const char *format, ...) {
    p->report.verdict = v;
    int n = snprintf(p->report.text, sizeof p->report.text, "%s: ", p->what);
    va_list args;
    va_start(args, format);
    vsnprintf(p->report.text + n, sizeof p->report.text - (size_t)n, format, args);
    va_end(args);
    return false;
}

pl_text pl_place(const pl_check_pair *p, size_t i) {
    pl_text t;
    if (p->is_complex)
        snprintf(t.text, sizeof t.text, "the %s part of element %zu", i % 2 ? "imaginary" : "real", i / 2);
    else
        snprintf(t.text, sizeof t.text, "element %zu", i);
    return t;
}

bool pl_nothing_seen(pl_check_pair *p, const char *reason) {
    const pleat_check_report *r = &p->report;
    double wanted = p->tolerance > 0 ? p->tolerance : p->f32 ? 1e-2 : 1e-6;
    pl_digits visible = pl_number(r->visible, 2);
    if (r->visible <= wanted)
        return pl_verdict(p, PLEAT_CHECK_RIGHT,
                          "right: off by %s, and relative errors beyond %s would have been seen",
                          pl_number(r->error, 2).text, visible.text);
    return pl_verdict(p, PLEAT_CHECK_UNCLEAR,
                      "it cannot be told: %s hides relative errors up to %s, and %s must be visible", reason,
                      visible.text, pl_number(wanted, 2).text);
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

void *pl_data(const pl_guarded *g) { return g->block + PL_GUARD; }

static size_t bytes_of(const pl_check_pair *p, size_t n) {
    return n * (p->f32 ? sizeof(float) : sizeof(double));
}

static bool make(const pl_check_pair *p, pl_guarded *g, const char *name, size_t n) {
    *g = (pl_guarded){.name = name, .n = n};
    g->block = malloc(bytes_of(p, n) + 2 * (size_t)PL_GUARD);
    if (g->block == NULL) return false;
    memset(g->block, 0xff, PL_GUARD); /* NaN in both types */
    memset(g->block + PL_GUARD + bytes_of(p, n), 0xff, PL_GUARD);
    return true;
}

double *pl_check_pair_begin(pl_check_pair *p, size_t of_n, size_t of_m) {
    p->fill = fills[0];
    /* a part of the address space is more than there is, and less than overflows */
    size_t most = SIZE_MAX / 32 / sizeof(double);
    bool made = p->n <= most && p->m <= most;
    made = made && make(p, &p->x, "x", p->n) && make(p, &p->y, "y", p->m);
    made = made && make(p, &p->gy, p->linear ? "y" : "gy", p->m) &&
           make(p, &p->gx,
                p->linear   ? "x"
                : p->scalar ? "g"
                            : "gx",
                p->n);
    double *room = made ? malloc((of_n * p->n + of_m * p->m + 1) * sizeof *room) : NULL;
    if (room == NULL)
        pl_verdict(p, PLEAT_CHECK_MEMORY, "no memory for arrays of %zu and %zu numbers", p->n, p->m);
    return room;
}

pleat_verdict pl_check_pair_end(pl_check_pair *p, double *room, pleat_check_report *out) {
    free(room);
    free(p->x.block);
    free(p->y.block);
    free(p->gy.block);
    free(p->gx.block);
    if (out != NULL) *out = p->report;
    return p->report.verdict;
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

static void put(const pl_check_pair *p, const pl_guarded *to, const double *from) {
    for (size_t i = 0; i < to->n; i++) {
        if (p->f32)
            ((float *)pl_data(to))[i] = (float)(from != NULL ? from[i] : p->fill);
        else
            ((double *)pl_data(to))[i] = from != NULL ? from[i] : p->fill;
    }
}

static bool guards_are_whole(pl_check_pair *p, const char *function, const pl_guarded *g) {
    const unsigned char *behind = g->block + PL_GUARD + bytes_of(p, g->n);
    for (size_t i = 0; i < PL_GUARD; i++) {
        if (g->block[i] == 0xff && behind[i] == 0xff) continue;
        return pl_verdict(p, PLEAT_CHECK_WRONG, "wrong: %s writes %s its array %s [%zu]", function,
                          behind[i] != 0xff ? "beyond the end of" : "before the beginning of", g->name,
                          g->n / (p->is_complex ? 2 : 1));
    }
    return true;
}

static bool is_unchanged(pl_check_pair *p, const char *function, const pl_guarded *g, const double *as) {
    for (size_t i = 0; i < g->n; i++) {
        if (pl_element_of(p, pl_data(g), i) == as[i]) continue;
        return pl_verdict(p, PLEAT_CHECK_WRONG, "wrong: %s changes its input %s: %s", function, g->name,
                          pl_place(p, i).text);
    }
    return true;
}

static bool call(pl_check_pair *p, bool back, const double *x, const double *gy, double *out) {
    const char *name = p->names[back];
    const pl_guarded *result = back ? &p->gx : &p->y;
    put(p, &p->x, x);
    put(p, &p->gy, gy);
    put(p, result, NULL);
    if (back)
        p->back(p), p->report.back++;
    else
        p->forward(p), p->report.calls++;
    if (!guards_are_whole(p, name, &p->x) || !guards_are_whole(p, name, &p->gy) ||
        !guards_are_whole(p, name, result))
        return false;
    if ((x != NULL && !is_unchanged(p, name, &p->x, x)) || (back && !is_unchanged(p, name, &p->gy, gy)))
        return false;
    for (size_t i = 0; i < result->n; i++) out[i] = pl_element_of(p, pl_data(result), i);
    return true;
}

bool pl_forward(pl_check_pair *p, const double *x, double *y) { return call(p, false, x, NULL, y); }
bool pl_back(pl_check_pair *p, const double *x, const double *gy, double *gx) {
    return call(p, true, x, gy, gx);
}

static bool steadily(pl_check_pair *p, bool back, const double *x, const double *gy, double *out,
                     double *again) {
    const char *name = p->names[back];
    const pl_guarded *result = back ? &p->gx : &p->y;
    if (!call(p, back, x, gy, out)) return false;
    p->fill = fills[1];
    bool done = call(p, back, x, gy, again);
    p->fill = fills[0];
    for (size_t i = 0; done && i < result->n; i++) {
        double one = out[i], two = again[i];
        if (one == two || (isnan(one) && isnan(two))) continue;
        if (one == fills[0] && two == fills[1])
            return pl_verdict(p, PLEAT_CHECK_WRONG, "wrong: %s does not write %s of its output %s", name,
                              pl_place(p, i).text, result->name);
        if (!call(p, back, x, gy, again)) return false;
        if (again[i] == one)
            return pl_verdict(
                p, PLEAT_CHECK_WRONG,
                "wrong: %s adds to its output %s, or reads it: %s depends on what stood there before", name,
                result->name, pl_place(p, i).text);
        return pl_verdict(p, PLEAT_CHECK_WRONG, "wrong: %s gives %s and then %s for the same input: %s of %s",
                          name, pl_number(one, 17).text, pl_number(two, 17).text, pl_place(p, i).text,
                          result->name);
    }
    return done;
}

bool pl_forward_steadily(pl_check_pair *p, const double *x, double *y, double *again) {
    return steadily(p, false, x, NULL, y, again);
}
bool pl_back_steadily(pl_check_pair *p, const double *x, const double *gy, double *gx, double *again) {
    return steadily(p, true, x, gy, gx, again);
}

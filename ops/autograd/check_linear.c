/* Pairs of linear functions on plain arrays: <A x, y> = <x, A^T y>, and A(x + c z) = A x + c A z. How far the
 * second is off measures the rounding errors that the first may have. */
#include <math.h>
#include <stdio.h>

#include "autograd/check_calls.h"
#include "core/functions.h"

typedef struct number {
    double re, im;
} number;

/* An x and a y, what the functions make of them, and room for two more of each. */
typedef struct linear {
    pl_check_pair *p;
    double *x, *aty, *n1, *n2; /* [n] */
    double *y, *ax, *m1, *m2;  /* [m] */
    double noise;              /* of the difference of the two products */
} linear;

/* <a, b> = sum of conj(a) b */
static number product(const pl_check_pair *p, size_t n, const double *a, const double *b) {
    number s = {pl_dot(n, a, b), 0};
    for (size_t i = 0; p->is_complex && i < n; i += 2) s.im += a[i] * b[i + 1] - a[i + 1] * b[i];
    return s;
}

/* |<A x, y> - <x, A^T y>| */
static double discrepancy(const pl_check_pair *p, const double *ax, const double *y, const double *x,
                          const double *aty) {
    number a = product(p, p->m, ax, y), b = product(p, p->n, x, aty);
    return pl_hypot_f64(a.re - b.re, a.im - b.im);
}

static bool apply(linear *k, bool back, const double *in, double *out) {
    return back ? pl_back(k->p, NULL, in, out) : pl_forward(k->p, in, out);
}

/* ---- linear? ------------------------------------------------------------------------------------------------- */

/* Element i of c z, where c is 3, or 3 + 2i. */
static double turned(const pl_check_pair *p, const double *z, size_t i) {
    if (!p->is_complex) return 3 * z[i];
    return i % 2 ? 3 * z[i] + 2 * z[i - 1] : 3 * z[i] - 2 * z[i + 1];
}

/* Is A(v + c z) - A v - c A z no more than rounding for a random z? Its products with `other` are added to
 * the noise. */
static bool is_linear(linear *k, pleat_rng *r, bool back, const double *v, const double *av,
                      const double *other) {
    pl_check_pair *p = k->p;
    size_t n = back ? p->m : p->n, m = back ? p->n : p->m;
    double *z = back ? k->m1 : k->n1, *sum = back ? k->m2 : k->n2;
    double *az = back ? k->n1 : k->m1, *off = back ? k->n2 : k->m2, most = 0, size = 0;
    pl_directions(p, r, n, NULL, z);
    for (size_t i = 0; i < n; i++) sum[i] = pl_round(p, v[i] + turned(p, z, i));
    if (!apply(k, back, z, az) || !apply(k, back, sum, off)) return false;
    for (size_t i = 0; i < m; i++) {
        off[i] -= av[i] + turned(p, az, i);
        most = fmax(most, isnan(off[i]) ? INFINITY : fabs(off[i]));
        size = fmax(size, fmax(fabs(av[i]), fabs(az[i])));
    }
    k->noise += pl_norm(m, off, other) + pl_epsilon(p) * pl_norm(m, av, other);
    if (most <= sqrt(pl_epsilon(p)) * size) return true;
    /* is it rounding after all? A linear function rounds 2 x and -x as it rounds x, and no other is likely
     * to */
    for (size_t i = 0; i < n; i++) sum[i] = -2 * v[i];
    if (!apply(k, back, sum, off)) return false;
    for (size_t i = 0, same = 0; i < m; i++) {
        same += off[i] == -2 * av[i];
        if (same == m) return true;
    }
    return pl_verdict(p, PLEAT_CHECK_WRONG,
                      "wrong: %s is not linear: A(x + c z) - A x - c A z is %s, and the largest A x is %s",
                      p->names[back], pl_number(most, 3).text, pl_number(size, 3).text);
}

/* ---- where --------------------------------------------------------------------------------------------------- */

/* all, but 0 outside of from .. to - 1 */
static void cut(size_t n, const double *all, size_t from, size_t to, double *part) {
    for (size_t i = 0; i < n; i++) part[i] = i >= from && i < to ? all[i] : 0;
}

/* The discrepancy with a part of x, whose A x stays in m1, or with a part of y beside the x in n1 and its A x
 * in m1. */
static bool part(linear *k, bool of_y, size_t from, size_t to, double *found) {
    pl_check_pair *p = k->p;
    if (of_y) {
        cut(p->m, k->y, from, to, k->m2);
        if (!pl_back(p, NULL, k->m2, k->n2)) return false;
        *found = discrepancy(p, k->m1, k->m2, k->n1, k->n2);
    } else {
        cut(p->n, k->x, from, to, k->n1);
        if (!pl_forward(p, k->n1, k->m1)) return false;
        *found = discrepancy(p, k->m1, k->y, k->n1, k->aty);
    }
    return true;
}

/* Always on into the half with the larger discrepancy, as long as it can be told. */
static bool halve(linear *k, bool of_y, size_t *from, size_t *to) {
    double left, right;
    while (*to - *from > 1) {
        size_t half = *from + (*to - *from) / 2;
        if (!part(k, of_y, *from, half, &left) || !part(k, of_y, half, *to, &right)) return false;
        if (!(fmax(left, right) > PL_SURE * k->noise)) break;
        *(left >= right ? to : from) = half;
    }
    return part(k, of_y, *from, *to, &left);
}

static pl_digits complex_text(const pl_check_pair *p, const double *v) {
    if (!p->is_complex) return pl_number(v[0], 9);
    pl_digits t, re = pl_number(v[0], 5), im = pl_number(v[1], 5);
    snprintf(t.text, sizeof t.text, "%.13s%s%.13si", re.text, im.text[0] == '-' ? "" : "+", im.text);
    return t;
}

/* The entry of A^T that is worst off, beside the one of A. */
static bool locate(linear *k) {
    pl_check_pair *p = k->p;
    pleat_check_report *r = &p->report;
    size_t w = p->is_complex ? 2 : 1, i = 0, i_end = p->n, j = 0, j_end = p->m;
    if (!halve(k, false, &i, &i_end) || !halve(k, true, &j, &j_end)) return false;
    r->first = i / w, r->last = (i_end - 1) / w + 1, r->row = j / w;
    if (r->last - r->first > 1 || (j_end - 1) / w > r->row)
        return pl_verdict(
            p, PLEAT_CHECK_WRONG,
            "wrong: <A x, y> and <x, A^T y> differ by %s of their size; x %zu to %zu and y %zu to %zu, none alone",
            pl_number(r->error, 2).text, r->first, r->last - 1, r->row, (j_end - 1) / w);
    i = r->first * w, j = r->row * w;
    for (size_t e = 0; e < p->n; e++) k->n1[e] = e == i;
    for (size_t e = 0; e < p->m; e++) k->m2[e] = e == j;
    if (!pl_forward(p, k->n1, k->m1) || !pl_back(p, NULL, k->m2, k->n2)) return false;
    double expected[2] = {k->m1[j], p->is_complex ? -k->m1[j + 1] : 0},
           found[2] = {k->n2[i], p->is_complex ? k->n2[i + 1] : 0};
    bool imaginary = fabs(expected[1] - found[1]) > fabs(expected[0] - found[0]);
    r->expected = expected[imaginary];
    r->found = found[imaginary];
    return pl_verdict(
        p, PLEAT_CHECK_WRONG,
        "wrong: <A x, y> and <x, A^T y> differ by %s of their size; row %zu of A, column %zu: %s %s, A^T has %s",
        pl_number(r->error, 2).text, r->row, r->first, p->is_complex ? "the conjugate of A is" : "A has",
        complex_text(p, expected).text, complex_text(p, found).text);
}

/* ---- the check ----------------------------------------------------------------------------------------------- */

static bool all_finite(pl_check_pair *p, size_t n, const double *v, bool back) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i]))
            return pl_verdict(p, PLEAT_CHECK_WRONG, "wrong: %s gives %s: %s", p->names[back],
                              pl_number(v[i], 3).text, pl_place(p, i).text);
    }
    return true;
}

/* A random pair. Decided is with the noise of all pairs: a single one may show little by chance. */
static bool try_once(linear *k, pleat_rng *r, bool decide) {
    pl_check_pair *p = k->p;
    pl_directions(p, r, p->n, NULL, k->x);
    pl_directions(p, r, p->m, NULL, k->y);
    if (!pl_forward_steadily(p, k->x, k->ax, k->m1) || !all_finite(p, p->m, k->ax, false)) return false;
    if (!pl_back_steadily(p, NULL, k->y, k->aty, k->n1) || !all_finite(p, p->n, k->aty, true)) return false;
    double before = k->noise;
    k->noise = 0;
    if (!is_linear(k, r, false, k->x, k->ax, k->y)) return false;
    if (!is_linear(k, r, true, k->y, k->aty, k->x)) return false;
    k->noise = fmax(k->noise, before);
    if (!decide) return true;
    double scale = fmax(pl_norm(p->m, k->ax, k->y), pl_norm(p->n, k->x, k->aty));
    double off = discrepancy(p, k->ax, k->y, k->x, k->aty);
    if (scale == 0) return true;
    p->report.error = fmax(p->report.error, off / scale);
    p->report.visible = fmax(p->report.visible, fmax(PL_HIDDEN * PL_SURE * k->noise / scale, p->tolerance));
    return off > PL_SURE * k->noise && off > p->tolerance * scale ? locate(k) : true;
}

pleat_verdict pl_check_linear(pl_check_pair *p, pleat_check_report *out) {
    size_t n = p->n, m = p->m;
    double *room = pl_check_pair_begin(p, 4, 4);
    if (room == NULL) return pl_check_pair_end(p, room, out);
    double *of_m = room + 4 * n;
    linear k = {.p = p, .x = room, .aty = room + n, .n1 = room + 2 * n, .n2 = room + 3 * n};
    k.y = of_m, k.ax = of_m + m, k.m1 = of_m + 2 * m, k.m2 = of_m + 3 * m;
    bool going = true;
    for (int decide = 0; decide < 2; decide++) {
        pleat_rng r = pleat_rng_new(p->seed, 4);
        for (int i = 0; going && i < (p->tries > 0 ? p->tries : 4); i++) going = try_once(&k, &r, decide);
    }
    if (going) pl_nothing_seen(p, "rounding");
    return pl_check_pair_end(p, room, out);
}

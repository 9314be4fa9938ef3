/* Gradients and vjps of functions on plain arrays against difference quotients. What is extrapolated is the
 * discrepancy: of S(t) = <gy, f(x + t d)> - <gx, x + t d>, whose derivative at 0 must be 0. So the rounding
 * of x + t d itself does not count: gx is multiplied with the true difference of the points. */
#include <math.h>
#include <stdio.h>

#include "autograd/check_calls.h"
#include "core/functions.h"

typedef struct derivative {
    pl_check_pair *p;
    /* [n]: the place, a point beside it, direction, gradient, its rounding, sizes */
    double *x, *xt, *d, *g, *noise, *s;
    double *u, *y, *up, *down; /* [m]: gy, f(x), f at the points */
    double sigma;              /* the measured standard deviation of S */
    int changes;               /* of f, among POINTS near x */
} derivative;

/* The extrapolated discrepancy along a direction, and the estimate of its error. */
typedef struct slope {
    double value, error;
    double rounding; /* the part of the error that is not of the steps */
    double plain;    /* how far the quotient of the smallest step was from it */
    double h;        /* that step */
    double signal;   /* the largest change of S, in units of its rounding */
    bool settled;    /* false: no step was usable, as S is not smooth or not finite there */
} slope;

/* ---- one point ----------------------------------------------------------------------------------------------- */

/* xt = x + t d for the elements from .. to - 1, as the type has it. Returns <g, xt - x>; NaN if t is too
 * small for x. */
static double move(const derivative *k, double t, size_t from, size_t to) {
    double sum = 0, lost = 0;
    for (size_t i = 0; i < k->p->n; i++) k->xt[i] = k->x[i];
    for (size_t i = from; i < to; i++) {
        k->xt[i] = pl_round(k->p, k->x[i] + t * k->d[i]);
        double step = k->xt[i] - k->x[i], term = k->g[i] * step, next = sum + term;
        if (fabs(step - t * k->d[i]) > fabs(t * k->d[i]) / 8) return NAN;
        lost += fabs(sum) >= fabs(term) ? (sum - next) + term : (term - next) + sum;
        sum = next;
    }
    return sum + lost;
}

/* ---- rounding ------------------------------------------------------------------------------------------------ */

/* At points that lie close together a smooth function is a straight line, but for its rounding errors. They
 * are drawn at random, since errors may follow an even spacing. */
enum { POINTS = 8 };
static bool scatter(derivative *k, pleat_rng *r, double range) {
    double t[POINTS], v[POINTS], mean_t = 0, mean_v = 0, tt = 0, tv = 0, off = 0, last = 0;
    k->changes = 0;
    for (int i = 0; i < POINTS; i++) {
        t[i] = (i + pleat_rng_uniform(r)) / POINTS;
        double along = move(k, t[i] * range, 0, k->p->n);
        if (!pl_forward(k->p, k->xt, k->up)) return false;
        for (size_t j = 0; j < k->p->m; j++) k->up[j] -= k->y[j];
        double change = pl_dot(k->p->m, k->u, k->up);
        k->changes += change != last;
        last = change;
        v[i] = change - (isnan(along) ? 0 : along);
        mean_t += t[i] / POINTS;
        mean_v += v[i] / POINTS;
    }
    for (int i = 0; i < POINTS; i++) {
        tt += (t[i] - mean_t) * (t[i] - mean_t);
        tv += (t[i] - mean_t) * (v[i] - mean_v);
    }
    for (int i = 0; i < POINTS; i++) off = pl_hypot_f64(off, v[i] - mean_v - tv / tt * (t[i] - mean_t));
    k->sigma = isnan(off) ? 0 : off / sqrt(POINTS - 2);
    return true;
}

/* The standard deviation of S. Where f is so coarse that it does not change, farther apart. */
static bool measure_function(derivative *k, pleat_rng *r) {
    double range = pl_pow_f64(pl_epsilon(k->p), 2.0 / 3);
    k->changes = 0;
    while (k->changes < POINTS / 2 && range < 1.0 / 256) {
        if (!scatter(k, r, range)) return false;
        range *= 16;
    }
    return true;
}

/* The gradient's: its second difference is 0, but for rounding. And it can hardly be better than f itself. */
static bool measure_gradient(derivative *k) {
    pl_check_pair *p = k->p;
    double apart = pl_pow_f64(pl_epsilon(p), 2.0 / 3), size = pl_norm(p->m, k->u, k->y);
    double relative = pl_epsilon(p) + (size > 0 ? fmin(k->sigma / size, 1) : 0);
    for (size_t i = 0; i < p->n; i++) k->noise[i] = relative * fabs(k->g[i]);
    for (int far = 1; far <= 5; far += 2) { /* a single one may be 0 by chance */
        move(k, far * apart, 0, p->n);
        if (!pl_back(p, k->xt, k->u, k->s)) return false; /* s is written anew in each try */
        move(k, -far * apart, 0, p->n);
        if (!pl_back(p, k->xt, k->u, k->xt)) return false;
        for (size_t i = 0; i < p->n; i++)
            k->noise[i] = fmax(k->noise[i], 0.5 * fabs(k->s[i] + k->xt[i] - 2 * k->g[i]));
    }
    for (size_t i = 0; i < p->n; i++) k->noise[i] *= fabs(k->d[i]);
    return true;
}

/* ---- one direction ------------------------------------------------------------------------------------------- */

typedef struct quotient {
    double value, bend, rounding, signal; /* bend: how far the left quotient is from the right one */
} quotient;

/* The central quotient of S with step h. */
static bool divide(derivative *k, double h, size_t from, size_t to, quotient *q) {
    pl_check_pair *p = k->p;
    double ahead = move(k, h, from, to);
    if (!pl_forward(p, k->xt, k->up)) return false;
    double back = move(k, -h, from, to);
    if (!pl_forward(p, k->xt, k->down)) return false;
    double size = fmax(pl_norm(p->m, k->u, k->up), pl_norm(p->m, k->u, k->down));
    for (size_t j = 0; j < p->m; j++) {
        double up = k->up[j];
        k->up[j] -= k->down[j];
        k->down[j] = (up - k->y[j]) + (k->down[j] - k->y[j]);
    }
    double across = pl_dot(p->m, k->u, k->up), over = pl_dot(p->m, k->u, k->down);
    double rounding = k->sigma + 0.3 * pl_epsilon(p) * size;
    q->value = (across - (ahead - back)) / (2 * h);
    q->bend = fabs(over - (ahead + back)) / h;
    q->rounding = rounding / h;
    q->signal = rounding > 0 ? fmax(fabs(across), fabs(over)) / rounding : 0;
    return true;
}

/* Ridders' table for the direction d, restricted to the elements from .. to - 1. It ends where rounding alone
 * exceeds the smallest error so far twice over, or where the error is below `enough`. */
static bool extrapolate(derivative *k, double h, size_t from, size_t to, double enough, slope *s) {
    enum { ROWS = 36, COLUMNS = 8 };
    double value[2][COLUMNS], rounding[2][COLUMNS], of_gradient = 0, bend = INFINITY, step = INFINITY,
                                                    signal = 0;
    for (size_t i = from; i < to; i++) of_gradient = pl_hypot_f64(of_gradient, k->noise[i]);
    *s = (slope){.error = INFINITY};
    for (int row = 0, filled = 0; row < ROWS; row++) {
        quotient q;
        if (!divide(k, h, from, to, &q)) return false;
        double *now = value[row % 2], *error = rounding[row % 2];
        const double *before = value[1 - row % 2], *error_before = rounding[1 - row % 2];
        signal = fmax(signal, q.signal);
        /* smaller steps come nearer; where they do not, it had settled on what f looks like from afar */
        if (s->settled && !(fabs(q.value - s->value) <= s->plain + s->error + 4 * q.rounding)) {
            *s = (slope){.error = INFINITY};
            filled = 0;
        }
        if (q.rounding > 2 * s->error) break;
        if (!isfinite(q.value)) q.bend = INFINITY;
        /* of a smooth function the bend halves with h, and the quotients move a quarter as far; otherwise
         * there is a kink, or h is too large */
        double moved = filled > 0 ? fabs(q.value - before[0]) : INFINITY;
        bool smooth = q.bend <= 0.75 * bend + 8 * q.rounding && moved <= 0.5 * step + 4 * q.rounding;
        if (!smooth) filled = 0;
        bend = q.bend;
        step = moved;
        now[0] = q.value;
        error[0] = q.rounding;
        double factor = 1;
        for (int j = 1; j <= filled && j < COLUMNS; j++) {
            factor *= 4;
            now[j] = (factor * now[j - 1] - before[j - 1]) / (factor - 1);
            error[j] = (factor * error[j - 1] + error_before[j - 1]) / (factor - 1);
            double steps = fmax(fabs(now[j] - now[j - 1]), fabs(now[j] - before[j - 1]));
            double total = steps + error[j];
            if (total < s->error) *s = (slope){now[j], total, error[j], fabs(now[0] - now[j]), h, 0, true};
        }
        filled = isfinite(q.value) ? filled + 1 : 0;
        if (s->settled && PL_SURE * s->error <= enough) break;
        h /= 2;
    }
    s->error += of_gradient;
    s->rounding += of_gradient;
    s->signal = signal;
    return true;
}

/* ---- where --------------------------------------------------------------------------------------------------- */

static bool sees(const slope *s) { return s->settled && fabs(s->value) > PL_SURE * s->error; }

/* A discrepancy is believed if other steps give it, too. A table may settle by chance, on a function that
 * changes faster than its steps. */
static bool confirm(derivative *k, slope *s) {
    static const double first[] = {0.208, 0.152};
    for (int i = 0; i < 2 && sees(s); i++) {
        slope other;
        if (!extrapolate(k, first[i], 0, k->p->n, 0, &other)) return false;
        s->error = fmax(s->error, fmax(other.error, fabs(other.value - s->value)));
    }
    return true;
}

/* A function that hardly changes near x: is it constant, or does rounding swallow its changes? Far from x it
 * shows. False, with a report, if nothing can be told. */
static bool is_telling(derivative *k, size_t from, size_t to, const slope *s) {
    double longest = 0;
    bool same = s->signal == 0 && (k->changes == 0 || to - from < k->p->n);
    /* the gradient claims changes that no bounded function could hide behind the rounding of f's own value */
    same = same && fabs(s->value) > 4e4 * pl_epsilon(k->p) * pl_norm(k->p->m, k->u, k->y);
    if (s->signal > 32 && (k->changes >= POINTS / 2 || to - from < k->p->n)) return true;
    for (size_t i = from; i < to; i++) longest = fmax(longest, fabs(k->d[i]));
    const double t[] = {0.25, -0.25, 1, 64, 1 / longest, -16 / longest};
    for (size_t i = 0; i < sizeof t / sizeof *t && same; i++) {
        move(k, t[i], from, to);
        if (!pl_forward(k->p, k->xt, k->up)) return false;
        for (size_t j = 0; j < k->p->m; j++) same = same && k->up[j] == k->y[j];
    }
    pl_text one = pl_place(k->p, from);
    return same || pl_verdict(k->p, PLEAT_CHECK_UNCLEAR,
                              "it cannot be told: f hardly changes near x%s%s: rounding may swallow it",
                              to - from == 1 ? " with " : "", to - from == 1 ? one.text : "");
}

/* The worst element: always on into the half with the larger discrepancy. */
static bool locate(derivative *k, slope *s) {
    pl_check_pair *p = k->p;
    size_t from = 0, to = p->n;
    const double first = fmin(8 * s->h, 0.25); /* longer steps would see f from afar */
    while (to - from > 1) {
        size_t half = from + (to - from) / 2;
        double enough = fabs(s->value) / 8;
        slope left, right;
        if (!extrapolate(k, first, from, half, enough, &left) ||
            !extrapolate(k, first, half, to, enough, &right))
            return false;
        bool go_left = sees(&left) && (!sees(&right) || fabs(left.value) >= fabs(right.value));
        if (!go_left && !sees(&right)) break;
        *s = go_left ? left : right;
        *(go_left ? &to : &from) = half;
    }
    size_t width = p->is_complex ? 2 : 1;
    pleat_check_report *r = &p->report;
    r->first = from / width;
    r->last = (to - 1) / width + 1;
    if (to - from == 1) {
        r->found = k->g[from];
        r->expected = k->g[from] + s->value / k->d[from];
        if (fabs(r->expected) < fabs(r->found) / 8 && !is_telling(k, from, to, s)) return false;
        return pl_verdict(p, PLEAT_CHECK_WRONG,
                          "wrong: %s: difference quotient %s, %s %s; off by %s of the whole",
                          pl_place(p, from).text, pl_number(r->expected, 9).text, p->names[1],
                          pl_number(r->found, 9).text, pl_number(r->error, 2).text);
    }
    return pl_verdict(
        p, PLEAT_CHECK_WRONG,
        "wrong: elements %zu to %zu together, none of them enough to be told alone; off by %s of the whole",
        r->first, r->last - 1, pl_number(r->error, 2).text);
}

/* ---- the check ----------------------------------------------------------------------------------------------- */

static bool sizes_are_fine(derivative *k) {
    pl_check_pair *p = k->p;
    double mean = 0;
    for (size_t i = 0; i < p->n; i++) {
        double x = k->x[i] = pl_element_of(p, p->at, i);
        if (!isfinite(x))
            return pl_verdict(p, PLEAT_CHECK_REFUSED, "x is %s: %s", pl_number(x, 3).text,
                              pl_place(p, i).text);
        mean += fabs(x) / (double)p->n;
    }
    for (size_t i = 0; i < p->n; i++) {
        k->s[i] = fmax(mean > 0 ? mean : 1, fabs(k->x[i]) / 16);
        if (p->sizes != NULL) k->s[i] = pl_element_of(p, p->sizes, i / (p->is_complex ? 2 : 1));
        if (!(k->s[i] > 0) || isinf(k->s[i]))
            return pl_verdict(p, PLEAT_CHECK_REFUSED, "a size is %s: %s; it must be positive",
                              pl_number(k->s[i], 3).text, pl_place(p, i).text);
    }
    return true;
}

/* An infinite gradient may be right: of a root at 0, or beyond the largest float. One that is not a number is
 * not. */
static bool all_finite(derivative *k, bool back) {
    pl_check_pair *p = k->p;
    const double *v = back ? k->g : k->y;
    for (size_t i = 0; i < (back ? p->n : p->m); i++) {
        bool wrong = back && isnan(v[i]);
        if (!isfinite(v[i]))
            return pl_verdict(p, wrong ? PLEAT_CHECK_WRONG : PLEAT_CHECK_UNCLEAR, "%s: %s gives %s: %s of %s",
                              wrong ? "wrong" : "it cannot be told", p->names[back], pl_number(v[i], 3).text,
                              pl_place(p, i).text, back ? p->gx.name : p->y.name);
    }
    return true;
}

/* Everything about one random direction. False, with a report, where the check ends. */
static bool try_once(derivative *k, pleat_rng *r, slope *worst) {
    pl_check_pair *p = k->p;
    slope s;
    if (!sizes_are_fine(k)) return false;
    pl_directions(p, r, p->n, k->s, k->d);
    pl_directions(p, r, p->m, NULL, k->u);
    for (size_t j = 0; p->scalar && j < p->m; j++) k->u[j] = j == 0;
    if (!pl_back_steadily(p, k->x, k->u, k->g, k->noise) || !all_finite(k, true)) return false;
    if (!measure_function(k, r)) return false;
    if (!measure_gradient(k) || !extrapolate(k, 0.25, 0, p->n, 0, &s) || !confirm(k, &s)) return false;
    if (!s.settled)
        return pl_verdict(
            p, PLEAT_CHECK_UNCLEAR,
            "it cannot be told: f is not smooth at x, or not finite beside it: its quotients do not settle");
    double along = pl_norm(p->n, k->g, k->d), scale = fmax(along, fabs(s.value));
    if (along == 0 && !sees(&s)) scale = pl_norm(p->m, k->u, k->y); /* nothing depends on x */
    double error = scale > 0 ? fabs(s.value) / scale : 0,
           hidden = scale > 0 ? PL_HIDDEN * PL_SURE * s.error / scale : 0;
    p->report.error = fmax(p->report.error, error);
    if (hidden >= p->report.visible) *worst = s;
    p->report.visible = fmax(p->report.visible, fmax(hidden, p->tolerance));
    return sees(&s) && error > p->tolerance ? is_telling(k, 0, p->n, &s) && locate(k, &s) : true;
}

pleat_verdict pl_check_derivative(pl_check_pair *p, pleat_check_report *out) {
    size_t n = p->n, m = p->m;
    double *room = pl_check_pair_begin(p, 6, 4);
    if (room == NULL) return pl_check_pair_end(p, room, out);
    double *of_m = room + 6 * n;
    derivative k = {.p = p, .x = room, .xt = room + n, .d = room + 2 * n, .g = room + 3 * n};
    k.noise = room + 4 * n, k.s = room + 5 * n;
    k.u = of_m, k.y = of_m + m, k.up = of_m + 2 * m, k.down = of_m + 3 * m;
    pleat_rng r = pleat_rng_new(p->seed, 3);
    slope worst = {0};
    bool going = sizes_are_fine(&k) && pl_forward_steadily(p, k.x, k.y, k.up) && all_finite(&k, false);
    for (int i = 0; going && i < (p->tries > 0 ? p->tries : 4); i++) going = try_once(&k, &r, &worst);
    if (going)
        pl_nothing_seen(p, worst.rounding > 0.3 * worst.error ? "rounding"
                                                              : "the function, hardly smooth at x,");
    return pl_check_pair_end(p, room, out);
}

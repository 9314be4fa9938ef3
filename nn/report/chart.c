/* Line charts: a path for each series with gaps at values that are not finite, signs if the points are few,
 * and the last values at the right. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "report/report.h"

#define OP "report_chart"

enum {
    WIDTH = 480,
    HEIGHT = 280,
    FEW = 40,    /* up to this number, each point has a sign */
    MOST = 1000, /* points of a path; more would not be visible */
    LABELLED = 8 /* series whose last value is shown at the right */
};

typedef struct drawing {
    const pleat_nn_chart *c;
    pln_page *p;
    pln_frame f;
} drawing;

static double x_of(const pleat_nn_chart *c, size_t i) {
    return c->x_first + (double)i * (c->x_step == 0 ? 1 : c->x_step);
}

/* ---- ranges -------------------------------------------------------------------------------------------- */

static const pln_range nothing = {HUGE_VAL, -HUGE_VAL};

static pln_axis x_axis(const pleat_nn_chart *c) {
    pln_axis_args a = {.range = nothing, .most = 7};
    for (size_t k = 0; k < c->count; k++) {
        if (!c->series[k].n) continue;
        pln_extend(&a.range, x_of(c, 0));
        pln_extend(&a.range, x_of(c, c->series[k].n - 1));
    }
    a.whole = c->x_first == floor(c->x_first) && c->x_step == floor(c->x_step) && a.range.low > -1e9 &&
              a.range.high < 1e9;
    pln_axis x = pln_axis_new(a);
    while (a.most > 2 && x.ticks * (pln_axis_width(&x) + 2) * PLN_LETTER > WIDTH - 130) {
        a.most--;
        x = pln_axis_new(a);
    }
    return x;
}

static pln_axis y_axis(const pleat_nn_chart *c) {
    pln_axis_args a = {.range = nothing, .most = 5, .grow = true, .log = c->log_y};
    for (size_t k = 0; k < c->count; k++)
        for (size_t i = 0; i < c->series[k].n; i++) pln_extend(&a.range, c->series[k].y[i]);
    return pln_axis_new(a);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

#define GAP SIZE_MAX

/* The points that are drawn, in order. */
typedef struct points {
    size_t n, at[MOST];
} points;

/* The lowest and the highest point of each part of a long series, so that no peak is lost. A part without
 * values is a gap. */
static void choose(const pleat_nn_series *s, points *out) {
    size_t part = s->n > MOST ? (s->n - 1) / (MOST / 2) + 1 : 1;
    out->n = 0;
    for (size_t i = 0; i < s->n; i += part) {
        size_t low = GAP, high = GAP, end = s->n - i < part ? s->n : i + part;
        for (size_t j = i; j < end; j++) {
            if (!pln_drawable(s->y[j])) continue;
            if (low == GAP || s->y[j] < s->y[low]) low = j;
            if (high == GAP || s->y[j] > s->y[high]) high = j;
        }
        out->at[out->n++] = low < high ? low : high;
        if (low != high) out->at[out->n++] = low < high ? high : low;
    }
}

static bool gap_at(const points *w, size_t i) { return i >= w->n || w->at[i] == GAP; }

static double place_x(const drawing *d, size_t i) { return pln_axis_at(&d->f.x, x_of(d->c, i)); }

static void draw_line(const drawing *d, size_t k, const points *w) {
    const pleat_nn_series *s = &d->c->series[k];
    pln_html(d->p, "<path class=\"line c%zu d%zu\" d=\"", pln_colour(k), pln_dashes(k));
    for (size_t i = 0; i < w->n; i++) {
        if (gap_at(w, i)) continue;
        double y = pln_axis_at(&d->f.y, s->y[w->at[i]]);
        pln_html(d->p, "%c%s %s", gap_at(w, i - 1) ? 'M' : 'L', pln_tenths(place_x(d, w->at[i])).s,
                 pln_tenths(y).s);
    }
    pln_html(d->p, "\"/>");
}

/* "train, epoch 3: 0.01234" */
static void name_point(const drawing *d, size_t k, size_t i) {
    pln_text(d->p, d->c->series[k].name);
    pln_html(d->p, ", ");
    pln_text(d->p, d->c->x_name);
    pln_html(d->p, " %s: %s", pln_short(x_of(d->c, i), 6).s, pln_short(d->c->series[k].y[i], 5).s);
}

/* Signs on all points of a short series; otherwise on points without neighbours, whose line has no length. */
static void draw_signs(const drawing *d, size_t k, const points *w) {
    const pleat_nn_series *s = &d->c->series[k];
    for (size_t i = 0; i < w->n; i++) {
        bool lone = gap_at(w, i - 1) && gap_at(w, i + 1);
        if (gap_at(w, i) || !(s->n <= FEW || lone)) continue;
        pln_html(d->p, "<path class=\"sign c%zu\" d=\"", pln_colour(k));
        pln_sign(d->p, k, place_x(d, w->at[i]), pln_axis_at(&d->f.y, s->y[w->at[i]]));
        pln_html(d->p, "\"><title>");
        name_point(d, k, w->at[i]);
        pln_html(d->p, "</title></path>");
    }
}

/* ---- last values --------------------------------------------------------------------------------------- */

typedef struct last {
    size_t series;
    double value, y;
} last;

/* The last value of each series; NaN if it has none. */
static double last_value(const pleat_nn_series *s) {
    for (size_t i = s->n; i > 0; i--)
        if (pln_drawable(s->y[i - 1])) return s->y[i - 1];
    return NAN;
}

static double room_for_last(const pleat_nn_chart *c) {
    size_t most = 0;
    if (c->count > LABELLED) return 12;
    for (size_t k = 0; k < c->count; k++) {
        pln_digits text = pln_short(last_value(&c->series[k]), 4);
        size_t n = 0;
        while (text.s[n]) n++;
        if (n > most) most = n;
    }
    return 24 + (double)most * PLN_LETTER;
}

static int by_y(const void *a, const void *b) {
    double x = ((const last *)a)->y, y = ((const last *)b)->y;
    return (x > y) - (x < y);
}

/* Move labels apart that would overlap: down first, then up from the end of the plot. */
static void spread(last *l, size_t n, double bottom) {
    for (size_t i = 1; i < n; i++) l[i].y = fmax(l[i].y, l[i - 1].y + PLN_LINE);
    for (size_t i = n; i > 0; i--) l[i - 1].y = fmin(l[i - 1].y, bottom - (double)(n - i) * PLN_LINE);
}

static void write_last(const drawing *d) {
    last l[LABELLED];
    size_t n = 0;
    if (d->c->count > LABELLED) return;
    for (size_t k = 0; k < d->c->count; k++) {
        double v = last_value(&d->c->series[k]);
        if (pln_drawable(v)) l[n++] = (last){k, v, pln_axis_at(&d->f.y, v)};
    }
    qsort(l, n, sizeof *l, by_y);
    spread(l, n, d->f.bottom);
    for (size_t i = 0; i < n; i++) {
        pln_html(d->p, "<path class=\"sign c%zu\" d=\"", pln_colour(l[i].series));
        pln_sign(d->p, l[i].series, d->f.right + 8, l[i].y);
        pln_html(d->p, "\"/><text class=\"value\" x=\"%s\" y=\"%s\">%s</text>", pln_tenths(d->f.right + 16).s,
                 pln_tenths(l[i].y + 4.5).s, pln_short(l[i].value, 4).s);
    }
}

/* ---- the chart ----------------------------------------------------------------------------------------- */

/* A line across the plot, with its word away from the first series. */
static void draw_mark(const drawing *d, size_t mark) {
    const pleat_nn_chart *c = d->c;
    if (!c->count || mark >= c->series[0].n || c->series[0].n < 2) return;
    double x = place_x(d, mark), v = c->series[0].y[mark], middle = (d->f.top + d->f.bottom) / 2;
    bool high = pln_drawable(v) && pln_axis_at(&d->f.y, v)<middle, right = x>(d->f.left + d->f.right) / 2;
    pln_html(d->p, "<path class=\"mark\" d=\"M%s %sV%s\"/>", pln_tenths(x).s, pln_tenths(d->f.top).s,
             pln_tenths(d->f.bottom).s);
    pln_html(d->p, "<text class=\"best %s\" x=\"%s\" y=\"%s\">best</text>", right ? "end" : "start",
             pln_tenths(right ? x - 5 : x + 5).s, pln_tenths(high ? d->f.bottom - 7 : d->f.top + 14).s);
}

/* The text alternative of the drawing: "Loss. train: 0.9 to 0.1 in 10 points. valid: ..." */
static void describe(const drawing *d) {
    const pleat_nn_chart *c = d->c;
    pln_text(d->p, c->title);
    for (size_t k = 0; k < c->count; k++) {
        pln_range r = nothing;
        for (size_t i = 0; i < c->series[k].n; i++) pln_extend(&r, c->series[k].y[i]);
        pln_html(d->p, ". ");
        pln_text(d->p, c->series[k].name);
        if (r.low > r.high)
            pln_html(d->p, ": no values");
        else
            pln_html(d->p, ": %zu points, %s to %s, the last is %s", c->series[k].n, pln_short(r.low, 4).s,
                     pln_short(r.high, 4).s, pln_short(last_value(&c->series[k]), 4).s);
    }
}

static void write_legend(const drawing *d) {
    pln_html(d->p, "<ul class=\"legend\">");
    for (size_t k = 0; k < d->c->count; k++) {
        const pleat_nn_series *s = &d->c->series[k];
        size_t strange = 0;
        for (size_t i = 0; i < s->n; i++) strange += !pln_drawable(s->y[i]);
        pln_key(d->p, k, true);
        pln_text(d->p, s->name);
        if (strange) pln_html(d->p, " (%zu not finite)", strange);
        pln_html(d->p, "</li>");
    }
    pln_html(d->p, "</ul>");
}

static void draw(drawing *d, size_t mark) {
    const pleat_nn_chart *c = d->c;
    points w;
    bool empty = true;
    pln_html(d->p, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", WIDTH, HEIGHT);
    describe(d);
    pln_html(d->p, "</title>");
    pln_draw_frame(d->p, &d->f, c->x_name, c->y_name);
    draw_mark(d, mark);
    for (size_t k = 0; k < c->count; k++) {
        choose(&c->series[k], &w);
        draw_line(d, k, &w);
        draw_signs(d, k, &w);
        empty = empty && isnan(last_value(&c->series[k]));
    }
    write_last(d);
    if (empty)
        pln_html(d->p, "<text class=\"middle\" x=\"%s\" y=\"%s\">no values</text>",
                 pln_tenths((d->f.left + d->f.right) / 2).s, pln_tenths((d->f.top + d->f.bottom) / 2).s);
    pln_html(d->p, "</svg>");
}

static bool check(pleat_nn_report *r, const pleat_nn_chart *c) {
    size_t longest = 0;
    if (!pln_report_takes(r, OP, c)) return false;
    if (c->count && !pln_report_takes(r, OP, c->series)) return false;
    for (size_t k = 0; k < c->count; k++) {
        if (c->series[k].n && !pln_report_takes(r, OP, c->series[k].y)) return false;
        if (c->series[k].n > longest) longest = c->series[k].n;
    }
    if (pln_drawable(c->x_first) && pln_drawable(x_of(c, longest))) return true;
    pln_report_fail(r, PLEAT_ERR_ARGUMENT, OP, "x goes from %s in %zu steps of %s; it must be finite",
                    pln_rounded(c->x_first, 6).s, longest, pln_rounded(c->x_step, 6).s);
    return false;
}

void pln_line_chart(pleat_nn_report *r, const pleat_nn_chart *c, size_t mark) {
    if (!check(r, c)) return;
    drawing d = {.c = c, .p = &r->page, .f = {.width = WIDTH, .height = HEIGHT, .room = room_for_last(c)}};
    d.f.x = x_axis(c), d.f.y = y_axis(c);
    pln_html(d.p, "<figure class=\"chart\"><figcaption><b>");
    pln_text(d.p, c->title);
    pln_html(d.p, "</b>");
    write_legend(&d);
    pln_html(d.p, "</figcaption>");
    draw(&d, mark);
    pln_html(d.p, "</figure>\n");
    pln_report_done(r, OP);
}

void pleat_nn_report_chart(pleat_nn_report *r, const pleat_nn_chart *chart) {
    pln_line_chart(r, chart, SIZE_MAX);
}

/* Tables: a network's layers, and confusions. */
#include <math.h>
#include <stdlib.h>

#include "report/report.h"

void pln_scroll_begin(pln_page *p, const char *kind, const char *caption) {
    pln_html(p, "<div class=\"%s\" tabindex=\"0\" role=\"region\" aria-label=\"", kind);
    pln_text(p, caption);
    pln_html(p, "\">");
}

void pln_table_begin(pln_page *p, const char *kind, const char *caption) {
    pln_scroll_begin(p, "scroll", caption);
    pln_html(p, "<table class=\"%s\">", kind);
}

void pln_table_end(pln_page *p) { pln_html(p, "</table></div>\n"); }

/* ---- layers -------------------------------------------------------------------------------------------- */

static void write_work(pln_page *p, pln_digits params, pln_digits macs) {
    pln_html(p,
             "</td><td class=\"number\" data-name=\"parameters\">%s</td>"
             "<td class=\"number\" data-name=\"multiply-adds\">%s</td></tr>\n",
             params.s, macs.s);
}

/* The first size is the batch's. */
static void write_layer(pln_page *p, const pleat_nn_layer_info *l) {
    pln_html(p, "<tr><td>");
    pln_text(p, l->name);
    pln_html(p, "</td><td>");
    pln_text(p, l->kind);
    if (l->description[0]) {
        pln_html(p, "(");
        pln_text(p, l->description);
        pln_html(p, ")");
    }
    pln_html(p, "</td><td data-name=\"output\">");
    for (size_t i = 0; i < l->rank; i++) pln_html(p, i ? " \u00d7 %zu" : "%zu", l->shape[i]);
    write_work(p, pln_count((double)l->params), pln_scaled(l->macs));
}

static void write_layers(pln_page *p, const pleat_nn_layer_info *rows, size_t n, size_t params) {
    double macs = 0;
    pln_table_begin(p, "layers", "Layers of the network");
    pln_html(p,
             "<thead><tr><th scope=\"col\">name</th><th scope=\"col\">layer</th><th scope=\"col\">output</th>"
             "<th scope=\"col\" class=\"number\">parameters</th>"
             "<th scope=\"col\" class=\"number\">multiply-adds</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) {
        write_layer(p, &rows[i]);
        macs += rows[i].macs;
    }
    pln_html(p, "</tbody>\n<tfoot><tr><td colspan=\"3\">all");
    write_work(p, pln_count((double)params), pln_scaled(macs));
    pln_html(p, "</tfoot>");
    pln_table_end(p);
}

void pleat_nn_report_summary(pleat_nn_report *r, pleat_nn_module *net, size_t rank, const size_t *shape) {
    static const char op[] = "report_summary";
    size_t n = 0, again;
    if (!pln_report_takes(r, op, net)) return;
    r->status = pleat_nn_layers(net, rank, shape, NULL, 0, &n);
    if (r->status) return;
    pleat_nn_layer_info *rows = calloc(n + 1, sizeof *rows);
    if (rows)
        r->status = pleat_nn_layers(net, rank, shape, rows, n, &again);
    else
        pln_report_fail(r, PLEAT_ERR_MEMORY, op, "no memory for %zu layers", n);
    if (!r->status) write_layers(&r->page, rows, n, pleat_nn_param_numel(net));
    free(rows);
    pln_report_done(r, op);
}

/* ---- confusions ---------------------------------------------------------------------------------------- */

enum { MOST_CLASSES = 64, WORST = 20 }; /* with more classes, a list of the WORST confusions */

typedef struct confusion {
    pln_page *p;
    size_t classes;
    const size_t *counts;
    const char *const *names;
} confusion;

static void write_class(const confusion *c, size_t k) {
    if (c->names)
        pln_text(c->p, c->names[k]);
    else
        pln_html(c->p, "%zu", k);
}

static double count_of(const confusion *c, size_t truth, size_t guess) {
    return (double)c->counts[truth * c->classes + guess];
}

static double row_sum(const confusion *c, size_t truth) {
    double sum = 0;
    for (size_t k = 0; k < c->classes; k++) sum += count_of(c, truth, k);
    return sum;
}

static void write_share(pln_page *p, double part, double whole) {
    if (whole > 0)
        pln_html(p, "%s %%", pln_fixed(100 * part / whole, 1).s);
    else
        pln_html(p, "\u2013");
}

/* The shade is the square root of the fraction of the row, so that rare mistakes are visible; text stays
 * readable. */
static void write_cell(const confusion *c, size_t truth, size_t guess, double row) {
    double count = count_of(c, truth, guess), shade = row > 0 ? 0.55 * sqrt(count / row) : 0;
    const char *kind = truth == guess ? "hit" : count > 0 ? "miss" : "none";
    pln_html(c->p, "<td class=\"%s\" style=\"--p:%s\">%s</td>", kind, pln_fixed(shade, 3).s,
             pln_count(count).s);
}

static void write_table(const confusion *c, const char *caption) {
    pln_scroll_begin(c->p, "scroll", caption);
    pln_html(c->p, "<table class=\"counts\" style=\"--n:%zu\"><thead><tr><td class=\"name\"></td>",
             c->classes);
    for (size_t k = 0; k < c->classes; k++) {
        pln_html(c->p, "<th scope=\"col\">");
        write_class(c, k);
        pln_html(c->p, "</th>");
    }
    pln_html(c->p, "<th scope=\"col\" class=\"right\">right</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < c->classes; i++) {
        double row = row_sum(c, i);
        pln_html(c->p, "<tr><th scope=\"row\">");
        write_class(c, i);
        pln_html(c->p, "</th>");
        for (size_t k = 0; k < c->classes; k++) write_cell(c, i, k, row);
        pln_html(c->p, "<td class=\"share\">");
        write_share(c->p, count_of(c, i, i), row);
        pln_html(c->p, "</td></tr>\n");
    }
    pln_html(c->p, "</tbody>");
    pln_table_end(c->p);
}

/* The index of the largest count off the diagonal that comes after `last` in descending order; false if there
 * is none. */
static bool next_worst(const confusion *c, size_t *last, bool first) {
    size_t n = c->classes * c->classes, best = n;
    for (size_t i = 0; i < n; i++) {
        if (i / c->classes == i % c->classes || !c->counts[i]) continue;
        bool behind =
            first || c->counts[i] < c->counts[*last] || (c->counts[i] == c->counts[*last] && i > *last);
        if (behind && (best == n || c->counts[i] > c->counts[best])) best = i;
    }
    if (best < n) *last = best;
    return best < n;
}

static void write_worst(const confusion *c, const char *caption) {
    size_t at = 0;
    pln_html(c->p, "<p class=\"note\">Of %zu classes, the most frequent confusions:</p>", c->classes);
    pln_table_begin(c->p, "worst", caption);
    pln_html(c->p, "<thead><tr><th scope=\"col\">truth</th><th scope=\"col\">prediction</th>"
                   "<th scope=\"col\" class=\"number\">count</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < WORST && next_worst(c, &at, i == 0); i++) {
        pln_html(c->p, "<tr><td>");
        write_class(c, at / c->classes);
        pln_html(c->p, "</td><td>");
        write_class(c, at % c->classes);
        pln_html(c->p, "</td><td class=\"number\">%s</td></tr>\n", pln_count((double)c->counts[at]).s);
    }
    pln_html(c->p, "</tbody>");
    pln_table_end(c->p);
}

void pleat_nn_report_confusion(pleat_nn_report *r, const char *caption, size_t classes, const size_t *counts,
                               const char *const *names) {
    static const char op[] = "report_confusion";
    size_t cells;
    if (!pln_report_takes(r, op, caption) || (classes && !pln_report_takes(r, op, counts))) return;
    if (__builtin_mul_overflow(classes, classes, &cells)) {
        pln_report_fail(r, PLEAT_ERR_ARGUMENT, op, "%zu classes are too many", classes);
        return;
    }
    confusion c = {&r->page, classes, counts, names};
    double hits = 0, all = 0;
    for (size_t i = 0; i < classes; i++) hits += count_of(&c, i, i), all += row_sum(&c, i);
    pln_html(c.p, "<figure><figcaption><b>");
    pln_text(c.p, caption);
    pln_html(c.p, "</b><p class=\"note\">%s of %s are right: ", pln_count(hits).s, pln_count(all).s);
    write_share(c.p, hits, all);
    pln_html(c.p, "</p></figcaption>");
    if (classes && classes <= MOST_CLASSES) write_table(&c, caption);
    if (classes > MOST_CLASSES) write_worst(&c, caption);
    pln_html(c.p, "</figure>\n");
    pln_report_done(r, op);
}

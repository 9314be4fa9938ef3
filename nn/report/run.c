/* A training run: facts, curves, and a table of its epochs. */
#include <math.h>
#include <stdlib.h>

#include "report/report.h"

#define OP "report_run"

enum { LOG_RATIO = 30, ROWS = 30 };

typedef double (*column)(const pleat_nn_epoch *e);

static double loss_of(const pleat_nn_epoch *e) { return e->loss; }
static double valid_loss_of(const pleat_nn_epoch *e) { return e->valid_loss; }
static double metric_of(const pleat_nn_epoch *e) { return e->metric; }
static double valid_metric_of(const pleat_nn_epoch *e) { return e->valid_metric; }
static double seconds_of(const pleat_nn_epoch *e) { return e->seconds; }
static double lr_of(const pleat_nn_epoch *e) { return e->lr; }
static double rate_of(const pleat_nn_epoch *e) { return e->images_per_second; }

static bool has(const pleat_nn_run *run, column of) {
    for (size_t i = 0; i < run->epochs; i++)
        if (!isnan(of(&run->epoch[i]))) return true;
    return false;
}

/* ---- curves -------------------------------------------------------------------------------------------- */

static void fill(const pleat_nn_run *run, column of, double *y, pln_range *r) {
    for (size_t i = 0; i < run->epochs; i++) {
        y[i] = of(&run->epoch[i]);
        pln_extend(r, y[i]);
    }
}

/* Training and validation over the epochs; the axis is logarithmic if the values span more than LOG_RATIO. */
static void draw_curves(pleat_nn_report *r, const pleat_nn_run *run, const char *name, column train,
                        column valid) {
    size_t n = run->epochs;
    pln_range range = {HUGE_VAL, -HUGE_VAL};
    double *y = calloc(n, 2 * sizeof *y);
    if (!y) {
        pln_report_fail(r, PLEAT_ERR_MEMORY, OP, "no memory for %zu epochs", n);
        return;
    }
    fill(run, train, y, &range);
    fill(run, valid, y + n, &range);
    pleat_nn_series series[] = {{"training", n, y}, {"validation", n, y + n}};
    pleat_nn_chart chart = {.title = name, .x_name = "epoch", .x_first = 1, .series = series};
    chart.count = has(run, valid) ? 2 : 1;
    chart.log_y = range.low > 0 && range.high / LOG_RATIO > range.low;
    pln_line_chart(r, &chart, run->best);
    free(y);
}

/* ---- facts --------------------------------------------------------------------------------------------- */

static void write_fact(pln_page *p, const char *name, const char *value, const char *note) {
    pln_html(p, "<div><dt>");
    pln_text(p, name);
    pln_html(p, "</dt><dd>%s<small>%s</small></dd></div>\n", value, note);
}

static const char *outcome_of(const pleat_nn_run *run) {
    switch (run->outcome) {
    case PLEAT_NN_FINISHED:
        return "all that were asked for";
    case PLEAT_NN_STOPPED:
        return "stopped: no better one came";
    case PLEAT_NN_INTERRUPTED:
        return "interrupted";
    default:
        return "ended by an error";
    }
}

static void write_facts(pln_page *p, const pleat_nn_run *run, const char *metric) {
    const pleat_nn_epoch *best = &run->epoch[run->best];
    const char *which = has(run, valid_loss_of) ? "validation" : "training";
    bool valid = has(run, valid_loss_of);
    char note[96];
    double seconds = 0;
    for (size_t i = 0; i < run->epochs; i++) seconds += run->epoch[i].seconds;
    pln_html(p, "<dl class=\"facts\">\n");
    snprintf(note, sizeof note, "%s, epoch %zu (best)", which, run->best + 1);
    write_fact(p, "loss", pln_short(valid ? best->valid_loss : best->loss, 4).s, note);
    if (metric) write_fact(p, metric, pln_short(valid ? best->valid_metric : best->metric, 4).s, note);
    write_fact(p, "epochs", pln_count((double)run->epochs).s, outcome_of(run));
    snprintf(note, sizeof note, "%s steps", pln_count((double)run->steps).s);
    write_fact(p, "time", pln_duration(seconds).s, note);
    pln_html(p, "</dl>\n");
}

/* ---- the table ----------------------------------------------------------------------------------------- */

enum { COLUMNS = 7 };

typedef struct table {
    pln_page *p;
    const pleat_nn_run *run;
    size_t columns;
    struct {
        column of;
        const char *name, *part;              /* "accuracy", "validation" */
        pln_digits (*write)(double v, int d); /* the number d is the column's */
        int decimals;
    } column[COLUMNS];
} table;

static pln_digits duration(double v, int d) {
    (void)d;
    return pln_duration(v);
}

static pln_digits whole(double v, int d) {
    (void)d;
    return pln_count(v);
}

/* A column without values is left out. */
static void add_column(table *t, const char *name, const char *part, column of,
                       pln_digits (*write)(double v, int d)) {
    if (!has(t->run, of)) return;
    t->column[t->columns].name = name, t->column[t->columns].part = part;
    t->column[t->columns].of = of, t->column[t->columns].write = write;
    t->column[t->columns++].decimals = 3;
}

/* Four digits for the smallest value, if the values of the column are of similar size. */
static void add_results(table *t, const char *name, const char *part, column of) {
    double least = HUGE_VAL, most = 0;
    for (size_t i = 0; i < t->run->epochs; i++) {
        double v = fabs(of(&t->run->epoch[i]));
        if (v > 0) least = fmin(least, v);
        if (v > most) most = v;
    }
    size_t before = t->columns;
    add_column(t, name, part, of, pln_short);
    if (t->columns == before) return;
    t->column[before].decimals = 4;
    if (!(most > 0 && least >= 1e-3 && most < 1e5)) return;
    int decimals = 3 - pln_decade(least);
    t->column[before].write = pln_fixed;
    t->column[before].decimals = decimals < 0 ? 0 : decimals < 5 ? decimals : 5;
}

static void write_head(const table *t) {
    pln_html(t->p, "<thead><tr><th scope=\"col\" class=\"number\">epoch</th>");
    for (size_t k = 0; k < t->columns; k++) {
        pln_html(t->p, "<th scope=\"col\" class=\"number\">");
        pln_text(t->p, t->column[k].name);
        pln_html(t->p, "<small>%s</small></th>", t->column[k].part);
    }
    pln_html(t->p, "</tr></thead>\n<tbody>\n");
}

static void write_epoch(const table *t, size_t i) {
    bool best = i == t->run->best;
    pln_html(t->p, "<tr%s><th scope=\"row\" class=\"number\" data-name=\"epoch\">%s%s</th>",
             best ? " class=\"winner\"" : "", best ? "<small>best</small> " : "", pln_count((double)i + 1).s);
    for (size_t k = 0; k < t->columns; k++) {
        double v = t->column[k].of(&t->run->epoch[i]);
        pln_digits text = isfinite(v) ? t->column[k].write(v, t->column[k].decimals) : pln_short(v, 1);
        pln_html(t->p, "<td class=\"number\" data-name=\"");
        pln_text(t->p, t->column[k].name);
        pln_html(t->p, "%s%s\">%s</td>", *t->column[k].part ? ", " : "", t->column[k].part, text.s);
    }
    pln_html(t->p, "</tr>\n");
}

/* All epochs, or, of many, the first, the last, the best and some between. */
static void write_epochs(pln_page *p, const pleat_nn_run *run, const char *metric) {
    table t = {.p = p, .run = run};
    size_t step = (run->epochs - 1) / ROWS + 1;
    add_results(&t, "loss", "training", loss_of);
    add_results(&t, "loss", "validation", valid_loss_of);
    if (metric) add_results(&t, metric, "training", metric_of);
    if (metric) add_results(&t, metric, "validation", valid_metric_of);
    add_column(&t, "learning rate", "", lr_of, pln_short);
    add_column(&t, "time", "", seconds_of, duration);
    add_column(&t, "images/s", "", rate_of, whole);
    if (step > 1) pln_html(p, "<p class=\"note\">One of %zu epochs, and the best and the last:</p>\n", step);
    pln_table_begin(p, "epochs", "Epochs of the run");
    write_head(&t);
    for (size_t i = 0; i < run->epochs; i++)
        if (i % step == 0 || i == run->best || i + 1 == run->epochs) write_epoch(&t, i);
    pln_html(p, "</tbody>");
    pln_table_end(p);
}

void pleat_nn_report_run(pleat_nn_report *r, const pleat_nn_run *run, const char *metric_name) {
    if (!pln_report_takes(r, OP, run)) return;
    if (!run->epochs) {
        pleat_nn_report_text(r, "No epoch came to its end.");
        return;
    }
    if (!pln_report_takes(r, OP, run->epoch)) return;
    if (run->best >= run->epochs) {
        pln_report_fail(r, PLEAT_ERR_ARGUMENT, OP, "the best epoch is %zu, but there are %zu; the first is 0",
                        run->best, run->epochs);
        return;
    }
    write_facts(&r->page, run, metric_name);
    draw_curves(r, run, "loss", loss_of, valid_loss_of);
    if (metric_name) draw_curves(r, run, metric_name, metric_of, valid_metric_of);
    if (!pln_report_open(r)) return;
    write_epochs(&r->page, run, metric_name);
    pln_report_done(r, OP);
}

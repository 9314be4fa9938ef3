/* A training run: facts, curves, and a table of its epochs. */
#include <math.h>
#include <stdlib.h>

#include "train/report.h"

#define OP "report_run"

enum { LOG_RATIO = 30, ROWS = 50 };

typedef double (*column)(const pleat_nn_epoch *e);

static double loss_of(const pleat_nn_epoch *e) { return e->loss; }
static double valid_loss_of(const pleat_nn_epoch *e) { return e->valid_loss; }
static double metric_of(const pleat_nn_epoch *e) { return e->metric; }
static double valid_metric_of(const pleat_nn_epoch *e) { return e->valid_metric; }
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

/* Training and validation over the epochs; the axis is logarithmic where the values span more than LOG_RATIO. */
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

static void begin_fact(pln_page *p, const char *name) {
    pln_html(p, "<div><dt>");
    pln_text(p, name);
    pln_html(p, "</dt><dd>");
}

static const char *outcome_of(const pleat_nn_run *run) {
    switch (run->outcome) {
    case PLEAT_NN_FINISHED:
        return "finished";
    case PLEAT_NN_STOPPED:
        return "stopped: no better one came";
    case PLEAT_NN_INTERRUPTED:
        return "interrupted";
    default:
        return "failed";
    }
}

static void write_facts(pleat_nn_report *r, const pleat_nn_run *run, const char *metric) {
    pln_page *p = &r->page;
    const pleat_nn_epoch *best = &run->epoch[run->best];
    bool valid = has(run, valid_loss_of);
    double seconds = 0;
    for (size_t i = 0; i < run->epochs; i++) seconds += run->epoch[i].seconds;
    pln_html(p, "<dl class=\"facts\">");
    begin_fact(p, "epochs");
    pln_html(p, "%s<small>%s</small></dd></div>", pln_count((double)run->epochs).s, outcome_of(run));
    begin_fact(p, "best epoch");
    pln_html(p, "%s<small>by %s</small></dd></div>", pln_count((double)run->best + 1).s,
             valid ? "validation" : "training");
    begin_fact(p, "its loss");
    pln_html(p, "%s</dd></div>", pln_short(valid ? best->valid_loss : best->loss, 4).s);
    if (metric) {
        begin_fact(p, "its ");
        p->length -= sizeof "</dt><dd>" - 1;
        pln_text(p, metric);
        pln_html(p, "</dt><dd>%s</dd></div>", pln_short(valid ? best->valid_metric : best->metric, 4).s);
    }
    begin_fact(p, "time");
    pln_html(p, "%s<small>%s steps</small></dd></div>", pln_duration(seconds).s,
             pln_count((double)run->steps).s);
    pln_html(p, "</dl>\n");
}

/* ---- epochs -------------------------------------------------------------------------------------------- */

typedef struct field {
    const char *name;
    column of;
    int digits;
} field;

/* The columns that this run has values for, into fields[6]. */
static size_t fields_of(const pleat_nn_run *run, const char *metric, field *fields) {
    const field all[] = {{"loss", loss_of, 4},        {"validation loss", valid_loss_of, 4},
                         {metric, metric_of, 4},      {"validation", valid_metric_of, 4},
                         {"learning rate", lr_of, 3}, {"images/s", rate_of, 3}};
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool about_metric = i == 2 || i == 3;
        if ((metric || !about_metric) && has(run, all[i].of)) fields[n++] = all[i];
    }
    return n;
}

static void write_names(pln_page *p, const field *fields, size_t n) {
    pln_html(p, "<thead><tr><th scope=\"col\" class=\"number\">epoch</th>");
    for (size_t k = 0; k < n; k++) {
        pln_html(p, "<th scope=\"col\" class=\"number\">");
        pln_text(p, fields[k].name);
        pln_html(p, "</th>");
    }
    pln_html(p, "</tr></thead>\n<tbody>\n");
}

static void write_epoch(pln_page *p, const pleat_nn_run *run, size_t i, const field *fields, size_t n) {
    pln_html(p, "<tr%s><td class=\"number\">%zu%s</td>", i == run->best ? " class=\"winner\"" : "", i + 1,
             i == run->best ? " (best)" : "");
    for (size_t k = 0; k < n; k++)
        pln_html(p, "<td class=\"number\">%s</td>",
                 pln_short(fields[k].of(&run->epoch[i]), fields[k].digits).s);
    pln_html(p, "</tr>\n");
}

/* Of many epochs, the first, the last, the best, and some evenly between. */
static bool is_shown(const pleat_nn_run *run, size_t i) {
    size_t step = (run->epochs + ROWS - 1) / ROWS;
    return i % step == 0 || i + 1 == run->epochs || i == run->best;
}

static void write_epochs(pleat_nn_report *r, const pleat_nn_run *run, const char *metric) {
    pln_page *p = &r->page;
    field fields[6];
    size_t n = fields_of(run, metric, fields);
    pln_table_begin(p, "epochs", "Epochs of the run");
    write_names(p, fields, n);
    for (size_t i = 0; i < run->epochs; i++)
        if (is_shown(run, i)) write_epoch(p, run, i, fields, n);
    pln_html(p, "</tbody>");
    pln_table_end(p);
}

void pleat_nn_report_run(pleat_nn_report *r, const pleat_nn_run *run, const char *metric) {
    if (!pln_report_takes(r, OP, run)) return;
    if (!run->epochs || !run->epoch) {
        pleat_nn_report_text(r, "No epoch was finished.");
        return;
    }
    write_facts(r, run, metric);
    draw_curves(r, run, "loss", loss_of, valid_loss_of);
    if (metric) draw_curves(r, run, metric, metric_of, valid_metric_of);
    write_epochs(r, run, metric);
    pln_report_done(r, OP);
}

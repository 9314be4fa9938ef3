/* Images and filters as a picture in the page, one pixel for each of theirs; the browser enlarges it. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "files/png.h"
#include "report/report.h"

static bool into_page(void *user, const void *bytes, size_t n) {
    errno = ENOMEM;
    return pln_put(user, bytes, n);
}

/* Pixels of an image: where the page is narrower, its images are scrolled. */
enum { LEAST = 52 };

/* The text alternative, after the caption: "16 images of 28 x 28 pixels, 8 in a row". */
static void write_image(pln_page *p, const pln_grid *g, size_t zoom, const char *caption,
                        const pln_page *png) {
    size_t width = g->width * zoom, least = g->columns < width / LEAST ? g->columns * LEAST : width;
    pln_scroll_begin(p, "strip", caption);
    pln_html(p, "<img width=\"%zu\" height=\"%zu\" style=\"min-width:%zupx\" data-columns=\"%zu\" alt=\"",
             width, g->height * zoom, least, g->columns);
    pln_text(p, caption);
    pln_html(p, ": %zu image%s of %zu by %zu pixels, %zu in a row\" src=\"data:image/png;base64,", g->n,
             g->n == 1 ? "" : "s", g->W, g->H, g->columns);
    pln_base64(p, png->text, png->length);
    pln_html(p, "\"/></div>");
}

static void begin_figure(pln_page *p, size_t width, const char *caption) {
    pln_html(p, "<figure class=\"picture\"");
    if (width) pln_html(p, " style=\"width:max(%zupx,16rem)\"", width);
    pln_html(p, "><figcaption><b>");
    pln_text(p, caption);
    pln_html(p, "</b></figcaption>");
}

static void write_note(pln_page *p, const char *caption, const char *note) {
    begin_figure(p, 0, caption);
    pln_html(p, "<p class=\"note\">%s</p></figure>\n", note);
}

/* The grid, laid out at a zoom of 1, as a figure. */
static void draw_grid(pleat_nn_report *r, const char *op, const char *caption, const pln_grid *g,
                      size_t zoom) {
    char why[PLN_PNG_WHY];
    pln_page png = {0};
    if (!pln_png_is_there()) {
        write_note(&r->page, caption, "No picture: this pleat was built without libpng.");
    } else if (pln_png(g, into_page, &png, why)) {
        pln_report_fail(r, PLEAT_ERR_MEMORY, op, "%s", why);
    } else {
        begin_figure(&r->page, g->width * zoom, caption);
        write_image(&r->page, g, zoom, caption, &png);
        pln_html(&r->page, "</figure>\n");
    }
    free(png.text);
    pln_report_done(r, op);
}

/* Lay out the grid, checked at the size of display. */
static bool lay_out(pleat_nn_report *r, const char *op, pln_grid *g, size_t zoom) {
    g->zoom = zoom;
    if (!r->status) r->status = pln_grid_lay_out(r->ctx, op, g);
    if (r->status) return false;
    g->zoom = 1, g->width /= zoom, g->height /= zoom;
    return true;
}

static double *values_of(pleat_nn_report *r, const char *op, const pleat_tensor *x) {
    double *values = malloc(pleat_numel(x) * sizeof *values);
    if (values)
        pleat_read_f64(x, values);
    else
        pln_report_fail(r, PLEAT_ERR_MEMORY, op, "no memory for a picture of %zu values", pleat_numel(x));
    return values;
}

void pleat_nn_report_images(pleat_nn_report *r, const char *caption, pleat_tensor *x, size_t columns,
                            size_t zoom) {
    static const char op[] = "report_images";
    pln_grid g = {.columns = columns, .clear = true};
    if (!pln_report_takes(r, op, caption) || !pln_report_takes(r, op, x)) return;
    r->status = pln_grid_of(op, x, &g);
    if (r->status) return;
    if (pleat_numel(x) == 0) {
        write_note(&r->page, caption, "No images.");
        pln_report_done(r, op);
        return;
    }
    double *values = lay_out(r, op, &g, zoom) ? values_of(r, op, x) : NULL;
    g.values = values;
    if (values) draw_grid(r, op, caption, &g, zoom);
    free(values);
}

/* ---- filters ------------------------------------------------------------------------------------------- */

/* Map n values from their range to 0..1; equal values become 0.5. */
static void stretch(double *v, size_t n) {
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) continue;
        low = fmin(low, v[i]), high = fmax(high, v[i]);
    }
    double range = high / 2 - low / 2; /* high - low may overflow */
    for (size_t i = 0; i < n; i++) v[i] = range > 0 ? (v[i] / 2 - low / 2) / range : isfinite(v[i]) ? 0.5 : 0;
}

/* Compact the visible channels of all filters, in place. */
static void keep_channels(double *values, const pln_grid *g, size_t C) {
    size_t size = g->H * g->W;
    for (size_t i = 0; i < g->n; i++) {
        double *to = values + i * g->C * size, *from = values + i * C * size;
        for (size_t k = 0; k < g->C * size; k++) to[k] = from[k];
        stretch(to, g->C * size);
    }
}

/* A filter is displayed at LEAST pixels or a few more. */
void pleat_nn_report_filters(pleat_nn_report *r, const char *caption, pleat_tensor *weight) {
    static const char op[] = "report_filters";
    char shape[96];
    if (!pln_report_takes(r, op, caption) || !pln_report_takes(r, op, weight)) return;
    if (pleat_is_poison(weight)) {
        pln_report_fail(r, PLEAT_ERR_ARGUMENT, op, "the weight is poison: an op failed before");
        return;
    }
    if (pleat_rank(weight) != 4 || pleat_numel(weight) == 0) {
        pln_report_fail(r, PLEAT_ERR_SHAPE, op, "the weight is %s; it must be [O,C,R,S], not empty",
                        pleat_shape_text(weight, shape, sizeof shape));
        return;
    }
    size_t C = pleat_size(weight, 1), R = pleat_size(weight, 2), S = pleat_size(weight, 3);
    size_t longest = R > S ? R : S, zoom = longest < LEAST ? (LEAST - 1) / longest + 1 : 1;
    pln_grid g = {.n = pleat_size(weight, 0), .C = C == 3 ? 3 : 1, .H = R, .W = S, .clear = true};
    g.columns = g.n % 16 == 0 ? 16 : g.n <= 8 ? g.n : 12;
    double *values = lay_out(r, op, &g, zoom) ? values_of(r, op, weight) : NULL;
    if (values) {
        keep_channels(values, &g, C);
        g.values = values;
        draw_grid(r, op, caption, &g, zoom);
    }
    free(values);
}

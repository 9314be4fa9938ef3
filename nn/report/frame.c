/* The frame of all drawings: axes with grid and numbers, and signs that can be distinguished without
 * colours. */
#include "report/report.h"

enum { COLOURS = 8, DASHES = 5, SIGNS = 7, PAD = 8 };

size_t pln_colour(size_t k) { return k % COLOURS; }
size_t pln_dashes(size_t k) { return k % DASHES; }

void pln_sign(pln_page *p, size_t k, double x, double y) {
    static const char *const signs[SIGNS] = {
        "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",                /* circle */
        "m-3.2-3.2h6.4v6.4h-6.4z",                                     /* square */
        "m0-4.2l4 7h-8z",                                              /* triangle */
        "m0-4.5l4 4.5l-4 4.5l-4-4.5z",                                 /* diamond */
        "m-4.3-1.4h2.9v-2.9h2.8v2.9h2.9v2.8h-2.9v2.9h-2.8v-2.9h-2.9z", /* plus */
        "m0 4.2l4-7h-8z",                                              /* triangle upside down */
        "m-3.9-1.9l2-2l1.9 1.9l1.9-1.9l2 2l-1.9 1.9l1.9 1.9l-2 2l-1.9-1.9l-1.9 1.9l-2-2l1.9-1.9z", /* cross */
    };
    pln_html(p, "M%s %s%s", pln_tenths(x).s, pln_tenths(y).s, signs[k % SIGNS]);
}

void pln_key(pln_page *p, size_t k, bool line) {
    pln_html(p, "<li><svg class=\"key\" viewBox=\"0 0 %d 12\" aria-hidden=\"true\">", line ? 34 : 12);
    if (line) pln_html(p, "<path class=\"line c%zu d%zu\" d=\"M1 6H33\"/>", pln_colour(k), pln_dashes(k));
    pln_html(p, "<path class=\"sign c%zu\" d=\"", pln_colour(k));
    pln_sign(p, k, line ? 17 : 6, 6);
    pln_html(p, "\"/></svg>");
}

/* ---- the frame ----------------------------------------------------------------------------------------- */

static bool is_named(const char *name) { return name && *name; }

static void place(pln_frame *f, const char *x_name, const char *y_name) {
    f->left = (double)(pln_axis_width(&f->y) + 1) * PLN_LETTER;
    f->top = is_named(y_name) ? 28 : 10;
    f->bottom = f->height - (is_named(x_name) ? 48 : 26);
    f->right = f->width - f->room;
    f->x.from = f->left + PAD, f->x.to = f->right - PAD;
    f->y.from = f->bottom, f->y.to = f->top;
}

static void draw_grid(pln_page *p, const pln_frame *f) {
    pln_html(p, "<path class=\"grid\" d=\"");
    for (size_t i = 0; i < f->y.ticks; i++)
        pln_html(p, "M%s %sH%s", pln_tenths(f->left).s, pln_tenths(pln_axis_at(&f->y, f->y.tick[i])).s,
                 pln_tenths(f->right).s);
    for (size_t i = 0; i < f->x.ticks; i++)
        pln_html(p, "M%s %sV%s", pln_tenths(pln_axis_at(&f->x, f->x.tick[i])).s, pln_tenths(f->top).s,
                 pln_tenths(f->bottom).s);
    pln_html(p, "\"/><path class=\"axis\" d=\"M%s %sH%s\"/>", pln_tenths(f->left).s, pln_tenths(f->bottom).s,
             pln_tenths(f->right).s);
}

static void write_numbers(pln_page *p, const pln_frame *f) {
    for (size_t i = 0; i < f->y.ticks; i++)
        pln_html(p, "<text class=\"end\" x=\"%s\" y=\"%s\">%s</text>", pln_tenths(f->left - 6).s,
                 pln_tenths(pln_axis_at(&f->y, f->y.tick[i]) + 4.5).s, f->y.label[i].s);
    for (size_t i = 0; i < f->x.ticks; i++)
        pln_html(p, "<text class=\"middle\" x=\"%s\" y=\"%s\">%s</text>",
                 pln_tenths(pln_axis_at(&f->x, f->x.tick[i])).s, pln_tenths(f->bottom + PLN_LINE).s,
                 f->x.label[i].s);
}

static void write_name(pln_page *p, const char *kind, double x, double y, const char *name) {
    if (!is_named(name)) return;
    pln_html(p, "<text class=\"%s\" x=\"%s\" y=\"%s\">", kind, pln_tenths(x).s, pln_tenths(y).s);
    pln_text(p, name);
    pln_html(p, "</text>");
}

void pln_draw_frame(pln_page *p, pln_frame *f, const char *x_name, const char *y_name) {
    place(f, x_name, y_name);
    draw_grid(p, f);
    write_numbers(p, f);
    write_name(p, "start", 2, 14, y_name);
    write_name(p, "middle", (f->left + f->right) / 2, f->height - 9, x_name);
}

/* Points in the plane: a path for each class, whose signs differ, too. */
#include <math.h>
#include <stdlib.h>

#include "report/report.h"

#define OP "report_scatter"

enum {
    WIDTH = 480,
    HEIGHT = 430,
    FEW = 60,    /* up to this number, each point has a title */
    MOST = 5000, /* points that are drawn */
    ROUNDS = 8   /* the classes are drawn in turns, so that the last does not hide the others */
};

typedef struct cloud {
    pln_page *p;
    pln_frame f;
    size_t n, classes, step, strange; /* every step-th point is drawn; points that are not finite */
    const double *xy;                 /* [n,2] */
    const size_t *label;              /* [n] or NULL */
    const char *const *names;
} cloud;

static bool is_there(const cloud *c, size_t i) {
    return pln_drawable(c->xy[2 * i]) && pln_drawable(c->xy[2 * i + 1]);
}

static void find_axes(cloud *c) {
    pln_range none = {HUGE_VAL, -HUGE_VAL}, x = none, y = none;
    for (size_t i = 0; i < c->n; i++) {
        if (!is_there(c, i)) {
            c->strange++;
            continue;
        }
        pln_extend(&x, c->xy[2 * i]);
        pln_extend(&y, c->xy[2 * i + 1]);
    }
    c->f.x = pln_axis_new((pln_axis_args){.range = x, .most = 6, .grow = true});
    c->f.y = pln_axis_new((pln_axis_args){.range = y, .most = 6, .grow = true});
}

static void write_class(const cloud *c, size_t k) {
    if (c->names)
        pln_text(c->p, c->names[k]);
    else
        pln_html(c->p, "%zu", k);
}

/* Points first, first + stride, ... of class k as one path. */
static void draw_class(const cloud *c, size_t k, size_t first, size_t stride) {
    bool open = false;
    for (size_t i = first; i < c->n; i += stride) {
        if (!is_there(c, i) || (c->label && c->label[i] != k)) continue;
        if (!open) pln_html(c->p, "<path class=\"dots c%zu\" d=\"", pln_colour(k));
        open = true;
        pln_sign(c->p, k, pln_axis_at(&c->f.x, c->xy[2 * i]), pln_axis_at(&c->f.y, c->xy[2 * i + 1]));
    }
    if (open) pln_html(c->p, "\"/>");
}

static void draw_one(const cloud *c, size_t i) {
    size_t k = c->label ? c->label[i] : 0;
    if (!is_there(c, i)) return;
    pln_html(c->p, "<path class=\"sign c%zu\" d=\"", pln_colour(k));
    pln_sign(c->p, k, pln_axis_at(&c->f.x, c->xy[2 * i]), pln_axis_at(&c->f.y, c->xy[2 * i + 1]));
    pln_html(c->p, "\"><title>");
    if (c->label) write_class(c, k), pln_html(c->p, ": ");
    pln_html(c->p, "%s, %s</title></path>", pln_short(c->xy[2 * i], 4).s, pln_short(c->xy[2 * i + 1], 4).s);
}

static void draw_points(const cloud *c) {
    for (size_t i = 0; i < c->n && c->n <= FEW; i++) draw_one(c, i);
    for (size_t round = 0; round < ROUNDS && c->n > FEW; round++)
        for (size_t k = 0; k < c->classes; k++) draw_class(c, k, round * c->step, ROUNDS * c->step);
    if (c->strange == c->n)
        pln_html(c->p, "<text class=\"middle\" x=\"%s\" y=\"%s\">no points</text>",
                 pln_tenths((c->f.left + c->f.right) / 2).s, pln_tenths((c->f.top + c->f.bottom) / 2).s);
}

static void write_caption(const cloud *c, const char *caption) {
    pln_html(c->p, "<figure class=\"chart\"><figcaption><b>");
    pln_text(c->p, caption);
    pln_html(c->p, "</b>");
    if (c->label && c->classes) {
        pln_html(c->p, "<ul class=\"legend\">");
        for (size_t k = 0; k < c->classes; k++) {
            pln_key(c->p, k, false);
            write_class(c, k);
            pln_html(c->p, "</li>");
        }
        pln_html(c->p, "</ul>");
    }
    pln_html(c->p, "</figcaption>");
}

static void draw(cloud *c, const char *caption) {
    find_axes(c);
    write_caption(c, caption);
    pln_html(c->p, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", WIDTH, HEIGHT);
    pln_text(c->p, caption);
    pln_html(c->p, ": %zu points</title>", c->n);
    pln_draw_frame(c->p, &c->f, NULL, NULL);
    draw_points(c);
    pln_html(c->p, "</svg>");
    if (c->step > 1) pln_html(c->p, "<p class=\"note\">One of %zu points is drawn.</p>", c->step);
    if (c->strange)
        pln_html(c->p, "<p class=\"note\">%zu points are left out: they are not finite.</p>", c->strange);
    pln_html(c->p, "</figure>\n");
}

/* ---- what it is given ---------------------------------------------------------------------------------- */

static bool check(pleat_nn_report *r, const pleat_tensor *points) {
    char shape[96];
    if (pleat_is_poison(points)) {
        pln_report_fail(r, PLEAT_ERR_ARGUMENT, OP, "a tensor is poison: an op failed before");
        return false;
    }
    if (pleat_rank(points) != 2 || pleat_size(points, 1) != 2) {
        pln_report_fail(r, PLEAT_ERR_SHAPE, OP, "the points are %s; they must be [N,2]",
                        pleat_shape_text(points, shape, sizeof shape));
        return false;
    }
    return true;
}

static bool check_labels(pleat_nn_report *r, const cloud *c) {
    for (size_t i = 0; c->label && i < c->n; i++) {
        if (c->label[i] < c->classes) continue;
        pln_report_fail(r, PLEAT_ERR_ARGUMENT, OP, "label %zu is %zu; it must be below the %zu classes", i,
                        c->label[i], c->classes);
        return false;
    }
    return true;
}

void pleat_nn_report_scatter(pleat_nn_report *r, const char *caption, pleat_tensor *points,
                             const size_t *labels, size_t classes, const char *const *names) {
    if (!pln_report_takes(r, OP, caption) || !pln_report_takes(r, OP, points)) return;
    if (!check(r, points)) return;
    size_t n = pleat_size(points, 0);
    double *values = malloc(2 * n * sizeof *values + 1);
    if (!values) {
        pln_report_fail(r, PLEAT_ERR_MEMORY, OP, "no memory for %zu points", n);
        return;
    }
    cloud c = {.p = &r->page,
               .f = {.width = WIDTH, .height = HEIGHT, .room = 12},
               .n = n,
               .xy = values,
               .label = labels};
    c.classes = labels ? classes : 1, c.names = labels ? names : NULL;
    c.step = n > MOST ? (n - 1) / MOST + 1 : 1;
    pleat_read_f64(points, values);
    if (check_labels(r, &c)) draw(&c, caption);
    free(values);
    pln_report_done(r, OP);
}

/* Layers on lines: see frameworks_lines.h. */
#include "frameworks_lines.h"

#include <stdio.h>
#include <string.h>

static void scatter(line *g) {
    g->ke = (g->k - 1) * g->d + 1;
    g->L = (g->in - 1) * g->s + g->ke;
    memset(g->natural, 0, sizeof g->natural);
    for (size_t j = 0; j < g->in; j++) g->x[j] = (double)(j * j + 1);
    for (size_t a = 0; a < g->k; a++) g->w[a] = (double)(40 * a * a + 3);
    for (size_t j = 0; j < g->in; j++)
        for (size_t a = 0; a < g->k; a++) g->natural[j * g->s + a * g->d] += g->x[j] * g->w[a];
}

bool next_line(line *g) {
    size_t *const digits[] = {&g->in, &g->k, &g->s, &g->d};
    static const size_t most[] = {6, 5, 4, 3};
    if (g->in == 0) {
        *g = (line){.in = 1, .k = 1, .s = 1, .d = 1};
        scatter(g);
        return true;
    }
    for (size_t i = 0; i < 4; i++) {
        if (++*digits[i] <= most[i]) {
            scatter(g);
            return true;
        }
        *digits[i] = 1;
    }
    return false;
}

pleat_layer line_layer(pleat_framework f, bool transpose, const line *g, pleat_padding padding) {
    return (pleat_layer){.framework = f,
                         .transpose = transpose,
                         .stride = {1, g->s},
                         .dilation = {1, g->d},
                         .groups = 1,
                         .padding = padding};
}

pleat_layer with_pads(pleat_layer l, size_t before, size_t after) {
    l.pads[1] = (ptrdiff_t)before;
    l.pads[3] = (ptrdiff_t)after;
    return l;
}

pleat_layer with_output_padding(pleat_layer l, size_t output_padding) {
    l.has_output_padding = true;
    l.output_padding[1] = output_padding;
    return l;
}

pleat_layer with_output_size(pleat_layer l, size_t size) {
    l.has_output_size = true;
    l.output_size[0] = 1;
    l.output_size[1] = size;
    return l;
}

bool plan_line(const pleat_layer *l, const line *g, pleat_layer_plan *p) {
    return pleat_layer_plan_for(l, (size_t[]){1, g->in}, (size_t[]){1, g->k}, p);
}

const char *line_text(const pleat_layer *l, const line *g) {
    static char text[300];
    snprintf(text, sizeof text, "%s %s in=%zu k=%zu s=%zu d=%zu padding=%d pads=%td,%td op=%td size=%td",
             pleat_framework_name(l->framework), l->transpose ? "transpose" : "conv", g->in, g->k, g->s, g->d,
             (int)l->padding, l->pads[1], l->pads[3],
             l->has_output_padding ? (ptrdiff_t)l->output_padding[1] : -1,
             l->has_output_size ? (ptrdiff_t)l->output_size[1] : -1);
    return text;
}

void expect_line(const pleat_layer *l, const line *g, size_t out, const double *values) {
    pleat_scope scope = pleat_begin(ctx);
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 1, g->in), g->x);
    bool kernel_first = l->framework == PLEAT_TENSORFLOW || l->framework == PLEAT_KERAS;
    size_t shape[4] = {1, 1, 1, 1};
    shape[kernel_first ? 1 : 3] = g->k;
    pleat_tensor *y = pleat_layer_apply(l, x, pleat_from_f64(ctx, PLEAT_F64, 4, shape, g->w), NULL);
    cr_assert(holds(y, PLEAT_SHAPE(1, 1, 1, out), values), "%s: %s, %s", line_text(l, g), difference(),
              pleat_error(ctx)->text);
    pleat_end(scope);
    pleat_layer_plan p;
    cr_assert(plan_line(l, g, &p) && p.why[0] == 0, "%s: %s", line_text(l, g), p.why);
    cr_assert(p.out[0] == 1 && p.out[1] == out && p.crop[0] == 0, "%s", line_text(l, g));
    if (l->transpose)
        cr_assert(p.natural[1] == g->L && p.least[1] <= out && out <= p.most[1], "%s", line_text(l, g));
}

void expect_cropped(const pleat_layer *l, const line *g, size_t out, size_t crop) {
    expect_line(l, g, out, g->natural + crop);
}

void expect_refused(const pleat_layer *l, const line *g) {
    pleat_layer_plan p;
    cr_assert(!plan_line(l, g, &p), "%s was accepted", line_text(l, g));
    cr_assert(p.why[0] != 0 && strchr(p.why, '\n') == NULL && p.out[1] == 0 && p.crop[1] == 0, "%s: %s",
              line_text(l, g), p.why);
}

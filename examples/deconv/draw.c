/* The picture of `deconv explain`: a panel for each stage, from left to right and from top to bottom. */
#include <stdarg.h>
#include <stdlib.h>

#include "explained.h"
#include "picture.h"

enum { CELL = 17, GAP = 1, MARGIN = 20, LINE = 17, WIDEST = 1000, LETTER = 7 };

/* The place of a panel's cells, and how many there are. */
typedef struct panel {
    picture *p;
    int x, y, rows, columns;
} panel;

/* Where the next panel goes. */
typedef struct flow {
    picture *p;
    int x, y, bottom, width;
} flow;

static void add_text(picture *p, shape_kind kind, int x, int y, paint colour, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
static void add_text(picture *p, shape_kind kind, int x, int y, paint colour, const char *format, ...) {
    shape s = {.kind = kind, .x = x, .y = y, .paint = colour};
    va_list args;
    va_start(args, format);
    vsnprintf(s.text, sizeof s.text, format, args);
    va_end(args);
    add_shape(p, s);
}

static void cell(const panel *n, int row, int column, paint colour) {
    add_shape(n->p, (shape){.kind = BOX,
                            .x = n->x + column * CELL,
                            .y = n->y + row * CELL,
                            .w = CELL - GAP,
                            .h = CELL - GAP,
                            .paint = colour});
}

static void cell_text(const panel *n, int row, int column, paint colour, const char *text) {
    shape s = {.kind = TEXT, .x = n->x + column * CELL, .y = n->y + row * CELL + CELL / 2, .w = CELL - GAP};
    s.paint = colour;
    snprintf(s.text, sizeof s.text, "%s", text);
    add_shape(n->p, s);
}

static void frame(const panel *n, int row, int column, int rows, int columns) {
    add_shape(n->p, (shape){.kind = FRAME,
                            .x = n->x + column * CELL - 1,
                            .y = n->y + row * CELL - 1,
                            .w = columns * CELL + GAP,
                            .h = rows * CELL + GAP,
                            .paint = ACCENT});
}

/* A panel of the given size with its title and two lines below. */
static panel open_panel(flow *f, size_t rows, size_t columns, const char *title, const char *first,
                        const char *second) {
    const char *texts[3] = {title, first, second};
    int width = (int)columns * CELL;
    for (int k = 0; k < 3; k++) {
        int length = 0;
        while (texts[k][length]) length++;
        width = length * LETTER > width ? length * LETTER : width;
    }
    if (f->x > MARGIN && f->x + width > WIDEST) f->x = MARGIN, f->y = f->bottom;
    panel n = {f->p, f->x, f->y + LINE + 6, (int)rows, (int)columns};
    int end = n.y + n.rows * CELL;
    add_text(f->p, TITLE, f->x, f->y + LINE / 2, INK, "%s", title);
    add_text(f->p, TEXT, f->x, end + LINE - 4, FAINT, "%s", first);
    add_text(f->p, TEXT, f->x, end + 2 * LINE - 4, FAINT, "%s", second);
    f->x += width + 2 * MARGIN;
    f->width = f->x > f->width ? f->x : f->width;
    int bottom = end + 2 * LINE + MARGIN;
    f->bottom = bottom > f->bottom ? bottom : f->bottom;
    return n;
}

/* ---- the panels ----------------------------------------------------------------------------------------- */

static void draw_plain(flow *f, const char *title, const size_t size[2]) {
    panel n = open_panel(f, size[0], size[1], title, "", "");
    for (int i = 0; i < n.rows; i++)
        for (int j = 0; j < n.columns; j++) cell(&n, i, j, PIXEL);
}

/* The input with zeros, from `first` on: PIXEL every `step`. */
static void draw_spread(const panel *n, const explained *e, const ptrdiff_t first[2], const size_t step[2]) {
    for (int i = 0; i < n->rows; i++)
        for (int j = 0; j < n->columns; j++) {
            ptrdiff_t at[2] = {i + first[0], j + first[1]};
            paint worst = PIXEL;
            for (int k = 0; k < 2; k++) {
                bool around = at[k] < 0 || at[k] > (ptrdiff_t)((e->in[k] - 1) * step[k]);
                if (around) worst = AROUND;
                if (!around && worst == PIXEL && at[k] % (ptrdiff_t)step[k]) worst = ZERO;
            }
            cell(n, i, j, worst);
        }
}

/* The window of the (dilated) kernel in its first place, a dot for each tap. */
static void draw_window(const panel *n, const explained *e) {
    for (size_t r = 0; r < e->kernel[0]; r++)
        for (size_t s = 0; s < e->kernel[1]; s++)
            add_shape(n->p, (shape){.kind = BOX,
                                    .x = n->x + (int)(s * e->layer.dilation[1]) * CELL + CELL / 2 - 3,
                                    .y = n->y + (int)(r * e->layer.dilation[0]) * CELL + CELL / 2 - 3,
                                    .w = 5,
                                    .h = 5,
                                    .paint = ACCENT});
    frame(n, 0, 0, (int)extent_of(e, 0), (int)extent_of(e, 1));
}

static void draw_inserted(flow *f, const explained *e) {
    char text[100];
    size_t size[2];
    ptrdiff_t first[2];
    for (int i = 0; i < 2; i++) {
        size[i] = e->image[i] + extent_of(e, i) - 1;
        first[i] = e->plan.crop[i] - (ptrdiff_t)(extent_of(e, i) - 1);
    }
    snprintf(text, sizeof text, "2  zeros inserted: %zux%zu", size[0], size[1]);
    panel n = open_panel(f, size[0], size[1], text, "the rotated kernel moves over it,", "one pixel a step");
    draw_spread(&n, e, first, e->layer.stride);
    draw_window(&n, e);
}

static void draw_rotated(flow *f, const explained *e) {
    size_t R = e->kernel[0], S = e->kernel[1];
    if (R * S > 26) return;
    panel n = open_panel(f, R, 2 * S + 1, "3  kernel, and rotated by 180",
                         "weights are stored as on the left,", "without dilation");
    for (size_t i = 0; i < R * S; i++) {
        char tap[2] = {(char)('a' + i), 0}, turned[2] = {(char)('a' + R * S - 1 - i), 0};
        int row = (int)(i / S), column = (int)(i % S), other = column + (int)S + 1;
        cell(&n, row, column, COUNT1);
        cell_text(&n, row, column, INK, tap);
        cell(&n, row, other, COUNT1);
        cell_text(&n, row, other, ACCENT, turned);
    }
}

static void draw_crop(flow *f, const explained *e) {
    char title[100], kept[100];
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        size_t end = e->plan.out[i] + (size_t)(e->plan.crop[i] > 0 ? e->plan.crop[i] : 0);
        size[i] = end > e->plan.natural[i] ? end : e->plan.natural[i];
    }
    snprintf(title, sizeof title, "4  natural %zux%zu, cropped", e->plan.natural[0], e->plan.natural[1]);
    snprintf(kept, sizeof kept, "kept: %zux%zu from pixel %td,%td on", e->plan.out[0], e->plan.out[1],
             e->plan.crop[0], e->plan.crop[1]);
    panel n = open_panel(f, size[0], size[1], title, kept, "");
    int top = (int)e->plan.crop[0], left = (int)e->plan.crop[1];
    for (int i = 0; i < n.rows; i++)
        for (int j = 0; j < n.columns; j++) {
            bool inside =
                i >= top && j >= left && i < top + (int)e->plan.out[0] && j < left + (int)e->plan.out[1];
            bool zero = i >= (int)e->plan.natural[0] || j >= (int)e->plan.natural[1];
            cell(&n, i, j, zero ? AROUND : inside ? KEPT : DROPPED);
        }
    frame(&n, top, left, (int)e->plan.out[0], (int)e->plan.out[1]);
}

/* The counts from 1 to most on four paints. */
static paint count_paint(size_t count, size_t most) {
    if (!count) return HOLE;
    return (paint)(COUNT1 + (most > 1 ? (count - 1) * 3 / (most - 1) : 1));
}

static size_t at_phase(const explained *e, bool largest) {
    size_t result = 1;
    for (int i = 0; i < 2; i++) {
        size_t found = e->phase[i][0];
        for (size_t k = 1; k < e->layer.stride[i]; k++) {
            size_t c = e->phase[i][k];
            found = largest == (c > found) ? c : found;
        }
        result *= found;
    }
    return result;
}

static void draw_taps(flow *f, const explained *e, const char *title) {
    char line[100];
    size_t low = at_phase(e, false), high = at_phase(e, true), most = 1;
    if (low == high)
        snprintf(line, sizeof line, "inside %zu everywhere", high);
    else
        snprintf(line, sizeof line, "inside between %zu and %zu", low, high);
    panel n = open_panel(f, e->image[0], e->image[1], title, line,
                         low == high ? "no checkerboard" : "checkerboard risk");
    for (size_t i = 0; i < e->image[0]; i++)
        for (size_t j = 0; j < e->image[1]; j++)
            if (e->taps[0][i] * e->taps[1][j] > most) most = e->taps[0][i] * e->taps[1][j];
    for (int i = 0; i < n.rows; i++)
        for (int j = 0; j < n.columns; j++) {
            size_t count = e->taps[0][i] * e->taps[1][j];
            char text[24];
            paint p = count_paint(count, most);
            snprintf(text, sizeof text, "%zu", count);
            cell(&n, i, j, p);
            if (count < 100) cell_text(&n, i, j, p >= COUNT3 ? PALE : INK, text);
        }
}

static void draw_padded(flow *f, const explained *e) {
    char title[100];
    size_t size[2];
    ptrdiff_t first[2];
    for (int i = 0; i < 2; i++) {
        ptrdiff_t end = (ptrdiff_t)((e->map[i] - 1) * e->layer.stride[i] + extent_of(e, i)) - e->plan.crop[i];
        first[i] = e->plan.crop[i] > 0 ? -e->plan.crop[i] : 0;
        size[i] = (size_t)((end > (ptrdiff_t)e->in[i] ? end : (ptrdiff_t)e->in[i]) - first[i]);
    }
    snprintf(title, sizeof title, "1  input %zux%zu, padded", e->in[0], e->in[1]);
    panel n = open_panel(f, size[0], size[1], title, "the first window,", "its taps as dots");
    draw_spread(&n, e, first, (size_t[]){1, 1});
    if (e->plan.crop[0] >= 0 && e->plan.crop[1] >= 0) draw_window(&n, e);
}

/* ---- the picture ---------------------------------------------------------------------------------------- */

static void draw_panels(flow *f, const explained *e) {
    char title[100];
    if (e->layer.transpose) {
        snprintf(title, sizeof title, "1  input %zux%zu", e->in[0], e->in[1]);
        draw_plain(f, title, e->in);
        draw_inserted(f, e);
        draw_rotated(f, e);
        draw_crop(f, e);
        draw_taps(f, e, "5  taps on each output pixel");
    } else {
        draw_padded(f, e);
        snprintf(title, sizeof title, "2  output %zux%zu", e->plan.out[0], e->plan.out[1]);
        draw_plain(f, title, e->plan.out);
        draw_taps(f, e, "3  windows on each input pixel");
    }
}

static picture make_picture(const explained *e) {
    picture p = {0};
    char words[240];
    add_text(&p, TITLE, MARGIN, MARGIN, INK, "%s %s, kernel %zux%zu",
             pleat_framework_name(e->layer.framework),
             e->layer.transpose ? "transposed convolution" : "convolution", e->kernel[0], e->kernel[1]);
    add_text(&p, TEXT, MARGIN, MARGIN + LINE, FAINT, "%s", layer_words(&e->layer, words, sizeof words));
    flow f = {.p = &p, .x = MARGIN, .y = MARGIN + 2 * LINE + 6, .width = WIDEST / 2};
    f.bottom = f.y;
    draw_panels(&f, e);
    p.width = f.width, p.height = f.bottom;
    return p;
}

int draw_svg(const explained *e, pleat_ctx *ctx, const char *path) {
    picture p = make_picture(e);
    int status = write_svg(&p, ctx, path);
    free(p.at);
    return status;
}

int draw_png(const explained *e, pleat_ctx *ctx, const char *path) {
    picture p = make_picture(e);
    int status = write_png(&p, ctx, path);
    free(p.at);
    return status;
}

/* Boxes and lines of text, written as SVG (which follows the reader's dark mode) or as PNG, with a font of its own. */
#include "picture.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t colours[PAINTS] = {
    [PAPER] = 0xffffff,  [INK] = 0x1f2328,    [FAINT] = 0x59636e,   [PIXEL] = 0x2f6fb5,  [ZERO] = 0xdde3ea,
    [AROUND] = 0xf1f3f6, [KEPT] = 0x7fb2a0,   [DROPPED] = 0xe4d6d3, [ACCENT] = 0xc2410c, [HOLE] = 0xf6c9c0,
    [COUNT1] = 0xd7e6f5, [COUNT2] = 0x9cc4e6, [COUNT3] = 0x3f86c4,  [COUNT4] = 0x174a80, [PALE] = 0xffffff,
};

/* Where a dark background needs another one. */
static const uint32_t dark_colours[PAINTS] = {
    [PAPER] = 0x14181d,  [INK] = 0xe6edf3,    [FAINT] = 0x9aa7b4,   [PIXEL] = 0x4c8fd6,  [ZERO] = 0x343d47,
    [AROUND] = 0x20262d, [KEPT] = 0x3f7f6b,   [DROPPED] = 0x3d302d, [ACCENT] = 0xf58a4b, [HOLE] = 0x7a3226,
    [COUNT1] = 0x22384d, [COUNT2] = 0x2f5c86, [COUNT3] = 0x4590cf,  [COUNT4] = 0xa8d3f7, [PALE] = 0x10151a,
};

void add_shape(picture *p, shape s) {
    if (p->count == p->room) {
        size_t room = p->room ? 2 * p->room : 512;
        shape *more = realloc(p->at, room * sizeof *more);
        if (!more) {
            p->failed = true;
            return;
        }
        p->at = more, p->room = room;
    }
    p->at[p->count++] = s;
}

/* ---- SVG ------------------------------------------------------------------------------------------------ */

static void put_style(FILE *f) {
    fputs("<style>\n"
          "text { font: 12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; dominant-baseline: central }\n"
          ".title { font-weight: 600; font-size: 13px }\n"
          ".middle { text-anchor: middle; font-size: 10px }\n",
          f);
    for (int k = 0; k < PAINTS; k++)
        fprintf(f, ".p%d { fill: #%06x } .f%d { fill: none; stroke: #%06x; stroke-width: 2 }\n", k,
                colours[k], k, colours[k]);
    fputs("@media (prefers-color-scheme: dark) {\n", f);
    for (int k = 0; k < PAINTS; k++)
        fprintf(f, ".p%d { fill: #%06x } .f%d { stroke: #%06x }\n", k, dark_colours[k], k, dark_colours[k]);
    fputs("}\n</style>\n", f);
}

static void put_escaped(FILE *f, const char *text) {
    for (; *text; text++) {
        if (*text == '&')
            fputs("&amp;", f);
        else if (*text == '<')
            fputs("&lt;", f);
        else
            fputc(*text, f);
    }
}

static void put_shape(FILE *f, const shape *s) {
    if (s->kind == BOX || s->kind == FRAME) {
        fprintf(f, "<rect class=\"%c%d\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"2\"/>\n",
                s->kind == BOX ? 'p' : 'f', s->paint, s->x, s->y, s->w, s->h);
        return;
    }
    const char *class = s->kind == TITLE ? "title " : s->w ? "middle " : "";
    fprintf(f, "<text class=\"%sp%d\" x=\"%d\" y=\"%d\">", class, s->paint, s->x + s->w / 2, s->y);
    put_escaped(f, s->text);
    fputs("</text>\n", f);
}

static void put_svg(FILE *f, const picture *p) {
    fprintf(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n",
        p->width, p->height, p->width, p->height);
    put_style(f);
    fprintf(f, "<rect class=\"p%d\" width=\"%d\" height=\"%d\"/>\n", PAPER, p->width, p->height);
    for (size_t i = 0; i < p->count; i++) put_shape(f, &p->at[i]);
    fputs("</svg>\n", f);
}

int write_svg(const picture *p, pleat_ctx *ctx, const char *path) {
    if (p->failed) return complain(EXIT_IO, "explain", "no memory");
    if (!strcmp(path, "-")) {
        put_svg(stdout, p);
        return EXIT_FINE; /* the program asks at its end whether all was written */
    }
    pleat_nn_file file;
    pleat_status status = pleat_nn_file_create(ctx, path, &file);
    if (!status) {
        put_svg(file.f, p);
        status = pleat_nn_file_commit(ctx, &file);
    }
    return status ? complain(EXIT_IO, "explain", "%s", pleat_error(ctx)->text) : EXIT_FINE;
}

/* ---- PNG ------------------------------------------------------------------------------------------------ */

enum { ZOOM = 2, GLYPH = 6 }; /* the width of a character, the gap included */

/* Five columns of eight pixels, from the space to 'z'; the lowest bit is on top. */
static const uint8_t font[][5] = {
    {0, 0, 0, 0, 0},
    {0, 0, 0x5f, 0, 0},
    {0, 7, 0, 7, 0},
    {0x14, 0x7f, 0x14, 0x7f, 0x14},
    {0x24, 0x2a, 0x7f, 0x2a, 0x12},
    {0x23, 0x13, 8, 0x64, 0x62},
    {0x36, 0x49, 0x55, 0x22, 0x50},
    {0, 5, 3, 0, 0},
    {0, 0x1c, 0x22, 0x41, 0},
    {0, 0x41, 0x22, 0x1c, 0},
    {0x14, 8, 0x3e, 8, 0x14},
    {8, 8, 0x3e, 8, 8},
    {0, 0x50, 0x30, 0, 0},
    {8, 8, 8, 8, 8},
    {0, 0x60, 0x60, 0, 0},
    {0x20, 0x10, 8, 4, 2},
    {0x3e, 0x51, 0x49, 0x45, 0x3e},
    {0, 0x42, 0x7f, 0x40, 0},
    {0x42, 0x61, 0x51, 0x49, 0x46},
    {0x21, 0x41, 0x45, 0x4b, 0x31},
    {0x18, 0x14, 0x12, 0x7f, 0x10},
    {0x27, 0x45, 0x45, 0x45, 0x39},
    {0x3c, 0x4a, 0x49, 0x49, 0x30},
    {1, 0x71, 9, 5, 3},
    {0x36, 0x49, 0x49, 0x49, 0x36},
    {6, 0x49, 0x49, 0x29, 0x1e},
    {0, 0x36, 0x36, 0, 0},
    {0, 0x56, 0x36, 0, 0},
    {8, 0x14, 0x22, 0x41, 0},
    {0x14, 0x14, 0x14, 0x14, 0x14},
    {0, 0x41, 0x22, 0x14, 8},
    {2, 1, 0x51, 9, 6},
    {0x32, 0x49, 0x79, 0x41, 0x3e},
    {0x7e, 0x11, 0x11, 0x11, 0x7e},
    {0x7f, 0x49, 0x49, 0x49, 0x36},
    {0x3e, 0x41, 0x41, 0x41, 0x22},
    {0x7f, 0x41, 0x41, 0x22, 0x1c},
    {0x7f, 0x49, 0x49, 0x49, 0x41},
    {0x7f, 9, 9, 9, 1},
    {0x3e, 0x41, 0x49, 0x49, 0x7a},
    {0x7f, 8, 8, 8, 0x7f},
    {0, 0x41, 0x7f, 0x41, 0},
    {0x20, 0x40, 0x41, 0x3f, 1},
    {0x7f, 8, 0x14, 0x22, 0x41},
    {0x7f, 0x40, 0x40, 0x40, 0x40},
    {0x7f, 2, 0xc, 2, 0x7f},
    {0x7f, 4, 8, 0x10, 0x7f},
    {0x3e, 0x41, 0x41, 0x41, 0x3e},
    {0x7f, 9, 9, 9, 6},
    {0x3e, 0x41, 0x51, 0x21, 0x5e},
    {0x7f, 9, 0x19, 0x29, 0x46},
    {0x46, 0x49, 0x49, 0x49, 0x31},
    {1, 1, 0x7f, 1, 1},
    {0x3f, 0x40, 0x40, 0x40, 0x3f},
    {0x1f, 0x20, 0x40, 0x20, 0x1f},
    {0x3f, 0x40, 0x38, 0x40, 0x3f},
    {0x63, 0x14, 8, 0x14, 0x63},
    {7, 8, 0x70, 8, 7},
    {0x61, 0x51, 0x49, 0x45, 0x43},
    {0, 0x7f, 0x41, 0x41, 0},
    {2, 4, 8, 0x10, 0x20},
    {0, 0x41, 0x41, 0x7f, 0},
    {4, 2, 1, 2, 4},
    {0x40, 0x40, 0x40, 0x40, 0x40},
    {0, 1, 2, 4, 0},
    {0x20, 0x54, 0x54, 0x54, 0x78},
    {0x7f, 0x48, 0x44, 0x44, 0x38},
    {0x38, 0x44, 0x44, 0x44, 0x20},
    {0x38, 0x44, 0x44, 0x48, 0x7f},
    {0x38, 0x54, 0x54, 0x54, 0x18},
    {8, 0x7e, 9, 1, 2},
    {0x18, 0xa4, 0xa4, 0xa4, 0x7c},
    {0x7f, 8, 4, 4, 0x78},
    {0, 0x44, 0x7d, 0x40, 0},
    {0x40, 0x80, 0x84, 0x7d, 0},
    {0x7f, 0x10, 0x28, 0x44, 0},
    {0, 0x41, 0x7f, 0x40, 0},
    {0x7c, 4, 0x18, 4, 0x78},
    {0x7c, 8, 4, 4, 0x78},
    {0x38, 0x44, 0x44, 0x44, 0x38},
    {0xfc, 0x24, 0x24, 0x24, 0x18},
    {0x18, 0x24, 0x24, 0x24, 0xfc},
    {0x7c, 8, 4, 4, 8},
    {0x48, 0x54, 0x54, 0x54, 0x20},
    {4, 0x3f, 0x44, 0x40, 0x20},
    {0x3c, 0x40, 0x40, 0x20, 0x7c},
    {0x1c, 0x20, 0x40, 0x20, 0x1c},
    {0x3c, 0x40, 0x30, 0x40, 0x3c},
    {0x44, 0x28, 0x10, 0x28, 0x44},
    {0x1c, 0xa0, 0xa0, 0xa0, 0x7c},
    {0x44, 0x64, 0x54, 0x4c, 0x44},
};

/* Pixels as [1,3,H,W]. */
typedef struct canvas {
    float *pixels;
    int width, height;
} canvas;

static void fill(const canvas *c, int x, int y, int w, int h, paint colour) {
    for (int row = y < 0 ? 0 : y; row < y + h && row < c->height; row++)
        for (int column = x < 0 ? 0 : x; column < x + w && column < c->width; column++)
            for (int k = 0; k < 3; k++) {
                size_t at = ((size_t)k * (size_t)c->height + (size_t)row) * (size_t)c->width + (size_t)column;
                c->pixels[at] = (float)(colours[colour] >> (16 - 8 * k) & 255) / 255;
            }
}

static void write_text(const canvas *c, const shape *s) {
    int x = s->x;
    if (s->w) x += (s->w - GLYPH * (int)strlen(s->text) + 1) / 2;
    for (const char *t = s->text; *t; t++, x += GLYPH) {
        if (*t < ' ' || *t > 'z') continue;
        for (int column = 0; column < 5; column++)
            for (int row = 0; row < 8; row++)
                if (font[*t - ' '][column] >> row & 1) fill(c, x + column, s->y - 4 + row, 1, 1, s->paint);
    }
}

static void paint_shape(const canvas *c, const shape *s) {
    if (s->kind == BOX) {
        fill(c, s->x, s->y, s->w, s->h, s->paint);
    } else if (s->kind == FRAME) {
        fill(c, s->x - 1, s->y - 1, s->w + 2, 2, s->paint);
        fill(c, s->x - 1, s->y + s->h - 1, s->w + 2, 2, s->paint);
        fill(c, s->x - 1, s->y - 1, 2, s->h + 2, s->paint);
        fill(c, s->x + s->w - 1, s->y - 1, 2, s->h + 2, s->paint);
    } else {
        write_text(c, s);
    }
}

int write_png(const picture *p, pleat_ctx *ctx, const char *path) {
    if (p->failed) return complain(EXIT_IO, "explain", "no memory");
    if (!strcmp(path, "-"))
        return complain(EXIT_USAGE, "explain",
                        "--png -: only --svg can be written to standard output; name a file");
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, (size_t)p->height, (size_t)p->width));
    canvas c = {pleat_f32(t), p->width, p->height};
    if (c.pixels) {
        fill(&c, 0, 0, p->width, p->height, PAPER);
        for (size_t i = 0; i < p->count; i++) paint_shape(&c, &p->at[i]);
        pleat_nn_write_png_grid(path, t, 1, ZOOM);
    }
    return pleat_error(ctx)->code ? complain(EXIT_IO, "explain", "%s", pleat_error(ctx)->text) : EXIT_FINE;
}

/* picture.h: boxes and lines of text, written as SVG or as PNG. */
#ifndef PICTURE_H
#define PICTURE_H

#include "deconv.h"

typedef enum paint {
    PAPER,
    INK,
    FAINT,  /* text of less weight */
    PIXEL,  /* a value of the input */
    ZERO,   /* between them */
    AROUND, /* beyond them */
    KEPT,
    DROPPED,
    ACCENT, /* frames and taps */
    HOLE,   /* reached by nothing */
    COUNT1, /* few to many */
    COUNT2,
    COUNT3,
    COUNT4,
    PALE, /* text on COUNT3 and COUNT4 */
    PAINTS,
} paint;

typedef enum shape_kind { BOX, FRAME, TEXT, TITLE } shape_kind;

/* All in pixels. Of a text x is the left end, or the middle if w is given; y is the middle of the line. */
typedef struct shape {
    shape_kind kind;
    int x, y, w, h;
    paint paint;
    char text[100];
} shape;

typedef struct picture {
    shape *at;
    size_t count, room;
    int width, height;
    bool failed; /* memory was short */
} picture;

void add_shape(picture *p, shape s);

/* Returns an exit status, with a line on standard error. "-" is standard output. */
int write_svg(const picture *p, pleat_ctx *ctx, const char *path);
int write_png(const picture *p, pleat_ctx *ctx, const char *path);

#endif

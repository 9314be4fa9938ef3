/* The parts of the report: a page that grows, numbers as text, axes, and the report itself. */
#ifndef PLN_REPORT_H
#define PLN_REPORT_H

#include "files/numbers.h"
#include "pleat_nn.h"

/* ---- numbers.c --------------------------------------------------------------------------------------------- */

pln_digits pln_tenths(double v);                 /* "12.3", a place in a drawing; |v| < 1e6 */
pln_digits pln_short(double v, int digits);      /* "0.125", "1.25e-7", a dash for NaN */
pln_digits pln_scientific(double v, int digits); /* "1.25e-1", "0" */
pln_digits pln_count(double v);                  /* "12,544" */
pln_digits pln_scaled(double v);                 /* "1.23 M" */
pln_digits pln_duration(double seconds);         /* "3 min 12 s" */

/* ---- page.c ------------------------------------------------------------------------------------------------ */

typedef struct pln_page {
    char *text; /* UTF-8, not terminated */
    size_t length, room;
    bool lost; /* memory was short for a part; all further parts are dropped */
} pln_page;

bool pln_put(pln_page *p, const void *bytes, size_t n);
/* Append trusted markup, formatted as by printf; floating numbers as texts of numbers.h. */
void pln_html(pln_page *p, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
/* Append a text of the user, escaped for elements and attributes; NULL is empty. Invalid UTF-8 becomes
 * U+FFFD; control characters except line breaks and tabs are dropped. */
void pln_text(pln_page *p, const char *text);
void pln_base64(pln_page *p, const void *bytes, size_t n);

/* ---- axis.c ------------------------------------------------------------------------------------------------ */

enum { PLN_TICKS = 16 };

/* The values low..high at from..to of a drawing, with ticks at round values. */
typedef struct pln_axis {
    double low, high, from, to;
    bool log;
    size_t ticks;
    double tick[PLN_TICKS];
    pln_digits label[PLN_TICKS];
} pln_axis;

typedef struct pln_range {
    double low, high; /* low > high: there are no values */
} pln_range;

/* Can v be drawn? It must be finite, and so small that sums with it are finite. */
bool pln_drawable(double v);
void pln_extend(pln_range *r, double v);

/* About `most` ticks in the range. `grow` extends the range to the next round number on both sides; `whole`
 * restricts ticks to integers. A range of one value or none is widened. */
typedef struct pln_axis_args {
    pln_range range;
    size_t most;
    bool grow, whole, log;
} pln_axis_args;
pln_axis pln_axis_new(pln_axis_args a);
/* The position of v, between from and to. */
double pln_axis_at(const pln_axis *a, double v);
/* Characters of the longest label. */
size_t pln_axis_width(const pln_axis *a);

/* ---- frame.c ----------------------------------------------------------------------------------------------- */

/* Units of a drawing for a character of its labels, and for a line: labels are larger in a small display. */
enum { PLN_LETTER = 10, PLN_LINE = 18 };

/* The axes of a drawing, and the position of the plot in it. */
typedef struct pln_frame {
    double width, height, room; /* the viewBox; the free space to the right of the plot */
    double left, top, right, bottom;
    pln_axis x, y;
} pln_frame;

/* Compute the positions from width, height, room and the axes; draw grid, numbers and names. */
void pln_draw_frame(pln_page *p, pln_frame *f, const char *x_name, const char *y_name);
/* The sign of series or class k, as path data. The combinations of sign, colour and dashes differ for the
 * first forty. */
void pln_sign(pln_page *p, size_t k, double x, double y);
size_t pln_colour(size_t k);
size_t pln_dashes(size_t k);
/* An entry of a legend; its text and "</li>" are the caller's. */
void pln_key(pln_page *p, size_t k, bool line);

/* ---- chart.c ----------------------------------------------------------------------------------------------- */

/* A line chart; the point `mark` of all series is called "best", if there is one. */
void pln_line_chart(pleat_nn_report *r, const pleat_nn_chart *c, size_t mark);

/* ---- report.c ---------------------------------------------------------------------------------------------- */

struct pleat_nn_report {
    pleat_ctx *ctx;
    pln_page page;
    pleat_status status; /* of the first error */
};

/* Is there a report without an error? */
bool pln_report_open(const pleat_nn_report *r);
/* The same, and `something` is not NULL; NULL is an error of `op`. */
bool pln_report_takes(pleat_nn_report *r, const char *op, const void *something);
/* Report an error and remember it. */
void pln_report_fail(pleat_nn_report *r, pleat_status code, const char *op, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;
/* End a part: report an error of `op` if memory was short. */
void pln_report_done(pleat_nn_report *r, const char *op);
/* Begin a container that can be scrolled, of this class; </div> ends it. */
void pln_scroll_begin(pln_page *p, const char *kind, const char *caption);
/* Such a container with a table. */
void pln_table_begin(pln_page *p, const char *kind, const char *caption);
void pln_table_end(pln_page *p);

/* style.c */
extern const char *const pln_report_style[]; /* NULL ends it */

#endif

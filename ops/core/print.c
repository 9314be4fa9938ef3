/* pleat_print: a tensor as NumPy prints an array of the same type (numpy.array2string, its defaults): aligned
 * columns, at most 8 decimals, an exponent where the elements differ too much, the edges of what is long. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "core/functions.h"

enum { DECIMALS = 8, MOST = 1000, EDGE = 3, WIDTH = 75 };

/* How all elements are written: in columns of `left` characters before the point and `right` behind it. */
typedef struct layout {
    bool exponent;
    size_t left, right, decimals, exponent_digits;
    double largest, smallest; /* of the finite elements other than 0, in absolute value */
    bool any_finite, nan, inf, negative_inf;
} layout;

typedef struct printer {
    const pleat_tensor *t;
    FILE *out;
    layout l;
    bool abridged;
    size_t column;
    size_t spaces; /* behind the last element, which no line ends with */
} printer;

/* An element's parts: "-12", "5", "e+03". */
typedef struct parts {
    char whole[24], decimals[24], exponent[8];
} parts;

/* ---- an element ------------------------------------------------------------------------------------------ */

static void split(const char *text, parts *p) {
    size_t whole = strcspn(text, ".e");
    const char *rest = text + whole + (text[whole] == '.');
    size_t decimals = strcspn(rest, "e");
    snprintf(p->whole, sizeof p->whole, "%.*s", (int)whole, text);
    snprintf(p->exponent, sizeof p->exponent, "%s", rest + decimals);
    while (decimals > 0 && rest[decimals - 1] == '0') decimals--;
    snprintf(p->decimals, sizeof p->decimals, "%.*s", (int)decimals, rest);
}

/* The fewest digits that tell v from every other number of the type, and at most `most` of them behind the
 * point. */
static parts parts_of(double v, pleat_dtype dtype, bool exponent, int most) {
    int digits = pl_shortest(v, dtype);
    pl_digits text = pl_number_as('e', v, digits - 1);
    int power = (int)strtol(strchr(text.text, 'e') + 1, NULL, 10),
        decimals = digits - 1 - (exponent ? 0 : power);
    parts p;
    if (decimals > most) decimals = most;
    if (decimals < 0) {
        double unit =
            most > DECIMALS ? pl_pow_f64(10, -decimals) : 1; /* NumPy rounds scalars, not elements */
        v = round(v / unit) * unit;
        decimals = 0;
    }
    split(pl_number_as(exponent ? 'e' : 'f', v, decimals).text, &p);
    return p;
}

static void pad(printer *p, size_t n, char c) {
    for (size_t i = 0; i < n; i++) fputc(c, p->out);
}

static void put_element(printer *p, double v) {
    const layout *l = &p->l;
    size_t width = l->left + 1 + l->right;
    if (!isfinite(v)) {
        const char *word = isnan(v) ? "nan" : v < 0 ? "-inf" : "inf";
        pad(p, width > strlen(word) ? width - strlen(word) : 0, ' ');
        fputs(word, p->out);
        return;
    }
    parts e = parts_of(v, p->t->dtype, l->exponent, DECIMALS);
    if (l->exponent) { /* all with as many decimals */
        pl_digits digits = pl_number_as('e', v, (int)l->decimals);
        char *text = digits.text, *power = strchr(text, 'e');
        pad(p, l->left - strlen(e.whole), ' ');
        fprintf(p->out, "%.*s%s%.2s", (int)(power - text), text, l->decimals == 0 ? "." : "", power);
        pad(p, l->exponent_digits - (strlen(power) - 2), '0');
        fputs(power + 2, p->out);
        return;
    }
    pad(p, l->left - strlen(e.whole), ' ');
    fprintf(p->out, "%s.%s", e.whole, e.decimals);
    p->spaces = l->right - strlen(e.decimals);
}

/* ---- the layout -------------------------------------------------------------------------------------------- */

static void larger(size_t *most, size_t n) { *most = *most < n ? n : *most; }

static void see_size(layout *l, double v) {
    l->any_finite = l->any_finite || isfinite(v);
    l->nan = l->nan || isnan(v);
    l->inf = l->inf || isinf(v);
    l->negative_inf = l->negative_inf || (isinf(v) && v < 0);
    if (!isfinite(v) || v == 0) return;
    l->largest = fmax(l->largest, fabs(v));
    l->smallest = l->smallest == 0 ? fabs(v) : fmin(l->smallest, fabs(v));
}

static void see_parts(layout *l, double v, pleat_dtype dtype) {
    if (!isfinite(v)) return;
    parts e = parts_of(v, dtype, l->exponent, DECIMALS);
    larger(&l->left, strlen(e.whole));
    larger(&l->decimals, strlen(e.decimals));
    if (l->exponent) larger(&l->exponent_digits, strlen(e.exponent) - 2);
}

/* Is index i of an axis printed? */
static bool is_shown(const printer *p, size_t i, size_t size) {
    return !p->abridged || size <= 2 * (size_t)EDGE || i < EDGE || i + EDGE >= size;
}

/* Visit the elements that are printed, for their sizes and then for their parts. */
static void survey(printer *p, size_t axis, ptrdiff_t at, bool sizes) {
    const pleat_tensor *t = p->t;
    if (axis == t->rank) {
        sizes ? see_size(&p->l, pl_element_at(t, at)) : see_parts(&p->l, pl_element_at(t, at), t->dtype);
        return;
    }
    for (size_t i = 0; i < t->shape[axis]; i++) {
        if (is_shown(p, i, t->shape[axis]))
            survey(p, axis + 1, at + (ptrdiff_t)i * t->stride[axis], sizes);
        else
            i = t->shape[axis] - EDGE - 1;
    }
}

static void lay_out(printer *p) {
    layout *l = &p->l;
    survey(p, 0, 0, true);
    /* in the type's own arithmetic, as NumPy decides */
    bool f32 = p->t->dtype == PLEAT_F32;
    double ratio = f32 ? (double)((float)l->largest / (float)l->smallest) : l->largest / l->smallest;
    l->exponent = l->largest >= 1e8 || (l->largest > 0 && (l->smallest < 0.0001 || ratio > 1000));
    survey(p, 0, 0, false);
    l->right = l->decimals + (l->exponent ? 2 + l->exponent_digits : 0);
    size_t word = l->nan ? 3 : 0;
    if (l->inf) larger(&word, l->negative_inf ? 4 : 3);
    if (word > l->right + 1) larger(&l->left, word - l->right - 1);
}

/* ---- brackets and lines ------------------------------------------------------------------------------------ */

/* A word of `width` characters after the one before it, or on a new line. */
static void begin_word(printer *p, size_t width, size_t indent, size_t line) {
    bool first = p->column == indent;
    if (!first && p->column + 1 + width > line) {
        p->spaces = 0;
        fputc('\n', p->out);
        pad(p, indent, ' ');
        p->column = indent;
    } else if (!first) {
        pad(p, p->spaces + 1, ' ');
        p->spaces = 0;
        p->column++;
    }
    p->column += width;
}

static void put_row(printer *p, ptrdiff_t at, size_t indent, size_t line) {
    const pleat_tensor *t = p->t;
    size_t axis = t->rank - 1, size = t->shape[axis], width = p->l.left + 1 + p->l.right;
    p->column = indent;
    for (size_t i = 0; i < size; i++) {
        bool shown = is_shown(p, i, size);
        begin_word(p, shown ? width : 3, indent, line - 1);
        if (shown)
            put_element(p, pl_element_at(t, at + (ptrdiff_t)i * t->stride[axis]));
        else
            fputs("...", p->out), i = size - EDGE - 1;
    }
}

/* `indent` is the column of what stands behind the opening bracket. */
static void put_axis(printer *p, size_t axis, ptrdiff_t at, size_t line) {
    const pleat_tensor *t = p->t;
    size_t size = t->shape[axis], left = t->rank - axis, indent = axis + 1;
    fputc('[', p->out);
    if (left == 1) put_row(p, at, indent, line);
    for (size_t i = 0; left > 1 && i < size; i++) {
        if (i > 0) pad(p, left - 1, '\n'), pad(p, indent, ' ');
        if (is_shown(p, i, size))
            put_axis(p, axis + 1, at + (ptrdiff_t)i * t->stride[axis], line - 1);
        else
            fputs("...", p->out), i = size - EDGE - 1;
    }
    pad(p, p->spaces, ' ');
    p->spaces = 0;
    fputc(']', p->out);
}

/* A number alone has all its digits, as NumPy's scalars have. */
static void put_scalar(printer *p, double v) {
    double size = fabs(v);
    bool exponent = v != 0 && (size >= 1e16 || size < 1e-4);
    if (!isfinite(v)) {
        put_element(p, v);
        return;
    }
    parts e = parts_of(v, p->t->dtype, exponent, 40);
    bool bare = e.decimals[0] == 0;
    fprintf(p->out, "%s%s%s%s", e.whole, exponent && bare ? "" : ".", bare && !exponent ? "0" : e.decimals,
            e.exponent);
}

pleat_status pleat_print(const pleat_tensor *t, FILE *out) {
    bool poison = pl_unreadable(t, "print");
    pleat_ctx *ctx = pleat_ctx_of(t);
    if (out == NULL) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "print", "the file is a null pointer");
    if (poison) {
        const char *why = ctx == NULL ? "" : ctx->error.text;
        fprintf(out, "poison%s%s\n", *why ? ": " : "", why);
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "print", "the tensor is poison or a null pointer");
    }
    printer p = {.t = t, .out = out, .abridged = t->numel > MOST};
    fprintf(out, "%s %s\n", t->dtype == PLEAT_F32 ? "f32" : "f64", pl_shape_of(t).text);
    if (t->numel == 0) {
        fputs("[]", out);
    } else if (t->rank == 0) {
        put_scalar(&p, pl_element_at(t, 0));
    } else {
        lay_out(&p);
        put_axis(&p, 0, 0, WIDTH);
    }
    fputc('\n', out);
    return ferror(out) ? pleat_fail(ctx, PLEAT_ERR_IO, "print", "the file refuses what is written to it")
                       : PLEAT_OK;
}

/* The first error stays in the context; every failure of the library passes through pleat_fail. */
#define _POSIX_C_SOURCE 200809L /* uselocale */

#include <float.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

/* File names, and texts from files, may contain any byte. An error must be one line and must not control the
 * terminal. */
static void make_one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127) *text = '?';
}

static void set_error(pleat_ctx *ctx, pleat_status code, const char *op, const char *format, va_list args) {
    pleat_error_info *e = &ctx->error;
    e->code = code;
    e->input = PLEAT_NO_INPUT;
    snprintf(e->op, sizeof e->op, "%s", op);
    int used = snprintf(e->text, sizeof e->text, "%s: ", op);
    if (used >= 0 && (size_t)used < sizeof e->text)
        vsnprintf(e->text + used, sizeof e->text - (size_t)used, format, args);
    make_one_line(e->op);
    make_one_line(e->text);
}

pleat_status pleat_fail(pleat_ctx *ctx, pleat_status code, const char *op, const char *format, ...) {
    if (ctx == NULL || ctx->error.code != PLEAT_OK) return code;
    va_list args;
    va_start(args, format);
    set_error(ctx, code, op, format, args);
    va_end(args);
    return code;
}

void pleat_error_where(pleat_ctx *ctx, const char *where) {
    if (ctx == NULL || where == NULL || ctx->error.code == PLEAT_OK) return;
    char *text = ctx->error.text;
    size_t n = strlen(text), room = sizeof ctx->error.text - 1 - n, whole = strlen(where) + 2;
    size_t used = whole < room ? whole : room;
    if (used < whole && used < sizeof "...: ") return; /* nothing of it would be left */
    memmove(text + used, text, n + 1);
    memcpy(text, where + (whole - used), used - 2);
    if (used < whole) memcpy(text, "...", 3);
    memcpy(text + used - 2, ": ", 2);
    make_one_line(text);
}

/* The locale "C" is part of the C library, so newlocale allocates nothing. */
static locale_t enter_c(void) { return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0)); }

pl_digits pl_number_as(char how, double v, int digits) {
    pl_digits phrase;
    locale_t before = enter_c();
    snprintf(phrase.text, sizeof phrase.text, how == 'e' ? "%.*e" : how == 'f' ? "%.*f" : "%.*g", digits, v);
    uselocale(before);
    return phrase;
}

pl_digits pl_number(double v, int digits) { return pl_number_as('g', v, digits); }

int pl_shortest(double v, pleat_dtype dtype) {
    char text[32];
    int digits = 1;
    locale_t before = enter_c();
    for (; digits < DBL_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, v);
        if (dtype == PLEAT_F64 ? strtod(text, NULL) == v : (double)strtof(text, NULL) == v) break;
    }
    uselocale(before);
    return digits;
}

/* The shapes of an op's inputs: "[2,3] and [4]". */
static void input_shapes(const pleat_call *c, char *buffer, size_t bytes) {
    size_t used = 0;
    buffer[0] = 0;
    for (size_t i = 0; i < c->n && i < 4; i++) {
        const char *gap = i == 0 ? "" : i + 1 == c->n ? " and " : ", ";
        const pleat_tensor *t = c->in[i];
        pl_text shape = t == NULL ? (pl_text){"null"} : t->poison ? (pl_text){"poison"} : pl_shape_of(t);
        int more = snprintf(buffer + used, bytes - used, "%s%s", gap, shape.text);
        if (more < 0 || used + (size_t)more >= bytes) return;
        used += (size_t)more;
    }
    if (c->n > 4) snprintf(buffer + used, bytes - used, ", ...");
}

bool pleat_call_fail(const pleat_call *c, pleat_status code, const char *format, ...) {
    char rule[320], shapes[200];
    va_list args;
    va_start(args, format);
    vsnprintf(rule, sizeof rule, format, args);
    va_end(args);
    input_shapes(c, shapes, sizeof shapes);
    pleat_fail(c->ctx, code, c->op->name, "%s: %s", shapes, rule);
    return false;
}

pleat_tensor *pl_reject(const pleat_tensor *x, const char *op, pleat_status code, const char *format, ...) {
    char rule[320];
    va_list args;
    va_start(args, format);
    vsnprintf(rule, sizeof rule, format, args);
    va_end(args);
    pleat_fail(x->ctx, code, op, "%s: %s", pl_shape_of(x).text, rule);
    return pleat_poison(x->ctx);
}

const pleat_error_info *pleat_error(const pleat_ctx *ctx) {
    static const pleat_error_info none = {
        .code = PLEAT_ERR_MEMORY, .input = PLEAT_NO_INPUT, .text = "there is no context"};
    return ctx == NULL ? &none : &ctx->error;
}

void pleat_clear_error(pleat_ctx *ctx) {
    if (ctx != NULL) ctx->error = (pleat_error_info){.code = PLEAT_OK, .input = PLEAT_NO_INPUT};
}

const char *pleat_status_name(pleat_status s) {
    static const char *const names[] = {
        [PLEAT_OK] = "ok",
        [PLEAT_ERR_SHAPE] = "shape",
        [PLEAT_ERR_DTYPE] = "type",
        [PLEAT_ERR_ARGUMENT] = "argument",
        [PLEAT_ERR_MEMORY] = "out of memory",
        [PLEAT_ERR_GRADIENT] = "gradient",
        [PLEAT_ERR_CHECK] = "check failed",
        [PLEAT_ERR_IO] = "input or output",
        [PLEAT_ERR_FORMAT] = "file format",
    };
    return (size_t)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

/* The report: a page that is built in memory and written at the end. Its HTML is also well-formed XML. */
#include "report/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "files/file.h"

/* The policy makes browsers refuse scripts and external resources, whatever the texts contain. */
static const char head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\"/>\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
    "<meta name=\"generator\" content=\"pleat " PLEAT_VERSION "\"/>\n"
    "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath "
    "d='M1 2C4 14 8 13 15 14' fill='none' stroke='%230072b2' stroke-width='3' stroke-linecap='round'/%3E%3C/svg%3E\"/>\n"
    "<title>";

static const char end[] =
    "</section>\n</main>\n<footer>made by pleat " PLEAT_VERSION "</footer>\n</body>\n</html>\n";

/* ---- the report ---------------------------------------------------------------------------------------- */

bool pln_report_open(const pleat_nn_report *r) { return r && !r->status; }

void pln_report_fail(pleat_nn_report *r, pleat_status code, const char *op, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->status = pleat_fail(r->ctx, code, op, "%s", text);
}

bool pln_report_takes(pleat_nn_report *r, const char *op, const void *something) {
    if (!pln_report_open(r)) return false;
    if (!something) pln_report_fail(r, PLEAT_ERR_ARGUMENT, op, "an argument is NULL");
    return something != NULL;
}

void pln_report_done(pleat_nn_report *r, const char *op) {
    if (r->page.lost && !r->status)
        pln_report_fail(r, PLEAT_ERR_MEMORY, op, "no memory for a page of more than %zu bytes",
                        r->page.length);
}

static void begin(pln_page *p, const char *title, const char *about) {
    pln_html(p, "%s", head);
    pln_text(p, title);
    pln_html(p, "</title>\n<style>\n");
    for (size_t i = 0; pln_report_style[i]; i++) pln_html(p, "%s", pln_report_style[i]);
    pln_html(p, "</style>\n</head>\n<body>\n<header>\n<h1>");
    pln_text(p, title);
    pln_html(p, "</h1>\n");
    if (about) {
        pln_html(p, "<p>");
        pln_text(p, about);
        pln_html(p, "</p>\n");
    }
    pln_html(p, "</header>\n<main>\n<section>\n");
}

pleat_nn_report *pleat_nn_report_new(pleat_ctx *ctx, const char *title, const char *about) {
    if (!title) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "report_new", "the title is NULL");
        return NULL;
    }
    pleat_nn_report *r = malloc(sizeof *r);
    if (r) {
        *r = (pleat_nn_report){.ctx = ctx};
        begin(&r->page, title, about);
        if (!r->page.lost) return r;
    }
    pleat_nn_report_free(r);
    pleat_fail(ctx, PLEAT_ERR_MEMORY, "report_new", "no memory for a report");
    return NULL;
}

void pleat_nn_report_free(pleat_nn_report *r) {
    if (r) free(r->page.text);
    free(r);
}

pleat_status pleat_nn_report_write(pleat_nn_report *r, const char *path) {
    pleat_nn_file file;
    if (!r) return PLEAT_ERR_ARGUMENT;
    if (r->status) return r->status;
    pleat_status status = pleat_nn_file_create(r->ctx, path, &file);
    if (status) return status;
    if (fwrite(r->page.text, 1, r->page.length, file.f) != r->page.length || fputs(end, file.f) < 0)
        return pln_write_failed(r->ctx, "report_write", &file);
    return pleat_nn_file_commit(r->ctx, &file);
}

/* ---- texts and tables ---------------------------------------------------------------------------------- */

void pleat_nn_report_heading(pleat_nn_report *r, const char *text) {
    if (!pln_report_takes(r, "report_heading", text)) return;
    pln_html(&r->page, "</section>\n<section>\n<h2>");
    pln_text(&r->page, text);
    pln_html(&r->page, "</h2>\n");
    pln_report_done(r, "report_heading");
}

void pleat_nn_report_text(pleat_nn_report *r, const char *text) {
    if (!pln_report_takes(r, "report_text", text)) return;
    pln_html(&r->page, "<p>");
    pln_text(&r->page, text);
    pln_html(&r->page, "</p>\n");
    pln_report_done(r, "report_text");
}

static bool all_there(size_t n, const char *const (*pairs)[2]) {
    for (size_t i = 0; i < n; i++)
        if (!pairs[i][0] || !pairs[i][1]) return false;
    return true;
}

void pleat_nn_report_table(pleat_nn_report *r, size_t n, const char *const (*pairs)[2]) {
    static const char op[] = "report_table";
    if (!pln_report_open(r) || !n || !pln_report_takes(r, op, pairs)) return;
    if (!pln_report_takes(r, op, all_there(n, pairs) ? pairs : NULL)) return;
    pln_html(&r->page, "<table class=\"pairs\"><tbody>\n");
    for (size_t i = 0; i < n; i++) {
        pln_html(&r->page, "<tr><th scope=\"row\">");
        pln_text(&r->page, pairs[i][0]);
        pln_html(&r->page, "</th><td>");
        pln_text(&r->page, pairs[i][1]);
        pln_html(&r->page, "</td></tr>\n");
    }
    pln_html(&r->page, "</tbody></table>\n");
    pln_report_done(r, op);
}

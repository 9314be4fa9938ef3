/* Numbers as text: 17 digits tell all doubles apart. printf and strtod know the locale's decimal point alone, which would make a
 * file that another locale cannot read. */
#include "files/numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first `from` in the text becomes `to`. */
static pln_number_text with_point(pln_number_text text, const char *from, const char *to) {
    char *at = strstr(text.s, from);
    size_t before = strlen(from), after = strlen(to);
    if (!at || strlen(text.s) + after >= sizeof text.s) return text;
    memmove(at + after, at + before, strlen(at + before) + 1);
    memcpy(at, to, after);
    return text;
}

/* Of this locale. */
static pln_number_text point(void) {
    pln_number_text half, p = {"."};
    int n = snprintf(half.s, sizeof half.s, "%.1f", 0.5);
    if (n > 2) snprintf(p.s, sizeof p.s, "%.*s", n - 2, half.s + 1);
    return p;
}

pln_number_text pln_number(double v) {
    pln_number_text text;
    snprintf(text.s, sizeof text.s, "%.17g", v);
    return with_point(text, point().s, ".");
}

bool pln_read_number(const char **at, double *v) {
    pln_number_text text;
    size_t n = strcspn(*at, " ");
    if (!n || n > 30) return false;
    snprintf(text.s, sizeof text.s, "%.*s", (int)n, *at);
    *v = strtod(with_point(text, ".", point().s).s, NULL);
    if (strcmp(pln_number(*v).s, text.s)) return false;
    *at += n + ((*at)[n] == ' ');
    return true;
}

/* Recorded calls as data and as a phrase: the op, its inputs' shapes, its attributes. */
#include <stdio.h>
#include <string.h>

#include "core/core.h"

const pleat_call *pleat_call_of(const pleat_tensor *t) { return pleat_is_poison(t) ? NULL : t->call; }

size_t pleat_call_attributes(const pleat_call *c, pleat_attr *out) {
    return c == NULL || c->op->attributes == NULL ? 0 : c->op->attributes(c, out);
}

bool pleat_call_attribute(const pleat_call *c, const char *name, pleat_attr *out) {
    pleat_attr all[PLEAT_MAX_ATTRS];
    size_t n = pleat_call_attributes(c, all), i = 0;
    while (i < n && strcmp(all[i].name, name) != 0) i++;
    if (i < n) *out = all[i];
    return i < n;
}

/* ---- attributes ------------------------------------------------------------------------------------------ */

pleat_attr pl_attr_whole(const char *name, size_t n, const size_t *values, bool usual) {
    pleat_attr a = {.name = name, .kind = PLEAT_ATTR_WHOLE, .usual = usual, .count = n};
    for (size_t i = 0; i < n; i++) a.whole[i] = (ptrdiff_t)values[i];
    return a;
}

pleat_attr pl_attr_real(const char *name, size_t n, const double *values) {
    pleat_attr a = {.name = name, .kind = PLEAT_ATTR_REAL, .count = n};
    for (size_t i = 0; i < n; i++) a.real[i] = values[i];
    return a;
}

pleat_attr pl_attr_axes(const char *name, unsigned axes) {
    pleat_attr a = {.name = name, .kind = PLEAT_ATTR_WHOLE};
    for (int k = 0; k < PLEAT_MAX_RANK; k++) {
        if (axes >> k & 1u) a.whole[a.count++] = k;
    }
    return a;
}

size_t pl_axis_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_whole("axis", 1, c->attrs, false);
    return 1;
}

size_t pl_a_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_real("a", 1, c->attrs);
    return 1;
}

/* ---- phrases --------------------------------------------------------------------------------------------- */

typedef struct phrase {
    char *text;
    size_t used, bytes;
} phrase;

static void add(phrase *p, const char *word) {
    for (; *word && p->used + 1 < p->bytes; word++) p->text[p->used++] = *word;
    if (p->bytes > 0) p->text[p->used] = 0;
}

static void add_value(phrase *p, const pleat_attr *a, size_t i) {
    char text[32];
    if (a->kind == PLEAT_ATTR_REAL) {
        add(p, pl_number(a->real[i], 6).text);
    } else {
        snprintf(text, sizeof text, "%lld", a->list != NULL ? (long long)a->list[i] : (long long)a->whole[i]);
        add(p, text);
    }
}

/* "stride 2x2", "shape [2,3,4]" */
static void add_attribute(phrase *p, const pleat_attr *a) {
    enum { SHOWN = PLEAT_MAX_RANK };
    bool pair = a->count == 2 && a->kind == PLEAT_ATTR_WHOLE, listed = a->count != 1 && !pair;
    add(p, a->name);
    add(p, listed ? " [" : " ");
    for (size_t i = 0; i < a->count && i < SHOWN; i++) {
        if (i > 0) add(p, pair ? "x" : ",");
        add_value(p, a, i);
    }
    if (a->count > SHOWN) add(p, ",...");
    if (listed) add(p, "]");
}

char *pleat_call_text(const pleat_call *c, char *buffer, size_t bytes) {
    pleat_attr attr[PLEAT_MAX_ATTRS];
    phrase p = {.text = buffer, .bytes = bytes};
    add(&p, c == NULL ? "" : c->op->name);
    if (c == NULL) return buffer;
    for (size_t i = 0; i < c->n && i < 4; i++) {
        add(&p, i == 0 ? "(" : ", ");
        add(&p, pl_shape_of(c->in[i]).text);
    }
    if (c->n > 4) add(&p, ", ...");
    const char *gap = "; ";
    size_t n = pleat_call_attributes(c, attr);
    for (size_t i = 0; i < n; i++) {
        if (attr[i].usual) continue;
        add(&p, gap);
        add_attribute(&p, &attr[i]);
        gap = ", ";
    }
    add(&p, ")");
    return buffer;
}

/* Attributes and lists of a node, and the errors about them. */
#include <stdarg.h>
#include <string.h>

#include "files/file.h"
#include "onnx/onnx.h"

bool pln_onnx_refuse(const pln_onnx_run *run, const pln_onnx_node *n, const char *format, ...) {
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pln_phrase name = pln_shown(n->name), op = pln_shown(n->op);
    pleat_fail(run->ctx, run->path ? PLEAT_ERR_FORMAT : PLEAT_ERR_ARGUMENT, run->op,
               "%s%snode %zu %.40s '%.60s': %s", run->path ? run->path : "", run->path ? ": " : "", n->number,
               op.text, name.text, text);
    return false;
}

/* ---- attributes ---------------------------------------------------------------------------------------- */

const pln_onnx_attr *pln_onnx_attr_of(const pln_onnx_node *n, const char *name) {
    for (size_t i = 0; i < n->attrs; i++)
        if (!strcmp(n->attr[i].name, name)) return &n->attr[i];
    return NULL;
}

bool pln_onnx_has(const pln_onnx_node *n, const char *name) { return pln_onnx_attr_of(n, name) != NULL; }

int64_t pln_onnx_int(const pln_onnx_node *n, const char *name, int64_t usual) {
    const pln_onnx_attr *a = pln_onnx_attr_of(n, name);
    return a ? a->i : usual;
}

double pln_onnx_real(const pln_onnx_node *n, const char *name, double usual) {
    const pln_onnx_attr *a = pln_onnx_attr_of(n, name);
    return a ? a->f : usual;
}

const char *pln_onnx_text(const pln_onnx_node *n, const char *name, const char *usual) {
    const pln_onnx_attr *a = pln_onnx_attr_of(n, name);
    return a ? a->s : usual;
}

bool pln_onnx_word(const pln_onnx_run *run, const pln_onnx_node *n, const char *name,
                   const char *const *words, size_t *place) {
    const char *text = pln_onnx_text(n, name, words[0]);
    for (*place = 0; words[*place]; ++*place)
        if (!strcmp(words[*place], text)) return true;
    return pln_onnx_refuse(run, n, "attribute %s '%.60s' is not supported", name, pln_shown(text).text);
}

/* ---- lists --------------------------------------------------------------------------------------------- */

bool pln_onnx_ints(const pln_onnx_run *run, const pln_onnx_node *n, const char *name, pln_onnx_list *list) {
    const pln_onnx_attr *a = pln_onnx_attr_of(n, name);
    *list = (pln_onnx_list){.given = a != NULL, .n = a ? a->n : 0};
    if (list->n > sizeof list->v / sizeof *list->v)
        return pln_onnx_refuse(run, n, "attribute %s has %zu numbers; at most %d are supported", name,
                               list->n, 2 * PLEAT_MAX_RANK);
    if (list->n) memcpy(list->v, a->ints, list->n * sizeof *list->v);
    return true;
}

bool pln_onnx_list_of(const pln_onnx_run *run, const pln_onnx_node *n, const char *name, pln_onnx_value v,
                      pln_onnx_list *list) {
    return pln_onnx_has(n, name) ? pln_onnx_ints(run, n, name, list)
                                 : pln_onnx_whole_input(run, n, name, v, list);
}

bool pln_onnx_sizes(const pln_onnx_run *run, const pln_onnx_node *n, const char *name, size_t count,
                    int64_t least, size_t usual, size_t *out) {
    pln_onnx_list list;
    if (!pln_onnx_ints(run, n, name, &list)) return false;
    if (list.given && list.n != count)
        return pln_onnx_refuse(run, n, "attribute %s has %zu numbers; it must have %zu", name, list.n, count);
    for (size_t i = 0; i < count; i++) {
        if (list.given && (list.v[i] < least || list.v[i] > INT32_MAX - 1))
            return pln_onnx_refuse(run, n, "attribute %s has %jd; it must be %jd to 2^31 - 2", name,
                                   (intmax_t)list.v[i], (intmax_t)least);
        out[i] = list.given ? (size_t)list.v[i] : usual;
    }
    return true;
}

bool pln_onnx_axis(const pln_onnx_run *run, const pln_onnx_node *n, int64_t axis, size_t rank, size_t *out) {
    int64_t r = (int64_t)rank;
    if (axis < -r || axis >= r)
        return pln_onnx_refuse(run, n, "axis %jd of a tensor of rank %zu", (intmax_t)axis, rank);
    *out = (size_t)(axis < 0 ? axis + r : axis);
    return true;
}

bool pln_onnx_axes(const pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_list *list, size_t rank,
                   unsigned *bits) {
    *bits = 0;
    for (size_t i = 0, axis; i < list->n; i++) {
        if (!pln_onnx_axis(run, n, list->v[i], rank, &axis)) return false;
        if (*bits >> axis & 1) return pln_onnx_refuse(run, n, "axis %zu is given twice", axis);
        *bits |= 1u << axis;
    }
    return true;
}

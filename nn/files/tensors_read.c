/* The reader of safetensors files. Everything is checked: every byte belongs to the header or to one tensor,
 * names are unique, and memory is bounded by the length of the file. No tensor changes before everything has
 * been read. */
#include "files/tensors.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "pleat_config.h"

#ifndef PL_HAVE_CJSON
pleat_status pln_tensors_open(pln_tensors *s) {
    return pln_tensors_fail(s, PLEAT_ERR_ARGUMENT,
                            "pleat was built without cJSON; configure it with -Dsafetensors=enabled");
}

pleat_status pln_tensors_read(pln_tensors *s) { return pln_tensors_open(s); }
const char *pln_tensors_text(const pln_tensors *s, const char *key) { return (void)s, (void)key, NULL; }
#else
#    include <cjson/cJSON.h>

/* Room for a hundred thousand tensors. The reference implementation allows 100 MB, but parsed JSON takes some
 * thirty times its text, and a hostile file should not cost gigabytes. */
#    define MAX_HEADER ((size_t)16 << 20)

static pleat_status bad(pln_tensors *s, const char *what) {
    return pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %s", s->path, what);
}

static bool read_bytes(pln_tensors *s, void *to, size_t n) {
    if (pln_read(s->f, to, n) == n) return true;
    if (ferror(s->f))
        s->status = pln_read_failed(s->ctx, s->op, s->path);
    else
        bad(s, "it became shorter while it was read");
    return false;
}

/* ---- the header ---------------------------------------------------------------------------------------- */

static bool has_escaped_nul(const char *text) {
    for (const char *c = text; (c = strchr(c, '\\')) && c[1]; c += 2)
        if (!strncmp(c + 1, "u0000", 5)) return true;
    return false;
}

/* `text` has length + 1 bytes. cJSON would skip a NUL byte like a blank, and end a name at it. */
static void parse(pln_tensors *s, char *text, size_t length) {
    const char *end = text;
    pleat_status wrong = PLEAT_ERR_FORMAT;
    text[length] = 0;
    if (*text != '{')
        bad(s, "not a safetensors file: its header does not begin with {");
    else if (memchr(text, 0, length) || has_escaped_nul(text))
        bad(s, "its header contains a NUL character");
    else if (!pln_is_utf8(text))
        bad(s, "its header is not UTF-8");
    else {
        errno = 0;
        s->root = cJSON_ParseWithLengthOpts(text, length + 1, &end, true);
        if (errno == ENOMEM) wrong = PLEAT_ERR_MEMORY; /* cJSON does not report the cause */
    }
    if (!s->root)
        pln_tensors_fail(s, wrong, "%s: %s from byte %zu on (of %zu)", s->path,
                         wrong == PLEAT_ERR_MEMORY ? "no memory for its header"
                                                   : "its header is not valid JSON",
                         (size_t)(end - text), length);
}

/* Leaves s->f at the first element. */
static void read_header(pln_tensors *s, size_t file_bytes) {
    uint8_t b[8];
    uint64_t length = 0;
    if (file_bytes < sizeof b) bad(s, "not a safetensors file: it is shorter than 8 bytes");
    if (s->status || !read_bytes(s, b, sizeof b)) return;
    for (size_t i = 0; i < sizeof b; i++) length |= (uint64_t)b[i] << 8 * i;
    if (length > file_bytes - sizeof b || length > MAX_HEADER) {
        pln_tensors_fail(
            s, PLEAT_ERR_FORMAT,
            "%s: not a safetensors file, or truncated: a header of %ju bytes (at most %zu) in a file of %zu",
            s->path, (uintmax_t)length, MAX_HEADER, file_bytes);
        return;
    }
    s->bytes = file_bytes - sizeof b - (size_t)length;
    char *text = malloc((size_t)length + 1);
    if (!text)
        pln_tensors_fail(s, PLEAT_ERR_MEMORY, "no memory for a header of %ju bytes", (uintmax_t)length);
    else if (read_bytes(s, text, (size_t)length))
        parse(s, text, (size_t)length);
    free(text);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_unique(pln_tensors *s, const cJSON *object) {
    size_t n = 0;
    for (const cJSON *c = object->child; c; c = c->next) n++;
    const char **names = s->status ? NULL : malloc((n + 1) * sizeof *names);
    if (!names) {
        pln_tensors_fail(s, PLEAT_ERR_MEMORY, "no memory for %zu names", n);
        return;
    }
    n = 0;
    for (const cJSON *c = object->child; c; c = c->next) names[n++] = c->string;
    qsort(names, n, sizeof *names, by_text);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(names[i - 1], names[i]))
            pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %s is there twice", s->path, pln_shown(names[i]).text);
    free(names);
}

/* The format allows texts only. */
static void check_metadata(pln_tensors *s) {
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(s->root, PLN_METADATA);
    if (!metadata) return;
    bool fine = cJSON_IsObject(metadata);
    for (const cJSON *c = metadata->child; c; c = c->next) fine = fine && cJSON_IsString(c);
    if (fine)
        check_unique(s, metadata);
    else
        bad(s, PLN_METADATA " must be an object of strings");
}

pleat_status pln_tensors_open(pln_tensors *s) {
    size_t file_bytes;
    if (s->status) return s->status;
    s->status = pln_file_size(s->ctx, s->op, s->path, &file_bytes);
    if (s->status) return s->status;
    s->f = pln_open(s->path);
    if (!s->f) return s->status = pln_read_failed(s->ctx, s->op, s->path);
    read_header(s, file_bytes);
    if (!s->status) check_unique(s, s->root);
    if (!s->status) check_metadata(s);
    return s->status;
}

const char *pln_tensors_text(const pln_tensors *s, const char *key) {
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(s->root, PLN_METADATA);
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}

/* ---- does the file have the requested tensors? ----------------------------------------------------------- */

static pln_named *find_entry(const pln_tensors *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->named[i].name, name)) return &s->named[i];
    return NULL;
}

/* Find the file's entry of each tensor. Returns the first name that was not requested, or NULL. */
static const char *match_names(pln_tensors *s) {
    const char *unknown = NULL;
    for (const cJSON *item = s->root->child; item; item = item->next) {
        if (!strcmp(item->string, PLN_METADATA)) continue;
        pln_named *e = find_entry(s, item->string);
        if (e)
            e->json = item;
        else if (!unknown)
            unknown = item->string;
    }
    return unknown;
}

/* JSON numbers are doubles. */
static bool is_size(const cJSON *item, size_t *size) {
    if (!cJSON_IsNumber(item)) return false;
    double v = item->valuedouble;
    if (!(v >= 0 && v < PLN_LARGEST_WHOLE) || v != floor(v)) return false;
    *size = (size_t)v;
    return true;
}

static void check_shape(pln_tensors *s, pln_named *e, const cJSON *shape) {
    char text[PLEAT_MAX_RANK * 20 + 8] = "[", own[sizeof text];
    size_t used = 1;
    bool fine = true, same = true;
    for (const cJSON *c = shape->child; c && fine; c = c->next) {
        fine = e->rank < PLEAT_MAX_RANK && is_size(c, &e->shape[e->rank]);
        if (!fine) break;
        used +=
            (size_t)snprintf(text + used, sizeof text - used, e->rank ? ",%zu" : "%zu", e->shape[e->rank]);
        same = same && e->shape[e->rank] == pleat_size(e->t, e->rank);
        e->rank++;
    }
    if (!fine || (!e->t && e->rank != 2))
        pln_tensors_fail(s, PLEAT_ERR_FORMAT,
                         "%s: the shape of %s must be a list of whole numbers, at most %d%s", s->path,
                         e->name, PLEAT_MAX_RANK, e->t ? "" : ", here two");
    else if (e->t && (!same || e->rank != pleat_rank(e->t)))
        pln_tensors_fail(s, PLEAT_ERR_SHAPE, "%s: %s is %s] in the file and %s in %s", s->path, e->name, text,
                         pleat_shape_text(e->t, own, sizeof own), s->whose);
}

/* The shape of a matrix whose size is not known in advance is checked against the data. */
static bool bytes_of(const pln_named *e, size_t *bytes) {
    size_t n = pln_named_width(e);
    for (size_t k = 0; k < e->rank; k++)
        if (__builtin_mul_overflow(n, e->shape[k], &n)) return false;
    *bytes = n;
    return true;
}

static void check_offsets(pln_tensors *s, pln_named *e, const cJSON *offsets) {
    const cJSON *begin = offsets->child, *end = begin ? begin->next : NULL;
    size_t bytes = 0;
    if (bytes_of(e, &bytes) && end && !end->next && is_size(begin, &e->begin) && is_size(end, &e->end) &&
        e->begin <= e->end && e->end <= s->bytes && e->end - e->begin == bytes)
        return;
    pln_tensors_fail(
        s, PLEAT_ERR_FORMAT,
        "%s: the data_offsets of %s must be two whole numbers %zu apart, at most %zu (the bytes behind the "
        "header)",
        s->path, e->name, bytes, s->bytes);
}

static void check_type(pln_tensors *s, const pln_named *e, const char *type) {
    const char *own = pln_named_type(e);
    bool readable = !strcmp(type, "F32") || !strcmp(type, "F64") || !strcmp(type, "I64");
    if (strcmp(type, own))
        pln_tensors_fail(s, PLEAT_ERR_DTYPE, "%s: %s is %s in the file and %s in %s%s", s->path, e->name,
                         pln_shown(type).text, own, s->whose,
                         readable ? "" : "; what can be read is F32 and F64");
}

static void check_entry(pln_tensors *s, pln_named *e, const char *unknown) {
    if (!e->json && e->flags & PLN_OPTIONAL) return;
    if (!e->json) {
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %s is missing%s%s", s->path, e->name,
                         unknown ? "; the file has " : "", unknown ? pln_shown(unknown).text : "");
        return;
    }
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(e->json, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(e->json, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(e->json, "data_offsets");
    if (!cJSON_IsObject(e->json) || cJSON_GetArraySize(e->json) != 3 || !cJSON_IsString(type) ||
        !cJSON_IsArray(shape) || !cJSON_IsArray(offsets)) {
        pln_tensors_fail(s, PLEAT_ERR_FORMAT,
                         "%s: %s must have a dtype, a shape and data_offsets, each once and nothing else",
                         s->path, e->name);
        return;
    }
    check_type(s, e, type->valuestring);
    check_shape(s, e, shape);
    check_offsets(s, e, offsets);
}

static int by_place(const void *a, const void *b) {
    const pln_named *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte after the header must belong to one tensor. Sorts them in the order of the file. */
static void check_places(pln_tensors *s) {
    size_t at = 0;
    if (s->n) qsort(s->named, s->n, sizeof *s->named, by_place);
    for (size_t i = 0; i < s->n; i++) {
        const pln_named *e = &s->named[i];
        if (e->begin != at)
            pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %s begins at byte %zu, but the one before ends at %zu",
                             s->path, e->name, e->begin, at);
        at = e->end;
    }
    if (at != s->bytes)
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %zu bytes behind the last tensor belong to none", s->path,
                         s->bytes - at);
}

static void check_all(pln_tensors *s) {
    const char *unknown = match_names(s);
    for (size_t i = 0; i < s->n; i++) check_entry(s, &s->named[i], unknown);
    if (unknown)
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %s has no %s", s->path, s->whose, pln_shown(unknown).text);
    if (!s->status) check_places(s);
}

/* ---- the elements --------------------------------------------------------------------------------------- */

/* The bytes of the file as element k of `to`. */
static void take_element(pln_tensors *s, const pln_named *e, const uint8_t *from, void *to, size_t k) {
    size_t width = pln_named_width(e);
    uint64_t bits = 0;
    for (size_t i = 0; i < width; i++) bits |= (uint64_t)from[i] << 8 * i;
    uint32_t half = (uint32_t)bits;
    int64_t whole = (int64_t)bits;
    double v = (double)whole;
    if (width == 4)
        memcpy((uint32_t *)to + k, &half, 4);
    else
        memcpy((uint64_t *)to + k, e->flags & PLN_WHOLE ? (void *)&v : (void *)&bits, 8);
    if (e->flags & PLN_WHOLE && fabs(v) > PLN_LARGEST_WHOLE)
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %s is %jd, which is too large", s->path, e->name,
                         (intmax_t)whole);
}

static void read_elements(pln_tensors *s, const pln_named *e) {
    uint8_t chunk[4096];
    void *to = pleat_write_now(e->fresh, "a reader of safetensors");
    size_t width = pln_named_width(e), most = sizeof chunk / width, n = pln_named_numel(e), count;
    for (size_t k = 0; k < n; k += count) {
        count = n - k < most ? n - k : most;
        if (!read_bytes(s, chunk, count * width)) return;
        for (size_t i = 0; i < count; i++) take_element(s, e, chunk + i * width, to, k + i);
    }
}

static void read_fresh(pln_tensors *s, pln_named *e) {
    if (!e->json || s->status) return;
    e->fresh = pleat_empty(s->ctx, e->t ? pleat_dtype_of(e->t) : PLEAT_F64, e->rank, e->shape);
    if (pleat_is_poison(e->fresh))
        s->status = PLEAT_ERR_MEMORY;
    else
        read_elements(s, e);
}

pleat_status pln_tensors_read(pln_tensors *s) {
    if (!s->f && pln_tensors_open(s)) return s->status;
    if (!s->status) check_all(s);
    for (size_t i = 0; i < s->n; i++) read_fresh(s, &s->named[i]);
    return s->status;
}
#endif

void pln_tensors_assign(pln_tensors *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->named[i].t && s->named[i].fresh) pleat_assign(s->named[i].t, s->named[i].fresh);
}

/* The reader of safetensors files. Everything is checked: every byte belongs to the header or to one tensor,
 * names are unique, and memory is bounded by the length of the file. No tensor changes before everything has
 * been read. */
#include "files/tensors.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
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

/* Files of torch.save are often taken for safetensors. Since PyTorch 1.6 they are zip archives, before that a
 * pickled number. */
static void refuse_torch(pln_tensors *s, const uint8_t b[8]) {
    if (memcmp(b, "PK\3\4", 4) != 0 && memcmp(b, "\x80\2\x8a\nl\xfc\x9c\x46", 8) != 0) return;
    bad(s, "not a safetensors file, but one of torch.save, or a zip archive; in Python: "
           "safetensors.torch.save_file(torch.load(\"in.pt\", map_location=\"cpu\"), \"out.safetensors\")");
}

/* Leaves s->f at the first element. */
static void read_header(pln_tensors *s, size_t file_bytes) {
    uint8_t b[8];
    uint64_t length = 0;
    if (file_bytes < sizeof b) bad(s, "not a safetensors file: it is shorter than 8 bytes");
    if (s->status || !pln_tensors_bytes(s, b, sizeof b)) return;
    refuse_torch(s, b);
    if (s->status) return;
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
    else if (pln_tensors_bytes(s, text, (size_t)length))
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

/* A tensor that does not fit is an error, or a line of the list. */
static void misfit(pln_tensors *s, size_t *kind, pleat_status code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void misfit(pln_tensors *s, size_t *kind, pleat_status code, const char *format, ...) {
    enum { LAST_LINE = 40 };
    char line[400], *text = s->found.text;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ++*kind;
    size_t used = strlen(text);
    if (!s->partly)
        pln_tensors_fail(s, code, "%s: %s", s->path, line);
    else if (used + strlen(line) + 1 + LAST_LINE < sizeof s->found.text)
        snprintf(text + used, sizeof s->found.text - used, "%s\n", line);
}

/* Say how many lines had no room. */
static void finish_list(pleat_nn_misfits *found) {
    size_t more = found->missing + found->other + found->left, used = strlen(found->text);
    for (const char *c = found->text; *c; c++) more -= *c == '\n';
    if (more) snprintf(found->text + used, sizeof found->text - used, "and %zu more\n", more);
}

/* A name of the file without the prefix; NULL if it has another. */
static const char *name_within(const pln_tensors *s, const char *name) {
    size_t length = s->prefix ? strlen(s->prefix) : 0;
    return length && strncmp(name, s->prefix, length) != 0 ? NULL : name + length;
}

/* The name that e has, or would have, in the file. */
static pln_phrase file_name(const pln_tensors *s, const pln_named *e) {
    char name[PLN_LONGEST_NAME + 1];
    if (e->json) return pln_shown(e->json->string);
    snprintf(name, sizeof name, "%s%s", s->prefix ? s->prefix : "", e->name);
    return pln_shown(name);
}

static pln_named *find_entry(const pln_tensors *s, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(s->named[i].name, name)) return &s->named[i];
    return NULL;
}

/* Find the file's entry of each tensor, and add those that were not requested. Returns the first name of
 * these, if possible with the prefix, or NULL. */
static const char *match_names(pln_tensors *s) {
    const char *unknown = NULL, *outside = NULL;
    size_t requested = s->n;
    for (const cJSON *item = s->root->child; item && !s->status; item = item->next) {
        if (!strcmp(item->string, PLN_METADATA)) continue;
        const char *name = name_within(s, item->string);
        pln_named *e = name ? find_entry(s, requested, name) : NULL;
        const char **first = name ? &unknown : &outside;
        if (!e && !*first) *first = item->string;
        if (!e) pln_tensors_add(s, NULL, PLN_UNREAD, "%s", "");
        if (!e && !s->status) e = &s->named[s->n - 1];
        if (e) e->json = item;
    }
    return unknown ? unknown : outside;
}

/* JSON numbers are doubles. */
static bool is_size(const cJSON *item, size_t *size) {
    if (!cJSON_IsNumber(item)) return false;
    double v = item->valuedouble;
    if (!(v >= 0 && v < PLN_LARGEST_WHOLE) || v != floor(v)) return false;
    *size = (size_t)v;
    return true;
}

/* Is it the requested shape? */
static bool check_shape(pln_tensors *s, pln_named *e, const cJSON *shape) {
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
    same = same && e->rank == pleat_rank(e->t);
    if (!fine || (!e->t && e->rank != 2))
        pln_tensors_fail(s, PLEAT_ERR_FORMAT,
                         "%s: the shape of %s must be a list of whole numbers, at most %d%s", s->path,
                         e->name, PLEAT_MAX_RANK, e->t ? "" : ", here two");
    else if (e->t && !same)
        misfit(s, &s->found.other, PLEAT_ERR_SHAPE, "%s is %s] in the file and %s in %s",
               file_name(s, e).text, text, pleat_shape_text(e->t, own, sizeof own), s->whose);
    return !e->t || same;
}

/* The shape of a matrix whose size is not known in advance is checked against the data. */
static bool bytes_of(const pln_named *e, size_t *bytes) {
    size_t n = pln_types[e->type].width;
    for (size_t k = 0; k < e->rank; k++)
        if (__builtin_mul_overflow(n, e->shape[k], &n)) return false;
    *bytes = n;
    return true;
}

/* Of tensors that are not read, types may be unknown: their bytes must only have an end. */
static void check_offsets(pln_tensors *s, pln_named *e, const cJSON *offsets) {
    const cJSON *begin = offsets->child, *end = begin ? begin->next : NULL;
    size_t bytes = 0;
    bool read = !(e->flags & PLN_UNREAD), known = !read || bytes_of(e, &bytes);
    if (known && end && !end->next && is_size(begin, &e->begin) && is_size(end, &e->end) &&
        e->begin <= e->end && e->end <= s->bytes && (!read || e->end - e->begin == bytes))
        return;
    char apart[40] = "in order";
    if (read) snprintf(apart, sizeof apart, "%zu apart", bytes);
    pln_tensors_fail(s, PLEAT_ERR_FORMAT,
                     "%s: the data_offsets of %s must be two whole numbers %s, at most %zu (the bytes behind "
                     "the header)",
                     s->path, file_name(s, e).text, apart, s->bytes);
}

/* Is it the requested type, or one that is widened to it? */
static bool check_type(pln_tensors *s, pln_named *e, const char *type) {
    static const char *const taken[] = {[PLN_F32] = "; it takes F16, BF16 and F32",
                                        [PLN_F64] = "; it takes F16, BF16, F32 and F64",
                                        [PLN_I64] = ""};
    pln_type own = pln_own_type(e);
    for (e->type = 0; e->type < PLN_OTHER_TYPE; e->type++)
        if (!strcmp(type, pln_types[e->type].name)) break;
    if (e->type == own || (e->flags & PLN_WIDENS && e->type < own && own <= PLN_F64)) return true;
    misfit(s, &s->found.other, PLEAT_ERR_DTYPE, "%s is %s in the file and %s in %s%s", file_name(s, e).text,
           pln_shown(type).text, pln_types[own].name, s->whose, e->flags & PLN_WIDENS ? taken[own] : "");
    return false;
}

static void check_entry(pln_tensors *s, pln_named *e) {
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(e->json, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(e->json, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(e->json, "data_offsets");
    if (!cJSON_IsObject(e->json) || cJSON_GetArraySize(e->json) != 3 || !cJSON_IsString(type) ||
        !cJSON_IsArray(shape) || !cJSON_IsArray(offsets)) {
        pln_tensors_fail(s, PLEAT_ERR_FORMAT,
                         "%s: %s must have a dtype, a shape and data_offsets, each once and nothing else",
                         s->path, file_name(s, e).text);
        return;
    }
    bool fits = !(e->flags & PLN_UNREAD) && check_type(s, e, type->valuestring) && check_shape(s, e, shape);
    if (!fits) e->flags |= PLN_UNREAD;
    s->found.loaded += fits;
    check_offsets(s, e, offsets);
}

/* `unknown` is a name of the file that was not requested, or NULL: missing tensors often have another name. */
static void check_presence(pln_tensors *s, const pln_named *e, const char *unknown) {
    pln_phrase name = file_name(s, e);
    bool hint = unknown && !s->partly;
    if (e->json && e->flags & PLN_UNREAD && name_within(s, e->json->string))
        misfit(s, &s->found.left, PLEAT_ERR_FORMAT, "%s has no %s", s->whose, name.text);
    if (!e->json && !(e->flags & PLN_OPTIONAL))
        misfit(s, &s->found.missing, PLEAT_ERR_FORMAT, "%s is missing%s%s", name.text,
               hint ? "; the file has " : "", hint ? pln_shown(unknown).text : "");
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
                             s->path, file_name(s, e).text, e->begin, at);
        at = e->end;
    }
    if (at != s->bytes)
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %zu bytes behind the last tensor belong to none", s->path,
                         s->bytes - at);
}

/* A wrong prefix would otherwise load nothing in silence. */
static void check_use(pln_tensors *s, const char *unknown) {
    if (s->partly && !s->found.loaded && s->found.missing + s->found.other)
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: no tensor fits %s%s%s", s->path, s->whose,
                         unknown ? "; the file has " : "", unknown ? pln_shown(unknown).text : "");
}

static void check_all(pln_tensors *s) {
    const char *unknown = match_names(s);
    for (size_t i = 0; i < s->n && !s->status; i++) {
        check_presence(s, &s->named[i], unknown);
        if (s->named[i].json) check_entry(s, &s->named[i]);
    }
    finish_list(&s->found);
    check_use(s, unknown);
    if (!s->status) check_places(s);
}

pleat_status pln_tensors_read(pln_tensors *s) {
    if (!s->f && pln_tensors_open(s)) return s->status;
    if (!s->status) check_all(s);
    if (!s->status) pln_tensors_take(s);
    return s->status;
}
#endif

/* Named tensors and texts as a safetensors file: 8 bytes of header length, a JSON header, the elements; all
 * little-endian. Here are the list of tensors and texts, and the writer; the reader is in tensors_read.c. */
#include "files/tensors.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "elements.h"
#include "files/file.h"
#include "files/numbers.h"
#include "pleat_config.h"
#ifdef PL_HAVE_CJSON
#    include <cjson/cJSON.h>
#endif

pleat_status pln_tensors_fail(pln_tensors *s, pleat_status code, const char *format, ...) {
    char text[480];
    if (s->status) return s->status;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return s->status = pleat_fail(s->ctx, code, s->op, "%s", text);
}

static bool make_room(pln_tensors *s) {
    if (s->status) return false;
    if (s->n < s->room) return true;
    size_t room = s->room ? 2 * s->room : 32;
    pln_named *more = realloc(s->named, room * sizeof *more);
    if (!more) return pln_tensors_fail(s, PLEAT_ERR_MEMORY, "no memory for %zu names", room), false;
    s->named = more;
    s->room = room;
    return true;
}

void pln_tensors_add(pln_tensors *s, pleat_tensor *t, unsigned flags, const char *format, ...) {
    if (!make_room(s)) return;
    pln_named *e = &s->named[s->n++];
    *e = (pln_named){.t = t, .flags = flags};
    va_list args;
    va_start(args, format);
    int length = vsnprintf(e->name, sizeof e->name, format, args);
    va_end(args);
    if (length < 0 || length > PLN_LONGEST_NAME)
        pln_tensors_fail(s, PLEAT_ERR_ARGUMENT, "the tensor name %.64s... is longer than %d characters",
                         e->name, PLN_LONGEST_NAME);
}

void pln_tensors_close(pln_tensors *s) {
#ifdef PL_HAVE_CJSON
    cJSON_Delete(s->root);
#endif
    if (s->f) fclose(s->f);
    free(s->named);
    s->root = NULL;
    s->f = NULL;
    s->named = NULL;
    s->n = s->room = 0;
}

const struct pln_type_facts pln_types[PLN_OTHER_TYPE] = {
    [PLN_F16] = {"F16", 2}, [PLN_BF16] = {"BF16", 2}, [PLN_F32] = {"F32", 4},
    [PLN_F64] = {"F64", 8}, [PLN_I64] = {"I64", 8},
};

pln_type pln_own_type(const pln_named *e) {
    if (e->flags & PLN_WHOLE) return PLN_I64;
    return e->t && pleat_dtype_of(e->t) == PLEAT_F32 ? PLN_F32 : PLN_F64;
}

size_t pln_named_numel(const pln_named *e) {
    size_t n = 1;
    for (size_t k = 0; k < e->rank; k++) n *= e->shape[k];
    return n;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

#ifndef PL_HAVE_CJSON
void pln_tensors_say(pln_tensors *s, const char *key, const char *text) { (void)s, (void)key, (void)text; }

pleat_status pln_tensors_write(pln_tensors *s) {
    return pln_tensors_fail(s, PLEAT_ERR_ARGUMENT,
                            "pleat was built without cJSON; configure it with -Dsafetensors=enabled");
}
#else
bool pln_is_utf8(const char *text) {
    for (const uint8_t *c = (const uint8_t *)text; *c;) {
        uint8_t first = *c++, low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        int more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if ((first >= 0x80 && first < 0xc2) || first > 0xf4) return false;
        for (; more; more--, low = 0x80, high = 0xbf)
            if (*c < low || *c++ > high) return false;
    }
    return true;
}

void pln_tensors_say(pln_tensors *s, const char *key, const char *text) {
    if (s->status) return;
    if (!s->root) {
        s->root = cJSON_CreateObject();
        cJSON_AddObjectToObject(s->root, PLN_METADATA);
    }
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(s->root, PLN_METADATA);
    if (!pln_is_utf8(key) || !pln_is_utf8(text))
        pln_tensors_fail(s, PLEAT_ERR_ARGUMENT, "the text %s is not UTF-8, which the file must have",
                         pln_shown(key).text);
    else if (!cJSON_AddStringToObject(metadata, key, text))
        pln_tensors_fail(s, PLEAT_ERR_MEMORY, "no memory for the header");
}

/* Names of modules and parts may combine to equal names of two tensors. */
static void check_names(pln_tensors *s) {
    for (size_t i = 0; i < s->n; i++) {
        const char *name = s->named[i].name;
        if (!strcmp(name, PLN_METADATA))
            pln_tensors_fail(s, PLEAT_ERR_ARGUMENT, "the name %s is reserved", name);
        if (!pln_is_utf8(name))
            pln_tensors_fail(s, PLEAT_ERR_ARGUMENT, "the name %s is not UTF-8, which the file must have",
                             pln_shown(name).text);
        for (size_t k = 0; k < i && !s->status; k++)
            if (!strcmp(name, s->named[k].name))
                pln_tensors_fail(s, PLEAT_ERR_ARGUMENT, "two tensors have the name %s", pln_shown(name).text);
    }
}

/* The tensors follow one another. */
static void lay_out(pln_tensors *s) {
    s->bytes = 0;
    for (size_t i = 0; i < s->n; i++) {
        pln_named *e = &s->named[i];
        e->rank = pleat_rank(e->t);
        e->type = pln_own_type(e);
        for (size_t k = 0; k < e->rank; k++) e->shape[k] = pleat_size(e->t, k);
        e->begin = s->bytes;
        e->end = s->bytes += pln_named_numel(e) * pln_types[e->type].width;
    }
}

static bool add_number(cJSON *array, size_t v) {
    cJSON *number = cJSON_CreateNumber((double)v);
    bool ok = cJSON_AddItemToArray(array, number);
    if (!ok) cJSON_Delete(number);
    return ok;
}

static bool describe(cJSON *root, const pln_named *e) {
    cJSON *item = cJSON_AddObjectToObject(root, e->name);
    bool ok = cJSON_AddStringToObject(item, "dtype", pln_types[e->type].name);
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    for (size_t k = 0; k < e->rank; k++) ok = ok && add_number(shape, e->shape[k]);
    cJSON *offsets = cJSON_AddArrayToObject(item, "data_offsets");
    return ok && shape && add_number(offsets, e->begin) && add_number(offsets, e->end);
}

/* NULL if memory is short; the caller frees it with cJSON_free. */
static char *header_text(pln_tensors *s) {
    bool ok = s->root;
    for (size_t i = 0; i < s->n && ok; i++) ok = describe(s->root, &s->named[i]);
    return ok ? cJSON_PrintUnformatted(s->root) : NULL;
}

/* Integers in the file are doubles in memory. */
static void check_whole(pln_tensors *s, const pln_named *e) {
    const double *v = e->flags & PLN_WHOLE ? pln_const_elements(e->t) : NULL;
    for (size_t k = 0; v && k < pln_named_numel(e); k++)
        if (!(fabs(v[k]) <= PLN_LARGEST_WHOLE) || v[k] != floor(v[k]))
            pln_tensors_fail(s, PLEAT_ERR_ARGUMENT, "%s is %s; it must be a whole number", e->name,
                             pln_rounded(v[k], 6).s);
}

/* Element k as the bytes of the file. */
static void put_element(const pln_named *e, const void *from, size_t k, uint8_t *to) {
    size_t width = pln_types[e->type].width;
    uint64_t bits;
    uint32_t half;
    if (width == 8)
        memcpy(&bits, (const uint64_t *)from + k, 8);
    else
        memcpy(&half, (const uint32_t *)from + k, 4), bits = half;
    if (e->flags & PLN_WHOLE) bits = (uint64_t)(int64_t)((const double *)from)[k];
    for (size_t i = 0; i < width; i++) to[i] = (uint8_t)(bits >> 8 * i);
}

static bool write_elements(const pln_named *e, FILE *f) {
    uint8_t chunk[4096];
    const void *from = pln_const_elements(e->t);
    size_t width = pln_types[e->type].width, most = sizeof chunk / width, n = pln_named_numel(e), count;
    for (size_t k = 0; k < n; k += count) {
        count = n - k < most ? n - k : most;
        for (size_t i = 0; i < count; i++) put_element(e, from, k + i, chunk + i * width);
        if (fwrite(chunk, width, count, f) != count) return false;
    }
    return true;
}

static bool write_all(const pln_tensors *s, const char *header, FILE *f) {
    uint8_t b[8];
    size_t length = strlen(header), blanks = (8 - length % 8) % 8; /* so that the elements are aligned */
    for (size_t i = 0; i < 8; i++) b[i] = (uint8_t)((uint64_t)(length + blanks) >> 8 * i);
    bool ok = fwrite(b, 1, 8, f) == 8 && fwrite(header, 1, length, f) == length &&
              fwrite("        ", 1, blanks, f) == blanks;
    for (size_t i = 0; i < s->n && ok; i++) ok = write_elements(&s->named[i], f);
    return ok;
}

static void write_file(pln_tensors *s, const char *header) {
    pleat_nn_file file;
    s->status = pleat_nn_file_create(s->ctx, s->path, &file);
    if (s->status) return;
    s->status = write_all(s, header, file.f) ? pleat_nn_file_commit(s->ctx, &file)
                                             : pln_write_failed(s->ctx, s->op, &file);
}

pleat_status pln_tensors_write(pln_tensors *s) {
    pln_tensors_say(s, "format", "pt");
    check_names(s);
    if (s->status) return s->status;
    lay_out(s);
    for (size_t i = 0; i < s->n; i++) check_whole(s, &s->named[i]);
    char *header = s->status ? NULL : header_text(s);
    if (header)
        write_file(s, header);
    else
        pln_tensors_fail(s, PLEAT_ERR_MEMORY, "no memory for the header");
    cJSON_free(header);
    return s->status;
}
#endif

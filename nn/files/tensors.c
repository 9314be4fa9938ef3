/* Named tensors and texts as a safetensors file: 8 bytes of header length, a JSON header, the elements; all little-endian.
 * The reader takes nothing on trust, and changes no tensor before everything has been read. */
#define _POSIX_C_SOURCE 200809L

#include "files/tensors.h"

#include "files/file.h"
#include "pleat_config.h"

#ifndef PL_HAVE_CJSON
pleat_status pln_tensors_are_there(pleat_ctx *ctx, const char *op) {
    return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op,
                      "pleat was built without cJSON; configure it with -Dsafetensors=enabled");
}

pleat_status pln_tensors_write(pln_tensors *s) { return pln_tensors_are_there(s->ctx, s->op); }
pleat_status pln_tensors_read(pln_tensors *s) { return pln_tensors_are_there(s->ctx, s->op); }
pleat_status pln_tensors_assign(pln_tensors *s) { return pln_tensors_are_there(s->ctx, s->op); }
const char *pln_tensors_text(const pln_tensors *s, const char *key) { return (void)s, (void)key, NULL; }
void pln_tensors_close(pln_tensors *s) { (void)s; }
#else
#    include <cjson/cJSON.h>
#    include <errno.h>
#    include <math.h>
#    include <stdlib.h>
#    include <string.h>

pleat_status pln_tensors_are_there(pleat_ctx *ctx, const char *op) { return (void)ctx, (void)op, PLEAT_OK; }

/* Room for a hundred thousand tensors. The reference implementation allows 100 MB, but parsed JSON takes some thirty
 * times its text, and a hostile file should not cost gigabytes. */
#    define MAX_HEADER ((size_t)16 << 20)
#    define METADATA "__metadata__"

/* ---- elements ------------------------------------------------------------------------------------------ */

static size_t element_bytes(const pln_named *e) {
    return e->whole || !e->t ? 8 : pleat_dtype_of(e->t) == PLEAT_F32 ? 4 : 8;
}
static const char *type_name(const pln_named *e) {
    return e->whole ? "I64" : e->t && pleat_dtype_of(e->t) == PLEAT_F32 ? "F32" : "F64";
}

/* Of the shape that the tensor has in the file. */
static size_t numel(const pln_named *e) {
    size_t n = 1;
    for (size_t k = 0; k < e->rank; k++) n *= e->shape[k];
    return n;
}
static size_t tensor_bytes(const pln_named *e) { return numel(e) * element_bytes(e); }

static uint8_t *elements(pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? (uint8_t *)pleat_f32(t) : (uint8_t *)pleat_f64(t);
}

/* The bits of element k as the file has them. */
static uint64_t get_bits(const pln_named *e, size_t k) {
    uint32_t b32;
    uint64_t b64;
    if (e->whole) {
        double v = pleat_dtype_of(e->t) == PLEAT_F32 ? (double)pleat_f32(e->t)[k] : pleat_f64(e->t)[k];
        return (uint64_t)(int64_t)v;
    }
    const uint8_t *at = elements(e->t) + k * element_bytes(e);
    if (element_bytes(e) == 8) return memcpy(&b64, at, 8), b64;
    return memcpy(&b32, at, 4), b32;
}

static void put_bits(const pln_named *e, size_t k, uint64_t bits) {
    uint32_t b32 = (uint32_t)bits;
    if (e->whole && pleat_dtype_of(e->fresh) == PLEAT_F32)
        pleat_f32(e->fresh)[k] = (float)(int64_t)bits;
    else if (e->whole)
        pleat_f64(e->fresh)[k] = (double)(int64_t)bits;
    else if (element_bytes(e) == 8)
        memcpy(elements(e->fresh) + 8 * k, &bits, 8);
    else
        memcpy(elements(e->fresh) + 4 * k, &b32, 4);
}

static uint64_t get_little_endian(const uint8_t *b, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++) v |= (uint64_t)b[i] << 8 * i;
    return v;
}

/* Lay the tensors one behind the other. */
static void lay_out(pln_tensors *s) {
    s->bytes = 0;
    for (size_t i = 0; i < s->n; i++) {
        pln_named *e = &s->named[i];
        e->rank = pleat_rank(e->t);
        for (size_t k = 0; k < e->rank; k++) e->shape[k] = pleat_size(e->t, k);
        e->begin = s->bytes;
        e->end = s->bytes += tensor_bytes(e);
    }
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static bool add_number(cJSON *array, size_t v) {
    cJSON *number = cJSON_CreateNumber((double)v);
    bool ok = cJSON_AddItemToArray(array, number);
    if (!ok) cJSON_Delete(number);
    return ok;
}

static bool describe(cJSON *root, const pln_named *e) {
    cJSON *item = cJSON_AddObjectToObject(root, e->name);
    bool ok = cJSON_AddStringToObject(item, "dtype", type_name(e));
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    for (size_t k = 0; k < e->rank; k++) ok = ok && add_number(shape, e->shape[k]);
    cJSON *offsets = cJSON_AddArrayToObject(item, "data_offsets");
    return ok && shape && add_number(offsets, e->begin) && add_number(offsets, e->end);
}

/* NULL without memory; the caller gives it to cJSON_free. */
static char *header_text(const pln_tensors *s) {
    cJSON *root = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(root, METADATA);
    bool ok = cJSON_AddStringToObject(metadata, "format", "pt");
    for (size_t i = 0; i < s->texts && ok; i++)
        ok = cJSON_AddStringToObject(metadata, s->text[i].key, s->text[i].text);
    for (size_t i = 0; i < s->n && ok; i++) ok = describe(root, &s->named[i]);
    char *text = ok ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    return text;
}

static bool write_little_endian(FILE *f, uint64_t v, size_t bytes) {
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++) b[i] = (uint8_t)(v >> 8 * i);
    return fwrite(b, 1, bytes, f) == bytes;
}

static bool write_tensors(const pln_tensors *s, const char *header, FILE *f) {
    size_t length = strlen(header), blanks = (8 - length % 8) % 8; /* so that the elements are aligned */
    bool ok = write_little_endian(f, length + blanks, 8) && fwrite(header, 1, length, f) == length &&
              fwrite("        ", 1, blanks, f) == blanks;
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < numel(&s->named[i]) && ok; k++)
            ok = write_little_endian(f, get_bits(&s->named[i], k), element_bytes(&s->named[i]));
    return ok;
}

pleat_status pln_tensors_write(pln_tensors *s) {
    pleat_nn_file file;
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->named[i].name, METADATA))
            return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, s->op, "the name %s is reserved", METADATA);
    lay_out(s);
    char *header = header_text(s);
    if (!header) return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, s->op, "no memory for the header");
    pleat_status status = pleat_nn_file_create(s->ctx, s->path, &file);
    if (!status && write_tensors(s, header, file.f))
        status = pleat_nn_file_commit(s->ctx, &file);
    else if (!status)
        status = pln_write_failed(s->ctx, s->op, &file);
    cJSON_free(header);
    return status;
}

/* ---- reading: the header ------------------------------------------------------------------------------- */

static pleat_status bad(const pln_tensors *s, const char *what) {
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: %s", s->path, what);
}

/* A string out of the file that fits into a message, and does nothing to the terminal that shows it. */
typedef struct phrase {
    char text[72];
} phrase;

static phrase shown(const char *s) {
    phrase p;
    snprintf(p.text, sizeof p.text, "%s", s);
    for (char *c = p.text; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return p;
}

static pleat_status read_bytes(const pln_tensors *s, void *to, size_t n) {
    if (fread(to, 1, n, s->f) == n) return PLEAT_OK;
    return ferror(s->f) ? pln_read_failed(s->ctx, s->op, s->path)
                        : bad(s, "it became shorter while it was read");
}

/* `text` has length + 1 bytes. cJSON would pass over a NUL byte as if it were a blank, and end a name at one. */
static pleat_status parse(pln_tensors *s, char *text, size_t length) {
    const char *end = text;
    text[length] = 0;
    if (*text != '{') return bad(s, "not a safetensors file: its header does not begin with {");
    if (memchr(text, 0, length) || strstr(text, "\\u0000"))
        return bad(s, "its header contains a NUL character");
    s->root = cJSON_ParseWithLengthOpts(text, length + 1, &end, true);
    if (s->root) return PLEAT_OK;
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op,
                      "%s: its header is not valid JSON from byte %zu on (of %zu)", s->path,
                      (size_t)(end - text), length);
}

/* Leaves s->f at the first element. */
static pleat_status read_header(pln_tensors *s, size_t file_bytes) {
    uint8_t b[8];
    if (file_bytes < sizeof b) return bad(s, "not a safetensors file: it is shorter than 8 bytes");
    pleat_status status = read_bytes(s, b, sizeof b);
    if (status) return status;
    uint64_t length = get_little_endian(b, sizeof b);
    if (length > file_bytes - sizeof b || length > MAX_HEADER)
        return pleat_fail(
            s->ctx, PLEAT_ERR_FORMAT, s->op,
            "%s: not a safetensors file, or truncated: a header of %ju bytes (at most %zu) in a file of %zu",
            s->path, (uintmax_t)length, MAX_HEADER, file_bytes);
    s->bytes = file_bytes - sizeof b - (size_t)length;
    char *text = malloc((size_t)length + 1);
    if (!text)
        return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, s->op, "no memory for a header of %ju bytes",
                          (uintmax_t)length);
    status = read_bytes(s, text, (size_t)length);
    if (!status) status = parse(s, text, (size_t)length);
    free(text);
    return status;
}

/* ---- reading: does the file hold what was asked for? ---------------------------------------------------- */

static pln_named *find_entry(const pln_tensors *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->named[i].name, name)) return &s->named[i];
    return NULL;
}

/* The format allows strings only. */
static bool is_metadata(const cJSON *item) {
    if (!cJSON_IsObject(item)) return false;
    for (const cJSON *c = item->child; c; c = c->next)
        if (!cJSON_IsString(c)) return false;
    return true;
}

/* Give each entry what the file says about it. *unknown becomes the first name that was not asked for. */
static pleat_status match_names(pln_tensors *s, const char **unknown) {
    const cJSON *metadata = NULL;
    for (const cJSON *item = s->root->child; item; item = item->next) {
        bool about = !strcmp(item->string, METADATA);
        pln_named *e = about ? NULL : find_entry(s, item->string);
        if (about && !is_metadata(item)) return bad(s, METADATA " must be an object of strings");
        if (about ? metadata != NULL : e && e->json)
            return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: %s is there twice", s->path,
                              item->string);
        if (about)
            metadata = item;
        else if (e)
            e->json = item;
        else if (!*unknown)
            *unknown = item->string;
    }
    return PLEAT_OK;
}

/* JSON numbers are doubles: from 2^53 on, they no longer tell whole numbers apart. */
static bool is_size(const cJSON *item, size_t *size) {
    if (!cJSON_IsNumber(item)) return false;
    double v = item->valuedouble;
    if (!(v >= 0 && v < 9007199254740992.0) || v != floor(v)) return false;
    *size = (size_t)v;
    return true;
}

/* The tensor's shape as the file has it into e; false if it is none. */
static bool get_shape(pln_named *e, const cJSON *shape) {
    size_t n = 1;
    e->rank = 0;
    for (const cJSON *c = shape->child; c; c = c->next) {
        if (e->rank == PLEAT_MAX_RANK || !is_size(c, &e->shape[e->rank])) return false;
        if (__builtin_mul_overflow(n, e->shape[e->rank++], &n) || n > SIZE_MAX / 8) return false;
    }
    return true;
}

static pleat_status check_shape(const pln_tensors *s, pln_named *e, const cJSON *shape) {
    char file[200] = "[", mine[200];
    if (!get_shape(e, shape) || (!e->t && e->rank != 2))
        return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op,
                          "%s: the shape of %s must be a list of whole numbers, at most %d%s", s->path,
                          e->name, PLEAT_MAX_RANK, e->t ? "" : ", here two");
    bool same = !e->t || e->rank == pleat_rank(e->t);
    size_t used = 1;
    for (size_t k = 0; k < e->rank; k++) {
        same = same && (!e->t || e->shape[k] == pleat_size(e->t, k));
        if (used < sizeof file)
            used += (size_t)snprintf(file + used, sizeof file - used, k ? ",%zu" : "%zu", e->shape[k]);
    }
    if (same) return PLEAT_OK;
    return pleat_fail(s->ctx, PLEAT_ERR_SHAPE, s->op, "%s: %s is %s] in the file and %s in %s", s->path,
                      e->name, file, pleat_shape_text(e->t, mine, sizeof mine), s->whose);
}

static pleat_status check_offsets(const pln_tensors *s, pln_named *e, const cJSON *offsets) {
    const cJSON *begin = offsets->child, *end = begin ? begin->next : NULL;
    if (end && !end->next && is_size(begin, &e->begin) && is_size(end, &e->end) && e->begin <= e->end &&
        e->end <= s->bytes && e->end - e->begin == tensor_bytes(e))
        return PLEAT_OK;
    return pleat_fail(
        s->ctx, PLEAT_ERR_FORMAT, s->op,
        "%s: the data_offsets of %s must be two whole numbers %zu apart, at most %zu (the bytes behind "
        "the header)",
        s->path, e->name, tensor_bytes(e), s->bytes);
}

static pleat_status check_entry(const pln_tensors *s, pln_named *e, const char *unknown) {
    if (!e->json && e->optional) return PLEAT_OK;
    if (!e->json)
        return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: %s is missing%s%s%s%s", s->path, e->name,
                          unknown ? "; " : "", unknown ? s->whose : "", unknown ? " has no " : "",
                          unknown ? shown(unknown).text : "");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(e->json, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(e->json, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(e->json, "data_offsets");
    if (!cJSON_IsObject(e->json) || cJSON_GetArraySize(e->json) != 3 || !cJSON_IsString(type) ||
        !cJSON_IsArray(shape) || !cJSON_IsArray(offsets))
        return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op,
                          "%s: %s must have a dtype, a shape and data_offsets, each once and nothing else",
                          s->path, e->name);
    if (strcmp(type->valuestring, type_name(e)))
        return pleat_fail(s->ctx, PLEAT_ERR_DTYPE, s->op, "%s: %s is %s in the file and %s in %s", s->path,
                          e->name, shown(type->valuestring).text, type_name(e), s->whose);
    pleat_status status = check_shape(s, e, shape);
    return status ? status : check_offsets(s, e, offsets);
}

static int by_place(const void *a, const void *b) {
    const pln_named *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte behind the header must belong to one tensor. Puts them in the order of the file. */
static pleat_status check_places(pln_tensors *s) {
    size_t at = 0;
    qsort(s->named, s->n, sizeof *s->named, by_place);
    for (size_t i = 0; i < s->n; i++) {
        const pln_named *e = &s->named[i];
        if (e->begin != at)
            return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op,
                              "%s: %s begins at byte %zu, but the one before ends at %zu", s->path, e->name,
                              e->begin, at);
        at = e->end;
    }
    if (at == s->bytes) return PLEAT_OK;
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: %zu bytes behind the last tensor belong to none",
                      s->path, s->bytes - at);
}

static pleat_status check_all(pln_tensors *s) {
    const char *unknown = NULL;
    pleat_status status = match_names(s, &unknown);
    for (size_t i = 0; i < s->n && !status; i++) status = check_entry(s, &s->named[i], unknown);
    if (!status && unknown)
        status = pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: %s has no %s", s->path, s->whose,
                            shown(unknown).text);
    return status ? status : check_places(s);
}

/* ---- reading: the elements ------------------------------------------------------------------------------ */

static pleat_status read_fresh(const pln_tensors *s, pln_named *e) {
    if (!e->json) return PLEAT_OK;
    e->fresh = pleat_empty(s->ctx, e->t ? pleat_dtype_of(e->t) : PLEAT_F64, e->rank, e->shape);
    if (pleat_is_poison(e->fresh)) return PLEAT_ERR_MEMORY;
    pleat_status status = PLEAT_OK;
    size_t bytes = element_bytes(e);
    for (size_t k = 0; k < numel(e) && !status; k++) {
        uint8_t b[8];
        status = read_bytes(s, b, bytes);
        if (!status) put_bits(e, k, get_little_endian(b, bytes));
    }
    return status;
}

pleat_status pln_tensors_read(pln_tensors *s) {
    size_t file_bytes;
    pleat_status status = pln_file_size(s->ctx, s->op, s->path, &file_bytes);
    if (status) return status;
    s->f = fopen(s->path, "rb");
    if (!s->f) return pln_read_failed(s->ctx, s->op, s->path);
    for (size_t i = 0; i < s->n; i++) s->named[i].order = i;
    status = read_header(s, file_bytes);
    if (!status) status = check_all(s);
    for (size_t i = 0; i < s->n && !status; i++) status = read_fresh(s, &s->named[i]);
    return status;
}

const char *pln_tensors_text(const pln_tensors *s, const char *key) {
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(s->root, METADATA);
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}

pleat_status pln_tensors_assign(pln_tensors *s) {
    pleat_status status = PLEAT_OK;
    for (size_t i = 0; i < s->n && !status; i++)
        if (s->named[i].t && s->named[i].fresh) status = pleat_assign(s->named[i].t, s->named[i].fresh);
    return status;
}

void pln_tensors_close(pln_tensors *s) {
    if (s->f) fclose(s->f);
    cJSON_Delete(s->root);
    s->f = NULL;
    s->root = NULL;
}
#endif

/* Parameters as a safetensors file: 8 bytes of header length, a JSON header, the elements; all little-endian.
 * The reader takes nothing on trust, and changes no parameter before everything has been read. */
#define _POSIX_C_SOURCE 200809L

#include "file.h"
#include "pleat_config.h"

#ifndef PL_HAVE_CJSON
static const char absent[] = "pleat was built without cJSON; configure it with -Dsafetensors=enabled";

pleat_status pleat_nn_save(const char *path, const pleat_nn_module *net) {
    (void)path;
    return pleat_fail(pleat_nn_ctx(net), PLEAT_ERR_ARGUMENT, "save", "%s", absent);
}

pleat_status pleat_nn_load(const char *path, pleat_nn_module *net) {
    (void)path;
    return pleat_fail(pleat_nn_ctx(net), PLEAT_ERR_ARGUMENT, "load", "%s", absent);
}
#else
#    include <cjson/cJSON.h>
#    include <errno.h>
#    include <math.h>
#    include <stdlib.h>
#    include <string.h>

/* Room for a hundred thousand parameters. The reference implementation allows 100 MB, but parsed JSON takes some thirty
 * times its text, and a hostile file should not cost gigabytes. */
#    define MAX_HEADER ((size_t)16 << 20)
#    define METADATA "__metadata__"

/* ---- the parameters of a network and their places ------------------------------------------------------ */

typedef struct entry {
    char name[256];
    pleat_tensor *t;
    const cJSON *json;   /* what the file says about it */
    size_t begin, end;   /* its bytes, counted from the end of the header */
    pleat_tensor *fresh; /* what was read */
} entry;

typedef struct model {
    pleat_ctx *ctx;
    const char *op, *path;
    size_t n;
    entry *entries;
    size_t bytes; /* of all elements */
    FILE *f;      /* the rest: of a file that is read */
    cJSON *root;
} model;

static size_t element_bytes(const pleat_tensor *t) { return pleat_dtype_of(t) == PLEAT_F32 ? 4 : 8; }
static size_t tensor_bytes(const pleat_tensor *t) { return pleat_numel(t) * element_bytes(t); }
static const char *type_name(const pleat_tensor *t) { return pleat_dtype_of(t) == PLEAT_F32 ? "F32" : "F64"; }

static uint8_t *elements(pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? (uint8_t *)pleat_f32(t) : (uint8_t *)pleat_f64(t);
}

/* The network's parameters in their order, one behind the other. */
static pleat_status list_params(model *m, const pleat_nn_module *net) {
    m->n = pleat_nn_param_count(net);
    m->entries = calloc(m->n + 1, sizeof *m->entries);
    if (!m->entries) return pleat_fail(m->ctx, PLEAT_ERR_MEMORY, m->op, "no memory for %zu names", m->n);
    for (size_t i = 0; i < m->n; i++) {
        entry *e = &m->entries[i];
        e->t = pleat_nn_param(net, i);
        pleat_nn_param_name(net, i, e->name, sizeof e->name);
        if (pleat_nn_find_param(net, e->name) != e->t || !strcmp(e->name, METADATA))
            return pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, m->op,
                              "the parameter name %.64s is reserved or longer than %zu characters", e->name,
                              sizeof e->name - 1);
        e->begin = m->bytes;
        e->end = m->bytes += tensor_bytes(e->t);
    }
    return PLEAT_OK;
}

/* The bits of an element as a number, whatever order this machine keeps its bytes in. */
static uint64_t get_bits(const uint8_t *element, size_t bytes) {
    uint32_t b32;
    uint64_t b64;
    if (bytes == sizeof b64) return memcpy(&b64, element, bytes), b64;
    return memcpy(&b32, element, sizeof b32), b32;
}

static void put_bits(uint8_t *element, uint64_t bits, size_t bytes) {
    uint32_t b32 = (uint32_t)bits;
    memcpy(element, bytes == sizeof b32 ? (void *)&b32 : (void *)&bits, bytes);
}

static uint64_t get_little_endian(const uint8_t *b, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++) v |= (uint64_t)b[i] << 8 * i;
    return v;
}

/* ---- saving -------------------------------------------------------------------------------------------- */

static bool add_number(cJSON *array, size_t v) {
    cJSON *number = cJSON_CreateNumber((double)v);
    bool ok = cJSON_AddItemToArray(array, number);
    if (!ok) cJSON_Delete(number);
    return ok;
}

static bool describe(cJSON *root, const entry *e) {
    cJSON *item = cJSON_AddObjectToObject(root, e->name);
    bool ok = cJSON_AddStringToObject(item, "dtype", type_name(e->t));
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    for (size_t k = 0; k < pleat_rank(e->t); k++) ok = ok && add_number(shape, pleat_size(e->t, k));
    cJSON *offsets = cJSON_AddArrayToObject(item, "data_offsets");
    return ok && shape && add_number(offsets, e->begin) && add_number(offsets, e->end);
}

/* NULL without memory; the caller gives it to cJSON_free. */
static char *header_text(const model *m) {
    cJSON *root = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(root, METADATA);
    bool ok = cJSON_AddStringToObject(metadata, "format", "pt");
    for (size_t i = 0; i < m->n && ok; i++) ok = describe(root, &m->entries[i]);
    char *text = ok ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    return text;
}

static bool write_little_endian(FILE *f, uint64_t v, size_t bytes) {
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++) b[i] = (uint8_t)(v >> 8 * i);
    return fwrite(b, 1, bytes, f) == bytes;
}

static bool write_model(const model *m, const char *header, FILE *f) {
    size_t length = strlen(header), blanks = (8 - length % 8) % 8; /* so that the elements are aligned */
    bool ok = write_little_endian(f, length + blanks, 8) && fwrite(header, 1, length, f) == length &&
              fwrite("        ", 1, blanks, f) == blanks;
    for (size_t i = 0; i < m->n; i++) {
        pleat_tensor *t = m->entries[i].t;
        const uint8_t *from = elements(t);
        size_t bytes = element_bytes(t);
        for (size_t k = 0; k < pleat_numel(t) && ok; k++)
            ok = write_little_endian(f, get_bits(from + k * bytes, bytes), bytes);
    }
    return ok;
}

pleat_status pleat_nn_save(const char *path, const pleat_nn_module *net) {
    model m = {.ctx = pleat_nn_ctx(net), .op = "save", .path = path};
    pleat_nn_file file;
    if (!net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, m.op, "the network is NULL");
    pleat_status status = list_params(&m, net);
    char *header = status ? NULL : header_text(&m);
    if (!status && !header) status = pleat_fail(m.ctx, PLEAT_ERR_MEMORY, m.op, "no memory for the header");
    if (!status) status = pleat_nn_file_create(m.ctx, path, &file);
    if (!status && write_model(&m, header, file.f))
        status = pleat_nn_file_commit(m.ctx, &file);
    else if (!status)
        status = pln_write_failed(m.ctx, m.op, &file);
    cJSON_free(header);
    free(m.entries);
    return status;
}

/* ---- loading: the header ------------------------------------------------------------------------------- */

static pleat_status bad(const model *m, const char *what) {
    return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op, "%s: %s", m->path, what);
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

static pleat_status read_bytes(const model *m, void *to, size_t n) {
    if (fread(to, 1, n, m->f) == n) return PLEAT_OK;
    return ferror(m->f) ? pln_read_failed(m->ctx, m->op, m->path)
                        : bad(m, "it became shorter while it was read");
}

/* `text` has length + 1 bytes. cJSON would pass over a NUL byte as if it were a blank, and end a name at one. */
static pleat_status parse(model *m, char *text, size_t length) {
    const char *end = text;
    text[length] = 0;
    if (*text != '{') return bad(m, "not a safetensors file: its header does not begin with {");
    if (memchr(text, 0, length) || strstr(text, "\\u0000"))
        return bad(m, "its header contains a NUL character");
    m->root = cJSON_ParseWithLengthOpts(text, length + 1, &end, true);
    if (m->root) return PLEAT_OK;
    return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op,
                      "%s: its header is not valid JSON from byte %zu on (of %zu)", m->path,
                      (size_t)(end - text), length);
}

/* Leaves m->f at the first element. */
static pleat_status read_header(model *m, size_t file_bytes) {
    uint8_t b[8];
    if (file_bytes < sizeof b) return bad(m, "not a safetensors file: it is shorter than 8 bytes");
    pleat_status status = read_bytes(m, b, sizeof b);
    if (status) return status;
    uint64_t length = get_little_endian(b, sizeof b);
    if (length > file_bytes - sizeof b || length > MAX_HEADER)
        return pleat_fail(
            m->ctx, PLEAT_ERR_FORMAT, m->op,
            "%s: not a safetensors file, or truncated: a header of %ju bytes (at most %zu) in a file of %zu",
            m->path, (uintmax_t)length, MAX_HEADER, file_bytes);
    m->bytes = file_bytes - sizeof b - (size_t)length;
    char *text = malloc((size_t)length + 1);
    if (!text)
        return pleat_fail(m->ctx, PLEAT_ERR_MEMORY, m->op, "no memory for a header of %ju bytes",
                          (uintmax_t)length);
    status = read_bytes(m, text, (size_t)length);
    if (!status) status = parse(m, text, (size_t)length);
    free(text);
    return status;
}

/* ---- loading: does the file hold this network? ---------------------------------------------------------- */

static entry *find_entry(const model *m, const char *name) {
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->entries[i].name, name)) return &m->entries[i];
    return NULL;
}

/* The format allows strings only. */
static bool is_metadata(const cJSON *item) {
    if (!cJSON_IsObject(item)) return false;
    for (const cJSON *c = item->child; c; c = c->next)
        if (!cJSON_IsString(c)) return false;
    return true;
}

/* Give each entry what the file says about it. *unknown becomes the first name that is not the network's. */
static pleat_status match_names(model *m, const char **unknown) {
    const cJSON *metadata = NULL;
    for (const cJSON *item = m->root->child; item; item = item->next) {
        bool about = !strcmp(item->string, METADATA);
        entry *e = about ? NULL : find_entry(m, item->string);
        if (about && !is_metadata(item)) return bad(m, METADATA " must be an object of strings");
        if (about ? metadata != NULL : e && e->json)
            return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op, "%s: %s is there twice", m->path,
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

static pleat_status check_shape(const model *m, const entry *e, const cJSON *shape) {
    char file[96] = "", net[96];
    size_t used = 0, k = 0, size;
    bool same = true;
    for (const cJSON *c = shape->child; c; c = c->next, k++) {
        if (!is_size(c, &size))
            return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op,
                              "%s: the shape of %s must be a list of whole numbers", m->path, e->name);
        same = same && k < pleat_rank(e->t) && size == pleat_size(e->t, k);
        if (used < sizeof file)
            used += (size_t)snprintf(file + used, sizeof file - used, k ? ",%zu" : "%zu", size);
    }
    if (same && k == pleat_rank(e->t)) return PLEAT_OK;
    return pleat_fail(m->ctx, PLEAT_ERR_SHAPE, m->op, "%s: %s is [%s] in the file and %s in the network",
                      m->path, e->name, file, pleat_shape_text(e->t, net, sizeof net));
}

static pleat_status check_offsets(const model *m, entry *e, const cJSON *offsets) {
    const cJSON *begin = offsets->child, *end = begin ? begin->next : NULL;
    if (end && !end->next && is_size(begin, &e->begin) && is_size(end, &e->end) && e->begin <= e->end &&
        e->end <= m->bytes && e->end - e->begin == tensor_bytes(e->t))
        return PLEAT_OK;
    return pleat_fail(
        m->ctx, PLEAT_ERR_FORMAT, m->op,
        "%s: the data_offsets of %s must be two whole numbers %zu apart, at most %zu (the bytes behind "
        "the header)",
        m->path, e->name, tensor_bytes(e->t), m->bytes);
}

static pleat_status check_entry(const model *m, entry *e, const char *unknown) {
    if (!e->json)
        return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op, "%s: %s is missing%s%s", m->path, e->name,
                          unknown ? "; the network has no " : "", unknown ? shown(unknown).text : "");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(e->json, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(e->json, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(e->json, "data_offsets");
    if (!cJSON_IsObject(e->json) || cJSON_GetArraySize(e->json) != 3 || !cJSON_IsString(type) ||
        !cJSON_IsArray(shape) || !cJSON_IsArray(offsets))
        return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op,
                          "%s: %s must have a dtype, a shape and data_offsets, each once and nothing else",
                          m->path, e->name);
    if (strcmp(type->valuestring, type_name(e->t)))
        return pleat_fail(m->ctx, PLEAT_ERR_DTYPE, m->op, "%s: %s is %s in the file and %s in the network",
                          m->path, e->name, shown(type->valuestring).text, type_name(e->t));
    pleat_status status = check_shape(m, e, shape);
    return status ? status : check_offsets(m, e, offsets);
}

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte behind the header must belong to one parameter. Puts the entries in the order of the file. */
static pleat_status check_places(model *m) {
    size_t at = 0;
    qsort(m->entries, m->n, sizeof *m->entries, by_place);
    for (size_t i = 0; i < m->n; i++) {
        const entry *e = &m->entries[i];
        if (e->begin != at)
            return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op,
                              "%s: %s begins at byte %zu, but the one before ends at %zu", m->path, e->name,
                              e->begin, at);
        at = e->end;
    }
    if (at == m->bytes) return PLEAT_OK;
    return pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op,
                      "%s: %zu bytes behind the last parameter belong to none", m->path, m->bytes - at);
}

static pleat_status check_model(model *m) {
    const char *unknown = NULL;
    pleat_status status = match_names(m, &unknown);
    for (size_t i = 0; i < m->n && !status; i++) status = check_entry(m, &m->entries[i], unknown);
    if (!status && unknown)
        status = pleat_fail(m->ctx, PLEAT_ERR_FORMAT, m->op, "%s: the network has no %s", m->path,
                            shown(unknown).text);
    return status ? status : check_places(m);
}

/* ---- loading: the elements ------------------------------------------------------------------------------ */

static pleat_status read_fresh(const model *m, entry *e) {
    e->fresh = pleat_empty(m->ctx, pleat_dtype_of(e->t), pleat_rank(e->t), pleat_shape(e->t));
    if (pleat_is_poison(e->fresh)) return PLEAT_ERR_MEMORY;
    uint8_t *to = elements(e->fresh);
    size_t bytes = element_bytes(e->fresh);
    pleat_status status = read_bytes(m, to, tensor_bytes(e->fresh));
    for (size_t k = 0; k < pleat_numel(e->fresh) && !status; k++)
        put_bits(to + k * bytes, get_little_endian(to + k * bytes, bytes), bytes);
    return status;
}

static pleat_status read_params(const model *m) {
    pleat_status status = PLEAT_OK;
    pleat_scope scope = pleat_begin(m->ctx);
    for (size_t i = 0; i < m->n && !status; i++) status = read_fresh(m, &m->entries[i]);
    for (size_t i = 0; i < m->n && !status; i++) status = pleat_assign(m->entries[i].t, m->entries[i].fresh);
    pleat_end(scope);
    return status;
}

pleat_status pleat_nn_load(const char *path, pleat_nn_module *net) {
    model m = {.ctx = pleat_nn_ctx(net), .op = "load", .path = path};
    size_t file_bytes;
    if (!net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, m.op, "the network is NULL");
    pleat_status status = pln_file_size(m.ctx, m.op, path, &file_bytes);
    if (status) return status;
    m.f = fopen(path, "rb");
    if (!m.f) return pln_read_failed(m.ctx, m.op, path);
    status = list_params(&m, net);
    if (!status) status = read_header(&m, file_bytes);
    if (!status) status = check_model(&m);
    if (!status) status = read_params(&m);
    fclose(m.f);
    cJSON_Delete(m.root);
    free(m.entries);
    return status;
}
#endif

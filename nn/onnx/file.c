/* The bytes of an ONNX file, and of the files beside it that hold tensors, as the messages of onnx.proto. */
#define _XOPEN_SOURCE 700 /* fseeko, realpath */

#include "files/file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/messages.h"

bool pln_onnx_wrong(const pln_onnx_model *m, pleat_status code, const char *format, ...) {
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pleat_fail(m->ctx, code, "onnx_load", "%s: %s", m->path, text);
    return false;
}

/* ---- memory that lives as long as the model ------------------------------------------------------------ */

struct pln_onnx_block {
    pln_onnx_block *next;
    max_align_t data[];
};

/* A message of two bytes becomes a struct of a hundred, so memory has a bound that a file of honest content does not meet. */
enum { ROOM_PER_BYTE = 64, ROOM = 1 << 20 };

bool pln_onnx_may_take(pln_onnx_model *m, size_t bytes) {
    enum { OF_MALLOC = 16 }; /* what an allocator needs itself */
    if (bytes > m->room || m->room - bytes < OF_MALLOC) return false;
    m->room -= bytes + OF_MALLOC;
    return true;
}

void *pln_onnx_take(pln_onnx_model *m, size_t count, size_t bytes) {
    size_t all;
    pln_onnx_block *block = NULL;
    if (!__builtin_mul_overflow(count, bytes, &all) && !__builtin_add_overflow(all, sizeof *block, &all) &&
        pln_onnx_may_take(m, all))
        block = calloc(1, all);
    if (!block) {
        pln_onnx_wrong(m, PLEAT_ERR_MEMORY, "no memory for %zu times %zu bytes", count, bytes);
        return NULL;
    }
    block->next = m->memory;
    m->memory = block;
    return block->data;
}

void pln_onnx_drop_attributes(pln_onnx_node *n) {
    for (size_t k = 0; k < n->attrs; k++) pleat_drop(n->attr[k].t.t);
    n->attrs = 0;
}

void pln_onnx_free(pln_onnx_model *m) {
    if (!m) return;
    for (size_t i = 0; i < m->slots; i++)
        if (!m->slot[i].owned) pleat_drop(m->slot[i].v.t);
    for (size_t i = 0; i < m->nodes; i++) pln_onnx_drop_attributes(&m->node[i]);
    while (m->memory) {
        pln_onnx_block *next = m->memory->next;
        free(m->memory);
        m->memory = next;
    }
    free(m);
}

/* ---- the parser's memory: it is counted, and given back behind it --------------------------------------- */

typedef struct room {
    pln_onnx_model *m;
    bool full;
} room;

static void *room_alloc(void *user, size_t bytes) {
    room *r = user;
    void *p = pln_onnx_may_take(r->m, bytes) ? malloc(bytes ? bytes : 1) : NULL;
    if (!p) r->full = true;
    return p;
}

static void room_free(void *user, void *p) {
    (void)user;
    free(p);
}

static bool parse(pln_onnx_model *m, const uint8_t *data) {
    room r = {m, false};
    ProtobufCAllocator a = {room_alloc, room_free, &r};
    size_t before = m->room;
    PlnOnnx__Model *p = pln_onnx__model__unpack(&a, m->bytes, data);
    size_t taken = before - m->room;
    if (!p && r.full)
        return pln_onnx_wrong(m, PLEAT_ERR_MEMORY,
                              "no memory: its messages need more than %d bytes for each of the file's %zu",
                              ROOM_PER_BYTE, m->bytes);
    if (!p)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT,
                              "it is no ONNX model: the bytes are no message of protobuf");
    bool good = pln_onnx_build(m, p);
    pln_onnx__model__free_unpacked(p, &a);
    m->room += taken;
    return good;
}

/* `bytes` bytes from `at` of a file of that size or more; the caller frees them. NULL after an error. */
static unsigned char *read_part(pln_onnx_model *m, const char *path, size_t at, size_t bytes) {
    unsigned char *data = malloc(bytes ? bytes : 1);
    if (!data) return pln_onnx_wrong(m, PLEAT_ERR_MEMORY, "no memory for %zu bytes", bytes), NULL;
    FILE *f = pln_open(path);
    if (f && !fseeko(f, (off_t)at, SEEK_SET) && pln_read(f, data, bytes) == bytes) return fclose(f), data;
    if (!f || ferror(f))
        pln_read_failed(m->ctx, "onnx_load", path);
    else
        pln_onnx_wrong(m, PLEAT_ERR_IO, "it became shorter while it was read");
    if (f) fclose(f);
    free(data);
    return NULL;
}

bool pln_onnx_read_file(pln_onnx_model *m) {
    if (pln_file_size(m->ctx, "onnx_load", m->path, &m->bytes)) return false;
    if (__builtin_mul_overflow(m->bytes, (size_t)ROOM_PER_BYTE, &m->room) ||
        __builtin_add_overflow(m->room, (size_t)ROOM, &m->room))
        m->room = SIZE_MAX;
    m->room -= m->bytes;
    unsigned char *data = read_part(m, m->path, 0, m->bytes);
    bool good = data && parse(m, data);
    free(data);
    return good;
}

/* ---- tensors in files of their own ----------------------------------------------------------------------- */

static const char *entry(const PlnOnnx__Tensor *p, const char *key) {
    for (size_t i = 0; i < p->n_external_data; i++)
        if (p->external_data[i]->key && !strcmp(p->external_data[i]->key, key))
            return p->external_data[i]->value;
    return NULL;
}

/* A decimal number without sign; false if the text is none, or too large. */
static bool read_size(const char *text, size_t *out) {
    *out = 0;
    for (const char *c = text; *c; c++)
        if (*c < '0' || *c > '9' || __builtin_mul_overflow(*out, (size_t)10, out) ||
            __builtin_add_overflow(*out, (size_t)(*c - '0'), out))
            return false;
    return *text != 0;
}

/* Does the path stay in the model's folder? */
static bool stays_inside(const char *path) {
    if (*path == '/' || !*path) return false;
    for (const char *c = path; c; c = strchr(c, '/')) {
        c += *c == '/';
        if (!strncmp(c, "..", 2) && (!c[2] || c[2] == '/')) return false;
    }
    return true;
}

/* Where links on the way lead; the caller frees it. NULL after an error. */
static char *true_path(pln_onnx_model *m, const char *path) {
    char *true_one = realpath(path, NULL);
    if (!true_one) pln_read_failed(m->ctx, "onnx_load", path);
    return true_one;
}

/* Is the file in the folder of the model? Both are true paths. */
static bool is_beside(const char *model, const char *file) {
    return !strncmp(model, file, (size_t)(strrchr(model, '/') - model) + 1);
}

struct pln_onnx_file {
    pln_onnx_file *next;
    const char *path;
    size_t left; /* bytes that tensors have not taken */
};

/* Each byte of a file belongs to one tensor, so that many tensors cannot make much of a small file. */
static bool take_from(pln_onnx_model *m, const char *path, size_t size, size_t bytes) {
    pln_onnx_file *f = m->files;
    while (f && strcmp(f->path, path)) f = f->next;
    if (!f) {
        f = pln_onnx_take(m, 1, sizeof *f + strlen(path) + 1);
        if (!f) return false;
        *f = (pln_onnx_file){m->files, strcpy((char *)(f + 1), path), size};
        m->files = f;
        /* its bytes, and they as a tensor, which may be as many again for each of bool */
        if (__builtin_mul_overflow(size, (size_t)(1 + sizeof(double)), &size) ||
            __builtin_add_overflow(m->room, size, &m->room))
            m->room = SIZE_MAX;
    }
    if (bytes > f->left)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "the tensors in %.200s have more bytes than it has", path);
    f->left -= bytes;
    return true;
}

/* The path of a file in the folder of the model. */
static char *beside(pln_onnx_model *m, const char *name) {
    const char *slash = strrchr(m->path, '/');
    size_t folder = slash ? (size_t)(slash - m->path) + 1 : 0, n = strlen(name);
    char *path = pln_onnx_take(m, folder + n + 1, 1);
    if (!path) return NULL;
    memcpy(path, m->path, folder);
    memcpy(path + folder, name, n);
    return path;
}

/* The part of the file at its true path. */
static unsigned char *read_external(pln_onnx_model *m, const PlnOnnx__Tensor *p, const char *what,
                                    const char *path, size_t bytes) {
    const char *offset = entry(p, "offset"), *length = entry(p, "length");
    size_t at = 0, given = bytes, size, end;
    if ((offset && !read_size(offset, &at)) || (length && !read_size(length, &given)))
        pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s: external data at offset '%.30s', length '%.30s': no sizes",
                       what, pln_shown(offset ? offset : "").text, pln_shown(length ? length : "").text);
    else if (given != bytes)
        pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s: external data of %zu bytes; its shape needs %zu", what,
                       given, bytes);
    else if (pln_file_size(m->ctx, "onnx_load", path, &size))
        return NULL;
    else if (__builtin_add_overflow(at, bytes, &end) || end > size)
        pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s: external data from %zu, %zu bytes; its file has %zu", what,
                       at, bytes, size);
    else if (take_from(m, path, size, bytes))
        return read_part(m, path, at, bytes);
    return NULL;
}

unsigned char *pln_onnx_external(pln_onnx_model *m, const PlnOnnx__Tensor *p, const char *what,
                                 size_t bytes) {
    const char *location = entry(p, "location");
    bool inside = location && stays_inside(location);
    char *path = inside ? beside(m, location) : NULL, *model = path ? true_path(m, m->path) : NULL;
    char *file = model ? true_path(m, path) : NULL;
    unsigned char *data = NULL;
    if (!inside || (file && !is_beside(model, file)))
        pln_onnx_wrong(m, PLEAT_ERR_FORMAT,
                       "%s: external data in '%.80s', which is not in the model's folder", what,
                       pln_shown(location ? location : "").text);
    else if (file)
        data = read_external(m, p, what, file, bytes);
    free(file), free(model);
    return data;
}

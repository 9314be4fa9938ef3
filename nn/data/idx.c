/* The IDX format of MNIST and Fashion-MNIST: two zero bytes, element type, rank, big-endian sizes, elements.
 * Packed files are recognised by their content. The sizes in a header are checked against the length of the
 * file. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "pleat_config.h"
#ifdef PL_HAVE_ZLIB
#    include <zlib.h>
#endif

#define OP "read_idx"

enum { UNSIGNED_BYTE = 0x08, CHUNK = 1 << 20, MAX_RANK = 3 };

typedef struct source {
    pleat_ctx *ctx;
    const char *path;
    size_t file_bytes;
    bool packed; /* gzip: file_bytes is not the length of the content */
#ifdef PL_HAVE_ZLIB
    gzFile f;
#else
    FILE *f;
#endif
} source;

static pleat_status bad(const source *s, const char *what) {
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, OP, "%s: %s", s->path, what);
}

/* Open; read up to n bytes; was a short read an error, and not the end of the file? */
#ifdef PL_HAVE_ZLIB
static bool source_open(source *s) {
    do s->f = gzopen(s->path, "rb");
    while (!s->f && errno == EINTR);
    if (s->f) s->packed = !gzdirect(s->f);
    return s->f;
}

static size_t source_read(source *s, void *to, size_t n) {
    size_t got = 0;
    while (got < n) {
        size_t left = n - got;
        int k = gzread(s->f, (char *)to + got, (unsigned)(left < CHUNK ? left : CHUNK));
        if (k <= 0) break;
        got += (size_t)k;
    }
    return got;
}

static pleat_status source_check(source *s) {
    int code;
    gzerror(s->f, &code);
    if (code == Z_OK || code == Z_STREAM_END) return PLEAT_OK;
    if (code == Z_MEM_ERROR)
        return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, OP, "%s: no memory to unpack it", s->path);
    if (code == Z_ERRNO) return pln_read_failed(s->ctx, OP, s->path);
    return bad(s, code == Z_BUF_ERROR ? "the gzip data is truncated" : "the gzip data is corrupt");
}

static void source_close(source *s) { gzclose(s->f); }
#else
static bool source_open(source *s) {
    s->f = pln_open(s->path);
    return s->f;
}

static size_t source_read(source *s, void *to, size_t n) { return pln_read(s->f, to, n); }

static pleat_status source_check(source *s) {
    return ferror(s->f) ? pln_read_failed(s->ctx, OP, s->path) : PLEAT_OK;
}

static void source_close(source *s) { fclose(s->f); }
#endif

static const char *magic_error(const uint8_t m[4], size_t rank) {
#ifndef PL_HAVE_ZLIB
    if (m[0] == 0x1f && m[1] == 0x8b) return "it is packed and pleat was built without zlib (-Dzlib=enabled)";
#endif
    if (m[0] || m[1]) return "not an IDX file";
    if (m[2] != UNSIGNED_BYTE) return "its elements are not unsigned bytes";
    if (m[3] != rank) return rank == 1 ? "not a file of labels" : "not a file of images";
    return NULL;
}

static pleat_status read_header(source *s, size_t rank, size_t *sizes) {
    uint8_t h[4 + 4 * MAX_RANK] = {0};
    size_t got = source_read(s, h, 4 + 4 * rank);
    const char *wrong = got < 4 ? NULL : magic_error(h, rank);
    if (wrong)
        return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, OP,
                          "%s: %s: it begins with %02x %02x %02x %02x, and IDX %s with 00 00 08 %02zx",
                          s->path, wrong, h[0], h[1], h[2], h[3], rank == 1 ? "labels" : "images", rank);
    if (got < 4 + 4 * rank) {
        pleat_status status = source_check(s);
        return status ? status : bad(s, "truncated: it ends within the header of an IDX file");
    }
    for (size_t k = 0; k < rank; k++) {
        const uint8_t *b = h + 4 + 4 * k;
        sizes[k] = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
    }
    return PLEAT_OK;
}

/* The number of bytes that must follow the header. */
static pleat_status body_bytes(const source *s, size_t rank, const size_t *sizes, size_t *bytes) {
    size_t whole;
    bool overflow = false;
    *bytes = 1;
    for (size_t k = 0; k < rank; k++) overflow |= __builtin_mul_overflow(*bytes, sizes[k], bytes);
    overflow |= __builtin_add_overflow(*bytes, 4 + 4 * rank, &whole);
    if (overflow) return bad(s, "the sizes in its header multiply to more than any file can hold");
    if (*bytes == 0) return bad(s, sizes[0] ? "its images have size 0" : "it is empty: its count is 0");
    if (s->packed || s->file_bytes == whole) return PLEAT_OK;
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, OP, "%s: it is %zu bytes long, but its header says %zu",
                      s->path, s->file_bytes, whole);
}

/* The elements, or fewer if the file ends early; NULL if memory is short. The length of a packed file is
 * known at its end only, so the memory grows with the data. */
static uint8_t *read_body(source *s, size_t bytes, size_t *got) {
    size_t room = s->packed && bytes > CHUNK ? CHUNK : bytes;
    uint8_t *body = malloc(room);
    *got = 0;
    while (body) {
        *got += source_read(s, body + *got, room - *got);
        if (*got < room || room == bytes) break;
        room = room > bytes / 2 ? bytes : 2 * room;
        uint8_t *larger = realloc(body, room);
        if (!larger) free(body);
        body = larger;
    }
    return body;
}

/* Is this the end of the file? For a packed file this makes zlib verify the checksum. */
static pleat_status check_end(source *s, size_t bytes, size_t got) {
    uint8_t extra;
    size_t more = got == bytes ? source_read(s, &extra, 1) : 0;
    if (more) return bad(s, "bytes follow behind the elements that its header announces");
    pleat_status status = source_check(s);
    if (status || got == bytes) return status;
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, OP,
                      "%s: truncated: %zu bytes of elements, but its header says %zu", s->path, got, bytes);
}

static pleat_status read_open(source *s, size_t rank, size_t *sizes, uint8_t **out) {
    size_t bytes, got;
    pleat_status status = read_header(s, rank, sizes);
    if (!status) status = body_bytes(s, rank, sizes, &bytes);
    if (status) return status;
    uint8_t *body = read_body(s, bytes, &got);
    if (!body) return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, OP, "%s: no memory for %zu bytes", s->path, bytes);
    status = check_end(s, bytes, got);
    if (status)
        free(body);
    else
        *out = body;
    return status;
}

/* Read the file's sizes[rank] and its elements, which the caller frees. */
static pleat_status read_elements(pleat_ctx *ctx, const char *path, size_t rank, size_t *sizes,
                                  uint8_t **out) {
    source s = {.ctx = ctx, .path = path};
    pleat_status status = pln_file_size(ctx, OP, path, &s.file_bytes);
    if (status) return status;
    if (!source_open(&s)) return pln_read_failed(ctx, OP, path);
    status = read_open(&s, rank, sizes, out);
    source_close(&s);
    return status;
}

pleat_status pleat_nn_read_idx(pleat_ctx *ctx, const char *images_path, const char *labels_path,
                               pleat_nn_images *out) {
    size_t sizes[3], labels;
    *out = (pleat_nn_images){0};
    pleat_status status = read_elements(ctx, images_path, 3, sizes, &out->pixels);
    if (status) return status;
    out->count = sizes[0], out->C = 1, out->H = sizes[1], out->W = sizes[2];
    if (!labels_path) return PLEAT_OK;
    status = read_elements(ctx, labels_path, 1, &labels, &out->labels);
    if (!status && labels != out->count)
        status = pleat_fail(ctx, PLEAT_ERR_FORMAT, OP, "%s holds %zu labels, but %s holds %zu images",
                            labels_path, labels, images_path, out->count);
    if (status) {
        pleat_nn_images_free(out);
        return status;
    }
    for (size_t i = 0; i < out->count; i++)
        if (out->labels[i] >= out->classes) out->classes = (size_t)out->labels[i] + 1;
    return PLEAT_OK;
}

/* NumPy's array files: a magic string, a header with the text of a Python dict, the elements. The reader
 * parses exactly the dicts of arrays of numbers, and checks their sizes against the length of the data. */
#define _POSIX_C_SOURCE 200809L

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "elements.h"
#include "files/file.h"
#include "files/npy.h"

#define READ "read_npy"
#define WRITE "write_npy"

static const char magic[] = "\x93NUMPY"; /* followed by two bytes: the version */

/* A real header has about a hundred bytes, then padding. The elements begin at a multiple of ALIGNMENT. */
enum { MAGIC = sizeof magic - 1, LONGEST_HEADER = 1 << 20, CHUNK = 1 << 20, ALIGNMENT = 64 };

static size_t element_bytes(pleat_dtype dtype) { return dtype == PLEAT_F32 ? 4 : 8; }

static bool machine_is_big_endian(void) {
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 0;
}

/* Reverse the bytes of each element. */
static void swap_elements(uint8_t *at, size_t bytes, size_t element) {
    for (const uint8_t *end = at + bytes; at < end; at += element)
        for (size_t i = 0; i < element / 2; i++) {
            uint8_t b = at[i];
            at[i] = at[element - 1 - i];
            at[element - 1 - i] = b;
        }
}

/* ---- reading: bytes ------------------------------------------------------------------------------------ */

typedef struct source {
    pleat_ctx *ctx;
    const char *op, *name; /* for messages */
    pln_stream in;
    bool regular; /* file_bytes is known; the length of a stream is known at its end only */
    size_t file_bytes, used;
    uint8_t *body; /* the elements, if they were read from a stream */
} source;

static pleat_status bad(const source *s, const char *what) {
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: %s", s->name, what);
}

/* Report why the stream failed; PLEAT_OK if it did not. */
static pleat_status failed(const source *s) {
    const char *why;
    pleat_status status = s->in.failure(s->in.user, &why);
    return status ? pleat_fail(s->ctx, status, s->op, "cannot read %s: %s", s->name, why) : PLEAT_OK;
}

/* A short read is the error `wrong`, unless the stream reports another reason. */
static pleat_status read_bytes(source *s, void *to, size_t n, const char *wrong) {
    if (s->in.read(s->in.user, to, n) == n) {
        s->used += n;
        return PLEAT_OK;
    }
    pleat_status status = failed(s);
    return status ? status : bad(s, wrong);
}

/* Read all elements of a stream. The memory grows with the data, so a false header reserves none. */
static pleat_status read_stream(source *s, size_t bytes) {
    size_t got = 0;
    pleat_status status = PLEAT_OK;
    while (got < bytes && !status) {
        size_t room = got ? 2 * got : CHUNK;
        if (room > bytes) room = bytes;
        uint8_t *larger = realloc(s->body, room);
        if (!larger)
            return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, s->op, "%s: no memory for %zu bytes", s->name, room);
        s->body = larger;
        status = read_bytes(s, s->body + got, room - got, "truncated: fewer elements than its header says");
        got = room;
    }
    uint8_t extra;
    if (!status && s->in.read(s->in.user, &extra, 1))
        return bad(s, "bytes follow behind the elements that its header announces");
    return status ? status : failed(s);
}

/* ---- reading: the header ------------------------------------------------------------------------------- */

typedef struct header {
    const source *s;
    const char *at;    /* the parser's position */
    unsigned seen;     /* keys, as bits */
    char kind;         /* of the elements: 'f', 'i', 'u' or 'b', */
    size_t element;    /* and their bytes */
    pleat_dtype dtype; /* of the tensor */
    bool swapped, fortran;
    size_t rank, shape[PLEAT_MAX_RANK];
    size_t bytes; /* of all elements */
} header;

typedef struct word {
    const char *text;
    int length;
} word;

static bool word_is(word w, const char *text) {
    return (size_t)w.length == strlen(text) && !memcmp(w.text, text, strlen(text));
}

/* The next character that is not a space; 0 at the end. */
static char next(header *h) {
    h->at += strspn(h->at, " ");
    return *h->at;
}

static bool take(header *h, char c) {
    if (next(h) != c) return false;
    h->at++;
    return true;
}

static bool take_string(header *h, word *w) {
    char quote = next(h);
    const char *end = quote == '\'' || quote == '"' ? strchr(h->at + 1, quote) : NULL;
    if (!end) return false;
    *w = (word){h->at + 1, (int)(end - h->at - 1)};
    h->at = end + 1;
    return true;
}

static pleat_status expected(header *h, const char *what) {
    const char *place = next(h) ? h->at : "the end";
    return pleat_fail(h->s->ctx, PLEAT_ERR_FORMAT, h->s->op,
                      "%s: its header must have %s where it has: %.24s", h->s->name, what, place);
}

/* A letter for the byte order and the type: '<f4'. */
static pleat_status read_descr(header *h) {
    bool structure = next(h) == '[' || *h->at == '(';
    word w = {h->at, (int)strlen(h->at)};
    if (!structure && !take_string(h, &w)) return expected(h, "a type in quotes");
    word type = w;
    char order = '=';
    if (w.length == 3 && strchr("<>=|", *w.text)) order = *w.text, type = (word){w.text + 1, 2};
    h->swapped = order == (machine_is_big_endian() ? '<' : '>');
    static const char *const types[] = {"f4", "f8", "b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!word_is(type, types[i])) continue;
        h->kind = types[i][0];
        h->element = (size_t)(types[i][1] - '0');
        h->dtype = h->element < 4 || i == 0 ? PLEAT_F32 : PLEAT_F64;
        return PLEAT_OK;
    }
    return pleat_fail(
        h->s->ctx, PLEAT_ERR_DTYPE, h->s->op,
        "%s: the type of its elements is %.*s; it must be f4, f8, b1, or i or u with 1 to 8 bytes",
        h->s->name, w.length < 24 ? w.length : 24, w.text);
}

static pleat_status read_order(header *h) {
    h->fortran = next(h) == 'T';
    const char *value = h->fortran ? "True" : "False";
    if (strncmp(h->at, value, strlen(value))) return expected(h, "True or False");
    h->at += strlen(value);
    return PLEAT_OK;
}

/* As in Python, a single size needs a comma, since (3) is a number. A size that overflows becomes the largest
 * number, which count_bytes refuses. */
static pleat_status read_shape(header *h) {
    if (!take(h, '(')) return expected(h, "a tuple of sizes");
    while (next(h) != ')') {
        char *end;
        if (!isdigit((unsigned char)*h->at) || (*h->at == '0' && isdigit((unsigned char)h->at[1])))
            return expected(h, "a size or )");
        if (h->rank == PLEAT_MAX_RANK)
            return pleat_fail(h->s->ctx, PLEAT_ERR_FORMAT, h->s->op, "%s: it has more than %d axes",
                              h->s->name, PLEAT_MAX_RANK);
        h->shape[h->rank++] = strtoul(h->at, &end, 10);
        h->at = end;
        if (!take(h, ',') && (h->rank == 1 || next(h) != ')')) return expected(h, "a comma behind a size");
    }
    h->at++;
    return PLEAT_OK;
}

static pleat_status read_pair(header *h) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    size_t k = 0;
    word w;
    if (!take_string(h, &w)) return expected(h, "a key in quotes");
    while (k < 3 && !word_is(w, keys[k])) k++;
    if (k == 3 || h->seen >> k & 1)
        return pleat_fail(h->s->ctx, PLEAT_ERR_FORMAT, h->s->op,
                          "%s: its header has the key %.*s%s; it must have descr, fortran_order and shape",
                          h->s->name, w.length < 24 ? w.length : 24, w.text, k == 3 ? "" : " twice");
    h->seen |= 1u << k;
    if (!take(h, ':')) return expected(h, "a colon");
    return k == 0 ? read_descr(h) : k == 1 ? read_order(h) : read_shape(h);
}

/* The product of the sizes other than 0 must not overflow, also if one of them is 0: the strides must fit. */
static pleat_status count_bytes(header *h) {
    size_t fits = h->element;
    bool overflow = false, empty = false;
    for (size_t k = 0; k < h->rank; k++) {
        empty = empty || h->shape[k] == 0;
        overflow |= __builtin_mul_overflow(fits, h->shape[k] ? h->shape[k] : 1, &fits);
    }
    if (overflow || fits > PTRDIFF_MAX / 2)
        return bad(h->s, "the sizes in its header multiply to more than any file can hold");
    h->bytes = empty ? 0 : fits;
    return PLEAT_OK;
}

static pleat_status parse(header *h) {
    pleat_status status = PLEAT_OK;
    if (!take(h, '{')) return expected(h, "a {");
    while (next(h) != '}' && !status) {
        status = read_pair(h);
        if (!status && !take(h, ',') && next(h) != '}') status = expected(h, "a comma or }");
    }
    if (status) return status;
    h->at++;
    if (next(h)) return expected(h, "nothing behind the }");
    if (h->seen != 7) return bad(h->s, "its header must have the keys descr, fortran_order and shape");
    return count_bytes(h);
}

/* White space becomes spaces. Characters that a message cannot show become '?', which no valid header
 * contains. */
static void make_printable(char *text, size_t length) {
    for (char *c = text; c < text + length; c++)
        if (*c < ' ' || *c > '~') *c = *c && strchr("\t\n\f\r", *c) ? ' ' : '?';
    text[length] = 0;
}

/* The length of the header's text. */
static pleat_status read_preamble(source *s, size_t *length) {
    static const char short_header[] = "truncated: it ends within its header";
    uint8_t b[MAGIC + 2 + 4];
    pleat_status status = read_bytes(s, b, MAGIC, "not a .npy file: it is too short");
    if (!status && !memcmp(b, "PK\003\004", 4))
        status = bad(s, "not a .npy file: it is a zip archive, as .npz files and PyTorch's are");
    else if (!status && memcmp(b, magic, MAGIC))
        status = bad(s, "not a .npy file: it does not begin with \\x93NUMPY");
    if (!status) status = read_bytes(s, b + MAGIC, 2, short_header);
    if (status) return status;
    uint8_t major = b[MAGIC], minor = b[MAGIC + 1], *at = b + MAGIC + 2;
    if (major < 1 || major > 3 || minor)
        return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: version %d.%d; it must be 1.0, 2.0 or 3.0",
                          s->name, major, minor);
    status = read_bytes(s, at, major == 1 ? 2 : 4, short_header);
    if (status) return status;
    *length = (size_t)at[1] << 8 | at[0];
    if (major > 1) *length |= (size_t)at[3] << 24 | (size_t)at[2] << 16;
    if (*length <= LONGEST_HEADER) return PLEAT_OK;
    return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: a header of %zu bytes; it must have at most %d",
                      s->name, *length, LONGEST_HEADER);
}

static pleat_status read_header(source *s, header *h) {
    size_t length = 0;
    pleat_status status = read_preamble(s, &length);
    if (status) return status;
    char *text = malloc(length + 1);
    if (!text) return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, s->op, "%s: no memory for its header", s->name);
    *h = (header){.s = s, .at = text};
    status = read_bytes(s, text, length, "truncated: it ends within its header");
    make_printable(text, status ? 0 : length);
    if (!status) status = parse(h);
    free(text);
    return status;
}

/* ---- reading: the elements ------------------------------------------------------------------------------ */

/* The whole number at `at`; false if a double cannot hold it. */
static bool whole_number(const header *h, const uint8_t *at, double *v) {
    uint64_t bits = 0, most = (uint64_t)1 << 53;
    bool big = machine_is_big_endian() != h->swapped;
    for (size_t i = 0; i < h->element; i++) bits = bits << 8 | at[big ? i : h->element - 1 - i];
    bool negative = h->kind == 'i' && bits >> (8 * h->element - 1);
    if (negative) bits = (h->element < 8 ? (uint64_t)1 << 8 * h->element : 0) - bits; /* its absolute value */
    *v = negative ? -(double)bits : (double)bits;
    return bits <= most;
}

static pleat_status fill_whole(source *s, const header *h, pleat_tensor *t) {
    size_t n = pleat_numel(t);
    void *to = pleat_write_now(t, s->op);
    for (size_t i = 0; i < n; i++) {
        double v;
        if (!whole_number(h, s->body + i * h->element, &v))
            return pleat_fail(s->ctx, PLEAT_ERR_DTYPE, s->op,
                              "%s: element %zu is beyond 2^53, where f64 no longer tells whole numbers apart",
                              s->name, i);
        if (h->dtype == PLEAT_F32)
            ((float *)to)[i] = (float)v;
        else
            ((double *)to)[i] = v;
    }
    return PLEAT_OK;
}

/* Read the elements, in the order of the file, into t, which has the same number. */
static pleat_status fill(source *s, const header *h, pleat_tensor *t) {
    if (pleat_is_poison(t)) return PLEAT_ERR_MEMORY;
    if (h->kind != 'f') return fill_whole(s, h, t);
    uint8_t *to = pleat_write_now(t, s->op);
    pleat_status status = PLEAT_OK;
    if (s->body)
        memcpy(to, s->body, h->bytes);
    else
        status = read_bytes(s, to, h->bytes, "it became shorter while it was read");
    if (h->swapped && !status) swap_elements(to, h->bytes, h->element);
    return status;
}

/* An array in Fortran order is its transpose in C order. */
static pleat_status fill_transposed(source *s, const header *h, pleat_tensor *t) {
    size_t shape[PLEAT_MAX_RANK], order[PLEAT_MAX_RANK];
    if (pleat_is_poison(t)) return PLEAT_ERR_MEMORY;
    for (size_t k = 0; k < h->rank; k++) {
        order[k] = h->rank - 1 - k;
        shape[k] = h->shape[order[k]];
    }
    pleat_scope scope = pleat_begin(s->ctx);
    pleat_tensor *transpose = pleat_empty(s->ctx, h->dtype, h->rank, shape);
    pleat_status status = fill(s, h, transpose);
    if (!status) status = pleat_assign(t, pleat_permute(transpose, order));
    pleat_end(scope);
    return status;
}

static pleat_status read_array(source *s, pleat_tensor **out) {
    header h;
    pleat_status status = read_header(s, &h);
    if (status) return status;
    if (s->regular && s->file_bytes - s->used != h.bytes)
        return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op,
                          "%s: it is %zu bytes long, but its header says %zu", s->name, s->file_bytes,
                          s->used + h.bytes);
    if (!s->regular || h.kind != 'f') status = read_stream(s, h.bytes);
    if (status) return status;
    pleat_tensor *t = pleat_empty(s->ctx, h.dtype, h.rank, h.shape);
    status = h.fortran && h.rank > 1 ? fill_transposed(s, &h, t) : fill(s, &h, t);
    if (status)
        pleat_drop(t);
    else
        *out = t;
    return status;
}

static pleat_tensor *read_source(source *s) {
    pleat_tensor *t = pleat_poison(s->ctx);
    read_array(s, &t);
    free(s->body);
    return t;
}

pleat_tensor *pln_read_npy(pleat_ctx *ctx, const char *op, const char *name, pln_stream in) {
    return read_source(&(source){.ctx = ctx, .op = op, .name = name, .in = in});
}

/* ---- reading: files -------------------------------------------------------------------------------------- */

static size_t file_read(void *f, void *to, size_t n) { return pln_read(f, to, n); }
static pleat_status file_failure(void *f, const char **why) {
    *why = strerror(errno);
    return ferror((FILE *)f) ? pln_status_of_errno() : PLEAT_OK;
}

pleat_tensor *pleat_nn_read_npy(pleat_ctx *ctx, const char *path) {
    if (path && !strcmp(path, "-"))
        return pln_read_npy(ctx, READ, "standard input", (pln_stream){file_read, file_failure, stdin});
    source s = {.ctx = ctx, .op = READ, .name = path, .regular = true};
    if (pln_file_size(ctx, READ, path, &s.file_bytes)) return pleat_poison(ctx);
    FILE *f = pln_open(path);
    if (!f) return pln_read_failed(ctx, READ, path), pleat_poison(ctx);
    s.in = (pln_stream){file_read, file_failure, f};
    pleat_tensor *t = read_source(&s);
    fclose(f);
    return t;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

/* Write everything before the elements to text[320], which has room for eight sizes of twenty digits. Returns
 * its length. */
static size_t make_header(const pleat_tensor *t, char *text) {
    size_t rank = pleat_rank(t), room = 320, used = MAGIC + 4;
    used +=
        (size_t)snprintf(text + used, room - used, "{'descr': '<f%zu', 'fortran_order': False, 'shape': (",
                         element_bytes(pleat_dtype_of(t)));
    for (size_t k = 0; k < rank; k++)
        used += (size_t)snprintf(text + used, room - used, k ? ", %zu" : "%zu", pleat_size(t, k));
    used += (size_t)snprintf(text + used, room - used, rank == 1 ? ",), }" : "), }");
    size_t all = used / ALIGNMENT * ALIGNMENT + ALIGNMENT, length = all - MAGIC - 4;
    memset(text + used, ' ', all - used);
    text[all - 1] = '\n';
    memcpy(text, magic, MAGIC);
    memcpy(text + MAGIC, (char[]){1, 0, (char)(length & 255), (char)(length >> 8)}, 4);
    return all;
}

bool pln_write_npy(pleat_tensor *t, FILE *f) {
    char text[320];
    uint8_t chunk[4096];
    size_t n = make_header(t, text), element = element_bytes(pleat_dtype_of(t));
    size_t bytes = pleat_numel(t) * element;
    const uint8_t *from = pln_const_elements(t);
    bool ok = fwrite(text, 1, n, f) == n;
    for (size_t at = 0; at < bytes && ok; at += n) {
        n = bytes - at < sizeof chunk ? bytes - at : sizeof chunk;
        memcpy(chunk, from + at, n);
        if (machine_is_big_endian()) swap_elements(chunk, n, element);
        ok = fwrite(chunk, 1, n, f) == n;
    }
    return ok;
}

/* A separate stream for standard output, so that closing it tells whether this array was written,
 * independently of later output of the program. Earlier output is flushed first. */
static pleat_status open_output(pleat_ctx *ctx, pleat_nn_file *out) {
    fflush(NULL);
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    *out = (pleat_nn_file){.fd = fd, .path = strdup("standard output")};
    if (fd >= 0 && out->path) out->f = pln_stream_to(fd);
    if (out->f) return PLEAT_OK;
    pleat_status status =
        pleat_fail(ctx, pln_status_of_errno(), WRITE, "cannot write standard output: %s", strerror(errno));
    if (fd >= 0) close(fd);
    pleat_nn_file_abort(out);
    return status;
}

pleat_status pleat_nn_put_npy(FILE *f, pleat_tensor *t) {
    static const char op[] = "put_npy";
    pleat_ctx *ctx = pleat_ctx_of(t);
    if (pleat_is_poison(t))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "t is poison: an op failed before");
    if (!f) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "f is NULL");
    pleat_scope scope = pleat_begin(ctx);
    pleat_tensor *rows = pleat_contiguous(t);
    pleat_status status = pleat_is_poison(rows) ? PLEAT_ERR_MEMORY : PLEAT_OK;
    if (!status && !pln_write_npy(rows, f))
        status = pleat_fail(ctx, pln_status_of_errno(), op, "cannot write: %s", strerror(errno));
    pleat_end(scope);
    return status;
}

pleat_status pleat_nn_write_npy(const char *path, pleat_tensor *t) {
    pleat_ctx *ctx = pleat_ctx_of(t);
    pleat_nn_file file;
    if (pleat_is_poison(t))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, WRITE, "t is poison: an op failed before");
    pleat_scope scope = pleat_begin(ctx);
    pleat_tensor *rows = pleat_contiguous(t);
    pleat_status status = PLEAT_ERR_MEMORY;
    if (!pleat_is_poison(rows))
        status =
            path && !strcmp(path, "-") ? open_output(ctx, &file) : pleat_nn_file_create(ctx, path, &file);
    if (!status)
        status = pln_write_npy(rows, file.f) ? pleat_nn_file_commit(ctx, &file)
                                             : pln_write_failed(ctx, WRITE, &file);
    pleat_end(scope);
    return status;
}

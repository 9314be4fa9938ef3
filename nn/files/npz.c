/* NumPy's archives: npy files in a zip, which libzip reads and writes. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "files/npy.h"
#include "pleat_config.h"

#define READ "read_npz"
#define WRITE "write_npz"

#ifndef PL_HAVE_ZIP
static const char absent[] = "pleat was built without libzip; configure it with -Dnpz=enabled";

pleat_tensor *pleat_nn_read_npz(pleat_ctx *ctx, const char *path, const char *name) {
    (void)path, (void)name;
    return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, READ, "%s", absent), pleat_poison(ctx);
}

pleat_nn_npz *pleat_nn_npz_open(pleat_ctx *ctx, const char *path) {
    (void)path;
    return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, READ, "%s", absent), NULL;
}

/* Without libzip there is no archive to call them with. */
void pleat_nn_npz_close(pleat_nn_npz *npz) { (void)npz; }
const char *pleat_nn_npz_name(pleat_nn_npz *npz, size_t i) { return (void)npz, (void)i, NULL; }
pleat_tensor *pleat_nn_npz_array(pleat_nn_npz *npz, const char *name) { return (void)npz, (void)name, NULL; }

pleat_status pleat_nn_write_npz(const char *path, size_t n, const char *const *names,
                                pleat_tensor *const *ts) {
    (void)path, (void)names;
    return pleat_fail(n ? pleat_ctx_of(ts[0]) : NULL, PLEAT_ERR_ARGUMENT, WRITE, "%s", absent);
}
#else
#    include <zip.h>

enum { LONGEST_NAME = 1000, MOST_RATIO = 1032 }; /* of deflate: 258 bytes for two bits */

/* ---- reading ----------------------------------------------------------------------------------------------- */

/* `other` is the error if neither memory nor the system is the cause. libzip may call an archive broken
 * because memory was short; errno, if it was 0 before, tells the cause. */
static pleat_status status_of(const zip_error_t *e, pleat_status other) {
    if (zip_error_code_zip(e) == ZIP_ER_MEMORY || errno == ENOMEM) return PLEAT_ERR_MEMORY;
    return zip_error_system_type(e) == ZIP_ET_SYS ? PLEAT_ERR_IO : other;
}

static const char *why_of(zip_error_t *e, pleat_status status) {
    return status == PLEAT_ERR_MEMORY ? "no memory" : zip_error_strerror(e);
}

struct pleat_nn_npz {
    pleat_ctx *ctx;
    char *path;
    zip_t *z;
    char name[LONGEST_NAME + 1]; /* the name that was requested last */
};

/* The archive, or NULL after an error. */
static zip_t *open_archive(pleat_ctx *ctx, const char *path) {
    size_t bytes;
    int code;
    zip_error_t why;
    if (pln_file_size(ctx, READ, path, &bytes)) return NULL;
    errno = 0;
    zip_t *z = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (z) return z;
    zip_error_init_with_code(&why, code);
    pleat_status status = status_of(&why, PLEAT_ERR_FORMAT);
    pleat_fail(ctx, status, READ, "%s: %s: %s", path,
               status == PLEAT_ERR_FORMAT ? "not a .npz file" : "it cannot be read", why_of(&why, status));
    zip_error_fini(&why);
    return NULL;
}

/* The index of the array with that name; -1 after an error. */
static zip_int64_t find_entry(pleat_ctx *ctx, const char *path, zip_t *z, const char *name) {
    char file[LONGEST_NAME + 8];
    zip_int64_t entries = zip_get_num_entries(z, 0);
    snprintf(file, sizeof file, "%.*s.npy", LONGEST_NAME, name);
    /* libzip does not open archives with equal names */
    zip_int64_t found = zip_name_locate(z, file, ZIP_FL_ENC_RAW);
    if (found >= 0) return found;
    const char *first = entries > 0 ? zip_get_name(z, 0, ZIP_FL_ENC_RAW) : NULL;
    pleat_fail(ctx, PLEAT_ERR_ARGUMENT, READ, "%s: there is no array %.64s; it has %lld%s%.64s", path,
               pln_shown(name).text, (long long)entries, first ? ", the first is " : "",
               first ? pln_shown(first).text : "");
    return -1;
}

/* Check an entry by the directory, before any of it is unpacked. */
static pleat_status check_entry(pleat_ctx *ctx, const char *name, zip_t *z, zip_uint64_t i) {
    zip_stat_t s;
    const zip_uint64_t wanted =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(z, i, 0, &s) || (s.valid & wanted) != wanted)
        return pleat_fail(ctx, PLEAT_ERR_FORMAT, READ, "%s: its entry in the archive is damaged", name);
    if (s.encryption_method != ZIP_EM_NONE)
        return pleat_fail(ctx, PLEAT_ERR_FORMAT, READ, "%s: it is encrypted", name);
    if (s.comp_method != ZIP_CM_STORE && s.comp_method != ZIP_CM_DEFLATE)
        return pleat_fail(ctx, PLEAT_ERR_FORMAT, READ, "%s: it must be stored or deflated, as NumPy does it",
                          name);
    if (s.size / MOST_RATIO > s.comp_size)
        return pleat_fail(ctx, PLEAT_ERR_FORMAT, READ,
                          "%s: claims %llu bytes packed into %llu, which cannot be", name,
                          (unsigned long long)s.size, (unsigned long long)s.comp_size);
    return PLEAT_OK;
}

typedef struct entry {
    zip_file_t *f;
    bool failed;
} entry;

static size_t entry_read(void *user, void *to, size_t n) {
    entry *e = user;
    zip_int64_t got = e->failed ? -1 : zip_fread(e->f, to, n);
    e->failed = got < 0;
    return got < 0 ? 0 : (size_t)got;
}

/* zip_fread detects a wrong checksum at the end of the entry. */
static pleat_status entry_failure(void *user, const char **why) {
    entry *e = user;
    if (!e->failed) return PLEAT_OK;
    pleat_status status = status_of(zip_file_get_error(e->f), PLEAT_ERR_IO);
    *why = why_of(zip_file_get_error(e->f), status);
    return status;
}

static pleat_tensor *read_entry(pleat_ctx *ctx, const char *path, zip_t *z, const char *name) {
    char full[2 * LONGEST_NAME];
    zip_int64_t i = find_entry(ctx, path, z, name);
    if (i < 0) return pleat_poison(ctx);
    snprintf(full, sizeof full, "%.900s(%s)", path, pln_shown(name).text);
    if (check_entry(ctx, full, z, (zip_uint64_t)i)) return pleat_poison(ctx);
    entry e = {.f = zip_fopen_index(z, (zip_uint64_t)i, 0)};
    if (!e.f) {
        pleat_status status = status_of(zip_get_error(z), PLEAT_ERR_FORMAT);
        pleat_fail(ctx, status, READ, "%s: %s", full, why_of(zip_get_error(z), status));
        return pleat_poison(ctx);
    }
    pleat_tensor *t = pln_read_npy(ctx, READ, full, (pln_stream){entry_read, entry_failure, &e});
    zip_fclose(e.f);
    return t;
}

void pleat_nn_npz_close(pleat_nn_npz *npz) {
    if (!npz) return;
    if (npz->z) zip_discard(npz->z);
    free(npz->path);
    free(npz);
}

pleat_nn_npz *pleat_nn_npz_open(pleat_ctx *ctx, const char *path) {
    zip_t *z = open_archive(ctx, path);
    if (!z) return NULL;
    pleat_nn_npz *npz = calloc(1, sizeof *npz);
    if (npz) *npz = (pleat_nn_npz){.ctx = ctx, .path = strdup(path), .z = z};
    if (npz && npz->path) return npz;
    pleat_fail(ctx, PLEAT_ERR_MEMORY, READ, "no memory for the archive %s", path);
    if (!npz) zip_discard(z);
    pleat_nn_npz_close(npz);
    return NULL;
}

const char *pleat_nn_npz_name(pleat_nn_npz *npz, size_t i) {
    const char *name = npz ? zip_get_name(npz->z, i, ZIP_FL_ENC_RAW) : NULL;
    if (!name) return NULL;
    size_t length = strlen(name);
    if (length > 4 && !strcmp(name + length - 4, ".npy")) length -= 4;
    snprintf(npz->name, sizeof npz->name, "%.*s", (int)(length < LONGEST_NAME ? length : LONGEST_NAME), name);
    return npz->name;
}

pleat_tensor *pleat_nn_npz_array(pleat_nn_npz *npz, const char *name) {
    if (!npz) return NULL;
    if (name && *name && strlen(name) <= LONGEST_NAME) return read_entry(npz->ctx, npz->path, npz->z, name);
    pleat_fail(npz->ctx, PLEAT_ERR_ARGUMENT, READ, "name must have 1 to %d characters", LONGEST_NAME);
    return pleat_poison(npz->ctx);
}

pleat_tensor *pleat_nn_read_npz(pleat_ctx *ctx, const char *path, const char *name) {
    pleat_nn_npz *npz = pleat_nn_npz_open(ctx, path);
    pleat_tensor *t = npz ? pleat_nn_npz_array(npz, name) : pleat_poison(ctx);
    pleat_nn_npz_close(npz);
    return t;
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

/* The rule that the names break, or NULL. */
static const char *wrong_names(size_t n, const char *const *names, pleat_tensor *const *ts) {
    if (!n || !names || !ts) return "at least one array must be given, with its name";
    for (size_t i = 0; i < n; i++) {
        const char *name = names[i];
        if (!name || !*name || strlen(name) > LONGEST_NAME) return "a name must have 1 to 1000 characters";
        if (*name == '/' || strstr(name, "..")) return "a name must not begin with / nor contain ..";
        if (!ts[i] || pleat_is_poison(ts[i])) return "an array is NULL or poison: an op failed before";
        for (size_t k = 0; k < i; k++)
            if (!strcmp(name, names[k])) return "two arrays have one name";
    }
    return NULL;
}

/* t as the bytes of an npy file. The caller frees *text; false if memory is short. */
static bool as_npy(pleat_tensor *t, char **text, size_t *bytes) {
    *text = NULL;
    FILE *f = open_memstream(text, bytes);
    pleat_scope scope = pleat_begin(pleat_ctx_of(t));
    pleat_tensor *rows = pleat_contiguous(t);
    bool ok = f && !pleat_is_poison(rows) && pln_write_npy(rows, f);
    pleat_end(scope);
    return f && fclose(f) == 0 && ok;
}

/* Stored as by numpy.savez, with a fixed date, so that equal arrays give equal bytes. *text must live as long
 * as z and belongs to the caller: after an error it is unknown whether libzip has freed a text that it was
 * given. */
static bool add_array(zip_t *z, const char *name, pleat_tensor *t, char **text) {
    enum { DAY_ONE = 33 }; /* the first of January 1980 */
    char file[LONGEST_NAME + 8];
    size_t bytes;
    snprintf(file, sizeof file, "%s.npy", name);
    zip_source_t *source = as_npy(t, text, &bytes) ? zip_source_buffer(z, *text, bytes, 0) : NULL;
    if (!source) return false;
    zip_int64_t i = zip_file_add(z, file, source, ZIP_FL_ENC_UTF_8);
    if (i < 0) return zip_source_free(source), false;
    return !zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0) &&
           !zip_file_set_dostime(z, (zip_uint64_t)i, 0, DAY_ONE, 0);
}

/* Write the archive to memory, through the source `whole`. */
static bool make_archive(zip_source_t *whole, size_t n, const char *const *names, pleat_tensor *const *ts) {
    char **texts = calloc(n, sizeof *texts);
    if (!texts) return false;
    zip_source_keep(whole); /* closing the archive releases one reference */
    zip_t *z = zip_open_from_source(whole, ZIP_TRUNCATE, NULL);
    bool ok = z;
    for (size_t i = 0; i < n && ok; i++) ok = add_array(z, names[i], ts[i], &texts[i]);
    ok = ok && zip_close(z) == 0;
    if (!z) zip_source_free(whole);
    if (z && !ok) zip_discard(z);
    for (size_t i = 0; i < n; i++) free(texts[i]);
    free(texts);
    return ok;
}

static bool copy_out(zip_source_t *whole, FILE *f) {
    char chunk[16384];
    zip_int64_t n = 0;
    if (zip_source_open(whole)) return false;
    while ((n = zip_source_read(whole, chunk, sizeof chunk)) > 0)
        if (fwrite(chunk, 1, (size_t)n, f) != (size_t)n) break;
    zip_source_close(whole);
    return n == 0;
}

pleat_status pleat_nn_write_npz(const char *path, size_t n, const char *const *names,
                                pleat_tensor *const *ts) {
    pleat_ctx *ctx = n && ts && ts[0] ? pleat_ctx_of(ts[0]) : NULL;
    const char *wrong = wrong_names(n, names, ts);
    pleat_nn_file file;
    if (wrong) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, WRITE, "%s", wrong);
    zip_source_t *whole = zip_source_buffer_create(NULL, 0, 0, NULL);
    pleat_status status = PLEAT_OK;
    if (!whole || !make_archive(whole, n, names, ts))
        status = pleat_fail(ctx, PLEAT_ERR_MEMORY, WRITE, "no memory for the archive %s", path ? path : "");
    if (!status) status = pleat_nn_file_create(ctx, path, &file);
    if (!status)
        status =
            copy_out(whole, file.f) ? pleat_nn_file_commit(ctx, &file) : pln_write_failed(ctx, WRITE, &file);
    if (whole) zip_source_free(whole);
    return status;
}
#endif

/* Folders of PNG files as a data set: flat, or with a folder for each class. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/png_folder.h"
#include "files/file.h"
#include "files/png_read.h"
#include "pleat_nn.h"

enum { MOST_CLASSES = 256 };

/* ---- names ------------------------------------------------------------------------------------------------ */

void pln_names_free(pln_names *n) {
    for (size_t i = 0; i < n->count; i++) free(n->path[i]);
    free(n->path);
    *n = (pln_names){0};
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* 1 for a folder, 0 for anything else and for a dangling link; -1 if the system cannot tell. */
static int is_folder(const char *path) {
    struct stat s;
    if (stat(path, &s)) return errno == ENOENT || errno == ELOOP ? 0 : -1;
    return S_ISDIR(s.st_mode);
}

static bool ends_in_png(const char *name) {
    size_t n = strlen(name);
    return n > 4 && (!strcmp(name + n - 4, ".png") || !strcmp(name + n - 4, ".PNG"));
}

static char *joined(const char *folder, const char *name) {
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

/* Take ownership of path, which may be NULL; false if memory is short. */
static bool add(pln_names *n, char *path) {
    char **more = path ? realloc(n->path, (n->count + 1) * sizeof *more) : NULL;
    if (!more) {
        free(path);
        return false;
    }
    n->path = more;
    n->path[n->count++] = path;
    return true;
}

/* Add the name if it is of the requested kind. */
static pleat_status list_one(pleat_ctx *ctx, const char *op, const char *folder, const char *name,
                             bool folders, pln_names *out) {
    if (name[0] == '.' || (!folders && !ends_in_png(name))) return PLEAT_OK;
    char *path = joined(folder, name);
    int kind = path ? is_folder(path) : folders;
    if (kind == folders && !add(out, path))
        return pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory for the names in %s", folder);
    pleat_status status = kind < 0 ? pln_read_failed(ctx, op, path) : PLEAT_OK;
    if (kind != folders) free(path);
    return status;
}

pleat_status pln_list(pleat_ctx *ctx, const char *op, const char *folder, bool folders, pln_names *out) {
    DIR *d = opendir(folder);
    if (!d) return pln_read_failed(ctx, op, folder);
    pleat_status status = PLEAT_OK;
    struct dirent *e;
    while (errno = 0, !status && (e = readdir(d)))
        status = list_one(ctx, op, folder, e->d_name, folders, out);
    if (!status && errno) status = pln_read_failed(ctx, op, folder);
    closedir(d);
    if (!status && out->count) qsort(out->path, out->count, sizeof *out->path, by_name);
    return status;
}

/* ---- images ----------------------------------------------------------------------------------------------- */

typedef struct reader {
    pleat_ctx *ctx;
    const char *op; /* for errors */
    bool numbers;   /* as pln_read_png takes it */
    pleat_nn_images made;
    size_t room; /* allocated images */
    char *first; /* the file that defines the size */
} reader;

static pleat_status grow(reader *r) {
    size_t room = r->room ? 2 * r->room : 64, each = r->made.C * r->made.H * r->made.W, bytes;
    if (r->made.count < r->room) return PLEAT_OK;
    uint8_t *pixels = __builtin_mul_overflow(room, each, &bytes) ? NULL : realloc(r->made.pixels, bytes);
    if (pixels) r->made.pixels = pixels;
    uint8_t *labels = pixels ? realloc(r->made.labels, room) : NULL;
    if (labels) r->made.labels = labels;
    if (!labels)
        return pleat_fail(r->ctx, PLEAT_ERR_MEMORY, r->op, "no memory for %zu images of %zux%zu", room,
                          r->made.H, r->made.W);
    r->room = room;
    return PLEAT_OK;
}

static pleat_status keep(reader *r, const char *path, size_t label, const pln_bytes *b) {
    pleat_nn_images *m = &r->made;
    if (!r->first) {
        m->C = b->C, m->H = b->H, m->W = b->W;
        r->first = strdup(path);
        if (!r->first) return pleat_fail(r->ctx, PLEAT_ERR_MEMORY, r->op, "no memory for a name");
    }
    if (b->C != m->C || b->H != m->H || b->W != m->W)
        return pleat_fail(r->ctx, PLEAT_ERR_SHAPE, r->op,
                          "%s is [%zu,%zu,%zu], but %s is [%zu,%zu,%zu]; all must have one size", path, b->C,
                          b->H, b->W, r->first, m->C, m->H, m->W);
    pleat_status status = grow(r);
    if (status) return status;
    memcpy(m->pixels + m->count * m->C * m->H * m->W, b->pixels, m->C * m->H * m->W);
    m->labels[m->count++] = (uint8_t)label;
    return PLEAT_OK;
}

static pleat_status read_files(reader *r, const pln_names *files, size_t label) {
    pleat_status status = PLEAT_OK;
    for (size_t i = 0; i < files->count && !status; i++) {
        pln_bytes b;
        status = pln_read_png(r->ctx, r->op, files->path[i], r->numbers, &b);
        if (!status) status = keep(r, files->path[i], label, &b);
        free(b.pixels);
    }
    return status;
}

pleat_status pln_read_pngs(pleat_ctx *ctx, const char *op, const pln_names *files, bool numbers,
                           pleat_nn_images *out) {
    reader r = {.ctx = ctx, .op = op, .numbers = numbers};
    pleat_status status = read_files(&r, files, 0);
    free(r.first);
    free(r.made.labels);
    r.made.labels = NULL;
    if (status) pleat_nn_images_free(&r.made);
    *out = r.made;
    return status;
}

/* ---- classes ---------------------------------------------------------------------------------------------- */

static pleat_status add_class(reader *r, const char *path) {
    const char *slash = strrchr(path, '/');
    r->made.names[r->made.classes] = strdup(slash ? slash + 1 : path);
    if (!r->made.names[r->made.classes])
        return pleat_fail(r->ctx, PLEAT_ERR_MEMORY, r->op, "no memory for a name");
    r->made.classes++;
    return PLEAT_OK;
}

static pleat_status read_class(reader *r, const char *folder) {
    pln_names files = {0};
    pleat_status status = pln_list(r->ctx, r->op, folder, false, &files);
    if (!status && !files.count)
        status = pleat_fail(r->ctx, PLEAT_ERR_FORMAT, r->op, "%s: a class without a PNG file", folder);
    if (!status) status = add_class(r, folder);
    if (!status) status = read_files(r, &files, r->made.classes - 1);
    pln_names_free(&files);
    return status;
}

static pleat_status read_classes(reader *r, const char *path, const pln_names *folders) {
    if (folders->count > MOST_CLASSES)
        return pleat_fail(r->ctx, PLEAT_ERR_FORMAT, r->op,
                          "%s holds %zu folders; a label is a byte, so at most %d", path, folders->count,
                          MOST_CLASSES);
    r->made.names = calloc(folders->count, sizeof *r->made.names);
    if (!r->made.names)
        return pleat_fail(r->ctx, PLEAT_ERR_MEMORY, r->op, "no memory for the names of the classes");
    pleat_status status = PLEAT_OK;
    for (size_t i = 0; i < folders->count && !status; i++) status = read_class(r, folders->path[i]);
    return status;
}

static pleat_status read_folder(reader *r, const char *path, pln_names *files, pln_names *folders) {
    pleat_status status = pln_list(r->ctx, r->op, path, false, files);
    if (!status) status = pln_list(r->ctx, r->op, path, true, folders);
    if (status) return status;
    if (!files->count && !folders->count)
        return pleat_fail(r->ctx, PLEAT_ERR_FORMAT, r->op, "%s: no PNG files in it, and no folders with any",
                          path);
    if (files->count && folders->count)
        return pleat_fail(
            r->ctx, PLEAT_ERR_FORMAT, r->op,
            "%s holds both PNG files and folders (%s); either images, or a folder for each class", path,
            folders->path[0]);
    return files->count ? read_files(r, files, 0) : read_classes(r, path, folders);
}

pleat_status pleat_nn_read_png_folder(pleat_ctx *ctx, const char *path, pleat_nn_images *out) {
    static const char op[] = "read_png_folder";
    reader r = {.ctx = ctx, .op = op};
    pln_names files = {0}, folders = {0};
    *out = (pleat_nn_images){0};
    if (!path) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "the path is NULL");
    pleat_status status = read_folder(&r, path, &files, &folders);
    pln_names_free(&files);
    pln_names_free(&folders);
    free(r.first);
    if (status) {
        pleat_nn_images_free(&r.made);
        return status;
    }
    if (!r.made.classes) {
        free(r.made.labels);
        r.made.labels = NULL;
    }
    *out = r.made;
    return PLEAT_OK;
}

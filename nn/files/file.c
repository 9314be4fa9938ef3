/* Atomic files: a temporary file in the target's folder is written, synced and renamed over the target. */
#define _GNU_SOURCE /* fopencookie */

#include "files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files/lock.h"

pleat_status pln_status_of_errno(void) { return errno == ENOMEM ? PLEAT_ERR_MEMORY : PLEAT_ERR_IO; }

pleat_status pln_read_failed(pleat_ctx *ctx, const char *op, const char *path) {
    return pleat_fail(ctx, pln_status_of_errno(), op, "cannot read %s: %s", path, strerror(errno));
}

FILE *pln_open(const char *path) {
    FILE *f;
    do f = fopen(path, "rb");
    while (!f && errno == EINTR);
    return f;
}

size_t pln_read(FILE *f, void *to, size_t n) {
    size_t got = fread(to, 1, n, f);
    while (got < n && ferror(f) && errno == EINTR) {
        clearerr(f);
        got += fread((char *)to + got, 1, n - got, f);
    }
    return got;
}

/* ---- streams for writing ------------------------------------------------------------------------------- */

static int descriptor(void *cookie) { return (int)(intptr_t)cookie; }

static ssize_t stream_write(void *cookie, const char *from, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t k = write(descriptor(cookie), from + done, n - done);
        if (k < 0 && errno != EINTR) break;
        if (k > 0) done += (size_t)k;
    }
    return (ssize_t)done;
}

/* After EINTR the descriptor is closed. */
static int stream_close(void *cookie) { return close(descriptor(cookie)) && errno != EINTR ? -1 : 0; }

FILE *pln_stream_to(int fd) {
    const cookie_io_functions_t functions = {.write = stream_write, .close = stream_close};
    return fopencookie((void *)(intptr_t)fd, "wb", functions);
}

/* ---- errors and sizes ---------------------------------------------------------------------------------- */

pleat_status pln_file_size(pleat_ctx *ctx, const char *op, const char *path, size_t *bytes) {
    struct stat s;
    if (!path) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "the path is NULL");
    if (stat(path, &s)) return pln_read_failed(ctx, op, path);
    if (!S_ISREG(s.st_mode))
        return pleat_fail(ctx, PLEAT_ERR_IO, op, "cannot read %s: it is %s, not a regular file", path,
                          S_ISDIR(s.st_mode) ? "a folder" : "a device or a pipe");
    if ((uintmax_t)s.st_size > SIZE_MAX)
        return pleat_fail(ctx, PLEAT_ERR_MEMORY, op,
                          "cannot read %s: it has %jd bytes, more than can be addressed", path,
                          (intmax_t)s.st_size);
    *bytes = (size_t)s.st_size;
    return PLEAT_OK;
}

/* Read at most `bytes` to text, and terminate it; an error about the file, or NULL. */
static const char *read_text(FILE *f, size_t bytes, char *text) {
    size_t n = pln_read(f, text, bytes);
    text[n] = 0;
    if (strlen(text) != n) return "it holds a byte 0, so it is no text";
    if (!strncmp(text, "\xef\xbb\xbf", 3)) memmove(text, text + 3, n -= 2);
    for (n = strlen(text); n && strchr(" \t\r\n", text[n - 1]); n--) text[n - 1] = 0;
    return n ? NULL : "it is empty";
}

char *pln_read_text(pleat_ctx *ctx, const char *op, const char *path) {
    size_t bytes;
    if (pln_file_size(ctx, op, path, &bytes)) return NULL;
    FILE *f = pln_open(path);
    if (!f) return pln_read_failed(ctx, op, path), NULL;
    char *text = bytes < SIZE_MAX ? malloc(bytes + 1) : NULL;
    const char *wrong = text ? read_text(f, bytes, text) : NULL;
    if (!text)
        pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "%s: no memory for %zu bytes", path, bytes);
    else if (ferror(f))
        pln_read_failed(ctx, op, path);
    else if (wrong)
        pleat_fail(ctx, PLEAT_ERR_FORMAT, op, "%s: %s", path, wrong);
    bool good = text && !ferror(f) && !wrong;
    fclose(f);
    if (good) return text;
    free(text);
    return NULL;
}

pln_phrase pln_shown(const char *text) {
    pln_phrase p;
    snprintf(p.text, sizeof p.text, "%s", text);
    for (char *c = p.text; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return p;
}

pleat_status pln_write_failed(pleat_ctx *ctx, const char *op, pleat_nn_file *file) {
    pleat_status status =
        pleat_fail(ctx, pln_status_of_errno(), op, "cannot write %s: %s", file->path, strerror(errno));
    pleat_nn_file_abort(file);
    return status;
}

/* Length of the folder part of path, the last slash included. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The prefix of the temporary files of this machine. Locks are visible to all processes of one kernel,
 * containers included. In a shared folder the locks of another machine may be invisible, so its files have
 * another prefix, and are never taken for those of a dead process. If the system does not identify its
 * kernel, the prefix is new each time, and the result false. */
static bool temporary_prefix(char *to, size_t bytes) {
    char boot[36];
    struct timespec now;
    FILE *f = pln_open("/proc/sys/kernel/random/boot_id");
    bool known = f && pln_read(f, boot, sizeof boot) == sizeof boot;
    if (f) fclose(f);
    timespec_get(&now, TIME_UTC);
    if (known)
        snprintf(to, bytes, ".pleat-%.36s", boot);
    else
        snprintf(to, bytes, ".pleat-%ld-%jd-%ld", (long)getpid(), (intmax_t)now.tv_sec, now.tv_nsec);
    return known;
}

enum { TEMPORARY = 100 }; /* bytes of a temporary file's name without the folder */

static const char *name_temporary(pleat_nn_file *file, const char *prefix, int i) {
    snprintf(file->temporary + folder_length(file->path), TEMPORARY, "%s-%d.tmp", prefix, i);
    return file->temporary;
}

/* Also removes files of dead processes. Not mkstemp: its files are private (0600), and the umask of the
 * process cannot be read without changing it. The name does not contain the target's, which may have the
 * largest legal length. */
static int open_temporary(pleat_nn_file *file, mode_t mode) {
    /* written into one folder at a time; and where one is looked for though there is none before it, which
     * was finished earlier */
    enum { MOST = 1000, ANYWAY = 8 };
    char prefix[80];
    int fd = -1;
    size_t folder = folder_length(file->path);
    bool lasting = temporary_prefix(prefix, sizeof prefix);
    file->temporary = malloc(folder + TEMPORARY);
    if (!file->temporary) return -1;
    memcpy(file->temporary, file->path, folder);
    for (int i = 0; lasting && i < MOST; i++)
        if (!pln_lock_clear(name_temporary(file, prefix, i)) && i >= ANYWAY) break;
    for (int i = 0; i < MOST && fd < 0; i++) {
        fd = pln_lock_new(name_temporary(file, prefix, i), mode);
        if (fd < 0 && errno != EEXIST) break;
    }
    file->lock = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (file->lock >= 0) return fd;
    if (fd >= 0) unlink(file->temporary), close(fd);
    free(file->temporary); /* another file may have this name; it must not be removed */
    file->temporary = NULL;
    return -1;
}

/* Give the new file the permissions of the old one, and no others: if the group cannot be kept, it gets no
 * rights. Some file systems have no permissions, so a failure is ignored; then the file is private to its
 * owner. */
static void keep_permissions(int fd, const struct stat *old) {
    mode_t mode = old->st_mode & 0777;
    if (fchown(fd, old->st_uid, old->st_gid) && fchown(fd, (uid_t)-1, old->st_gid)) mode &= 0707;
    fchmod(fd, mode);
}

/* The target of symbolic links, also if it does not exist yet, where realpath fails. */
static char *follow_links(const char *path) {
    char link[PATH_MAX], *at = strdup(path);
    for (int i = 0; at && i < 40; i++) {
        ssize_t n = readlink(at, link, sizeof link - 1);
        if (n < 0) return at;
        size_t folder = *link == '/' ? 0 : folder_length(at);
        char *next = malloc(folder + (size_t)n + 1);
        if (next)
            memcpy(next, at, folder), memcpy(next + folder, link, (size_t)n), next[folder + (size_t)n] = 0;
        free(at);
        at = next;
    }
    if (at) errno = ELOOP;
    free(at);
    return NULL;
}

/* Choose where and how to write. A symbolic link is followed. A file that is not regular (/dev/null, a pipe)
 * cannot be replaced, so it is written directly. A read-only file is an error, although rename could replace
 * it. */
static int open_target(const char *path, pleat_nn_file *file) {
    struct stat s;
    bool exists = stat(path, &s) == 0, regular = !exists || S_ISREG(s.st_mode);
    if (!exists && errno != ENOENT) return -1;
    file->path = regular ? follow_links(path) : strdup(path);
    if (!file->path) return -1;
    if (!regular) return open(path, O_WRONLY | O_CLOEXEC);
    if (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS)) return -1;
    int fd = open_temporary(file, exists ? s.st_mode & 0700 : 0666);
    if (fd >= 0 && exists) keep_permissions(fd, &s);
    return fd;
}

pleat_status pleat_nn_file_create(pleat_ctx *ctx, const char *path, pleat_nn_file *out) {
    *out = (pleat_nn_file){0};
    if (!path || !*path)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "file_create", "the path is %s", path ? "empty" : "NULL");
    int fd = out->fd = open_target(path, out);
    if (fd >= 0) out->f = pln_stream_to(fd);
    if (out->f) return PLEAT_OK;
    pleat_status status =
        pleat_fail(ctx, pln_status_of_errno(), "file_create", "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    pleat_nn_file_abort(out);
    return status;
}

void pleat_nn_file_abort(pleat_nn_file *file) {
    if (file->f) fclose(file->f);
    if (file->temporary) unlink(file->temporary), close(file->lock);
    free(file->temporary);
    free(file->path);
    *file = (pleat_nn_file){0};
}

static int sync_file(int fd) {
    int failed;
    do failed = fsync(fd);
    while (failed && errno == EINTR);
    return failed;
}

/* Make the rename durable. Not every file system supports it, and the file is complete without it, so a
 * failure is ignored. */
static void sync_folder(pleat_nn_file *file) {
    size_t folder = folder_length(file->path);
    if (folder) file->path[folder] = 0;
    int fd = open(folder ? file->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    sync_file(fd);
    close(fd);
}

pleat_status pleat_nn_file_commit(pleat_ctx *ctx, pleat_nn_file *file) {
    if (!file->f) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "file_commit", "the file is not open");
    bool lost = ferror(file->f); /* errno of that error is gone */
    if (fflush(file->f) || (file->temporary && sync_file(file->fd)))
        return pln_write_failed(ctx, "file_commit", file);
    if (lost) {
        pleat_fail(ctx, PLEAT_ERR_IO, "file_commit",
                   "cannot write %s: an earlier write failed (is the disk full?)", file->path);
        pleat_nn_file_abort(file);
        return PLEAT_ERR_IO;
    }
    int failed = fclose(file->f);
    file->f = NULL;
    if (failed || (file->temporary && rename(file->temporary, file->path)))
        return pln_write_failed(ctx, "file_commit", file);
    if (file->temporary) {
        /* after the rename: unlocked, the temporary file would look like that of a dead process */
        close(file->lock);
        sync_folder(file);
    }
    free(file->temporary);
    file->temporary = NULL;
    pleat_nn_file_abort(file); /* after the rename this frees only */
    return PLEAT_OK;
}

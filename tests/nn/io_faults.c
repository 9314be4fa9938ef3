/* Definitions in the program win over those of the C library, in all shared libraries too. Within the C library they do not, so
 * streams are made by fopencookie here: their bytes pass through `read` and `write` below, in the way they do in a FILE. */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS /* which renames open to open64, ...: here both are defined */

#include "io_faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- which call ------------------------------------------------------------------------------------------- */

static _Thread_local struct {
    io_fault fault;
    bool on;
    size_t n, calls, disturbed;
} io;

void io_start(io_fault fault, size_t n) {
    io.fault = fault;
    io.n = n;
    io.calls = io.disturbed = 0;
    io.on = true;
}

size_t io_stop(void) {
    io.on = false;
    return io.calls;
}

size_t io_disturbed(void) { return io.disturbed; }

static bool is_hit(void) {
    bool lasting = io.fault == IO_ERRORS || io.fault == IO_SHORTS;
    return io.on && ++io.calls >= io.n && (lasting || io.calls == io.n);
}

/* The next call, which may fail with `error`; true if it does, with errno set. */
static bool fails(int error, bool interruptible, bool *shorter) {
    if (!is_hit()) return false;
    bool error_now = io.fault == IO_ERROR || io.fault == IO_ERRORS,
         signal = io.fault == IO_INTERRUPT && interruptible;
    bool less = shorter && (io.fault == IO_SHORT || io.fault == IO_SHORTS);
    if (less) *shorter = true;
    io.disturbed += error_now || signal || less;
    if (!error_now && !signal) return false;
    errno = signal ? EINTR : error;
    return true;
}

/* The function of the C library, or of a sanitizer before it. */
static void *next(const char *name) {
    void *f = dlsym(RTLD_NEXT, name);
    if (!f) abort();
    return f;
}

#define NEXT(type, name) ((type)(uintptr_t)next(name))

/* ---- descriptors -------------------------------------------------------------------------------------------- */

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (fails(EMFILE, true, NULL)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

ssize_t read(int fd, void *to, size_t n) {
    bool shorter = false;
    if (fails(EIO, true, &shorter)) return -1;
    return syscall(SYS_read, fd, to, shorter ? (n + 1) / 2 : n);
}

ssize_t write(int fd, const void *from, size_t n) {
    bool shorter = false;
    if (fails(ENOSPC, true, &shorter)) return -1;
    return syscall(SYS_write, fd, from, shorter ? (n + 1) / 2 : n);
}

int close(int fd) {
    bool wrong = fails(EIO, true, NULL);
    int error = errno, done = (int)syscall(SYS_close, fd);
    if (wrong) errno = error;
    return wrong ? -1 : done;
}

off64_t lseek64(int fd, off64_t at, int whence) {
    return fails(EIO, false, NULL) ? -1 : NEXT(off64_t(*)(int, off64_t, int), "lseek64")(fd, at, whence);
}

int fsync(int fd) { return fails(EIO, true, NULL) ? -1 : (int)syscall(SYS_fsync, fd); }
int rename(const char *from, const char *to) {
    return fails(EIO, false, NULL) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- names --------------------------------------------------------------------------------------------------- */

typedef int (*stat_function)(const char *, struct stat *);
int stat64(const char *path, struct stat64 *s) {
    return fails(EIO, false, NULL) ? -1 : NEXT(int (*)(const char *, struct stat64 *), "stat64")(path, s);
}
int stat(const char *path, struct stat *s) {
    return fails(EIO, false, NULL) ? -1 : NEXT(stat_function, "stat")(path, s);
}
int fstat(int fd, struct stat *s) {
    return fails(EIO, false, NULL) ? -1 : NEXT(int (*)(int, struct stat *), "fstat")(fd, s);
}
int access(const char *path, int mode) {
    return fails(EIO, false, NULL) ? -1 : NEXT(int (*)(const char *, int), "access")(path, mode);
}
int faccessat(int at, const char *path, int mode, int flags) {
    return fails(EIO, false, NULL)
               ? -1
               : NEXT(int (*)(int, const char *, int, int), "faccessat")(at, path, mode, flags);
}
int mkdir(const char *path, mode_t mode) {
    return fails(EIO, false, NULL) ? -1 : NEXT(int (*)(const char *, mode_t), "mkdir")(path, mode);
}
DIR *opendir(const char *path) {
    return fails(EMFILE, false, NULL) ? NULL : NEXT(DIR * (*)(const char *), "opendir")(path);
}
struct dirent64 *readdir64(DIR *d) {
    return fails(EIO, false, NULL) ? NULL : NEXT(struct dirent64 * (*)(DIR *), "readdir64")(d);
}
struct dirent *readdir(DIR *d) {
    return fails(EIO, false, NULL) ? NULL : NEXT(struct dirent * (*)(DIR *), "readdir")(d);
}

/* ---- streams -------------------------------------------------------------------------------------------------- */

/* What fileno tells of them. */
static struct {
    FILE *f;
    int fd;
} streams[32];

static int descriptor(void *cookie) { return (int)(intptr_t)cookie; }
static ssize_t stream_read(void *cookie, char *to, size_t n) { return read(descriptor(cookie), to, n); }

/* A FILE goes on after a short write, and not after a failed one. */
static ssize_t stream_write(void *cookie, const char *from, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t k = write(descriptor(cookie), from + done, n - done);
        if (k < 0) break;
        done += (size_t)k;
    }
    return (ssize_t)done;
}

static int stream_seek(void *cookie, off64_t *at, int whence) {
    off64_t to = lseek64(descriptor(cookie), *at, whence);
    if (to >= 0) *at = to;
    return to < 0 ? -1 : 0;
}

static int stream_close(void *cookie) {
    for (size_t i = 0; i < 32; i++)
        if (streams[i].f && streams[i].fd == descriptor(cookie)) streams[i].f = NULL;
    return close(descriptor(cookie));
}

static FILE *stream_of(int fd, const char *mode) {
    const cookie_io_functions_t functions = {stream_read, stream_write, stream_seek, stream_close};
    FILE *f = fopencookie((void *)(intptr_t)fd, mode, functions);
    size_t i = 0;
    while (i < 32 && streams[i].f) i++;
    if (!f || i == 32) abort();
    streams[i].f = f;
    streams[i].fd = fd;
    return f;
}

FILE *fdopen(int fd, const char *mode) {
    return io.on ? stream_of(fd, mode) : NEXT(FILE * (*)(int, const char *), "fdopen")(fd, mode);
}

FILE *fopen(const char *restrict path, const char *restrict mode) {
    if (!io.on) return NEXT(FILE * (*)(const char *, const char *), "fopen")(path, mode);
    if (*mode != 'r') abort(); /* the library writes nothing in this way */
    int fd = open(path, O_RDONLY);
    return fd < 0 ? NULL : stream_of(fd, mode);
}
FILE *fopen64(const char *restrict path, const char *restrict mode) { return fopen(path, mode); }

int fileno(FILE *f) {
    for (size_t i = 0; i < 32; i++)
        if (streams[i].f == f) return streams[i].fd;
    return NEXT(int (*)(FILE *), "fileno")(f);
}

size_t io_descriptors(void) {
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

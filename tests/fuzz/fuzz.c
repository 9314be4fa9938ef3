/* Promises, numbers and files for the fuzz targets. */
#define _GNU_SOURCE /* memfd_create, F_SETPIPE_SZ */

#include "fuzz.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- promises ---------------------------------------------------------------------------------------- */

void fuzz_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("broken promise: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

bool fuzz_is_line(const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < ' ' || *c == 127) return false;
    return *text != 0;
}

void fuzz_check_error(pleat_ctx *ctx, bool refused) {
    const pleat_error_info *e = pleat_error(ctx);
    FUZZ_CHECK((e->code != PLEAT_OK) == refused, "%s, but the context says %s: %s",
               refused ? "refused" : "accepted", pleat_status_name(e->code), e->text);
    FUZZ_CHECK(!refused || fuzz_is_line(e->text), "the error is not one line: '%s'", e->text);
    pleat_clear_error(ctx);
}

bool fuzz_same(const pleat_tensor *a, const pleat_tensor *b) {
    size_t rank = pleat_rank(a), n = pleat_numel(a);
    if (pleat_is_poison(a) || pleat_is_poison(b) || pleat_dtype_of(a) != pleat_dtype_of(b)) return false;
    if (pleat_rank(b) != rank || pleat_numel(b) != n) return false;
    for (size_t k = 0; k < rank; k++)
        if (pleat_size(a, k) != pleat_size(b, k)) return false;
    bool half = pleat_dtype_of(a) == PLEAT_F32;
    const void *x = half ? (void *)pleat_f32((pleat_tensor *)a) : (void *)pleat_f64((pleat_tensor *)a);
    const void *y = half ? (void *)pleat_f32((pleat_tensor *)b) : (void *)pleat_f64((pleat_tensor *)b);
    return x && y && (n == 0 || memcmp(x, y, n * (half ? sizeof(float) : sizeof(double))) == 0);
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

uint8_t fuzz_byte(fuzz_bytes *b) {
    if (b->left == 0) return 0;
    b->left--;
    return *b->at++;
}

uint64_t fuzz_word(fuzz_bytes *b) {
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) word |= (uint64_t)fuzz_byte(b) << 8 * i;
    return word;
}

size_t fuzz_below(fuzz_bytes *b, size_t n) { return fuzz_byte(b) % n; }

ptrdiff_t fuzz_within(fuzz_bytes *b, ptrdiff_t least, ptrdiff_t most) {
    return least + (ptrdiff_t)fuzz_below(b, (size_t)(most - least) + 1);
}

/* ---- files ------------------------------------------------------------------------------------------- */

typedef struct path {
    char text[40];
} path;

static const char *path_of(path *p, int fd) {
    snprintf(p->text, sizeof p->text, "/proc/self/fd/%d", fd);
    return p->text;
}

static void must(bool fine, const char *what) {
    if (fine) return;
    perror(what);
    exit(2);
}

const char *fuzz_file(size_t place, const void *data, size_t size) {
    static int fds[FUZZ_FILES];
    static path paths[FUZZ_FILES];
    int *fd = &fds[place];
    if (*fd == 0) *fd = memfd_create("input", MFD_CLOEXEC);
    must(*fd > 0 && ftruncate(*fd, 0) == 0, "no file in memory");
    for (size_t at = 0; at < size;) {
        ssize_t n = pwrite(*fd, (const char *)data + at, size - at, (off_t)at);
        must(n > 0, "cannot write to a file in memory");
        at += (size_t)n;
    }
    return path_of(&paths[place], *fd);
}

static int ends[2];

const char *fuzz_pipe(void) {
    static path p;
    size_t size;
    if (ends[1] == 0)
        must(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0 && fcntl(ends[1], F_SETPIPE_SZ, FUZZ_ROOM) > 0,
             "no pipe");
    fuzz_written(&size); /* what a writer that failed has left */
    return path_of(&p, ends[1]);
}

const uint8_t *fuzz_written(size_t *size) {
    static uint8_t bytes[FUZZ_ROOM];
    *size = 0;
    for (ssize_t n; *size < FUZZ_ROOM && (n = read(ends[0], bytes + *size, FUZZ_ROOM - *size)) > 0;)
        *size += (size_t)n;
    return bytes;
}

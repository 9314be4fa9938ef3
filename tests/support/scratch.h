/* A folder for the files of one test. It is removed with all that is in it, and whoever leaves a temporary file there
 * fails the test. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pleat_nn.h"
#include "width.h"

static char scratch_folder[64];
static pleat_ctx *ctx;

static inline void scratch_begin(void) {
    strcpy(scratch_folder, "/tmp/pleat-test-XXXXXX");
    cr_assert(mkdtemp(scratch_folder));
    ctx = pleat_ctx_new(.threads = 1);
    cr_assert(ctx);
}

/* Files in the folder; temporary ones of pleat_nn_file are counted in *temporary. */
static inline size_t scratch_count(size_t *temporary) {
    size_t n = 0;
    DIR *d = opendir(scratch_folder);
    *temporary = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
        *temporary += !strncmp(e->d_name, ".pleat-", 7);
    }
    if (d) closedir(d);
    return n;
}

/* Criterion does not count what fails in a .fini: totals.awk looks for this line. */
static inline void scratch_expect(bool fine, const char *what) {
    if (!fine) fprintf(stderr, "fixture failed: %s\n", what);
}

static inline void scratch_end(void) {
    size_t temporary;
    pleat_ctx_free(ctx);
    scratch_count(&temporary);
    scratch_expect(temporary == 0, "temporary files were left behind");
    scratch_expect(chdir(scratch_folder) == 0, "the folder is gone");
    DIR *d = opendir(".");
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) remove(e->d_name);
    if (d) closedir(d);
    scratch_expect(chdir("/") == 0 && rmdir(scratch_folder) == 0, "the folder could not be removed");
}

/* Criterion runs no .fini for a test that is skipped. */
static inline void scratch_skip(const char *why) {
    scratch_end();
    cr_skip_test("%s", why);
}

/* A path in the folder; eight of them live at a time. */
static inline const char *in_scratch(const char *name) {
    static char paths[8][400];
    static size_t next;
    char *p = paths[next++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", scratch_folder, name);
    return p;
}

static inline void put_file(const char *path, const void *data, size_t bytes) {
    FILE *f = fopen(path, "wb");
    cr_assert(f);
    cr_assert(fwrite(data, 1, bytes, f) == bytes);
    cr_assert(fclose(f) == 0);
}

/* The whole file, with a NUL byte behind it; the caller frees it. */
static inline uint8_t *get_file(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    cr_assert(f, "%s is not there", path);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*bytes + 1);
    cr_assert(data && fread(data, 1, *bytes, f) == *bytes);
    data[*bytes] = 0;
    fclose(f);
    return data;
}

static inline bool holds(const char *path, const char *text) {
    size_t bytes;
    uint8_t *data = get_file(path, &bytes);
    bool same = bytes == strlen(text) && !memcmp(data, text, bytes);
    free(data);
    return same;
}

/* The status is `code`, and the context tells the same in one line that contains `part`. */
static inline void expect_error(pleat_status found, pleat_status code, const char *part) {
    const pleat_error_info *e = pleat_error(ctx);
    cr_expect(found == code, "status %s, expected %s (%s): %s", pleat_status_name(found),
              pleat_status_name(code), part, e->text);
    cr_expect(e->code == code && strstr(e->text, part), "\"%s\" does not say \"%s\"", e->text, part);
    cr_expect(!strchr(e->text, '\n'), "\"%s\" has more than one line", e->text);
    pleat_clear_error(ctx);
}

#endif

/* The folder of golden vectors appears whole or not at all. */
#define _GNU_SOURCE /* syncfs */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vectors.h"

int cannot_write(const vector_job *j) {
    return complain(EXIT_IO, "vectors", "cannot write %s: %s", j->output, strerror(errno));
}

/* The path of a file of the folder; the caller frees it. NULL if memory is short. */
static char *path_of(const vector_job *j, const char *format, va_list args) {
    char name[160];
    vsnprintf(name, sizeof name, format, args);
    size_t bytes = strlen(j->folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", j->folder, name);
    return path;
}

FILE *open_file(const vector_job *j, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *path = path_of(j, format, args);
    va_end(args);
    FILE *f = path ? fopen(path, "wb") : NULL;
    free(path);
    return f;
}

bool make_subfolder(const vector_job *j, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *path = path_of(j, format, args);
    va_end(args);
    bool made = path && !mkdir(path, 0777);
    free(path);
    return made;
}

bool close_file(FILE *f) {
    bool lost = ferror(f);
    return !fclose(f) && !lost;
}

static int write_cases(vector_job *j, const case_list *list) {
    j->manifest = open_file(j, "manifest.jsonl");
    if (!j->manifest) return cannot_write(j);
    int status = EXIT_FINE;
    for (size_t i = 0; i < list->count && !status; i++) {
        pleat_scope s = pleat_begin(j->ctx);
        status = j->write(j, &list->at[i], i);
        pleat_end(s);
    }
    bool whole = close_file(j->manifest);
    if (!status && !whole)
        return complain(EXIT_IO, "vectors", "cannot write %s: is the disk full?", j->output);
    return status;
}

/* The folder must be new or empty. */
int check_folder(const char *path) {
    struct stat s;
    if (stat(path, &s)) {
        if (errno == ENOENT) return EXIT_FINE;
        return complain(EXIT_IO, "vectors", "cannot write %s: %s", path, strerror(errno));
    }
    DIR *d = S_ISDIR(s.st_mode) ? opendir(path) : NULL;
    if (!d) return complain(EXIT_USAGE, "vectors", "--output %s: it must be a new or an empty folder", path);
    bool empty = true;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) empty = false;
    closedir(d);
    if (empty) return EXIT_FINE;
    return complain(EXIT_USAGE, "vectors", "--output %s: the folder is not empty; name a new one", path);
}

static int cannot_make(const vector_job *j) {
    return complain(EXIT_IO, "vectors", "cannot make the folder %s: %s", j->output, strerror(errno));
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *place) {
    (void)s, (void)type, (void)place;
    return remove(path), 0;
}

/* A folder beside the target, which rename can put in the place of an empty one; it gets that one's
 * permissions. */
static int make_folder(vector_job *j) {
    struct stat old;
    bool exists = stat(j->output, &old) == 0;
    j->target = exists ? realpath(j->output, NULL) : strdup(j->output);
    size_t length = j->target ? strlen(j->target) : 0;
    while (length > 1 && j->target[length - 1] == '/') j->target[--length] = 0;
    j->folder = j->target ? malloc(length + 48) : NULL;
    if (!j->folder) return complain(EXIT_IO, "vectors", "no memory");
    snprintf(j->folder, length + 48, "%s.%ld.tmp", j->target, (long)getpid());
    if (mkdir(j->folder, 0777)) return cannot_make(j);
    if (exists) chmod(j->folder, old.st_mode & 07777); /* where it fails, the umask's are left */
    return EXIT_FINE;
}

/* The files to the disk, all at once, and then the folder to its place. */
static int put_in_place(const vector_job *j) {
    int fd = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
#ifdef __linux__
    bool lost = fd < 0 || syncfs(fd);
#else
    bool lost = fd < 0 || fsync(fd);
#endif
    if (fd >= 0) close(fd);
    if (lost) return cannot_write(j);
    return rename(j->folder, j->target) ? cannot_make(j) : EXIT_FINE;
}

int write_folder(vector_job *j, const case_list *list) {
    int status = make_folder(j);
    if (status) return status;
    status = write_cases(j, list);
    if (!status) status = put_in_place(j);
    if (status)
        nftw(j->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    else
        printf("%zu layers, %zu of them edge cases, in %s\n", list->count, list->edges, j->output);
    return status;
}

/* A file belongs to the process that holds a lock (flock) on it. The system releases the lock when the
 * process ends, in any way. A process number in the name would not do: in containers all processes may have
 * the same. Only the holder of the lock of a file removes it, and only if the file still has its name. So a
 * file that is locked and has its name keeps both. */
#define _GNU_SOURCE /* flock, O_NOFOLLOW */

#include "files/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool lock(int fd) {
    int failed;
    do failed = flock(fd, LOCK_EX | LOCK_NB);
    while (failed && errno == EINTR);
    return !failed;
}

int pln_lock_new(const char *path, mode_t mode) {
    struct stat s;
    int fd;
    do fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return -1;
    bool taken = !lock(fd) && errno == EWOULDBLOCK; /* by pln_lock_clear, before it was locked */
    if (!taken && (fstat(fd, &s) || s.st_nlink > 0)) return fd;
    close(fd);
    errno = EEXIST;
    return -1;
}

bool pln_lock_clear(const char *path) {
    struct stat opened, named;
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno != ENOENT;
    if (lock(fd) && !fstat(fd, &opened) && !lstat(path, &named) && opened.st_ino == named.st_ino &&
        opened.st_dev == named.st_dev)
        unlink(path); /* do not write into it: another process may have it open, or have a link to it */
    close(fd);
    return true;
}

int pln_lock_hold(const char *path) {
    struct stat s = {.st_nlink = 0};
    while (true) {
        int fd;
        do fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        while (fd < 0 && errno == EINTR);
        if (fd < 0) return -1;
        bool held = lock(fd);
        int why = errno;
        if (held && (fstat(fd, &s) || s.st_nlink > 0)) return fd;
        close(fd);
        errno = why;
        if (!held) return -1;
        /* the last holder has removed it meanwhile: there is a new file, or none */
    }
}

void pln_lock_drop(const char *path, int fd) {
    unlink(path);
    close(fd);
}

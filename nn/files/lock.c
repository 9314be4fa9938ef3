/* A file is its maker's as long as the maker holds a lock (flock) on it; the system releases that when a process ends, however it
 * ends. A number of a process in its name would not tell: in containers each process has the same. Who has got the lock of a file
 * that is still under its name may remove it, and only the holder does; so a file which is locked and has its name keeps both. */
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
        unlink(path); /* and not: write into it, for somebody else may have it open, or under another name */
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
        /* who held it last has just removed it: there is another by now, or none */
    }
}

void pln_lock_drop(const char *path, int fd) {
    unlink(path);
    close(fd);
}

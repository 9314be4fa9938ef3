/* lock.h: files that exist as long as the process that created them. */
#ifndef PLN_LOCK_H
#define PLN_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

/* Create the file `path`, which must not exist, and lock it until the descriptor and its copies are closed,
 * at the latest by the end of the process. -1 with errno; EEXIST also if another process took the new file
 * for that of a dead one. On a file system without locks the file is created as well. */
int pln_lock_new(const char *path, mode_t mode);

/* Remove the file `path` if the process that created it with pln_lock_new is dead. False if there is no
 * file. */
bool pln_lock_clear(const char *path);

/* Lock the file `path` exclusively, creating it if it is missing; -1 with errno, EWOULDBLOCK if another
 * process holds it. */
int pln_lock_hold(const char *path);
/* Remove the file and release its lock. */
void pln_lock_drop(const char *path, int fd);

#endif

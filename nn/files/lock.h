/* lock.h: files that live as long as the process that made them. */
#ifndef PLN_LOCK_H
#define PLN_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

/* Make the file `path`, which must not be there, and lock it until the descriptor and its copies are closed, as the end of a process
 * does, whatever ends it. -1 with errno; EEXIST also where somebody took the new file for a dead one's. On a file system without
 * locks the file is made all the same. */
int pln_lock_new(const char *path, mode_t mode);

/* Remove the file `path` if whoever made it with pln_lock_new is dead. False if nothing was there. */
bool pln_lock_clear(const char *path);

/* Hold the file `path`, made if it is missing, as the only one to do so; -1 with errno, EWOULDBLOCK if another holds it. */
int pln_lock_hold(const char *path);
/* Let go of it, and remove it. */
void pln_lock_drop(const char *path, int fd);

#endif

/* What the tests of determinism share: every path of the convolutions, and the numbers of threads. */
#ifndef DETERMINISM_H
#define DETERMINISM_H

#include <stddef.h>

/* NULL ends both. A path that this processor cannot go is the plain one. */
extern const char *const every_path[];
extern const int every_number[];

/* Contexts that are made from now on take this path. */
void take_path(const char *path);

#endif

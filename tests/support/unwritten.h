/* unwritten.h: memory that a context hands out holds large numbers until somebody writes to it, in every program that links unwritten.c. */
#ifndef UNWRITTEN_H
#define UNWRITTEN_H

#include <stdbool.h>

/* Does valgrind run the program, and complain of whoever looks at that memory? */
bool unwritten_is_watched(void);

#endif

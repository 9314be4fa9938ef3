/* pages.h: memory at whose ends nothing can be read: a read beyond it ends the test, whether it is used or not. */
#ifndef PAGES_H
#define PAGES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct pages {
    char *block, *data; /* data [bytes] is the caller's to write */
    size_t each, room;
} pages;

/* The data end at the last page that can be read, or begin at the first one. */
pages pages_new(size_t bytes, bool at_end);
void pages_free(pages p);

#endif

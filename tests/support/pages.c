#define _GNU_SOURCE /* mprotect, sysconf */
#include "pages.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whether the pages at both ends can be read. */
static void open_ends(const pages *p, bool open) {
    int how = open ? PROT_READ | PROT_WRITE : PROT_NONE;
    cr_assert(mprotect(p->block, p->each, how) == 0 &&
              mprotect(p->block + p->each + p->room, p->each, how) == 0);
}

pages pages_new(size_t bytes, bool at_end) {
    size_t each = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + each - 1) / each * each;
    pages p = {.block = aligned_alloc(each, room + 2 * each), .each = each, .room = room};
    cr_assert_not_null(p.block);
    p.data = p.block + each + (at_end ? room - bytes : 0);
    open_ends(&p, false);
    return p;
}

void pages_free(pages p) {
    open_ends(&p, true);
    free(p.block);
}

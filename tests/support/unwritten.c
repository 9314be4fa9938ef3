/* Memory that nobody wrote cannot pass for a value: every block that a context hands out to ops is filled before, also one that was
 * used before and still holds what was right then. The linker puts this in the place of the library's pl_take (--wrap, in meson.build),
 * so the library itself knows nothing of it.
 *
 * Each block gets another number, so that results which should be the same, and hold what nobody wrote, differ. It is large, but its square
 * is finite in both types: NaN and infinity have ways of their own through the convolutions, where their like is looked for and computed
 * again. As an index or an address it ends the program. */
#include "unwritten.h"

#include <stdint.h>
#include <string.h>

#include "core/core.h"

#if __has_include(<valgrind/memcheck.h>)
#    include <valgrind/memcheck.h>
#else
#    define VALGRIND_MAKE_MEM_UNDEFINED(at, bytes) (void)(at)
#    define RUNNING_ON_VALGRIND false
#endif

bool unwritten_is_watched(void) { return RUNNING_ON_VALGRIND; }

void *__real_pl_take(pl_memory *m, size_t bytes);
void *__wrap_pl_take(pl_memory *m, size_t bytes);

void *__wrap_pl_take(pl_memory *m, size_t bytes) {
    enum { LEAST = 0x57, NUMBERS = 7 }; /* 2e14 to 1e18 in f32, 5e112 to 1e142 in f64 */
    static _Thread_local uint32_t draw; /* in no step with anything that repeats */
    void *block = __real_pl_take(m, bytes);
    if (block == NULL) return NULL;
    draw = draw * 1664525 + 1013904223;
    memset(block, LEAST + (int)(draw >> 16) % NUMBERS, bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(block, bytes); /* valgrind sees it as new */
    return block;
}

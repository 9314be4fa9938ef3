/* A sweep over geometries as large as networks have them: every path against the plain one, all three operators, both types, bit for bit
 * on whole numbers. Memory that nobody has written holds large numbers.
 *
 *     build/tests/sweep [--count N] [--seed N] [--mflop N]      # --help says more
 *     PLEAT_CASE='N1 C4 ...' build/tests/sweep                 # one geometry
 */
#include "conv_calls.h"
#include "geometry.h"
#include "pleat_kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { UNWRITTEN = 0x71 };

static const char *const op_names[] = {"conv2d", "conv2d_transpose", "conv2d_weight"};

typedef struct sweep {
    pleat_conv_shape g;
    pleat_pool *pool;
    void *values[3], *want, *found, *memory;
    size_t n[3], room[6]; /* room: bytes of these arrays, so that they are used again */
    size_t runs, taken[TESTED_PATHS], wrong;
} sweep;

static void *grow(void **p, size_t *room, size_t bytes) {
    if (bytes > *room) {
        free(*p);
        *p = malloc(bytes), *room = bytes;
        if (!*p) exit(2);
    }
    return *p;
}

/* -4 .. 4, eight to a word of random bits */
static void fill(void *to, size_t n, size_t element, uint64_t seed) {
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++, bits >>= 8) {
        if (i % 8 == 0) bits = (uint64_t)random_below(&seed, SIZE_MAX);
        int v = (int)(bits & 0xff) % 9 - 4;
        if (element == sizeof(float))
            ((float *)to)[i] = (float)v;
        else
            ((double *)to)[i] = v;
    }
}

static void run(sweep *s, pleat_conv_op op, size_t element, pleat_path path, void *c, size_t size) {
    size_t bytes = conv_bytes(&s->g, element, op, path, pleat_pool_threads(s->pool));
    void *memory = grow(&s->memory, &s->room[5], bytes);
    if (bytes) memset(memory, UNWRITTEN, bytes);
    memset(c, UNWRITTEN, size);
    pleat_work work = {.memory = memory, .bytes = bytes, .pool = s->pool};
    void *xwy[3] = {s->values[0], s->values[1], s->values[2]};
    xwy[op == PLEAT_CONV_FORWARD ? 2 : op == PLEAT_CONV_TRANSPOSE ? 0 : 1] = c;
    if (conv_run(&s->g, element, op, path, xwy, &work)) exit(2);
    s->runs++;
}

static void compare(sweep *s, pleat_conv_op op, size_t element, size_t path, size_t n) {
    size_t bad = 0, first = n;
    for (size_t i = n; i-- > 0;) {
        bool same = element == sizeof(float) ? ((float *)s->want)[i] == ((float *)s->found)[i]
                                             : ((double *)s->want)[i] == ((double *)s->found)[i];
        if (!same) bad++, first = i;
    }
    if (bad == 0) return;
    s->wrong++;
    printf(
        "%s f%zu path %s: %zu of %zu numbers wrong, the first at %zu\nreproduce: PLEAT_CASE='%s' build/tests/sweep\n",
        op_names[op], 8 * element, tested_path_name[path], bad, n, first, geometry_print(&s->g).text);
    fflush(stdout);
}

/* The default path always, and one of the others in turn. */
static void check(sweep *s, size_t turn, bool all) {
    enum {
        AUTO,
        IM2COL = 2,
        BASELINE,
        OTHERS = 3
    }; /* among tested_path; the reference would take too long */
    for (size_t element = 4; element <= 8; element += 4) {
        for (size_t k = 0; k < 3; k++)
            fill(grow(&s->values[k], &s->room[k], s->n[k] * element), s->n[k], element, turn + k);
        for (int op = 0; op < 3; op++) {
            size_t n = s->n[op == PLEAT_CONV_FORWARD     ? 2
                            : op == PLEAT_CONV_TRANSPOSE ? 0
                                                         : 1],
                   size = n * element;
            run(s, (pleat_conv_op)op, element, tested_path[IM2COL], grow(&s->want, &s->room[3], size), size);
            for (size_t k = 0; k <= OTHERS; k++) {
                size_t path = k == OTHERS ? AUTO : BASELINE + k;
                if (k < OTHERS && !all && k != turn % OTHERS) continue;
                if (!conv_takes(&s->g, element, (pleat_conv_op)op, tested_path[path])) continue;
                run(s, (pleat_conv_op)op, element, tested_path[path], grow(&s->found, &s->room[4], size),
                    size);
                s->taken[path]++;
                compare(s, (pleat_conv_op)op, element, path, n);
            }
        }
    }
}

static void sizes(sweep *s) {
    s->n[0] = geometry_image(&s->g), s->n[1] = geometry_kernel(&s->g), s->n[2] = geometry_map(&s->g);
}

static const char usage[] =
    "usage: sweep [--count N] [--seed N] [--mflop N] [--threads N]\n"
    "  Random geometries of the sizes that networks have; every path against the plain one, bit for bit.\n"
    "  --count    geometries, default 1000\n"
    "  --seed     of the first one, default 0; the others follow it\n"
    "  --mflop    at most so many million operations for each, default 200\n"
    "  --threads  default 2\n";

int main(int count, char **argument) {
    unsigned long options[4] = {1000, 0, 200, 2};
    static const char *const names[] = {"--count", "--seed", "--mflop", "--threads"};
    for (int i = 1; i < count; i += 2) {
        size_t k = 0;
        while (k < 4 && strcmp(argument[i], names[k]) != 0) k++;
        if (k == 4 || i + 1 == count)
            return fputs(usage, k < 4 || strcmp(argument[i], "--help") ? stderr : stdout),
                   k == 4 && strcmp(argument[i], "--help") == 0 ? 0 : 2;
        options[k] = strtoul(argument[i + 1], NULL, 10);
    }
    static sweep s;
    pleat_blas_single_thread();
    s.pool = pleat_pool_new((int)options[3]);
    time_t start = time(NULL);
    bool one = getenv("PLEAT_CASE") != NULL;
    size_t done = 0;
    for (; one ? geometry_case(done, 0, &s.g) : done < options[0]; done++) {
        uint64_t seed = options[1] + done;
        if (!one) s.g = geometry_drawn(&seed, (double)options[2] * 5e5, 1 << 23);
        sizes(&s);
        check(&s, options[1] + done, one);
    }
    printf("%zu geometries, %zu runs:", done, s.runs);
    for (size_t k = 0; k < TESTED_PATHS; k++)
        if (s.taken[k]) printf(" %s %zu,", tested_path_name[k], s.taken[k]);
    printf(" %zu wrong; %.0f s\n", s.wrong, difftime(time(NULL), start));
    pleat_pool_free(s.pool);
    for (size_t k = 0; k < 3; k++) free(s.values[k]);
    free(s.want), free(s.found), free(s.memory);
    return s.wrong > 0;
}

/* The error of each function of floats over all 2^32 of them, and of powers over a billion pairs.
 *     build/tests/every_float [NAME ...]
 * Some minutes a function. The exit status is 1 if one is more than 0.51 units of the last place away. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/functions.h"
#include "functions_table.h"
#include "pleat_op.h"

enum { PARTS = 4096, OF_POWERS = 1000000000 };

typedef struct part {
    double worst;
    float at;
    double y; /* the exponent */
} part;

typedef struct job {
    const function *f; /* NULL: powers */
    part parts[PARTS];
} job;

/* In units of the last place of a float, of a result that is far nearer than that. */
static double error_of(float y, double want) {
    if (isnan(want) || isnan(y)) return isnan(want) && isnan(y) ? 0 : HUGE_VAL;
    if ((float)want == y)
        return isinf(y) ? 0 : fabs((double)y - want) / ldexp(1, ilogb(want) < -126 ? -149 : ilogb(want) - 23);
    if (isinf(want) || isinf(y)) return HUGE_VAL;
    return fabs((double)y - want) / ldexp(1, ilogb(want) < -126 ? -149 : ilogb(want) - 23);
}

static void look(part *p, float x, double y, double error) {
    if (error > p->worst) *p = (part){error, x, y};
}

static void run_part(void *arg, size_t task) {
    job *j = arg;
    part *p = &j->parts[task];
    if (j->f != NULL) {
        for (size_t i = 0; i < (size_t)1 << 20; i++) {
            const uint32_t bits = (uint32_t)(task << 20 | i);
            float x;
            memcpy(&x, &bits, sizeof x);
            look(p, x, 0, error_of(j->f->f32(x), j->f->near((double)x)));
        }
        return;
    }
    pleat_rng r = pleat_rng_new(5, task);
    for (size_t i = 0; i < OF_POWERS / PARTS + 1; i++) {
        const uint32_t bits = pleat_rng_u32(&r) & 0x7fffffff;
        float x;
        memcpy(&x, &bits, sizeof x);
        const double y = (2 * pleat_rng_uniform(&r) - 1) * (i % 2 ? 4 : 105 / fabs(log((double)x)));
        if (isfinite(y)) look(p, x, y, error_of(pl_pow_f32(x, y), pow((double)x, y)));
    }
}

static bool is_fine(pleat_ctx *ctx, const char *name, const function *f) {
    static job j;
    j = (job){.f = f};
    pleat_parallel(ctx, 1e12, PARTS, run_part, &j);
    part worst = j.parts[0];
    for (size_t i = 1; i < PARTS; i++)
        if (j.parts[i].worst > worst.worst) worst = j.parts[i];
    printf("%-9s %.6f ulp at %a", name, worst.worst, (double)worst.at);
    printf(f ? "\n" : "^%a\n", worst.y);
    fflush(stdout);
    return worst.worst <= 0.51;
}

static bool is_asked(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return true;
    return argc == 1;
}

int main(int argc, char **argv) {
    pleat_ctx *ctx = pleat_ctx_new();
    if (ctx == NULL) return 1;
    bool fine = true;
    for (size_t k = 0; k < FUNCTIONS; k++)
        if (is_asked(functions[k].name, argc, argv))
            fine = is_fine(ctx, functions[k].name, &functions[k]) && fine;
    if (is_asked("pow", argc, argv)) fine = is_fine(ctx, "pow", NULL) && fine;
    pleat_ctx_free(ctx);
    return !fine;
}

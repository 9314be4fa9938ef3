#include "own_layout.h"
#include "timing.h"

#include <float.h>
#include <stdlib.h>

typedef struct run {
    pleat_conv_plan *plan;
    float *xwy[3];
    void *packed;
    pleat_work work;
} run;

static void run_once(void *arg) {
    run *r = arg;
    pleat_conv_run(r->plan, r->xwy[0], r->xwy[1], r->xwy[2], &r->work);
}

static float *numbers(size_t n) {
    float *a = aligned_alloc(64, (n * sizeof *a / 64 + 1) * 64);
    for (size_t i = 0; a && i < n; i++) a[i] = (float)(rand() % 2001) / 1000 - 1;
    return a;
}

/* One operator in one pair of layouts; FLT_MAX where there are none such. */
static double time_operator(const pleat_conv_shape *g, pleat_conv_op op, pleat_pool *pool, double seconds,
                            bool *memory) {
    if (pleat_conv_check(g, sizeof(float))) return FLT_MAX;
    run r = {.plan = pleat_conv_plan_new(g, op, sizeof(float), (pleat_path){0})};
    size_t sizes[3] = {g->N * g->C * g->H * g->W, g->O * (g->C / g->G) * g->R * g->S,
                       g->N * g->O * g->P * g->Q};
    bool ready = r.plan != NULL;
    for (size_t i = 0; i < 3; i++) ready &= (r.xwy[i] = numbers(sizes[i])) != NULL;
    bool slow = ready && pleat_conv_plan_path(r.plan).engine == PLEAT_ENGINE_REFERENCE;
    double ms = FLT_MAX;
    if (ready && !slow) {
        size_t packed = pleat_conv_packed_bytes(r.plan);
        r.work.pool = pool, r.work.bytes = pleat_conv_plan_bytes(r.plan, pleat_pool_threads(pool));
        r.work.memory = malloc(r.work.bytes + 1);
        r.packed = packed ? aligned_alloc(64, (packed + 63) / 64 * 64) : NULL;
        ready = r.work.memory && (r.packed || !packed);
        if (ready && packed) pleat_conv_pack(r.plan, r.xwy[1], r.packed, pool);
        r.work.packed = r.packed;
        if (ready) ms = bench_median_ms(run_once, &r, seconds, 5);
    }
    for (size_t i = 0; i < 3; i++) free(r.xwy[i]);
    free(r.work.memory), free(r.packed);
    pleat_conv_plan_free(r.plan);
    *memory &= ready;
    return ms;
}

bool own_layout_ms(const pleat_conv_shape *g, bool deconv, int threads, double seconds, double *forward,
                   double *step) {
    pleat_pool *pool = threads > 1 ? pleat_pool_new(threads) : NULL;
    bool memory = pool || threads <= 1;
    *step = 0;
    for (int op = PLEAT_CONV_FORWARD; op <= PLEAT_CONV_WEIGHT; op++) {
        double best = FLT_MAX;
        for (size_t layout = 0; layout < 4; layout++) {
            pleat_conv_shape own = *g;
            own.blocked[0] = layout & 1, own.blocked[1] = layout >> 1;
            double ms = time_operator(&own, (pleat_conv_op)op, pool, seconds / 4, &memory);
            if (ms < best) best = ms;
        }
        if (op == (deconv ? PLEAT_CONV_TRANSPOSE : PLEAT_CONV_FORWARD)) *forward = best;
        *step += best;
    }
    pleat_pool_free(pool);
    return memory;
}

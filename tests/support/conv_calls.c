#include "conv_calls.h"

#include <stdio.h>
#include <stdlib.h>

const pleat_path tested_path[TESTED_PATHS] = {
    {PLEAT_ENGINE_AUTO, PLEAT_ISA_AUTO},   {PLEAT_ENGINE_REFERENCE, PLEAT_ISA_AUTO},
    {PLEAT_ENGINE_IM2COL, PLEAT_ISA_AUTO}, {PLEAT_ENGINE_AUTO, PLEAT_ISA_BASELINE},
    {PLEAT_ENGINE_AUTO, PLEAT_ISA_AVX2},   {PLEAT_ENGINE_AUTO, PLEAT_ISA_AVX512}};
const char *const tested_path_name[TESTED_PATHS] = {"auto",     "reference", "im2col",
                                                    "baseline", "avx2",      "avx512"};

pleat_path forced_path(void) {
    pleat_path path = {0};
    const char *engine = getenv("PLEAT_ENGINE"), *isa = getenv("PLEAT_ISA");
    if (pleat_path_parse(engine, isa, &path)) return path;
    fprintf(stderr, "PLEAT_ENGINE=%s PLEAT_ISA=%s is no path\n", engine ? engine : "", isa ? isa : "");
    exit(2);
}

path_words path_text(pleat_path path) {
    static const char *const engines[] = {"auto",          "reference", "im2col",
                                          "implicit_gemm", "direct",    "columns"},
                             *const isas[] = {"auto", "baseline", "avx2", "avx512"};
    path_words w;
    snprintf(w.text, sizeof w.text, "%s %s", engines[path.engine], isas[path.isa]);
    return w;
}

static pleat_conv_plan *plan_of(const pleat_conv_shape *g, size_t element, pleat_conv_op op,
                                pleat_path path) {
    pleat_conv_plan *plan = pleat_conv_plan_new(g, op, element, path);
    if (!plan) exit(2);
    return plan;
}

size_t conv_bytes(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path, int threads) {
    pleat_conv_plan *plan = plan_of(g, element, op, path);
    size_t bytes = pleat_conv_plan_bytes(plan, threads);
    pleat_conv_plan_free(plan);
    return bytes;
}

pleat_path conv_taken(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path) {
    pleat_conv_plan *plan = plan_of(g, element, op, path);
    path = pleat_conv_plan_path(plan);
    pleat_conv_plan_free(plan);
    return path;
}

bool conv_takes(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path) {
    pleat_path taken = conv_taken(g, element, op, path);
    return (path.engine == PLEAT_ENGINE_AUTO || path.engine == taken.engine) &&
           (path.isa == PLEAT_ISA_AUTO || path.isa == taken.isa);
}

int conv_run(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path, void *const xwy[3],
             const pleat_work *work) {
    pleat_conv_plan *plan = plan_of(g, element, op, path);
    int status = pleat_conv_run(plan, xwy[0], xwy[1], xwy[2], work);
    pleat_conv_plan_free(plan);
    return status;
}

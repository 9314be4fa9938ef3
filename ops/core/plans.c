/* The plans of a context's convolutions, made once for a shape, an operator and a type. The cache is bounded: 4 places for each of 32 hash
 * values; a fifth plan takes the place that was filled first. So a network with up to some hundred shapes plans nothing once it is warm,
 * and one whose shapes change all the time plans each call. */
#include <string.h>

#include "core/core.h"

/* FNV-1a over the sizes. */
static uint64_t hash_of(const pleat_conv_shape *g, pleat_conv_op op, pleat_dtype dtype) {
    const size_t *word = (const size_t *)(const void *)g;
    uint64_t hash = 14695981039346656037u ^ ((uint64_t)op << 8) ^ (uint64_t)dtype;
    for (size_t i = 0; i < sizeof *g / sizeof *word; i++) hash = (hash ^ word[i]) * 1099511628211u;
    return hash ^ hash >> 32;
}

const pleat_conv_plan *pl_conv_plan(pleat_ctx *ctx, const pleat_conv_shape *g, pleat_conv_op op,
                                    pleat_dtype dtype) {
    uint64_t hash = hash_of(g, op, dtype);
    pl_plan_set *set = &ctx->plans.set[hash % PL_PLAN_SETS];
    for (size_t i = 0; i < PL_PLAN_WAYS; i++) {
        pl_plan_entry *e = &set->entry[i];
        bool same = e->plan != NULL && e->hash == hash && e->op == op && e->dtype == dtype;
        if (same && memcmp(pleat_conv_plan_shape(e->plan), g, sizeof *g) == 0) return e->plan;
    }
    pleat_conv_plan *plan = pleat_conv_plan_new(g, op, pl_element(dtype), ctx->path);
    if (plan == NULL) return NULL;
    pl_plan_entry *e = &set->entry[set->next++ % PL_PLAN_WAYS];
    pleat_conv_plan_free(e->plan);
    *e = (pl_plan_entry){plan, hash, op, dtype};
    return plan;
}

void pl_plans_free(pl_plans *plans) {
    for (size_t i = 0; i < PL_PLAN_SETS; i++)
        for (size_t k = 0; k < PL_PLAN_WAYS; k++) pleat_conv_plan_free(plans->set[i].entry[k].plan);
}

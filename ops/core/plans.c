/* The plans of a context's convolutions, made once for a shape, an operator and a type. The cache is a hash table of fixed size: a network
 * of up to some two hundred different convolutions, which have three plans each, plans nothing once it is warm. When it is full, all are
 * made anew as they are asked for: that costs less than the convolutions themselves. */
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
    pl_plans *plans = &ctx->plans;
    const size_t first = (size_t)(hash_of(g, op, dtype) % PL_PLAN_ROOM);
    size_t at = first;
    for (; plans->entry[at].plan != NULL; at = (at + 1) % PL_PLAN_ROOM) {
        const pl_plan_entry *e = &plans->entry[at];
        bool same = e->op == op && e->dtype == dtype;
        if (same && memcmp(pleat_conv_plan_shape(e->plan), g, sizeof *g) == 0) return e->plan;
    }
    pleat_conv_plan *plan = pleat_conv_plan_new(g, op, pl_element(dtype), ctx->path);
    if (plan == NULL) return NULL;
    if (plans->count == PL_MOST_PLANS) pl_plans_free(plans), at = first;
    plans->entry[at] = (pl_plan_entry){plan, op, dtype};
    plans->count++;
    return plan;
}

void pl_plans_free(pl_plans *plans) {
    for (size_t i = 0; i < PL_PLAN_ROOM; i++) pleat_conv_plan_free(plans->entry[i].plan);
    *plans = (pl_plans){.generation = plans->generation + 1};
}

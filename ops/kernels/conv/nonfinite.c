/* Padding that meets numbers that are not finite. Taps in padding are absent: they add nothing, whatever the other factor is. The engines
 * multiply zeros instead, which is the same but for Inf and NaN: 0 times Inf is NaN. So a wrong result is always NaN, and is computed
 * again by the definition. With finite data this costs a look, where there is padding: at the operand that padding is multiplied
 * with, or at the result, whichever is less. */
#include "kernels/conv/axis.h"
#include "kernels/conv/engine.h"
#include "kernels/parallel.h"

typedef struct sizes {
    size_t x, w, y;
} sizes;

static sizes sizes_of(const pleat_conv_shape *g) {
    return (sizes){g->N * g->C * g->H * g->W, g->O * (g->C / g->G) * g->R * g->S, g->N * g->O * g->P * g->Q};
}

static size_t result_size(const pleat_conv_plan *p, sizes n) {
    return p->op == PLEAT_CONV_FORWARD ? n.y : p->op == PLEAT_CONV_TRANSPOSE ? n.x : n.w;
}

enum { PIECE = 256 }; /* results in a task */

typedef struct fix_arguments {
    const pleat_conv_plan *plan;
    const pl_conv_call *call;
    size_t size;
} fix_arguments;

#define BODY "kernels/conv/nonfinite.inc"
#include "kernels/both_types.inc"

bool pl_fix_padding_nan(const pleat_conv_plan *plan, const pl_conv_call *call) {
    bool f32 = plan->engine->element == sizeof(float), image = plan->op == PLEAT_CONV_TRANSPOSE;
    /* a weight's sum runs over a whole map, which the engines fill up with zeros where they like */
    bool padded = plan->op == PLEAT_CONV_WEIGHT || touches_padding(&plan->g, 0, image) ||
                  touches_padding(&plan->g, 1, image);
    if (plan->exact || !padded) return false;
    if (!(f32 ? is_suspicious_f32 : is_suspicious_f64)(plan, call)) return false;
    fix_arguments f = {plan, call, result_size(plan, sizes_of(&plan->g))};
    pl_parallel(call->pool, ceil_div(f.size, PIECE), f32 ? fix_f32 : fix_f64, &f);
    return true;
}

/* The reference: each element of a result by its definition, one term after the other. Padding is absent, so it adds no term. */
#include "kernels/conv/axis.h"
#include "kernels/conv/engine.h"
#include "kernels/conv/order.h"
#include "kernels/parallel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* a b + c, rounded once */
static float fmadd_f32(float a, float b, float c) { return fmaf(a, b, c); }
static double fmadd_f64(double a, double b, double c) { return fma(a, b, c); }

typedef struct task_arguments {
    const pleat_conv_plan *plan;
    const pl_conv_call *call;
} task_arguments;

/* Elements in a plane of the result: of pixels, or of taps. */
static size_t plane_size(const pleat_conv_plan *p) {
    const pleat_conv_shape *g = &p->g;
    return p->op == PLEAT_CONV_WEIGHT ? g->R * g->S : p->op == PLEAT_CONV_FORWARD ? g->P * g->Q : g->H * g->W;
}

static size_t planes(const pleat_conv_plan *p) {
    const pleat_conv_shape *g = &p->g;
    return p->op == PLEAT_CONV_WEIGHT ? g->O * (g->C / g->G)
                                      : g->N * (p->op == PLEAT_CONV_FORWARD ? g->O : g->C);
}

static pl_decisions decide(const pleat_conv_plan *plan) {
    (void)plan;
    return (pl_decisions){0};
}

static void describe(const pleat_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, "%zu planes", planes(plan));
}

#define BODY "kernels/conv/reference.inc"
#include "kernels/both_types.inc"

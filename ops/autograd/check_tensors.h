/* check_tensors.h: helpers of both checkers. */
#ifndef PL_CHECK_TENSORS_H
#define PL_CHECK_TENSORS_H

#include "core/core.h"

/* A tensor of t's shape and type with normal numbers, or with integers -4..4. */
pleat_tensor *pl_random_like(pleat_rng *r, const pleat_tensor *t, bool integers);

/* End a check: write the report and return the status. If `done` is false, the context has the error. An
 * error during a check belongs to the check: it moves from the context to the report. */
pleat_status pl_check_end(pleat_ctx *ctx, pleat_report *report, pleat_report *out, bool done,
                          double tolerance);

/* The line of a check that passed: `what`, and the worst error, its bound and its place. */
void pl_check_passed(pleat_report *report, const char *what, double tolerance, const char *place);

/* Refuse the arguments of a check. */
pleat_status pl_check_refuse(pleat_report *out, const char *text);

#endif

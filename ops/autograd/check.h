/* check.h: what the checkers share. */
#ifndef PL_CHECK_H
#define PL_CHECK_H

#include "core/core.h"

/* A tensor like t of normal numbers, or of whole numbers -4..4. */
pleat_tensor *pl_random_like(pleat_rng *r, const pleat_tensor *t, bool integers);

/* Ends a check: its status, and the report to the caller. If it is not done, the context's error says why. An error met
 * during a check belongs to the check: it moves from the context to the report. */
pleat_status pl_check_end(pleat_ctx *ctx, pleat_report *report, pleat_report *out, bool done,
                          double tolerance);

/* Refuses to check at all. */
pleat_status pl_check_refuse(pleat_report *out, const char *text);

#endif

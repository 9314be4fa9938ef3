/* Random tensors and reports for both checkers. */
#include "autograd/check_tensors.h"

#include <math.h>
#include <stdio.h>

pleat_tensor *pl_random_like(pleat_rng *r, const pleat_tensor *t, bool integers) {
    pleat_tensor *u = pleat_empty(t->ctx, t->dtype, t->rank, t->shape);
    for (size_t i = 0; !u->poison && i < u->numel; i++) {
        double x = integers ? (double)pleat_rng_below(r, 9) - 4 : pleat_rng_normal(r);
        if (u->dtype == PLEAT_F64) {
            ((double *)u->data)[i] = x;
        } else {
            ((float *)u->data)[i] = (float)x;
        }
    }
    return u;
}

pleat_status pl_check_end(pleat_ctx *ctx, pleat_report *report, pleat_report *out, bool done,
                          double tolerance) {
    pleat_status status = PLEAT_OK;
    report->ok = done && report->error <= tolerance;
    if (!done) {
        status = ctx->error.code;
        snprintf(report->text, sizeof report->text, "%s", ctx->error.text);
    } else if (!report->ok) {
        status = PLEAT_ERR_CHECK;
    }
    if (out != NULL) *out = *report;
    pleat_clear_error(ctx);
    return status;
}

void pl_check_passed(pleat_report *report, const char *what, double tolerance, const char *place) {
    if (report->error == 0) {
        snprintf(report->text, sizeof report->text, "%s; exact", what);
    } else {
        snprintf(report->text, sizeof report->text, "%s; worst %s of %s: %s", what,
                 pl_number(report->error, 3).text, pl_number(tolerance, 3).text, place);
    }
}

pleat_status pl_check_refuse(pleat_report *out, const char *text) {
    if (out != NULL) {
        *out = (pleat_report){.error = INFINITY};
        snprintf(out->text, sizeof out->text, "%s", text);
    }
    return PLEAT_ERR_ARGUMENT;
}

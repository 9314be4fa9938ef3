/* Losses of numbers: squared, absolute and Huber's difference, dice, and the divergence of a normal
 * distribution. Also the checks of operands and the reduction, for all losses. */
#include "losses.h"

#include <math.h>

/* ---- operands ------------------------------------------------------------------------------------------ */

pleat_tensor *pln_no_loss(const pleat_tensor *x, const pleat_tensor *target) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    return pleat_poison(ctx ? ctx : pleat_ctx_of(target));
}

bool pln_comparable(const char *loss, const pleat_tensor *x, const pleat_tensor *target) {
    pleat_ctx *ctx = x ? pleat_ctx_of(x) : pleat_ctx_of(target);
    pleat_status code = PLEAT_ERR_ARGUMENT;
    const char *wrong = NULL;
    if (!x || !target)
        wrong = x ? "tensor 1 is a null pointer" : "tensor 0 is a null pointer";
    else if (pleat_ctx_of(target) != ctx)
        wrong = "tensor 1 belongs to another context than tensor 0";
    else if (pleat_is_poison(x) || pleat_is_poison(target))
        return false;
    else if (pleat_dtype_of(x) != pleat_dtype_of(target)) {
        code = PLEAT_ERR_DTYPE;
        wrong = pleat_dtype_of(x) == PLEAT_F32 ? "tensor 0 is f32 and tensor 1 is f64; pleat_cast converts"
                                               : "tensor 0 is f64 and tensor 1 is f32; pleat_cast converts";
    }
    if (wrong) pleat_fail(ctx, code, loss, "%s", wrong);
    return !wrong;
}

bool pln_alike(const char *loss, const pleat_tensor *x, const pleat_tensor *target) {
    if (!pln_comparable(loss, x, target)) return false;
    if (pln_same_shape(x, target)) return true;
    char a[192], b[192];
    pleat_fail(pleat_ctx_of(x), PLEAT_ERR_SHAPE, loss,
               "tensor 0 is %s and tensor 1 is %s; they must be equal", pleat_shape_text(x, a, sizeof a),
               pleat_shape_text(target, b, sizeof b));
    return false;
}

pleat_tensor *pln_refuse_loss(const pleat_tensor *x, const char *loss, const char *rule) {
    pleat_fail(pleat_ctx_of(x), PLEAT_ERR_ARGUMENT, loss, "%s", rule);
    return pleat_poison(pleat_ctx_of(x));
}

pleat_tensor *pln_reduce(const char *loss, pleat_tensor *items, pleat_nn_reduction how) {
    if (how == PLEAT_NN_MEAN) return pleat_mean(items);
    if (how == PLEAT_NN_SUM) return pleat_sum(items);
    if (how == PLEAT_NN_NONE) return items;
    return pln_refuse_loss(items, loss, "reduction must be PLEAT_NN_MEAN, PLEAT_NN_SUM or PLEAT_NN_NONE");
}

/* ---- differences --------------------------------------------------------------------------------------- */

static pleat_tensor *of_difference(const char *name, pleat_nn_loss_args a,
                                   pleat_tensor *(*item)(pleat_tensor *)) {
    if (!pln_alike(name, a.x, a.target)) return pln_no_loss(a.x, a.target);
    return pln_reduce(name, item(pleat_sub(a.x, a.target)), a.reduction);
}

pleat_tensor *pleat_nn_mse_loss_with(pleat_nn_loss_args a) {
    return of_difference("mse_loss", a, pleat_square);
}
pleat_tensor *pleat_nn_l1_loss_with(pleat_nn_loss_args a) { return of_difference("l1_loss", a, pleat_abs); }

/* c (d - c/2) with c = d clamped to +-delta: quadratic in the middle and linear outside, without a
 * comparison. */
pleat_tensor *pleat_nn_huber_loss_with(pleat_nn_loss_args a) {
    static const char name[] = "huber_loss";
    if (!pln_alike(name, a.x, a.target)) return pln_no_loss(a.x, a.target);
    double delta = a.delta != 0 ? a.delta : 1;
    if (!(delta > 0 && isfinite(delta)))
        return pln_refuse_loss(a.x, name, "delta must be finite and greater than 0");
    pleat_tensor *d = pleat_sub(a.x, a.target), *c = pleat_clamp(d, -delta, delta);
    return pln_reduce(name, pleat_mul(c, pleat_sub(d, pleat_scale(c, 0.5))), a.reduction);
}

/* ---- masks --------------------------------------------------------------------------------------------- */

pleat_tensor *pleat_nn_dice_loss_with(pleat_nn_loss_args a) {
    static const char name[] = "dice_loss";
    if (!pln_alike(name, a.x, a.target)) return pln_no_loss(a.x, a.target);
    double smooth = a.smooth != 0 ? a.smooth : 1;
    if (!(smooth > 0 && isfinite(smooth)))
        return pln_refuse_loss(a.x, name, "smooth must be finite and greater than 0");
    if (pleat_rank(a.x) < 3) {
        char text[192];
        pleat_fail(pleat_ctx_of(a.x), PLEAT_ERR_SHAPE, name,
                   "both tensors are %s; they must be [N,K,..], of rank 3 or more",
                   pleat_shape_text(a.x, text, sizeof text));
        return pln_no_loss(a.x, a.target);
    }
    unsigned inside = ((1u << pleat_rank(a.x)) - 1) & ~3u;
    pleat_tensor *both = pleat_sum(pleat_mul(a.x, a.target), inside);
    pleat_tensor *all = pleat_sum(pleat_add(pleat_square(a.x), pleat_square(a.target)), inside);
    pleat_tensor *share = pleat_div(pleat_shift(pleat_scale(both, 2), smooth), pleat_shift(all, smooth));
    return pln_reduce(name, pleat_shift(pleat_neg(share), 1), a.reduction);
}

/* ---- distributions ------------------------------------------------------------------------------------- */

pleat_tensor *pleat_nn_kl_loss(pleat_tensor *mean, pleat_tensor *log_var) {
    static const char name[] = "kl_loss";
    if (!pln_alike(name, mean, log_var)) return pln_no_loss(mean, log_var);
    if (pleat_rank(mean) != 2) {
        char text[192];
        pleat_fail(pleat_ctx_of(mean), PLEAT_ERR_SHAPE, name, "both tensors are %s; they must be [N,D]",
                   pleat_shape_text(mean, text, sizeof text));
        return pln_no_loss(mean, log_var);
    }
    pleat_tensor *energy = pleat_add(pleat_square(mean), pleat_exp(log_var));
    return pleat_scale(pleat_sum(pleat_sub(energy, pleat_shift(log_var, 1)), 1u << 1), 0.5);
}

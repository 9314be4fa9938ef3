/* Options that are pairs, and the padding, which is a pair or a number for each side: the one rule for all of them. */
#include "core/core.h"

/* Report the rule that {first, second} breaks; false. */
static bool refuse(pleat_ctx *ctx, const char *op, const char *option, double first, double second,
                   bool zero) {
    pl_digits a = pl_number(first, 15), b = pl_number(second, 15);
    if (second != 0 || first == 0)
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, ".%s = {%s, %s}: both must be at least 1", option, a.text,
                   b.text);
    else if (zero)
        pleat_fail(
            ctx, PLEAT_ERR_ARGUMENT, op,
            ".%s = {%s, 0} is half a pair: write {%s, %s}, or {%s, PLEAT_NONE} for a zero that is meant",
            option, a.text, a.text, a.text, a.text);
    else
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, ".%s = {%s, 0} is half a pair: write {%s, %s}", option,
                   a.text, a.text, a.text);
    return false;
}

bool pleat_pair_f64(pleat_ctx *ctx, const char *op, const char *option, double pair[2], const double *usual,
                    bool zero) {
    double second = pair[1];
    if (pair[0] == 0 && second == 0) {
        for (size_t k = 0; usual != NULL && k < 2; k++) pair[k] = usual[k];
        return true;
    }
    for (size_t k = 0; k < 2; k++) pair[k] = pair[k] == PLEAT_NONE ? 0 : pair[k];
    bool half = second == 0 && pair[0] != 0, lacking = !zero && (pair[0] == 0 || pair[1] == 0);
    return (!half && !lacking) || refuse(ctx, op, option, pair[0], pair[1], zero);
}

bool pleat_pair(pleat_ctx *ctx, const char *op, const char *option, size_t pair[2], const size_t *usual,
                bool zero) {
    double wide[2] = {(double)(ptrdiff_t)pair[0], (double)(ptrdiff_t)pair[1]};
    bool open = pair[0] == 0 && pair[1] == 0;
    if (!pleat_pair_f64(ctx, op, option, wide, NULL, zero)) return false;
    for (size_t k = 0; k < 2; k++) {
        if (open && usual != NULL) pair[k] = usual[k];
        if (wide[k] == 0 && !open) pair[k] = 0;
    }
    return true;
}

bool pl_pads(pleat_ctx *ctx, const char *op, const ptrdiff_t pad[2], const ptrdiff_t pads[4],
             ptrdiff_t out[4]) {
    ptrdiff_t both[2] = {pad[0], pad[1]};
    bool sides = pads[0] != 0 || pads[1] != 0 || pads[2] != 0 || pads[3] != 0;
    if (!pleat_pair(ctx, op, "pad", (size_t *)both, NULL, true)) return false;
    if (sides && (both[0] != 0 || both[1] != 0)) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "give pad or pads, not both");
        return false;
    }
    for (size_t k = 0; k < 4; k++) out[k] = sides ? pads[k] : both[k % 2];
    return true;
}

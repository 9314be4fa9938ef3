/* Binary cross-entropy, of probabilities and of logits: ops, and a reduction. */
#include "losses.h"

pleat_tensor *pleat_nn_bce_loss_with(pleat_nn_loss_args a) {
    static const char name[] = "bce_loss";
    if (!pln_alike(name, a.x, a.target)) return pln_no_loss(a.x, a.target);
    return pln_reduce(name, pleat_bce(a.x, a.target), a.reduction);
}

pleat_tensor *pleat_nn_bce_with_logits_loss_with(pleat_nn_loss_args a) {
    static const char name[] = "bce_with_logits_loss";
    if (!pln_alike(name, a.x, a.target)) return pln_no_loss(a.x, a.target);
    return pln_reduce(name, pleat_bce_with_logits(a.x, a.target), a.reduction);
}

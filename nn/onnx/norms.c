/* Normalisations. BatchNormalization uses the statistics that it is given; in the module's training mode those of the batch, and
 * moves the given ones towards them, as in PyTorch. */
#include <float.h>
#include <math.h>

#include "onnx/parts.h"

/* For a pleat option, in which 0 means the default. */
static bool read_eps(const pln_onnx_run *run, const pln_onnx_node *n, double *eps) {
    *eps = pln_onnx_real(n, "epsilon", 1e-5);
    if (!(*eps >= 0 && isfinite(*eps)))
        return pln_onnx_refuse(run, n, "attribute epsilon must be finite and not negative");
    if (*eps == 0) *eps = DBL_MIN;
    return true;
}

/* momentum old + (1 - momentum) value */
static pleat_tensor *moved(pleat_tensor *old, pleat_tensor *value, double momentum) {
    return pleat_add(pleat_scale(old, momentum), pleat_scale(value, 1 - momentum));
}

static void move_statistics(pln_onnx_run *run, const pln_onnx_value *in, pleat_tensor *mean,
                            pleat_tensor *var, double momentum) {
    double count = (double)pleat_numel(in[0].t) / (double)pleat_numel(mean);
    bool recording = pleat_set_recording(run->ctx, false);
    pleat_assign(in[3].t, moved(in[3].t, mean, momentum));
    pleat_assign(in[4].t, moved(in[4].t, pleat_scale(var, count / (count - 1)), momentum));
    pleat_set_recording(run->ctx, recording);
}

static bool batch_norm(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                       pln_onnx_value *out) {
    double eps, momentum = pln_onnx_real(n, "momentum", 0.9);
    pleat_tensor *x = in[0].t, *mean, *var;
    bool always = pln_onnx_int(n, "training_mode", 0) != 0;
    if (!read_eps(run, n, &eps)) return false;
    if (pln_onnx_int(n, "spatial", 1) != 1)
        return pln_onnx_refuse(run, n, "attribute spatial 0 is not supported");
    if (!always && !run->training) {
        out[0].t = pleat_batch_norm(x, in[1].t, in[2].t, in[3].t, in[4].t, .eps = eps);
        return true;
    }
    if (pleat_numel(x) / (pleat_size(x, 1) ? pleat_size(x, 1) : 1) < 2)
        return pln_onnx_refuse(run, n, "a batch with one value a channel has no variance");
    out[0].t = pleat_batch_norm(x, in[1].t, in[2].t, .eps = eps, .batch_mean = &mean, .batch_var = &var);
    if (pleat_is_poison(out[0].t)) return true;
    if (n->outs > 1) out[1].t = moved(in[3].t, mean, momentum);
    if (n->outs > 2) out[2].t = moved(in[4].t, var, momentum);
    if (run->training) move_statistics(run, in, mean, var, momentum);
    return true;
}

static bool instance_norm(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                          pln_onnx_value *out) {
    double eps;
    if (!read_eps(run, n, &eps)) return false;
    out[0].t = pleat_group_norm(in[0].t, in[1].t, in[2].t, .groups = pleat_size(in[0].t, 1), .eps = eps);
    return true;
}

static bool layer_norm(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                       pln_onnx_value *out) {
    double eps;
    pleat_tensor *x = in[0].t, *affine[2] = {in[1].t, in[2].t};
    size_t axis, rank = pleat_rank(x);
    if (!read_eps(run, n, &eps) || !pln_onnx_axis(run, n, pln_onnx_int(n, "axis", -1), rank, &axis))
        return false;
    for (size_t i = 0; i < 2; i++)
        if (affine[i])
            affine[i] = pleat_contiguous(pleat_broadcast_to(affine[i], rank - axis, pleat_shape(x) + axis));
    out[0].t = pleat_layer_norm(x, affine[0], affine[1], .axes = rank - axis, .eps = eps);
    unsigned axes = ((1u << rank) - 1) & ~((1u << axis) - 1);
    if (n->outs > 1) out[1].t = pleat_mean(x, .axes = axes, .keep = true);
    if (n->outs > 2) out[2].t = pleat_pow(pleat_shift(pleat_var(x, .axes = axes, .keep = true), eps), -0.5);
    return true;
}

static bool mean_variance(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                          pln_onnx_value *out) {
    pln_onnx_list list;
    unsigned axes;
    if (!pln_onnx_ints(run, n, "axes", &list)) return false;
    if (!list.given) list = (pln_onnx_list){.n = 3, .v = {0, 2, 3}};
    if (!pln_onnx_axes(run, n, &list, pleat_rank(in[0].t), &axes)) return false;
    /* the operator adds 1e-9 to the deviation */
    pleat_tensor *x = in[0].t, *mean = pleat_mean(x, .axes = axes, .keep = true);
    pleat_tensor *deviation = pleat_shift(pleat_sqrt(pleat_var(x, .axes = axes, .keep = true)), 1e-9);
    out[0].t = pleat_div(pleat_sub(x, mean), deviation);
    return true;
}

/* x / (bias + alpha/size * the sum of the squares of neighbouring channels)^beta */
static bool local_response(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                           pln_onnx_value *out) {
    pleat_tensor *x = in[0].t, *squares = pleat_square(x), *sum = NULL;
    int64_t size = pln_onnx_int(n, "size", 0), C = (int64_t)pleat_size(x, 1);
    if (size < 1 || pleat_rank(x) < 2)
        return pln_onnx_refuse(run, n, "attribute size is %jd; it must be 1 or more", (intmax_t)size);
    for (int64_t k = -((size - 1) / 2); k <= size / 2; k++)
        if (k > -C && k < C) {
            pleat_tensor *part = pln_onnx_window(squares, 1, (ptrdiff_t)k, (size_t)C);
            sum = sum ? pleat_add(sum, part) : part;
        }
    double alpha = pln_onnx_real(n, "alpha", 1e-4), beta = pln_onnx_real(n, "beta", 0.75),
           bias = pln_onnx_real(n, "bias", 1);
    out[0].t =
        sum ? pleat_mul(x, pleat_pow(pleat_shift(pleat_scale(sum, alpha / (double)size), bias), -beta)) : x;
    return true;
}

static bool lp_norm(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    int64_t p = pln_onnx_int(n, "p", 2);
    size_t axis;
    if (p != 1 && p != 2)
        return pln_onnx_refuse(run, n, "attribute p is %jd; 1 and 2 are supported", (intmax_t)p);
    if (!pln_onnx_axis(run, n, pln_onnx_int(n, "axis", -1), pleat_rank(in[0].t), &axis)) return false;
    pleat_tensor *x = in[0].t,
                 *sum = pleat_sum(p == 1 ? pleat_abs(x) : pleat_square(x), .axes = 1u << axis, .keep = true);
    out[0].t = pleat_div(x, p == 1 ? sum : pleat_sqrt(sum));
    return true;
}

const pln_onnx_row pln_onnx_norms[] = {
    {"BatchNormalization", 7, 8, "fffff", 1, batch_norm, .attrs = "epsilon:f momentum:f spatial:i",
     .weights = 6},
    {"BatchNormalization", 9, 13, "fffff", 1, batch_norm, .attrs = "epsilon:f momentum:f", .weights = 6},
    {"BatchNormalization", 14, 17, "fffff", 3, batch_norm, .attrs = "epsilon:f momentum:f training_mode:i",
     .weights = 6},
    {"InstanceNormalization", 6, 17, "fff", 1, instance_norm, .attrs = "epsilon:f", .weights = 6},
    {"LayerNormalization", 17, 17, "ffF", 3, layer_norm, .attrs = "axis:i epsilon:f stash_type:i",
     .weights = 6},
    {"MeanVarianceNormalization", 9, 17, "f", 1, mean_variance, .attrs = "axes:I"},
    {"LRN", 1, 17, "f", 1, local_response, .attrs = "alpha:f beta:f bias:f size:i"},
    {"LpNormalization", 1, 17, "f", 1, lp_norm, .attrs = "axis:i p:i"},
    {0},
};

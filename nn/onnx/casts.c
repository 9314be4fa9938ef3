/* Types that change, and values that do not. */
#include <math.h>
#include <string.h>

#include "onnx/onnx.h"
#include "pleat_op.h"

/* ---- float16, which is an f32 that such a float can have ------------------------------------------------------------- */

/* The nearest number of 11 digits from 2^-24 on; the even one of two; infinite beyond 65504. */
static double narrowed(double v) {
    int e;
    if (v == 0 || !isfinite(v)) return v;
    frexp(v, &e);
    double unit = ldexp(1, (e > -14 ? e : -13) - 11), r = nearbyint(v / unit) * unit;
    return fabs(r) <= 65504 ? r : copysign(HUGE_VAL, v);
}

static bool narrow_shape(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]), c->dtype = PLEAT_F32;
    memcpy(c->shape, pleat_shape(c->in[0]), c->rank * sizeof *c->shape);
    return true;
}

static bool narrow_forward(const pleat_call *c) {
    float *y = pleat_f32(c->out);
    size_t index[PLEAT_MAX_RANK] = {0};
    for (size_t i = 0; i < pleat_numel(c->out); i++) {
        y[i] = (float)narrowed(pleat_at(c->in[0], index));
        for (size_t k = c->rank; k-- > 0 && ++index[k] == c->shape[k];) index[k] = 0;
    }
    return true;
}

/* As mixed precision has it: the step of rounding is not seen. */
static pleat_tensor *narrow_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_cast(g, pleat_dtype_of(c->in[i]));
}

static const pleat_op narrow_op = {
    .name = "narrow", .shape = narrow_shape, .forward = narrow_forward, .vjp = narrow_vjp};

/* ---- casts ------------------------------------------------------------------------------------------------------------------ */

/* Floats become whole numbers towards zero. */
static bool to_whole(const pln_onnx_run *run, const pln_onnx_node *n, pln_onnx_value *v, bool from_float) {
    if (from_float) {
        double *numbers = pln_onnx_read(run, n, v->t);
        if (!numbers) return false;
        for (size_t i = 0; i < pleat_numel(v->t); i++) numbers[i] = trunc(numbers[i]);
        v->t = pleat_from_f64(run->ctx, PLEAT_F64, pleat_rank(v->t), pleat_shape(v->t), numbers);
    }
    return pln_onnx_wrap(run, n, v);
}

static bool cast_to(pln_onnx_run *run, const pln_onnx_node *n, pln_onnx_value x, int64_t to,
                    pln_onnx_value *out) {
    int type = to > 0 && to <= INT32_MAX ? (int)to : 0;
    /* ONNX's tests cut digits off for a bfloat16, and ONNX Runtime rounds */
    if (!pln_onnx_is_known(type) || (type == PLN_ONNX_BFLOAT16 && type != x.type))
        return pln_onnx_refuse(run, n, "attribute to %jd, %s, is not supported", (intmax_t)to,
                               pln_onnx_type_name(type));
    *out = (pln_onnx_value){x.t, type};
    if (type == PLN_ONNX_BOOL) return *out = pln_onnx_truths(pleat_ne(x.t, pleat_zeros_like(x.t))), true;
    if (!pln_onnx_is_float(type)) return x.type == type || to_whole(run, n, out, pln_onnx_is_float(x.type));
    out->t = type == PLN_ONNX_FLOAT16 && type != x.type ? pleat_apply(&narrow_op, 1, &x.t, NULL, 0)
                                                        : pleat_cast(x.t, pln_onnx_dtype(type));
    return true;
}

static bool cast(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return cast_to(run, n, in[0], pln_onnx_int(n, "to", 0), out);
}

static bool cast_like(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                      pln_onnx_value *out) {
    return cast_to(run, n, in[0], in[1].type, out);
}

/* In the module's training mode elements are dropped; in evaluation x passes. */
static bool drop(pln_onnx_run *run, const pln_onnx_node *n, pln_onnx_value x, double ratio,
                 pln_onnx_value *out) {
    if (!(ratio >= 0 && ratio <= 1)) return pln_onnx_refuse(run, n, "attribute ratio must be from 0 to 1");
    out[0].t = run->training ? pleat_dropout(x.t, ratio) : x.t;
    if (n->outs < 2 || n->out[1] == PLN_ONNX_NONE) return true;
    if (run->training) return pln_onnx_refuse(run, n, "its mask is not supported in training mode");
    out[1] = pln_onnx_truths(pleat_full_like(x.t, 1));
    return true;
}

static bool dropout7(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    return drop(run, n, in[0], pln_onnx_real(n, "ratio", 0.5), out);
}

static bool dropout12(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                      pln_onnx_value *out) {
    double ratio = 0.5, training = 0;
    if (in[1].t && !pln_onnx_number(run, n, "ratio", in[1], &ratio)) return false;
    if (in[2].t && !pln_onnx_number(run, n, "training_mode", in[2], &training)) return false;
    if (training != 0 && ratio != 0 && !run->training)
        return pln_onnx_refuse(run, n,
                               "training_mode drops at random; it is supported in training mode only");
    return drop(run, n, in[0], ratio, out);
}

const pln_onnx_row pln_onnx_casts[] = {
    {"Identity", 1, 17, "a", 1, NULL, .attrs = "", .passes = true},
    {"Cast", 6, 17, "a", 1, cast, .attrs = "to:i", .passes = true},
    {"CastLike", 15, 17, "aa", 1, cast_like, .attrs = ""},
    {"Dropout", 7, 11, "f", 2, dropout7, .attrs = "ratio:f"},
    {"Dropout", 12, 17, "fFB", 2, dropout12, .attrs = "seed:i"},
    {0},
};

/* Ops of one's own in written models: their values, and what an onnx function may not do. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>

#include "onnx_file.h"
#include "scratch.h"

TestSuite(onnx_own, .init = scratch_begin, .fini = scratch_end);

/* y = x sigmoid(a x) b, with a number a and a parameter b [C]. The name is that of another op, which it is not. */
static bool swish_shape(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]);
    for (size_t k = 0; k < c->rank; k++) c->shape[k] = pleat_size(c->in[0], k);
    return true;
}

static bool swish_forward(const pleat_call *c) {
    const float *x = pleat_const_f32(c->in[0]), *b = pleat_const_f32(c->in[1]);
    float a = *(const float *)c->attrs, *y = pleat_f32(c->out);
    size_t C = c->shape[1];
    for (size_t i = 0; i < pleat_numel(c->out); i++) y[i] = x[i] / (1 + expf(-a * x[i])) * b[i % C];
    return true;
}

static bool swish_onnx(const pleat_call *c, pleat_onnx *to) {
    pleat_onnx_begin(to, "Mul"), pleat_onnx_input(to, 0);
    pleat_onnx_input_real(to, *(const float *)c->attrs);
    size_t scaled = pleat_onnx_end(to);
    pleat_onnx_begin(to, "Sigmoid"), pleat_onnx_input_value(to, scaled);
    size_t gate = pleat_onnx_end(to);
    pleat_onnx_begin(to, "Mul"), pleat_onnx_input(to, 0), pleat_onnx_input_value(to, gate);
    size_t gated = pleat_onnx_end(to);
    pleat_onnx_begin(to, "Mul"), pleat_onnx_input_value(to, gated), pleat_onnx_input(to, 1);
    pleat_onnx_end(to);
    return true;
}

static const pleat_op swish_op = {
    .name = "silu", .shape = swish_shape, .forward = swish_forward, .onnx = swish_onnx};

static pleat_tensor *apply(const pleat_op *op, pleat_nn_module *m, pleat_tensor *x) {
    float a = 1.5F;
    return pleat_apply(op, 2, (pleat_tensor *[]){x, pleat_nn_own_param(m, 0)}, &a, sizeof a);
}

static pleat_tensor *swish(pleat_nn_module *m, pleat_tensor *x) { return apply(&swish_op, m, x); }

/* x [N,3] -> linear -> the module in a module of its own, in evaluation. */
static pleat_nn_module *net_with(const pleat_nn_kind *kind) {
    pleat_nn_module *own = pleat_nn_module_new(ctx, kind, NULL, 0);
    pleat_nn_add_param(own, "b", pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(4), (double[]){1, -2, 3, 0.5}));
    pleat_nn_module *net =
        pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 3, 4), pleat_nn_sequential(ctx, own));
    pleat_nn_set_training(net, false);
    return net;
}

static void expect_same(pleat_nn_module *net, pleat_nn_module *read) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(5, 3));
    const float *y = pleat_const_f32(pleat_nn_forward(read, x)),
                *wanted = pleat_const_f32(pleat_nn_forward(net, x));
    for (size_t i = 0; i < 20; i++)
        cr_expect_float_eq(y[i], wanted[i], 1e-6, "%zu: %g %g", i, y[i], wanted[i]);
}

Test(onnx_own, ops_with_an_onnx_function_are_written) {
    static const pleat_nn_kind kind = {.name = "Swish", .forward = swish};
    pleat_nn_module *net = net_with(&kind);
    cr_assert(!pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 3)), "%s",
              pleat_error(ctx)->text);
    pleat_nn_module *read = pleat_nn_onnx_load(ctx, in_scratch("w.onnx"));
    cr_assert(read, "%s", pleat_error(ctx)->text);
    cr_expect(pleat_nn_find_param(read, "1.0.b"));
    expect_same(net, read);
    pleat_nn_free(net), pleat_nn_free(read);
}

/* ---- what is refused ---------------------------------------------------------------------------------------------- */

static bool says_no(const pleat_call *c, pleat_onnx *to) { return (void)c, (void)to, false; }
static bool names_why(const pleat_call *c, pleat_onnx *to) {
    return (void)c, pleat_onnx_refuse(to, "a slope of 1.5");
}
static bool writes_none(const pleat_call *c, pleat_onnx *to) { return (void)c, (void)to, true; }
static bool ends_none(const pleat_call *c, pleat_onnx *to) {
    return (void)c, pleat_onnx_begin(to, "Relu"), pleat_onnx_input(to, 0), true;
}
static bool begins_none(const pleat_call *c, pleat_onnx *to) {
    return (void)c, pleat_onnx_put_int(to, "axis", 1), true;
}
static bool begins_two(const pleat_call *c, pleat_onnx *to) {
    return ends_none(c, to), pleat_onnx_begin(to, "Relu"), true;
}
static bool has_no_name(const pleat_call *c, pleat_onnx *to) {
    return (void)c, pleat_onnx_begin(to, ""), true;
}
static bool reads_others(const pleat_call *c, pleat_onnx *to) {
    return pleat_onnx_begin(to, "Relu"), pleat_onnx_input(to, c->n), true;
}
static bool reads_what_comes(const pleat_call *c, pleat_onnx *to) {
    return (void)c, pleat_onnx_begin(to, "Relu"), pleat_onnx_input_value(to, 1000), true;
}

static pleat_op wrong_op = {.name = "silu", .shape = swish_shape, .forward = swish_forward};
static pleat_tensor *wrong(pleat_nn_module *m, pleat_tensor *x) { return apply(&wrong_op, m, x); }

Test(onnx_own, what_an_onnx_function_does_wrong_is_named_with_its_module) {
    static const pleat_nn_kind kind = {.name = "Swish", .forward = wrong};
    static const struct {
        bool (*onnx)(const pleat_call *, pleat_onnx *);
        const char *text;
    } cases[] = {
        {NULL, "an op without an onnx function has no form in ONNX here"},
        {says_no, "the op, as its onnx function says, has no form"},
        {names_why, "a slope of 1.5 has no form in ONNX here"},
        {writes_none, "must end each node, and one at least"},
        {ends_none, "must end each node, and one at least"},
        {begins_none, "must begin a node before it gives inputs and attributes"},
        {begins_two, "must end a node before it begins another"},
        {has_no_name, "must name an operator"},
        {reads_others, "must give inputs that the call has"},
        {reads_what_comes, "must give values that pleat_onnx_end has returned"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pleat_nn_module *net = net_with(&kind);
        wrong_op.onnx = cases[i].onnx;
        pleat_status status = pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 3));
        cr_expect(strstr(pleat_error(ctx)->text, "w.onnx: 1.0: Swish: silu([1,4], [4]): "), "%s",
                  pleat_error(ctx)->text);
        expect_error(status, PLEAT_ERR_ARGUMENT, cases[i].text);
        pleat_nn_free(net);
    }
}

/* A second input is a weight or a bias. */
static pleat_tensor *shifted(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_group_norm(x, .groups = 2, .bias = pleat_nn_own_param(m, 0), .eps = 1e-5);
}

static pleat_tensor *shifted_rows(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_layer_norm(x, .bias = pleat_nn_own_param(m, 0), .eps = 1e-5);
}

Test(onnx_own, norms_with_a_bias_alone_are_not_mistaken) {
    static const pleat_nn_kind kind = {.name = "Shifted", .forward = shifted},
                               rows = {.name = "Rows", .forward = shifted_rows};
    pleat_nn_module *net = net_with(&kind);
    cr_assert(!pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 3)), "%s",
              pleat_error(ctx)->text);
    pleat_nn_module *read = pleat_nn_onnx_load(ctx, in_scratch("w.onnx"));
    cr_assert(read, "%s", pleat_error(ctx)->text);
    expect_same(net, read);
    pleat_nn_free(net), pleat_nn_free(read);
    net = net_with(&rows);
    expect_error(
        pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 3)), PLEAT_ERR_ARGUMENT,
        "1.0: Rows: layer_norm([1,4], [4]; axes 1, eps 1e-05, no_weight 1): a layer norm without weight");
    pleat_nn_free(net);
}

Test(onnx_own, ops_are_known_by_more_than_their_names) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2));
    cr_expect(pleat_op_is_known(pleat_call_of(pleat_silu(x))->op));
    cr_expect_not(pleat_op_is_known(&swish_op));
    cr_expect_not(pleat_op_is_known(NULL));
}

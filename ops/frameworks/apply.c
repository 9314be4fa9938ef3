/* A layer on tensors in its framework's layouts: one op of the convolution family with every size explicit, a
 * bias, and views around them. Law: out[i] = natural[i + crop], with the crop of the plan. */
#include "frameworks.h"

typedef struct call {
    const pleat_layer *layer;
    pleat_tensor *input, *weight, *bias; /* as given */
    bool kernel_first;
    pleat_layer_plan plan;
} call;

static bool misfit(const call *c, const char *rule) {
    char input[80], weight[80], bias[80] = "none";
    pleat_shape_text(c->input, input, sizeof input);
    pleat_shape_text(c->weight, weight, sizeof weight);
    if (c->bias != NULL) pleat_shape_text(c->bias, bias, sizeof bias);
    pleat_fail(pleat_ctx_of(c->input), PLEAT_ERR_SHAPE, "layer_apply",
               "input %s, weight %s, bias %s, groups %zu: %s", input, weight, bias, c->layer->groups, rule);
    return false;
}

static bool tensors_are_there(const call *c) {
    pleat_ctx *ctx = pleat_ctx_of(c->input != NULL ? c->input : c->weight);
    if (c->input == NULL || c->weight == NULL) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "layer_apply", "the %s is a null pointer",
                   c->input == NULL ? "input" : "weight");
        return false;
    }
    if (pleat_is_poison(c->input) || pleat_is_poison(c->weight)) return false;
    if (c->bias != NULL && pleat_is_poison(c->bias)) return false;
    bool fine = pleat_rank(c->input) == 4 && pleat_rank(c->weight) == 4;
    return (fine && (c->bias == NULL || pleat_rank(c->bias) == 1)) ||
           misfit(c, "the ranks must be 4, 4 and 1");
}

size_t pleat_layer_groups(const pleat_layer *l, const pleat_tensor *input, const pleat_tensor *weight) {
    const pl_framework *f = pl_framework_of(l->framework);
    if (f == NULL || f->groups == NULL || l->transpose) return l->groups;
    if (pleat_rank(input) != 4 || pleat_rank(weight) != 4) return l->groups;
    size_t groups =
        f->groups(pleat_size(input, l->channels_last ? 3 : 1), pleat_size(weight, f->kernel_first ? 2 : 1));
    return groups > 0 ? groups : l->groups;
}

static bool plan(call *c) {
    const pl_framework *f = pl_framework_of(c->layer->framework);
    c->kernel_first = f != NULL && f->kernel_first;
    const size_t *in = pleat_shape(c->input) + (c->layer->channels_last ? 1 : 2);
    const size_t *kernel = pleat_shape(c->weight) + (c->kernel_first ? 0 : 2);
    if (pleat_layer_plan_for(c->layer, in, kernel, &c->plan)) return true;
    pleat_fail(pleat_ctx_of(c->input), PLEAT_ERR_SHAPE, "layer_apply", "%s", c->plan.why);
    return false;
}

/* Compare the channels of the three tensors; an error uses the framework's letters. */
static bool channels_fit(const call *c) {
    static const char *const wants[2][2] = {
        {"the weight must be [Cout,Cin/G,R,S]", "the weight must be [Cin,Cout/G,R,S]"},
        {"the weight must be [R,S,Cin/G,Cout]", "the weight must be [R,S,Cout,Cin]"},
    };
    bool transpose = c->layer->transpose;
    size_t groups = c->layer->groups, inputs = pleat_size(c->input, c->layer->channels_last ? 3 : 1);
    size_t map = pleat_size(c->weight, c->kernel_first ? 3 : 0), each, image;
    each = pleat_size(c->weight, c->kernel_first ? 2 : 1);
    if (__builtin_mul_overflow(each, groups, &image) || inputs != (transpose ? map : image))
        return misfit(c, wants[c->kernel_first][transpose]);
    if (map % groups != 0) return misfit(c, "the groups must divide the channels");
    return c->bias == NULL || pleat_size(c->bias, 0) == (transpose ? image : map) ||
           misfit(c, "the bias must be [Cout]");
}

/* The op, on views in its layout. */
static pleat_tensor *run(const call *c) {
    static const size_t from_nhwc[] = {0, 3, 1, 2}, to_nhwc[] = {0, 2, 3, 1}, from_hwio[] = {3, 2, 0, 1};
    const pleat_layer *l = c->layer;
    pleat_conv_args args = {
        .a = l->channels_last ? pleat_permute(c->input, from_nhwc) : c->input,
        .b = c->kernel_first ? pleat_permute(c->weight, from_hwio) : c->weight,
        .stride = {l->stride[0], l->stride[1]},
        .dilation = {l->dilation[0], l->dilation[1]},
        .pads = {c->plan.crop[0], c->plan.crop[1], c->plan.crop[0], c->plan.crop[1]},
        .groups = l->groups,
        .size = {c->plan.out[0], c->plan.out[1]},
    };
    pleat_tensor *y = l->transpose ? pleat_conv2d_transpose_with(args) : pleat_conv2d_with(args);
    if (c->bias != NULL)
        y = pleat_add(y, pleat_reshape(c->bias, PLEAT_SHAPE(1, pleat_size(c->bias, 0), 1, 1)));
    return l->channels_last ? pleat_contiguous(pleat_permute(y, to_nhwc)) : y;
}

pleat_tensor *pleat_layer_apply(const pleat_layer *l, pleat_tensor *input, pleat_tensor *weight,
                                pleat_tensor *bias) {
    call c = {.layer = l, .input = input, .weight = weight, .bias = bias};
    if (tensors_are_there(&c) && plan(&c) && channels_fit(&c)) return run(&c);
    return pleat_poison(pleat_ctx_of(input != NULL ? input : weight));
}

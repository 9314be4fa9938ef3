/* A layer on arrays in its framework's layouts, computed by a method. Law: every method gives the same as the library's own
 * pleat_layer_apply and its gradients. */
#include "deconv.h"

/* What is needed to call a method. */
typedef struct canonical {
    const pleat_layer *layer;
    const method *method;
    pleat_conv_shape g;
    pleat_dtype dtype;
    pleat_tensor *input, *weight, *bias, *grad_output; /* in canonical layout, contiguous */
} canonical;

static bool kernel_first(const pleat_layer *l) {
    return l->framework == PLEAT_TENSORFLOW || l->framework == PLEAT_KERAS;
}

static pleat_tensor *permuted(pleat_tensor *t, bool permute, const size_t order[4]) {
    return pleat_contiguous(permute ? pleat_permute(t, order) : t);
}

static pleat_tensor *from_image_layout(const pleat_layer *l, pleat_tensor *t) {
    return permuted(t, l->channels_last, (const size_t[]){0, 3, 1, 2});
}

static pleat_tensor *to_image_layout(const pleat_layer *l, pleat_tensor *t) {
    return permuted(t, l->channels_last, (const size_t[]){0, 2, 3, 1});
}

static pleat_tensor *from_weight_layout(const pleat_layer *l, pleat_tensor *t) {
    return permuted(t, kernel_first(l), (const size_t[]){3, 2, 0, 1});
}

static pleat_tensor *to_weight_layout(const pleat_layer *l, pleat_tensor *t) {
    return permuted(t, kernel_first(l), (const size_t[]){2, 3, 1, 0});
}

/* ---- checks ------------------------------------------------------------------------------------------ */

static bool refuse(pleat_tensor *t, const char *name, const char *right) {
    char shape[120];
    pleat_fail(pleat_ctx_of(t), PLEAT_ERR_SHAPE, "layer", "%s %s: it must be %s", name,
               pleat_shape_text(t, shape, sizeof shape), right);
    return false;
}

static const char *dtype_name(pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? "float32" : "float64";
}

/* t may be NULL; `first` is the input. */
static bool is_array(pleat_tensor *t, pleat_tensor *first, const char *name, size_t rank) {
    if (!t) return true;
    if (pleat_is_poison(t) || pleat_is_poison(first)) return false;
    if (pleat_rank(t) != rank) return refuse(t, name, rank == 4 ? "of 4 axes" : "of 1 axis");
    if (pleat_dtype_of(t) == pleat_dtype_of(first)) return true;
    pleat_fail(pleat_ctx_of(t), PLEAT_ERR_DTYPE, "layer",
               "%s is %s and the input is %s; all must be of one type", name, dtype_name(t),
               dtype_name(first));
    return false;
}

/* The layer's channels, in and out, from the canonical arrays. */
static bool find_channels(const canonical *c, pleat_tensor *weight, size_t channels[2]) {
    size_t groups = c->layer->groups, map = pleat_size(c->weight, 0), each = pleat_size(c->weight, 1), image;
    size_t in = pleat_size(c->input, 1);
    char right[160];
    if (__builtin_mul_overflow(each, groups, &image) || in != (c->layer->transpose ? map : image)) {
        const char *layout = kernel_first(c->layer)
                                 ? c->layer->transpose ? "[kh,kw,Cout,Cin]" : "[kh,kw,Cin/groups,Cout]"
                             : c->layer->transpose ? "[Cin,Cout/groups,kh,kw]"
                                                   : "[Cout,Cin/groups,kh,kw]";
        snprintf(right, sizeof right, "%s for %zu channels in and %zu group%s", layout, in, groups,
                 groups == 1 ? "" : "s");
        return refuse(weight, "weight", right);
    }
    if (groups == 0 || map % groups != 0) {
        pleat_fail(pleat_ctx_of(weight), PLEAT_ERR_SHAPE, "layer",
                   "%zu groups: they must divide the %zu channels %s", groups, map,
                   c->layer->transpose ? "in" : "out");
        return false;
    }
    channels[0] = in;
    channels[1] = c->layer->transpose ? image : map;
    return true;
}

static bool find_geometry(canonical *c, const size_t channels[2]) {
    pleat_layer_plan plan;
    pleat_ctx *ctx = pleat_ctx_of(c->input);
    const size_t *in = pleat_shape(c->input) + 2, *kernel = pleat_shape(c->weight) + 2;
    if (!pleat_layer_plan_for(c->layer, in, kernel, &plan)) {
        pleat_fail(ctx, PLEAT_ERR_SHAPE, "layer", "%s", plan.why);
        return false;
    }
    c->g = pleat_layer_geometry(c->layer, &plan, pleat_size(c->input, 0), channels, in, kernel);
    const char *wrong = pleat_conv_check(&c->g, c->dtype == PLEAT_F32 ? sizeof(float) : sizeof(double));
    if (wrong) pleat_fail(ctx, PLEAT_ERR_SHAPE, "layer", "%s", wrong);
    return !wrong;
}

/* The layer's result, which is what grad_output must look like. */
static void output_shape(const canonical *c, size_t shape[4]) {
    const pleat_conv_shape *g = &c->g;
    bool transpose = c->layer->transpose;
    shape[0] = g->N, shape[1] = transpose ? g->C : g->O;
    shape[2] = transpose ? g->H : g->P, shape[3] = transpose ? g->W : g->Q;
}

static bool grad_output_fits(const canonical *c, pleat_tensor *grad_output) {
    size_t shape[4];
    char right[160];
    if (!c->grad_output) return true;
    output_shape(c, shape);
    bool fits = true;
    for (size_t k = 0; k < 4; k++) fits = fits && pleat_size(c->grad_output, k) == shape[k];
    if (fits) return true;
    if (c->layer->channels_last)
        snprintf(right, sizeof right, "[%zu,%zu,%zu,%zu], as the output", shape[0], shape[2], shape[3],
                 shape[1]);
    else
        snprintf(right, sizeof right, "[%zu,%zu,%zu,%zu], as the output", shape[0], shape[1], shape[2],
                 shape[3]);
    return refuse(grad_output, "grad-output", right);
}

static bool bias_fits(const canonical *c, size_t out) {
    char right[80];
    if (!c->bias || pleat_size(c->bias, 0) == out) return true;
    snprintf(right, sizeof right, "[%zu], a number for each channel out", out);
    return refuse(c->bias, "bias", right);
}

/* ---- computing --------------------------------------------------------------------------------------- */

static void *elements(pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? (void *)pleat_f32(t) : (void *)pleat_f64(t);
}

typedef bool (*operator_of_method)(const pleat_conv_shape *g, pleat_dtype dtype, const void *a, const void *b,
                                   void *c);

static pleat_tensor *call(const canonical *c, operator_of_method f, pleat_tensor *a, pleat_tensor *b,
                          const size_t shape[4]) {
    pleat_ctx *ctx = pleat_ctx_of(a);
    pleat_tensor *out = pleat_empty(ctx, c->dtype, 4, shape);
    if (pleat_is_poison(a) || pleat_is_poison(b) || pleat_is_poison(out)) return pleat_poison(ctx);
    if (f(&c->g, c->dtype, elements(a), elements(b), elements(out))) return out;
    pleat_fail(ctx, PLEAT_ERR_MEMORY, "layer", "no memory for the method %s", c->method->name);
    return pleat_poison(ctx);
}

static pleat_tensor *find_output(const canonical *c) {
    size_t shape[4];
    output_shape(c, shape);
    pleat_tensor *y =
        call(c, c->layer->transpose ? c->method->transpose : c->method->conv2d, c->input, c->weight, shape);
    if (c->bias) y = pleat_add(y, pleat_reshape(c->bias, PLEAT_SHAPE(1, pleat_size(c->bias, 0), 1, 1)));
    return to_image_layout(c->layer, y);
}

/* A convolution's gradient is the transpose, and the other way round. */
static pleat_tensor *find_grad_input(const canonical *c) {
    return to_image_layout(c->layer, call(c, c->layer->transpose ? c->method->conv2d : c->method->transpose,
                                          c->grad_output, c->weight, pleat_shape(c->input)));
}

static pleat_tensor *find_grad_weight(const canonical *c) {
    pleat_tensor *image = c->layer->transpose ? c->grad_output : c->input;
    pleat_tensor *map = c->layer->transpose ? c->input : c->grad_output;
    return to_weight_layout(c->layer, call(c, c->method->weight, image, map, pleat_shape(c->weight)));
}

static bool prepare(canonical *c, pleat_tensor *input, pleat_tensor *weight, pleat_tensor *grad_output) {
    size_t channels[2];
    if (!is_array(input, input, "input", 4) || !is_array(weight, input, "weight", 4) ||
        !is_array(c->bias, input, "bias", 1) || !is_array(grad_output, input, "grad-output", 4))
        return false;
    c->dtype = pleat_dtype_of(input);
    c->input = from_image_layout(c->layer, input), c->weight = from_weight_layout(c->layer, weight);
    if (grad_output) c->grad_output = from_image_layout(c->layer, grad_output);
    if (pleat_is_poison(c->input) || pleat_is_poison(c->weight)) return false;
    if (c->grad_output && pleat_is_poison(c->grad_output)) return false;
    return find_channels(c, weight, channels) && find_geometry(c, channels) && bias_fits(c, channels[1]) &&
           grad_output_fits(c, grad_output);
}

layer_result run_layer(const pleat_layer *l, const method *m, pleat_tensor *input, pleat_tensor *weight,
                       pleat_tensor *bias, pleat_tensor *grad_output) {
    canonical c = {.layer = l, .method = m, .bias = bias};
    pleat_tensor *poison = pleat_poison(pleat_ctx_of(input));
    if (!prepare(&c, input, weight, grad_output)) return (layer_result){poison, poison, poison, poison};
    layer_result r = {.output = find_output(&c)};
    if (!grad_output) return r;
    r.grad_input = find_grad_input(&c);
    r.grad_weight = find_grad_weight(&c);
    r.grad_bias = pleat_sum(c.grad_output, PLEAT_AXES(0, 2, 3));
    return r;
}

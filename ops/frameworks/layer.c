/* From a layer in a framework's arguments to a plan: check that the framework has the arguments and that no
 * size overflows, then apply the framework's rule to each axis. */
#include "frameworks.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

static const pl_framework *const frameworks[PLEAT_FRAMEWORKS] = {
    [PLEAT_TORCH] = &pl_torch,
    [PLEAT_TENSORFLOW] = &pl_tensorflow,
    [PLEAT_ONNX] = &pl_onnx,
    [PLEAT_KERAS] = &pl_keras,
};

const pl_framework *pl_framework_of(pleat_framework f) {
    return (unsigned)f < PLEAT_FRAMEWORKS ? frameworks[f] : NULL;
}

const char *pleat_framework_name(pleat_framework f) {
    const pl_framework *framework = pl_framework_of(f);
    return framework != NULL ? framework->name : "unknown";
}

/* ---- for the rules ----------------------------------------------------------------------------------- */

ptrdiff_t pl_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

static void explain(char *why, const char *format, va_list args) {
    vsnprintf(why, sizeof((pleat_layer_plan *)0)->why, format, args);
}

bool pl_refuse(const pl_axis *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    explain(a->why, format, args);
    va_end(args);
    return false;
}

bool pl_within(const pl_axis *a, const char *word, ptrdiff_t value, ptrdiff_t least, ptrdiff_t most) {
    if (least <= value && value <= most) return true;
    const char *framework = pleat_framework_name(a->layer->framework);
    if (least > most)
        return pl_refuse(a, "%s %td on axis %s: %s takes none here", word, value, a->name, framework);
    if (least == most)
        return pl_refuse(a, "%s %td on axis %s: %s takes %td alone here", word, value, a->name, framework,
                         least);
    return pl_refuse(a, "%s %td on axis %s: %s takes %td..%td here", word, value, a->name, framework, least,
                     most);
}

bool pl_range(pl_axis *a, ptrdiff_t least, ptrdiff_t most) {
    if (most < 1)
        return pl_refuse(a, "padding %td and %td on axis %s leaves nothing of the natural length %td",
                         a->before, a->after, a->name, a->natural);
    a->least = pl_max(least, 1);
    a->most = most;
    return true;
}

bool pl_conv_padded(pl_axis *a, ptrdiff_t before, ptrdiff_t after) {
    ptrdiff_t padded = a->in + before + after;
    if (padded < a->extent)
        return pl_refuse(
            a,
            "the kernel on axis %s (%td pixels, dilation included) exceeds the input (%td) padded by %td and %td",
            a->name, a->extent, a->in, before, after);
    a->crop = before;
    a->out = (padded - a->extent) / a->stride + 1;
    return true;
}

ptrdiff_t pl_same_total(const pl_axis *a) {
    ptrdiff_t last = (a->in - 1) / a->stride; /* ceil(in / stride) - 1 */
    return last * a->stride + a->extent - a->in;
}

bool pl_conv_same(pl_axis *a) {
    ptrdiff_t total = pl_max(pl_same_total(a), 0);
    return pl_conv_padded(a, total / 2, total - total / 2);
}

/* ---- words ------------------------------------------------------------------------------------------- */

static bool refuse(pleat_layer_plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(pleat_layer_plan *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    explain(p->why, format, args);
    va_end(args);
    return false;
}

static bool padding_is_known(const pl_framework *f, const pleat_layer *l, pleat_layer_plan *p) {
    static const char *const names[] = {"explicit", "valid", "same", "same_upper", "same_lower"};
    if ((unsigned)l->padding >= sizeof names / sizeof *names)
        return refuse(p, "padding %d is none of pleat_padding", (int)l->padding);
    const char *name = names[l->padding];
    if ((f->paddings[l->transpose] >> l->padding & 1) == 0)
        return refuse(p, "%s has no padding '%s' for a %s", f->name, name,
                      l->transpose ? "transposed convolution" : "convolution");
    for (size_t k = 0; k < 4; k++) {
        if (l->pads[k] < 0) return refuse(p, "pads %td: a padding must be 0 or more", l->pads[k]);
        if (l->pads[k] > 0 && l->padding != PLEAT_PADDING_EXPLICIT)
            return refuse(p, "pads beside padding '%s': give one of them", name);
    }
    return true;
}

/* Check for arguments that the framework does not have, and for values of arguments that are not given. */
static bool options_are_known(const pl_framework *f, const pleat_layer *l, pleat_layer_plan *p) {
    bool padding = l->has_output_padding, size = l->has_output_size;
    const char *size_name = f->output_size != NULL ? f->output_size : "output_size";
    if (!padding && (l->output_padding[0] != 0 || l->output_padding[1] != 0))
        return refuse(p, "output_padding is set, so has_output_padding must be true");
    if (!size && (l->output_size[0] != 0 || l->output_size[1] != 0))
        return refuse(p, "output_size is set, so has_output_size must be true");
    if (!l->transpose && (padding || size))
        return refuse(p, "%s: a convolution has none, a transposed convolution may",
                      padding ? "output_padding" : size_name);
    if (padding && !f->output_padding)
        return refuse(p, "%s has no output_padding: give %s", f->name, size_name);
    if (size && f->output_size == NULL)
        return refuse(p, "%s has no output_size: give output_padding", f->name);
    if (l->channels_last && !f->channels_last)
        return refuse(p, "%s has no channels_last: its arrays are [N,C,H,W]", f->name);
    if (l->groups == 0) return refuse(p, "groups 0: there must be 1 or more");
    if (l->groups > 1 && l->transpose && !f->transpose_groups)
        return refuse(p, "groups %zu: %s takes 1 in a transposed convolution", l->groups, f->name);
    return true;
}

/* ---- axes -------------------------------------------------------------------------------------------- */

/* a*b + c, if it is no larger than PL_LARGEST. */
static bool product_sum(size_t a, size_t b, size_t c, ptrdiff_t *out) {
    return !__builtin_mul_overflow(a, b, out) && !__builtin_add_overflow(*out, c, out) && *out <= PL_LARGEST;
}

static bool sizes_fit(const pleat_layer *l, size_t k, size_t in, size_t kernel, pl_axis *a) {
    size_t given[] = {in,
                      l->stride[k],
                      l->dilation[k],
                      (size_t)l->pads[k],
                      (size_t)l->pads[k + 2],
                      l->output_padding[k],
                      l->output_size[k]};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i] > PL_LARGEST) return false;
    if (!product_sum(kernel - 1, l->dilation[k], 1, &a->extent)) return false;
    if (!l->transpose) return true;
    return product_sum(in - 1, l->stride[k], (size_t)a->extent, &a->natural) &&
           product_sum(in, l->stride[k], 0, &a->scaled);
}

static bool axis_of(const pleat_layer *l, size_t k, size_t in, size_t kernel, pl_axis *a) {
    if (in == 0 || kernel == 0 || l->stride[k] == 0 || l->dilation[k] == 0)
        return pl_refuse(a, "axis %s: input %zu, kernel %zu, stride %zu and dilation %zu must be 1 or more",
                         a->name, in, kernel, l->stride[k], l->dilation[k]);
    if (l->stride[k] == PLEAT_NONE || l->dilation[k] == PLEAT_NONE)
        return pl_refuse(a, "axis %s: %d is PLEAT_NONE, which is no stride and no dilation", a->name,
                         PLEAT_NONE);
    if (!sizes_fit(l, k, in, kernel, a))
        return pl_refuse(
            a,
            "axis %s: input %zu, kernel %zu, stride %zu, dilation %zu and the sizes beside them are too large",
            a->name, in, kernel, l->stride[k], l->dilation[k]);
    a->in = (ptrdiff_t)in;
    a->stride = (ptrdiff_t)l->stride[k];
    a->dilation = (ptrdiff_t)l->dilation[k];
    a->before = l->pads[k];
    a->after = l->pads[k + 2];
    a->output_padding = (ptrdiff_t)l->output_padding[k];
    a->output_size = (ptrdiff_t)l->output_size[k];
    return true;
}

bool pleat_layer_plan_for(const pleat_layer *l, const size_t in[2], const size_t kernel[2],
                          pleat_layer_plan *plan) {
    const pl_framework *f = pl_framework_of(l->framework);
    *plan = (pleat_layer_plan){0};
    if (f == NULL) return refuse(plan, "framework %d is none of pleat_framework", (int)l->framework);
    if (!padding_is_known(f, l, plan) || !options_are_known(f, l, plan)) return false;
    pl_axis a[2];
    for (size_t k = 0; k < 2; k++) {
        a[k] = (pl_axis){.layer = l, .name = k == 0 ? "H" : "W", .why = plan->why};
        if (!axis_of(l, k, in[k], kernel[k], &a[k])) return false;
    }
    bool fine = true;
    for (size_t k = 0; k < 2 && fine; k++) {
        fine = (l->transpose ? f->transpose : f->conv)(&a[k]);
        plan->natural[k] = (size_t)a[k].natural;
        plan->least[k] = (size_t)a[k].least;
        plan->most[k] = (size_t)a[k].most;
        plan->out[k] = fine ? (size_t)a[k].out : 0;
        plan->crop[k] = fine ? a[k].crop : 0;
    }
    return fine;
}

pleat_conv_shape pleat_layer_geometry(const pleat_layer *l, const pleat_layer_plan *plan, size_t N,
                                      const size_t channels[2], const size_t in[2], const size_t kernel[2]) {
    const size_t *image = l->transpose ? plan->out : in, *map = l->transpose ? in : plan->out;
    return (pleat_conv_shape){
        .N = N,
        .C = channels[l->transpose ? 1 : 0],
        .O = channels[l->transpose ? 0 : 1],
        .G = l->groups,
        .H = image[0],
        .W = image[1],
        .P = map[0],
        .Q = map[1],
        .R = kernel[0],
        .S = kernel[1],
        .stride = {l->stride[0], l->stride[1]},
        .dilation = {l->dilation[0], l->dilation[1]},
        .pad = {plan->crop[0], plan->crop[1]},
    };
}

/* Layers in the words of PyTorch, TensorFlow, ONNX and Keras. Whatever the numbers, there is a plan or a reason in one line. A plan
 * obeys the laws of its framework's sizes, computed here in wider numbers; and where the tensors are small, the layer gives what
 * the naive loops give for the plan's geometry. */
#include "fuzz.h"
#include "geometry.h"
#include "pleat_frameworks.h"
#include "reference.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef __int128 wide;

typedef struct test {
    pleat_layer l;
    pleat_layer_plan p;
    size_t in[2], kernel[2];
} test;

/* ---- the case ---------------------------------------------------------------------------------------- */

/* Mostly small, sometimes near a limit, sometimes anything. */
static size_t read_size(fuzz_bytes *b) {
    static const size_t limits[] = {SIZE_MAX,
                                    PTRDIFF_MAX,
                                    (size_t)PTRDIFF_MAX + 1,
                                    PTRDIFF_MAX / 8,
                                    PTRDIFF_MAX / 8 + 1,
                                    PTRDIFF_MAX / 8 - 1,
                                    PTRDIFF_MAX / 16,
                                    INT_MAX,
                                    (size_t)1 << 31,
                                    (size_t)1 << 32,
                                    (size_t)1 << 53,
                                    (size_t)1 << 30,
                                    100,
                                    1000,
                                    65536};
    uint8_t v = fuzz_byte(b);
    if (v == 255) return (size_t)fuzz_word(b);
    if (v < 64) return v;
    return v < 200 ? v & 7 : limits[v % (sizeof limits / sizeof *limits)];
}

static test read_test(fuzz_bytes *b) {
    test t = {.l.framework = (pleat_framework)fuzz_below(b, PLEAT_FRAMEWORKS + 1)};
    pleat_layer *l = &t.l;
    l->transpose = fuzz_byte(b) & 1;
    l->padding = (pleat_padding)fuzz_below(b, PLEAT_PADDING_SAME_LOWER + 2);
    uint8_t options = fuzz_byte(b);
    l->has_output_padding = options & 1, l->has_output_size = options & 2;
    l->channels_last = fuzz_byte(b) & 1;
    fuzz_byte(b);
    l->groups = read_size(b);
    for (size_t k = 0; k < 2; k++) {
        l->stride[k] = read_size(b), l->dilation[k] = read_size(b);
        l->pads[k] = (ptrdiff_t)read_size(b), l->pads[k + 2] = (ptrdiff_t)read_size(b);
        t.in[k] = read_size(b), t.kernel[k] = read_size(b);
        l->output_padding[k] = read_size(b), l->output_size[k] = read_size(b);
        if (!(options & 1) && !(options & 4)) l->output_padding[k] = 0;
        if (!(options & 2) && !(options & 4)) l->output_size[k] = 0;
    }
    return t;
}

/* ---- the laws of sizes ------------------------------------------------------------------------------- */

static void fail(const test *t, size_t k, const char *law) {
    const pleat_layer *l = &t->l;
    fuzz_fail(
        "%s on axis %zu: %s, transpose %d, padding %d, in %zu, kernel %zu, stride %zu, dilation %zu, pads "
        "%td,%td, output_padding %zu (%d), output_size %zu (%d) -> out %zu, crop %td",
        law, k, pleat_framework_name(l->framework), l->transpose, (int)l->padding, t->in[k], t->kernel[k],
        l->stride[k], l->dilation[k], l->pads[k], l->pads[k + 2], l->output_padding[k], l->has_output_padding,
        l->output_size[k], l->has_output_size, t->p.out[k], t->p.crop[k]);
}

static bool is_same(const pleat_layer *l) { return l->padding >= PLEAT_PADDING_SAME; }

static void check_conv(const test *t, size_t k) {
    const pleat_layer *l = &t->l;
    wide in = (wide)t->in[k], s = (wide)l->stride[k], out = (wide)t->p.out[k], crop = t->p.crop[k];
    wide extent = ((wide)t->kernel[k] - 1) * (wide)l->dilation[k] + 1;
    wide missing = (out - 1) * s + extent - in; /* pixels that the windows reach beyond the input */
    if (is_same(l)) {
        if (out != (in + s - 1) / s) fail(t, k, "same: out = ceil(in / stride)");
        if (l->framework != PLEAT_ONNX && crop != (missing > 0 ? missing / 2 : 0))
            fail(t, k, "same: half of what is missing in front");
        /* where a stride skips the end, ONNX Runtime's halves are one pixel short */
        wide uneven = 2 * crop - missing;
        if (l->framework == PLEAT_ONNX && (uneven < -1 || uneven > (missing < 0 ? 3 : 1)))
            fail(t, k, "same: both sides alike");
        return;
    }
    bool given = l->padding == PLEAT_PADDING_EXPLICIT;
    wide before = given ? l->pads[k] : 0, after = given ? l->pads[k + 2] : 0;
    if (crop != before) fail(t, k, "crop = padding");
    if (out != (in + before + after - extent) / s + 1 || in + before + after < extent)
        fail(t, k, "out = floor((in + pads - extent) / stride) + 1");
}

/* Is the layer the gradient of the convolution that has the same words? Keras's "same" with an output padding is not always, ONNX
 * takes no pads beside an output shape, and PyTorch takes an output padding up to the dilation. */
static bool is_gradient(const test *t, size_t k) {
    const pleat_layer *l = &t->l;
    if (l->framework == PLEAT_KERAS) return !(l->has_output_padding && is_same(l));
    if (l->framework == PLEAT_ONNX) return !l->has_output_size && !is_same(l);
    return l->framework != PLEAT_TORCH || l->output_padding[k] < l->stride[k];
}

static void check_transpose(const test *t, size_t k) {
    const pleat_layer *l = &t->l;
    const pleat_layer_plan *p = &t->p;
    wide natural =
        ((wide)t->in[k] - 1) * (wide)l->stride[k] + ((wide)t->kernel[k] - 1) * (wide)l->dilation[k] + 1;
    if ((wide)p->natural[k] != natural) fail(t, k, "natural = (in - 1) * stride + extent");
    if (p->out[k] < p->least[k] || p->out[k] > p->most[k]) fail(t, k, "least <= out <= most");
    if (p->crop[k] < 0) fail(t, k, "a transpose only crops");
    if (l->has_output_size && p->out[k] != l->output_size[k]) fail(t, k, "out is what was asked for");
    if (!is_gradient(t, k)) return;
    test conv = {.l = *l, .in = {p->out[k], p->out[k]}, .kernel = {t->kernel[k], t->kernel[k]}};
    conv.l.transpose = conv.l.has_output_padding = conv.l.has_output_size = false;
    for (size_t i = 0; i < 2; i++) {
        conv.l.stride[i] = l->stride[k], conv.l.dilation[i] = l->dilation[k];
        conv.l.pads[i] = l->pads[k], conv.l.pads[i + 2] = l->pads[k + 2];
        conv.l.output_padding[i] = conv.l.output_size[i] = 0;
    }
    /* sizes that are refused only because the image is too large for one */
    if (p->out[k] > PTRDIFF_MAX / 8) return;
    if (!pleat_layer_plan_for(&conv.l, conv.in, conv.kernel, &conv.p)) fail(t, k, conv.p.why);
    if (conv.p.out[0] != t->in[k] || conv.p.crop[0] != p->crop[k])
        fail(t, k, "the convolution with the same words takes out to in");
}

/* ---- values ------------------------------------------------------------------------------------------ */

enum { MOST_SIZE = 12, MOST_OUT = 40, MOST_GROUPS = 3 };

static bool is_small(const test *t) {
    for (size_t k = 0; k < 2; k++)
        if (t->in[k] > MOST_SIZE || t->kernel[k] > MOST_SIZE || t->p.out[k] > MOST_OUT) return false;
    return t->l.groups <= MOST_GROUPS;
}

static double *numbers(size_t n, uint64_t seed) {
    double *a = malloc(n * sizeof *a);
    FUZZ_CHECK(a, "no memory");
    fill_integers(a, n, seed);
    return a;
}

/* The values as a tensor in the framework's layout. */
static pleat_tensor *laid_out(pleat_ctx *ctx, const size_t shape[4], const double *values,
                              const size_t order[4]) {
    return pleat_permute(pleat_from_f64(ctx, PLEAT_F64, 4, shape, values), order);
}

/* arrays: x, w, y of the geometry. */
static pleat_tensor *apply(pleat_ctx *ctx, const test *t, const pleat_conv_shape *g, double *const arrays[3],
                           const double *bias) {
    static const size_t nchw[] = {0, 1, 2, 3}, nhwc[] = {0, 2, 3, 1}, back[] = {0, 3, 1, 2},
                        hwio[] = {2, 3, 1, 0};
    bool last = t->l.channels_last;
    bool first = t->l.framework == PLEAT_TENSORFLOW || t->l.framework == PLEAT_KERAS;
    size_t out = t->l.transpose ? g->C : g->O;
    const size_t image[] = {g->N, g->C, g->H, g->W}, map[] = {g->N, g->O, g->P, g->Q};
    const size_t weight[] = {g->O, g->C / g->G, g->R, g->S};
    pleat_tensor *x =
        laid_out(ctx, t->l.transpose ? map : image, arrays[t->l.transpose ? 2 : 0], last ? nhwc : nchw);
    pleat_tensor *w = laid_out(ctx, weight, arrays[1], first ? hwio : nchw);
    pleat_tensor *y = pleat_layer_apply(&t->l, x, w, pleat_from_f64(ctx, PLEAT_F64, 1, &out, bias));
    return last ? pleat_permute(y, back) : y;
}

static void check_values(const test *t, uint64_t seed) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    size_t channels[2] = {t->l.groups * 2, t->l.groups};
    pleat_conv_shape g = pleat_layer_geometry(&t->l, &t->p, 1, channels, t->in, t->kernel);
    const char *wrong = pleat_conv_check(&g, sizeof(double));
    if (wrong) fuzz_fail("%s: %s", wrong, geometry_print(&g).text);
    size_t n[3] = {geometry_image(&g), geometry_kernel(&g), geometry_map(&g)}, of = t->l.transpose ? 0 : 2;
    double *arrays[3], *bias = numbers(channels[1], seed + 3);
    for (size_t i = 0; i < 3; i++) arrays[i] = numbers(n[i], seed + i);
    pleat_tensor *y = apply(ctx, t, &g, arrays, bias);
    fuzz_check_error(ctx, false);
    reference_conv(&g, t->l.transpose ? PLEAT_CONV_TRANSPOSE : PLEAT_CONV_FORWARD, arrays[0], arrays[1],
                   arrays[2]);
    double *found = numbers(n[of], 0);
    FUZZ_CHECK(pleat_numel(y) == n[of], "%zu elements instead of %zu", pleat_numel(y), n[of]);
    pleat_read_f64(y, found);
    for (size_t i = 0; i < n[of]; i++) {
        double expected = arrays[of][i] + bias[i / (t->p.out[0] * t->p.out[1]) % channels[1]];
        FUZZ_CHECK(found[i] == expected, "element %zu is %g instead of %g: %s", i, found[i], expected,
                   geometry_print(&g).text);
    }
    for (size_t i = 0; i < 3; i++) free(arrays[i]);
    free(bias);
    free(found);
    pleat_ctx_free(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes b = {data, size};
    test t = read_test(&b);
    bool legal = pleat_layer_plan_for(&t.l, t.in, t.kernel, &t.p);
    FUZZ_CHECK(legal ? !*t.p.why : fuzz_is_line(t.p.why), "%s, but: %s", legal ? "legal" : "refused",
               t.p.why);
    if (!legal) return 0;
    for (size_t k = 0; k < 2; k++) {
        if (t.p.out[k] < 1 || t.p.out[k] > PTRDIFF_MAX) fail(&t, k, "out is a size");
        (t.l.transpose ? check_transpose : check_conv)(&t, k);
    }
    size_t one[2] = {t.l.groups, t.l.groups};
    pleat_conv_shape g = pleat_layer_geometry(&t.l, &t.p, 1, one, t.in, t.kernel);
    const char *wrong = pleat_conv_check(&g, sizeof(double));
    FUZZ_CHECK(!wrong || !is_small(&t), "%s: %s", wrong, geometry_print(&g).text);
    if (is_small(&t)) check_values(&t, fuzz_byte(&b));
    return 0;
}

/* deconv explain: what a layer does, stage by stage, for people. The sizes are told in each framework's own terms; the results
 * behind the last "=" are the library's. */
#include "explained.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: deconv explain --kernel H,W --input-size H,W [--framework FRAMEWORK] [arguments of the layer]\n"
    "                      [--channels IN,OUT] [--svg FILE] [--png FILE]\n"
    "\n"
    "Explains a layer stage by stage: the sizes and how they come about, the map with zeros inserted, the rotated kernel, the\n"
    "crop, how many taps of the kernel reach each output pixel (where that varies, pictures get a checkerboard pattern), and\n"
    "the multiply-adds of each method. Of a convolution: how many windows read each input pixel.\n"
    "\n"
    "  --framework FRAMEWORK   torch (default), tensorflow, onnx or keras\n"
    "  --op OP                 conv_transpose (default) or conv\n"
    "  --kernel H,W            size of the kernel\n"
    "  --input-size H,W        size of the layer's input\n"
    "  --channels IN,OUT       for the multiply-adds (default one for each group)\n"
    "  --svg FILE              the stages as a picture; \"-\" is standard output\n"
    "  --png FILE              the same as PNG\n"
    "and the framework's own arguments, as in `deconv run --help`. Pictures are for images of up to 40x40 pixels.\n"
    "\n"
    "Exit status: 0; 1 for an I/O failure; 2 for wrong arguments.\n";

enum { WIDEST = 40, LARGEST_SHOWN = 1 << 20 };

/* ---- sizes ---------------------------------------------------------------------------------------------- */

static void say_torch(const explained *e, int i) {
    const pleat_layer *l = &e->layer;
    printf("   first pixel     crop = padding = %td\n", e->plan.crop[i]);
    if (l->has_output_size)
        printf("   output          out = output_size = %zu\n", e->plan.out[i]);
    else
        printf("   output          out = L - 2*padding + output_padding = %zu - 2*%td + %zu = %zu\n",
               e->plan.natural[i], l->pads[i], l->output_padding[i], e->plan.out[i]);
}

static void say_tensorflow(const explained *e, int i) {
    const pleat_layer *l = &e->layer;
    bool same = l->padding == PLEAT_PADDING_SAME;
    const char *size = l->has_output_size                     ? "output_shape"
                       : same                                 ? "in*stride, as no output_shape is given"
                       : l->padding == PLEAT_PADDING_EXPLICIT ? "L - paddings, as no output_shape is given"
                                                              : "(in-1)*stride + max(ke, stride)";
    printf("   output          out = %s = %zu\n", size, e->plan.out[i]);
    if (same)
        printf("   first pixel     crop = max(L - out, 0)/2 rounded down = max(%zu - %zu, 0)/2 = %td\n",
               e->plan.natural[i], e->plan.out[i], e->plan.crop[i]);
    else
        printf("   first pixel     crop = padding at the beginning = %td\n", e->plan.crop[i]);
}

static void say_onnx(const explained *e, int i) {
    const pleat_layer *l = &e->layer;
    bool upper = l->padding == PLEAT_PADDING_SAME_UPPER,
         same = upper || l->padding == PLEAT_PADDING_SAME_LOWER;
    size_t op = l->output_padding[i];
    if (!same && !l->has_output_size) {
        printf("   first pixel     crop = pad at the beginning = %td\n", e->plan.crop[i]);
        printf("   output          out = L - pads + output_padding = %zu - %td - %td + %zu = %zu\n",
               e->plan.natural[i], l->pads[i], l->pads[i + 2], op, e->plan.out[i]);
        return;
    }
    size_t asked = l->has_output_size ? l->output_size[i] : e->in[i] * l->stride[i];
    printf("   too much        t = max(L + output_padding - %s, 0) = max(%zu + %zu - %zu, 0)\n",
           l->has_output_size ? "output_shape" : "in*stride", e->plan.natural[i], op, asked);
    printf("   first pixel     crop = t/2 rounded %s = %td\n", upper ? "down" : "up", e->plan.crop[i]);
    printf("   output          out = %s = %zu\n",
           l->has_output_size ? "output_shape" : "L + output_padding - t", e->plan.out[i]);
}

static void say_keras(const explained *e, int i) {
    const pleat_layer *l = &e->layer;
    bool same = l->padding == PLEAT_PADDING_SAME;
    const char *rule =
        same ? l->has_output_padding ? "(in-1)*stride + ke modulo 2 + output_padding" : "in*stride"
        : l->has_output_padding ? "L + output_padding"
                                : "L + max(stride - ke, 0)";
    printf("   output          out = %s = %zu\n", rule, e->plan.out[i]);
    if (same)
        printf("   first pixel     crop = max(L - out, 0)/2 rounded down = max(%zu - %zu, 0)/2 = %td\n",
               e->plan.natural[i], e->plan.out[i], e->plan.crop[i]);
    else
        printf("   first pixel     crop = %td\n", e->plan.crop[i]);
}

static void say_transpose(const explained *e, int i) {
    static void (*const rules[])(const explained *, int) = {say_torch, say_tensorflow, say_onnx, say_keras};
    printf("   natural length  L = (in-1)*stride + ke = (%zu-1)*%zu + %zu = %zu\n", e->in[i],
           e->layer.stride[i], extent_of(e, i), e->plan.natural[i]);
    rules[e->layer.framework](e, i);
    printf("   legal           outputs of %zu..%zu pixels\n", e->plan.least[i], e->plan.most[i]);
}

static void say_conv(const explained *e, int i) {
    ptrdiff_t used = (ptrdiff_t)((e->plan.out[i] - 1) * e->layer.stride[i] + extent_of(e, i));
    printf("   first window    begins %td pixels before the input's first\n", e->plan.crop[i]);
    printf("   last window     ends %td pixels behind the input's last\n",
           used - e->plan.crop[i] - (ptrdiff_t)e->in[i]);
    printf("   output          windows of %zu pixels, %zu apart: (%zu-1)*%zu + %zu = %td, so out = %zu\n",
           extent_of(e, i), e->layer.stride[i], e->plan.out[i], e->layer.stride[i], extent_of(e, i), used,
           e->plan.out[i]);
}

/* Both axes are told in one go where nothing differs. */
static bool axes_alike(const explained *e) {
    const pleat_layer *l = &e->layer;
    return e->in[0] == e->in[1] && e->kernel[0] == e->kernel[1] && l->stride[0] == l->stride[1] &&
           l->dilation[0] == l->dilation[1] && l->pads[0] == l->pads[1] && l->pads[2] == l->pads[3] &&
           l->output_padding[0] == l->output_padding[1] && l->output_size[0] == l->output_size[1];
}

static void print_sizes(const explained *e) {
    bool alike = axes_alike(e);
    for (int i = 0; i < (alike ? 1 : 2); i++) {
        printf("%sSizes along %s\n", i ? "\n" : "", alike ? "H and W" : i ? "W" : "H");
        printf("   dilated kernel  ke = (kernel-1)*dilation + 1 = (%zu-1)*%zu + 1 = %zu\n", e->kernel[i],
               e->layer.dilation[i], extent_of(e, i));
        if (e->layer.transpose)
            say_transpose(e, i);
        else
            say_conv(e, i);
    }
}

/* ---- maps ----------------------------------------------------------------------------------------------- */

static bool fits(size_t H, size_t W) { return H <= WIDEST && W <= WIDEST; }

/* One character of the zero-inserted map along an axis: 2 a pixel of the input, 1 a zero between, 0 a zero around. at counts
 * from the first input pixel. */
static int inserted(const explained *e, int axis, ptrdiff_t at) {
    ptrdiff_t stride = (ptrdiff_t)e->layer.stride[axis], last = (ptrdiff_t)(e->in[axis] - 1) * stride;
    if (at < 0 || at > last) return 0;
    return at % stride ? 1 : 2;
}

static void print_inserted(const explained *e) {
    size_t H = e->image[0] + extent_of(e, 0) - 1, W = e->image[1] + extent_of(e, 1) - 1;
    printf(
        "\nZeros inserted: %zux%zu pixels become %zux%zu (%zu-1 and %zu-1 zeros between neighbours); with zeros around, and\n"
        "cropped where the padding exceeds the kernel, the rotated kernel is moved over %zux%zu, one pixel a step.\n",
        e->in[0], e->in[1], (e->in[0] - 1) * e->layer.stride[0] + 1, (e->in[1] - 1) * e->layer.stride[1] + 1,
        e->layer.stride[0], e->layer.stride[1], H, W);
    if (!fits(H, W)) return;
    printf("(X a pixel of the input, . an inserted zero, - a zero around)\n");
    for (size_t i = 0; i < H; i++) {
        int row = inserted(e, 0, (ptrdiff_t)i + e->plan.crop[0] - (ptrdiff_t)(extent_of(e, 0) - 1));
        printf("   ");
        for (size_t j = 0; j < W; j++) {
            int column = inserted(e, 1, (ptrdiff_t)j + e->plan.crop[1] - (ptrdiff_t)(extent_of(e, 1) - 1));
            int least = row < column ? row : column;
            printf(" %c", "-.X"[least]);
        }
        putchar('\n');
    }
}

static void print_rotated(const explained *e) {
    size_t R = e->kernel[0], S = e->kernel[1];
    printf("\nThe kernel is rotated by 180 degrees for this (scattering and the formula use it as it is)%s\n",
           R * S > 26 ? "." : ":");
    for (size_t r = 0; r < R && R * S <= 26; r++) {
        printf("   ");
        for (size_t s = 0; s < S; s++) printf(" %c", (int)('a' + r * S + s));
        printf(r == R / 2 ? "   becomes  " : "            ");
        for (size_t s = 0; s < S; s++) printf(" %c", (int)('a' + (R - r) * S - 1 - s));
        putchar('\n');
    }
}

static void print_crop(const explained *e) {
    printf("\nCrop: of the natural %zux%zu map\n", e->plan.natural[0], e->plan.natural[1]);
    for (int i = 0; i < 2; i++) {
        ptrdiff_t behind = (ptrdiff_t)e->plan.natural[i] - e->plan.crop[i] - (ptrdiff_t)e->plan.out[i];
        printf("   %s %s: %td dropped in front, %zu kept, ", i ? "columns" : "rows", i ? "(W)" : "(H)",
               e->plan.crop[i], e->plan.out[i]);
        if (behind >= 0)
            printf("%td dropped at the end\n", behind);
        else
            printf("%td of them zeros beyond its end\n", -behind);
    }
}

/* ---- taps ----------------------------------------------------------------------------------------------- */

static size_t largest(const size_t *v, size_t n) {
    size_t most = 0;
    for (size_t i = 0; i < n; i++) most = v[i] > most ? v[i] : most;
    return most;
}

static size_t smallest(const size_t *v, size_t n) {
    size_t least = v[0];
    for (size_t i = 0; i < n; i++) least = v[i] < least ? v[i] : least;
    return least;
}

static void print_taps(const explained *e) {
    size_t H = e->image[0], W = e->image[1];
    size_t most = largest(e->taps[0], H) * largest(e->taps[1], W);
    int width = most > 99 ? 4 : most > 9 ? 3 : 2;
    printf("\n%s\n", e->layer.transpose
                         ? "Taps of the kernel that reach each output pixel"
                         : "Windows that read each input pixel (and taps that reach it in the gradient)");
    for (size_t i = 0; i < H && fits(H, W); i++) {
        printf("   ");
        for (size_t j = 0; j < W; j++) printf("%*zu", width, e->taps[0][i] * e->taps[1][j]);
        putchar('\n');
    }
}

/* Far from the borders the counts repeat with the stride. */
static void print_evenness(const explained *e) {
    const size_t *s = e->layer.stride;
    size_t least = smallest(e->phase[0], s[0]) * smallest(e->phase[1], s[1]);
    size_t most = largest(e->phase[0], s[0]) * largest(e->phase[1], s[1]);
    bool transpose = e->layer.transpose;
    if (least == most) {
        printf("   Inside, the count is %zu everywhere%s.\n", most, transpose ? ": no checkerboard" : "");
        return;
    }
    printf("   Inside, the count varies between %zu and %zu and repeats every %zux%zu pixels%s.\n", least,
           most, s[0], s[1],
           transpose ? ": a checkerboard risk"
                     : ",\n   as it does wherever a window moves by more than one pixel");
    for (size_t i = 0; i < s[0] && s[0] * s[1] <= 16; i++) {
        printf("     ");
        for (size_t j = 0; j < s[1]; j++) printf(" %zu", e->phase[0][i] * e->phase[1][j]);
        putchar('\n');
    }
    if (!least)
        printf(transpose ? "   A count of 0: these pixels hold nothing but the bias.\n"
                         : "   A count of 0: no window reads these pixels.\n");
    if (transpose && e->layer.dilation[0] == 1 && e->layer.dilation[1] == 1)
        printf("   Kernels whose size is a multiple of the stride (%zux%zu, %zux%zu, ...) are even.\n", s[0],
               s[1], 2 * s[0], 2 * s[1]);
}

/* ---- work ----------------------------------------------------------------------------------------------- */

static void print_work(const explained *e) {
    printf("\nMultiply-adds for one image, %zu to %zu channels\n", e->layer.transpose ? e->g.O : e->g.C,
           e->layer.transpose ? e->g.C : e->g.O);
    if (!e->layer.transpose) {
        const pleat_conv_shape *g = &e->g;
        printf("   %.0f\n", (double)g->O * (double)(g->C / g->G) * (double)g->P * (double)g->Q *
                                (double)g->R * (double)g->S);
        return;
    }
    for (size_t m = 0; m < METHODS; m++)
        printf("   %-15s %14.0f   %s\n", methods[m].name, methods[m].transpose_macs(&e->g),
               methods[m].summary);
}

static void print_all(const explained *e) {
    char text[240];
    printf("%s %s: kernel %zux%zu, input %zux%zu -> output %zux%zu\n%s\n\n",
           pleat_framework_name(e->layer.framework),
           e->layer.transpose ? "transposed convolution" : "convolution", e->kernel[0], e->kernel[1],
           e->in[0], e->in[1], e->plan.out[0], e->plan.out[1], layer_words(&e->layer, text, sizeof text));
    print_sizes(e);
    if (e->layer.transpose) {
        print_inserted(e);
        print_rotated(e);
        print_crop(e);
    }
    print_taps(e);
    print_evenness(e);
    print_work(e);
}

/* ---- the command ---------------------------------------------------------------------------------------- */

static bool count_taps(explained *e, int i) {
    size_t stride = e->layer.stride[i];
    e->taps[i] = calloc(e->image[i], sizeof *e->taps[i]);
    e->phase[i] = calloc(stride, sizeof *e->phase[i]);
    if (!e->taps[i] || !e->phase[i]) return false;
    for (size_t a = 0; a < e->kernel[i]; a++) {
        e->phase[i][a * e->layer.dilation[i] % stride]++;
        for (size_t j = 0; j < e->map[i]; j++) {
            ptrdiff_t at = (ptrdiff_t)(j * stride + a * e->layer.dilation[i]) - e->plan.crop[i];
            if (at >= 0 && (size_t)at < e->image[i]) e->taps[i][at]++;
        }
    }
    return true;
}

/* Small enough that all counts are exact and quickly made. */
static bool is_small(const explained *e) {
    size_t total = 1;
    for (int i = 0; i < 2; i++) {
        size_t sizes[] = {e->map[i] * e->kernel[i], e->image[i], e->layer.stride[i], extent_of(e, i)};
        for (int k = 0; k < 4; k++) total = sizes[k] > total ? sizes[k] : total;
    }
    return total <= LARGEST_SHOWN;
}

static int prepare(const layer_arguments *a, explained *e) {
    *e = (explained){.layer = a->layer};
    if (!a->kernel[0] || !a->input[0])
        return complain(EXIT_USAGE, "explain", "%s is missing",
                        a->kernel[0] ? "--input-size H,W" : "--kernel H,W");
    if (!pleat_layer_plan_for(&e->layer, a->input, a->kernel, &e->plan))
        return complain(EXIT_USAGE, "explain", "%s", e->plan.why);
    size_t G = a->layer.groups;
    bool standard = a->channels[0] == 1 && a->channels[1] == 1;
    size_t channels[2] = {standard ? G : a->channels[0], standard ? G : a->channels[1]};
    if (channels[0] % G || channels[1] % G)
        return complain(EXIT_USAGE, "explain", "--channels %zu,%zu: both must be multiples of the %zu groups",
                        channels[0], channels[1], G);
    for (int i = 0; i < 2; i++) {
        e->in[i] = a->input[i], e->kernel[i] = a->kernel[i];
        e->image[i] = e->layer.transpose ? e->plan.out[i] : e->in[i];
        e->map[i] = e->layer.transpose ? e->in[i] : e->plan.out[i];
    }
    if (!is_small(e))
        return complain(EXIT_USAGE, "explain",
                        "the layer is too large to explain; give sizes below a thousand");
    e->g = pleat_layer_geometry(&e->layer, &e->plan, 1, channels, e->in, e->kernel);
    if (!count_taps(e, 0) || !count_taps(e, 1)) return complain(EXIT_IO, "explain", "no memory");
    return EXIT_FINE;
}

static int draw(const explained *e, const char *svg, const char *png) {
    if (!fits(e->image[0], e->image[1]))
        return complain(EXIT_USAGE, "explain", "a picture of %zux%zu pixels: %dx%d is the most", e->image[0],
                        e->image[1], WIDEST, WIDEST);
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    if (!ctx) return complain(EXIT_IO, "explain", "no memory");
    int status = svg ? draw_svg(e, ctx, svg) : EXIT_FINE;
    if (png && !status) status = draw_png(e, ctx, png);
    pleat_ctx_free(ctx);
    return status;
}

static int run(int argc, char **argv) {
    const char *svg = NULL, *png = NULL;
    layer_arguments a;
    const text_option options[] = {{"--svg", &svg, false}, {"--png", &png, false}};
    int status = read_arguments("explain", "--framework", argc, argv, &a, options, 2);
    if (status) return status;
    explained e;
    status = prepare(&a, &e);
    if (!status && (svg || png)) status = draw(&e, svg, png);
    if (!status && !(svg && !strcmp(svg, "-"))) print_all(&e);
    for (int i = 0; i < 2; i++) {
        free(e.taps[i]);
        free(e.phase[i]);
    }
    return status;
}

const command explain_command = {"explain", "what a layer does, stage by stage, also as a picture", help,
                                 run};

/* deconv disagree: where the frameworks disagree. Each cause is a pair of layers that people take for the same; the table says
 * at how many small geometries they are not, and shows the smallest with its values. */
#include <stdlib.h>
#include <string.h>

#include "spellings.h"

static const char help[] =
    "usage: deconv disagree\n"
    "\n"
    "Prints the geometries on which the frameworks disagree: for each cause the two ways to write what is taken for the same\n"
    "layer, at how many of all small geometries (up to 6 pixels, kernel 5, stride 4, dilation 3, along one axis) they give\n"
    "other sizes or other pixels or one is refused, and the smallest example with its values on x = 1 2 3 ..., w = 1 2 3 ...\n"
    "Everything is computed from the rules of the library when the command runs.\n";

enum { MOST_IN = 6, MOST_KERNEL = 5, MOST_STRIDE = 4, MOST_DILATION = 3, MOST_EXTRA = 4, EXAMPLE_IN = 3 };

/* A geometry along W. extra: a number that some causes vary besides. */
typedef struct geometry {
    size_t in, kernel, stride, dilation, extra;
} geometry;

/* One axis's extent of the dilated kernel, and the natural length. */
static size_t extent(const geometry *g) { return (g->kernel - 1) * g->dilation + 1; }
static size_t natural(const geometry *g) { return (g->in - 1) * g->stride + extent(g); }

/* ---- the ways to write it ------------------------------------------------------------------------------- */

static pleat_layer plain(const geometry *g, pleat_framework f, bool transpose, pleat_padding word) {
    return (pleat_layer){.framework = f,
                         .transpose = transpose,
                         .stride = {1, g->stride},
                         .dilation = {1, g->dilation},
                         .groups = 1,
                         .padding = word,
                         .channels_last = f == PLEAT_TENSORFLOW || f == PLEAT_KERAS};
}

static void set_size(pleat_layer *l, size_t size) {
    l->has_output_size = true;
    l->output_size[0] = 1, l->output_size[1] = size;
}

static void set_output_padding(pleat_layer *l, size_t n) {
    l->has_output_padding = true;
    l->output_padding[0] = 0, l->output_padding[1] = n;
}

static void set_pads(pleat_layer *l, size_t begin, size_t end) {
    l->pads[1] = (ptrdiff_t)begin, l->pads[3] = (ptrdiff_t)end;
}

static pleat_layer tf_same(const geometry *g, size_t size) {
    pleat_layer l = plain(g, PLEAT_TENSORFLOW, true, PLEAT_PADDING_SAME);
    set_size(&l, size);
    return l;
}

/* Each writes the pair for a geometry; false where the comparison would mean nothing, or where what differs is another cause. */

/* The recipe of many tutorials for an output of in * stride. */
static bool popular_torch(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (g->kernel % 2 == 0 || g->stride < 2 || g->dilation > 1) return false;
    *a = tf_same(g, g->in * g->stride);
    *b = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    set_pads(b, (g->kernel - 1) / 2, (g->kernel - 1) / 2);
    set_output_padding(b, g->stride - 1);
    return true;
}

static bool onnx_upper(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = tf_same(g, g->in * g->stride);
    *b = plain(g, PLEAT_ONNX, true, PLEAT_PADDING_SAME_UPPER);
    return true;
}

static bool onnx_lower(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (extent(g) < g->stride) return false;
    *a = plain(g, PLEAT_ONNX, true, PLEAT_PADDING_SAME_UPPER);
    *b = plain(g, PLEAT_ONNX, true, PLEAT_PADDING_SAME_LOWER);
    return true;
}

static bool keras_same(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (g->extra >= g->stride || extent(g) % 2 == 0) return false;
    *a = plain(g, PLEAT_KERAS, true, PLEAT_PADDING_SAME);
    set_output_padding(a, g->extra);
    *b = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    set_pads(b, (extent(g) - 1) / 2, (extent(g) - 1) / 2);
    set_output_padding(b, g->extra);
    return g->dilation == 1 || g->stride == 1;
}

static bool keras_valid(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = plain(g, PLEAT_KERAS, true, PLEAT_PADDING_VALID);
    *b = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    return g->dilation == 1 || g->stride == 1;
}

static bool tf_alignment(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (g->extra < 1 || g->extra >= g->stride || g->dilation > 1) return false;
    size_t full = g->in * g->stride, total = natural(g) > full ? natural(g) - full : 0;
    *a = tf_same(g, full - g->extra);
    *b = plain(g, PLEAT_ONNX, true, PLEAT_PADDING_EXPLICIT);
    set_pads(b, total / 2, natural(g) - total / 2 - (full - g->extra));
    return natural(g) >= full;
}

static bool given_size(const geometry *g, pleat_layer *a, pleat_layer *b) {
    size_t pad = 1, size = natural(g) + g->extra;
    if (size <= 2 * pad || g->extra >= g->stride) return false;
    *a = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    *b = plain(g, PLEAT_ONNX, true, PLEAT_PADDING_EXPLICIT);
    set_pads(a, pad, pad);
    set_size(a, size - 2 * pad);
    set_size(b, size - 2 * pad);
    return true;
}

static bool longer_than_natural(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (g->extra < 1 || g->extra >= g->stride) return false;
    *a = plain(g, PLEAT_ONNX, true, PLEAT_PADDING_SAME_UPPER);
    *b = tf_same(g, natural(g) + g->extra);
    set_size(a, natural(g) + g->extra);
    return true;
}

static bool big_output_padding(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (g->extra < g->stride || g->extra >= g->dilation) return false;
    *a = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    *b = plain(g, PLEAT_ONNX, true, PLEAT_PADDING_EXPLICIT);
    set_output_padding(a, g->extra);
    set_output_padding(b, g->extra);
    return true;
}

/* One layer, asked for by its output_padding and by its output_size. */
static bool torch_with_itself(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (g->extra < g->stride || g->extra >= g->dilation) return false;
    *a = *b = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    set_output_padding(a, g->extra);
    set_size(b, natural(g) + g->extra);
    return true;
}

static bool stride_and_dilation(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    *b = plain(g, PLEAT_KERAS, true, PLEAT_PADDING_VALID);
    set_output_padding(b, 0);
    return true;
}

static bool two_groups(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = plain(g, PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    *b = plain(g, PLEAT_TENSORFLOW, true, PLEAT_PADDING_VALID);
    set_size(b, natural(g));
    a->groups = b->groups = 2;
    return true;
}

static bool conv_same(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = plain(g, PLEAT_TENSORFLOW, false, PLEAT_PADDING_SAME);
    *b = plain(g, PLEAT_ONNX, false, PLEAT_PADDING_SAME_UPPER);
    return g->dilation == 1;
}

static bool conv_same_dilated(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = plain(g, PLEAT_TENSORFLOW, false, PLEAT_PADDING_SAME);
    *b = plain(g, PLEAT_ONNX, false, PLEAT_PADDING_SAME_UPPER);
    return g->dilation > 1;
}

static bool conv_lower(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = plain(g, PLEAT_ONNX, false, PLEAT_PADDING_SAME_UPPER);
    *b = plain(g, PLEAT_ONNX, false, PLEAT_PADDING_SAME_LOWER);
    return g->dilation == 1;
}

static bool conv_same_strided(const geometry *g, pleat_layer *a, pleat_layer *b) {
    *a = plain(g, PLEAT_TENSORFLOW, false, PLEAT_PADDING_SAME);
    *b = plain(g, PLEAT_TORCH, false, PLEAT_PADDING_SAME);
    return g->dilation == 1;
}

static bool conv_halving(const geometry *g, pleat_layer *a, pleat_layer *b) {
    if (g->kernel % 2 == 0 || g->dilation > 1) return false;
    *a = plain(g, PLEAT_TENSORFLOW, false, PLEAT_PADDING_SAME);
    *b = plain(g, PLEAT_TORCH, false, PLEAT_PADDING_EXPLICIT);
    set_pads(b, (g->kernel - 1) / 2, (g->kernel - 1) / 2);
    return true;
}

typedef struct cause {
    const char *title;
    bool (*write)(const geometry *g, pleat_layer *a, pleat_layer *b);
    bool extra; /* it varies extra */
} cause;

static const cause causes[] = {
    {"TensorFlow SAME is not PyTorch's padding (k-1)/2 with output_padding s-1, unless the kernel is 1",
     popular_torch, false},
    {"TensorFlow SAME is ONNX SAME_UPPER only where the dilated kernel is at least the stride", onnx_upper,
     false},
    {"ONNX SAME_UPPER and SAME_LOWER differ where the overhang ke-s is odd", onnx_lower, false},
    {"TensorFlow SAME begins elsewhere for another output_shape; a fixed padding (here ONNX's) stays",
     tf_alignment, true},
    {"an output size: PyTorch cuts its padding in front, ONNX splits what is too much, and ignores pads",
     given_size, true},
    {"an output_shape beyond the natural length: zeros at the end in ONNX, often refused by TensorFlow",
     longer_than_natural, true},
    {"an output_padding moves the pixels of Keras same, those of PyTorch's padding (ke-1)/2 never",
     keras_same, true},
    {"Keras valid without output_padding fills up to the stride, PyTorch does not", keras_valid, false},
    {"an output_padding of the stride or more, below the dilation: PyTorch alone", big_output_padding, true},
    {"the same: PyTorch takes it as an output_padding, but not as an output_size", torch_with_itself, true},
    {"a stride together with a dilation: Keras refuses it", stride_and_dilation, false},
    {"groups in a transposed convolution: TensorFlow and Keras have none", two_groups, false},
    {"convolution: with a stride, TensorFlow SAME is PyTorch's padding (k-1)/2 for some input sizes alone",
     conv_halving, false},
    {"convolution: SAME with a kernel smaller than the stride: TensorFlow never crops, ONNX Runtime does",
     conv_same, false},
    {"convolution: SAME with a dilation: ONNX Runtime refuses it", conv_same_dilated, false},
    {"convolution: ONNX SAME_UPPER and SAME_LOWER", conv_lower, false},
    {"convolution: SAME with a stride: PyTorch refuses it", conv_same_strided, false},
};

/* ---- counting ------------------------------------------------------------------------------------------- */

typedef enum verdict { EQUAL, MOVED, RESIZED, REFUSED, VERDICTS } verdict;

/* EQUAL too where both refuse. */
static verdict judge(const geometry *g, const pleat_layer *a, const pleat_layer *b) {
    size_t in[2] = {1, g->in}, kernel[2] = {1, g->kernel};
    pleat_layer_plan p, q;
    bool first = pleat_layer_plan_for(a, in, kernel, &p), second = pleat_layer_plan_for(b, in, kernel, &q);
    if (first != second) return REFUSED;
    if (!first || (p.out[1] == q.out[1] && p.crop[1] == q.crop[1])) return EQUAL;
    return p.out[1] == q.out[1] ? MOVED : RESIZED;
}

typedef struct census {
    size_t compared, counts[VERDICTS];
    bool found;
    geometry
        example; /* the first disagreement in the order below, at an input of EXAMPLE_IN pixels if there is one */
} census;

static void visit(census *c, const cause *why, const geometry *g) {
    pleat_layer a, b;
    if (!why->write(g, &a, &b)) return;
    verdict v = judge(g, &a, &b);
    c->compared++;
    c->counts[v]++;
    bool nicer = g->in == EXAMPLE_IN && c->example.in != EXAMPLE_IN;
    if (v == EQUAL || (c->found && !nicer)) return;
    c->found = true;
    c->example = *g;
}

/* Geometries of growing size: kernel + stride + dilation + extra = sum. */
static census take(const cause *why) {
    census c = {0};
    size_t most = MOST_KERNEL + MOST_STRIDE + MOST_DILATION + MOST_EXTRA;
    for (size_t sum = 3; sum <= most; sum++)
        for (geometry g = {.kernel = 1}; g.kernel <= MOST_KERNEL; g.kernel++)
            for (g.stride = 1; g.stride <= MOST_STRIDE; g.stride++)
                for (g.dilation = 1; g.dilation <= MOST_DILATION; g.dilation++) {
                    size_t used = g.kernel + g.stride + g.dilation;
                    if (used > sum || sum - used > (why->extra ? MOST_EXTRA : 0)) continue;
                    if (g.kernel == 1 && g.dilation > 1) continue; /* nothing to dilate */
                    g.extra = sum - used;
                    for (g.in = 1; g.in <= MOST_IN; g.in++) visit(&c, why, &g);
                }
    return c;
}

/* ---- printing ------------------------------------------------------------------------------------------- */

/* 1 2 3 ... along W */
static pleat_tensor *ramp(pleat_ctx *ctx, size_t n) {
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 1, n));
    double *v = pleat_f64(t);
    for (size_t i = 0; v && i < n; i++) v[i] = (double)i + 1;
    return t;
}

static void print_numbers(pleat_tensor *t) {
    for (size_t i = 0; i < pleat_numel(t); i++) printf(" %g", pleat_at(t, (size_t[]){0, 0, 0, i}));
    putchar('\n');
}

static void print_layer(const geometry *g, const pleat_layer *l, pleat_tensor *x, pleat_tensor *w) {
    size_t in[2] = {1, g->in}, kernel[2] = {1, g->kernel};
    char text[240];
    pleat_layer_plan p;
    printf("   %-10s  %s\n               ", pleat_framework_name(l->framework),
           layer_words(l, text, sizeof text));
    if (pleat_layer_plan_for(l, in, kernel, &p)) {
        printf("gives");
        print_numbers(apply_one_channel(l, x, w));
    } else {
        printf("refused: %s\n", p.why);
    }
}

static void print_cause(pleat_ctx *ctx, size_t number, const cause *why) {
    static const char *const words[VERDICTS] = {NULL, "with other pixels", "with another size",
                                                "where one refuses"};
    census c = take(why);
    size_t differ = c.compared - c.counts[EQUAL];
    printf("%zu. %s\n   differs at %zu of %zu geometries:", number, why->title, differ, c.compared);
    const char *separator = " ";
    for (int v = MOVED; v < VERDICTS; v++) {
        if (!c.counts[v]) continue;
        printf("%s%zu %s", separator, c.counts[v], words[v]);
        separator = ", ";
    }
    putchar('\n');
    if (!c.found) return;
    const geometry *g = &c.example;
    pleat_scope s = pleat_begin(ctx);
    pleat_layer a, b;
    why->write(g, &a, &b);
    pleat_tensor *x = ramp(ctx, g->in), *w = ramp(ctx, g->kernel);
    printf("   x =");
    print_numbers(x);
    printf("   w =");
    print_numbers(w);
    print_layer(g, &a, x, w);
    print_layer(g, &b, x, w);
    putchar('\n');
    pleat_end(s);
}

static int run(int argc, char **argv) {
    int status = read_words("disagree", argc, argv, NULL, 0);
    if (status) return status;
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    if (!ctx) return complain(EXIT_IO, "disagree", "no memory");
    for (size_t k = 0; k < sizeof causes / sizeof *causes; k++) print_cause(ctx, k + 1, &causes[k]);
    bool failed = pleat_error(ctx)->code;
    if (failed) complain(EXIT_IO, "disagree", "%s", pleat_error(ctx)->text);
    pleat_ctx_free(ctx);
    return failed ? EXIT_IO : EXIT_FINE;
}

const command disagree_command = {
    "disagree", "the geometries on which the frameworks disagree, with their values", help, run};

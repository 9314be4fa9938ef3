/* deconv translate: the same layer in another framework's arguments, or the nearest one and what it does to the pixels. */
#include <stdlib.h>
#include <string.h>

#include "spellings.h"

static const char help[] =
    "usage: deconv translate --from FRAMEWORK --kernel H,W --input-size H,W [arguments of the layer] [--to FRAMEWORK]\n"
    "\n"
    "Prints the same layer in the arguments of each other framework, found by trying them: one line for each of its words\n"
    "for padding that can say it. Where none can, says why, and prints the nearest layer and which output pixels differ.\n"
    "\n"
    "  --from FRAMEWORK   torch (default), tensorflow, onnx or keras: whose arguments follow\n"
    "  --to FRAMEWORK     one of them, or all (default)\n"
    "  --op OP            conv_transpose (default) or conv\n"
    "  --kernel H,W       size of the kernel\n"
    "  --input-size H,W   size of the layer's input\n"
    "and the framework's own arguments, as in `deconv run --help`.\n"
    "\n"
    "Exit status: 0; 1 if the one framework named with --to cannot express the layer; 2 for wrong arguments.\n";

/* The layer that is translated, and what pictures of it need. */
typedef struct source {
    pleat_layer layer;
    pleat_layer_plan plan;
    wanted w;
    pleat_ctx *ctx;
    pleat_tensor *x, *kernel; /* large whole numbers, so that pixels agree only for a reason; one channel */
    double *pixels;           /* of the result */
} source;

enum { LARGEST_COMPARED = 1000 }; /* pixels along an axis */

/* ---- which pixels differ -------------------------------------------------------------------------------- */

static pleat_tensor *whole_numbers(pleat_ctx *ctx, pleat_rng *r, const size_t size[2]) {
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, size[0], size[1]));
    double *data = pleat_f64(t);
    for (size_t i = 0; data && i < pleat_numel(t); i++) data[i] = 1 + (double)pleat_rng_below(r, 9999);
    return t;
}

/* The kernel with its dilation written out: zeros between the taps. */
static pleat_tensor *written_out(const wanted *w, pleat_tensor *kernel, const size_t size[2]) {
    if (pleat_size(kernel, 2) == size[0] && pleat_size(kernel, 3) == size[1]) return kernel;
    return pleat_pad(kernel, (size_t[]){1, 1, size[0], size[1]}, (size_t[]){0, 0, 0, 0},
                     (size_t[]){1, 1, w->dilation[0], w->dilation[1]});
}

static double *values(pleat_tensor *t) {
    double *v = malloc((pleat_numel(t) ? pleat_numel(t) : 1) * sizeof *v);
    if (v) pleat_read_f64(t, v);
    return v;
}

static void print_map(const bool *differs, size_t H, size_t W) {
    printf("            where (# differs):\n");
    for (size_t i = 0; i < H; i++) {
        printf("              ");
        for (size_t j = 0; j < W; j++) putchar(differs[i * W + j] ? '#' : '.');
        putchar('\n');
    }
}

/* Compare where both have pixels. */
static void print_pixels(const source *s, const spelling *other, const double *theirs) {
    size_t H = s->plan.out[0] < other->plan.out[0] ? s->plan.out[0] : other->plan.out[0];
    size_t W = s->plan.out[1] < other->plan.out[1] ? s->plan.out[1] : other->plan.out[1];
    size_t count = 0, top = H, bottom = 0, left = W, right = 0;
    bool *differs = calloc(H * W, sizeof *differs);
    if (!differs) return;
    for (size_t i = 0; i < H * W; i++) {
        size_t row = i / W, column = i % W;
        if (s->pixels[row * s->plan.out[1] + column] == theirs[row * other->plan.out[1] + column]) continue;
        differs[i] = true, count++;
        top = row < top ? row : top, bottom = row > bottom ? row : bottom;
        left = column < left ? column : left, right = column > right ? column : right;
    }
    printf("            on random whole numbers %zu of %zu output pixels differ", count, H * W);
    if (count) printf(": rows %zu..%zu, columns %zu..%zu", top, bottom, left, right);
    putchar('\n');
    if (count && count < H * W && H <= 16 && W <= 64) print_map(differs, H, W);
    free(differs);
}

static void compare_pixels(const source *s, const wanted *w, const spelling *other) {
    if (!s->pixels) return;
    pleat_tensor *y = apply_one_channel(&other->layer, s->x, written_out(&s->w, s->kernel, w->kernel));
    double *theirs = pleat_is_poison(y) ? NULL : values(y);
    if (theirs) print_pixels(s, other, theirs);
    free(theirs);
}

/* ---- one framework -------------------------------------------------------------------------------------- */

/* "shifted by one pixel towards the end on H and W". In a convolution the crop counts input pixels. */
static void print_shift(const source *s, const pleat_layer_plan *p) {
    ptrdiff_t by[2] = {s->plan.crop[0] - p->crop[0], s->plan.crop[1] - p->crop[1]};
    for (int i = 0; i < 2; i++) {
        if (!by[i] || (i == 1 && by[1] == by[0])) continue;
        const char *axes = by[0] == by[1] ? "H and W" : i == 0 ? "H" : "W";
        ptrdiff_t n = by[i] > 0 ? by[i] : -by[i];
        char pixels[48] = "one pixel";
        if (n > 1) snprintf(pixels, sizeof pixels, "%td pixels", n);
        printf("%s", i == 1 && by[0] ? ", " : "");
        if (s->w.transpose)
            printf("shifted by %s towards the %s on %s", pixels, by[i] > 0 ? "end" : "beginning", axes);
        else
            printf("its windows begin %s of the input %s on %s", pixels, by[i] > 0 ? "later" : "earlier",
                   axes);
    }
}

static void print_differences(const source *s, const wanted *w, const spelling *other) {
    const pleat_layer_plan *p = &other->plan;
    printf("            ");
    if (other->resize)
        printf("its output is %zux%zu instead of %zux%zu%s", p->out[0], p->out[1], s->plan.out[0],
               s->plan.out[1], other->shift ? ", " : "");
    if (other->shift) print_shift(s, p);
    putchar('\n');
    compare_pixels(s, w, other);
}

/* The first of the input sizes around this one at which the two layers differ, 0 if there is none. An output size is taken
 * to follow the source's. */
static size_t differs_at(const source *s, const wanted *w, const spelling *same) {
    if (s->layer.has_output_size) return 0;
    for (size_t n = 1; n <= 24; n++) {
        size_t in[2] = {n, n};
        pleat_layer_plan a, b;
        pleat_layer other = same->layer;
        if (!pleat_layer_plan_for(&s->layer, in, s->w.kernel, &a)) continue;
        if (other.has_output_size) other.output_size[0] = a.out[0], other.output_size[1] = a.out[1];
        if (!pleat_layer_plan_for(&other, in, w->kernel, &b) || memcmp(a.out, b.out, sizeof a.out) ||
            memcmp(a.crop, b.crop, sizeof a.crop))
            return n;
    }
    return 0;
}

static void print_exact(const source *s, const wanted *w, const spelling *same, const char *title) {
    char text[240];
    printf("%-11s %s\n", title, layer_words(&same->layer, text, sizeof text));
    size_t n = differs_at(s, w, same);
    if (n) printf("            at this input size; not, for example, at %zux%zu\n", n, n);
}

/* How another framework gets around a word that it lacks: a layer for each group, a dilation written out. */
static wanted without(const wanted *w, bool groups, bool dilation) {
    wanted other = *w;
    if (groups) other.groups = 1;
    for (int i = 0; i < 2 && dilation; i++) {
        other.kernel[i] = (w->kernel[i] - 1) * w->dilation[i] + 1;
        other.dilation[i] = 1;
    }
    return other;
}

/* All spellings of w in framework f. Returns whether one is exact; the nearest goes to *near, false in *any if there is none. */
static bool search_all(const wanted *w, pleat_framework f, spelling found[WORDS], bool legal[WORDS],
                       const spelling **near) {
    *near = NULL;
    for (int k = 0; k < WORDS; k++) {
        legal[k] = nearest_spelling(w, f, (pleat_padding)k, &found[k]);
        if (legal[k] && (!*near || is_nearer(&found[k], *near))) *near = &found[k];
    }
    return *near && is_exact(*near);
}

static void print_title(const char *name, const char *text) { printf("%-11s %s\n", name, text); }

static void print_expressible(const source *s, const wanted *w, pleat_framework f,
                              const spelling found[WORDS], const bool legal[WORDS]) {
    const char *title = pleat_framework_name(f);
    for (int k = 0; k < WORDS; k++) {
        if (!legal[k] || !is_exact(&found[k])) continue;
        print_exact(s, w, &found[k], title);
        title = "         or";
    }
    for (int k = 0; k < WORDS;
         k++) { /* the ones that people mistake for it: the right size, the wrong place */
        char text[240];
        if (!legal[k] || found[k].resize || !found[k].shift) continue;
        printf("    but not %s\n            ", layer_words(&found[k].layer, text, sizeof text));
        print_shift(s, &found[k].plan);
        putchar('\n');
    }
}

static void print_inexpressible(const source *s, pleat_framework f, const char *why) {
    char text[240];
    spelling found[WORDS];
    bool legal[WORDS];
    const spelling *near = NULL;
    printf("%-11s not expressible: %s\n", pleat_framework_name(f), why);
    for (int way = 0; way < 4 && !near; way++) {
        wanted w = without(&s->w, way & 1, way & 2);
        bool exact = search_all(&w, f, found, legal, &near);
        if (!near) continue;
        printf("            nearest: %s\n", layer_words(&near->layer, text, sizeof text));
        if (way & 1) printf("            as %zu layers, one for each group of channels\n", s->w.groups);
        if (way & 2)
            printf("            with the dilation written out: a %zux%zu kernel, zeros between its taps\n",
                   w.kernel[0], w.kernel[1]);
        if (exact)
            printf("            which gives the same pixels\n");
        else
            print_differences(s, &w, near);
    }
}

static bool translate_to(const source *s, pleat_framework f) {
    spelling found[WORDS];
    bool legal[WORDS];
    const spelling *near;
    if (search_all(&s->w, f, found, legal, &near)) {
        print_expressible(s, &s->w, f, found, legal);
        return true;
    }
    char why[sizeof near->plan.why];
    if (near && s->w.transpose)
        snprintf(why, sizeof why, "no arguments give %zux%zu pixels from pixel %td,%td of the natural map on",
                 s->plan.out[0], s->plan.out[1], s->plan.crop[0], s->plan.crop[1]);
    else if (near)
        snprintf(why, sizeof why, "no arguments give %zux%zu pixels with padding %td,%td at the beginning",
                 s->plan.out[0], s->plan.out[1], s->plan.crop[0], s->plan.crop[1]);
    else
        memcpy(why, found[f == PLEAT_KERAS ? PLEAT_PADDING_VALID : PLEAT_PADDING_EXPLICIT].plan.why,
               sizeof why);
    print_inexpressible(s, f, why);
    return false;
}

/* ---- the command ---------------------------------------------------------------------------------------- */

static void print_source(const source *s) {
    char text[240];
    const wanted *w = &s->w;
    print_title(pleat_framework_name(s->layer.framework), layer_words(&s->layer, text, sizeof text));
    printf("            kernel %zux%zu, input %zux%zu -> output %zux%zu: ", w->kernel[0], w->kernel[1],
           w->in[0], w->in[1], w->out[0], w->out[1]);
    if (w->transpose)
        printf("the natural %zux%zu from pixel %td,%td on\n\n", s->plan.natural[0], s->plan.natural[1],
               w->crop[0], w->crop[1]);
    else
        printf("padded by %td,%td at the beginning\n\n", w->crop[0], w->crop[1]);
}

/* The result to compare others with, unless it is so large that nobody would wait for it. */
static void compute_pixels(source *s) {
    for (int i = 0; i < 2; i++)
        if (s->w.in[i] > LARGEST_COMPARED || s->w.out[i] > LARGEST_COMPARED) return;
    pleat_rng r = pleat_rng_new(1, 0);
    s->x = whole_numbers(s->ctx, &r, s->w.in);
    s->kernel = whole_numbers(s->ctx, &r, s->w.kernel);
    s->pixels = values(apply_one_channel(&s->layer, s->x, s->kernel));
}

static int translate_all(source *s, const char *to) {
    compute_pixels(s);
    if (pleat_error(s->ctx)->code) return complain(EXIT_IO, "translate", "%s", pleat_error(s->ctx)->text);
    bool all = !strcmp(to, "all"), expressible = true;
    print_source(s);
    for (int f = 0; f < PLEAT_FRAMEWORKS; f++) {
        bool named = !strcmp(to, pleat_framework_name((pleat_framework)f));
        if (all ? f != (int)s->layer.framework : named)
            expressible = translate_to(s, (pleat_framework)f) || all;
    }
    return expressible ? EXIT_FINE : EXIT_DIFFERENT;
}

static bool is_framework(const char *name) {
    for (int f = 0; f < PLEAT_FRAMEWORKS; f++)
        if (!strcmp(name, pleat_framework_name((pleat_framework)f))) return true;
    return false;
}

static int run(int argc, char **argv) {
    const char *to = NULL;
    layer_arguments a;
    const text_option options[] = {{"--to", &to, false}, {"--channels", NULL, false}};
    int status = read_arguments("translate", "--from", argc, argv, &a, options, 2);
    if (status) return status;
    if (!to) to = "all";
    if (strcmp(to, "all") && !is_framework(to))
        return refuse_word("translate", "--to", to, "torch, tensorflow, onnx, keras or all", framework_words);
    if (!a.kernel[0] || !a.input[0])
        return complain(EXIT_USAGE, "translate", "%s is missing",
                        a.kernel[0] ? "--input-size H,W" : "--kernel H,W");
    source s = {.layer = a.layer};
    if (!pleat_layer_plan_for(&s.layer, a.input, a.kernel, &s.plan))
        return complain(EXIT_USAGE, "translate", "%s", s.plan.why);
    s.w = wanted_of(&s.layer, &s.plan, a.input, a.kernel);
    if (!searchable(&s.w))
        return complain(
            EXIT_USAGE, "translate",
            "kernel, stride and padding together exceed %d pixels, too many to try; give smaller ones",
            LARGEST_PADDING);
    s.ctx = pleat_ctx_new(.threads = 1);
    if (!s.ctx) return complain(EXIT_IO, "translate", "no memory");
    status = translate_all(&s, to);
    free(s.pixels);
    pleat_ctx_free(s.ctx);
    return status;
}

const command translate_command = {"translate", "the same layer in each other framework's arguments", help,
                                   run};

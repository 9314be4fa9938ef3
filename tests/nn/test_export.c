/* Networks as C files: compiled by the compiler that is here, they have the bits of the library. PLEAT_CASE=N draws network N
 * alone and leaves its file in the working folder. */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "autoencoder.h"
#include "geometry.h"
#include "pleat_op.h"
#include "scratch.h"

TestSuite(export, .init = scratch_begin, .fini = scratch_end);

enum { CASES = 24 };

typedef void forward(const float *x, float *y);

/* ---- a file that is compiled and called -------------------------------------------------------------------------- */

static void run(const char *command) {
    int status = system(command);
    cr_assert_eq(status, 0, "%s: %d", command, status);
}

/* net.c as a function; options: of the compiler. */
static forward *compiled(const char *options, void **handle) {
    const char *cc = getenv("CC");
    char text[1024];
    snprintf(
        text, sizeof text,
        "%s -std=gnu11 -Wall -Wextra -Werror %s -fPIC -shared -nostdlib -Wl,-z,defs %s/net.c -o %s/net.so -lc -lgcc",
        cc ? cc : "cc", options, scratch_folder, scratch_folder);
    run(text);
    snprintf(text, sizeof text, "%s/net.so", scratch_folder);
    *handle = dlopen(text, RTLD_NOW);
    cr_assert(*handle, "%s", dlerror());
    void *found = dlsym(*handle, "net_forward");
    forward *f;
    memcpy(&f, &found, sizeof f);
    return f;
}

/* `images` inputs through the file and through the library, by each set of options. */
static void expect_bits(pleat_nn_module *net, size_t rank, const size_t *shape, size_t images,
                        const char *what) {
    /* clang's pragma that keeps products and sums apart does not count beside -ffp-contract=fast */
    bool clang = getenv("CC") && strstr(getenv("CC"), "clang");
    const char *const options[] = {
        "-O2", clang ? "-Os -march=native" : "-Os -ffp-contract=fast -march=native", "-O0"};
    char path[128];
    snprintf(path, sizeof path, "%s/net.c", scratch_folder);
    pleat_nn_set_training(net, false);
    pleat_status s = pleat_nn_export_c(net, rank, shape, path, .test = 3);
    cr_assert_eq(s, PLEAT_OK, "%s: %s", what, pleat_error(ctx)->text);
    pleat_prepared *p = pleat_nn_prepare(net, rank, shape);
    const pleat_tensor *result = pleat_prepared_result(p);
    size_t n = pleat_numel(result);
    float *y = malloc(2 * n * sizeof *y);
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        void *handle;
        forward *f = compiled(options[k], &handle);
        for (size_t i = 0; i < images; i++) {
            pleat_scope scope = pleat_begin(ctx);
            pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, rank, shape);
            pleat_run_f32(p, pleat_const_f32(x), y);
            f(pleat_const_f32(x), y + n);
            cr_assert(!memcmp(y, y + n, n * sizeof *y), "%s, %s, image %zu", what, options[k], i);
            pleat_end(scope);
        }
        dlclose(handle);
    }
    free(y);
    pleat_prepared_free(p);
}

/* ---- networks ------------------------------------------------------------------------------------------------------ */

Test(export, has_the_bits_of_the_autoencoder) {
    pleat_nn_module *net = autoencoder(ctx);
    expect_bits(net, PLEAT_SHAPE(1, 1, 28, 28), 100, "autoencoder");
    pleat_nn_free(net);
}

/* The sizes of an image on its way. */
typedef struct sizes {
    uint64_t seed;
    size_t C, H, W;
} sizes;

static size_t below(sizes *s, size_t n) { return random_below(&s->seed, n); }

static pleat_nn_module *activation(sizes *s) {
    switch (below(s, 10)) {
    case 0:
        return pleat_nn_sigmoid(ctx);
    case 1:
        return pleat_nn_tanh(ctx);
    case 2:
        return pleat_nn_silu(ctx);
    case 3:
        return pleat_nn_gelu(ctx);
    case 4:
        return pleat_nn_elu(ctx, 0.7);
    case 5:
        return pleat_nn_leaky_relu(ctx, 0.1);
    case 6:
        return pleat_nn_prelu(ctx, s->C, PLEAT_F32);
    case 7:
        return pleat_nn_softplus(ctx);
    case 8:
        return pleat_nn_relu6(ctx);
    default:
        return pleat_nn_relu(ctx);
    }
}

static pleat_nn_module *convolution(sizes *s) {
    size_t k = 1 + below(s, 3), stride = 1 + below(s, 2), G = s->C % 3 == 0 && below(s, 2) ? 3 : 1,
           out = G * (1 + below(s, 5));
    bool smaller = s->H >= 5 && s->W >= 5;
    pleat_nn_conv_args a = {.ctx = ctx, .in = s->C, .out = out, .kernel = {k, k}, .stride = {stride, stride}};
    a.groups = G, a.no_bias = below(s, 3) == 0;
    if (k > 1) a.pad[0] = a.pad[1] = (ptrdiff_t)(k / 2);
    s->C = out;
    if (smaller) {
        s->H = (s->H + 2 * (k > 1 ? k / 2 : 0) - k) / stride + 1,
        s->W = (s->W + 2 * (k > 1 ? k / 2 : 0) - k) / stride + 1;
        return pleat_nn_conv2d_with(a);
    }
    a.pad[0] = a.pad[1] = 0;
    s->H = (s->H - 1) * stride + k, s->W = (s->W - 1) * stride + k;
    return pleat_nn_conv_transpose2d_with(a);
}

static pleat_nn_module *pool(sizes *s) {
    if (s->H < 4 || s->W < 4 || below(s, 4) == 0) {
        s->H = 3, s->W = 2;
        return pleat_nn_adaptive_avg_pool2d(ctx, 3, 2);
    }
    size_t k = 2 + below(s, 2), stride = 1 + below(s, 3), pad = below(s, 2);
    pleat_nn_pool_args a = {.ctx = ctx, .kernel = {k, k}, .stride = {stride, stride}, .pad = {pad, pad}};
    s->H = (s->H + 2 * pad - k) / stride + 1, s->W = (s->W + 2 * pad - k) / stride + 1;
    return below(s, 3) ? pleat_nn_max_pool2d_with(a) : pleat_nn_avg_pool2d_with(a);
}

/* As after some training. */
static pleat_nn_module *norm(sizes *s) {
    size_t kind = below(s, 3);
    pleat_nn_module *m = kind == 0   ? pleat_nn_batch_norm2d(ctx, s->C)
                         : kind == 1 ? pleat_nn_group_norm(ctx, s->C, .groups = s->C % 2 ? 1 : 2)
                                     : pleat_nn_layer_norm(ctx, PLEAT_SHAPE(s->H, s->W));
    for (size_t i = 0; i < pleat_nn_state_count(m); i++) {
        pleat_tensor *t = pleat_nn_state(m, i);
        if (pleat_rank(t))
            pleat_assign(t, pleat_abs(pleat_randn(ctx, PLEAT_F32, pleat_rank(t), pleat_shape(t))));
    }
    return m;
}

static pleat_nn_module *layer(sizes *s) {
    switch (below(s, 9)) {
    case 0:
        return pool(s);
    case 1:
        return norm(s);
    case 2:
        if (s->H >= 10) return pool(s);
        s->H *= 2, s->W *= 2;
        return below(s, 2) ? pleat_nn_upsample_nearest(ctx, 2) : pleat_nn_upsample_bilinear(ctx, 2);
    case 3:
    case 4:
    case 5:
        return activation(s);
    default:
        return convolution(s);
    }
}

static void expect_drawn(size_t i) {
    sizes s = {i, 1 + i % 6, 5 + i % 9, 6 + i % 7};
    size_t shape[4] = {1 + i % 2, s.C, s.H, s.W}, n = 0, layers = 2 + below(&s, 7);
    pleat_nn_module *m[16];
    while (n < layers) m[n++] = layer(&s);
    if (below(&s, 2)) {
        m[n++] = pleat_nn_flatten(ctx);
        m[n++] = pleat_nn_linear(ctx, s.C * s.H * s.W, 7);
        m[n++] = below(&s, 2) ? pleat_nn_softmax(ctx, 1) : pleat_nn_log_softmax(ctx, 1);
    }
    pleat_nn_module *net = pleat_nn_sequential_of(ctx, n, m);
    cr_assert(net, "PLEAT_CASE=%zu: %s", i, pleat_error(ctx)->text);
    char what[40];
    snprintf(what, sizeof what, "again: PLEAT_CASE=%zu", i);
    expect_bits(net, 4, shape, 5, what);
    pleat_nn_free(net);
}

Test(export, has_the_bits_of_networks_that_are_drawn) {
    const char *only = getenv("PLEAT_CASE");
    size_t first = only ? strtoul(only, NULL, 10) : 0, last = only ? first + 1 : CASES;
    for (size_t i = first; i < last; i++) expect_drawn(i);
}

/* Skips: two paths that are added, and two side by side. */
static pleat_tensor *skips(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *a = pleat_nn_forward(pleat_nn_child(m, 0), x), *b = pleat_relu(pleat_detach(a)),
                 *c = pleat_add_relu(a, pleat_scale(b, 0.5));
    pleat_tensor *d = pleat_permute(pleat_concat(3, (pleat_tensor *[]){a, b, c}, 1), (size_t[]){0, 2, 3, 1});
    return pleat_mul(pleat_slice(d, (size_t[]){0, 1, 0, 2}, (size_t[]){1, 3, 5, 4}, NULL),
                     pleat_mean(x, PLEAT_AXES(1, 2, 3), .keep = true));
}

Test(export, has_the_bits_of_skips_views_and_broadcasts) {
    static const pleat_nn_kind kind = {.name = "Skips", .forward = skips};
    pleat_nn_module *net = pleat_nn_module_new(ctx, &kind, NULL, 0);
    pleat_nn_add_child(net, "0", pleat_nn_conv2d(ctx, 2, 4, .kernel = {3, 3}, .pad = {1, 1}));
    expect_bits(net, PLEAT_SHAPE(1, 2, 5, 5), 20, "skips");
    pleat_nn_free(net);
}

/* Each op on a half of a tensor that lies in one piece, and is not all of it. */
static pleat_tensor *of_halves(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *p = pleat_nn_param(m, 0), *all = pleat_scale(x, 1.5), *y[5];
    pleat_tensor *half = pleat_slice(all, (size_t[]){1, 0, 0, 0}, (size_t[]){1, 4, 5, 6}, NULL),
                 *w = pleat_slice(p, (size_t[]){3}, (size_t[]){4}, NULL);
    y[0] = pleat_group_norm(half, .groups = 2, .weight = w, .eps = 1e-5);
    y[1] = pleat_layer_norm(half, .axes = 2, .eps = 1e-5);
    y[2] = pleat_softmax(half, 3);
    y[3] = pleat_batch_norm(half, w, w, w, pleat_square(w), .eps = 1e-3);
    y[4] = pleat_log_softmax(half, 3);
    return pleat_concat(5, y, 1);
}

Test(export, has_the_bits_of_ops_on_halves) {
    static const pleat_nn_kind kind = {.name = "Halves", .forward = of_halves};
    pleat_nn_module *net = pleat_nn_module_new(ctx, &kind, NULL, 0);
    pleat_nn_add_param(net, "p", pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(9)));
    expect_bits(net, PLEAT_SHAPE(2, 4, 5, 6), 5, "halves");
    pleat_nn_free(net);
}

/* Norms of more numbers than a chunk has, with one of weight and bias; corners that are aligned; roots of all sizes. */
static pleat_tensor *in_order(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *a =
        pleat_group_norm(x, .groups = 1, .bias = pleat_nn_param(m, 0), .eps = 1e-5, .relu = true);
    pleat_tensor *b =
        pleat_layer_norm(pleat_shift(a, 3), .axes = 2, .weight = pleat_nn_param(m, 1), .eps = 1e-3);
    pleat_tensor *c = pleat_resize_bilinear(b, .size = {31, 150}, .align_corners = true);
    pleat_tensor *d = pleat_resize_bilinear(c, .size = {17, 150});
    pleat_tensor *e = pleat_pow(pleat_abs(d), 1.7), *f = pleat_pow(d, 3), *g = pleat_pow(d, -0.5);
    pleat_tensor *h =
        pleat_sqrt(pleat_scale(pleat_square(pleat_scale(d, 1e-15)), 1e-12)); /* subnormal, too */
    return pleat_concat(5, (pleat_tensor *[]){pleat_sqrt(d), e, f, pleat_clamp(g, 0, 100), h}, 1);
}

Test(export, has_the_bits_of_norms_resizes_and_roots) {
    static const pleat_nn_kind kind = {.name = "Own", .forward = in_order};
    pleat_nn_module *net = pleat_nn_module_new(ctx, &kind, NULL, 0);
    pleat_nn_add_param(net, "bias", pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2)));
    pleat_nn_add_param(net, "weight", pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(90, 100)));
    expect_bits(net, PLEAT_SHAPE(1, 2, 90, 100), 3, "own");
    pleat_nn_free(net);
}

/* A convolution and the pool behind it are one loop: the map between them has no place. */
Test(export, stores_no_map_that_is_pooled) {
    pleat_nn_module *net = pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 8, .kernel = {3, 3}, .pad = {1, 1}), pleat_nn_relu(ctx),
        pleat_nn_max_pool2d(ctx, {2, 2}), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 8 * 16, 3));
    expect_bits(net, PLEAT_SHAPE(1, 1, 8, 8), 20, "pooled");
    char path[128], line[200] = "";
    snprintf(path, sizeof path, "%s/net.h", scratch_folder);
    FILE *f = fopen(path, "r");
    cr_assert(f);
    while (fgets(line, sizeof line, f) && !strstr(line, "NET_ARENA_BYTES")) continue;
    fclose(f);
    cr_expect_str_eq(line, "#define NET_ARENA_BYTES 512\n"); /* 8 maps of 4x4 */
    pleat_nn_free(net);
}

/* ---- the self-test, and what is refused ---------------------------------------------------------------------------- */

Test(export, writes_a_test_that_passes_and_can_fail) {
    pleat_nn_module *net = autoencoder(ctx);
    char text[512], path[128];
    snprintf(path, sizeof path, "%s/net.c", scratch_folder);
    pleat_nn_set_training(net, false);
    cr_assert_eq(pleat_nn_export_c(net, PLEAT_SHAPE(1, 1, 28, 28), path, .test = 3), PLEAT_OK);
    snprintf(text, sizeof text, "cd %s && cc -std=c11 -O1 net.c net_test.c -o t && ./t > out",
             scratch_folder);
    run(text);
    snprintf(
        text, sizeof text,
        "cd %s && sed -i 's/v = 0;/v = 1e-6f;/' net.c && cc -std=c11 -O1 net.c net_test.c -o t && ! ./t > out",
        scratch_folder);
    run(text);
    pleat_nn_free(net);
}

static void expect_refused(pleat_nn_export_c_args a, pleat_status code, const char *part) {
    pleat_clear_error(ctx);
    cr_expect_eq(pleat_nn_export_c_with(a), code);
    cr_expect(strstr(pleat_error(ctx)->text, part), "'%s' has no '%s'", pleat_error(ctx)->text, part);
    size_t temporary;
    cr_expect_eq(scratch_count(&temporary), 0, "files were left behind");
}

static pleat_tensor *turned(pleat_nn_module *m, pleat_tensor *x) { return (void)m, pleat_cumsum(x, 3); }

Test(export, says_what_it_cannot_do) {
    static const pleat_nn_kind turn = {.name = "Turn", .forward = turned};
    char path[128];
    snprintf(path, sizeof path, "%s/net.c", scratch_folder);
    pleat_nn_module *net = autoencoder(ctx), *other = pleat_nn_module_new(ctx, &turn, NULL, 0);
    pleat_nn_export_c_args a = {.m = net, .rank = 4, .shape = (size_t[]){1, 1, 28, 28}, .path = path};
    expect_refused(a, PLEAT_ERR_ARGUMENT, "training mode");
    pleat_nn_set_training(net, false), pleat_nn_set_training(other, false);
    a.flash = 400000;
    expect_refused(
        a, PLEAT_ERR_ARGUMENT,
        "flash: 446084 bytes are needed, 400000 are allowed; they do not suffice at 6: Linear: matmul([1,32]");
    a.flash = 0, a.ram = 18000;
    expect_refused(
        a, PLEAT_ERR_ARGUMENT,
        "RAM: 18944 bytes are needed, 18000 are allowed; they do not suffice at 2: Conv2d: conv2d");
    a.ram = 0, a.path = "a-b.c";
    expect_refused(a, PLEAT_ERR_ARGUMENT, "the path is a-b.c; it must end with a name of C");
    a.path = path, a.m = other;
    expect_refused(a, PLEAT_ERR_ARGUMENT,
                   "export_c: Turn: cumsum([1,1,28,28]; axis 3): this op has no form in C yet");
    a.m = NULL;
    cr_expect_eq(pleat_nn_export_c_with(a), PLEAT_ERR_ARGUMENT);
    pleat_nn_free(net), pleat_nn_free(other);
}

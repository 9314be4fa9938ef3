/* Time the convolution family shape by shape: forward, both gradients, and a step through autograd. */
#include "own_layout.h"
#include "products.h"
#include "timing.h"

#include <pleat.h>
#include <pleat_kernels.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: bench_conv [--shapes FILE] [--only NAME] [--threads N] [--seconds S] [--roofline] [--own]\n"
    "\n"
    "  --shapes FILE   CSV with the columns name,op,n,cin,h,w,cout,kh,kw,stride,pad,dil,groups,outpad, where op is conv or\n"
    "                  deconv and h, w belong to the input (default: the list beside this program's source)\n"
    "  --only NAME     the shape of that name alone\n"
    "  --threads N     threads an op may use (default 1)\n"
    "  --seconds S     time for each median (default 0.25)\n"
    "  --roofline      also the rate of sgemm for the same m,n,k (strips, images alone or several side by side, what is\n"
    "                  fastest): gemm_fwd and gemm_step, in GFLOP/s, and fwd and step as rates; without columns, so it is\n"
    "                  what im2col and GEMM could reach at best\n"
    "  --own           also own_fwd_ms and own_step_ms: the kernels alone in the layouts that they like best, blocks of channels\n"
    "                  where that is faster, with weights packed before; no copy from or to NCHW\n"
    "\n"
    "Prints CSV: name,op,gflop,fwd_ms,bwd_x_ms,bwd_w_ms,step_ms. gflop counts two for a multiply-add of the direct method;\n"
    "a step (forward and both gradients) has three times as many. Times are medians in milliseconds.\n";

typedef struct options {
    const char *shapes, *only;
    int threads;
    double seconds;
    bool roofline, own;
} options;

typedef struct shape {
    char name[64], op[16];
    size_t n, cin, h, w, cout, kh, kw, stride, pad, dil, groups, outpad;
} shape;

/* One shape, ready to run. For a deconv, x is the small side and w [cin,cout/G,kh,kw], as in PyTorch. */
typedef struct bench {
    shape s;
    bool deconv;
    pleat_ctx *ctx;
    pleat_tensor *x, *w, *g; /* g: the cotangent of the result */
} bench;

/* ---- the three derivatives and the step -------------------------------------------------------------- */

#define GEOMETRY(b)                                                                 \
    .stride = {(b)->s.stride, (b)->s.stride}, .dilation = {(b)->s.dil, (b)->s.dil}, \
    .pad = {(ptrdiff_t)(b)->s.pad, (ptrdiff_t)(b)->s.pad}, .groups = (b)->s.groups

static void result_size(const bench *b, size_t size[2]) {
    const shape *s = &b->s;
    size_t in[2] = {s->h, s->w}, kernel[2] = {s->kh, s->kw};
    for (size_t k = 0; k < 2; k++) {
        size_t extent = s->dil * (kernel[k] - 1) + 1;
        size[k] = b->deconv ? (in[k] - 1) * s->stride + extent + s->outpad - 2 * s->pad
                            : (in[k] + 2 * s->pad - extent) / s->stride + 1;
    }
}

static pleat_tensor *forward(const bench *b) {
    size_t z[2];
    result_size(b, z);
    return b->deconv ? pleat_conv2d_transpose(b->x, b->w, GEOMETRY(b), .size = {z[0], z[1]})
                     : pleat_conv2d(b->x, b->w, GEOMETRY(b));
}

static void run_forward(void *arg) {
    bench *b = arg;
    pleat_scope scope = pleat_begin(b->ctx);
    forward(b);
    pleat_end(scope);
}

static void run_input_gradient(void *arg) {
    bench *b = arg;
    pleat_scope scope = pleat_begin(b->ctx);
    if (b->deconv)
        pleat_conv2d(b->g, b->w, GEOMETRY(b), .size = {b->s.h, b->s.w});
    else
        pleat_conv2d_transpose(b->g, b->w, GEOMETRY(b), .size = {b->s.h, b->s.w});
    pleat_end(scope);
}

static void run_weight_gradient(void *arg) {
    bench *b = arg;
    pleat_scope scope = pleat_begin(b->ctx);
    pleat_conv2d_weight(b->deconv ? b->g : b->x, b->deconv ? b->x : b->g, GEOMETRY(b),
                        .kernel = {b->s.kh, b->s.kw});
    pleat_end(scope);
}

static void run_step(void *arg) {
    bench *b = arg;
    pleat_scope scope = pleat_begin(b->ctx);
    bool before = pleat_set_recording(b->ctx, true);
    pleat_tensor *gradients[2];
    pleat_grads(forward(b), b->g, 2, (pleat_tensor *[]){b->x, b->w}, gradients, 0);
    pleat_set_recording(b->ctx, before);
    pleat_end(scope);
}

/* ---- the roofline ------------------------------------------------------------------------------------ */

/* The rates of the shape's products: forward, and the three of a step. */
static void print_roofline(const bench *b, double gflop, const options *o) {
    const shape *s = &b->s;
    size_t z[2], in = s->cin / s->groups, out = s->cout / s->groups, K = s->kh * s->kw;
    result_size(b, z);
    conv_sizes sizes = {
        .rows = out, .inner = in * K, .map = z[0] * z[1], .images = s->n, .groups = s->groups};
    if (b->deconv) sizes.rows = in, sizes.inner = out * K, sizes.map = s->h * s->w;
    pleat_pool *pool = o->threads > 1 ? pleat_pool_new(o->threads) : NULL;
    double ms[PRODUCTS], sum = 0;
    for (product p = 0; p < PRODUCTS; p++) sum += ms[p] = conv_product_ms(&sizes, p, pool, o->seconds / 4);
    pleat_pool_free(pool);
    printf(",%.1f,%.1f", 1e3 * gflop / ms[b->deconv ? TO_COLUMNS : FROM_COLUMNS], 3e3 * gflop / sum);
}

/* ---- own layouts ------------------------------------------------------------------------------------- */

static bool print_own(const bench *b, const options *o) {
    const shape *s = &b->s;
    size_t z[2];
    double forward_ms, step_ms;
    result_size(b, z);
    pleat_conv_shape g = {.N = s->n,
                          .C = s->cin,
                          .O = s->cout,
                          .G = s->groups,
                          .H = s->h,
                          .W = s->w,
                          .P = z[0],
                          .Q = z[1],
                          .R = s->kh,
                          .S = s->kw,
                          .stride = {s->stride, s->stride},
                          .dilation = {s->dil, s->dil},
                          .pad = {(ptrdiff_t)s->pad, (ptrdiff_t)s->pad}};
    if (b->deconv) g.C = s->cout, g.O = s->cin, g.H = z[0], g.W = z[1], g.P = s->h, g.Q = s->w;
    if (!own_layout_ms(&g, b->deconv, o->threads, o->seconds, &forward_ms, &step_ms)) return false;
    printf(",%.6f,%.6f", forward_ms, step_ms);
    return true;
}

/* ---- one shape --------------------------------------------------------------------------------------- */

static double gflop_of(const bench *b) {
    const shape *s = &b->s;
    size_t z[2];
    result_size(b, z);
    double pixels = (double)s->n * (b->deconv ? (double)(s->h * s->w) : (double)(z[0] * z[1]));
    return 2e-9 * pixels * (double)(s->cin * (s->cout / s->groups) * s->kh * s->kw);
}

static bool prepare(bench *b) {
    const shape *s = &b->s;
    size_t z[2];
    result_size(b, z);
    size_t x[4] = {s->n, s->cin, s->h, s->w}, y[4] = {s->n, s->cout, z[0], z[1]};
    size_t w[4] = {s->cout, s->cin / s->groups, s->kh, s->kw};
    if (b->deconv) w[0] = s->cin, w[1] = s->cout / s->groups;
    b->x = pleat_randn(b->ctx, PLEAT_F32, 4, x);
    b->w = pleat_randn(b->ctx, PLEAT_F32, 4, w);
    b->g = pleat_randn(b->ctx, PLEAT_F32, 4, y);
    run_step(b);
    return pleat_error(b->ctx)->code == PLEAT_OK;
}

static bool time_shape(const shape *s, const options *o) {
    bench b = {.s = *s, .deconv = strcmp(s->op, "deconv") == 0, .ctx = pleat_ctx_new(.threads = o->threads)};
    if (b.ctx == NULL || !prepare(&b)) {
        fprintf(stderr, "bench_conv: %s: %s\n", s->name, b.ctx ? pleat_error(b.ctx)->text : "no memory");
        pleat_ctx_free(b.ctx);
        return false;
    }
    pleat_set_recording(b.ctx, false);
    double gflop = gflop_of(&b), forward_ms = bench_median_ms(run_forward, &b, o->seconds, 5);
    double input_ms = bench_median_ms(run_input_gradient, &b, o->seconds, 5);
    double weight_ms = bench_median_ms(run_weight_gradient, &b, o->seconds, 5);
    double step_ms = bench_median_ms(run_step, &b, o->seconds, 5);
    printf("%s,%s,%.6f,%.6f,%.6f,%.6f,%.6f", s->name, s->op, gflop, forward_ms, input_ms, weight_ms, step_ms);
    if (o->roofline) {
        print_roofline(&b, gflop, o);
        printf(",%.1f,%.1f", 1e3 * gflop / forward_ms, 3e3 * gflop / step_ms);
    }
    bool done = !o->own || print_own(&b, o);
    printf("\n");
    fflush(stdout);
    pleat_ctx_free(b.ctx);
    return done;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static bool read_shape(const char *line, shape *s) {
    return sscanf(line, "%63[^,],%15[^,],%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu", s->name, s->op,
                  &s->n, &s->cin, &s->h, &s->w, &s->cout, &s->kh, &s->kw, &s->stride, &s->pad, &s->dil,
                  &s->groups, &s->outpad) == 14;
}

static int time_shapes(const options *o, FILE *f) {
    char line[512];
    size_t found = 0;
    printf("name,op,gflop,fwd_ms,bwd_x_ms,bwd_w_ms,step_ms%s%s\n",
           o->roofline ? ",gemm_fwd,gemm_step,fwd,step" : "", o->own ? ",own_fwd_ms,own_step_ms" : "");
    for (size_t number = 1; fgets(line, sizeof line, f); number++) {
        shape s;
        if (line[0] == '\n' || strncmp(line, "name,", 5) == 0) continue;
        if (!read_shape(line, &s) || s.groups == 0 || s.stride == 0) {
            fprintf(stderr, "bench_conv: %s: line %zu is not name,op and twelve numbers\n", o->shapes,
                    number);
            return 1;
        }
        if (o->only != NULL && strcmp(o->only, s.name) != 0) continue;
        found++;
        if (!time_shape(&s, o)) return 1;
    }
    if (found == 0)
        fprintf(stderr, "bench_conv: %s has no shape %s\n", o->shapes, o->only ? o->only : "at all");
    return found == 0;
}

static bool read_options(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool *flag = strcmp(argv[i], "--roofline") == 0 ? &o->roofline
                     : strcmp(argv[i], "--own") == 0    ? &o->own
                                                        : NULL;
        if (flag) {
            *flag = true;
            continue;
        }
        if (value == NULL) return false;
        if (strcmp(argv[i], "--shapes") == 0)
            o->shapes = value;
        else if (strcmp(argv[i], "--only") == 0)
            o->only = value;
        else if (strcmp(argv[i], "--threads") == 0)
            o->threads = atoi(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            o->seconds = atof(value);
        else
            return false;
        i++;
    }
    return o->threads > 0 && o->seconds > 0;
}

int main(int argc, char **argv) {
    options o = {.shapes = PLEAT_SHAPES, .threads = 1, .seconds = 0.25};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    if (!read_options(argc, argv, &o)) return fputs(usage, stderr), 2;
    FILE *f = fopen(o.shapes, "r");
    if (f == NULL) return fprintf(stderr, "bench_conv: cannot read %s\n", o.shapes), 1;
    int status = time_shapes(&o, f);
    fclose(f);
    return status;
}

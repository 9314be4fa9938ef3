/* conv2d, conv2d_transpose, conv2d_weight: the three partial derivatives of one trilinear form T(x, w, y). Law: for all
 * x, w, y:  <conv2d(x, w), y> = <conv2d_transpose(y, w), x> = <conv2d_weight(x, y), w>. The first two take a bias and relu
 * with them, and a norm by given statistics between the two:  conv2d(x, w, .bias = b, .norm = N, .relu) = relu(N(conv2d(x, w) + b)),
 * bit for bit, and so are the gradients. */
#include <string.h>

#include "kernels/pleat_kernels.h"
#include "rules.h"

/* The options with every default filled in but the sizes, and the geometry, which the shape rule completes for forward and vjp. */
typedef struct options {
    size_t stride[2], dilation[2], groups, size[2], kernel[2];
    ptrdiff_t pads[4]; /* top, left, bottom, right */
    pl_rectifier end;  /* the result is rectified as it is written */
    bool bias,
        norm; /* the inputs behind the operands: a bias; mean and factor of a norm, and its bias if there is one */
    bool adjoint; /* g is given: it is that of the call whose vjp this is */
    pleat_conv_shape g;
} options;

/* Which tensors of the form an op is given; the third is its result. (Further inputs are no tensors of the form.) */
typedef struct operands {
    const pleat_tensor *x, *w, *y;
} operands;

static const pleat_op conv2d_op, transpose_op, weight_op, rectified_op;

static operands operands_of(const pleat_call *c) {
    if (c->op == &conv2d_op) return (operands){.x = c->in[0], .w = c->in[1]};
    if (c->op == &transpose_op) return (operands){.y = c->in[0], .w = c->in[1]};
    return (operands){.x = c->in[0], .y = c->in[1]};
}

/* ---- shape ----------------------------------------------------------------------------------------------- */

static bool ranks_are_fine(const pleat_call *c) {
    static const char *const letters[] = {"[N,C,H,W]", "[N,O,P,Q]", "[O,C/G,R,S]"};
    operands o = operands_of(c);
    const char *first = letters[o.x == NULL], *second = letters[o.w == NULL ? 1 : 2];
    for (size_t i = 0; i < 2; i++) {
        if (c->in[i]->rank == 4) continue;
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "tensor %zu must be %s, of rank 4", i,
                               i == 0 ? first : second);
    }
    return true;
}

/* A number for each channel of the result. */
static bool bias_fits(const pleat_call *c, const pleat_conv_shape *g) {
    if (!((const options *)c->attrs)->bias) return true;
    const pleat_tensor *bias = c->in[2];
    bool forward = c->op == &conv2d_op;
    size_t channels = forward ? g->O : g->C;
    if (bias->rank != 1) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "the bias must be %s, of rank 1", forward ? "[O]" : "[C]");
    }
    return bias->shape[0] == channels ||
           pleat_call_fail(c, PLEAT_ERR_SHAPE, "the bias has %zu numbers, the result has %zu channels",
                           bias->shape[0], channels);
}

/* Channels, groups and batch of the operands, held against each other. */
static bool channels_fit(const pleat_call *c, operands o, const options *p, pleat_conv_shape *g) {
    size_t G = p->groups;
    if (o.x != NULL && o.y != NULL && o.x->shape[0] != o.y->shape[0]) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "the batches %zu and %zu must be equal", o.x->shape[0],
                               o.y->shape[0]);
    }
    if (o.y != NULL && o.w != NULL && o.w->shape[0] != o.y->shape[1]) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "the weights belong to %zu map channels, the map has %zu",
                               o.w->shape[0], o.y->shape[1]);
    }
    g->N = o.x != NULL ? o.x->shape[0] : o.y->shape[0];
    g->O = o.w != NULL ? o.w->shape[0] : o.y->shape[1];
    if (o.x == NULL && !pl_mul_ok(o.w->shape[1], G, &g->C)) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "%zu groups of %zu channels overflow", G, o.w->shape[1]);
    }
    if (o.x != NULL) g->C = o.x->shape[1];
    if (g->C % G != 0 || g->O % G != 0) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE,
                               "%zu groups must divide the %zu image and the %zu map channels", G, g->C,
                               g->O);
    }
    if (o.x != NULL && o.w != NULL && o.w->shape[1] != g->C / G) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE,
                               "the weights take %zu channels a group, the image has %zu / %zu = %zu",
                               o.w->shape[1], g->C, G, g->C / G);
    }
    g->G = G;
    return true;
}

/* The size of the result along an axis where the options leave it open. */
static bool default_size(const pleat_call *c, const options *p, size_t axis, size_t size, size_t kernel,
                         size_t *out) {
    ptrdiff_t before = p->pads[axis], after = p->pads[axis + 2];
    size_t stride = p->stride[axis], dilation = p->dilation[axis];
    bool forward = c->op == &conv2d_op;
    *out = (forward ? pleat_conv_map_size : pleat_conv_image_size)(size, kernel, stride, dilation, before,
                                                                   after);
    if (*out > 0) return true;
    return pleat_call_fail(
        c, PLEAT_ERR_SHAPE,
        forward ? "along axis %s the kernel (%zu, dilation %zu) exceeds the image (%zu) padded by %td and %td"
                : "along axis %s nothing is left: kernel %zu, dilation %zu, map %zu, cropped by %td and %td",
        axis == 0 ? "H" : "W", kernel, dilation, size, before, after);
}

/* So that a padded size is a number. */
static bool pads_fit(const pleat_call *c, const options *p) {
    const ptrdiff_t most = PTRDIFF_MAX / 4;
    for (size_t k = 0; k < 4; k++) {
        if (p->pads[k] >= -most && p->pads[k] <= most) continue;
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "along axis %s no image is as large as the pad, %td",
                               k % 2 == 0 ? "H" : "W", p->pads[k]);
    }
    return true;
}

static bool sizes_fit(const pleat_call *c, operands o, const options *p, pleat_conv_shape *g) {
    size_t *image[2] = {&g->H, &g->W}, *map[2] = {&g->P, &g->Q}, *kernel[2] = {&g->R, &g->S};
    for (size_t k = 0; k < 2; k++) {
        g->stride[k] = p->stride[k];
        g->dilation[k] = p->dilation[k];
        g->pad[k] = p->pads[k];
        *image[k] = o.x != NULL ? o.x->shape[2 + k] : p->size[k];
        *map[k] = o.y != NULL ? o.y->shape[2 + k] : p->size[k];
        *kernel[k] = o.w != NULL ? o.w->shape[2 + k] : p->kernel[k];
        size_t *open = o.x == NULL ? image[k] : map[k];
        bool given = (o.x != NULL && o.y != NULL) || p->size[0] != 0;
        size_t from = o.x == NULL ? *map[k] : *image[k];
        if (!given && !default_size(c, p, k, from, *kernel[k], open)) return false;
    }
    const char *broken = pleat_conv_check(g, pl_element(c->dtype));
    return broken == NULL || pleat_call_fail(c, PLEAT_ERR_SHAPE, "%s", broken);
}

static bool geometry(const pleat_call *c, pleat_conv_shape *g) {
    operands o = operands_of(c);
    const options *p = c->attrs;
    *g = (pleat_conv_shape){0};
    return channels_fit(c, o, p, g) && pads_fit(c, p) && sizes_fit(c, o, p, g);
}

/* size is the result's, and usual if the convolution's own rule gives it. */
static size_t conv_attributes(const pleat_call *c, pleat_attr *out) {
    const options *p = c->attrs;
    const ptrdiff_t *pads = p->pads;
    bool weight = c->op == &weight_op, own = !p->adjoint && p->size[0] == 0;
    out[0] = pl_attr_whole("stride", 2, p->stride, p->stride[0] == 1 && p->stride[1] == 1);
    out[1] = pl_attr_whole("dilation", 2, p->dilation, p->dilation[0] == 1 && p->dilation[1] == 1);
    out[2] = pl_attr_whole("pads", 4, (const size_t *)pads, (pads[0] | pads[1] | pads[2] | pads[3]) == 0);
    out[3] = pl_attr_whole("groups", 1, &p->groups, p->groups == 1);
    out[4] = pl_attr_whole(weight ? "kernel" : "size", 2, c->shape + 2, own && !weight);
    out[5] = pl_attr_rectifier(p->end);
    size_t of_norm = p->norm ? c->n - 2 - p->bias : 0; /* its tensors: the last 2 or 3 */
    out[6] = pl_attr_whole("norm", 1, &of_norm, !p->norm);
    return weight ? 5 : 7;
}

static bool conv_shape(pleat_call *c) {
    options *p = (options *)c->attrs; /* an object of family() or sibling() */
    if (!p->adjoint && (!ranks_are_fine(c) || !geometry(c, &p->g))) return false;
    if (!bias_fits(c, &p->g)) return false;
    const pleat_conv_shape *g = &p->g;
    size_t shape[4] = {g->N, g->O, g->P, g->Q};
    if (c->op == &transpose_op) shape[1] = g->C, shape[2] = g->H, shape[3] = g->W;
    if (c->op == &weight_op) shape[0] = g->O, shape[1] = g->C / g->G, shape[2] = g->R, shape[3] = g->S;
    pl_call_shape(c, 4, shape);
    return true;
}

/* ---- forward --------------------------------------------------------------------------------------------- */

static int run_plan(const pleat_call *c, const pleat_conv_plan *plan, pleat_tensor *const dense[2],
                    const pleat_work *work) {
    void *a = dense[0]->data, *b = dense[1]->data, *out = c->out->data;
    if (c->op == &conv2d_op) return pleat_conv_run(plan, a, b, out, work);
    return c->op == &transpose_op ? pleat_conv_run(plan, out, b, a, work)
                                  : pleat_conv_run(plan, a, out, b, work);
}

/* of the norm whose inputs begin at i */
static double *numbers_of_norm(const pleat_call *c, size_t i) {
    return pl_rescale_numbers(c->ctx, c->in[i], c->in[i + 1], i + 2 < c->n ? c->in[i + 2] : NULL);
}

/* The weights as the plan reads them, packed once for many calls; NULL: each call packs them. */
static const void *packed_weights(const pleat_call *c, const pleat_conv_plan *plan, pleat_pool *pool) {
    size_t bytes = c->op == &weight_op ? 0 : pleat_conv_packed_bytes(plan);
    if (bytes == 0) return NULL;
    bool fresh;
    pleat_tensor *w = c->in[1];
    void *packed = pl_pack_of(w, plan, (size_t[]){c->ctx->plans.generation, 0, 0}, bytes, &fresh);
    if (packed != NULL && fresh) pleat_conv_pack(plan, w->data, packed, pool);
    return packed;
}

/* The geometry, and which of the tensors are blocked. */
static pleat_conv_shape layouts_of(const pleat_call *c) {
    pleat_conv_shape g = ((const options *)c->attrs)->g;
    bool forward = c->op == &conv2d_op;
    g.blocked[!forward] = c->in[0]->storage->blocked, g.blocked[forward] = c->out->storage->blocked;
    return g;
}

/* If the engine that takes row-major tensors takes them, too, and is not slower. */
static bool conv_takes_blocked(const pleat_call *c) {
    const pleat_conv_shape *plain = &((const options *)c->attrs)->g, blocked = layouts_of(c);
    pleat_conv_op op = c->op == &conv2d_op ? PLEAT_CONV_FORWARD : PLEAT_CONV_TRANSPOSE;
    const pleat_conv_plan *plan = pl_conv_plan(c->ctx, plain, op, c->dtype);
    if (plan == NULL) return false;
    pleat_path path = pleat_conv_plan_path(plan);
    double cost = pleat_conv_plan_cost(plan);
    plan = pl_conv_plan(c->ctx, &blocked, op, c->dtype);
    if (plan == NULL) return false;
    pleat_path other = pleat_conv_plan_path(plan);
    return other.engine == path.engine && other.isa == path.isa && pleat_conv_plan_cost(plan) <= cost;
}

/* A norm by given statistics behind it, and a rectifier behind either. */
static bool conv_absorbs(pleat_call *c, const pleat_call *next) {
    options *p = (options *)c->attrs; /* the step's own */
    bool norm = strcmp(next->op->name, "rescale") == 0, relu = strcmp(next->op->name, "relu") == 0;
    if (p->end != PL_LINEAR || (norm && p->norm)) return false;
    if (!norm && !relu && strcmp(next->op->name, "relu6") != 0) return false;
    p->end = norm ? *(const pl_rectifier *)next->attrs : relu ? PL_RELU : PL_RELU6;
    p->norm = p->norm || norm;
    for (size_t i = 1; norm && i < next->n; i++) c->in[c->n++] = next->in[i];
    return true;
}

static bool conv_run(const pleat_call *c, pleat_conv_op op) {
    const options *p = c->attrs;
    const pleat_conv_shape shape = c->op == &weight_op ? p->g : layouts_of(c), *g = &shape;
    const pleat_conv_plan *plan = pl_conv_plan(c->ctx, g, op, c->dtype);
    if (plan == NULL) return pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for a plan");
    double macs = (double)g->N * (double)g->O * (double)g->P * (double)g->Q * (double)g->R * (double)g->S *
                  (double)(g->C / g->G); /* of each of the three operators */
    pleat_work work = {.pool = pl_pool_for(c->ctx, macs / 16)};
    work.relu = p->end != PL_LINEAR, work.most = p->end == PL_RELU6 ? 6 : 0;
    work.bytes = pleat_conv_plan_bytes(plan, pl_most_threads(c->ctx, macs / 16));
    work.packed = packed_weights(c, plan, work.pool);
    work.memory = pl_take(&c->ctx->memory, work.bytes);
    pleat_tensor *dense[3];
    size_t given = 2 + p->bias;
    double *numbers = p->norm ? numbers_of_norm(c, given) : NULL;
    bool ready = work.memory != NULL && (numbers != NULL || !p->norm);
    for (size_t i = 0; i < given; i++) {
        dense[i] = pl_dense(c->in[i]);
        ready = ready && !dense[i]->poison;
    }
    if (p->bias) work.bias = dense[2]->data;
    if (numbers != NULL) work.factor = numbers, work.shift = numbers + c->shape[1];
    ready = ready && run_plan(c, plan, dense, &work) == 0;
    for (size_t i = 0; i < given; i++) pl_release(dense[i]);
    pl_give(&c->ctx->memory, work.memory), pl_give(&c->ctx->memory, numbers);
    return ready || pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for %zu bytes of workspace", work.bytes);
}

static bool conv2d_forward(const pleat_call *c) { return conv_run(c, PLEAT_CONV_FORWARD); }
static bool transpose_forward(const pleat_call *c) { return conv_run(c, PLEAT_CONV_TRANSPOSE); }
static bool weight_forward(const pleat_call *c) { return conv_run(c, PLEAT_CONV_WEIGHT); }

/* ---- vjp ------------------------------------------------------------------------------------------------- */

/* One of the family, in the geometry of call c. It is linear, whatever c adds to its result. */
static pleat_tensor *sibling(const pleat_call *c, const pleat_op *op, pleat_tensor *a, pleat_tensor *b) {
    options p = *(const options *)c->attrs;
    p.adjoint = true, p.end = PL_LINEAR, p.bias = false;
    return pleat_apply(op, 2, (pleat_tensor *[]){a, b}, &p, sizeof p);
}

/* The bias of a channel goes into each of its pixels. */
static pleat_tensor *bias_vjp(pleat_tensor *g) { return pleat_sum(g, PLEAT_AXES(0, 2, 3)); }

static pleat_tensor *conv2d_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0], *w = c->in[1];
    if (i == 2) return bias_vjp(g);
    return i == 0 ? sibling(c, &transpose_op, g, w) : sibling(c, &weight_op, x, g);
}

static pleat_tensor *transpose_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *y = c->in[0], *w = c->in[1];
    if (i == 2) return bias_vjp(g);
    return i == 0 ? sibling(c, &conv2d_op, g, w) : sibling(c, &weight_op, g, y);
}

static pleat_tensor *weight_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0], *y = c->in[1];
    return i == 0 ? sibling(c, &transpose_op, y, g) : sibling(c, &conv2d_op, x, g);
}

static const pl_traits conv_traits = {conv_takes_blocked, conv_absorbs};
static const pleat_op conv2d_op = {"conv2d",     conv_shape, conv2d_forward, conv2d_vjp, conv_attributes,
                                   &conv_traits, NULL};
static const pleat_op transpose_op = {
    "conv2d_transpose", conv_shape, transpose_forward, transpose_vjp, conv_attributes, &conv_traits, NULL};
static const pleat_op weight_op = {"conv2d_weight", conv_shape, weight_forward, weight_vjp, conv_attributes,
                                   &pl_own,         NULL};

/* ---- relu ------------------------------------------------------------------------------------------------ */

/* A rectified convolution is a pair of calls over one array. The first is the convolution; its forward rectifies what it
 * writes, but its vjp is that of the linear op. The second is this op, a view of the first, whose vjp is the gate of relu or relu6.
 * Both are right together: a cotangent that has passed the gate is 0 wherever relu changed a value, and from there on all
 * is linear. The gate may look at the result instead of what relu was given, for the one is > 0 where the other is, and a
 * NaN is in neither. One op with three inputs would compute the gate once for each of them. */
static bool rectified_shape(pleat_call *c) {
    pl_call_shape(c, c->in[0]->rank, c->in[0]->shape);
    pl_row_major(c->rank, c->shape, c->stride);
    return true;
}

static pleat_tensor *rectified_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_passed(g, c->in[i], c->op == &rectified_op ? PL_RELU : PL_RELU6);
}

static const pleat_op rectified_op = {"relu", rectified_shape, NULL, rectified_vjp, NULL, &pl_own, NULL};
static const pleat_op rectified6_op = {"relu6", rectified_shape, NULL, rectified_vjp, NULL, &pl_own, NULL};

/* The pair of y, whose call alone would have the wrong gradient: so nobody else gets to see it. */
static pleat_tensor *rectified(pleat_tensor *y, pl_rectifier by) {
    pleat_tensor *view = pleat_apply(by == PL_RELU ? &rectified_op : &rectified6_op, 1, &y, NULL, 0);
    pleat_drop(y);
    return view;
}

/* ---- options --------------------------------------------------------------------------------------------- */

static pleat_ctx *context_of(const pleat_conv_args *a) {
    return pleat_ctx_of(a->a) != NULL ? pleat_ctx_of(a->a) : pleat_ctx_of(a->b);
}

static bool bad_option(const pleat_op *op, const pleat_conv_args *a, const char *text) {
    pleat_fail(context_of(a), PLEAT_ERR_ARGUMENT, op->name, "%s", text);
    return false;
}

static bool has_norm(const pleat_conv_args *a) {
    const pleat_conv_norm *n = &a->norm;
    return n->weight != NULL || n->bias != NULL || n->mean != NULL || n->var != NULL || n->eps != 0;
}

static bool read_options(const pleat_op *op, const pleat_conv_args *a, options *p) {
    static const size_t ones[2] = {1, 1};
    pleat_ctx *ctx = context_of(a);
    *p = (options){.groups = a->groups == 0 ? 1 : a->groups, .bias = a->bias != NULL};
    p->end = pl_rectifier_of(a->relu, a->relu6);
    memcpy(p->stride, a->stride, sizeof p->stride);
    memcpy(p->dilation, a->dilation, sizeof p->dilation);
    memcpy(p->size, a->size, sizeof p->size);
    memcpy(p->kernel, a->kernel, sizeof p->kernel);
    if (!pleat_pair(ctx, op->name, "stride", p->stride, ones, false) ||
        !pleat_pair(ctx, op->name, "dilation", p->dilation, ones, false) ||
        !pl_pads(ctx, op->name, a->pad, a->pads, p->pads) ||
        !pleat_pair(ctx, op->name, "size", p->size, NULL, false) ||
        !pleat_pair(ctx, op->name, "kernel", p->kernel, NULL, false))
        return false;
    bool weight = op == &weight_op;
    if (weight && p->kernel[0] == 0)
        return bad_option(op, a, "the kernel's size must be given: .kernel = {R, S}");
    if (weight && p->size[0] != 0)
        return bad_option(op, a, "size means nothing here, the result's is .kernel");
    if (weight && (a->bias != NULL || has_norm(a) || p->end != PL_LINEAR))
        return bad_option(op, a, "bias, norm and relu mean nothing here, they belong to maps and images");
    if (!weight && p->kernel[0] != 0)
        return bad_option(op, a, "kernel means nothing here, the weights have it");
    return true;
}

/* ---- norm ------------------------------------------------------------------------------------------------ */

/* Check the norm of a call whose weights have rank 4, for the channels of its result. False after an error. */
static bool read_norm(const pleat_op *op, const pleat_conv_args *a, const options *p, pleat_norm_args *out) {
    const pleat_conv_norm *n = &a->norm;
    size_t channels;
    *out = (pleat_norm_args){.x = a->a, .weight = n->weight, .bias = n->bias, .mean = n->mean, .var = n->var};
    out->eps = n->eps, out->relu = a->relu, out->relu6 = a->relu6;
    if (n->mean == NULL || n->var == NULL) return bad_option(op, a, "a norm needs .mean and .var");
    if (op == &conv2d_op)
        channels = a->b->shape[0];
    else if (!pl_mul_ok(a->b->shape[1], p->groups, &channels))
        channels = 0; /* as many as no image has */
    return pl_norm_given(op->name, out, &channels);
}

/* With a norm. Its gradients are those of batch_norm; where nobody can ask for them, it is part of the convolution's pass. */
static pleat_tensor *normed(const pleat_op *op, const pleat_conv_args *a, options *p) {
    pleat_norm_args norm;
    pleat_tensor *in[6] = {a->a, a->b, a->bias};
    size_t n = 2 + p->bias;
    if (pl_rank(a->a) != 4 || pl_rank(a->b) != 4)
        return pleat_apply(op, n, in, p, sizeof *p); /* which says so */
    if (!read_norm(op, a, p, &norm)) return pleat_poison(context_of(a));
    if (context_of(a) == NULL || !context_of(a)->recording) {
        p->norm = true;
        in[n++] = norm.mean, in[n++] = pl_norm_factor(&norm);
        if (norm.bias != NULL) in[n++] = norm.bias;
        return pleat_apply(op, n, in, p, sizeof *p);
    }
    p->end = PL_LINEAR;
    pleat_tensor *x = norm.x = pleat_apply(op, n, in, p, sizeof *p), *y = pleat_batch_norm_with(norm);
    pleat_drop(x);
    return y;
}

static pleat_tensor *family(const pleat_op *op, const pleat_conv_args *a) {
    options p;
    if (a->a != NULL && a->a->poison) return pleat_apply(op, 1, (pleat_tensor *[]){a->a}, NULL, 0);
    if (!read_options(op, a, &p)) return pleat_poison(context_of(a));
    if (has_norm(a)) return normed(op, a, &p);
    pleat_tensor *in[] = {a->a, a->b, a->bias};
    pleat_tensor *y = pleat_apply(op, 2 + p.bias, in, &p, sizeof p);
    return p.end != PL_LINEAR ? rectified(y, p.end) : y;
}

pleat_tensor *pleat_conv2d_with(pleat_conv_args args) { return family(&conv2d_op, &args); }
pleat_tensor *pleat_conv2d_transpose_with(pleat_conv_args args) { return family(&transpose_op, &args); }
pleat_tensor *pleat_conv2d_weight_with(pleat_conv_args args) { return family(&weight_op, &args); }

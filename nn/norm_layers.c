/* Normalisation (batch_norm1d and batch_norm2d with their running statistics, group_norm, instance_norm,
 * layer_norm) and dropout. Batch norms and dropout differ between training and evaluation. */
#include <math.h>
#include <string.h>

#include "files/numbers.h"
#include "module.h"
#include "mpi/joint.h"

/* Add a weight of ones and a bias of zeros. */
static pleat_nn_module *add_affine(pleat_nn_module *m, pleat_dtype dtype, size_t rank, const size_t *shape) {
    if (!m) return NULL;
    pleat_ctx *ctx = pleat_nn_ctx(m);
    m = pleat_nn_add_param(m, "weight", pleat_full(ctx, dtype, rank, shape, 1));
    return m ? pleat_nn_add_param(m, "bias", pleat_zeros(ctx, dtype, rank, shape)) : NULL;
}

static bool good_eps(double eps) { return eps > 0 && isfinite(eps); }

/* ---- batch_norm1d, batch_norm2d ------------------------------------------------------------------------ */

/* buffer = (1 - momentum) buffer + momentum value, in place */
static void run_on(pleat_tensor *buffer, pleat_tensor *value, double momentum) {
    pleat_assign(buffer, pleat_add(pleat_scale(buffer, 1 - momentum), pleat_scale(value, momentum)));
}

/* mean and var: those of a batch of n values a channel */
static void update_statistics(pleat_nn_module *m, double n, pleat_tensor *mean, pleat_tensor *var) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    pleat_ctx *ctx = pleat_nn_ctx(m);
    pleat_tensor *counter = m->calls ? m->calls : pleat_nn_own_buffer(m, 2);
    bool recording = pleat_set_recording(ctx, false);
    pleat_scope scope = pleat_begin(ctx);
    var = pleat_scale(var, n / (n - 1));
    if (m->statistics) {
        pleat_tensor *parts[] = {pleat_zeros(ctx, a->dtype, PLEAT_SHAPE(1)), mean, var};
        run_on(m->statistics, pleat_concat(3, parts, 0), a->momentum);
    } else {
        run_on(pleat_nn_own_buffer(m, 0), mean, a->momentum);
        run_on(pleat_nn_own_buffer(m, 1), var, a->momentum);
    }
    pleat_assign(counter, pleat_shift(counter, 1));
    pleat_end(scope);
    pleat_set_recording(ctx, recording);
}

void pln_take_statistics(pleat_nn_module *m, pleat_tensor *statistics, pleat_tensor *calls) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    double times = round(pleat_item(calls));
    if (!(times > 0)) return;
    pleat_scope scope = pleat_begin(pleat_nn_ctx(m));
    double keep = pleat_item(pleat_slice(statistics, (const size_t[]){0}, (const size_t[]){1}, NULL));
    for (size_t k = 0; k < 2; k++) {
        pleat_tensor *buffer = pleat_nn_own_buffer(m, k);
        pleat_tensor *sum =
            pleat_slice(statistics, (const size_t[]){1 + k * a->channels}, &a->channels, NULL);
        pleat_assign(buffer, pleat_add(pleat_scale(buffer, keep), sum));
    }
    pleat_assign(pleat_nn_own_buffer(m, 2), pleat_shift(pleat_nn_own_buffer(m, 2), times));
    pleat_end(scope);
}

/* [C] as a tensor that x [N,C,..] can be multiplied by. */
static pleat_tensor *along_channels(pleat_tensor *t, const pleat_tensor *x) {
    size_t shape[PLEAT_MAX_RANK];
    for (size_t k = 0; k < pleat_rank(x); k++) shape[k] = k == 1 ? pleat_numel(t) : 1;
    return pleat_reshape(t, pleat_rank(x), shape);
}

/* The same over all micro-batches of a step, of which x is one: mean and variance are sums over all of them. */
static pleat_tensor *joint_batch_norm(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    pleat_tensor *weight = pleat_nn_own_param(m, 0), *bias = pleat_nn_own_param(m, 1);
    unsigned axes = pleat_rank(x) == 4   ? PLEAT_AXES(0, 2, 3)
                    : pleat_rank(x) == 3 ? PLEAT_AXES(0, 2)
                                         : PLEAT_AXES(0);
    double here = (double)pleat_numel(x) / (double)a->channels;
    pleat_tensor *count = pleat_full(a->ctx, PLEAT_F64, PLEAT_SCALAR, here);
    double n = pleat_item(pln_joint_sum(m->joint, count));
    if (!(n >= 2))
        return pln_misfit(m, x, "at least ", 2, " values a channel in training: one has no variance");
    pleat_tensor *mean = pleat_scale(pln_joint_sum(m->joint, pleat_sum(x, axes)), 1 / n);
    pleat_tensor *y = pleat_sub(x, along_channels(mean, x));
    pleat_tensor *var = pleat_scale(pln_joint_sum(m->joint, pleat_sum(pleat_square(y), axes)), 1 / n);
    if (m->joint->block.first + pleat_lockstep_index(a->ctx) == 0) update_statistics(m, n, mean, var);
    y = pleat_div(y, along_channels(pleat_sqrt(pleat_shift(var, a->eps)), x));
    if (weight) y = pleat_add(pleat_mul(y, along_channels(weight, x)), along_channels(bias, x));
    return tail->relu6 ? pleat_relu6(y) : tail->relu ? pleat_relu(y) : y;
}

static pleat_tensor *batch_norm_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    pleat_tensor *weight = pleat_nn_own_param(m, 0), *bias = pleat_nn_own_param(m, 1), *mean, *var;
    if (!pleat_nn_is_training(m))
        return pleat_batch_norm(x, weight, bias, pleat_nn_own_buffer(m, 0), pleat_nn_own_buffer(m, 1),
                                .eps = a->eps, .relu = tail->relu, .relu6 = tail->relu6);
    if (m->joint) return joint_batch_norm(m, x, tail);
    if (pleat_numel(x) / a->channels < 2)
        return pln_misfit(m, x, "at least ", 2, " values a channel in training: one has no variance");
    pleat_tensor *y = pleat_batch_norm(x, weight, bias, .eps = a->eps, .relu = tail->relu,
                                       .relu6 = tail->relu6, .batch_mean = &mean, .batch_var = &var);
    if (pleat_is_poison(y)) return y;
    update_statistics(m, (double)pleat_numel(x) / (double)a->channels, mean, var);
    pleat_drop(mean), pleat_drop(var);
    return y;
}

static pleat_tensor *batch_norm1d_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    if ((pleat_rank(x) != 2 && pleat_rank(x) != 3) || pleat_size(x, 1) != a->channels)
        return pln_misfit(m, x, "[N,", a->channels, "] or the same with an axis L");
    return batch_norm_run(m, x, tail);
}

static pleat_tensor *batch_norm2d_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    if (pleat_rank(x) != 4 || pleat_size(x, 1) != a->channels)
        return pln_misfit(m, x, "[N,", a->channels, ",H,W]");
    return batch_norm_run(m, x, tail);
}

static pleat_tensor *batch_norm1d_forward(pleat_nn_module *m, pleat_tensor *x) {
    return batch_norm1d_run(m, x, &(pln_tail){0});
}
static pleat_tensor *batch_norm2d_forward(pleat_nn_module *m, pleat_tensor *x) {
    return batch_norm2d_run(m, x, &(pln_tail){0});
}

static void norm_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    if (a->groups)
        snprintf(buffer, bytes, "%zu, groups %zu%s", a->channels, a->groups,
                 a->no_affine ? ", no affine" : "");
    else
        snprintf(buffer, bytes, "%zu%s", a->channels, a->no_affine ? ", no affine" : "");
}

static const pleat_nn_kind batch_norm1d_kind = {
    .name = "BatchNorm1d", .forward = batch_norm1d_forward, .describe = norm_describe};
static const pleat_nn_kind batch_norm2d_kind = {
    .name = "BatchNorm2d", .forward = batch_norm2d_forward, .describe = norm_describe};

static pleat_nn_module *add_statistics(pleat_nn_module *m, const pleat_nn_norm_args *a) {
    const size_t *C = &a->channels;
    if (m) m = pleat_nn_add_buffer(m, "running_mean", pleat_zeros(a->ctx, a->dtype, 1, C));
    if (m) m = pleat_nn_add_buffer(m, "running_var", pleat_full(a->ctx, a->dtype, 1, C, 1));
    return m ? pln_add_whole_buffer(m, "num_batches_tracked", pleat_zeros(a->ctx, PLEAT_F64, PLEAT_SCALAR))
             : NULL;
}

/* The rule that the options break, or NULL. Sets the defaults. */
static const char *wrong_norm(pleat_nn_norm_args *a) {
    if (a->eps == 0) a->eps = 1e-5;
    if (a->momentum == 0) a->momentum = 0.1;
    if (!a->channels) return "channels must be at least 1";
    if (!good_eps(a->eps)) return "eps must be finite and greater than 0";
    if (!(a->momentum > 0 && a->momentum <= 1)) return "momentum must be greater than 0 and at most 1";
    return pln_wrong_dtype(a->dtype);
}

static pleat_nn_module *batch_norm_new(const pleat_nn_kind *kind, pleat_nn_norm_args args) {
    const char *wrong = wrong_norm(&args);
    if (args.groups) wrong = "groups are for group_norm";
    if (args.affine) wrong = "affine is for instance_norm; here it is the default";
    if (wrong) return pln_refuse(args.ctx, kind->name, wrong);
    pleat_nn_module *m = pleat_nn_module_new(args.ctx, kind, &args, sizeof args);
    if (!m) return NULL;
    pleat_scope scope = pleat_begin(args.ctx); /* frees temporary tensors, also after an error */
    if (!args.no_affine) m = add_affine(m, args.dtype, 1, &args.channels);
    m = add_statistics(m, &args);
    pleat_end(scope);
    return m;
}

pleat_nn_module *pleat_nn_batch_norm1d_with(pleat_nn_norm_args args) {
    return batch_norm_new(&batch_norm1d_kind, args);
}
pleat_nn_module *pleat_nn_batch_norm2d_with(pleat_nn_norm_args args) {
    return batch_norm_new(&batch_norm2d_kind, args);
}

/* ---- group_norm and instance_norm ---------------------------------------------------------------------- */

static pleat_tensor *group_norm_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    if (pleat_rank(x) < 2 || pleat_size(x, 1) != a->channels)
        return pln_misfit(m, x, "[N,", a->channels, ",..]");
    return pleat_group_norm(x, pleat_nn_own_param(m, 0), pleat_nn_own_param(m, 1), .groups = a->groups,
                            .eps = a->eps, .relu = tail->relu, .relu6 = tail->relu6);
}

/* A group norm with a group for each channel. */
static pleat_tensor *instance_norm_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    if (pleat_rank(x) < 3 || pleat_size(x, 1) != a->channels)
        return pln_misfit(m, x, "[N,", a->channels, ",..], of rank 3 or more");
    size_t values = 1;
    for (size_t k = 2; k < pleat_rank(x); k++) values *= pleat_size(x, k);
    if (values < 2) return pln_misfit(m, x, "at least ", 2, " values a channel: one has no variance");
    return pleat_group_norm(x, pleat_nn_own_param(m, 0), pleat_nn_own_param(m, 1), .groups = a->channels,
                            .eps = a->eps, .relu = tail->relu, .relu6 = tail->relu6);
}

static pleat_tensor *group_norm_forward(pleat_nn_module *m, pleat_tensor *x) {
    return group_norm_run(m, x, &(pln_tail){0});
}
static pleat_tensor *instance_norm_forward(pleat_nn_module *m, pleat_tensor *x) {
    return instance_norm_run(m, x, &(pln_tail){0});
}

static void instance_norm_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(m);
    snprintf(buffer, bytes, "%zu%s", a->channels, a->affine ? ", affine" : "");
}

static const pleat_nn_kind group_norm_kind = {
    .name = "GroupNorm", .forward = group_norm_forward, .describe = norm_describe};
static const pleat_nn_kind instance_norm_kind = {
    .name = "InstanceNorm", .forward = instance_norm_forward, .describe = instance_norm_describe};

static pleat_nn_module *with_affine(const pleat_nn_kind *kind, pleat_nn_norm_args args, bool affine) {
    pleat_nn_module *m = pleat_nn_module_new(args.ctx, kind, &args, sizeof args);
    if (!m || !affine) return m;
    pleat_scope scope = pleat_begin(args.ctx);
    m = add_affine(m, args.dtype, 1, &args.channels);
    pleat_end(scope);
    return m;
}

pleat_nn_module *pleat_nn_group_norm_with(pleat_nn_norm_args args) {
    const char *wrong = wrong_norm(&args);
    if (!args.groups || args.channels % args.groups) wrong = "groups must be given, and divide the channels";
    if (args.affine) wrong = "affine is for instance_norm; here it is the default";
    if (wrong) return pln_refuse(args.ctx, group_norm_kind.name, wrong);
    return with_affine(&group_norm_kind, args, !args.no_affine);
}

pleat_nn_module *pleat_nn_instance_norm_with(pleat_nn_norm_args args) {
    const char *wrong = wrong_norm(&args);
    if (args.groups) wrong = "groups are for group_norm";
    if (args.no_affine) wrong = "it has no weight and bias unless .affine is given";
    if (wrong) return pln_refuse(args.ctx, instance_norm_kind.name, wrong);
    return with_affine(&instance_norm_kind, args, args.affine);
}

/* ---- layer_norm ---------------------------------------------------------------------------------------- */

typedef struct layer_norm_attrs {
    size_t rank, shape[PLEAT_MAX_RANK];
    double eps;
} layer_norm_attrs;

static pleat_tensor *layer_norm_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const layer_norm_attrs *a = pleat_nn_attrs(m);
    size_t rank = pleat_rank(x);
    if (rank < a->rank || memcmp(pleat_shape(x) + rank - a->rank, a->shape, a->rank * sizeof *a->shape))
        return pln_misfit(m, x, "the sizes it was made for at the end, the last of them ",
                          a->shape[a->rank - 1], "");
    return pleat_layer_norm(x, pleat_nn_own_param(m, 0), pleat_nn_own_param(m, 1), .axes = a->rank,
                            .eps = a->eps, .relu = tail->relu, .relu6 = tail->relu6);
}

static pleat_tensor *layer_norm_forward(pleat_nn_module *m, pleat_tensor *x) {
    return layer_norm_run(m, x, &(pln_tail){0});
}

static void layer_norm_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const layer_norm_attrs *a = pleat_nn_attrs(m);
    for (size_t i = 0, used = 0; i < a->rank && used < bytes; i++)
        used += (size_t)snprintf(buffer + used, bytes - used, i ? "x%zu" : "%zu", a->shape[i]);
}

static const pleat_nn_kind layer_norm_kind = {
    .name = "LayerNorm", .forward = layer_norm_forward, .describe = layer_norm_describe};

pleat_nn_module *pleat_nn_layer_norm_with(pleat_nn_layer_norm_args args) {
    layer_norm_attrs a = {.rank = args.rank, .eps = args.eps == 0 ? 1e-5 : args.eps};
    const char *wrong =
        good_eps(a.eps) ? pln_wrong_dtype(args.dtype) : "eps must be finite and greater than 0";
    if (!args.rank || args.rank > PLEAT_MAX_RANK || !args.shape) wrong = "shape must have 1 to 8 sizes";
    for (size_t i = 0; i < args.rank && !wrong; i++) {
        a.shape[i] = args.shape[i];
        if (!a.shape[i]) wrong = "the sizes must be at least 1";
    }
    if (wrong) return pln_refuse(args.ctx, layer_norm_kind.name, wrong);
    pleat_nn_module *m = pleat_nn_module_new(args.ctx, &layer_norm_kind, &a, sizeof a);
    if (!m || args.no_affine) return m;
    pleat_scope scope = pleat_begin(args.ctx);
    m = add_affine(m, args.dtype, a.rank, a.shape);
    pleat_end(scope);
    return m;
}

/* ---- with others ---------------------------------------------------------------------------------------- */

pln_forward *pln_norm_forward(const pleat_nn_module *m) {
    static const struct {
        const pleat_nn_kind *kind;
        pln_forward *run;
    } all[] = {{&batch_norm1d_kind, batch_norm1d_run},
               {&batch_norm2d_kind, batch_norm2d_run},
               {&group_norm_kind, group_norm_run},
               {&instance_norm_kind, instance_norm_run},
               {&layer_norm_kind, layer_norm_run}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (m->kind == all[i].kind) return all[i].run;
    return NULL;
}

bool pln_is_batch_norm(const pleat_nn_module *m) {
    return m->kind == &batch_norm1d_kind || m->kind == &batch_norm2d_kind;
}

bool pln_take_batch_norm(const pleat_nn_module *next, size_t rank, size_t channels, pleat_dtype dtype,
                         pln_tail *tail) {
    if (next->kind != (rank == 4 ? &batch_norm2d_kind : &batch_norm1d_kind)) return false;
    const pleat_nn_norm_args *a = pleat_nn_attrs(next);
    if (pleat_nn_is_training(next) || a->channels != channels || a->dtype != dtype) return false;
    tail->norm = (pleat_conv_norm){pleat_nn_own_param(next, 0), pleat_nn_own_param(next, 1),
                                   pleat_nn_own_buffer(next, 0), pleat_nn_own_buffer(next, 1), a->eps};
    return true;
}

/* ---- dropout ------------------------------------------------------------------------------------------- */

static pleat_tensor *dropout_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_nn_is_training(m) ? pleat_dropout(x, *(const double *)pleat_nn_attrs(m)) : x;
}

static void dropout_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    snprintf(buffer, bytes, "p %s", pln_rounded(*(const double *)pleat_nn_attrs(m), 6).s);
}

static const pleat_nn_kind dropout_kind = {
    .name = "Dropout", .forward = dropout_forward, .describe = dropout_describe};

pleat_nn_module *pleat_nn_dropout(pleat_ctx *ctx, double p) {
    if (!(p >= 0 && p <= 1)) return pln_refuse(ctx, dropout_kind.name, "p must be from 0 to 1");
    return pleat_nn_module_new(ctx, &dropout_kind, &p, sizeof p);
}

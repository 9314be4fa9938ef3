/* Optimizers: gradients of a loss for all parameters, then one fused pass over each parameter and its state. */
#include "module.h"

#include <math.h>
#include <stdlib.h>

/* The constants of one update, the same for all parameters. */
typedef struct sgd_factors {
    double lr, momentum;
} sgd_factors;

typedef struct adam_factors {
    double b1, b2, eps;
    double step; /* lr / (1 - b1^t) */
    double root; /* sqrt(1 - b2^t) */
} adam_factors;

#define REAL float
#define SQRT sqrtf
#define NAME(f) f##_f32
#include "optimizers.inc"
#undef REAL
#undef SQRT
#undef NAME
#define REAL double
#define SQRT sqrt
#define NAME(f) f##_f64
#include "optimizers.inc"

#define STATES 2

typedef struct slot {
    pleat_tensor *param;
    pleat_tensor *state[STATES]; /* like the parameter, zeros at first; NULL where the method needs none */
} slot;

struct pleat_nn_optimizer {
    pleat_ctx *ctx;
    pleat_nn_module *net; /* only asked for names */
    const char *name;
    void (*update)(const pleat_nn_optimizer *opt, const slot *s, pleat_tensor *g);
    double lr, betas[2], eps; /* SGD's momentum is betas[0] */
    double steps;
    size_t count;
    slot *slots;
    pleat_tensor **params, **grads;
};

/* ---- making and freeing ------------------------------------------------------------------------------ */

void pleat_nn_optimizer_free(pleat_nn_optimizer *opt) {
    if (!opt) return;
    for (size_t i = 0; opt->slots && i < opt->count; i++)
        for (size_t k = 0; k < STATES; k++) pleat_drop(opt->slots[i].state[k]);
    free(opt->slots);
    free(opt->params);
    free(opt->grads);
    free(opt);
}

static bool add_slots(pleat_nn_optimizer *opt, size_t states) {
    opt->slots = calloc(opt->count, sizeof *opt->slots);
    opt->params = calloc(opt->count, sizeof(pleat_tensor *));
    opt->grads = calloc(opt->count, sizeof(pleat_tensor *));
    if (!opt->slots || !opt->params || !opt->grads) return false;
    for (size_t i = 0; i < opt->count; i++) {
        slot *s = &opt->slots[i];
        s->param = opt->params[i] = pleat_nn_param(opt->net, i);
        for (size_t k = 0; k < states; k++) {
            pleat_tensor *t = pleat_zeros_like(s->param);
            if (pleat_is_poison(t)) return false;
            s->state[k] = pleat_hold(t);
        }
    }
    return true;
}

/* A copy of `like` with room for its state; `wrong` is the rule that its options break, or NULL. */
static pleat_nn_optimizer *optimizer_new(pleat_nn_optimizer like, size_t states, const char *wrong) {
    if (!like.net) return NULL;
    like.ctx = pleat_nn_ctx(like.net);
    like.count = pleat_nn_param_count(like.net);
    if (!wrong && !like.count) wrong = "the network has no parameters to optimize";
    if (wrong) {
        pleat_fail(like.ctx, PLEAT_ERR_ARGUMENT, like.name, "%s", wrong);
        return NULL;
    }
    pleat_nn_optimizer *opt = malloc(sizeof *opt);
    if (opt) *opt = like;
    if (opt && add_slots(opt, states)) return opt;
    pleat_fail(like.ctx, PLEAT_ERR_MEMORY, like.name, "no memory for the optimizer's state");
    pleat_nn_optimizer_free(opt);
    return NULL;
}

/* ---- the methods ------------------------------------------------------------------------------------- */

static bool is_fraction(double x) { return x >= 0 && x < 1; }

static void sgd_update(const pleat_nn_optimizer *opt, const slot *s, pleat_tensor *g) {
    sgd_factors f = {.lr = opt->lr, .momentum = opt->betas[0]};
    size_t n = pleat_numel(s->param);
    pleat_tensor *b = s->state[0];
    if (pleat_dtype_of(s->param) == PLEAT_F32)
        sgd_f32(&f, pleat_f32(s->param), pleat_f32(g), b ? pleat_f32(b) : NULL, n);
    else
        sgd_f64(&f, pleat_f64(s->param), pleat_f64(g), b ? pleat_f64(b) : NULL, n);
}

pleat_nn_optimizer *pleat_nn_sgd_with(pleat_nn_sgd_args args) {
    const char *wrong = NULL;
    if (!(args.lr > 0) || !isfinite(args.lr)) wrong = ".lr must be given, finite and greater than 0";
    if (!is_fraction(args.momentum)) wrong = "momentum must be at least 0 and less than 1";
    pleat_nn_optimizer like = {.net = args.net, .name = "sgd", .update = sgd_update, .lr = args.lr};
    like.betas[0] = args.momentum;
    return optimizer_new(like, args.momentum != 0 ? 1 : 0, wrong);
}

static void adam_update(const pleat_nn_optimizer *opt, const slot *s, pleat_tensor *g) {
    adam_factors f = {.b1 = opt->betas[0], .b2 = opt->betas[1], .eps = opt->eps};
    f.step = opt->lr / (1 - pow(f.b1, opt->steps));
    f.root = sqrt(1 - pow(f.b2, opt->steps));
    size_t n = pleat_numel(s->param);
    if (pleat_dtype_of(s->param) == PLEAT_F32)
        adam_f32(&f, pleat_f32(s->param), pleat_f32(g), pleat_f32(s->state[0]), pleat_f32(s->state[1]), n);
    else
        adam_f64(&f, pleat_f64(s->param), pleat_f64(g), pleat_f64(s->state[0]), pleat_f64(s->state[1]), n);
}

pleat_nn_optimizer *pleat_nn_adam_with(pleat_nn_adam_args args) {
    if (args.lr == 0) args.lr = 1e-3;
    if (args.eps == 0) args.eps = 1e-8;
    if (args.betas[0] == 0 && args.betas[1] == 0) {
        args.betas[0] = 0.9;
        args.betas[1] = 0.999;
    }
    const char *wrong = NULL;
    if (!(args.lr > 0) || !isfinite(args.lr)) wrong = "lr must be finite and greater than 0";
    if (!(args.eps > 0) || !isfinite(args.eps)) wrong = "eps must be finite and greater than 0";
    if (!is_fraction(args.betas[0]) || !is_fraction(args.betas[1]))
        wrong = "both betas must be at least 0 and less than 1";
    pleat_nn_optimizer like = {.net = args.net, .name = "adam", .update = adam_update, .lr = args.lr};
    like.eps = args.eps;
    like.betas[0] = args.betas[0];
    like.betas[1] = args.betas[1];
    return optimizer_new(like, 2, wrong);
}

/* ---- a step ------------------------------------------------------------------------------------------ */

static pleat_status refuse_grad(const pleat_nn_optimizer *opt, size_t i, pleat_status code, const char *why) {
    char name[128];
    pleat_nn_param_name(opt->net, i, name, sizeof name);
    return pleat_fail(opt->ctx, code, opt->name, "the gradient of parameter \"%s\" %s", name, why);
}

/* Put g, in row-major order, at its place in opt->grads, if it fits parameter i. */
static pleat_status take_grad(pleat_nn_optimizer *opt, size_t i, pleat_tensor *g) {
    const pleat_tensor *p = opt->params[i];
    if (!g) return refuse_grad(opt, i, PLEAT_ERR_ARGUMENT, "is NULL");
    if (pleat_ctx_of(g) != opt->ctx) return refuse_grad(opt, i, PLEAT_ERR_ARGUMENT, "is of another context");
    opt->grads[i] = pleat_contiguous(g);
    if (pleat_is_poison(opt->grads[i]))
        return refuse_grad(opt, i, PLEAT_ERR_ARGUMENT, "is poison: an op failed before");
    if (!pln_same_shape(p, g)) return refuse_grad(opt, i, PLEAT_ERR_SHAPE, "must have the parameter's shape");
    if (pleat_dtype_of(p) != pleat_dtype_of(g))
        return refuse_grad(opt, i, PLEAT_ERR_DTYPE, "must have the parameter's type");
    return PLEAT_OK;
}

/* All gradients are looked at before any parameter changes. */
static pleat_status update(pleat_nn_optimizer *opt, pleat_tensor *const *grads) {
    pleat_status status = PLEAT_OK;
    for (size_t i = 0; i < opt->count && !status; i++) status = take_grad(opt, i, grads[i]);
    if (status) return status;
    opt->steps++;
    for (size_t i = 0; i < opt->count; i++) opt->update(opt, &opt->slots[i], opt->grads[i]);
    return PLEAT_OK;
}

pleat_status pleat_nn_update(pleat_nn_optimizer *opt, pleat_tensor *const *grads) {
    if (!opt) return PLEAT_ERR_ARGUMENT;
    if (!grads) return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->name, "grads is NULL");
    pleat_scope scope = pleat_begin(opt->ctx);
    pleat_status status = update(opt, grads);
    pleat_end(scope);
    return status;
}

/* Is it parameter i that the gradient of the loss failed for, because the loss does not depend on it? */
static bool independent(pleat_nn_optimizer *opt, pleat_tensor *loss, size_t i) {
    pleat_tensor *g;
    return !pleat_grads(loss, NULL, 1, &opt->params[i], &g, 0) &&
           pleat_grads(loss, NULL, 1, &opt->params[i], &g, PLEAT_GRADS_STRICT) == PLEAT_ERR_GRADIENT;
}

/* The context's fresh error says the same of a number; say it of a name. */
static pleat_status name_the_parameter(pleat_nn_optimizer *opt, pleat_tensor *loss) {
    for (size_t i = 0; i < opt->count; i++) {
        pleat_clear_error(opt->ctx);
        if (!independent(opt, loss, i)) continue;
        char name[128];
        pleat_nn_param_name(opt->net, i, name, sizeof name);
        pleat_clear_error(opt->ctx);
        return pleat_fail(opt->ctx, PLEAT_ERR_GRADIENT, opt->name,
                          "the loss does not depend on parameter \"%s\"; every parameter must take part",
                          name);
    }
    /* it was another error: meet it again */
    pleat_clear_error(opt->ctx);
    return pleat_grads(loss, NULL, opt->count, opt->params, opt->grads, PLEAT_GRADS_STRICT);
}

pleat_status pleat_nn_step(pleat_nn_optimizer *opt, pleat_tensor *loss) {
    if (!opt || !loss) {
        pleat_ctx *ctx = opt ? opt->ctx : pleat_ctx_of(loss);
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "step", "%s is NULL", opt ? "the loss" : "the optimizer");
    }
    bool clean = pleat_error(opt->ctx)->code == PLEAT_OK;
    pleat_scope scope = pleat_begin(opt->ctx);
    pleat_status status = pleat_grads(loss, NULL, opt->count, opt->params, opt->grads, PLEAT_GRADS_STRICT);
    if (!status)
        status = update(opt, opt->grads);
    else if (clean && status == PLEAT_ERR_GRADIENT)
        status = name_the_parameter(opt, loss);
    pleat_end(scope);
    return status;
}

double pleat_nn_lr(const pleat_nn_optimizer *opt) { return opt ? opt->lr : 0; }

void pleat_nn_set_lr(pleat_nn_optimizer *opt, double lr) {
    if (!opt) return;
    if (lr >= 0 && isfinite(lr))
        opt->lr = lr;
    else
        pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->name, "lr must be finite and not negative");
}

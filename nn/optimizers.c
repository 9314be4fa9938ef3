/* The frame of all optimizers: gradients of a loss for all parameters that are not frozen, clipping, then one
 * fused pass over each parameter and its state. The methods are in sgd.c, adam.c and rmsprop.c. */
#include "optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "accumulate.h"
#include "elements.h"
#include "files/numbers.h"

typedef struct slot {
    pleat_tensor *param;
    const pleat_nn_module *owner; /* frozen or not */
    pln_group_options options;
    pleat_tensor *state[PLN_STATES]; /* NULL after the last that the options need */
    double steps;
    pln_pass pass; /* of the step that is running, */
    size_t end;    /* and its pieces, counted with those of the moving parameters before it */
} slot;

struct pleat_nn_optimizer {
    pleat_ctx *ctx;
    pln_optimizer_args args;
    void *options;
    double norm; /* of all gradients at the last step */
    size_t count;
    slot *slots;
    size_t moving;                  /* the number of parameters that are not frozen at this step, */
    size_t *index;                  /* their numbers in the net, */
    pleat_tensor **params, **grads; /* and the tensors */
    pln_pending pending;            /* gradients of the micro-batches since the last step */
    pleat_nn_share *share;          /* that makes its steps, or NULL */
};

/* ---- making and freeing ------------------------------------------------------------------------------ */

void pleat_nn_optimizer_free(pleat_nn_optimizer *opt) {
    if (!opt) return;
    for (size_t i = 0; opt->slots && i < opt->count; i++)
        for (size_t k = 0; k < PLN_STATES; k++) pleat_drop(opt->slots[i].state[k]);
    pln_pending_free(&opt->pending);
    free(opt->slots);
    free(opt->index);
    free(opt->params);
    free(opt->grads);
    free(opt->options);
    free(opt);
}

static bool add_slot(pleat_nn_optimizer *opt, size_t i) {
    char unused[1];
    pln_found found = pln_find(opt->args.net, PLN_PARAMS, i, unused, sizeof unused);
    slot *s = &opt->slots[i];
    *s = (slot){.param = found.t, .owner = found.owner, .options = pln_group_options_of(&opt->args, i)};
    for (size_t k = 0; k < pln_optimizer_states(opt); k++) {
        pleat_tensor *t = pleat_zeros_like(s->param);
        if (pleat_is_poison(t)) return false;
        s->state[k] = pleat_hold(t);
    }
    return true;
}

static bool fill(pleat_nn_optimizer *opt) {
    opt->options = malloc(opt->args.options_bytes);
    opt->slots = calloc(opt->count, sizeof *opt->slots);
    opt->index = calloc(opt->count, sizeof *opt->index);
    opt->params = calloc(opt->count, sizeof(pleat_tensor *));
    opt->grads = calloc(opt->count, sizeof(pleat_tensor *));
    if (!opt->options || !opt->slots || !opt->index || !opt->params || !opt->grads) return false;
    memcpy(opt->options, opt->args.options, opt->args.options_bytes);
    opt->args.options = opt->options;
    for (size_t i = 0; i < opt->count; i++)
        if (!add_slot(opt, i)) return false;
    opt->args.group = NULL; /* the caller's */
    return true;
}

static const char *broken_rule(const pln_optimizer_args *a) {
    if (a->wrong) return a->wrong;
    if (!pln_is_not_negative(a->clip_norm)) return "clip_norm must be finite and not negative";
    if (!pln_is_not_negative(a->clip_value)) return "clip_value must be finite and not negative";
    if (!pln_is_not_negative(a->weight_decay)) return "weight_decay must be finite and not negative";
    return pleat_nn_param_count(a->net) ? NULL : "the network has no parameters to optimize";
}

pleat_nn_optimizer *pln_optimizer_new(pln_optimizer_args args) {
    if (!args.net) return NULL;
    pleat_ctx *ctx = pleat_nn_ctx(args.net);
    const char *wrong = broken_rule(&args);
    if (wrong) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, args.method->name, "%s", wrong);
        return NULL;
    }
    if (pln_check_groups(&args)) return NULL;
    pleat_nn_optimizer *opt = calloc(1, sizeof *opt);
    if (opt) {
        opt->ctx = ctx;
        opt->args = args;
        opt->count = opt->pending.width = pleat_nn_param_count(args.net);
        if (fill(opt)) return opt;
    }
    pleat_fail(ctx, PLEAT_ERR_MEMORY, args.method->name, "no memory for the optimizer's state");
    pleat_nn_optimizer_free(opt);
    return NULL;
}

/* ---- the state, for checkpoints ------------------------------------------------------------------------ */

pleat_nn_module *pln_optimizer_net(const pleat_nn_optimizer *opt) { return opt->args.net; }

size_t pln_optimizer_states(const pleat_nn_optimizer *opt) {
    size_t n = 0;
    while (n < PLN_STATES && opt->args.state[n]) n++;
    return n;
}

const char *pln_optimizer_state_name(const pleat_nn_optimizer *opt, size_t k) { return opt->args.state[k]; }

pleat_tensor *pln_optimizer_state(const pleat_nn_optimizer *opt, size_t i, size_t k) {
    return opt->slots[i].state[k];
}

double pln_optimizer_steps(const pleat_nn_optimizer *opt, size_t i) { return opt->slots[i].steps; }

void pln_optimizer_set_steps(pleat_nn_optimizer *opt, size_t i, double steps) { opt->slots[i].steps = steps; }

/* ---- gradients ----------------------------------------------------------------------------------------- */

static void find_moving(pleat_nn_optimizer *opt) {
    opt->moving = 0;
    for (size_t i = 0; i < opt->count; i++) {
        if (pleat_nn_is_frozen(opt->slots[i].owner)) continue;
        opt->index[opt->moving] = i;
        opt->params[opt->moving++] = opt->slots[i].param;
    }
}

/* Report an error about the gradient of the k-th moving parameter. */
static pleat_status refuse_grad(const pleat_nn_optimizer *opt, size_t k, pleat_status code, const char *why) {
    char name[128];
    pleat_nn_param_name(opt->args.net, opt->index[k], name, sizeof name);
    return pleat_fail(opt->ctx, code, opt->args.method->name, "the gradient of parameter \"%s\" %s", name,
                      why);
}

/* Check g against the k-th moving parameter, and store it, contiguous, in opt->grads. */
static pleat_status take_grad(pleat_nn_optimizer *opt, size_t k, pleat_tensor *g) {
    const pleat_tensor *p = opt->params[k];
    if (!g) return refuse_grad(opt, k, PLEAT_ERR_ARGUMENT, "is NULL");
    if (pleat_ctx_of(g) != opt->ctx) return refuse_grad(opt, k, PLEAT_ERR_ARGUMENT, "is of another context");
    opt->grads[k] = pleat_contiguous(g);
    if (pleat_is_poison(opt->grads[k]))
        return refuse_grad(opt, k, PLEAT_ERR_ARGUMENT, "is poison: an op failed before");
    if (!pln_same_shape(p, g)) return refuse_grad(opt, k, PLEAT_ERR_SHAPE, "must have the parameter's shape");
    if (pleat_dtype_of(p) != pleat_dtype_of(g))
        return refuse_grad(opt, k, PLEAT_ERR_DTYPE, "must have the parameter's type");
    return PLEAT_OK;
}

/* ---- clipping ------------------------------------------------------------------------------------------ */

/* Eight independent partial sums, so that no addition waits for the previous one. */
static double sum_of_squares(pleat_tensor *t) {
    double lane[8] = {0};
    size_t n = pleat_numel(t);
    if (pleat_dtype_of(t) == PLEAT_F32) {
        const float *g = pleat_const_f32(t);
        for (size_t i = 0; i < n; i++) lane[i % 8] += (double)g[i] * (double)g[i];
    } else {
        const double *g = pleat_const_f64(t);
        for (size_t i = 0; i < n; i++) lane[i % 8] += g[i] * g[i];
    }
    return lane[0] + lane[1] + lane[2] + lane[3] + lane[4] + lane[5] + lane[6] + lane[7];
}

/* Write the factor of clip_norm, that of torch.nn.utils.clip_grad_norm_, to *scale. */
static pleat_status clip_norm(pleat_nn_optimizer *opt, double *scale) {
    double sum = 0;
    for (size_t k = 0; k < opt->moving; k++) {
        sum += sum_of_squares(opt->grads[k]);
        if (!isfinite(sum)) return refuse_grad(opt, k, PLEAT_ERR_ARGUMENT, "has no finite norm to clip");
    }
    opt->norm = sqrt(sum);
    *scale = fmin(1, opt->args.clip_norm / (opt->norm + 1e-6));
    return PLEAT_OK;
}

/* ---- a step ------------------------------------------------------------------------------------------ */

enum { PIECE = 16384 }; /* elements of a parameter that a task updates */

static slot *moving_slot(const pleat_nn_optimizer *opt, size_t k) { return &opt->slots[opt->index[k]]; }

static void prepare_pass(pleat_nn_optimizer *opt, size_t k, double scale) {
    static const char writer[] = "a step of an optimizer";
    const pln_optimizer_args *a = &opt->args;
    slot *s = moving_slot(opt, k);
    pln_pass *p = &s->pass;
    *p = (pln_pass){.options = a->options, .scale = scale, .step = ++s->steps};
    p->lr = a->lr * s->options.lr_scale;
    p->decay = s->options.decay;
    p->bound = a->clip_value > 0 ? a->clip_value : HUGE_VAL;
    p->n = pleat_numel(s->param);
    p->param = pleat_write_now(s->param, writer);
    p->grad = pln_const_elements(opt->grads[k]);
    for (size_t i = 0; i < PLN_STATES && s->state[i]; i++) p->state[i] = pleat_write_now(s->state[i], writer);
    s->end = p->n / PIECE + (p->n % PIECE > 0) + (k ? moving_slot(opt, k - 1)->end : 0);
}

static void update_piece(void *arg, size_t task) {
    const pleat_nn_optimizer *opt = arg;
    size_t k = 0;
    while (moving_slot(opt, k)->end <= task) k++;
    const slot *s = moving_slot(opt, k);
    pln_pass p = s->pass;
    bool single = pleat_dtype_of(s->param) == PLEAT_F32;
    size_t first = (task - (k ? moving_slot(opt, k - 1)->end : 0)) * PIECE;
    size_t skip = first * (single ? sizeof(float) : sizeof(double));
    p.n = p.n - first < PIECE ? p.n - first : PIECE;
    p.param = (char *)p.param + skip;
    p.grad = (const char *)p.grad + skip;
    for (size_t i = 0; i < PLN_STATES && p.state[i]; i++) p.state[i] = (char *)p.state[i] + skip;
    (single ? opt->args.method->f32 : opt->args.method->f64)(&p);
}

/* Update from the gradients in opt->grads. All of them are checked before a parameter changes. */
static pleat_status update(pleat_nn_optimizer *opt) {
    pleat_status status = PLEAT_OK;
    double scale = 1;
    for (size_t k = 0; k < opt->moving && !status; k++) status = take_grad(opt, k, opt->grads[k]);
    if (!status && opt->args.clip_norm > 0) status = clip_norm(opt, &scale);
    if (status || !opt->moving) return status;
    double work = 0;
    for (size_t k = 0; k < opt->moving; k++) {
        prepare_pass(opt, k, scale);
        work += (double)moving_slot(opt, k)->pass.n / 4;
    }
    pleat_parallel(opt->ctx, work, moving_slot(opt, opt->moving - 1)->end, update_piece, opt);
    return PLEAT_OK;
}

/* Replace the error of pleat_grads about x number `input` by one that names the parameter. Other errors are
 * kept. */
static pleat_status name_the_parameter(const pleat_nn_optimizer *opt, pleat_status status) {
    size_t input = pleat_error(opt->ctx)->input;
    if (status != PLEAT_ERR_GRADIENT || input == PLEAT_NO_INPUT) return status;
    char name[128], why[200];
    const char *note = strstr(pleat_error(opt->ctx)->text, "; ");
    snprintf(why, sizeof why, "%s", note ? note : "; every parameter must take part, or be frozen");
    pleat_nn_param_name(opt->args.net, opt->index[input], name, sizeof name);
    pleat_clear_error(opt->ctx);
    return pleat_fail(opt->ctx, PLEAT_ERR_GRADIENT, opt->args.method->name,
                      "the loss does not depend on parameter \"%s\"%s", name, why);
}

/* A loss that is not finite would make every parameter NaN. pleat_grads checks the rest. */
static pleat_status check_loss(const pleat_nn_optimizer *opt, const pleat_tensor *loss) {
    char shape[96];
    if (pleat_error(opt->ctx)->code) return PLEAT_OK;
    if (pleat_ctx_of(loss) != opt->ctx)
        return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name,
                          "the loss is of another context than the network");
    if (pleat_is_poison(loss))
        return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, "step",
                          "the loss is poison: an op failed before, and its error was cleared");
    if (pleat_numel(loss) != 1)
        return pleat_fail(opt->ctx, PLEAT_ERR_SHAPE, "step",
                          "the loss has shape %s; it must have one element: pleat_mean or pleat_sum",
                          pleat_shape_text(loss, shape, sizeof shape));
    if (!pleat_call_of(loss))
        return pleat_fail(
            opt->ctx, PLEAT_ERR_GRADIENT, "step",
            "the loss was computed while recording was off, or by no op, or an earlier step has consumed its "
            "history; compute it anew, with recording on: pleat_set_recording(ctx, true)");
    double value = pleat_item(loss);
    if (isfinite(value)) return PLEAT_OK;
    return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name,
                      "the loss is %s; it must be finite, and no parameter has changed",
                      pln_rounded(value, 6).s);
}

pleat_status pln_optimizer_grads(pleat_nn_optimizer *opt, pleat_tensor *loss, double weight, pln_each *each,
                                 void *user) {
    enum { FLAGS = PLEAT_GRADS_STRICT | PLEAT_GRADS_CONSUME };
    pleat_status status = check_loss(opt, loss);
    if (status) return status;
    bool clean = pleat_error(opt->ctx)->code == PLEAT_OK;
    pleat_tensor *seed = weight != 1 && pleat_numel(loss) == 1 ? pleat_full_like(loss, weight) : NULL;
    status = each ? pleat_grads_each(loss, seed, opt->moving, opt->params, each, user, FLAGS)
                  : pleat_grads(loss, seed, opt->moving, opt->params, opt->grads, FLAGS);
    return clean ? name_the_parameter(opt, status) : status;
}

/* A step in the middle of an accumulation, or of this rank's items alone, is a mistake. */
static pleat_status check_nothing_is_pending(const pleat_nn_optimizer *opt) {
    if (opt->share)
        return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name,
                          "its batches are cut into micro-batches; pleat_nn_step_shared makes its steps");
    if (!opt->pending.n) return PLEAT_OK;
    return pleat_fail(
        opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name,
        "gradients of %zu micro-batches are accumulated; pleat_nn_step_accumulated updates with them",
        opt->pending.n);
}

pleat_status pleat_nn_update(pleat_nn_optimizer *opt, pleat_tensor *const *grads) {
    if (!opt) return PLEAT_ERR_ARGUMENT;
    if (!grads) return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name, "grads is NULL");
    pleat_status status = check_nothing_is_pending(opt);
    if (status) return status;
    pleat_scope scope = pleat_begin(opt->ctx);
    find_moving(opt);
    for (size_t k = 0; k < opt->moving; k++) opt->grads[k] = grads[opt->index[k]];
    status = update(opt);
    pleat_end(scope);
    return status;
}

pleat_status pleat_nn_step(pleat_nn_optimizer *opt, pleat_tensor *loss) {
    if (!opt || !loss) {
        pleat_ctx *ctx = opt ? opt->ctx : pleat_ctx_of(loss);
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "step", "%s is NULL", opt ? "the loss" : "the optimizer");
    }
    pleat_status status = check_nothing_is_pending(opt);
    if (status) return status;
    pleat_scope scope = pleat_begin(opt->ctx);
    find_moving(opt);
    status = pln_optimizer_grads(opt, loss, 1, NULL, NULL);
    if (!status) status = update(opt);
    pleat_end(scope);
    return status;
}

/* ---- micro-batches --------------------------------------------------------------------------------------- */

static bool put(void *user, size_t i, pleat_tensor *g) {
    pleat_nn_optimizer *opt = user;
    return pln_pending_put(&opt->pending, i, g);
}

static pleat_status accumulate(pleat_nn_optimizer *opt, pleat_tensor *loss, double weight) {
    if (!isfinite(weight))
        return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name,
                          "the weight is %s; it must be finite", pln_rounded(weight, 6).s);
    if (opt->share) return check_nothing_is_pending(opt);
    if (!opt->pending.n) find_moving(opt);
    return pln_optimizer_grads(opt, loss, weight, put, opt);
}

pleat_status pleat_nn_accumulate(pleat_nn_optimizer *opt, pleat_tensor *loss, double weight) {
    if (!opt)
        return pleat_fail(pleat_ctx_of(loss), PLEAT_ERR_ARGUMENT, "accumulate", "the optimizer is NULL");
    bool recording = pleat_set_recording(opt->ctx, false);
    pleat_scope scope = pleat_begin(opt->ctx);
    pleat_status status =
        loss ? accumulate(opt, loss, weight)
             : pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name, "the loss is NULL");
    if (status) pln_pending_clear(&opt->pending);
    pleat_end(scope);
    pleat_set_recording(opt->ctx, recording);
    return status;
}

pleat_status pleat_nn_step_accumulated(pleat_nn_optimizer *opt) {
    if (!opt) return PLEAT_ERR_ARGUMENT;
    if (!opt->pending.n)
        return pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name,
                          "nothing is accumulated; call pleat_nn_accumulate for each micro-batch first");
    bool recording = pleat_set_recording(opt->ctx, false);
    pleat_scope scope = pleat_begin(opt->ctx);
    for (size_t k = 0; k < opt->moving; k++) opt->grads[k] = pln_pending_sum(&opt->pending, k);
    pleat_status status = pleat_error(opt->ctx)->code;
    if (!status) status = update(opt);
    pln_pending_clear(&opt->pending);
    pleat_end(scope);
    pleat_set_recording(opt->ctx, recording);
    return status;
}

size_t pln_optimizer_pending(const pleat_nn_optimizer *opt) { return opt->pending.n; }
void pln_optimizer_discard(pleat_nn_optimizer *opt) {
    if (opt) pln_pending_clear(&opt->pending);
}

/* ---- shared runs -------------------------------------------------------------------------------------------- */

pleat_nn_share *pln_optimizer_share(const pleat_nn_optimizer *opt) { return opt->share; }
void pln_optimizer_set_share(pleat_nn_optimizer *opt, pleat_nn_share *share) { opt->share = share; }

size_t pln_optimizer_moving(pleat_nn_optimizer *opt, pleat_tensor ***params) {
    find_moving(opt);
    *params = opt->params;
    return opt->moving;
}

pleat_status pln_optimizer_update(pleat_nn_optimizer *opt, pleat_tensor *const *grads) {
    for (size_t k = 0; k < opt->moving; k++) opt->grads[k] = grads[k];
    return update(opt);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

double pleat_nn_lr(const pleat_nn_optimizer *opt) { return opt ? opt->args.lr : 0; }

void pleat_nn_set_lr(pleat_nn_optimizer *opt, double lr) {
    if (!opt) return;
    if (pln_is_not_negative(lr))
        opt->args.lr = lr;
    else
        pleat_fail(opt->ctx, PLEAT_ERR_ARGUMENT, opt->args.method->name,
                   "lr must be finite and not negative");
}

double pleat_nn_grad_norm(const pleat_nn_optimizer *opt) { return opt ? opt->norm : 0; }

/* A run of the graph: one node after another, in the order of the file. A value that no later node reads is dropped. */
#include <string.h>

#include "files/file.h"
#include "onnx/onnx.h"

/* ---- one node --------------------------------------------------------------------------------------------- */

/* f floats, n numbers, w whole numbers, b truths, a any */
static bool right_type(char letter, int type) {
    letter = (char)(letter | ' ');
    if (letter == 'b') return type == PLN_ONNX_BOOL;
    return letter == 'a' || (letter != 'f' && pln_onnx_is_whole(type)) ||
           (letter != 'w' && pln_onnx_is_float(type));
}

static bool check_inputs(const pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in) {
    const char *letter = n->row->in;
    for (size_t i = 0; i < n->ins; i++) {
        if (in[i].t && !right_type(*letter, in[i].type))
            return pln_onnx_refuse(run, n, "input %zu of type %s is not supported", i,
                                   pln_onnx_type_name(in[i].type));
        if (in[i].t && pleat_is_poison(in[i].t)) return false;
        if (letter[1] && letter[1] != '+') letter++;
    }
    return true;
}

static bool check_output(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, size_t i,
                         pln_onnx_value *out) {
    if (!out->t) return pln_onnx_refuse(run, n, "output %zu is not supported", i);
    if (n->row->wraps && pln_onnx_is_whole(out->type) && !pln_onnx_wrap(run, n, out)) return false;
    if (pleat_is_poison(out->t)) return false;
    if (pleat_dtype_of(out->t) != pln_onnx_dtype(out->type))
        return pln_onnx_refuse(run, n, "its inputs have different types, of which %s is one",
                               pln_onnx_type_name(out->type));
    /* a tensor has one owner, as it is dropped once */
    for (size_t k = 0; k < n->ins; k++)
        if (in[k].t == out->t) out->t = pleat_reshape(out->t, pleat_rank(out->t), pleat_shape(out->t));
    return !pleat_is_poison(out->t);
}

static bool apply(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    for (size_t i = 0; i < n->outs; i++) out[i] = (pln_onnx_value){NULL, in[0].type};
    if (!check_inputs(run, n, in) || !n->row->rule(run, n, in, out)) return false;
    for (size_t i = 0; i < n->outs; i++)
        if (n->out[i] != PLN_ONNX_NONE && !check_output(run, n, in, i, &out[i])) return false;
    return true;
}

/* Only floats have gradients. */
static bool has_floats(const pln_onnx_node *n, const pln_onnx_value *in) {
    for (size_t i = 0; i < n->ins; i++)
        if (in[i].t && pln_onnx_is_float(in[i].type)) return true;
    return false;
}

bool pln_onnx_apply(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    bool clean = pleat_error(run->ctx)->code == PLEAT_OK;
    bool recording = pleat_set_recording(run->ctx, false);
    pleat_set_recording(run->ctx, recording && has_floats(n, in));
    bool good = apply(run, n, in, out);
    pleat_set_recording(run->ctx, recording);
    /* an op's error does not know the node */
    if (!good && clean && pleat_error(run->ctx)->code && strcmp(pleat_error(run->ctx)->op, run->op)) {
        char where[160];
        pln_phrase name = pln_shown(n->name);
        snprintf(where, sizeof where, "node %zu %.40s '%.60s'", n->number, n->op, name.text);
        pleat_error_where(run->ctx, where);
    }
    return good;
}

/* ---- the graph ----------------------------------------------------------------------------------------------- */

static void describe_port(const pln_onnx_port *p, char *text, size_t bytes) {
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (size_t i = 0; i < p->rank && used < bytes; i++)
        used += p->dim[i] >= 0
                    ? (size_t)snprintf(text + used, bytes - used, "%s%jd", i ? "," : "", (intmax_t)p->dim[i])
                    : (size_t)snprintf(text + used, bytes - used, "%s%s", i ? "," : "",
                                       p->word[i] ? pln_shown(p->word[i]).text : "?");
    if (used < bytes) snprintf(text + used, bytes - used, "]");
}

static bool fits(const pln_onnx_port *p, const pleat_tensor *t) {
    if (!p->shaped) return true;
    if (p->rank != pleat_rank(t)) return false;
    for (size_t i = 0; i < p->rank; i++)
        if (p->dim[i] >= 0 && (uint64_t)p->dim[i] != pleat_size(t, i)) return false;
    return true;
}

/* Whole numbers are given as floats of either type. */
static bool take_input(const pln_onnx_run *run, const pln_onnx_port *p, pleat_tensor *t,
                       pln_onnx_value *out) {
    char has[96], wants[160];
    pln_phrase name = pln_shown(p->name);
    if (!t || pleat_is_poison(t)) return t != NULL;
    if (pln_onnx_is_float(p->type) && pleat_dtype_of(t) != pln_onnx_dtype(p->type)) {
        pleat_fail(run->ctx, PLEAT_ERR_DTYPE, run->op, "input '%.80s' is %s; the model takes %s", name.text,
                   pleat_dtype_of(t) == PLEAT_F32 ? "f32" : "f64", pln_onnx_type_name(p->type));
        return false;
    }
    if (!fits(p, t)) {
        describe_port(p, wants, sizeof wants);
        pleat_fail(run->ctx, PLEAT_ERR_SHAPE, run->op, "input '%.80s' is %s; the model was exported for %s",
                   name.text, pleat_shape_text(t, has, sizeof has), wants);
        return false;
    }
    *out = (pln_onnx_value){pln_onnx_is_float(p->type) ? t : pleat_detach(pleat_cast(t, PLEAT_F64)), p->type};
    return !pleat_is_poison(out->t);
}

static bool run_node(pln_onnx_model *m, pln_onnx_run *run, const pln_onnx_node *n) {
    pleat_scope scope = pleat_begin(m->ctx);
    memset(m->in, 0, m->most_in * sizeof *m->in);
    for (size_t i = 0; i < n->ins; i++)
        if (n->in[i] != PLN_ONNX_NONE) m->in[i] = m->live[n->in[i]];
    bool good = pln_onnx_apply(run, n, m->in, m->out);
    for (size_t i = 0; good && i < n->outs; i++) {
        if (n->out[i] == PLN_ONNX_NONE) continue;
        while (pleat_in_scope(scope, m->out[i].t)) pleat_keep(m->out[i].t);
        m->live[n->out[i]] = m->out[i];
    }
    pleat_end(scope);
    return good;
}

/* Show a node with a result of floats to those who watch the module. */
static void show(const pln_onnx_model *m, const pleat_nn_module *module, const pln_onnx_node *n) {
    const pln_onnx_value *y = &m->out[0];
    if (n->out[0] == PLN_ONNX_NONE || !pln_onnx_is_float(y->type)) return;
    pln_step step = {.name = n->name, .kind = n->row->name, .y = y->t};
    for (const pleat_nn_module *above = module; above; above = above->parent) {
        if (!above->observer) continue;
        for (size_t i = step.params = 0; i < n->ins; i++)
            if (n->in[i] != PLN_ONNX_NONE && m->slot[n->in[i]].owned && m->slot[n->in[i]].weight)
                step.params += pleat_numel(m->in[i].t);
        step.macs = n->row->macs ? n->row->macs(m->in, y->t) : 0;
        above->observer->saw_step(above->observer, module, &step);
    }
}

static void drop_the_dead(pln_onnx_model *m, size_t i) {
    const pln_onnx_node *n = &m->node[i];
    for (size_t k = 0; k < n->ins; k++) {
        size_t slot = n->in[k];
        if (slot == PLN_ONNX_NONE || m->slot[slot].last != i + 1 || m->slot[slot].from != PLN_ONNX_COMPUTED)
            continue;
        pleat_drop(m->live[slot].t);
        m->live[slot].t = NULL;
    }
}

bool pln_onnx_execute(pln_onnx_model *m, pleat_nn_module *module, pleat_tensor *const *in,
                      pleat_tensor **out) {
    pln_onnx_run run = {.ctx = m->ctx, .op = "Onnx", .training = pleat_nn_is_training(module)};
    pleat_scope scope = pleat_begin(m->ctx);
    bool good = true;
    for (size_t i = 0; i < m->slots; i++) m->live[i] = m->slot[i].v;
    for (size_t i = 0; i < m->inputs && good; i++)
        good = take_input(&run, &m->input[i], in[i], &m->live[m->input[i].slot]);
    for (size_t i = 0; i < m->nodes && good; i++) {
        good = run_node(m, &run, &m->node[i]);
        if (good) show(m, module, &m->node[i]);
        if (good) drop_the_dead(m, i);
    }
    for (size_t i = 0; i < m->outputs; i++) {
        pleat_tensor *t = good ? m->live[m->output[i].slot].t : pleat_poison(m->ctx);
        /* an output that is an input, a constant or another output is a view of it */
        out[i] = pleat_reshape(t, pleat_rank(t), pleat_shape(t));
        while (pleat_in_scope(scope, out[i])) pleat_keep(out[i]);
        good = good && !pleat_is_poison(out[i]);
    }
    pleat_end(scope);
    return good;
}

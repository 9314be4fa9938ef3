/* A graph with less to do: nodes that change nothing go, and what depends on constants only is computed once. */
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"

/* ---- nodes without a rule ------------------------------------------------------------------------------- */

static pleat_tensor *copy_to(pleat_ctx *ctx, const pleat_tensor *t) {
    if (pleat_is_poison(t)) return pleat_poison(ctx);
    const void *data =
        pleat_dtype_of(t) == PLEAT_F32 ? (const void *)pleat_const_f32(t) : (const void *)pleat_const_f64(t);
    return pleat_from(ctx, pleat_dtype_of(t), pleat_rank(t), pleat_shape(t), data);
}

/* PyTorch writes parameters that are equal once, and the others as Identity of it. Training would make them different, so each is an
 * initializer of its own, as far as memory goes. */
static bool copy_initializer(pln_onnx_model *m, const pln_onnx_slot *from, pln_onnx_slot *to) {
    size_t bytes = pleat_numel(from->v.t) * sizeof(double);
    if (!from->initializer || !pln_onnx_is_float(from->v.type) || !pln_onnx_may_take(m, bytes)) return false;
    pleat_tensor *t = copy_to(m->ctx, from->v.t);
    if (pleat_is_poison(t)) return false;
    to->v = (pln_onnx_value){pleat_hold(t), from->v.type};
    to->from = PLN_ONNX_CONSTANT;
    return to->initializer = true;
}

/* The results of Identity are read from its input. */
static bool take_identities_away(pln_onnx_model *m) {
    size_t *alias = pln_onnx_take(m, m->slots + 1, sizeof *alias), left = 0;
    if (!alias) return false;
    for (size_t i = 0; i < m->slots; i++) alias[i] = i;
    for (size_t i = 0; i < m->nodes; i++) {
        pln_onnx_node *n = &m->node[i];
        for (size_t k = 0; k < n->ins; k++)
            if (n->in[k] != PLN_ONNX_NONE) n->in[k] = alias[n->in[k]];
        if (n->row->rule)
            m->node[left++] = *n;
        else if (!copy_initializer(m, &m->slot[n->in[0]], &m->slot[n->out[0]]))
            alias[n->out[0]] = n->in[0];
    }
    m->nodes = left;
    for (size_t i = 0; i < m->outputs; i++) m->output[i].slot = alias[m->output[i].slot];
    return true;
}

/* ---- weights --------------------------------------------------------------------------------------------- */

/* Initializers that are read as weights, also by way of nodes that only move their elements. */
static void find_weights(pln_onnx_model *m) {
    for (size_t i = m->nodes; i-- > 0;) {
        const pln_onnx_node *n = &m->node[i];
        bool passes = n->row->passes && n->out[0] != PLN_ONNX_NONE && m->slot[n->out[0]].weight;
        for (size_t k = 0; k < n->ins; k++)
            if (n->in[k] != PLN_ONNX_NONE && ((k < 32 && n->row->weights >> k & 1) || (passes && k == 0)))
                m->slot[n->in[k]].weight = true;
    }
    for (size_t i = 0; i < m->slots; i++)
        if (m->slot[i].initializer && pln_onnx_is_float(m->slot[i].v.type)) m->slot[i].from = PLN_ONNX_STATE;
}

/* ---- constants --------------------------------------------------------------------------------------------- */

/* Constants are computed in a context of their own, whose memory is bounded: a file of a hundred bytes may ask for a tensor of any
 * size. A node that needs more is left for the forward pass. */
typedef struct bound {
    size_t left;
} bound;

typedef struct block {
    size_t bytes;
    max_align_t data[];
} block;

static void *bound_alloc(void *user, size_t bytes) {
    bound *b = user;
    if (bytes > b->left) return NULL;
    block *p = malloc(sizeof *p + bytes);
    if (!p) return NULL;
    b->left -= p->bytes = bytes;
    return p->data;
}

static void bound_free(void *user, void *data) {
    bound *b = user;
    block *p = (block *)(void *)((char *)data - offsetof(block, data));
    b->left += p->bytes;
    free(p);
}

static bool is_constant(const pln_onnx_model *m, const pln_onnx_node *n) {
    for (size_t i = 0; i < n->ins; i++)
        if (n->in[i] != PLN_ONNX_NONE && m->slot[n->in[i]].from != PLN_ONNX_CONSTANT) return false;
    return true;
}

/* The results of a node become constants; false if there is no memory for them. */
static bool keep_results(pln_onnx_model *m, const pln_onnx_node *n) {
    for (size_t i = 0; i < n->outs; i++)
        if (n->out[i] != PLN_ONNX_NONE && !pln_onnx_may_take(m, pleat_numel(m->out[i].t) * sizeof(double)))
            return false;
    for (size_t i = 0; i < n->outs; i++)
        if (n->out[i] != PLN_ONNX_NONE) {
            pln_onnx_slot *s = &m->slot[n->out[i]];
            s->v =
                (pln_onnx_value){pleat_hold(copy_to(m->ctx, pleat_contiguous(m->out[i].t))), m->out[i].type};
            s->from = PLN_ONNX_CONSTANT;
            if (pleat_is_poison(s->v.t)) return false;
        }
    return true;
}

/* Compute a node in ctx; true if it is a constant from now on. */
static bool fold_node(pln_onnx_model *m, pleat_ctx *ctx, const pln_onnx_node *n) {
    pln_onnx_run run = {.ctx = ctx, .op = "onnx_load", .path = m->path};
    pleat_scope scope = pleat_begin(ctx);
    memset(m->in, 0, m->most_in * sizeof *m->in);
    for (size_t i = 0; i < n->ins; i++)
        if (n->in[i] != PLN_ONNX_NONE) {
            m->in[i] = m->slot[n->in[i]].v;
            m->in[i].t = copy_to(ctx, m->in[i].t);
        }
    bool good = pln_onnx_apply(&run, n, m->in, m->out) && keep_results(m, n);
    pleat_end(scope);
    return good;
}

static bool fold(pln_onnx_model *m) {
    bound b = {m->room};
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1, .alloc = bound_alloc, .free = bound_free, .user = &b);
    if (!ctx) return pln_onnx_wrong(m, PLEAT_ERR_MEMORY, "no memory to compute its constants");
    pleat_clear_error(ctx); /* a wrong word in the environment is m->ctx's error */
    pleat_set_recording(ctx, false);
    size_t left = 0;
    pleat_error_info wrong = {.code = PLEAT_OK};
    for (size_t i = 0; i < m->nodes && !wrong.code; i++) {
        pln_onnx_node *n = &m->node[i];
        bool folded = is_constant(m, n) && fold_node(m, ctx, n);
        if (pleat_error(ctx)->code && pleat_error(ctx)->code != PLEAT_ERR_MEMORY) wrong = *pleat_error(ctx);
        pleat_clear_error(ctx);
        if (folded) pln_onnx_drop_attributes(n);
        pln_onnx_node kept = *n;
        n->attrs = 0; /* they have one owner, also after an error */
        if (!folded) m->node[left++] = kept;
    }
    pleat_ctx_free(ctx);
    if (wrong.code) {
        /* a rule's own error has the path */
        if (strcmp(wrong.op, "onnx_load")) return pln_onnx_wrong(m, wrong.code, "%s", wrong.text);
        pleat_fail(m->ctx, wrong.code, "onnx_load", "%s", wrong.text + strlen("onnx_load: "));
        return false;
    }
    m->nodes = left;
    return pleat_error(m->ctx)->code == PLEAT_OK;
}

static void find_last_reads(pln_onnx_model *m) {
    for (size_t i = 0; i < m->nodes; i++)
        for (size_t k = 0; k < m->node[i].ins; k++)
            if (m->node[i].in[k] != PLN_ONNX_NONE) m->slot[m->node[i].in[k]].last = i + 1;
    for (size_t i = 0; i < m->outputs; i++) m->slot[m->output[i].slot].last = SIZE_MAX;
}

bool pln_onnx_simplify(pln_onnx_model *m) {
    if (!take_identities_away(m)) return false;
    find_weights(m);
    if (!fold(m)) return false;
    find_last_reads(m);
    return true;
}

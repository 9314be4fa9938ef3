/* A network as an ONNX file: the calls of a prepared forward pass, one after another. */
#include "onnx/save.h"

#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "files/tensors.h"
#include "onnx/onnx.h"

enum { OPSET = 17, IR_VERSION = 8 };

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

/* Report what the onnx function of an op does wrong; false. */
static bool misused(pleat_onnx *s, const char *rule) {
    char text[300];
    pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, "onnx_save", "%s: %s: the op's onnx function %s", s->file,
               pln_call_text(s->p, s->call, s->root, text, sizeof text), rule);
    return false;
}

static bool is_open(pleat_onnx *s) {
    return s->node.n || s->node.failed ||
           misused(s, "must begin a node before it gives inputs and attributes");
}

void pleat_onnx_begin(pleat_onnx *s, const char *op) {
    if (!op || !*op || s->node.n)
        misused(s, s->node.n ? "must end a node before it begins another" : "must name an operator");
    else
        pln_wire_text(&s->node, 4, op);
}

void pln_onnx_input_at(pleat_onnx *s, pln_onnx_name name) {
    if (is_open(s)) pln_wire_text(&s->node, 1, name.s);
}

void pleat_onnx_input_none(pleat_onnx *s) { pln_onnx_input_at(s, (pln_onnx_name){""}); }

void pleat_onnx_input_value(pleat_onnx *s, size_t value) {
    pln_onnx_name name;
    snprintf(name.s, sizeof name.s, "value_%zu", value);
    if (value < s->values)
        pln_onnx_input_at(s, name);
    else
        misused(s, "must give values that pleat_onnx_end has returned");
}

static pln_onnx_name new_name(pleat_onnx *s) {
    pln_onnx_name name;
    snprintf(name.s, sizeof name.s, "value_%zu", s->values++);
    return name;
}

static pln_wire tensor_of(int type, size_t rank, const size_t *shape, const void *data) {
    pln_wire t = {0};
    size_t n = 1;
    for (size_t k = 0; k < rank; k++) {
        pln_wire_number(&t, 1, (int64_t)shape[k]);
        n *= shape[k];
    }
    pln_wire_number(&t, 2, type);
    pln_wire_elements(&t, 9, n, type == PLN_ONNX_FLOAT ? 4 : 8, data);
    return t;
}

static void put_attr(pln_wire *node, const char *name, int type, pln_wire *a) {
    pln_wire_text(a, 1, name);
    pln_wire_number(a, 20, type);
    pln_wire_message(node, 5, a);
}

static void put_own(pleat_onnx *s, const char *name, int type, pln_wire *a) {
    if (is_open(s)) put_attr(&s->node, name, type, a);
    pln_wire_free(a);
}

/* A Constant. An initializer would be a parameter to those who read the file. */
static pln_onnx_name constant(pleat_onnx *s, int type, size_t rank, const size_t *shape, const void *data) {
    pln_onnx_name name = new_name(s);
    pln_wire node = {0}, a = {0}, t = tensor_of(type, rank, shape, data);
    pln_wire_message(&a, 5, &t);
    put_attr(&node, "value", 4, &a);
    pln_wire_text(&node, 2, name.s);
    pln_wire_text(&node, 4, "Constant");
    pln_wire_message(&s->graph, 1, &node);
    return name;
}

/* The value `name` in another shape. */
static pln_onnx_name as_shape(pleat_onnx *s, pln_onnx_name name, size_t rank, const int64_t *shape) {
    pln_onnx_name sizes = constant(s, PLN_ONNX_INT64, 1, &rank, shape), y = new_name(s);
    pln_wire node = {0};
    pln_wire_text(&node, 1, name.s), pln_wire_text(&node, 1, sizes.s);
    pln_wire_text(&node, 2, y.s);
    pln_wire_text(&node, 4, "Reshape");
    pln_wire_message(&s->graph, 1, &node);
    return y;
}

static int type_of(const pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? PLN_ONNX_FLOAT : PLN_ONNX_DOUBLE;
}

static const void *data_of(const pleat_tensor *t) {
    return type_of(t) == PLN_ONNX_FLOAT ? (const void *)pleat_const_f32(t) : pleat_const_f64(t);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* A tensor that has a name: computed, or of the state. */
struct pln_onnx_known {
    const pleat_tensor *t;
    pln_onnx_name name;
    struct pln_onnx_known *next;
};

static void remember(pleat_onnx *s, const pleat_tensor *t, pln_onnx_name name) {
    struct pln_onnx_known *k = malloc(sizeof *k);
    if (!k) {
        s->graph.failed = true;
        return;
    }
    *k = (struct pln_onnx_known){t, name, s->known};
    s->known = k;
}

static const pln_onnx_name *name_of(const pleat_onnx *s, const pleat_tensor *t) {
    for (const struct pln_onnx_known *k = s->known; k; k = k->next)
        if (k->t == t) return &k->name;
    return NULL;
}

/* Which of the state has these elements; the number of all if none. */
static size_t find_state(const pleat_onnx *s, const pleat_tensor *t) {
    pleat_tensor *original = pleat_prepared_original(s->p, t);
    size_t i = 0, n = pleat_nn_state_count(s->root);
    if (!original || !pleat_is_contiguous(original)) return n;
    for (; i < n; i++) {
        const pleat_tensor *of = pleat_nn_state(s->root, i);
        if (pleat_numel(of) == pleat_numel(original) && type_of(of) == type_of(original) &&
            data_of(of) == data_of(original))
            break;
    }
    return i;
}

/* The i-th of the state as an initializer, once; with sizes of 1 behind its own, up to this rank. */
static pln_onnx_name initializer(pleat_onnx *s, size_t i, size_t rank) {
    const pleat_tensor *t = pleat_nn_state(s->root, i);
    if (name_of(s, t)) return *name_of(s, t);
    pln_onnx_name name;
    size_t shape[PLEAT_MAX_RANK];
    for (size_t k = 0; k < PLEAT_MAX_RANK; k++) shape[k] = k < pleat_rank(t) ? pleat_size(t, k) : 1;
    pln_wire tensor = tensor_of(type_of(t), rank > pleat_rank(t) ? rank : pleat_rank(t), shape, data_of(t));
    pln_wire_text(&tensor, 8, pleat_nn_state_name(s->root, i, name.s, sizeof name.s));
    pln_wire_message(&s->graph, 5, &tensor);
    remember(s, t, name);
    return name;
}

/* The elements of any view. */
static pln_onnx_name elements(pleat_onnx *s, const pleat_tensor *t) {
    pleat_tensor *copy = pleat_zeros(s->ctx, pleat_dtype_of(t), pleat_rank(t), pleat_shape(t));
    size_t index[PLEAT_MAX_RANK] = {0};
    if (pleat_is_poison(copy)) return (pln_onnx_name){""};
    void *to = pleat_write_now(copy, "onnx_save");
    for (size_t i = 0; i < pleat_numel(t); i++) {
        double v = pleat_at(t, index);
        if (type_of(t) == PLN_ONNX_FLOAT)
            ((float *)to)[i] = (float)v;
        else
            ((double *)to)[i] = v;
        for (size_t k = pleat_rank(t); k-- > 0 && ++index[k] == pleat_size(t, k);) index[k] = 0;
    }
    return constant(s, type_of(t), pleat_rank(t), pleat_shape(t), data_of(copy));
}

/* Of the state, perhaps in another shape, or a constant that is computed already. */
static pln_onnx_name constant_of(pleat_onnx *s, const pleat_tensor *t, size_t rank) {
    size_t i = find_state(s, t);
    if (i < pleat_nn_state_count(s->root)) {
        pln_onnx_name name = initializer(s, i, rank);
        const pleat_tensor *of = pleat_nn_state(s->root, i);
        bool same = pleat_rank(of) == pleat_rank(t) &&
                    !memcmp(pleat_shape(of), pleat_shape(t), pleat_rank(t) * sizeof(size_t));
        int64_t shape[PLEAT_MAX_RANK];
        for (size_t k = 0; k < pleat_rank(t); k++) shape[k] = (int64_t)pleat_size(t, k);
        return same || rank ? name : as_shape(s, name, pleat_rank(t), shape);
    }
    return elements(s, t);
}

void pln_onnx_input_of(pleat_onnx *s, const pleat_tensor *t, size_t rank) {
    const pln_onnx_name *known = name_of(s, t);
    pln_onnx_input_at(s, known ? *known : constant_of(s, t, rank));
}

void pleat_onnx_input(pleat_onnx *s, size_t i) {
    if (i < s->call->n)
        pln_onnx_input_of(s, s->call->in[i], 0);
    else
        misused(s, "must give inputs that the call has");
}

void pln_onnx_input_as(pleat_onnx *s, size_t i, size_t rank) { pln_onnx_input_of(s, s->call->in[i], rank); }

pln_onnx_name pln_onnx_source(pleat_onnx *s, size_t i) {
    const pln_onnx_name *known = name_of(s, s->call->in[i]);
    return known ? *known : constant_of(s, s->call->in[i], 0);
}

void pleat_onnx_input_ints(pleat_onnx *s, size_t n, const int64_t *v) {
    pln_onnx_input_at(s, constant(s, PLN_ONNX_INT64, 1, &n, v));
}

void pln_onnx_input_indices(pleat_onnx *s, size_t n, const size_t *v) {
    int64_t *all = malloc(n ? n * sizeof *all : 1);
    for (size_t i = 0; all && i < n; i++) all[i] = (int64_t)v[i];
    if (all)
        pleat_onnx_input_ints(s, n, all);
    else
        s->graph.failed = true;
    free(all);
}

static void put_tensor(pleat_onnx *s, const pleat_tensor *t) {
    if (!pleat_is_poison(t))
        pln_onnx_input_at(s, constant(s, type_of(t), pleat_rank(t), pleat_shape(t), data_of(t)));
}

static pleat_dtype dtype_of(const pleat_onnx *s) { return pleat_dtype_of(pleat_prepared_x(s->p)); }

void pln_onnx_input_floats(pleat_onnx *s, size_t n, const double *v) {
    put_tensor(s, pleat_from_f64(s->ctx, PLEAT_F32, 1, &n, v));
}

void pleat_onnx_input_real(pleat_onnx *s, double v) {
    put_tensor(s, pleat_full(s->ctx, dtype_of(s), PLEAT_SCALAR, v));
}

void pln_onnx_input_filled(pleat_onnx *s, size_t n, double v) {
    put_tensor(s, pleat_full(s->ctx, dtype_of(s), 1, &n, v));
}

void pleat_onnx_put_int(pleat_onnx *s, const char *name, int64_t v) {
    pln_wire a = {0};
    pln_wire_number(&a, 3, v);
    put_own(s, name, 2, &a);
}

void pleat_onnx_put_real(pleat_onnx *s, const char *name, double v) {
    pln_wire a = {0};
    pln_wire_real(&a, 2, (float)v);
    put_own(s, name, 1, &a);
}

void pleat_onnx_put_text(pleat_onnx *s, const char *name, const char *v) {
    pln_wire a = {0};
    pln_wire_text(&a, 4, v);
    put_own(s, name, 3, &a);
}

void pleat_onnx_put_ints(pleat_onnx *s, const char *name, size_t n, const int64_t *v) {
    pln_wire a = {0};
    for (size_t i = 0; i < n; i++) pln_wire_number(&a, 8, v[i]);
    put_own(s, name, 7, &a);
}

static void end_as(pleat_onnx *s, pln_onnx_name name) {
    pln_wire_text(&s->node, 2, name.s);
    pln_wire_text(&s->node, 3, name.s);
    pln_wire_message(&s->graph, 1, &s->node);
    s->at = name;
}

size_t pleat_onnx_end(pleat_onnx *s) {
    if (is_open(s)) end_as(s, new_name(s));
    return s->values - 1;
}

/* ---- the network ------------------------------------------------------------------------------------------------ */

bool pleat_onnx_refuse(pleat_onnx *s, const char *why) {
    char text[300];
    pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, "onnx_save", "%s: %s: %s has no form in ONNX here", s->file,
               pln_call_text(s->p, s->call, s->root, text, sizeof text), why);
    return false;
}

/* A view of relu that belongs to the convolution before it is that convolution's result. */
static bool is_same(const pleat_call *c) {
    bool relu = !strcmp(c->op->name, "relu") || !strcmp(c->op->name, "relu6");
    return relu && !c->op->forward && pleat_op_is_known(c->op);
}

static bool save_known(pleat_onnx *s) {
    s->row = pln_onnx_form_of(s->call->op->name);
    return s->row ? s->row->save(s) : pleat_onnx_refuse(s, "the op");
}

/* An op of the user's. */
static bool save_own(pleat_onnx *s) {
    s->at = (pln_onnx_name){""};
    if (!s->call->op->onnx) return pleat_onnx_refuse(s, "an op without an onnx function");
    if (!s->call->op->onnx(s->call, s) && !pleat_error(s->ctx)->code)
        return pleat_onnx_refuse(s, "the op, as its onnx function says,");
    if (!s->at.s[0] || s->node.n) misused(s, "must end each node, and one at least");
    return !pleat_error(s->ctx)->code;
}

static bool save_call(pleat_onnx *s) {
    if (is_same(s->call)) {
        remember(s, s->call->out, pln_onnx_source(s, 0));
        return true;
    }
    if (!(pleat_op_is_known(s->call->op) ? save_known(s) : save_own(s))) return false;
    remember(s, s->call->out, s->at);
    return true;
}

static bool save_calls(pleat_onnx *s) {
    for (size_t i = 0; (s->call = pleat_prepared_call(s->p, i)) != NULL; i++)
        if (!pleat_prepared_is_constant(s->p, s->call->out) && !save_call(s)) return false;
    return true;
}

static void put_port(pleat_onnx *s, unsigned field, const char *name, const pleat_tensor *t) {
    pln_wire port = {0}, type = {0}, tensor = {0}, shape = {0};
    for (size_t k = 0; k < pleat_rank(t); k++) {
        pln_wire dim = {0};
        if (k == 0)
            pln_wire_text(&dim, 2, "N");
        else
            pln_wire_number(&dim, 1, (int64_t)pleat_size(t, k));
        pln_wire_message(&shape, 1, &dim);
    }
    pln_wire_number(&tensor, 1, type_of(t));
    pln_wire_message(&tensor, 2, &shape);
    pln_wire_message(&type, 1, &tensor);
    pln_wire_text(&port, 1, name);
    pln_wire_message(&port, 2, &type);
    pln_wire_message(&s->graph, field, &port);
}

static bool make_graph(pleat_onnx *s) {
    const pleat_tensor *x = pleat_prepared_x(s->p), *y = pleat_prepared_result(s->p);
    pln_wire_text(&s->graph, 2, "pleat");
    put_port(s, 11, "x", x);
    remember(s, x, (pln_onnx_name){"x"});
    if (!save_calls(s)) return false;
    put_port(s, 12, "y", y);
    pleat_onnx_begin(s, "Identity");
    pln_onnx_input_of(s, y, 0);
    end_as(s, (pln_onnx_name){"y"});
    return true;
}

static pleat_status write_model(pleat_onnx *s) {
    pln_wire model = {0}, opset = {0};
    pleat_nn_file file;
    pln_wire_number(&model, 1, IR_VERSION);
    pln_wire_text(&model, 2, "pleat");
    pln_wire_message(&model, 7, &s->graph);
    pln_wire_number(&opset, 2, OPSET);
    pln_wire_message(&model, 8, &opset);
    pleat_status status = PLEAT_OK;
    if (model.failed)
        status = pleat_fail(s->ctx, PLEAT_ERR_MEMORY, "onnx_save", "%s: no memory for the model", s->file);
    else if (!(status = pleat_nn_file_create(s->ctx, s->file, &file)))
        status = fwrite(model.at, 1, model.n, file.f) == model.n
                     ? pleat_nn_file_commit(s->ctx, &file)
                     : pln_write_failed(s->ctx, "onnx_save", &file);
    pln_wire_free(&model);
    return status;
}

static void free_saving(pleat_onnx *s) {
    for (struct pln_onnx_known *k = s->known, *next; k; k = next) next = k->next, free(k);
    pln_wire_free(&s->graph), pln_wire_free(&s->node);
    pleat_prepared_free(s->p);
}

pleat_status pleat_nn_onnx_save(const char *path, pleat_nn_module *net, size_t rank, const size_t *shape) {
    if (!net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, "onnx_save", "the network is NULL");
    if (!path || !rank || !shape)
        return pleat_fail(net->ctx, PLEAT_ERR_ARGUMENT, "onnx_save",
                          "path and shape must be given, of rank 1 or more");
    if (pleat_error(net->ctx)->code) return pleat_error(net->ctx)->code;
    pleat_onnx s = {.ctx = net->ctx, .file = path, .root = net, .p = pleat_nn_prepare(net, rank, shape)};
    if (!s.p) return pleat_error(net->ctx)->code;
    pleat_scope scope = pleat_begin(s.ctx);
    bool good = make_graph(&s) && !pleat_error(s.ctx)->code;
    pleat_status status = good ? write_model(&s) : pleat_error(s.ctx)->code;
    free_saving(&s);
    pleat_end(scope);
    return status;
}

/* A network of layers, one after another, as an ONNX file. */
#include "onnx/save.h"

#include <string.h>

#include "files/file.h"
#include "files/tensors.h"
#include "onnx/onnx.h"

enum { OPSET = 17, IR_VERSION = 8 };

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

void pln_onnx_begin(pln_onnx_saving *s, const char *op) { pln_wire_text(&s->node, 4, op); }

void pln_onnx_input_at(pln_onnx_saving *s, pln_onnx_name name) { pln_wire_text(&s->node, 1, name.s); }

static pln_onnx_name new_name(pln_onnx_saving *s) {
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

/* A Constant, and the node's input of its name. An initializer would be a parameter to those who read the file. */
static void constant(pln_onnx_saving *s, int type, size_t rank, const size_t *shape, const void *data) {
    pln_onnx_name name = new_name(s);
    pln_wire node = {0}, a = {0}, t = tensor_of(type, rank, shape, data);
    pln_wire_message(&a, 5, &t);
    put_attr(&node, "value", 4, &a);
    pln_wire_text(&node, 2, name.s);
    pln_wire_text(&node, 4, "Constant");
    pln_wire_message(&s->graph, 1, &node);
    pln_wire_text(&s->node, 1, name.s);
}

static int type_of(const pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? PLN_ONNX_FLOAT : PLN_ONNX_DOUBLE;
}

bool pln_onnx_input_state(pln_onnx_saving *s, const char *name, size_t rank) {
    char path[PLN_LONGEST_NAME + 1], full[PLN_LONGEST_NAME + PLN_NAME_BYTES + 2];
    size_t shape[PLEAT_MAX_RANK];
    for (size_t i = 0; i < s->m->count; i++) {
        const pln_entry *e = &s->m->entries[i];
        const pleat_tensor *t = e->param ? e->param : e->buffer;
        if (!t || strcmp(e->name, name)) continue;
        const char *where = pln_path(s->m, s->root, path, sizeof path);
        snprintf(full, sizeof full, "%s%s%s", where, *where ? "." : "", name);
        for (size_t k = 0; k < PLEAT_MAX_RANK; k++) shape[k] = k < pleat_rank(t) ? pleat_size(t, k) : 1;
        const void *data =
            type_of(t) == PLN_ONNX_FLOAT ? (const void *)pleat_const_f32(t) : pleat_const_f64(t);
        pln_wire tensor = tensor_of(type_of(t), rank ? rank : pleat_rank(t), shape, data);
        pln_wire_text(&tensor, 8, full);
        pln_wire_message(&s->graph, 5, &tensor);
        pln_wire_text(&s->node, 1, full);
        return true;
    }
    return false;
}

void pln_onnx_input_whole(pln_onnx_saving *s, size_t n, const int64_t *v) {
    constant(s, PLN_ONNX_INT64, 1, &n, v);
}

void pln_onnx_input_floats(pln_onnx_saving *s, size_t n, const float *v) {
    constant(s, PLN_ONNX_FLOAT, 1, &n, v);
}

static void filled(pln_onnx_saving *s, size_t rank, const size_t *shape, double v) {
    pleat_tensor *t = pleat_full(s->ctx, pleat_dtype_of(s->x), rank, shape, v);
    if (pleat_is_poison(t)) return;
    const void *data = type_of(t) == PLN_ONNX_FLOAT ? (const void *)pleat_const_f32(t) : pleat_const_f64(t);
    constant(s, type_of(t), rank, shape, data);
}

void pln_onnx_input_real(pln_onnx_saving *s, double v) { filled(s, 0, NULL, v); }
void pln_onnx_input_filled(pln_onnx_saving *s, size_t n, double v) { filled(s, 1, &n, v); }

void pln_onnx_put_int(pln_onnx_saving *s, const char *name, int64_t v) {
    pln_wire a = {0};
    pln_wire_number(&a, 3, v);
    put_attr(&s->node, name, 2, &a);
}

void pln_onnx_put_real(pln_onnx_saving *s, const char *name, double v) {
    pln_wire a = {0};
    pln_wire_real(&a, 2, (float)v);
    put_attr(&s->node, name, 1, &a);
}

void pln_onnx_put_text(pln_onnx_saving *s, const char *name, const char *v) {
    pln_wire a = {0};
    pln_wire_text(&a, 4, v);
    put_attr(&s->node, name, 3, &a);
}

void pln_onnx_put_ints(pln_onnx_saving *s, const char *name, size_t n, const int64_t *v) {
    pln_wire a = {0};
    for (size_t i = 0; i < n; i++) pln_wire_number(&a, 8, v[i]);
    put_attr(&s->node, name, 7, &a);
}

static void end_as(pln_onnx_saving *s, pln_onnx_name name) {
    pln_wire_text(&s->node, 2, name.s);
    pln_wire_text(&s->node, 3, name.s);
    pln_wire_message(&s->graph, 1, &s->node);
    s->at = name;
}

void pln_onnx_end(pln_onnx_saving *s) { end_as(s, new_name(s)); }

/* ---- the network ------------------------------------------------------------------------------------------------ */

/* A layer, or the children of a Sequential; s->x becomes the result for the sizes that are given. */
static bool save_module(pln_onnx_saving *s, pleat_nn_module *m) {
    if (m->kind == pln_containers[0]) {
        for (size_t i = 0; i < m->count; i++)
            if (!save_module(s, m->entries[i].child)) return false;
        return true;
    }
    s->m = m;
    s->y = pleat_nn_forward(m, (pleat_tensor *)s->x);
    if (pleat_is_poison(s->y) || !pln_onnx_save_layer(s)) return false;
    s->x = s->y;
    return true;
}

static void put_port(pln_onnx_saving *s, unsigned field, const char *name, const pleat_tensor *t) {
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

static bool make_graph(pln_onnx_saving *s, pleat_nn_module *net, size_t rank, const size_t *shape) {
    const pleat_tensor *first = pleat_nn_param(net, 0);
    s->x = pleat_zeros(s->ctx, first ? pleat_dtype_of(first) : PLEAT_F32, rank, shape);
    if (pleat_is_poison(s->x)) return false;
    s->at = (pln_onnx_name){"x"};
    pln_wire_text(&s->graph, 2, "pleat");
    put_port(s, 11, "x", s->x);
    if (!save_module(s, net)) return false;
    put_port(s, 12, "y", s->x);
    pln_onnx_begin(s, "Identity");
    pln_onnx_input_at(s, s->at);
    end_as(s, (pln_onnx_name){"y"});
    return true;
}

static pleat_status write_model(pln_onnx_saving *s) {
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

pleat_status pleat_nn_onnx_save(const char *path, pleat_nn_module *net, size_t rank, const size_t *shape) {
    if (!net) return pleat_fail(NULL, PLEAT_ERR_ARGUMENT, "onnx_save", "the network is NULL");
    if (!path || !rank || !shape)
        return pleat_fail(net->ctx, PLEAT_ERR_ARGUMENT, "onnx_save",
                          "path and shape must be given, of rank 1 or more");
    if (pleat_error(net->ctx)->code) return pleat_error(net->ctx)->code;
    pln_onnx_saving s = {.ctx = net->ctx, .file = path, .root = net};
    if (!pln_is_evaluating(net, "onnx_save")) return PLEAT_ERR_ARGUMENT;
    bool recording = pleat_set_recording(s.ctx, false);
    pleat_scope scope = pleat_begin(s.ctx);
    bool good = make_graph(&s, net, rank, shape) && !pleat_error(s.ctx)->code;
    pleat_status status = good ? write_model(&s) : pleat_error(s.ctx)->code;
    pln_wire_free(&s.graph), pln_wire_free(&s.node);
    pleat_end(scope);
    pleat_set_recording(s.ctx, recording);
    return status;
}

/* A model as a module: loading, the forward pass, and runs with several inputs and outputs. */
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"

static pln_onnx_model *model_of(const pleat_nn_module *m) {
    return *(pln_onnx_model *const *)pleat_nn_attrs(m);
}

static pleat_tensor *onnx_forward(pleat_nn_module *m, pleat_tensor *x) {
    pln_onnx_model *model = model_of(m);
    pleat_tensor *y;
    if (model->inputs == 1 && model->outputs == 1) return pln_onnx_execute(model, m, &x, &y), y;
    pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, m->kind->name,
               "the model has %zu inputs and %zu outputs; pleat_nn_onnx_run takes them", model->inputs,
               model->outputs);
    return pleat_poison(m->ctx);
}

static void release_model(const pleat_nn_module *m) { pln_onnx_free(model_of(m)); }

static const pleat_nn_kind onnx_kind = {.name = "Onnx", .forward = onnx_forward};

static pln_onnx_model *load(pleat_ctx *ctx, const char *path) {
    pln_onnx_model *m = calloc(1, sizeof *m);
    if (!m) return pleat_fail(ctx, PLEAT_ERR_MEMORY, "onnx_load", "no memory for the model"), NULL;
    *m = (pln_onnx_model){.ctx = ctx, .path = path};
    if (pln_onnx_read_file(m) && pln_onnx_simplify(m)) return m;
    pln_onnx_free(m);
    return NULL;
}

pleat_nn_module *pleat_nn_onnx_load(pleat_ctx *ctx, const char *path) {
    if (!ctx) return NULL;
    if (pleat_error(ctx)->code) return NULL;
    bool recording = pleat_set_recording(ctx, false);
    pleat_scope scope = pleat_begin(ctx);
    pln_onnx_model *model = load(ctx, path);
    pleat_nn_module *m = model ? pleat_nn_module_new(ctx, &onnx_kind, &model, sizeof model) : NULL;
    if (model && !m) pln_onnx_free(model);
    if (m) m->release = release_model;
    if (m) m = pln_onnx_add_state(model, m);
    if (m) model->path = NULL; /* the caller's */
    pleat_end(scope);
    pleat_set_recording(ctx, recording);
    pleat_nn_set_training(m, false);
    return m;
}

/* ---- several inputs and outputs ---------------------------------------------------------------------------- */

static pln_onnx_model *checked(const pleat_nn_module *m) {
    if (m && pleat_nn_kind_of(m) == &onnx_kind) return model_of(m);
    if (m) pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, "onnx_run", "the module is no model of pleat_nn_onnx_load");
    return NULL;
}

const char *pleat_nn_onnx_input(const pleat_nn_module *m, size_t i) {
    const pln_onnx_model *model = checked(m);
    return model && i < model->inputs ? model->input[i].name : NULL;
}

const char *pleat_nn_onnx_output(const pleat_nn_module *m, size_t i) {
    const pln_onnx_model *model = checked(m);
    return model && i < model->outputs ? model->output[i].name : NULL;
}

pleat_status pleat_nn_onnx_run(pleat_nn_module *m, size_t n, pleat_tensor *const *in, size_t outs,
                               pleat_tensor **out) {
    pln_onnx_model *model = checked(m);
    if (!model) return PLEAT_ERR_ARGUMENT;
    for (size_t i = 0; i < outs; i++) out[i] = pleat_poison(m->ctx);
    if (n != model->inputs || outs != model->outputs)
        return pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, "onnx_run",
                          "%zu inputs and %zu outputs are given; the model has %zu and %zu", n, outs,
                          model->inputs, model->outputs);
    for (size_t i = 0; i < n; i++) {
        if (!in[i] || pleat_ctx_of(in[i]) != m->ctx)
            return pleat_fail(m->ctx, PLEAT_ERR_ARGUMENT, "onnx_run", "input %zu is %s", i,
                              in[i] ? "of another context than the module" : "NULL");
        if (pleat_is_poison(in[i])) return pleat_error(m->ctx)->code;
    }
    bool clean = pleat_error(m->ctx)->code == PLEAT_OK;
    if (pln_onnx_execute(model, m, in, out)) return PLEAT_OK;
    if (clean && strcmp(pleat_error(m->ctx)->op, m->kind->name)) pleat_error_where(m->ctx, m->kind->name);
    return pleat_error(m->ctx)->code;
}

/* save.h: the calls of a forward pass as they become an ONNX graph. */
#ifndef PLN_ONNX_SAVE_H
#define PLN_ONNX_SAVE_H

#include "files/tensors.h"
#include "module.h"
#include "onnx/wire.h"
#include "pleat_op.h"

/* The name of a value of the graph. */
typedef struct pln_onnx_name {
    char s[PLN_LONGEST_NAME + PLN_NAME_BYTES + 2];
} pln_onnx_name;

/* How calls of an op are written. */
typedef struct pln_onnx_form {
    const char *op, *node;
    bool (*save)(pleat_onnx *s); /* false after pleat_onnx_refuse */
} pln_onnx_form;

const pln_onnx_form *pln_onnx_form_of(const char *op); /* NULL: there is none */

struct pleat_onnx {
    pleat_ctx *ctx;
    const char *file;
    const pleat_nn_module *root;
    pleat_prepared *p;
    pln_wire graph, node;
    size_t values;            /* made so far */
    pln_onnx_name at;         /* the value that the latest node made */
    const pleat_call *call;   /* the call that is written, */
    const pln_onnx_form *row; /* and its row */
    struct pln_onnx_known *known;
};

/* Beside the functions of pleat_nn_models.h; what pleat_onnx_end made is s->at. */
void pln_onnx_input_at(pleat_onnx *s, pln_onnx_name name);
/* Input i of the call, or t, with sizes of 1 behind its own, up to this rank, if it is of the state. */
void pln_onnx_input_as(pleat_onnx *s, size_t i, size_t rank);
void pln_onnx_input_of(pleat_onnx *s, const pleat_tensor *t, size_t rank);
pln_onnx_name pln_onnx_source(pleat_onnx *s, size_t i);
/* Constants. */
void pln_onnx_input_indices(pleat_onnx *s, size_t n, const size_t *v);
void pln_onnx_input_floats(pleat_onnx *s, size_t n, const double *v); /* of f32 */
void pln_onnx_input_filled(pleat_onnx *s, size_t n, double v);

#endif

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

typedef struct pln_onnx_saving pln_onnx_saving;

/* How calls of an op are written. */
typedef struct pln_onnx_form {
    const char *op, *node;
    bool (*save)(pln_onnx_saving *s); /* false after pln_onnx_cannot */
} pln_onnx_form;

const pln_onnx_form *pln_onnx_form_of(const char *op); /* NULL: there is none */

struct pln_onnx_saving {
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

/* Report that the call cannot be written, with `why`; false. */
bool pln_onnx_cannot(pln_onnx_saving *s, const char *why);

/* A node: begin, its inputs, its attributes, end; the result is then s->at. */
void pln_onnx_begin(pln_onnx_saving *s, const char *op);
void pln_onnx_input_at(pln_onnx_saving *s, pln_onnx_name name);
/* Input i of the call; and with sizes of 1 behind its own, up to this rank, if it is of the state. */
void pln_onnx_input(pln_onnx_saving *s, size_t i);
void pln_onnx_input_as(pln_onnx_saving *s, size_t i, size_t rank);
void pln_onnx_input_of(pln_onnx_saving *s, const pleat_tensor *t, size_t rank);
pln_onnx_name pln_onnx_source(pln_onnx_saving *s, size_t i);
/* Constants. */
void pln_onnx_input_whole(pln_onnx_saving *s, size_t n, const int64_t *v);
void pln_onnx_input_indices(pln_onnx_saving *s, size_t n, const size_t *v);
void pln_onnx_input_floats(pln_onnx_saving *s, size_t n, const double *v); /* of f32 */
void pln_onnx_input_real(pln_onnx_saving *s, double v);
void pln_onnx_input_filled(pln_onnx_saving *s, size_t n, double v);
void pln_onnx_put_int(pln_onnx_saving *s, const char *name, int64_t v);
void pln_onnx_put_real(pln_onnx_saving *s, const char *name, double v);
void pln_onnx_put_text(pln_onnx_saving *s, const char *name, const char *v);
void pln_onnx_put_ints(pln_onnx_saving *s, const char *name, size_t n, const int64_t *v);
void pln_onnx_end(pln_onnx_saving *s);

#endif

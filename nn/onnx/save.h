/* save.h: a network as it becomes an ONNX graph, one layer after another. */
#ifndef PLN_ONNX_SAVE_H
#define PLN_ONNX_SAVE_H

#include "module.h"
#include "onnx/wire.h"

/* The name of a value of the graph. */
typedef struct pln_onnx_name {
    char s[24];
} pln_onnx_name;

typedef struct pln_onnx_saving {
    pleat_ctx *ctx;
    const char *file;
    const pleat_nn_module *root;
    pln_wire graph, node;
    size_t values;             /* made so far */
    pln_onnx_name at;          /* the value that the next layer reads */
    const pleat_nn_module *m;  /* the layer, */
    const pleat_tensor *x, *y; /* and its input and output for the sizes that are given */
} pln_onnx_saving;

/* A node: begin, its inputs, its attributes, end; the result is then s->at. */
void pln_onnx_begin(pln_onnx_saving *s, const char *op);
void pln_onnx_input_at(pln_onnx_saving *s, pln_onnx_name name);
/* The layer's entry of that name as an initializer; rank > 0: with sizes of 1 behind its own, up to this rank. False if it has none. */
bool pln_onnx_input_state(pln_onnx_saving *s, const char *name, size_t rank);
/* Constants of the layer. */
void pln_onnx_input_whole(pln_onnx_saving *s, size_t n, const int64_t *v);
void pln_onnx_input_floats(pln_onnx_saving *s, size_t n, const float *v);
void pln_onnx_input_real(pln_onnx_saving *s, double v);
void pln_onnx_input_filled(pln_onnx_saving *s, size_t n, double v);
void pln_onnx_put_int(pln_onnx_saving *s, const char *name, int64_t v);
void pln_onnx_put_real(pln_onnx_saving *s, const char *name, double v);
void pln_onnx_put_text(pln_onnx_saving *s, const char *name, const char *v);
void pln_onnx_put_ints(pln_onnx_saving *s, const char *name, size_t n, const int64_t *v);
void pln_onnx_end(pln_onnx_saving *s);

/* Write the layer s->m; false after an error: there is no operator for it. */
bool pln_onnx_save_layer(pln_onnx_saving *s);

#endif

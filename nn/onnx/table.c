/* The families of operators, and the row of an operator in an opset. */
#include <string.h>

#include "onnx/onnx.h"

static const pln_onnx_row *const families[] = {
    pln_onnx_arithmetic, pln_onnx_casts,     pln_onnx_constants, pln_onnx_convs,   pln_onnx_functions,
    pln_onnx_gathers,    pln_onnx_logic,     pln_onnx_losses,    pln_onnx_moves,   pln_onnx_norms,
    pln_onnx_pads,       pln_onnx_pools,     pln_onnx_products,  pln_onnx_reduces, pln_onnx_resizes,
    pln_onnx_shapes,     pln_onnx_softmaxes,
};

const pln_onnx_row *pln_onnx_find_row(const char *op, int64_t opset, bool *known) {
    *known = false;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (const pln_onnx_row *row = families[i]; row->name; row++) {
            if (strcmp(row->name, op)) continue;
            *known = true;
            if (row->since <= opset && opset <= row->until) return row;
        }
    return NULL;
}

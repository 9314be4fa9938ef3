/* messages.h: the parts of loading that see the messages of onnx.proto. */
#ifndef PLN_ONNX_MESSAGES_H
#define PLN_ONNX_MESSAGES_H

#include "onnx/onnx.h"
#include <onnx.pb-c.h>

/* The messages as structs; false after an error. */
bool pln_onnx_build(pln_onnx_model *m, const PlnOnnx__Model *p);
/* A tensor of the file, held; `what` names it in errors. */
bool pln_onnx_tensor(pln_onnx_model *m, const PlnOnnx__Tensor *p, const char *what, pln_onnx_value *out);
/* The bytes of an external tensor, which the caller frees; NULL after an error. */
unsigned char *pln_onnx_external(pln_onnx_model *m, const PlnOnnx__Tensor *p, const char *what, size_t bytes);

#endif

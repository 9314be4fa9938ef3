/* integers.h: quantised layers on tensors, and files of whole numbers. Here whole numbers are held as f64, which has them up to
 * 2^53. */
#ifndef INTEGERS_H
#define INTEGERS_H

#include "deconv.h"
#include "quantize.h"

/* What a quantised layer makes, all in f64; mantissa and shift are [Cout]. */
typedef struct integer_result {
    pleat_tensor *sum, *output, *mantissa, *shift;
} integer_result;

/* The layer by a method, on arrays in the framework's layouts; bias may be NULL. weight_scale is [1] or [Cout]. Poison tensors
 * and an error in the context on failure. */
integer_result run_integers(const pleat_layer *l, const quantization *q, const method *m, pleat_tensor *input,
                            pleat_tensor *weight, pleat_tensor *bias, pleat_tensor *weight_scale);

/* What the elements of a file are. */
typedef enum element { ELEMENT_I8, ELEMENT_I16, ELEMENT_I32, ELEMENT_I64, ELEMENT_F32 } element;

/* The elements of t, which has f64, as a .npy file; as .hex, a line of two's complement (of an f32: of its bits) for each, which
 * $readmemh reads; as a C array and its shape, "static const int8_t NAME[24] = {...};". False if a write fails. */
bool put_npy(FILE *f, pleat_tensor *t, element e);
bool put_hex(FILE *f, pleat_tensor *t, element e);
bool put_c(FILE *f, const char *name, pleat_tensor *t, element e);

#endif

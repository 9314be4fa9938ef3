/* onnx_file.h: ONNX models written field by field, right ones and wrong ones. */
#ifndef ONNX_FILE_H
#define ONNX_FILE_H

#include <stddef.h>
#include <stdint.h>

/* A message of protobuf. */
typedef struct message {
    size_t n;
    uint8_t at[8192];
} message;

void add_number(message *m, int field, int64_t v);
void add_float(message *m, int field, float v);
void add_bytes(message *m, int field, const void *data, size_t n);
void add_text(message *m, int field, const char *text);
void add_message(message *m, int field, const message *sub);

/* An attribute of a node: a whole number, a float, a text, a list of whole numbers. */
void attr_int(message *node, const char *name, int64_t v);
void attr_float(message *node, const char *name, float v);
void attr_text(message *node, const char *name, const char *text);
void attr_ints(message *node, const char *name, size_t n, const int64_t *v);

/* A node with its inputs and outputs, names between blanks; "-" is one that is not given. */
message node_of(const char *op, const char *in, const char *out);
/* A tensor with raw bytes. */
message tensor_of(const char *name, int type, size_t rank, const int64_t *dims, const void *data,
                  size_t bytes);
/* An input or output of the graph; a size of -1 is "N". */
message value_of(const char *name, int type, size_t rank, const int64_t *dims);
/* The model of a graph (fields 1 node, 5 initializer, 11 input, 12 output). */
message model_of(const message *graph, int64_t opset);

/* x [N,1,4,4] -> y [N,3]: Conv "a.weight", "a.bias", Relu, Flatten, Gemm "b.weight", "b.bias". */
message small_model(void);

#endif

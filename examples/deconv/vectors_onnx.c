/* Golden vectors as ONNX's node tests: a folder for each layer with a model of one node, and its data as TensorProtos. The numbers of
 * fields and types are those of onnx.proto; opset 11 is the first in which SAME_UPPER and SAME_LOWER mean what they say. */
#include <stdlib.h>
#include <string.h>

#include "protobuf.h"
#include "vectors.h"

enum { OPSET = 11, IR_VERSION = 6, FLOAT = 1, DOUBLE = 11, INT = 2, STRING = 3, INTS = 7 };

/* ---- the model ------------------------------------------------------------------------------------------ */

/* Fields are written in the order of their numbers, as protocol buffers' own library does. */
static message attribute_of(const char *name) {
    message m = {0};
    add_text(&m, 1, name);
    return m;
}

static void add_attribute(message *node, message attribute, int type) {
    add_number(&attribute, 20, type);
    add_message(node, 5, &attribute);
}

static void add_sizes(message *node, const char *name, const size_t *sizes, size_t n) {
    message a = attribute_of(name);
    for (size_t i = 0; i < n; i++) add_number(&a, 8, (int64_t)sizes[i]);
    add_attribute(node, a, INTS);
}

static void add_padding(message *node, const pleat_layer *l) {
    static const char *const words[] = {"NOTSET", "VALID", NULL, "SAME_UPPER", "SAME_LOWER"};
    size_t pads[4];
    for (size_t k = 0; k < 4; k++) pads[k] = (size_t)l->pads[k];
    if (l->padding == PLEAT_PADDING_EXPLICIT) {
        add_sizes(node, "pads", pads, 4);
        return;
    }
    message a = attribute_of("auto_pad");
    add_text(&a, 4, words[l->padding]);
    add_attribute(node, a, STRING);
}

static message node_of(const vector_case *c) {
    const pleat_layer *l = &c->layer;
    message node = {0}, group = attribute_of("group");
    add_text(&node, 1, "X"), add_text(&node, 1, "W"), add_text(&node, 1, "B");
    add_text(&node, 2, "Y");
    add_text(&node, 4, l->transpose ? "ConvTranspose" : "Conv");
    add_sizes(&node, "kernel_shape", c->kernel, 2);
    add_sizes(&node, "strides", l->stride, 2);
    add_sizes(&node, "dilations", l->dilation, 2);
    add_padding(&node, l);
    if (l->has_output_padding) add_sizes(&node, "output_padding", l->output_padding, 2);
    if (l->has_output_size) add_sizes(&node, "output_shape", l->output_size, 2);
    add_number(&group, 3, (int64_t)l->groups);
    add_attribute(&node, group, INT);
    return node;
}

/* A ValueInfoProto: name, type and shape of an input or output of the graph. */
static void add_value(message *graph, unsigned field, const char *name, pleat_tensor *t) {
    message value = {0}, type = {0}, tensor = {0}, shape = {0}, size = {0};
    for (size_t k = 0; k < pleat_rank(t); k++) {
        add_number(&size, 1, (int64_t)pleat_size(t, k));
        add_message(&shape, 1, &size);
    }
    add_number(&tensor, 1, pleat_dtype_of(t) == PLEAT_F32 ? FLOAT : DOUBLE);
    add_message(&tensor, 2, &shape);
    add_message(&type, 1, &tensor);
    add_text(&value, 1, name);
    add_message(&value, 2, &type);
    add_message(graph, field, &value);
}

static message model_of(const vector_case *c, const char *name, pleat_tensor *const arrays[4]) {
    static const char *const names[] = {"X", "W", "B", "Y"};
    message model = {0}, graph = {0}, node = node_of(c), opset = {0};
    add_message(&graph, 1, &node);
    add_text(&graph, 2, name);
    for (size_t k = 0; k < 4; k++) add_value(&graph, k < 3 ? 11 : 12, names[k], arrays[k]);
    add_text(&opset, 1, "");
    add_number(&opset, 2, OPSET);
    add_number(&model, 1, IR_VERSION);
    add_text(&model, 2, "deconv");
    add_text(&model, 3, PLEAT_VERSION);
    add_message(&model, 7, &graph);
    add_message(&model, 8, &opset);
    return model;
}

/* ---- the data ------------------------------------------------------------------------------------------- */

/* raw_data is little endian. */
static message tensor_of(const char *name, pleat_tensor *t) {
    message m = {0};
    bool wide = pleat_dtype_of(t) == PLEAT_F64;
    size_t width = wide ? 8 : 4, n = pleat_numel(t);
    const void *elements = wide ? (const void *)pleat_const_f64(t) : pleat_const_f32(t);
    uint8_t *raw = malloc(n * width + 1);
    for (size_t i = 0; raw && i < n; i++) {
        uint64_t bits = 0;
        uint32_t half;
        if (wide) memcpy(&bits, (const double *)elements + i, 8);
        if (!wide) memcpy(&half, (const float *)elements + i, 4), bits = half;
        for (size_t k = 0; k < width; k++) raw[i * width + k] = (uint8_t)(bits >> 8 * k);
    }
    for (size_t k = 0; k < pleat_rank(t); k++) add_number(&m, 1, (int64_t)pleat_size(t, k));
    add_number(&m, 2, wide ? DOUBLE : FLOAT);
    add_text(&m, 8, name);
    if (raw) add_bytes(&m, 9, raw, n * width);
    m.lost = m.lost || !raw;
    free(raw);
    return m;
}

static bool write_to(FILE *f, message m) {
    if (!f) m.lost = true;
    bool written = write_message(f ? f : stdout, &m);
    return f && close_file(f) && written;
}

/* "test_convtranspose_0003_one_pixel_1x1_kernel" */
static void name_folder(const vector_case *c, size_t index, char name[80]) {
    snprintf(name, 80, "test_%s_%04zu_%s", c->layer.transpose ? "convtranspose" : "conv", index, c->note);
    size_t used = 0;
    for (const char *from = name; *from; from++)
        if (*from != ',') name[used++] = (char)(*from == ' ' ? '_' : *from);
    name[used] = 0;
}

int write_onnx(const vector_job *j, const vector_case *c, size_t index) {
    static const char *const files[] = {"input_0", "input_1", "input_2", "output_0"}, *const names[] = {
                                                                                          "X", "W", "B", "Y"};
    static const char *const members[] = {"input", "weight", "bias", "output"};
    pleat_tensor *arrays[FLOAT_ARRAYS];
    char name[80];
    const char *wrong = compute_floats(j, c, index, arrays);
    if (wrong) return complain(EXIT_IO, "vectors", "layer %04zu: %s", index, wrong);
    arrays[3] = pleat_shift(arrays[3], 0); /* -0 is 0 */
    name_folder(c, index, name);
    if (!make_subfolder(j, "%s", name) || !make_subfolder(j, "%s/test_data_set_0", name))
        return cannot_write(j);
    bool fine = write_to(open_file(j, "%s/model.onnx", name), model_of(c, name, arrays));
    for (size_t k = 0; k < 4 && fine; k++)
        fine = write_to(open_file(j, "%s/test_data_set_0/%s.pb", name, files[k]),
                        tensor_of(names[k], arrays[k]));
    if (!fine) return cannot_write(j);
    begin_line(j, c, index, j->dtype == PLEAT_F32 ? "float32" : "float64", "");
    put_word(j->manifest, "folder", name);
    end_line(j, index, 4, members, arrays, false);
    return EXIT_FINE;
}

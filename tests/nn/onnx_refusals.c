/* Models that are wrong, and models that are not supported: one line with the node and the attribute, and nothing lost. */
#define _POSIX_C_SOURCE 200809L

#include <sys/resource.h>
#include <sys/stat.h>

#include "onnx_file.h"
#include "scratch.h"

TestSuite(onnx_refusals, .init = scratch_begin, .fini = scratch_end);

static void refuse_bytes(const void *data, size_t n, pleat_status code, const char *part) {
    size_t tensors = pleat_memory(ctx).tensors, in_use = pleat_memory(ctx).in_use;
    put_file(in_scratch("m.onnx"), data, n);
    pleat_nn_module *m = pleat_nn_onnx_load(ctx, in_scratch("m.onnx"));
    cr_expect_null(m, "accepted: %s", part);
    expect_error(pleat_error(ctx)->code, code, part);
    pleat_nn_free(m);
    cr_expect_eq(pleat_memory(ctx).tensors, tensors, "%s", part);
    cr_expect_eq(pleat_memory(ctx).in_use, in_use, "%s", part);
}

static void refuse(const message *graph, int64_t opset, const char *part) {
    message m = model_of(graph, opset);
    refuse_bytes(m.at, m.n, PLEAT_ERR_FORMAT, part);
}

static const int64_t two[] = {2}, image[] = {-1, 1, 4, 4};

/* x [N,1,4,4] -> y by one node, whose weight w is [2,1,3,3]. */
static void refuse_node(const message *node, const char *part) {
    static const float zeros[18];
    message g = {.n = 0}, m = tensor_of("w", 1, 4, (const int64_t[]){2, 1, 3, 3}, zeros, sizeof zeros);
    add_message(&g, 5, &m);
    m = value_of("x", 1, 4, image), add_message(&g, 11, &m);
    m = value_of("y", 1, 0, NULL), add_message(&g, 12, &m);
    add_message(&g, 1, node);
    refuse(&g, 13, part);
}

Test(onnx_refusals, files_that_are_none) {
    refuse_bytes("", 0, PLEAT_ERR_FORMAT, "it is no ONNX model: it has no graph");
    refuse_bytes("hello, world", 12, PLEAT_ERR_FORMAT, "the bytes are no message of protobuf");
    cr_expect_null(pleat_nn_onnx_load(ctx, in_scratch("nowhere.onnx")));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_IO, "nowhere.onnx: No such file");
    cr_expect_null(pleat_nn_onnx_load(ctx, NULL));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "the path is NULL");
    cr_expect_null(pleat_nn_onnx_load(ctx, scratch_folder));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_IO, "a folder");
}

Test(onnx_refusals, every_beginning_of_a_model) {
    message m = small_model();
    for (size_t n = 0; n < m.n; n++) {
        size_t tensors = pleat_memory(ctx).tensors;
        put_file(in_scratch("m.onnx"), m.at, n);
        pleat_nn_module *net = pleat_nn_onnx_load(ctx, in_scratch("m.onnx"));
        cr_expect_null(net, "%zu bytes", n);
        cr_expect(pleat_error(ctx)->code == PLEAT_ERR_FORMAT && !strchr(pleat_error(ctx)->text, '\n'),
                  "%zu bytes: %s", n, pleat_error(ctx)->text);
        pleat_clear_error(ctx);
        pleat_nn_free(net);
        cr_expect_eq(pleat_memory(ctx).tensors, tensors, "%zu bytes", n);
    }
}

Test(onnx_refusals, graphs) {
    message g = {.n = 0}, m, empty = {.n = 0};
    refuse(&empty, 13, "the graph has no output");
    refuse(&empty, 18, "its opset is 18; 7 to 17 are supported");
    refuse(&empty, INT64_MIN, "its opset is -9223372036854775808; 7 to 17 are supported");
    m = value_of("y", 1, 1, two), add_message(&g, 12, &m);
    refuse(&g, 13, "the output 'y' is computed by no node");
    g.n = 0;
    m = node_of("Relu", "b", "a"), add_message(&g, 1, &m);
    m = node_of("Relu", "a", "b"), add_message(&g, 1, &m);
    refuse(&g, 13, "node 0 Relu 'a': input 0, 'b', is made by no node before it");
    g.n = 0;
    m = value_of("x", 1, 1, two), add_message(&g, 11, &m);
    m = node_of("Relu", "x", "x"), add_message(&g, 1, &m);
    refuse(&g, 13, "node 0 Relu 'x': output 0, 'x', is made twice");
    g.n = 0;
    m = value_of("x", 8, 1, two), add_message(&g, 11, &m);
    refuse(&g, 13, "'x' is string, which is not supported");
    g.n = 0;
    m = value_of("x", 1, 1, (const int64_t[]){INT64_MIN}), add_message(&g, 11, &m);
    m = node_of("Relu", "x", "y"), add_message(&g, 1, &m);
    m = value_of("y", 1, 1, (const int64_t[]){INT64_MAX}), add_message(&g, 12, &m);
    message model = model_of(&g, 13); /* a size of its own is no error of a name */
    put_file(in_scratch("m.onnx"), model.at, model.n);
    pleat_nn_free(pleat_nn_onnx_load(ctx, in_scratch("m.onnx")));
    pleat_clear_error(ctx);
}

Test(onnx_refusals, all_operators_that_are_not_supported_are_named) {
    static const char *const ops[] = {"Relu", "Loop", "Scan", "Loop", "HardSwish", "Scanner", "Scan"};
    message g = {.n = 0}, m = value_of("x", 1, 4, image);
    add_message(&g, 11, &m);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        m = node_of(ops[i], "x", "y"), add_message(&g, 1, &m);
    m = value_of("y", 1, 0, NULL), add_message(&g, 12, &m);
    refuse(&g, 13, "node 1 Loop 'y': the operator is not supported; nor are Scan, HardSwish, Scanner");
}

Test(onnx_refusals, nodes) {
    message m = node_of("Frobnicate", "x", "y");
    refuse_node(&m, "node 0 Frobnicate 'y': the operator is not supported");
    m = node_of("HardSwish", "x", "y");
    refuse_node(&m, "node 0 HardSwish 'y': the operator is not supported in this opset");
    m = node_of("Relu", "x", "y"), add_text(&m, 7, "com.example");
    refuse_node(&m, "the operator is not supported; its domain is com.example");
    m = node_of("Relu", "x w", "y");
    refuse_node(&m, "it has 2 inputs; at most 1 are supported");
    m = node_of("Conv", "x", "y");
    refuse_node(&m, "node 0 Conv 'y': input 1 is missing");
    m = node_of("Relu", "x", "y z");
    refuse_node(&m, "output 1 is not supported; there are at most 1");
    m = node_of("Relu", "x", "-");
    refuse_node(&m, "node 0 Relu '': it has no output");
    m = node_of("LeakyRelu", "x", "y"), attr_int(&m, "alpha", 1);
    refuse_node(&m, "attribute alpha has type 2; it must be a float");
    m = node_of("LeakyRelu", "x", "y"), attr_float(&m, "beta", 1);
    refuse_node(&m, "attribute beta is not supported in opset 13");
    m = node_of("LeakyRelu", "x", "y"), attr_float(&m, "alpha", 1), attr_float(&m, "alpha", 2);
    refuse_node(&m, "attribute alpha is given twice");
}

/* A node whose attribute is wrong is found in the forward pass at the latest. */
static void refuse_run(const message *node, const char *part) {
    static const float zeros[18];
    message g = {.n = 0}, m = tensor_of("w", 1, 4, (const int64_t[]){2, 1, 3, 3}, zeros, sizeof zeros);
    add_message(&g, 5, &m);
    m = value_of("x", 1, 4, image), add_message(&g, 11, &m);
    m = value_of("y", 1, 0, NULL), add_message(&g, 12, &m);
    add_message(&g, 1, node);
    message model = model_of(&g, 13);
    put_file(in_scratch("m.onnx"), model.at, model.n);
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, in_scratch("m.onnx"));
    cr_assert(net, "%s: %s", part, pleat_error(ctx)->text);
    size_t tensors = pleat_memory(ctx).tensors;
    pleat_scope s = pleat_begin(ctx);
    cr_expect(pleat_is_poison(pleat_nn_forward(net, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1, 4, 4)))),
              "accepted: %s", part);
    expect_error(pleat_error(ctx)->code, pleat_error(ctx)->code, part);
    pleat_end(s);
    cr_expect_eq(pleat_memory(ctx).tensors, tensors, "%s", part);
    pleat_nn_free(net);
}

Test(onnx_refusals, attributes) {
    const int64_t most = INT64_MAX, least = INT64_MIN;
    message m = node_of("Conv", "x w", "y"), conv = m;
    attr_ints(&m, "strides", 2, (int64_t[]){0, 1});
    refuse_run(&m, "node 0 Conv 'y': attribute strides has 0; it must be 1 to 2^31 - 2");
    m = conv, attr_ints(&m, "dilations", 2, (int64_t[]){most, 1});
    refuse_run(&m, "node 0 Conv 'y': attribute dilations has 9223372036854775807");
    m = conv, attr_ints(&m, "dilations", 2, (int64_t[]){1 << 30, 1});
    refuse_run(&m, "node 0 Conv 'y': the kernel on axis H");
    m = conv, attr_ints(&m, "pads", 4, (int64_t[]){0, 0, least, 0});
    refuse_run(&m, "node 0 Conv 'y': attribute pads has -9223372036854775808");
    m = conv, attr_ints(&m, "pads", 3, (int64_t[]){0, 0, 0});
    refuse_run(&m, "attribute pads has 3 numbers; it must have 4");
    m = conv, attr_int(&m, "group", 0);
    refuse_run(&m, "attribute group is 0; it must be 1 or more");
    m = conv, attr_int(&m, "group", 1 << 30);
    refuse_run(&m, "input of 1 channels, weight [2,1,..], attribute group 1073741824 do not fit");
    m = conv, attr_text(&m, "auto_pad", "SOMEHOW");
    refuse_run(&m, "node 0 Conv 'y': attribute auto_pad 'SOMEHOW' is not supported");
    m = conv, attr_ints(&m, "kernel_shape", 2, (int64_t[]){3, 5});
    refuse_run(&m, "attribute kernel_shape has 5 on axis 1; the weight has 3");
    m = node_of("MaxPool", "x", "y");
    refuse_run(&m, "node 0 MaxPool 'y': attribute kernel_shape is missing");
    attr_ints(&m, "kernel_shape", 2, (int64_t[]){9, 2});
    refuse_run(&m, "node 0 MaxPool 'y': the kernel (9, dilation 1) exceeds the input (4) padded by 0 and 0");
    m = node_of("Transpose", "x", "y"), attr_ints(&m, "perm", 4, (int64_t[]){0, 1, 1, 2});
    refuse_run(&m, "axis 1 is given twice");
    m = node_of("Softmax", "x", "y"), attr_int(&m, "axis", least);
    refuse_run(&m, "axis -9223372036854775808 of a tensor of rank 4");
    m = node_of("DepthToSpace", "x", "y"), attr_int(&m, "blocksize", most);
    refuse_run(&m, "attribute blocksize is 9223372036854775807");
    m = node_of("Cast", "x", "y"), attr_int(&m, "to", 8);
    refuse_run(&m, "attribute to 8, string, is not supported");
    m = node_of("LRN", "x", "y"), attr_int(&m, "size", -1);
    refuse_run(&m, "attribute size is -1; it must be 1 or more");
}

/* ---- initializers ------------------------------------------------------------------------------------- */

static void refuse_tensor(const message *tensor, const char *part) {
    message g = {.n = 0};
    add_message(&g, 5, tensor);
    refuse(&g, 13, part);
}

Test(onnx_refusals, initializers) {
    const float v[4] = {1, 2, 3, 4};
    message m = tensor_of("w", 1, 1, (const int64_t[]){5}, v, 16);
    refuse_tensor(&m, "initializer 'w' has 16 bytes; its shape needs 20");
    m = tensor_of("w", 1, 1, (const int64_t[]){-4}, v, 16);
    refuse_tensor(&m, "initializer 'w' has size -4 on axis 0");
    m = tensor_of("w", 1, 2, (const int64_t[]){(int64_t)1 << 62, 4}, v, 16);
    refuse_tensor(&m, "initializer 'w' has sizes whose product is too large");
    m = tensor_of("w", 1, 1, (const int64_t[]){INT64_MAX}, v, 16);
    refuse_tensor(&m, "initializer 'w' has sizes whose product is too large");
    m = tensor_of("w", 1, 9, (const int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 4}, v, 16);
    refuse_tensor(&m, "initializer 'w' has rank 9; at most 8 is supported");
    m = tensor_of("w", 15, 1, (const int64_t[]){1}, v, 16);
    refuse_tensor(&m, "initializer 'w' has type 15, an unknown type, which is not supported");
    m = tensor_of("w", -1, 1, (const int64_t[]){1}, v, 16);
    refuse_tensor(&m, "initializer 'w' has type -1");
    m = tensor_of("w", 1, 1, (const int64_t[]){(int64_t)1 << 40}, NULL, 0);
    refuse_tensor(&m, "initializer 'w' has 0 elements; its shape needs 1099511627776");
    message g = {.n = 0};
    m = tensor_of("w", 1, 1, (const int64_t[]){4}, v, 16), add_message(&g, 5, &m), add_message(&g, 5, &m);
    refuse(&g, 13, "initializer 'w': the value 'w' is made twice");
}

/* ---- tensors in files of their own --------------------------------------------------------------------- */

static message external(const char *location, const char *offset, const char *length) {
    const char *const pairs[3][2] = {{"location", location}, {"offset", offset}, {"length", length}};
    message m = {.n = 0};
    add_number(&m, 1, 4), add_number(&m, 2, 1), add_text(&m, 8, "w"), add_number(&m, 14, 1);
    for (size_t i = 0; i < 3; i++) {
        message pair = {.n = 0};
        if (!pairs[i][1]) continue;
        add_text(&pair, 1, pairs[i][0]), add_text(&pair, 2, pairs[i][1]);
        add_message(&m, 13, &pair);
    }
    return m;
}

Test(onnx_refusals, external_data) {
    static const float v[] = {9, 1, 2, 3, 4};
    put_file(in_scratch("data.bin"), v, sizeof v);
    message g = {.n = 0}, m = external("data.bin", "4", "16");
    add_message(&g, 5, &m);
    m = node_of("Add", "x w", "y"), add_message(&g, 1, &m);
    m = value_of("x", 1, 0, NULL), add_message(&g, 11, &m);
    m = value_of("y", 1, 1, (const int64_t[]){4}), add_message(&g, 12, &m);
    message model = model_of(&g, 13);
    put_file(in_scratch("m.onnx"), model.at, model.n);
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, in_scratch("m.onnx"));
    cr_assert(net, "%s", pleat_error(ctx)->text);
    cr_expect_eq(pleat_item(pleat_sum(pleat_nn_find_param(net, "w"))), 10);
    pleat_nn_free(net);

    static const struct {
        const char *location, *offset, *length, *part;
    } wrong[] = {
        {NULL, NULL, NULL, "external data in '', which is not in the model's folder"},
        {"", NULL, NULL, "external data in '', which is not in the model's folder"},
        {"/etc/passwd", NULL, NULL, "external data in '/etc/passwd', which is not in the model's folder"},
        {"../data.bin", NULL, NULL, "external data in '../data.bin', which is not in the model's folder"},
        {"a/../../data.bin", NULL, NULL, "which is not in the model's folder"},
        {"a/..", NULL, NULL, "which is not in the model's folder"},
        {"data.bin", "-4", "16", "external data at offset '-4', length '16': no sizes"},
        {"data.bin", "99999999999999999999999", NULL, "no sizes"},
        {"data.bin", "4", "1e1", "no sizes"},
        {"data.bin", "8", "16", "external data from 8, 16 bytes; its file has 20"},
        {"data.bin", "18446744073709551615", "16",
         "external data from 18446744073709551615, 16 bytes; its file has 20"},
        {"data.bin", "4", "12", "external data of 12 bytes; its shape needs 16"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        m = external(wrong[i].location, wrong[i].offset, wrong[i].length);
        refuse_tensor(&m, wrong[i].part);
    }
    message twice = {.n = 0};
    m = external("data.bin", "4", NULL), add_message(&twice, 5, &m);
    m = external("./data.bin", "0", NULL), add_text(&m, 8, "v"), add_message(&twice, 5, &m);
    refuse(&twice, 13, "data.bin have more bytes than it has");
    message lost = {.n = 0};
    m = external("nowhere.bin", NULL, NULL), add_message(&lost, 5, &m);
    model = model_of(&lost, 13);
    refuse_bytes(model.at, model.n, PLEAT_ERR_IO, "nowhere.bin: No such file");
}

/* A link that leaves the folder is refused as a path that does. */
Test(onnx_refusals, external_data_behind_a_link) {
    cr_assert(!symlink("/etc/hostname", in_scratch("link.bin")));
    message m = external("link.bin", NULL, NULL);
    refuse_tensor(&m, "external data in 'link.bin', which is not in the model's folder");
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__)
#    define GUARDED 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define GUARDED 1
#    endif
#endif
#ifndef GUARDED
#    define GUARDED 0 /* blocks have zones around them, which are no memory of the library */
#endif

static long peak(void) { /* in KiB */
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return GUARDED ? 0 : r.ru_maxrss;
}

/* A model of a hundred bytes may ask for a constant of any size. */
Test(onnx_refusals, constants_that_are_huge) {
    message g = {.n = 0},
            m = tensor_of("s", 7, 2, (const int64_t[]){2, 1}, (int64_t[]){1 << 20, 1 << 10}, 16);
    m = tensor_of("s", 7, 1, (const int64_t[]){2}, (int64_t[]){1 << 20, 1 << 10}, 16), add_message(&g, 5, &m);
    m = node_of("ConstantOfShape", "s", "c"), add_message(&g, 1, &m);
    m = node_of("Shape", "c", "n"), add_message(&g, 1, &m);
    m = value_of("n", 7, 1, two), add_message(&g, 12, &m);
    message model = model_of(&g, 13);
    long before = peak();
    put_file(in_scratch("m.onnx"), model.at, model.n);
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, in_scratch("m.onnx"));
    cr_assert(net, "%s", pleat_error(ctx)->text);
    cr_expect(peak() - before < 16 << 10, "%ld KiB", peak() - before);
    pleat_nn_free(net);
}

/* Messages of two bytes, of which a struct is many times as large. */
Test(onnx_refusals, messages_that_are_empty) {
    enum { N = 400000 };
    static uint8_t bytes[2 * N + 16];
    size_t n = 0, graph = 2 * N;
    bytes[n++] = 7 << 3 | 2;
    for (size_t v = graph; v; v >>= 7) bytes[n++] = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
    for (size_t i = 0; i < N; i++) bytes[n++] = 1 << 3 | 2, bytes[n++] = 0;
    long before = peak();
    refuse_bytes(bytes, n, PLEAT_ERR_MEMORY,
                 "its messages need more than 64 bytes for each of the file's 800004");
    cr_expect(peak() - before < (long)(66 * n >> 10) + 4096, "%ld KiB", peak() - before);
}

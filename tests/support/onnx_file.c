#include "onnx_file.h"

#include <stdlib.h>
#include <string.h>

static void put(message *m, const void *data, size_t n) {
    if (n > sizeof m->at - m->n) abort();
    if (n) memcpy(m->at + m->n, data, n);
    m->n += n;
}

static void put_number(message *m, uint64_t v) {
    do {
        uint8_t byte = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        put(m, &byte, 1);
    } while (v >>= 7);
}

static void put_key(message *m, int field, int wire) { put_number(m, (uint64_t)field << 3 | (uint64_t)wire); }

void add_number(message *m, int field, int64_t v) {
    put_key(m, field, 0);
    put_number(m, (uint64_t)v);
}

void add_float(message *m, int field, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_key(m, field, 5);
    for (size_t i = 0; i < 4; i++) put(m, &(uint8_t){(uint8_t)(bits >> 8 * i)}, 1);
}

void add_bytes(message *m, int field, const void *data, size_t n) {
    put_key(m, field, 2);
    put_number(m, n);
    put(m, data, n);
}

void add_text(message *m, int field, const char *text) { add_bytes(m, field, text, strlen(text)); }
void add_message(message *m, int field, const message *sub) { add_bytes(m, field, sub->at, sub->n); }

static void add_attr(message *node, const char *name, int type, message *a) {
    add_text(a, 1, name);
    add_number(a, 20, type);
    add_message(node, 5, a);
}

void attr_int(message *node, const char *name, int64_t v) {
    message a = {.n = 0};
    add_number(&a, 3, v);
    add_attr(node, name, 2, &a);
}

void attr_float(message *node, const char *name, float v) {
    message a = {.n = 0};
    add_float(&a, 2, v);
    add_attr(node, name, 1, &a);
}

void attr_text(message *node, const char *name, const char *text) {
    message a = {.n = 0};
    add_text(&a, 4, text);
    add_attr(node, name, 3, &a);
}

void attr_ints(message *node, const char *name, size_t n, const int64_t *v) {
    message a = {.n = 0};
    for (size_t i = 0; i < n; i++) add_number(&a, 8, v[i]);
    add_attr(node, name, 7, &a);
}

static void add_names(message *m, int field, const char *names) {
    for (size_t n; *names; names += n + (names[n] == ' ')) {
        n = strcspn(names, " ");
        add_bytes(m, field, names, *names == '-' ? 0 : n);
    }
}

message node_of(const char *op, const char *in, const char *out) {
    message m = {.n = 0};
    add_names(&m, 1, in);
    add_names(&m, 2, out);
    add_text(&m, 4, op);
    return m;
}

message tensor_of(const char *name, int type, size_t rank, const int64_t *dims, const void *data,
                  size_t bytes) {
    message m = {.n = 0};
    for (size_t i = 0; i < rank; i++) add_number(&m, 1, dims[i]);
    add_number(&m, 2, type);
    add_text(&m, 8, name);
    add_bytes(&m, 9, data, bytes);
    return m;
}

message value_of(const char *name, int type, size_t rank, const int64_t *dims) {
    message m = {.n = 0}, shape = {.n = 0}, tensor = {.n = 0}, whole = {.n = 0};
    for (size_t i = 0; i < rank; i++) {
        message dim = {.n = 0};
        if (dims[i] < 0)
            add_text(&dim, 2, "N");
        else
            add_number(&dim, 1, dims[i]);
        add_message(&shape, 1, &dim);
    }
    add_number(&tensor, 1, type);
    add_message(&tensor, 2, &shape);
    add_message(&whole, 1, &tensor);
    add_text(&m, 1, name);
    add_message(&m, 2, &whole);
    return m;
}

message model_of(const message *graph, int64_t opset) {
    message m = {.n = 0}, import = {.n = 0};
    add_number(&m, 1, 8);
    add_message(&m, 7, graph);
    add_number(&import, 2, opset);
    add_message(&m, 8, &import);
    return m;
}

/* Floats 0.01, 0.02, .. */
static message weights(const char *name, size_t rank, const int64_t *dims) {
    float v[256];
    size_t n = 1;
    for (size_t i = 0; i < rank; i++) n *= (size_t)dims[i];
    for (size_t i = 0; i < n && i < 256; i++) v[i] = 0.01f * (float)(i % 17) - 0.05f;
    return tensor_of(name, 1, rank, dims, v, n * sizeof *v);
}

message small_model(void) {
    message g = {.n = 0}, m, conv = node_of("Conv", "x a.weight a.bias", "h"),
            gemm = node_of("Gemm", "f b.weight b.bias", "y");
    attr_ints(&conv, "pads", 4, (const int64_t[]){1, 1, 1, 1});
    attr_int(&gemm, "transB", 1);
    add_message(&g, 1, &conv);
    m = node_of("Relu", "h", "r"), add_message(&g, 1, &m);
    m = node_of("Flatten", "r", "f"), add_message(&g, 1, &m);
    add_message(&g, 1, &gemm);
    m = weights("a.weight", 4, (const int64_t[]){2, 1, 3, 3}), add_message(&g, 5, &m);
    m = weights("a.bias", 1, (const int64_t[]){2}), add_message(&g, 5, &m);
    m = weights("b.weight", 2, (const int64_t[]){3, 32}), add_message(&g, 5, &m);
    m = weights("b.bias", 1, (const int64_t[]){3}), add_message(&g, 5, &m);
    m = value_of("x", 1, 4, (const int64_t[]){-1, 1, 4, 4}), add_message(&g, 11, &m);
    m = value_of("y", 1, 2, (const int64_t[]){-1, 3}), add_message(&g, 12, &m);
    return model_of(&g, 13);
}

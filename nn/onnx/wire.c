/* Messages of protobuf. */
#include "onnx/wire.h"

#include <stdlib.h>
#include <string.h>

static void put(pln_wire *w, const void *data, size_t n) {
    size_t all;
    if (__builtin_add_overflow(w->n, n, &all) || all > PTRDIFF_MAX / 2) w->failed = true;
    if (!w->failed && all > w->room) {
        unsigned char *at = realloc(w->at, 2 * all);
        w->failed = !at;
        if (at) w->at = at, w->room = 2 * all;
    }
    if (w->failed || !n) return;
    memcpy(w->at + w->n, data, n);
    w->n = all;
}

static void put_number(pln_wire *w, uint64_t v) {
    unsigned char bytes[10];
    size_t n = 0;
    for (; v > 127; v >>= 7) bytes[n++] = (unsigned char)(v | 128);
    bytes[n++] = (unsigned char)v;
    put(w, bytes, n);
}

static void put_key(pln_wire *w, unsigned field, unsigned kind) {
    put_number(w, (uint64_t)field << 3 | kind);
}

void pln_wire_number(pln_wire *w, unsigned field, int64_t v) {
    put_key(w, field, 0);
    put_number(w, (uint64_t)v);
}

/* The lowest byte first. */
static void put_element(pln_wire *w, const void *element, size_t width) {
    unsigned char bytes[8];
    uint32_t low;
    uint64_t v;
    if (width == sizeof low)
        memcpy(&low, element, sizeof low), v = low;
    else
        memcpy(&v, element, sizeof v);
    for (size_t i = 0; i < width; i++) bytes[i] = (unsigned char)(v >> 8 * i);
    put(w, bytes, width);
}

void pln_wire_real(pln_wire *w, unsigned field, float v) {
    put_key(w, field, 5);
    put_element(w, &v, sizeof v);
}

void pln_wire_elements(pln_wire *w, unsigned field, size_t n, size_t width, const void *data) {
    put_key(w, field, 2);
    put_number(w, n * width);
    for (size_t i = 0; i < n && !w->failed; i++) put_element(w, (const char *)data + i * width, width);
}

void pln_wire_bytes(pln_wire *w, unsigned field, const void *data, size_t n) {
    put_key(w, field, 2);
    put_number(w, n);
    put(w, data, n);
}

void pln_wire_text(pln_wire *w, unsigned field, const char *text) {
    pln_wire_bytes(w, field, text, strlen(text));
}

void pln_wire_message(pln_wire *w, unsigned field, pln_wire *sub) {
    w->failed = w->failed || sub->failed;
    pln_wire_bytes(w, field, sub->at, sub->n);
    pln_wire_free(sub);
}

void pln_wire_free(pln_wire *w) {
    free(w->at);
    *w = (pln_wire){.failed = w->failed};
}

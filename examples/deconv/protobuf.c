/* Two of the wire types are enough: 0, a varint, and 2, a length with so many bytes. */
#include "protobuf.h"

#include <stdlib.h>
#include <string.h>

static void append(message *m, const void *bytes, size_t n) {
    size_t room = m->room ? m->room : 64, wanted;
    if (__builtin_add_overflow(m->n, n, &wanted)) m->lost = true;
    while (!m->lost && room < wanted)
        if (__builtin_mul_overflow(room, 2, &room)) m->lost = true;
    if (!m->lost && room > m->room) {
        uint8_t *more = realloc(m->bytes, room);
        if (more)
            m->bytes = more, m->room = room;
        else
            m->lost = true;
    }
    if (m->lost) return;
    if (n) memcpy(m->bytes + m->n, bytes, n);
    m->n = wanted;
}

/* Seven bits a byte, the lowest first; a bit says that more follow. */
static void add_varint(message *m, uint64_t v) {
    uint8_t bytes[10];
    size_t n = 0;
    for (; v > 127; v >>= 7) bytes[n++] = (uint8_t)(v | 128);
    bytes[n++] = (uint8_t)v;
    append(m, bytes, n);
}

void add_number(message *m, unsigned field, int64_t value) {
    add_varint(m, (uint64_t)field << 3);
    add_varint(m, (uint64_t)value);
}

void add_bytes(message *m, unsigned field, const void *bytes, size_t n) {
    add_varint(m, (uint64_t)field << 3 | 2);
    add_varint(m, n);
    append(m, bytes, n);
}

void add_text(message *m, unsigned field, const char *text) { add_bytes(m, field, text, strlen(text)); }

void add_message(message *m, unsigned field, message *inner) {
    add_bytes(m, field, inner->bytes, inner->n);
    m->lost = m->lost || inner->lost;
    free(inner->bytes);
    *inner = (message){0};
}

bool write_message(FILE *f, message *m) {
    bool written = !m->lost && fwrite(m->bytes, 1, m->n, f) == m->n;
    free(m->bytes);
    *m = (message){0};
    return written;
}

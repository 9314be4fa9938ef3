/* protobuf.h: messages of protocol buffers, as far as writing them needs (protobuf.dev/programming-guides/encoding). A message is made
 * from the inside out:
 *
 *     message inner = {0}, outer = {0};
 *     add_text(&inner, 1, "name");
 *     add_message(&outer, 5, &inner);            // and inner is empty again
 *     written = write_message(f, &outer);        // and outer is freed
 */
#ifndef PROTOBUF_H
#define PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct message {
    uint8_t *bytes;
    size_t n, room;
    bool lost; /* memory was short */
} message;

/* Append a field: an int64 or enum, bytes, a text, a message, which is freed. */
void add_number(message *m, unsigned field, int64_t value);
void add_bytes(message *m, unsigned field, const void *bytes, size_t n);
void add_text(message *m, unsigned field, const char *text);
void add_message(message *m, unsigned field, message *inner);

/* Write m, and free it; false if memory was short or the write fails. */
bool write_message(FILE *f, message *m);

#endif

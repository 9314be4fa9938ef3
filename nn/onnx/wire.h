/* wire.h: messages of protobuf, written field by field into memory that grows. The first failure is kept in `failed`. */
#ifndef PLN_WIRE_H
#define PLN_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pln_wire {
    unsigned char *at;
    size_t n, room;
    bool failed; /* there was no memory */
} pln_wire;

void pln_wire_number(pln_wire *w, unsigned field, int64_t v);
void pln_wire_real(pln_wire *w, unsigned field, float v);
void pln_wire_bytes(pln_wire *w, unsigned field, const void *data, size_t n);
/* Numbers of 4 or 8 bytes, the lowest byte first. */
void pln_wire_elements(pln_wire *w, unsigned field, size_t n, size_t width, const void *data);
void pln_wire_text(pln_wire *w, unsigned field, const char *text);
/* The message `sub`, which is freed. */
void pln_wire_message(pln_wire *w, unsigned field, pln_wire *sub);
void pln_wire_free(pln_wire *w);

#endif

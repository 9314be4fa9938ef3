/* header.h: bytes that begin with the length of a text in them, as safetensors files do. */
#ifndef HEADER_H
#define HEADER_H

#include "fuzz.h"

/* A mutator: most of the time the text is changed, or what follows it, and the length is that of the text. */
size_t header_mutate(uint8_t *data, size_t size, size_t most, unsigned seed);

#endif

/* Changes to safetensors files that leave the length of the header right. */
#include "header.h"

#include <string.h>

enum { PREFIX = 8 };

size_t header_mutate(uint8_t *data, size_t size, size_t most, unsigned seed) {
    size_t length = 0;
    for (size_t i = 0; i < PREFIX && size >= PREFIX; i++) length |= (size_t)data[i] << 8 * i;
    if (seed % 8 == 0 || size < PREFIX || length > size - PREFIX || most < size)
        return LLVMFuzzerMutate(data, size, most);
    uint8_t *text = data + PREFIX;
    size_t behind = size - PREFIX - length;
    if (seed % 8 == 1)
        return PREFIX + length + LLVMFuzzerMutate(text + length, behind, most - PREFIX - length);
    static uint8_t rest[1 << 16];
    if (behind > sizeof rest) return LLVMFuzzerMutate(data, size, most);
    memcpy(rest, text + length, behind);
    length = LLVMFuzzerMutate(text, length, most - PREFIX - behind);
    memcpy(text + length, rest, behind);
    for (size_t i = 0; i < PREFIX; i++) data[i] = (uint8_t)(length >> 8 * i);
    return PREFIX + length + behind;
}

/* hash.h: 64 bits that tell apart what should be equal on all ranks. No cryptography. */
#ifndef PLN_HASH_H
#define PLN_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PLN_HASH_START UINT64_C(0xcbf29ce484222325)

/* The hash of what h is the hash of, followed by these bytes. */
static inline uint64_t pln_hash(uint64_t h, const void *data, size_t bytes) {
    const unsigned char *p = data;
    for (uint64_t word; bytes; p += sizeof word, bytes -= bytes < sizeof word ? bytes : sizeof word) {
        word = bytes;
        memcpy(&word, p, bytes < sizeof word ? bytes : sizeof word);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    return h;
}

static inline uint64_t pln_hash_text(uint64_t h, const char *text) {
    return pln_hash(h, text, strlen(text) + 1);
}

#endif

/* The reader of NumPy's archives: every name that an archive has is an array or an error. */
#include "fuzz.h"

#include <string.h>
#include <zlib.h>

enum { MOST_ARRAYS = 8, LOCAL = 30, CENTRAL = 46 };

static void check_entry(pleat_ctx *ctx, pleat_nn_npz *npz, const char *name, size_t size) {
    pleat_scope scope = pleat_begin(ctx);
    pleat_tensor *t = pleat_nn_npz_array(npz, name);
    bool refused = pleat_is_poison(t);
    fuzz_check_error(ctx, refused);
    /* what deflate can pack */
    FUZZ_CHECK(refused || pleat_numel(t) / 1032 <= size, "%zu elements in %zu bytes", pleat_numel(t), size);
    pleat_end(scope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(0, data, size);
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_nn_npz *npz = pleat_nn_npz_open(ctx, path);
    fuzz_check_error(ctx, !npz);
    const char *name = pleat_nn_npz_name(npz, 0);
    for (size_t i = 0; i < MOST_ARRAYS && name; name = pleat_nn_npz_name(npz, ++i))
        check_entry(ctx, npz, name, size);
    if (npz) check_entry(ctx, npz, "x", size);
    pleat_nn_npz_close(npz);
    pleat_ctx_free(ctx);
    return 0;
}

/* ---- checksums --------------------------------------------------------------------------------------- */

static size_t little(const uint8_t *at, size_t bytes) {
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n |= (size_t)at[i] << 8 * i;
    return n;
}

/* The checksum of a stored entry whose local header is at `local`, which then stands in both its headers. */
static void repair(uint8_t *data, size_t size, size_t central) {
    size_t local = little(data + central + 42, 4), bytes = little(data + central + 20, 4);
    if (little(data + central + 10, 2) != 0 || local > size || size - local < LOCAL) return;
    size_t begin = local + LOCAL + little(data + local + 26, 2) + little(data + local + 28, 2);
    if (begin > size || bytes > size - begin) return;
    uint32_t sum = (uint32_t)crc32(0, data + begin, (uInt)bytes);
    for (size_t i = 0; i < 4; i++) data[local + 14 + i] = data[central + 16 + i] = (uint8_t)(sum >> 8 * i);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, most);
    for (size_t at = 0; seed % 8 && size >= CENTRAL && at <= size - CENTRAL; at++)
        if (memcmp(data + at, "PK\1\2", 4) == 0) repair(data, size, at);
    return size;
}

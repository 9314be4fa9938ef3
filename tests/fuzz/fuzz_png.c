/* The reader of PNG files: any bytes are a picture of values 0..1 or an error. */
#include "fuzz.h"

#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_tensor *t = pleat_nn_read_png(ctx, fuzz_file(0, data, size));
    bool refused = pleat_is_poison(t);
    fuzz_check_error(ctx, refused);
    if (!refused) {
        size_t C = pleat_size(t, 1), n = pleat_numel(t);
        const float *values = pleat_f32(t);
        FUZZ_CHECK(pleat_rank(t) == 4 && pleat_size(t, 0) == 1 && (C == 1 || C == 3), "%zu channels", C);
        FUZZ_CHECK(n / C / 8 <= size * 1032, "%zu pixels in %zu bytes", n / C, size);
        FUZZ_CHECK(n <= size * 1032 || n <= (size_t)1 << 26, "%zu values of %zu bytes", n, size);
        for (size_t i = 0; i < n; i++)
            FUZZ_CHECK(values[i] >= 0 && values[i] <= 1, "value %zu is %g", i, (double)values[i]);
    }
    pleat_ctx_free(ctx);
    return 0;
}

/* Most of the time every chunk gets the checksum that is right for it. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, most);
    for (size_t at = 8; seed % 8 && at + 12 <= size;) {
        uint8_t *chunk = data + at;
        size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > size - at - 12) break;
        uint32_t sum = (uint32_t)crc32(0, chunk + 4, (uInt)length + 4);
        for (size_t i = 0; i < 4; i++) chunk[8 + length + i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + length;
    }
    return size;
}

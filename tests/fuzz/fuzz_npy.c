/* The reader of NumPy's array files: any bytes are an array or an error, and what was read is written and read back with the same
 * bits. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_tensor *t = pleat_nn_read_npy(ctx, fuzz_file(0, data, size));
    bool refused = pleat_is_poison(t);
    fuzz_check_error(ctx, refused);
    FUZZ_CHECK(refused || pleat_numel(t) <= size, "%zu elements in %zu bytes", pleat_numel(t), size);
    if (!refused && size < FUZZ_ROOM / 8) {
        pleat_status status = pleat_nn_write_npy(fuzz_pipe(), t);
        FUZZ_CHECK(!status, "it cannot be written: %s", pleat_error(ctx)->text);
        const uint8_t *written = fuzz_written(&size);
        pleat_tensor *again = pleat_nn_read_npy(ctx, fuzz_file(0, written, size));
        FUZZ_CHECK(fuzz_same(t, again), "it comes back different: %s", pleat_error(ctx)->text);
    }
    pleat_ctx_free(ctx);
    return 0;
}

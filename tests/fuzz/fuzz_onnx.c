/* The reader of ONNX models, and its runs: any bytes are a model or an error of one line; what was loaded runs on a small input of each
 * shape that it declares, or says why not. Nothing stays behind. */
#include "fuzz.h"

#include <stdlib.h>

enum { MOST_PORTS = 4, MOST_PIXELS = 4096 };

/* What the model says about its inputs is not public; so all have one of a few shapes, chosen by the bytes. */
static void run(pleat_ctx *ctx, pleat_nn_module *m, uint8_t choice) {
    static const size_t shapes[][4] = {{1, 1, 4, 4}, {2, 3, 5, 4}, {3, 2, 1, 1}, {2, 0, 3, 3}};
    pleat_tensor *in[MOST_PORTS], *out[MOST_PORTS];
    size_t n = 0, outs = 0, rank = choice >> 2 & 3;
    pleat_dtype dtype = choice >> 4 & 1 ? PLEAT_F64 : PLEAT_F32;
    while (pleat_nn_onnx_input(m, n)) n++;
    while (pleat_nn_onnx_output(m, outs)) outs++;
    if (n > MOST_PORTS || outs > MOST_PORTS) return;
    for (size_t i = 0; i < n; i++)
        in[i] = pleat_full(ctx, dtype, rank == 3 ? 4 : rank, shapes[choice & 3], 1);
    pleat_nn_set_training(m, choice >> 5 & 1);
    bool refused = pleat_nn_onnx_run(m, n, in, outs, out) != PLEAT_OK;
    for (size_t i = 0; i < outs; i++)
        FUZZ_CHECK(pleat_is_poison(out[i]) <= refused, "output %zu is poison", i);
    fuzz_check_error(ctx, refused);
}

/* A model may ask for tensors of any size when it runs, and then has no memory. */
typedef struct block {
    size_t bytes;
    max_align_t data[];
} block;

static void *alloc(void *user, size_t bytes) {
    size_t *left = user;
    block *b = bytes <= *left ? malloc(sizeof *b + bytes) : NULL;
    if (!b) return NULL;
    *left -= b->bytes = bytes;
    return b->data;
}

static void give_back(void *user, void *data) {
    block *b = (block *)(void *)((char *)data - offsetof(block, data));
    *(size_t *)user += b->bytes;
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t left = 32 << 20;
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1, .alloc = alloc, .free = give_back, .user = &left);
    const char *path = fuzz_file(0, data, size);
    pleat_scope scope = pleat_begin(ctx);
    pleat_nn_module *m = pleat_nn_onnx_load(ctx, path);
    fuzz_check_error(ctx, !m);
    if (m && size) run(ctx, m, data[size - 1]);
    if (m && size) run(ctx, m, data[size / 2]);
    pleat_nn_free(m);
    pleat_end(scope);
    FUZZ_CHECK(pleat_memory(ctx).tensors == 0, "%zu tensors are left", pleat_memory(ctx).tensors);
    pleat_ctx_free(ctx);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    (void)seed;
    return LLVMFuzzerMutate(data, size, most);
}

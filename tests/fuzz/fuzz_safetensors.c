/* Loading parameters: any bytes are this network's state or an error. On an error nothing has changed; what was loaded is saved
 * and loaded again with the same bits. */
#include "header.h"

#include <string.h>

enum { MOST_STATE = 16 };

/* Copies of the network's state. */
static size_t copy_state(pleat_ctx *ctx, const pleat_nn_module *net, pleat_tensor *to[MOST_STATE]) {
    size_t n = pleat_nn_state_count(net);
    for (size_t i = 0; i < n; i++) {
        const pleat_tensor *t = pleat_nn_state(net, i);
        to[i] = pleat_empty(ctx, pleat_dtype_of(t), pleat_rank(t), pleat_shape(t));
        pleat_assign(to[i], t);
    }
    return n;
}

static void check_state(const pleat_nn_module *net, pleat_tensor *const expected[], const char *when) {
    char name[300];
    for (size_t i = 0; i < pleat_nn_state_count(net); i++)
        FUZZ_CHECK(fuzz_same(pleat_nn_state(net, i), expected[i]), "%s: %s changed", when,
                   pleat_nn_state_name(net, i, name, sizeof name));
}

static void save_and_load(pleat_ctx *ctx, pleat_nn_module *net) {
    pleat_tensor *loaded[MOST_STATE];
    size_t n = copy_state(ctx, net, loaded), bytes;
    FUZZ_CHECK(!pleat_nn_save(fuzz_pipe(), net), "it cannot be saved: %s", pleat_error(ctx)->text);
    const uint8_t *written = fuzz_written(&bytes);
    for (size_t i = 0; i < n; i++) pleat_assign(pleat_nn_state(net, i), pleat_zeros_like(loaded[i]));
    FUZZ_CHECK(!pleat_nn_load(fuzz_file(0, written, bytes), net), "%s", pleat_error(ctx)->text);
    check_state(net, loaded, "saved and loaded");
}

/* The counts and the list agree, and the list has an end. */
static void check_misfits(const pleat_nn_misfits *m, size_t state, bool refused) {
    size_t lines = 0;
    FUZZ_CHECK(memchr(m->text, 0, sizeof m->text), "the list of misfits has no end");
    for (const char *c = m->text; *c; c++) lines += *c == '\n';
    FUZZ_CHECK(lines <= m->missing + m->other + m->left, "more lines than misfits: %s", m->text);
    FUZZ_CHECK(m->loaded + m->missing + m->other <= state, "more tensors than the network has");
    FUZZ_CHECK(refused ? !m->loaded : m->loaded > 0, "%zu tensors are said to be loaded", m->loaded);
}

/* What fits of the file, and of one layer. */
static void load_partly(pleat_ctx *ctx, pleat_nn_module *net, const uint8_t *data, size_t size) {
    pleat_nn_misfits found;
    bool refused = pleat_nn_load_from(fuzz_file(0, data, size), net, .misfits = &found) != PLEAT_OK;
    fuzz_check_error(ctx, refused);
    check_misfits(&found, pleat_nn_state_count(net), refused);
    pleat_clear_error(ctx);
    refused = pleat_nn_load_from(fuzz_file(0, data, size), pleat_nn_child(net, 0), .prefix = "0.",
                                 .misfits = &found) != PLEAT_OK;
    fuzz_check_error(ctx, refused);
    check_misfits(&found, pleat_nn_state_count(pleat_nn_child(net, 0)), refused);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_nn_module *net =
        pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 2, .kernel = {1, 2}), pleat_nn_batch_norm2d(ctx, 2),
                            pleat_nn_linear(ctx, 2, 1, .no_bias = true, .dtype = PLEAT_F64));
    pleat_tensor *before[MOST_STATE];
    copy_state(ctx, net, before);
    fuzz_check_error(ctx, false);
    bool refused = pleat_nn_load(fuzz_file(0, data, size), net) != PLEAT_OK;
    fuzz_check_error(ctx, refused);
    if (refused)
        check_state(net, before, "refused");
    else
        save_and_load(ctx, net);
    pleat_clear_error(ctx);
    load_partly(ctx, net, data, size);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return header_mutate(data, size, most, seed);
}

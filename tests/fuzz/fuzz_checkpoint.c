/* Loading a checkpoint: any bytes are the state of this run or an error. On an error nothing has changed, neither tensors nor
 * rate, steps or random stream; what was loaded and saved again is a file that loads and saves as the same bytes. */
#include "header.h"

#include <stdlib.h>
#include <string.h>

typedef struct run {
    pleat_ctx *ctx;
    pleat_nn_note note[2];
    pleat_nn_checkpoint c;
} run;

static void begin(run *r) {
    *r = (run){.ctx = pleat_ctx_new(.threads = 1, .seed = 3)};
    r->note[0] = (pleat_nn_note){.key = "options", .must = "--lr 1"};
    r->note[1] = (pleat_nn_note){.key = "epoch"};
    r->c = (pleat_nn_checkpoint){.ctx = r->ctx, .notes = 2, .note = r->note};
    pleat_nn_part *p = r->c.part;
    p->name = "net";
    p->net = pleat_nn_linear(r->ctx, 2, 1);
    p->opt = pleat_nn_adam(p->net, .lr = 0.5);
    p->ema = pleat_nn_ema_new(p->net, 0.5);
}

static void end(run *r) {
    pleat_nn_ema_free(r->c.part[0].ema);
    pleat_nn_optimizer_free(r->c.part[0].opt);
    pleat_nn_free(r->c.part[0].net);
    pleat_ctx_free(r->ctx);
}

/* The run as the bytes of its checkpoint, which the caller frees. */
static uint8_t *save(run *r, size_t *bytes) {
    pleat_nn_note notes[2];
    memcpy(notes, r->note, sizeof notes);
    strcpy(r->note[0].text, "--lr 1");
    FUZZ_CHECK(!pleat_nn_save_checkpoint(fuzz_pipe(), &r->c), "it cannot be saved: %s",
               pleat_error(r->ctx)->text);
    memcpy(r->note, notes, sizeof notes);
    const uint8_t *written = fuzz_written(bytes);
    uint8_t *copy = malloc(*bytes);
    FUZZ_CHECK(copy, "no memory");
    return memcpy(copy, written, *bytes);
}

static void check_bytes(run *r, const uint8_t *expected, size_t expected_bytes, const char *when) {
    size_t bytes;
    uint8_t *found = save(r, &bytes);
    FUZZ_CHECK(bytes == expected_bytes && memcmp(found, expected, bytes) == 0, "%s: the run changed", when);
    free(found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    run r, fresh;
    size_t bytes;
    begin(&r);
    uint8_t *before = save(&r, &bytes);
    bool refused = pleat_nn_load_checkpoint(fuzz_file(0, data, size), &r.c) != PLEAT_OK;
    fuzz_check_error(r.ctx, refused);
    if (refused) {
        check_bytes(&r, before, bytes, "refused");
    } else {
        free(before);
        before = save(&r, &bytes);
        begin(&fresh);
        FUZZ_CHECK(!pleat_nn_load_checkpoint(fuzz_file(0, before, bytes), &fresh.c), "%s",
                   pleat_error(fresh.ctx)->text);
        check_bytes(&fresh, before, bytes, "saved and loaded");
        end(&fresh);
    }
    free(before);
    end(&r);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return header_mutate(data, size, most, seed);
}

/* What cannot be written into a checkpoint, or a file of parameters: names and texts that are not UTF-8, names that two have, numbers
 * that are not whole, a history that is none. The file that was there stays. */
#define _POSIX_C_SOURCE 200809L

#include "scratch.h"

TestSuite(checkpoint_words, .init = scratch_begin, .fini = scratch_end);

static const char *file(void) { return in_scratch("c.safetensors"); }

static pleat_nn_module *net(void) {
    return pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 2, 1), pleat_nn_batch_norm2d(ctx, 1));
}

/* The checkpoint is refused, and an older file is as it was. */
static void expect_refused(const pleat_nn_checkpoint *c, pleat_status code, const char *part) {
    put_file(file(), "old", 3);
    expect_error(pleat_nn_save_checkpoint(file(), c), code, part);
    cr_expect(holds(file(), "old"));
}

Test(checkpoint_words, texts_that_are_not_utf8) {
    pleat_nn_note note = {.key = "place", .text = "caf\xe9"};
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{.name = "net", .net = net()}}, .notes = 1, .note = &note};
    expect_refused(&c, PLEAT_ERR_ARGUMENT, "not UTF-8");
    note = (pleat_nn_note){.key = "pla\xff", .text = "x"};
    expect_refused(&c, PLEAT_ERR_ARGUMENT, "not UTF-8");
    note.key = "place";
    c.part[0].name = "n\xfft";
    expect_refused(&c, PLEAT_ERR_ARGUMENT, "not UTF-8");
    c.part[0].name = "net";
    cr_expect_eq(pleat_nn_save_checkpoint(file(), &c), PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_free(c.part[0].net);
}

Test(checkpoint_words, names_that_two_tensors_have) {
    pleat_nn_module *a = net(), *b = net();
    pleat_nn_ema *ema = pleat_nn_ema_new(a, 0.5);
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{"net", a, NULL, ema}, {.name = "net.ema", .net = b}}};
    expect_refused(&c, PLEAT_ERR_ARGUMENT, "two tensors have the name net.ema.");
    pleat_nn_ema_free(ema);
    pleat_nn_free(a), pleat_nn_free(b);
}

static pleat_tensor *same(pleat_nn_module *m, pleat_tensor *x) {
    (void)m;
    return x;
}

Test(checkpoint_words, a_name_that_the_format_keeps_for_itself) {
    static const pleat_nn_kind kind = {.name = "Own", .forward = same};
    pleat_nn_module *m = pleat_nn_module_new(ctx, &kind, NULL, 0);
    pleat_nn_add_param(m, "__metadata__", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1)));
    put_file(file(), "old", 3);
    expect_error(pleat_nn_save(file(), m), PLEAT_ERR_ARGUMENT, "__metadata__ is reserved");
    cr_expect(holds(file(), "old"));
    pleat_nn_free(m);
}

Test(checkpoint_words, a_count_that_is_not_whole) {
    pleat_nn_module *m = net();
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{.name = "net", .net = m}}};
    pleat_tensor *batches = pleat_nn_own_buffer(pleat_nn_child(m, 1), 2);
    const double wrong[] = {0.5, -1.5, 0x1p60, 1.0 / 0.0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pleat_f64(batches)[0] = wrong[i];
        expect_refused(&c, PLEAT_ERR_ARGUMENT, "net.1.num_batches_tracked is");
    }
    pleat_nn_free(m);
}

Test(checkpoint_words, a_history_that_is_poison) {
    pleat_nn_checkpoint c = {
        .ctx = ctx, .part = {{.name = "net", .net = net()}}, .history = pleat_poison(ctx)};
    expect_refused(&c, PLEAT_ERR_ARGUMENT, "history must be [rows,columns] in f64, of this context");
    pleat_nn_free(c.part[0].net);
}

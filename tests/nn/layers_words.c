/* What a summary says of layers by their options. */
#include "module.h"
#include "tensors.h"

TestSuite(words, .init = tensors_begin, .fini = tensors_end);

static void expect_words(pleat_nn_module *m, const char *kind, const char *expected) {
    char text[200] = "";
    cr_assert(m, "%s", pleat_error(ctx)->text);
    cr_expect_str_eq(pleat_nn_kind_of(m)->name, kind);
    pleat_nn_kind_of(m)->describe(m, text, sizeof text);
    cr_expect_str_eq(text, expected);
    pleat_nn_free(m);
}

Test(words, of_norms) {
    expect_words(pleat_nn_batch_norm2d(ctx, 3), "BatchNorm2d", "3");
    expect_words(pleat_nn_batch_norm2d(ctx, 3, .no_affine = true), "BatchNorm2d", "3, no affine");
    expect_words(pleat_nn_group_norm(ctx, 6, 2), "GroupNorm", "6, groups 2");
    expect_words(pleat_nn_group_norm(ctx, 6, 3, .no_affine = true), "GroupNorm", "6, groups 3, no affine");
}

Test(words, of_a_number_or_two) {
    expect_words(pleat_nn_softmax(ctx, 1), "Softmax", "axis 1");
    expect_words(pleat_nn_log_softmax(ctx, 2), "LogSoftmax", "axis 2");
    expect_words(pleat_nn_upsample_nearest(ctx, 2), "UpsampleNearest", "2");
    expect_words(pleat_nn_upsample_bilinear(ctx, 3), "UpsampleBilinear", "3");
    expect_words(pleat_nn_pixel_shuffle(ctx, 4), "PixelShuffle", "4");
}

Test(words, beyond_the_last_there_is_nothing) {
    pleat_nn_module *m = pleat_nn_batch_norm2d(ctx, 3);
    cr_expect_not_null(pleat_nn_own_buffer(m, 1));
    size_t n = 0;
    while (pleat_nn_own_buffer(m, n)) n++;
    cr_expect_eq(n, 3, "running mean, running variance, and a count: %zu", n);
    cr_expect_null(pleat_nn_own_param(m, 2));
    pleat_nn_free(m);
}

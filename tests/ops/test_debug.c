/* What calls say of themselves; half pairs. */
#include <string.h>

#include "tensors.h"

TestSuite(debug, .init = tensors_begin, .fini = tensors_end);

/* ---- calls as data and as phrases ------------------------------------------------------------------------- */

static void expect_phrase(const pleat_tensor *t, const char *expected) {
    char text[200];
    cr_expect_str_eq(pleat_call_text(pleat_call_of(t), text, sizeof text), expected);
}

Test(debug, calls_as_phrases) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3, 5, 4)),
                 *w = whole(PLEAT_F32, PLEAT_SHAPE(4, 3, 3, 2));
    pleat_tensor *b = whole(PLEAT_F32, PLEAT_SHAPE(4)), *five[] = {b, b, b, b, b};
    expect_phrase(x, "");
    expect_phrase(NULL, "");
    expect_phrase(pleat_conv2d(x, w), "conv2d([2,3,5,4], [4,3,3,2])");
    expect_phrase(pleat_conv2d(x, w, .stride = {2, 2}, .pads = {1, 0, 1, -1}, .bias = b),
                  "conv2d([2,3,5,4], [4,3,3,2], [4]; stride 2x2, pads [1,0,1,-1])");
    expect_phrase(pleat_scale(x, -0.5), "scale([2,3,5,4]; a -0.5)");
    expect_phrase(pleat_clamp(x, 0, 6), "clamp([2,3,5,4]; low 0, high 6)");
    expect_phrase(pleat_sum(x, PLEAT_AXES(0, 2, 3)), "sum([2,3,5,4]; axes [0,2,3])");
    expect_phrase(pleat_reshape(x, PLEAT_SHAPE(6, PLEAT_REST, 1)), "reshape([2,3,5,4]; shape [6,20,1])");
    expect_phrase(pleat_reshape(b, PLEAT_SHAPE(2, 2)), "reshape([4]; shape 2x2)");
    expect_phrase(pleat_reshape(pleat_reshape(b, PLEAT_SHAPE(1, 4)), PLEAT_SHAPE(4)),
                  "reshape([1,4]; shape 4)");
    expect_phrase(pleat_concat(5, five, 0), "concat([4], [4], [4], [4], ...; axis 0)");
    expect_phrase(pleat_matmul(b, b), "");
    pleat_clear_error(ctx);
    pleat_set_recording(ctx, false);
    expect_phrase(pleat_neg(x), "");
}

Test(debug, phrases_that_do_not_fit) {
    char text[40] = "untouched";
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3));
    const pleat_call *c = pleat_call_of(pleat_scale(x, 2));
    pleat_call_text(c, text, 0);
    cr_assert_str_eq(text, "untouched");
    cr_assert_str_eq(pleat_call_text(c, text, 1), "");
    cr_assert_str_eq(pleat_call_text(c, text, 9), "scale([2");
}

Test(debug, attributes_as_data) {
    pleat_attr a[PLEAT_MAX_ATTRS];
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(1, 2, 4, 4)),
                 *w = whole(PLEAT_F64, PLEAT_SHAPE(2, 3, 2, 2));
    const pleat_call *c =
        pleat_call_of(pleat_conv2d_transpose(x, w, .stride = {2, 1}, .size = {9, 5}, .relu = true));
    cr_assert_str_eq(c->op->name, "relu");
    c = pleat_call_of(c->in[0]);
    cr_assert_eq(pleat_call_attributes(c, a), 7);
    cr_expect(!strcmp(a[0].name, "stride") && a[0].whole[0] == 2 && a[0].whole[1] == 1 && !a[0].usual);
    cr_expect(!strcmp(a[1].name, "dilation") && a[1].whole[0] == 1 && a[1].count == 2 && a[1].usual);
    cr_expect(!strcmp(a[2].name, "pads") && a[2].count == 4 && a[2].usual);
    cr_expect(!strcmp(a[4].name, "size") && a[4].whole[0] == 9 && a[4].whole[1] == 5 && !a[4].usual);
    cr_expect(!strcmp(a[5].name, "relu") && a[5].count == 1 && a[5].whole[0] == 1 && !a[5].usual);
    c = pleat_call_of(pleat_leaky_relu(x, 0.125));
    cr_assert_eq(pleat_call_attributes(c, a), 1);
    cr_expect(a[0].kind == PLEAT_ATTR_REAL && a[0].count == 1 && a[0].real[0] == 0.125);
    cr_expect_eq(pleat_call_attributes(NULL, a), 0);
    cr_expect_null(pleat_call_of(x));
    cr_expect_null(pleat_call_of(pleat_poison(ctx)));
    cr_expect_null(pleat_call_of(pleat_add(x, x))->attrs);
}

/* ---- pairs ------------------------------------------------------------------------------------------------ */

Test(debug, half_a_pair_is_refused) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(1, 1, 5, 5)),
                 *w = whole(PLEAT_F32, PLEAT_SHAPE(1, 1, 3, 3));
    EXPECT_REFUSED(pleat_conv2d(x, w, .pad = {1}), PLEAT_ERR_ARGUMENT, "conv2d", ".pad = {1, 0}", "{1, 1}",
                   "{1, PLEAT_NONE}");
    EXPECT_REFUSED(pleat_conv2d(x, w, .pad = {-2}), PLEAT_ERR_ARGUMENT, "conv2d", ".pad = {-2, 0}");
    EXPECT_REFUSED(pleat_conv2d(x, w, .stride = {2}), PLEAT_ERR_ARGUMENT, "conv2d", ".stride = {2, 0}",
                   "{2, 2}");
    EXPECT_REFUSED(pleat_conv2d(x, w, .stride = {2, PLEAT_NONE}), PLEAT_ERR_ARGUMENT, "conv2d",
                   ".stride = {2, 0}", "{2, 2}");
    EXPECT_REFUSED(pleat_conv2d(x, w, .stride = {PLEAT_NONE, PLEAT_NONE}), PLEAT_ERR_ARGUMENT, "conv2d",
                   "stride");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {2, 2}, .pad = {1}), PLEAT_ERR_ARGUMENT, "max_pool2d",
                   ".pad = {1, 0}", "{1, PLEAT_NONE}");
    EXPECT_REFUSED(pleat_avg_pool2d(x, .kernel = {2}), PLEAT_ERR_ARGUMENT, "avg_pool2d", ".kernel = {2, 0}");
    EXPECT_REFUSED(pleat_resize_nearest(x, .factor = {2}), PLEAT_ERR_ARGUMENT, "resize_nearest",
                   ".factor = {2, 0}", "{2, 2}");
}

Test(debug, a_zero_that_is_meant) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(1, 1, 5, 5)),
                 *w = whole(PLEAT_F32, PLEAT_SHAPE(1, 1, 3, 3));
    EXPECT_SAME(pleat_conv2d(x, w, .pad = {1, PLEAT_NONE}), pleat_conv2d(x, w, .pads = {1, 0, 1, 0}));
    EXPECT_SAME(pleat_conv2d(x, w, .pad = {0, 1}), pleat_conv2d(x, w, .pads = {0, 1, 0, 1}));
    EXPECT_SAME(pleat_conv2d(x, w, .pad = {PLEAT_NONE, PLEAT_NONE}), pleat_conv2d(x, w));
    EXPECT_SAME(pleat_conv2d(x, w, .pad = {PLEAT_NONE}), pleat_conv2d(x, w));
    double betas[2] = {0.9, PLEAT_NONE}, none[2] = {PLEAT_NONE, PLEAT_NONE}, half[2] = {0.9}, open[2] = {0};
    cr_expect(pleat_pair_f64(ctx, "adam", "betas", betas, VALUES(1, 2), true) && betas[0] == 0.9 &&
              betas[1] == 0);
    cr_expect(pleat_pair_f64(ctx, "adam", "betas", none, VALUES(1, 2), true) && none[0] == 0 && none[1] == 0);
    cr_expect(pleat_pair_f64(ctx, "adam", "betas", open, VALUES(1, 2), true) && open[0] == 1 && open[1] == 2);
    cr_expect(!pleat_pair_f64(ctx, "adam", "betas", half, VALUES(1, 2), true) && half[1] == 0);
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "adam", ".betas = {0.9, 0}",
                  "{0.9, PLEAT_NONE}");
}

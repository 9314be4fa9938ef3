/* Facts about the frameworks that surprise people, each with its numbers. */
#include "frameworks_lines.h"

TestSuite(facts, .init = tensors_begin, .fini = tensors_end);

static line line_of(size_t in, size_t k, size_t s, size_t d) {
    line g = {0};
    while (next_line(&g))
        if (g.in == in && g.k == k && g.s == s && g.d == d) return g;
    cr_assert_fail("there is no such line");
    return g;
}

/* Apply l to x = 1, 2, 3 and w = 1, 2, 3. */
static pleat_tensor *three_by_three(pleat_layer l) {
    bool kernel_first = l.framework == PLEAT_TENSORFLOW || l.framework == PLEAT_KERAS;
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 3));
    pleat_tensor *w = kernel_first ? counted(PLEAT_F32, PLEAT_SHAPE(1, 3, 1, 1))
                                   : counted(PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 3));
    return pleat_layer_apply(&l, x, w, NULL);
}

Test(facts, the_alignment_of_tensorflow_depends_on_the_output_shape) {
    line g = line_of(3, 3, 2, 1);
    pleat_layer l = line_layer(PLEAT_TENSORFLOW, true, &g, PLEAT_PADDING_SAME);
    EXPECT_HOLDS(three_by_three(l), PLEAT_SHAPE(1, 1, 1, 6), VALUES(1, 2, 5, 4, 9, 6));
    EXPECT_HOLDS(three_by_three(with_output_size(l, 6)), PLEAT_SHAPE(1, 1, 1, 6), VALUES(1, 2, 5, 4, 9, 6));
    EXPECT_HOLDS(three_by_three(with_output_size(l, 5)), PLEAT_SHAPE(1, 1, 1, 5), VALUES(2, 5, 4, 9, 6));
}

static bool same_plan(const pleat_layer *a, const pleat_layer *b, const line *g) {
    pleat_layer_plan p, q;
    return plan_line(a, g, &p) && plan_line(b, g, &q) && p.out[1] == q.out[1] && p.crop[1] == q.crop[1];
}

Test(facts, same_is_same_upper_where_kernels_touch) {
    for (line g = {0}; next_line(&g);) {
        pleat_layer same = line_layer(PLEAT_TENSORFLOW, true, &g, PLEAT_PADDING_SAME);
        pleat_layer upper = line_layer(PLEAT_ONNX, true, &g, PLEAT_PADDING_SAME_UPPER);
        cr_assert_eq(same_plan(&same, &upper, &g), g.ke >= g.s, "%s", line_text(&same, &g));
    }
}

Test(facts, where_torch_can_do_what_same_does) {
    for (line g = {0}; next_line(&g);) {
        pleat_layer same = line_layer(PLEAT_TENSORFLOW, true, &g, PLEAT_PADDING_SAME);
        bool found = false, found_without = false;
        for (size_t p = 0; p < 20; p++) {
            pleat_layer torch = with_pads(line_layer(PLEAT_TORCH, true, &g, PLEAT_PADDING_EXPLICIT), p, p);
            if (same_plan(&same, &torch, &g)) found_without = true;
            for (size_t op = 0; op < 20; op++) {
                pleat_layer longer = with_output_padding(torch, op);
                if (same_plan(&same, &longer, &g)) found = true;
            }
        }
        bool odd = g.ke > g.s && (g.ke - g.s) % 2 == 1;
        cr_assert_eq(found, !odd, "%s", line_text(&same, &g));
        cr_assert_eq(found_without, g.ke >= g.s && !odd, "%s", line_text(&same, &g));
    }
}

Test(facts, the_popular_torch_layer_is_same_lower) {
    line g = line_of(3, 3, 2, 1);
    pleat_layer torch = with_pads(line_layer(PLEAT_TORCH, true, &g, PLEAT_PADDING_EXPLICIT), 1, 1);
    torch = with_output_padding(torch, 1);
    pleat_layer lower = line_layer(PLEAT_ONNX, true, &g, PLEAT_PADDING_SAME_LOWER);
    EXPECT_HOLDS(three_by_three(torch), PLEAT_SHAPE(1, 1, 1, 6), VALUES(2, 5, 4, 9, 6, 9));
    EXPECT_HOLDS(three_by_three(lower), PLEAT_SHAPE(1, 1, 1, 6), VALUES(2, 5, 4, 9, 6, 9));
}

Test(facts, pixels_that_no_window_touches) {
    pleat_layer l = {.framework = PLEAT_TORCH, .stride = {3, 2}, .dilation = {1, 1}, .groups = 1};
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(1, 1, 4, 4)), *w = pleat_full_like(x, 2), *g[2];
    w = pleat_slice(w, (size_t[4]){0}, (size_t[]){1, 1, 1, 1}, NULL);
    pleat_tensor *y = pleat_layer_apply(&l, x, w, NULL);
    EXPECT_HOLDS(y, PLEAT_SHAPE(1, 1, 2, 2), VALUES(2, 6, 26, 30));
    EXPECT_OK(pleat_grads(pleat_sum(y), NULL, 2, (pleat_tensor *[]){x, w}, g, 0));
    EXPECT_HOLDS(g[0], PLEAT_SHAPE(1, 1, 4, 4), VALUES(2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0));
    EXPECT_HOLDS(g[1], PLEAT_SHAPE(1, 1, 1, 1), VALUES(1 + 3 + 13 + 15));
    l.transpose = true;
    EXPECT_HOLDS(pleat_layer_apply(&l, y, w, NULL), PLEAT_SHAPE(1, 1, 4, 3),
                 VALUES(4, 0, 12, 0, 0, 0, 0, 0, 0, 52, 0, 60));
}

Test(facts, output_padding_up_to_the_dilation_is_torchs_alone) {
    line g = line_of(3, 2, 2, 3);
    pleat_layer torch = line_layer(PLEAT_TORCH, true, &g, PLEAT_PADDING_EXPLICIT), onnx = torch;
    onnx.framework = PLEAT_ONNX;
    torch = with_output_padding(torch, 2);
    onnx = with_output_padding(onnx, 2);
    expect_cropped(&torch, &g, g.L + 2, 0);
    expect_refused(&onnx, &g);
}

Test(facts, pads_beside_output_shape_are_ignored_by_onnx) {
    line g = line_of(4, 3, 2, 1); /* 9 natural pixels */
    pleat_layer plain = with_output_size(line_layer(PLEAT_ONNX, true, &g, PLEAT_PADDING_EXPLICIT), 6);
    pleat_layer padded = with_pads(plain, 5, 0), upper = with_pads(plain, 1, 1);
    expect_cropped(&plain, &g, 6, 2);
    expect_cropped(&padded, &g, 6, 2);
    upper.padding = PLEAT_PADDING_SAME_UPPER;
    expect_refused(&upper, &g);
}

Test(facts, kernels_smaller_than_the_stride) {
    line g = line_of(3, 1, 3, 1); /* 7 natural pixels, 3 * 3 = 9 */
    pleat_layer onnx = line_layer(PLEAT_ONNX, true, &g, PLEAT_PADDING_SAME_UPPER);
    pleat_layer tensorflow = line_layer(PLEAT_TENSORFLOW, true, &g, PLEAT_PADDING_SAME);
    expect_cropped(&onnx, &g, 7, 0);
    onnx = with_output_padding(onnx, 2);
    expect_cropped(&onnx, &g, 9, 0);
    expect_cropped(&tensorflow, &g, 9, 0);
    /* the convolution: TensorFlow reads the first pixel, ONNX Runtime, from a stride of 4 on, the second */
    line h = line_of(4, 1, 4, 1);
    pleat_layer first = line_layer(PLEAT_TENSORFLOW, false, &h, PLEAT_PADDING_SAME);
    pleat_layer second = line_layer(PLEAT_ONNX, false, &h, PLEAT_PADDING_SAME_UPPER);
    expect_line(&first, &h, 1, VALUES(3));
    expect_line(&second, &h, 1, VALUES(6));
}

Test(facts, output_size_beside_output_padding) {
    line g = line_of(4, 3, 3, 1); /* 12 natural pixels */
    pleat_layer torch = with_output_size(line_layer(PLEAT_TORCH, true, &g, PLEAT_PADDING_EXPLICIT), 13);
    torch = with_output_padding(torch, 9); /* the module forgets it */
    expect_cropped(&torch, &g, 13, 0);
    pleat_layer onnx = with_output_size(line_layer(PLEAT_ONNX, true, &g, PLEAT_PADDING_EXPLICIT), 10);
    expect_cropped(&onnx, &g, 10, 1);
    onnx = with_output_padding(onnx, 2); /* four pixels to cut instead of two */
    expect_cropped(&onnx, &g, 10, 2);
}

Test(facts, a_dilated_transpose_is_one_with_zeros_in_its_kernel) {
    pleat_layer l = {.framework = PLEAT_TENSORFLOW,
                     .transpose = true,
                     .stride = {2, 3},
                     .dilation = {2, 3},
                     .groups = 1,
                     .padding = PLEAT_PADDING_SAME,
                     .channels_last = true};
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(2, 3, 4, 2)),
                 *w = whole(PLEAT_F64, PLEAT_SHAPE(3, 2, 3, 2));
    pleat_tensor *stuffed = pleat_pad(w, (size_t[]){5, 4, 3, 2}, (size_t[4]){0}, (size_t[]){2, 3, 1, 1});
    pleat_tensor *y = pleat_layer_apply(&l, x, w, NULL);
    l.dilation[0] = l.dilation[1] = 1;
    EXPECT_SAME(pleat_layer_apply(&l, x, stuffed, NULL), y);
}

Test(facts, torch_takes_paddings_beyond_the_kernel_and_empty_batches) {
    line g = line_of(6, 2, 1, 1);
    pleat_layer l = with_pads(line_layer(PLEAT_TORCH, true, &g, PLEAT_PADDING_EXPLICIT), 3, 3);
    expect_cropped(&l, &g, 1, 3);
    l.transpose = false;
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 1, 1, 6));
    pleat_tensor *w = counted(PLEAT_F32, PLEAT_SHAPE(5, 1, 1, 2));
    EXPECT_HOLDS(pleat_layer_apply(&l, none, w, NULL), PLEAT_SHAPE(0, 5, 1, 11), NULL);
}

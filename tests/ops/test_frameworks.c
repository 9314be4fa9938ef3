/* The frameworks' rules for size and crop, each against another way to say the same, on every small line: TensorFlow's
 * transpose as the gradient of its convolution, ONNX's as pixels cut off one by one, Keras' as a convolution of the
 * input with zeros between its pixels. */
#include <string.h>

#include "frameworks_lines.h"

TestSuite(frameworks, .init = tensors_begin, .fini = tensors_end);

/* ---- convolutions ---------------------------------------------------------------------------------------- */

/* How many kernels fit into the input with `total` pixels of padding (or, negative, without so many). */
static size_t windows(const line *g, ptrdiff_t total) {
    size_t n = 0;
    while ((ptrdiff_t)(n * g->s + g->ke) <= (ptrdiff_t)g->in + total) n++;
    return n;
}

/* The values of `out` kernels, the first at -before. */
static void slide(const line *g, ptrdiff_t before, size_t out, double *y) {
    for (size_t i = 0; i < out; i++) {
        y[i] = 0;
        for (size_t a = 0; a < g->k; a++) {
            ptrdiff_t at = (ptrdiff_t)(i * g->s + a * g->d) - before;
            if (at >= 0 && at < (ptrdiff_t)g->in) y[i] += g->x[at] * g->w[a];
        }
    }
}

static void expect_conv(pleat_layer l, const line *g, ptrdiff_t before, ptrdiff_t after) {
    double y[LINE];
    size_t out = windows(g, before + after);
    if (out == 0) {
        expect_refused(&l, g);
        return;
    }
    slide(g, before, out, y);
    expect_line(&l, g, out, y);
}

/* The least padding with which as many kernels fit as there are strides, begun ones included, in the input. */
static ptrdiff_t least_padding(const line *g, ptrdiff_t from) {
    size_t strides = 0;
    while (strides * g->s < g->in) strides++;
    while (windows(g, from) < strides) from++;
    return from;
}

Test(frameworks, convolutions_with_pads) {
    static const pleat_framework any[] = {PLEAT_TENSORFLOW, PLEAT_ONNX};
    for (line g = {0}; next_line(&g);) {
        for (size_t before = 0; before < 4; before++) {
            pleat_layer l = line_layer(PLEAT_TORCH, false, &g, PLEAT_PADDING_EXPLICIT);
            expect_conv(with_pads(l, before, before), &g, (ptrdiff_t)before, (ptrdiff_t)before);
            for (size_t after = 0; after < 8; after++) {
                l = line_layer(any[after % 2], false, &g, PLEAT_PADDING_EXPLICIT);
                expect_conv(with_pads(l, before, after / 2), &g, (ptrdiff_t)before, (ptrdiff_t)(after / 2));
            }
        }
    }
}

Test(frameworks, convolutions_valid_and_same) {
    for (line g = {0}; next_line(&g);) {
        ptrdiff_t total = least_padding(&g, 0);
        for (pleat_framework f = 0; f < PLEAT_FRAMEWORKS; f++) {
            pleat_layer same = line_layer(f, false, &g, PLEAT_PADDING_SAME);
            pleat_layer valid = line_layer(f, false, &g, PLEAT_PADDING_VALID);
            bool both = g.s > 1 && g.d > 1;
            if (f == PLEAT_KERAS && both) {
                expect_refused(&valid, &g);
            } else {
                expect_conv(valid, &g, 0, 0);
            }
            if (f == PLEAT_ONNX || (f == PLEAT_KERAS && both) || (f == PLEAT_TORCH && g.s > 1)) {
                expect_refused(&same, &g);
            } else {
                expect_conv(same, &g, total / 2, total - total / 2);
            }
        }
    }
}

/* Where the kernel is smaller than the stride, the padding becomes negative; of n pixels too many at the end, ONNX Runtime
 * takes half of n - 1 away at the front (SAME_LOWER: half of n - 2). */
Test(frameworks, convolutions_same_of_onnx) {
    for (line g = {0}; next_line(&g);) {
        pleat_layer upper = line_layer(PLEAT_ONNX, false, &g, PLEAT_PADDING_SAME_UPPER);
        pleat_layer lower = line_layer(PLEAT_ONNX, false, &g, PLEAT_PADDING_SAME_LOWER);
        if (g.d > 1) {
            expect_refused(&upper, &g);
            expect_refused(&lower, &g);
            continue;
        }
        ptrdiff_t total = least_padding(&g, -8), n = -total;
        ptrdiff_t front[2] = {total / 2, total - total / 2};
        if (n > 0) front[0] = -((n - 1) / 2), front[1] = n == 1 ? 0 : -((n - 2) / 2);
        expect_conv(upper, &g, front[0], total - front[0]);
        expect_conv(lower, &g, front[1], total - front[1]);
    }
}

/* ---- transposes ------------------------------------------------------------------------------------------ */

Test(frameworks, transposes_of_torch) {
    for (line g = {0}; next_line(&g);) {
        for (size_t p = 0; p < 4; p++) {
            pleat_layer l = with_pads(line_layer(PLEAT_TORCH, true, &g, PLEAT_PADDING_EXPLICIT), p, p);
            ptrdiff_t shortest = (ptrdiff_t)g.L - 2 * (ptrdiff_t)p;
            for (size_t op = 0; op < 6; op++) {
                pleat_layer longer = with_output_padding(l, op);
                ptrdiff_t out = shortest + (ptrdiff_t)op;
                if (out < 1 || (op >= g.s && op >= g.d)) {
                    expect_refused(&longer, &g);
                } else {
                    expect_cropped(&longer, &g, (size_t)out, p);
                    if (op == 0) expect_cropped(&l, &g, (size_t)out, p);
                }
            }
            /* an output_size is one that the convolution takes to the input's size */
            for (size_t out = 0; out < g.L + 6; out++) {
                line image = {.in = out, .s = g.s, .ke = g.ke};
                pleat_layer sized = with_output_size(l, out);
                if (out == 0 || windows(&image, 2 * (ptrdiff_t)p) != g.in) {
                    expect_refused(&sized, &g);
                } else {
                    expect_cropped(&sized, &g, out, p);
                }
            }
        }
    }
}

/* The convolution of TensorFlow on an image of `out` pixels: its map, and the padding in front. */
static size_t tensorflow_map(const line *g, size_t out, pleat_padding padding, size_t before, size_t after,
                             size_t *front) {
    line image = {.in = out, .s = g->s, .ke = g->ke};
    ptrdiff_t total = padding == PLEAT_PADDING_SAME ? least_padding(&image, 0) : (ptrdiff_t)(before + after);
    *front = padding == PLEAT_PADDING_SAME ? (size_t)total / 2 : before;
    return windows(&image, total);
}

Test(frameworks, transposes_of_tensorflow) {
    for (line g = {0}; next_line(&g);) {
        for (size_t i = 0; i < 11; i++) {
            pleat_padding padding = i == 0   ? PLEAT_PADDING_SAME
                                    : i == 1 ? PLEAT_PADDING_VALID
                                             : PLEAT_PADDING_EXPLICIT;
            size_t before = i < 2 ? 0 : (i - 2) / 3, after = i < 2 ? 0 : (i - 2) % 3, front, first = 0;
            pleat_layer l = with_pads(line_layer(PLEAT_TENSORFLOW, true, &g, padding), before, after);
            for (size_t out = 0; out < g.L + 6; out++) {
                pleat_layer sized = with_output_size(l, out);
                if (out == 0 || tensorflow_map(&g, out, padding, before, after, &front) != g.in) {
                    expect_refused(&sized, &g);
                    continue;
                }
                if (first == 0) first = out;
                expect_cropped(&sized, &g, out, front);
            }
            size_t standard = padding == PLEAT_PADDING_SAME    ? g.in * g.s
                              : padding == PLEAT_PADDING_VALID ? (g.in - 1) * g.s + (g.ke > g.s ? g.ke : g.s)
                                                               : first;
            if (standard == 0) {
                expect_refused(&l, &g);
            } else {
                tensorflow_map(&g, standard, padding, before, after, &front);
                expect_cropped(&l, &g, standard, front);
            }
        }
    }
}

/* Take pixels from both ends in turn until `wanted` are left; what is missing are zeros. */
static void expect_peeled(pleat_layer l, const line *g, size_t length, size_t wanted, bool end_first) {
    size_t first = 0, last = length;
    for (bool end = end_first; last - first > wanted; end = !end) {
        if (end)
            last--;
        else
            first++;
    }
    expect_cropped(&l, g, wanted, first);
}

static void expect_onnx(pleat_layer l, const line *g, size_t op) {
    bool upper = l.padding == PLEAT_PADDING_SAME_UPPER, same = upper || l.padding == PLEAT_PADDING_SAME_LOWER;
    size_t length = g->L + op;
    if (same) {
        size_t wanted = g->in * g->s;
        expect_peeled(l, g, length, length < wanted ? length : wanted, upper);
    } else if (length <= (size_t)(l.pads[1] + l.pads[3])) {
        expect_refused(&l, g);
    } else {
        expect_cropped(&l, g, length - (size_t)(l.pads[1] + l.pads[3]), (size_t)l.pads[1]);
    }
    for (size_t out = 0; out < g->L + 6; out++) {
        pleat_layer sized = with_output_size(l, out);
        if (out == 0 || out >= g->L + g->s) {
            expect_refused(&sized, g);
        } else {
            expect_peeled(sized, g, length, out, upper);
        }
    }
}

Test(frameworks, transposes_of_onnx) {
    static const pleat_padding paddings[] = {PLEAT_PADDING_EXPLICIT, PLEAT_PADDING_VALID,
                                             PLEAT_PADDING_SAME_UPPER, PLEAT_PADDING_SAME_LOWER};
    for (line g = {0}; next_line(&g);) {
        for (size_t i = 0; i < 7; i++) {
            pleat_layer l = line_layer(PLEAT_ONNX, true, &g, paddings[i < 4 ? i : 0]);
            if (i >= 4) l = with_pads(l, i - 4, 7 - i);
            expect_onnx(l, &g, 0);
            for (size_t op = 0; op < 6; op++) {
                pleat_layer longer = with_output_padding(l, op);
                if (op >= g.s) {
                    expect_refused(&longer, &g);
                } else {
                    expect_onnx(longer, &g, op);
                }
            }
        }
    }
}

/* The transpose as Keras spells it on JAX: zeros between the pixels, `front` and `back` pixels of padding, and a convolution
 * with the kernel turned round. */
static void expect_stuffed(pleat_layer l, const line *g, ptrdiff_t front, ptrdiff_t back) {
    double y[LINE] = {0};
    ptrdiff_t stuffed = (ptrdiff_t)((g->in - 1) * g->s + 1);
    ptrdiff_t out = stuffed + front + back - (ptrdiff_t)g->ke + 1;
    if (out < 1) {
        expect_refused(&l, g);
        return;
    }
    for (ptrdiff_t i = 0; i < out; i++) {
        for (size_t a = 0; a < g->k; a++) {
            ptrdiff_t at = i + (ptrdiff_t)((g->k - 1 - a) * g->d) - front;
            if (at < 0 || at >= stuffed || at % (ptrdiff_t)g->s != 0) continue;
            y[i] += g->x[at / (ptrdiff_t)g->s] * g->w[a];
        }
    }
    expect_line(&l, g, (size_t)out, y);
}

static void expect_keras(pleat_layer l, const line *g) {
    ptrdiff_t ke = (ptrdiff_t)g->ke, s = (ptrdiff_t)g->s, op = (ptrdiff_t)l.output_padding[1];
    if ((g->s > 1 && g->d > 1) || op >= s) {
        expect_refused(&l, g);
    } else if (l.padding == PLEAT_PADDING_VALID) {
        if (!l.has_output_padding) op = (ke > s ? ke : s) - ke;
        expect_stuffed(l, g, ke - 1, ke - 1 + op);
    } else {
        ptrdiff_t both = l.has_output_padding ? ke + ke % 2 - 2 + op : s + ke - 2;
        ptrdiff_t front = both - both / 2 < ke - 1 ? both - both / 2 : ke - 1;
        expect_stuffed(l, g, front, both - front);
    }
}

Test(frameworks, transposes_of_keras) {
    for (line g = {0}; next_line(&g);) {
        for (int same = 0; same < 2; same++) {
            pleat_layer l =
                line_layer(PLEAT_KERAS, true, &g, same ? PLEAT_PADDING_SAME : PLEAT_PADDING_VALID);
            expect_keras(l, &g);
            for (size_t op = 0; op < 6; op++) expect_keras(with_output_padding(l, op), &g);
        }
    }
}

/* ---- the range of sizes ---------------------------------------------------------------------------------- */

/* least..most are the sizes that some output_padding or output_size gives, all of them and no other. */
static void expect_range(pleat_layer l, const line *g) {
    bool reached[LINE] = {false};
    size_t least = 0, most = 0;
    pleat_layer_plan p;
    bool legal = plan_line(&l, g, &p);
    if (legal) reached[p.out[1]] = true;
    for (size_t n = 0; n < g->L + 8; n++) {
        pleat_layer tries[] = {with_output_padding(l, n), with_output_size(l, n)};
        for (size_t i = 0; i < 2; i++)
            if (plan_line(&tries[i], g, &p)) reached[p.out[1]] = true;
    }
    for (size_t n = 0; n < LINE; n++) {
        if (!reached[n]) continue;
        if (least == 0) least = n;
        most = n;
    }
    if (plan_line(&l, g, &p) || most > 0)
        cr_assert(p.least[1] == least && p.most[1] == most && p.natural[1] == g->L,
                  "%s: %zu..%zu, but %zu..%zu", line_text(&l, g), p.least[1], p.most[1], least, most);
    for (size_t n = least; n <= most && most > 0; n++) cr_assert(reached[n], "%s: %zu", line_text(&l, g), n);
}

Test(frameworks, least_and_most) {
    for (line g = {0}; next_line(&g);) {
        for (pleat_padding padding = 0; padding <= PLEAT_PADDING_SAME_LOWER; padding++) {
            for (pleat_framework f = 0; f < PLEAT_FRAMEWORKS; f++) {
                pleat_layer l = line_layer(f, true, &g, padding);
                expect_range(l, &g);
                if (padding == PLEAT_PADDING_EXPLICIT) expect_range(with_pads(l, 1, 1), &g);
                if (padding == PLEAT_PADDING_EXPLICIT) expect_range(with_pads(l, 3, 3), &g);
            }
        }
    }
}

/* The transposed convolution of a well-known tutorial, stage by stage: zero insertion, an ordinary
 * convolution and a crop on one side, conv2d_transpose on the other, as TensorFlow does it with SAME padding.
 * Four maps of 3x3 become two of 6x6. Ends with status 1 if a number differs from the tutorial's. */
#include <stdio.h>
#include <string.h>

#include "pleat.h"

enum { IN = 4, OUT = 2, SMALL = 3, KERNEL = 3, STRIDE = 2, LARGE = SMALL * STRIDE, SPREAD = LARGE + 1 };

static const double input[IN][SMALL][SMALL] = {
    {{1, 0, 1}, {0, 2, 1}, {1, 1, 0}},
    {{2, 0, 2}, {0, 1, 0}, {1, 0, 0}},
    {{1, 1, 1}, {2, 2, 0}, {1, 1, 1}},
    {{1, 1, 2}, {1, 0, 1}, {0, 2, 2}},
};

static const double weights[OUT][IN][KERNEL][KERNEL] = {
    {{{1, 0, 1}, {-1, 1, 0}, {0, -1, 0}},
     {{-1, 0, 1}, {0, 0, 1}, {1, 1, 1}},
     {{0, 1, 1}, {2, 0, 1}, {1, 2, 1}},
     {{1, 1, 1}, {0, 2, 1}, {1, 0, 1}}},
    {{{1, 0, 2}, {-2, 1, 1}, {1, -1, 0}},
     {{-1, 0, 1}, {-1, 2, 1}, {1, 1, 1}},
     {{0, 0, 0}, {2, 2, 1}, {1, -1, 1}},
     {{2, 1, 1}, {0, -1, 1}, {1, 1, 1}}},
};

static const double expected[OUT][LARGE][LARGE] = {
    {{4, 3, 6, 2, 7, 3},
     {4, 3, 3, 2, 7, 5},
     {8, 6, 8, 5, 11, 2},
     {3, 2, 7, 2, 3, 3},
     {5, 5, 11, 3, 9, 3},
     {2, 1, 4, 5, 4, 4}},
    {{4, 1, 7, 0, 7, 2},
     {5, 6, 0, 1, 8, 5},
     {8, 0, 8, -2, 14, 2},
     {3, 3, 9, 8, 1, 0},
     {3, 0, 13, 0, 11, 2},
     {3, 5, 3, 1, 3, 0}},
};

/* The maps of t [1,M,H,W] side by side. */
static void show(const char *title, pleat_tensor *t) {
    printf("%s\n", title);
    for (size_t h = 0; h < pleat_size(t, 2); h++) {
        for (size_t m = 0; m < pleat_size(t, 1); m++) {
            printf("   ");
            for (size_t w = 0; w < pleat_size(t, 3); w++) printf(" %3g", pleat_at(t, (size_t[]){0, m, h, w}));
        }
        printf("\n");
    }
    printf("\n");
}

static pleat_tensor *by_zero_insertion(pleat_tensor *x, pleat_tensor *w, bool verbose) {
    /* x[i][j] goes to [2i+1][2j+1] of a map of zeros */
    pleat_tensor *spread = pleat_pad(x, (size_t[]){1, IN, SPREAD, SPREAD}, (size_t[]){0, 0, 1, 1},
                                     (size_t[]){1, 1, STRIDE, STRIDE});
    pleat_tensor *full = pleat_conv2d(spread, w, .pad = {1, 1});
    pleat_tensor *y = pleat_slice(full, (size_t[]){0, 0, 0, 0}, (size_t[]){1, OUT, LARGE, LARGE}, NULL);
    if (verbose) {
        show("Method 1, zero insertion. The four maps spread out to 7x7:", spread);
        show("the convolution with the two 4x3x3 filters, one ring of zeros around (7x7):", full);
        show("the crop: without the last row and column (6x6):", y);
    }
    return y;
}

static pleat_tensor *by_transpose(pleat_tensor *x, pleat_tensor *w, bool verbose) {
    /* zero insertion correlates with the kernel as written, the transpose scatters it: hence the half turn.
     * Seen from the forward convolution the four maps are its output, so they come first in the weights. */
    pleat_tensor *turned = pleat_permute(pleat_flip(w, PLEAT_AXES(2, 3)), (size_t[]){1, 0, 2, 3});
    /* SAME: the natural size is (3-1)*2 + 3 = 7, one more than 6; floor(1/2) = 0 of it are cropped in
     * front */
    pleat_tensor *y = pleat_conv2d_transpose(x, turned, .stride = {STRIDE, STRIDE}, .size = {LARGE, LARGE});
    if (verbose)
        show("Method 2, conv2d_transpose: stride 2, SAME, the filters rotated by 180 degrees (6x6):", y);
    return y;
}

static size_t differences(pleat_tensor *y) {
    double found[OUT * LARGE * LARGE], wanted[OUT * LARGE * LARGE];
    size_t count = 0;
    if (pleat_numel(y) != OUT * LARGE * LARGE) return 1;
    memcpy(wanted, expected, sizeof wanted);
    pleat_read_f64(y, found);
    for (size_t i = 0; i < OUT * LARGE * LARGE; i++) count += !(found[i] == wanted[i]);
    return count;
}

static size_t run(pleat_ctx *ctx, pleat_dtype dtype, bool verbose) {
    pleat_tensor *x = pleat_from_f64(ctx, dtype, PLEAT_SHAPE(1, IN, SMALL, SMALL), &input[0][0][0]);
    pleat_tensor *w = pleat_from_f64(ctx, dtype, PLEAT_SHAPE(OUT, IN, KERNEL, KERNEL), &weights[0][0][0][0]);
    if (verbose) show("The input, four maps of 3x3:", x);
    return differences(by_zero_insertion(x, w, verbose)) + differences(by_transpose(x, w, verbose));
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new();
    if (ctx == NULL) {
        fprintf(stderr, "article: no memory\n");
        return 1;
    }
    size_t wrong = run(ctx, PLEAT_F64, true) + run(ctx, PLEAT_F32, false);
    if (pleat_error(ctx)->code != PLEAT_OK) {
        fprintf(stderr, "article: %s\n", pleat_error(ctx)->text);
    } else if (wrong > 0) {
        fprintf(stderr, "article: %zu numbers differ from the tutorial's\n", wrong);
    } else {
        printf("Both methods give the tutorial's two maps exactly, in f64 and in f32.\n");
    }
    bool good = wrong == 0 && pleat_error(ctx)->code == PLEAT_OK;
    pleat_ctx_free(ctx);
    return good ? 0 : 1;
}

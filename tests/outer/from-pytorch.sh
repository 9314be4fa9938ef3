#!/bin/sh
# The right column of examples/from-pytorch.md compiles, line by line, and each line runs without an error of pleat.
. "$(dirname "$0")/common.sh"

page=$root/examples/from-pytorch.md
cat >"$tmp/page.c" <<'END'
#include <pleat_nn.h>

static pleat_tensor *f(size_t n, pleat_tensor *const *xs, void *user) { return (void)n, (void)user, pleat_exp(xs[0]); }
static pleat_tensor *mean_loss(void *net, const pleat_nn_batch *b, double *metric) {
    return (void)metric, pleat_mean(pleat_square(pleat_nn_forward(net, pleat_concat(3, (pleat_tensor *[]){b->x, b->x, b->x}, 1))));
}
static pleat_ctx *ctx;
static pleat_nn_module *net;
static pleat_nn_optimizer *opt;
static pleat_nn_images images;
static pleat_nn_loader *loader;
static const size_t labels[] = {0, 4, 2, 2};
static int wrong;
static void outcome(int line) {
    if (pleat_error(ctx)->code == PLEAT_OK) return;
    printf("from-pytorch.md:%d: %s\n", line, pleat_error(ctx)->text);
    pleat_clear_error(ctx);
    wrong++;
}
#define X pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 8, 8))
#define BEGIN                                                                                                           \
    pleat_scope row_ = pleat_begin(ctx);                                                                                \
    pleat_tensor *x = X, *y = X, *z = X, *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 3, 3, 3));                     \
    pleat_tensor *A = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 5)), *v = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(5)); \
    pleat_tensor *B = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(5, 6)), *x64 = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(5)); \
    pleat_tensor *loss = pleat_nn_mse_loss(pleat_nn_forward(net, x), y);
int main(void) {
    ctx = pleat_ctx_new(.seed = 1);
    net = pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 3, 4, .kernel = {3, 3}, .pad = {1, 1}), pleat_nn_relu(ctx),
                              pleat_nn_conv2d(ctx, 4, 3, .kernel = {3, 3}, .pad = {1, 1}));
    opt = pleat_nn_adam(net, .lr = 1e-3);
    pleat_nn_shapes(ctx, 40, 16, 16, 1, &images);
    loader = pleat_nn_loader_new(ctx, &images, .batch = 10, .shuffle = true);
    outcome(0);
END
# spans of code with a name of pleat in them; the line numbers of the compiler are the page's
awk '/^\| / && !/^\| PyTorch / {
    line = $0
    gsub(/\\\|/, "\001", line)
    n = split(line, cell, / \| /)
    text = cell[n]
    gsub("\001", "|", text)
    spans = split(text, span, "`")
    code = ""
    for (i = 2; i <= spans; i += 2) if (span[i] ~ /pleat_/) code = code span[i] "; "
    rows++
    if (code != "") printf "#line %d \"from-pytorch.md\"\n{ BEGIN { %s } outcome(%d); pleat_end(row_); }\n", NR, code, NR
}
END {
    print "if (wrong) return 1;"
    print "pleat_nn_optimizer_free(opt), pleat_nn_free(net), pleat_nn_loader_free(loader), pleat_nn_images_free(&images);"
    print "pleat_ctx_free(ctx);"
    printf "printf(\"%d rows\\n\");\n}\n", rows
}' "$page" >>"$tmp/page.c"

PKG_CONFIG_PATH=$build/meson-uninstalled:${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH
cd "$tmp" || exit 1
printf 'a,b,y\n1,2,3\n4,5,6\n' >t.csv
must $cc -std=c17 -Wall -Wextra -Werror -Wno-unused-value -Wno-unused-variable page.c -o page $(pkg-config --cflags --libs pleat) -Wl,-rpath,"$build"
must ./page
rows=$(echo "$output" | sed -n 's/ rows$//p')
[ "$rows" -ge 50 ] || fail "only $rows rows were found"

/* Write a network of tests/bench, or `sine`, as a C file with a self-test: export_nets NET INPUTS FILE.c (tests/cortex-m.sh) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/nets.h"

/* The network of TensorFlow Lite Micro's hello_world, whose sizes others publish. */
static pleat_nn_module *sine(pleat_ctx *ctx) {
    return pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 1, 16), pleat_nn_relu(ctx),
                               pleat_nn_linear(ctx, 16, 16), pleat_nn_relu(ctx), pleat_nn_linear(ctx, 16, 1));
}

static int write_c(pleat_nn_module *m, size_t rank, const size_t *shape, char **argv) {
    pleat_ctx *ctx = pleat_nn_ctx(m);
    pleat_nn_set_training(m, false);
    pleat_nn_export_c(m, rank, shape, argv[3], .test = strtoul(argv[2], NULL, 10));
    if (pleat_error(ctx)->code) fprintf(stderr, "export_nets: %s\n", pleat_error(ctx)->text);
    return pleat_error(ctx)->code != PLEAT_OK;
}

int main(int argc, char **argv) {
    subject s = {.net = argc == 4 ? find_bench_net(argv[1]) : NULL, .batch = 1, .repeatable = true};
    if (argc == 4 && !strcmp(argv[1], "sine")) {
        pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
        pleat_nn_module *m = sine(ctx);
        int status = m ? write_c(m, PLEAT_SHAPE(1, 1), argv) : 1;
        pleat_nn_free(m);
        pleat_ctx_free(ctx);
        return status;
    }
    if (!s.net) {
        fprintf(stderr,
                "usage: export_nets NET INPUTS FILE.c; NET: sine, or a network of tests/bench/nets.c\n");
        return 2;
    }
    if (!subject_start(&s, 1)) return 1;
    int status = write_c(s.module[0], pleat_rank(s.in[0]), pleat_shape(s.in[0]), argv);
    subject_stop(&s);
    return status;
}

/* Checkpoints: everything comes back, bit for bit, or nothing does. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "optimizer.h"
#include "scratch.h"

TestSuite(checkpoint, .init = scratch_begin, .fini = scratch_end);

static char path[128];

static const char *file(void) {
    snprintf(path, sizeof path, "%s/c.safetensors", scratch_folder);
    return path;
}

typedef struct run {
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_ema *ema;
} run;

/* Every method with its state, batch statistics, and a random stream that matters. */
static run make(size_t method, size_t width) {
    run r = {pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, width, .kernel = {2, 2}),
                                 pleat_nn_batch_norm2d(ctx, width), pleat_nn_relu(ctx),
                                 pleat_nn_dropout(ctx, 0.3), pleat_nn_flatten(ctx),
                                 pleat_nn_linear(ctx, width * 4, 1)),
             NULL, NULL};
    if (method == 0) r.opt = pleat_nn_adam(r.net, .lr = 0.01);
    if (method == 1) r.opt = pleat_nn_sgd(r.net, .lr = 0.01, .momentum = 0.9);
    if (method == 2) r.opt = pleat_nn_rmsprop(r.net, .lr = 0.01, .momentum = 0.5, .centered = true);
    if (method == 3) r.opt = pleat_nn_sgd(r.net, .lr = 0.01);
    r.ema = pleat_nn_ema_new(r.net, 0.9);
    cr_assert(r.net && r.opt && r.ema, "%s", pleat_error(ctx)->text);
    return r;
}

static void end(run *r) {
    pleat_nn_ema_free(r->ema);
    pleat_nn_optimizer_free(r->opt);
    pleat_nn_free(r->net);
}

static void steps(run *r, size_t n) {
    for (size_t i = 0; i < n; i++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 1, 3, 3));
        cr_assert_eq(
            pleat_nn_step(r->opt, pleat_mean(pleat_square(pleat_shift(pleat_nn_forward(r->net, x), 1)))),
            PLEAT_OK, "%s", pleat_error(ctx)->text);
        pleat_nn_ema_update(r->ema);
        pleat_end(s);
    }
}

/* All numbers of the net and of its averages. */
static size_t numbers(run *r, double *to) {
    size_t n = 0;
    for (int half = 0; half < 2; half++, pleat_nn_ema_swap(r->ema))
        for (size_t i = 0; i < pleat_nn_state_count(r->net); i++) {
            pleat_read_f64(pleat_nn_state(r->net, i), to + n);
            n += pleat_numel(pleat_nn_state(r->net, i));
        }
    return n;
}

static double first[500], second[500];

static void expect_same(run *a, run *b) {
    size_t n = numbers(a, first);
    cr_assert_eq(numbers(b, second), n);
    cr_assert_eq(memcmp(first, second, n * sizeof *first), 0);
}

static pleat_nn_checkpoint of(run *r) {
    return (pleat_nn_checkpoint){.ctx = ctx, .part = {{"net", r->net, r->opt, r->ema}}};
}

Test(checkpoint, goes_on_as_if_nothing_had_been) {
    for (size_t method = 0; method < 4; method++) {
        run a = make(method, 3), b = make(method, 3);
        steps(&a, 5);
        pleat_nn_set_lr(a.opt, 0.0123456789012345678);
        pleat_nn_note notes[] = {{.key = "place", .text = "5 of 9, \"quoted\" \xc3\xa9"}, {.key = "other"}};
        pleat_nn_checkpoint c = of(&a);
        c.notes = 2;
        c.note = notes;
        c.history = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(3, 2));
        cr_assert_eq(pleat_nn_save_checkpoint(file(), &c), PLEAT_OK, "%s", pleat_error(ctx)->text);
        steps(&a, 4);
        pleat_nn_note found[] = {{.key = "place"}, {.key = "missing", .text = "x"}};
        pleat_nn_checkpoint d = of(&b);
        d.notes = 2;
        d.note = found;
        cr_assert_eq(pleat_nn_load_checkpoint(file(), &d), PLEAT_OK, "%s", pleat_error(ctx)->text);
        cr_assert_str_eq(found[0].text, notes[0].text);
        cr_assert_str_eq(found[1].text, "");
        cr_assert_eq(pleat_item(pleat_sum(pleat_ne(d.history, c.history))), 0);
        cr_assert_eq(pleat_nn_lr(b.opt), 0.0123456789012345678);
        cr_assert_eq(pln_optimizer_steps(b.opt, 0), 5);
        steps(&b, 4);
        expect_same(&a, &b);
        end(&a);
        end(&b);
    }
}

static void expect_unchanged(run *r, pleat_status code, const char *part) {
    size_t n = numbers(r, first);
    pleat_rng before = *pleat_ctx_rng(ctx);
    double steps_before = pln_optimizer_steps(r->opt, 0);
    pleat_nn_checkpoint c = of(r);
    pleat_status s = pleat_nn_load_checkpoint(file(), &c);
    expect_error(s, code, part);
    numbers(r, second);
    cr_assert_eq(memcmp(first, second, n * sizeof *first), 0, "a failed load has changed something");
    cr_assert_eq(memcmp(&before, pleat_ctx_rng(ctx), sizeof before), 0);
    cr_assert_eq(pln_optimizer_steps(r->opt, 0), steps_before);
}

Test(checkpoint, refuses_another_run) {
    run a = make(0, 3), wide = make(0, 4), other = make(1, 3), plain = make(0, 3);
    steps(&a, 2);
    pleat_nn_checkpoint c = of(&a);
    cr_assert_eq(pleat_nn_save_checkpoint(file(), &c), PLEAT_OK);
    expect_unchanged(&wide, PLEAT_ERR_SHAPE,
                     "net.0.weight is [3,1,2,2] in the file and [4,1,2,2] in this run");
    expect_unchanged(&other, PLEAT_ERR_FORMAT,
                     "net.optimizer.0.weight.momentum_buffer is missing; the file has "
                     "net.optimizer.0.weight.exp_avg");
    c = of(&a);
    c.part[0].opt = NULL;
    cr_assert_eq(pleat_nn_save_checkpoint(file(), &c), PLEAT_OK);
    expect_unchanged(&plain, PLEAT_ERR_FORMAT,
                     "holds net, net.ema, and this run has net, net.optimizer, net.ema");
    cr_assert_eq(pleat_nn_save(file(), a.net), PLEAT_OK);
    expect_unchanged(&plain, PLEAT_ERR_FORMAT, "not a checkpoint");
    end(&a);
    end(&wide);
    end(&other);
    end(&plain);
}

Test(checkpoint, refuses_parts_that_do_not_belong) {
    run a = make(0, 3), b = make(0, 3);
    pleat_nn_checkpoint c[5];
    for (size_t i = 0; i < 5; i++) c[i] = of(&a);
    c[0].part[0].net = NULL;
    c[1].part[0].name = "";
    c[2].part[1] = c[2].part[0];
    c[3].part[0].opt = b.opt;
    c[4].part[0].ema = b.ema;
    const char *says[] = {"must have a network", "must have 1 to 31", "same name", "optimizer must be",
                          "ema must be"};
    for (size_t i = 0; i < 5; i++) {
        expect_error(pleat_nn_save_checkpoint(file(), &c[i]), PLEAT_ERR_ARGUMENT, says[i]);
        expect_error(pleat_nn_load_checkpoint(file(), &c[i]), PLEAT_ERR_ARGUMENT, says[i]);
    }
    pleat_nn_ema_swap(a.ema);
    pleat_nn_checkpoint swapped = of(&a);
    expect_error(pleat_nn_save_checkpoint(file(), &swapped), PLEAT_ERR_ARGUMENT, "swap them back");
    end(&a);
    end(&b);
}

/* Every byte of the header turned, and every length: an error that changes nothing, or the same numbers. */
Test(checkpoint, survives_damage, .timeout = 60) {
    static char good[16384], bad[16384];
    run a = make(3, 1), b = make(3, 1);
    steps(&a, 1);
    pleat_nn_checkpoint c = of(&a);
    cr_assert_eq(pleat_nn_save_checkpoint(file(), &c), PLEAT_OK);
    FILE *f = fopen(file(), "rb");
    size_t n = fread(good, 1, sizeof good, f), loaded = 0;
    fclose(f);
    for (size_t i = 0; i < 2 * n; i++) {
        size_t bytes = i < n ? n : i - n;
        memcpy(bad, good, n);
        if (i < n) bad[i] = (char)(bad[i] ^ 1 << i % 7);
        f = fopen(file(), "wb");
        cr_assert_eq(fwrite(bad, 1, bytes, f), bytes);
        fclose(f);
        pleat_nn_checkpoint d = of(&b);
        pleat_status s = pleat_nn_load_checkpoint(file(), &d);
        loaded += s == PLEAT_OK;
        cr_assert(s == PLEAT_OK || i >= n || pleat_error(ctx)->code != PLEAT_OK);
        cr_assert(i < n || s != PLEAT_OK, "cut to %zu bytes", bytes);
        cr_assert_null(strchr(pleat_error(ctx)->text, '\n'));
        pleat_clear_error(ctx);
    }
    cr_assert(loaded > 0 && loaded < n, "%zu of %zu turned bytes do not matter", loaded, n);
    end(&a);
    end(&b);
}

Test(checkpoint, a_full_disk_leaves_the_old_file) {
    run a = make(0, 3), b = make(0, 3);
    steps(&a, 2);
    pleat_nn_checkpoint c = of(&a);
    cr_assert_eq(pleat_nn_save_checkpoint(file(), &c), PLEAT_OK);
    steps(&a, 1);
    struct rlimit old, tight;
    getrlimit(RLIMIT_FSIZE, &old);
    tight = (struct rlimit){.rlim_cur = 600, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tight);
    pleat_status s = pleat_nn_save_checkpoint(file(), &c);
    setrlimit(RLIMIT_FSIZE, &old);
    expect_error(s, PLEAT_ERR_IO, "cannot write");
    c = of(&b);
    cr_assert_eq(pleat_nn_load_checkpoint(file(), &c), PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_assert_eq(pln_optimizer_steps(b.opt, 0), 2);
    end(&a);
    end(&b);
}

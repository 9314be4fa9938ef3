/* The loader: every image once, in an order and with transforms that seed, epoch and number decide, with and without its
 * thread. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mallocs.h"
#include "scratch.h"

TestSuite(loader, .init = scratch_begin, .fini = scratch_end);

enum { COUNT = 23, SIDE_H = 5, SIDE_W = 7 };

static uint8_t pixels[COUNT * 2 * SIDE_H * SIDE_W], labels[COUNT];

/* Images of two channels whose pixels say which image, channel, row and column they are. */
static pleat_nn_images numbered(void) {
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 7 % 251);
    for (size_t i = 0; i < COUNT; i++) labels[i] = (uint8_t)(i % 4);
    return (pleat_nn_images){
        .count = COUNT, .C = 2, .H = SIDE_H, .W = SIDE_W, .pixels = pixels, .labels = labels, .classes = 4};
}

/* All batches of an epoch, one after the other, into out; how many images. */
static size_t read_epoch(pleat_nn_loader *l, size_t epoch, size_t first, float *out, size_t *order) {
    pleat_nn_batch b;
    size_t n = 0, shape[PLEAT_MAX_RANK];
    cr_assert_eq(pleat_nn_loader_shape(l, 0, shape), 3);
    size_t each = shape[0] * shape[1] * shape[2];
    pleat_nn_loader_start(l, epoch, first);
    for (pleat_scope s = pleat_begin(ctx); pleat_nn_loader_next(l, &b); pleat_end(s), s = pleat_begin(ctx)) {
        cr_assert_eq(pleat_size(b.x, 0), b.n);
        cr_assert_eq(pleat_numel(b.x), b.n * each);
        memcpy(out + n * each, pleat_f32(b.x), b.n * each * sizeof *out);
        for (size_t i = 0; i < b.n; i++) {
            order[n++] = b.index[i];
            cr_assert_eq(b.labels[i], b.index[i] % 4);
        }
    }
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK, "%s", pleat_error(ctx)->text);
    return n;
}

static float first[COUNT * 2 * 20 * 20], second[COUNT * 2 * 20 * 20];
static size_t order[2][COUNT];

Test(loader, hands_out_every_image_once) {
    pleat_nn_images images = numbered();
    for (int keep = 0; keep < 2; keep++) {
        pleat_nn_loader *l =
            pleat_nn_loader_new(ctx, &images, .batch = 4, .shuffle = true, .keep_last = keep);
        cr_assert_eq(pleat_nn_loader_batches(l), keep ? 6 : 5);
        for (size_t epoch = 0; epoch < 3; epoch++) {
            size_t n = read_epoch(l, epoch, 0, first, order[0]), seen[COUNT] = {0};
            cr_assert_eq(n, keep ? 23 : 20);
            for (size_t i = 0; i < n; i++) {
                size_t item = order[0][i];
                seen[item]++;
                for (size_t k = 0; k < 70; k++)
                    cr_assert_eq(first[i * 70 + k], (float)pixels[item * 70 + k] / 255.0f);
            }
            for (size_t i = 0; i < COUNT; i++) cr_assert(seen[i] <= 1);
        }
        pleat_nn_loader_free(l);
    }
}

static const pleat_nn_transform busy = {.crop_pad = 2,
                                        .crop = {6, 4},
                                        .flip = 0.5,
                                        .flip_rows = 0.5,
                                        .noise = 0.2,
                                        .mean = {0.5, 0.25},
                                        .std = {2, 0.5}};

Test(loader, seed_epoch_and_number_decide) {
    pleat_nn_images images = numbered();
    pleat_nn_loader *a = pleat_nn_loader_new(ctx, &images, .batch = 3, .shuffle = true, .seed = 7,
                                             .transform = busy, .keep_last = true);
    pleat_nn_loader *b = pleat_nn_loader_new(ctx, &images, .batch = 3, .shuffle = true, .seed = 7,
                                             .transform = busy, .keep_last = true, .no_prefetch = true);
    for (size_t epoch = 0; epoch < 4; epoch++) {
        size_t n = read_epoch(a, epoch, 0, first, order[0]);
        cr_assert_eq(read_epoch(b, epoch, 0, second, order[1]), n);
        cr_assert_eq(memcmp(first, second, n * 48 * sizeof *first), 0, "epoch %zu: the thread shows", epoch);
        /* the tail of an epoch is that of the whole one, whatever came before */
        read_epoch(a, 9, 2, second, order[1]);
        cr_assert_eq(read_epoch(a, epoch, 5, second, order[1]), n - 15);
        cr_assert_eq(memcmp(first + 15 * 48, second, (n - 15) * 48 * sizeof *first), 0);
        cr_assert_eq(memcmp(order[0] + 15, order[1], (n - 15) * sizeof **order), 0);
        read_epoch(a, epoch + 1, 0, second, order[1]);
        cr_assert_neq(memcmp(order[0], order[1], sizeof *order), 0, "two epochs have one order");
    }
    pleat_nn_loader *c =
        pleat_nn_loader_new(ctx, &images, .batch = 3, .shuffle = true, .seed = 8, .keep_last = true);
    read_epoch(a, 0, 0, first, order[0]);
    read_epoch(c, 0, 0, second, order[1]);
    cr_assert_neq(memcmp(order[0], order[1], sizeof *order), 0, "two seeds have one order");
    pleat_nn_loader_free(a);
    pleat_nn_loader_free(b);
    pleat_nn_loader_free(c);
}

/* The window at (top, left) of the image with `pad` zeros around it, flipped. */
static float expected_pixel(size_t item, size_t c, ptrdiff_t row, ptrdiff_t column) {
    if (row < 0 || column < 0 || row >= SIDE_H || column >= SIDE_W) return 0;
    return (float)pixels[(item * 2 + c) * 35 + (size_t)row * SIDE_W + (size_t)column] / 255.0f;
}

static bool matches(const float *x, size_t item, ptrdiff_t top, ptrdiff_t left, bool flip, bool flip_rows) {
    for (ptrdiff_t c = 0; c < 2; c++)
        for (ptrdiff_t h = 0; h < 6; h++)
            for (ptrdiff_t w = 0; w < 4; w++)
                if (x[(c * 6 + h) * 4 + w] !=
                    expected_pixel(item, (size_t)c, top + (flip_rows ? 5 - h : h), left + (flip ? 3 - w : w)))
                    return false;
    return true;
}

Test(loader, crops_and_flips_are_windows_of_the_image) {
    pleat_nn_images images = numbered();
    pleat_nn_loader *l =
        pleat_nn_loader_new(ctx, &images, .batch = 23, .seed = 3,
                            .transform = {.crop_pad = 2, .crop = {6, 4}, .flip = 0.5, .flip_rows = 0.5});
    size_t places[4][8] = {{0}}, flips[4] = {0}, all = 0;
    for (size_t epoch = 0; epoch < 40; epoch++) {
        size_t n = read_epoch(l, epoch, 0, first, order[0]);
        for (size_t i = 0; i < n; i++) {
            size_t found = 0;
            for (size_t at = 0; at < 4 * 8 * 4 && !found; at++) {
                size_t top = at / 32, left = at / 4 % 8, flip = at % 4;
                if (!matches(first + i * 48, order[0][i], (ptrdiff_t)top - 2, (ptrdiff_t)left - 2, flip & 1,
                             flip & 2))
                    continue;
                places[top][left]++, flips[flip]++, found++, all++;
            }
            cr_assert(found, "no window of image %zu", order[0][i]);
        }
    }
    for (size_t top = 0; top < 4; top++)
        for (size_t left = 0; left < 8; left++) cr_assert(places[top][left], "never at %zu, %zu", top, left);
    for (size_t f = 0; f < 4; f++) cr_assert_float_eq((double)flips[f] / (double)all, 0.25, 0.06);
    pleat_nn_loader_free(l);
}

/* Up to four channels have a mean and a deviation of their own; of more, all have the first. */
Test(loader, normalisation_of_about_four_channels) {
    enum { N = 3, PIXELS = 6 };
    const pleat_nn_transform t = {.mean = {0.5, 0.25, 0.125, 2}, .std = {2, 0.5, 0, 4}};
    for (size_t C = 1; C <= 6; C++) {
        pleat_nn_images images = {
            .count = N, .C = C, .H = 2, .W = 3, .pixels = pixels, .labels = labels, .classes = 4};
        for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 7 % 251);
        for (size_t i = 0; i < N; i++) labels[i] = (uint8_t)(i % 4);
        pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = N, .transform = t);
        cr_assert_eq(read_epoch(l, 0, 0, first, order[0]), N);
        for (size_t i = 0; i < N * C * PIXELS; i++) {
            size_t c = i / PIXELS % C, k = C <= 4 ? c : 0;
            float rate = (float)(1 / (t.std[k] > 0 ? t.std[k] : 1)), v = (float)pixels[i] / 255.0f;
            cr_assert_eq(first[i], (v - (float)t.mean[k]) * rate, "channel %zu of %zu", c, C);
        }
        pleat_nn_loader_free(l);
    }
}

Test(loader, noise_and_normalisation) {
    static uint8_t grey[64 * 100];
    memset(grey, 128, sizeof grey);
    pleat_nn_images images = {.count = 64, .C = 1, .H = 10, .W = 10, .pixels = grey};
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = 64, .dtype = PLEAT_F64,
                                             .transform = {.noise = 0.1, .mean = {0.5}, .std = {0.25}});
    pleat_nn_batch b;
    pleat_nn_loader_start(l, 0, 0);
    cr_assert(pleat_nn_loader_next(l, &b));
    double grey_level = (128 / 255.0 - 0.5) / 0.25;
    cr_assert_float_eq(pleat_item(pleat_amax(b.clean)), grey_level, 1e-12);
    cr_assert_float_eq(pleat_item(pleat_amin(b.clean)), grey_level, 1e-12);
    cr_assert_float_eq(pleat_item(pleat_mean(b.x)), grey_level, 0.02);
    cr_assert_float_eq(pleat_item(pleat_sqrt(pleat_var(b.x))), 0.4, 0.02);
    cr_assert_null(b.labels);
    pleat_nn_loader_free(l);
    l = pleat_nn_loader_new(ctx, &images, .batch = 64, .transform = {.noise = 5});
    pleat_nn_loader_start(l, 0, 0);
    cr_assert(pleat_nn_loader_next(l, &b));
    cr_assert_eq(pleat_item(pleat_amax(b.x)), 1, "noise leaves 0..1");
    cr_assert_eq(pleat_item(pleat_amin(b.x)), 0, "noise leaves 0..1");
    cr_assert_neq(b.x, b.clean);
    pleat_nn_loader_free(l);
}

Test(loader, refuses) {
    pleat_nn_images images = numbered(), none = {0};
    pleat_nn_transform t[] = {
        {.crop = {6, 4}}, {.crop = {3, 0}}, {.flip = 1.5}, {.flip_rows = -1},
        {.noise = -1},    {.noise = NAN},   {.std = {-1}}, {.crop = {2, 2}, .crop_pad = SIZE_MAX}};
    const char *says[] = {"must not be larger",
                          ".crop = {3, 0} is half a pair",
                          "probabilities",
                          "probabilities",
                          "noise",
                          "noise",
                          "std",
                          "larger"};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        cr_assert_null(pleat_nn_loader_new(ctx, &images, .batch = 2, .transform = t[i]), "accepted: %s",
                       says[i]);
        expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, says[i]);
    }
    cr_assert_null(pleat_nn_loader_new(ctx, &images));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, ".batch must be given");
    cr_assert_null(pleat_nn_loader_new(ctx, &images, .batch = 24));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "larger than the number of items");
    cr_assert_null(pleat_nn_loader_new(ctx, &none, .batch = 1));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "hold images");
    cr_assert_null(pleat_nn_loader_new(ctx, NULL, .batch = 1));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "hold images");
    pleat_nn_loader_free(NULL);
}

Test(loader, may_be_broken_off_at_any_time) {
    pleat_nn_images images = numbered();
    for (size_t i = 0; i < 200; i++) {
        pleat_nn_batch b;
        pleat_scope s = pleat_begin(ctx);
        pleat_nn_loader *l =
            pleat_nn_loader_new(ctx, &images, .batch = 1 + i % 5, .shuffle = true, .transform = busy);
        for (size_t k = 0; k < i % 4; k++) pleat_nn_loader_start(l, k, i % 9);
        for (size_t k = 0; k < i % 3; k++) pleat_nn_loader_next(l, &b);
        pleat_nn_loader_free(l);
        pleat_end(s);
    }
    pleat_nn_batch b;
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = 4);
    cr_assert_not(pleat_nn_loader_next(l, &b), "a batch before the first start");
    pleat_nn_loader_start(l, 0, 99);
    cr_assert_not(pleat_nn_loader_next(l, &b), "a batch behind the last");
    pleat_nn_loader_free(l);
}

Test(loader, allocates_nothing_once_warm) {
    pleat_nn_images images = numbered();
    if (!mallocs_are_counted()) scratch_skip("the sanitizer has a malloc of its own");
    if (!mallocs_are_counted()) return;
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = 4, .shuffle = true, .transform = busy);
    for (size_t epoch = 0; epoch < 4; epoch++) {
        if (epoch == 2) mallocs_start();
        read_epoch(l, epoch, 0, first, order[0]);
    }
    cr_assert_eq(mallocs_stop(), 0);
    pleat_nn_loader_free(l);
}

/* Without the thread: what the C library needs for one is its own affair, and it does not survive every failure. */
Test(loader, survives_any_failing_allocation) {
    pleat_nn_images images = numbered();
    if (!mallocs_are_counted()) scratch_skip("the sanitizer has a malloc of its own");
    if (!mallocs_are_counted()) return;
    bool done = false;
    for (size_t n = 1; !done && n < 50; n++) {
        mallocs_start_failing(n);
        pleat_nn_loader *l =
            pleat_nn_loader_new(ctx, &images, .batch = 4, .transform = busy, .no_prefetch = true);
        mallocs_stop();
        done = l != NULL;
        if (!l) expect_error(pleat_error(ctx)->code, PLEAT_ERR_MEMORY, "no memory");
        pleat_nn_loader_free(l);
    }
    cr_assert(done);
}

/* The child of a fork has no thread, whatever that was doing: it reads the same bits, and frees the loader. */
Test(loader, lives_on_in_a_child) {
    enum { IMAGES = 40, BATCH = 10, EACH = 32 * 32 };
    static float expected[IMAGES * EACH], found[IMAGES * EACH];
    static size_t met[IMAGES];
    pleat_nn_images images;
    cr_assert_eq(pleat_nn_shapes(ctx, IMAGES, 32, 32, 1, &images), PLEAT_OK);
    for (size_t i = 0; i < IMAGES; i++) images.labels[i] = (uint8_t)(i % 4);
    pleat_nn_loader *l =
        pleat_nn_loader_new(ctx, &images, .batch = BATCH, .shuffle = true, .transform = {.noise = 0.1});
    cr_assert_eq(read_epoch(l, 1, 0, expected, met), IMAGES);
    for (int busy_thread = 0; busy_thread < 2; busy_thread++) {
        if (busy_thread) pleat_nn_loader_start(l, 0, 0);
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            bool same = read_epoch(l, 1, 0, found, met) == IMAGES && !memcmp(found, expected, sizeof found);
            pleat_nn_loader_free(l);
            _exit(!same);
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status), "the child was ended by signal %d", WTERMSIG(status));
        cr_assert_eq(WEXITSTATUS(status), 0, "other bits in the child");
    }
    cr_assert_eq(read_epoch(l, 1, 0, found, met), IMAGES);
    cr_assert(!memcmp(found, expected, sizeof found), "other bits after the fork");
    pleat_nn_loader_free(l);
    pleat_nn_images_free(&images);
}

/* The images are the caller's, and so is the struct that names them: only what it points to has to stay. */
Test(loader, needs_pixels_and_not_their_struct) {
    pleat_nn_images images = numbered();
    for (int threaded = 0; threaded < 2; threaded++) {
        pleat_nn_images passing = images;
        pleat_nn_loader *l =
            pleat_nn_loader_new(ctx, &passing, .batch = 3, .shuffle = true, .transform = busy,
                                .keep_last = true, .no_prefetch = !threaded);
        size_t n = read_epoch(l, 0, 0, first, order[0]);
        memset(&passing, 0xff, sizeof passing);
        cr_assert_eq(read_epoch(l, 0, 0, second, order[1]), n);
        cr_assert_eq(memcmp(first, second, n * 48 * sizeof *first), 0);
        pleat_nn_loader_free(l);
    }
}

/* Threads of this process that a signal can land in. */
static size_t open_threads(int number) {
    DIR *tasks = opendir("/proc/self/task");
    size_t n = 0;
    cr_assert(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char path[300], line[128];
        unsigned long long blocked = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!f) continue;
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1) break;
        fclose(f);
        n += !(blocked >> (number - 1) & 1);
    }
    closedir(tasks);
    return n;
}

/* Signals are the program's business. BLAS may have threads of its own that take them, but none of ours does. */
Test(loader, threads_take_no_signals) {
    pleat_nn_images images = numbered();
    size_t before = open_threads(SIGUSR1);
    pleat_set_threads(ctx, 3);
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(300, 300));
    pleat_item(pleat_sum(pleat_matmul(x, pleat_exp(x)))); /* starts the pool */
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = 4);
    read_epoch(l, 0, 0, first, order[0]);
    cr_assert_eq(open_threads(SIGUSR1), before, "a thread of the library would take a signal");
    pleat_nn_loader_free(l);
}

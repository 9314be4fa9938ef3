/* Each image has a random stream of its own, and a batch is the caller's only when it is made. */
#define _POSIX_C_SOURCE 200809L

#include <time.h>

#include "scratch.h"

TestSuite(streams, .init = scratch_begin, .fini = scratch_end);

enum { COUNT = 24, SIDE = 64, PLANE = SIDE * SIDE };

static uint8_t grey[COUNT * PLANE];
static float values[2][COUNT * PLANE];
static size_t items[2][COUNT];

/* An epoch of images that are all the same but for their noise. */
static void read_epoch(int which, size_t batch, bool shuffle, bool prefetch, size_t epoch) {
    pleat_nn_images images = {.count = COUNT, .C = 1, .H = SIDE, .W = SIDE, .pixels = grey};
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = batch, .shuffle = shuffle, .seed = 4,
                                             .no_prefetch = !prefetch, .transform = {.noise = 0.1});
    pleat_nn_batch b;
    size_t n = 0;
    memset(grey, 128, sizeof grey);
    pleat_nn_loader_start(l, epoch, 0);
    for (pleat_scope s = pleat_begin(ctx); pleat_nn_loader_next(l, &b); pleat_end(s), s = pleat_begin(ctx))
        for (size_t i = 0; i < b.n; i++, n++) {
            items[which][n] = b.index[i];
            memcpy(values[which] + b.index[i] * PLANE, pleat_f32(b.x) + i * PLANE, PLANE * sizeof(float));
        }
    cr_assert_eq(n, COUNT);
    pleat_nn_loader_free(l);
}

static bool same_image(int a, size_t i, int b, size_t k) {
    return !memcmp(values[a] + i * PLANE, values[b] + k * PLANE, PLANE * sizeof(float));
}

Test(streams, no_two_images_share_one) {
    read_epoch(0, 4, false, true, 0);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < i; k++)
            cr_assert(!same_image(0, i, 0, k), "images %zu and %zu have the same noise", i, k);
    read_epoch(1, 4, false, true, 1);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < COUNT; k++)
            cr_assert(!same_image(0, i, 1, k), "the next epoch has the noise of image %zu again", i);
}

/* The order, the batch, and the place in it do not show in an image. */
Test(streams, belong_to_the_image) {
    read_epoch(0, 4, false, true, 2);
    read_epoch(1, 6, true, true, 2);
    cr_assert_neq(memcmp(items[0], items[1], sizeof *items), 0);
    for (size_t i = 0; i < COUNT; i++) cr_assert(same_image(0, i, 1, i), "image %zu depends on its place", i);
}

/* A caller that does nothing but ask for the next one is faster than the thread that makes them. */
Test(streams, a_hasty_caller_gets_whole_batches) {
    read_epoch(0, 8, true, false, 3);
    for (size_t round = 0; round < 20; round++) {
        read_epoch(1, 8, true, true, 3);
        for (size_t i = 0; i < COUNT; i++)
            cr_assert(same_image(0, i, 1, i), "round %zu, image %zu", round, i);
    }
}

static double seconds_of_this_thread(void) {
    struct timespec t;
    cr_assert_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The caller waits, and copies what the loader's thread has made. */
Test(streams, batches_are_made_in_another_thread) {
    double seconds[2];
    for (int prefetch = 0; prefetch < 2; prefetch++) {
        double begin = seconds_of_this_thread();
        read_epoch(prefetch, 8, true, prefetch, 5);
        seconds[prefetch] = seconds_of_this_thread() - begin;
    }
    cr_assert_lt(2 * seconds[1], seconds[0],
                 "the caller works for %g s, and for %g s where it makes them itself", seconds[1],
                 seconds[0]);
}

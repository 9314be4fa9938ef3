/* Data: IDX files good and hostile, drawn shapes, batches, progress. */
#define _XOPEN_SOURCE 700

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>

#include "pleat_config.h"
#include "scratch.h"
#ifdef PL_HAVE_ZLIB
#    include <zlib.h>
#endif

TestSuite(idx, .init = scratch_begin, .fini = scratch_end, .timeout = 60);
TestSuite(shapes, .init = scratch_begin, .fini = scratch_end, .timeout = 60);
TestSuite(batches, .init = scratch_begin, .fini = scratch_end, .timeout = 60);
TestSuite(progress, .init = scratch_begin, .fini = scratch_end, .timeout = 60);

/* ---- IDX ------------------------------------------------------------------------------------------------ */

/* Three images of 2x4, and their labels. */
static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0,  3,  0,  0,  0,  2,  0,  0,  0,  4,  0,  1,  2,  3,
                                 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 255};
static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9};

static void expect_the_images(const pleat_nn_images *d) {
    cr_assert(d->count == 3 && d->C == 1 && d->H == 2 && d->W == 4);
    cr_expect_arr_eq(d->pixels, images + 16, 24);
}

static void expect_bad(const char *images_path, const char *labels_path, pleat_status code,
                       const char *part) {
    pleat_nn_images d = {.count = 77};
    expect_error(pleat_nn_read_idx(ctx, images_path, labels_path, &d), code, part);
    cr_expect(!d.count && !d.pixels && !d.labels, "out is not empty after \"%s\"", part);
}

/* `images` with byte `at` changed, or cut to `bytes`, or with zeros behind. */
static const char *variant(size_t at, uint8_t value, size_t bytes) {
    uint8_t b[64] = {0};
    memcpy(b, images, sizeof images);
    b[at] = value;
    const char *path = in_scratch("variant");
    put_file(path, b, bytes);
    return path;
}

Test(idx, reads_plain_files) {
    pleat_nn_images d;
    put_file(in_scratch("i"), images, sizeof images);
    put_file(in_scratch("l"), labels, sizeof labels);
    cr_assert(!pleat_nn_read_idx(ctx, in_scratch("i"), NULL, &d), "%s", pleat_error(ctx)->text);
    expect_the_images(&d);
    cr_expect(!d.labels);
    pleat_nn_images_free(&d);
    cr_expect(!d.pixels && !d.count);
    cr_assert(!pleat_nn_read_idx(ctx, in_scratch("i"), in_scratch("l"), &d));
    expect_the_images(&d);
    cr_expect_arr_eq(d.labels, labels + 8, 3);
    pleat_nn_images_free(&d);
}

Test(idx, refuses_headers_that_lie) {
    const size_t all = sizeof images;
    expect_bad(variant(0, 'P', all), NULL, PLEAT_ERR_FORMAT, "not an IDX file: it begins with 50 00 08 03");
    expect_bad(variant(2, 0x0d, all), NULL, PLEAT_ERR_FORMAT,
               "not unsigned bytes: it begins with 00 00 0d 03");
    expect_bad(variant(3, 1, all), NULL, PLEAT_ERR_FORMAT, "images with 00 00 08 03");
    expect_bad(variant(7, 4, all), NULL, PLEAT_ERR_FORMAT, "it is 40 bytes long, but its header says 48");
    expect_bad(variant(7, 0, all), NULL, PLEAT_ERR_FORMAT, "its count is 0");
    expect_bad(variant(11, 0, all), NULL, PLEAT_ERR_FORMAT, "size 0");
    expect_bad(variant(4, 0xff, all), NULL, PLEAT_ERR_FORMAT,
               BY_WIDTH("it is 40 bytes long, but its header says", "more than any file"));
    uint8_t b[sizeof images];
    memcpy(b, images, sizeof b);
    memset(b + 4, 0xff, 12);
    put_file(in_scratch("huge"), b, sizeof b);
    expect_bad(in_scratch("huge"), NULL, PLEAT_ERR_FORMAT, "more than any file can hold");
}

Test(idx, refuses_files_of_the_wrong_length) {
    for (size_t bytes = 0; bytes < 16; bytes++)
        expect_bad(variant(0, 0, bytes), NULL, PLEAT_ERR_FORMAT, "ends within the header");
    for (size_t bytes = 16; bytes < sizeof images; bytes++)
        expect_bad(variant(0, 0, bytes), NULL, PLEAT_ERR_FORMAT, "but its header says 40");
    expect_bad(variant(0, 0, sizeof images + 1), NULL, PLEAT_ERR_FORMAT, "it is 41 bytes long");
    /* 2^32 bytes more, which are not there: 32 bits do not count them */
    const char *path = variant(0, 0, sizeof images);
    cr_assert_eq(truncate(path, (off_t)((1LL << 32) + (long long)sizeof images)), 0);
    expect_bad(path, NULL, BY_WIDTH(PLEAT_ERR_FORMAT, PLEAT_ERR_MEMORY),
               BY_WIDTH("it is 4294967336 bytes long", "4294967336 bytes, more than can be addressed"));
}

Test(idx, refuses_labels_that_do_not_fit) {
    const uint8_t two[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 0};
    put_file(in_scratch("i"), images, sizeof images);
    put_file(in_scratch("l"), two, sizeof two);
    expect_bad(in_scratch("i"), in_scratch("l"), PLEAT_ERR_FORMAT, "holds 2 labels");
    expect_bad(in_scratch("i"), in_scratch("i"), PLEAT_ERR_FORMAT, "not a file of labels");
    expect_bad(in_scratch("i"), in_scratch("none"), PLEAT_ERR_IO, "No such file");
}

Test(idx, refuses_what_is_no_file) {
    expect_bad(in_scratch("none"), NULL, PLEAT_ERR_IO, "No such file");
    expect_bad(scratch_folder, NULL, PLEAT_ERR_IO, "a folder");
    expect_bad("/dev/zero", NULL, PLEAT_ERR_IO, "a device or a pipe");
    expect_bad(NULL, NULL, PLEAT_ERR_ARGUMENT, "NULL");
    cr_assert(mkfifo(in_scratch("fifo"), 0600) == 0);
    expect_bad(in_scratch("fifo"), NULL, PLEAT_ERR_IO, "a device or a pipe");
}

#ifdef PL_HAVE_ZLIB
static const char *packed(const char *name, const void *data, size_t bytes) {
    const char *path = in_scratch(name);
    gzFile f = gzopen(path, "wb");
    cr_assert(f && gzwrite(f, data, (unsigned)bytes) == (int)bytes && gzclose(f) == Z_OK);
    return path;
}

Test(idx, reads_packed_files) {
    pleat_nn_images d;
    const char *i = packed("i.gz", images, sizeof images), *l = packed("l.gz", labels, sizeof labels);
    cr_assert(!pleat_nn_read_idx(ctx, i, l, &d), "%s", pleat_error(ctx)->text);
    expect_the_images(&d);
    cr_expect_arr_eq(d.labels, labels + 8, 3);
    pleat_nn_images_free(&d);
    /* the content decides: some download programs unpack a file and keep its name */
    put_file(i, images, sizeof images);
    cr_assert(!pleat_nn_read_idx(ctx, i, NULL, &d), "%s", pleat_error(ctx)->text);
    expect_the_images(&d);
    pleat_nn_images_free(&d);
}

/* Larger than one piece of reading. */
Test(idx, reads_large_packed_files) {
    const size_t n = 5000, bytes = 16 + n * 28 * 28;
    uint8_t *b = malloc(bytes);
    pleat_nn_images d;
    memcpy(b, (const uint8_t[]){0, 0, 8, 3, 0, 0, 0x13, 0x88, 0, 0, 0, 28, 0, 0, 0, 28}, 16);
    for (size_t i = 16; i < bytes; i++) b[i] = (uint8_t)(i * i >> 7);
    cr_assert(!pleat_nn_read_idx(ctx, packed("i.gz", b, bytes), NULL, &d), "%s", pleat_error(ctx)->text);
    cr_expect(d.count == n && !memcmp(d.pixels, b + 16, bytes - 16));
    pleat_nn_images_free(&d);
    expect_bad(packed("short.gz", b, bytes - 1), NULL, PLEAT_ERR_FORMAT,
               "truncated: 3919999 bytes of elements");
    expect_bad(packed("long.gz", b, bytes), packed("l.gz", labels, 10), PLEAT_ERR_FORMAT,
               "truncated: 2 bytes");
    free(b);
}

Test(idx, refuses_packed_files_that_lie) {
    uint8_t b[sizeof images + 1] = {0};
    memcpy(b, images, sizeof images);
    expect_bad(packed("long.gz", b, sizeof b), NULL, PLEAT_ERR_FORMAT, "bytes follow behind");
    expect_bad(packed("head.gz", b, 10), NULL, PLEAT_ERR_FORMAT, "ends within the header");
    b[4] = 0x7f,
    b[9] = 0xff; /* 2^31 images of 2^24x4: a header of an exabyte must not make anybody allocate it */
    expect_bad(packed("huge.gz", b, sizeof images), NULL, PLEAT_ERR_FORMAT,
               BY_WIDTH("truncated: 24 bytes of elements", "more than any file"));
    memset(b + 4, 0xff, 12);
    expect_bad(packed("more.gz", b, sizeof images), NULL, PLEAT_ERR_FORMAT, "more than any file can hold");
    size_t bytes;
    uint8_t *twice = get_file(packed("once.gz", images, sizeof images), &bytes);
    expect_bad(packed("twice.gz", twice, bytes), NULL, PLEAT_ERR_FORMAT, "not an IDX file");
    free(twice);
}

Test(idx, refuses_damaged_packed_files) {
    size_t bytes;
    pleat_nn_images d;
    const char *path = packed("i.gz", images, sizeof images);
    uint8_t *good = get_file(path, &bytes);
    for (size_t n = 0; n < bytes; n++) {
        put_file(path, good, n);
        cr_expect(pleat_nn_read_idx(ctx, path, NULL, &d) == PLEAT_ERR_FORMAT, "cut to %zu bytes", n);
        cr_expect(!d.pixels);
    }
    pleat_clear_error(ctx);
    put_file(path, good, bytes - 9); /* within the data */
    expect_bad(path, NULL, PLEAT_ERR_FORMAT, "the gzip data is truncated");
    good[bytes - 8] ^= 1; /* the checksum */
    put_file(path, good, bytes);
    expect_bad(path, NULL, PLEAT_ERR_FORMAT, "the gzip data is corrupt");
    memset(good + 10, 0xff, 4);
    put_file(path, good, bytes);
    expect_bad(path, NULL, PLEAT_ERR_FORMAT, "the gzip data is corrupt");
    free(good);
}
#else
Test(idx, names_the_missing_zlib) {
    put_file(in_scratch("i.gz"), "\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    expect_bad(in_scratch("i.gz"), NULL, PLEAT_ERR_FORMAT, "-Dzlib=enabled");
}
#endif

#define FASHION "/usr/share/datasets/fashion-mnist/"

Test(idx, reads_fashion_mnist) {
    pleat_nn_images d;
    if (access(FASHION "train-images-idx3-ubyte.gz", R_OK))
        scratch_skip("Fashion-MNIST is not on this machine");
#ifndef PL_HAVE_ZLIB
    scratch_skip("pleat was built without zlib");
#endif
    cr_assert(!pleat_nn_read_idx(ctx, FASHION "train-images-idx3-ubyte.gz",
                                 FASHION "train-labels-idx1-ubyte.gz", &d),
              "%s", pleat_error(ctx)->text);
    cr_expect(d.count == 60000 && d.C == 1 && d.H == 28 && d.W == 28);
    cr_expect(d.labels[0] == 9);
    pleat_nn_images_free(&d);
    cr_assert(!pleat_nn_read_idx(ctx, FASHION "t10k-images-idx3-ubyte.gz",
                                 FASHION "t10k-labels-idx1-ubyte.gz", &d));
    cr_expect(d.count == 10000);
    pleat_nn_images_free(&d);
}

/* ---- shapes --------------------------------------------------------------------------------------------- */

Test(shapes, depend_on_seed_and_place_only) {
    pleat_nn_images many, few, other;
    cr_assert(!pleat_nn_shapes(ctx, 300, 28, 20, 5, &many));
    cr_assert(!pleat_nn_shapes(ctx, 7, 28, 20, 5, &few));
    cr_assert(!pleat_nn_shapes(ctx, 7, 28, 20, 6, &other));
    cr_expect(many.count == 300 && many.C == 1 && many.H == 28 && many.W == 20);
    cr_expect(!memcmp(many.pixels, few.pixels, 7 * 28 * 20) && !memcmp(many.labels, few.labels, 7));
    cr_expect(memcmp(many.pixels, other.pixels, 7 * 28 * 20));
    pleat_nn_images_free(&many);
    pleat_nn_images_free(&few);
    pleat_nn_images_free(&other);
}

/* All five kinds, about as often; a figure that stands out from its background; soft edges. */
Test(shapes, look_like_shapes) {
    pleat_nn_images d;
    size_t kinds[5] = {0}, each = 16 * 16, soft = 0;
    cr_assert(!pleat_nn_shapes(ctx, 1000, 16, 16, 1, &d));
    for (size_t i = 0; i < d.count; i++) {
        cr_assert(d.labels[i] < 5);
        kinds[d.labels[i]]++;
        uint8_t low = 255, high = 0;
        for (size_t k = 0; k < each; k++) {
            uint8_t v = d.pixels[i * each + k];
            low = v < low ? v : low, high = v > high ? v : high;
        }
        cr_expect(low <= 52 && high >= 100, "image %zu lies in %d..%d", i, low, high);
        for (size_t k = 0; k < each; k++)
            soft += d.pixels[i * each + k] > low && d.pixels[i * each + k] < high;
    }
    for (size_t k = 0; k < 5; k++) cr_expect(kinds[k] > 140 && kinds[k] < 260, "kind %zu: %zu", k, kinds[k]);
    cr_expect(soft > 10 * d.count);
    pleat_nn_images_free(&d);
}

Test(shapes, smallest_and_refused_sizes) {
    pleat_nn_images d;
    cr_assert(!pleat_nn_shapes(ctx, 1, 8, 8, 0, &d));
    pleat_nn_images_free(&d);
    expect_error(pleat_nn_shapes(ctx, 1, 7, 8, 0, &d), PLEAT_ERR_ARGUMENT, "at least 8x8");
    expect_error(pleat_nn_shapes(ctx, 0, 8, 8, 0, &d), PLEAT_ERR_ARGUMENT, "0 images");
    expect_error(pleat_nn_shapes(ctx, SIZE_MAX, 8, 8, 0, &d), PLEAT_ERR_MEMORY, "no memory");
    expect_error(pleat_nn_shapes(ctx, 1, SIZE_MAX, 8, 0, &d), PLEAT_ERR_MEMORY, "no memory");
    cr_expect(!d.pixels && !d.labels && !d.count);
}

/* ---- batches -------------------------------------------------------------------------------------------- */

/* The pass's indices into order[count]; returns how many batches there were. */
static size_t run_pass(pleat_nn_batches *b, size_t *order, size_t *items) {
    size_t n, batches = 0;
    *items = 0;
    for (const size_t *batch; (batch = pleat_nn_next(b, &n)); batches++)
        for (size_t i = 0; i < n; i++) order[(*items)++] = batch[i];
    cr_expect(n == 0);
    return batches;
}

Test(batches, hand_out_every_index_once) {
    pleat_nn_batches b;
    size_t order[103], items;
    bool seen[103] = {0};
    cr_assert(!pleat_nn_batches_new(ctx, 103, 10, &b));
    b.keep_last = true;
    pleat_rng r = pleat_rng_new(1, 0);
    pleat_nn_shuffle(&b, &r);
    cr_expect(run_pass(&b, order, &items) == 11 && items == 103);
    for (size_t i = 0; i < 103; i++) {
        cr_assert(order[i] < 103 && !seen[order[i]]);
        seen[order[i]] = true;
    }
    cr_expect(run_pass(&b, order, &items) == 0, "a pass that is over stays over");
    pleat_nn_batches_free(&b);
    cr_expect(!b.order);
}

Test(batches, leave_the_short_one_out_unless_asked) {
    pleat_nn_batches b;
    size_t order[103], items;
    cr_assert(!pleat_nn_batches_new(ctx, 103, 10, &b));
    cr_expect(run_pass(&b, order, &items) == 10 && items == 100);
    for (size_t i = 0; i < 100; i++) cr_expect(order[i] == i, "a new pass is in order");
    pleat_nn_batches_free(&b);
    cr_assert(!pleat_nn_batches_new(ctx, 3, 10, &b));
    cr_expect(run_pass(&b, order, &items) == 0);
    b.keep_last = true;
    cr_expect(run_pass(&b, order, &items) == 1 && items == 3);
    pleat_nn_batches_free(&b);
}

Test(batches, same_generator_same_order) {
    pleat_nn_batches b;
    size_t first[50], again[50], items;
    cr_assert(!pleat_nn_batches_new(ctx, 50, 5, &b));
    pleat_rng r = pleat_rng_new(9, 2), start = r;
    pleat_nn_shuffle(&b, &r);
    run_pass(&b, first, &items);
    pleat_nn_shuffle(&b, &r);
    run_pass(&b, again, &items);
    cr_expect(memcmp(first, again, sizeof first), "two passes differ");
    pleat_nn_shuffle(&b, &start); /* the same generator after other passes */
    run_pass(&b, again, &items);
    cr_expect_arr_eq(first, again, sizeof first);
    pleat_nn_shuffle(&b, NULL);
    run_pass(&b, again, &items);
    for (size_t i = 0; i < 50; i++) cr_expect(again[i] == i);
    pleat_nn_batches_free(&b);
}

/* Each of the 24 orders of 4 items as often as the others. */
Test(batches, all_orders_are_equally_likely) {
    pleat_nn_batches b;
    size_t counts[256] = {0}, orders = 0;
    cr_assert(!pleat_nn_batches_new(ctx, 4, 4, &b));
    pleat_rng r = pleat_rng_new(3, 0);
    for (int i = 0; i < 24000; i++) {
        pleat_nn_shuffle(&b, &r);
        counts[b.order[0] | b.order[1] << 2 | b.order[2] << 4 | b.order[3] << 6]++;
    }
    for (size_t i = 0; i < 256; i++) {
        orders += counts[i] > 0;
        cr_expect(!counts[i] || (counts[i] > 850 && counts[i] < 1150), "%zu times", counts[i]);
    }
    cr_expect(orders == 24);
    pleat_nn_batches_free(&b);
}

Test(batches, refuse_nothing) {
    pleat_nn_batches b;
    expect_error(pleat_nn_batches_new(ctx, 0, 1, &b), PLEAT_ERR_ARGUMENT, "count is 0");
    expect_error(pleat_nn_batches_new(ctx, 1, 0, &b), PLEAT_ERR_ARGUMENT, "batch 0");
    expect_error(pleat_nn_batches_new(ctx, SIZE_MAX, 1, &b), PLEAT_ERR_MEMORY, "no memory");
    cr_expect(!b.order);
    pleat_nn_batches_free(&b);
}

Test(batches, become_tensors) {
    pleat_nn_images d;
    put_file(in_scratch("i"), images, sizeof images);
    cr_assert(!pleat_nn_read_idx(ctx, in_scratch("i"), NULL, &d));
    const size_t index[] = {2, 0};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        double v[16];
        pleat_tensor *x = pleat_nn_image_batch(ctx, type, &d, index, 99, 2);
        cr_assert(pleat_rank(x) == 4 && pleat_size(x, 0) == 2 && pleat_size(x, 2) == 2 &&
                  pleat_size(x, 3) == 4);
        cr_expect(pleat_dtype_of(x) == type);
        pleat_read_f64(x, v);
        cr_expect(v[7] == 1 && v[8] == 0, "bytes 255 and 0 are exactly 1 and 0");
        for (size_t i = 0; i < 8; i++) {
            double want = d.pixels[16 + i] / 255.0;
            cr_expect(v[i] == (type == PLEAT_F32 ? (double)(float)want : want));
        }
        x = pleat_nn_image_batch(ctx, type, &d, NULL, 1, 2);
        pleat_read_f64(x, v);
        cr_expect(v[0] == (type == PLEAT_F32 ? (double)(8.0f / 255.0f) : 8 / 255.0));
    }
    cr_expect(pleat_size(pleat_nn_image_batch(ctx, PLEAT_F32, &d, NULL, 3, 0), 0) == 0, "a batch of nothing");
    cr_expect(pleat_error(ctx)->code == PLEAT_OK);
    pleat_nn_images_free(&d);
}

Test(batches, refuse_stray_images) {
    pleat_nn_images d;
    const size_t index[] = {2, 3};
    cr_assert(!pleat_nn_shapes(ctx, 3, 8, 8, 0, &d));
    cr_expect(pleat_is_poison(pleat_nn_image_batch(ctx, PLEAT_F32, &d, index, 0, 2)));
    expect_error(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, "image 3 of 3");
    cr_expect(pleat_is_poison(pleat_nn_image_batch(ctx, PLEAT_F32, &d, NULL, 2, 2)));
    expect_error(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, "image 3 of 3");
    cr_expect(pleat_is_poison(pleat_nn_image_batch(ctx, PLEAT_F32, &d, NULL, SIZE_MAX, 2)));
    expect_error(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, "of 3; the last is 2");
    pleat_nn_images_free(&d);
    cr_expect(pleat_is_poison(pleat_nn_image_batch(ctx, PLEAT_F32, &d, NULL, 0, 1)));
    expect_error(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, "no images");
}

Test(batches, allocate_nothing_once_warm) {
    pleat_nn_images d;
    size_t allocations = 0;
    cr_assert(!pleat_nn_shapes(ctx, 64, 16, 16, 0, &d));
    for (int i = 0; i < 10; i++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_nn_image_batch(ctx, PLEAT_F32, &d, NULL, 0, 64);
        pleat_end(s);
        if (i == 0) allocations = pleat_memory(ctx).allocations;
    }
    cr_expect(pleat_memory(ctx).allocations == allocations);
    pleat_nn_images_free(&d);
}

/* ---- progress ------------------------------------------------------------------------------------------- */

/* All that was written to f, as a string that the caller frees. */
static char *written(FILE *f) {
    size_t bytes = (size_t)ftell(f);
    char *text = calloc(bytes + 1, 1);
    rewind(f);
    cr_assert(text && fread(text, 1, bytes, f) == bytes);
    return text;
}

static size_t count_of(const char *text, char c) {
    size_t n = 0;
    for (; *text; text++) n += *text == c;
    return n;
}

static char *plain_pass(const char *title, size_t total) {
    FILE *f = tmpfile();
    cr_assert(f);
    pleat_nn_progress p = pleat_nn_progress_start(f, title, total);
    cr_expect(!p.terminal);
    for (size_t i = 1; i <= total; i++) pleat_nn_progress_show(&p, i, 64, 0.0131234);
    cr_expect(pleat_nn_progress_end(&p) >= 0);
    char *text = written(f);
    fclose(f);
    return text;
}

Test(progress, plain_lines_in_a_file) {
    char *text = plain_pass("epoch 1/2", 937);
    cr_expect(count_of(text, '\n') == 10, "%s", text);
    cr_expect(!strchr(text, '\033') && !strchr(text, '\r'));
    cr_expect(!strncmp(text, "epoch 1/2  94/937  loss 0.01312  ", 33), "%s", text);
    cr_expect(strstr(text, " items/s  ETA 0s\n") && strstr(text, "937/937") && strstr(text, "took 0s\n"),
              "%s", text);
    free(text);
    text = plain_pass("short", 3);
    cr_expect(count_of(text, '\n') == 3, "%s", text);
    free(text);
    char title[100];
    memset(title, 'x', sizeof title);
    title[99] = 0;
    text = plain_pass(title, 1);
    cr_expect(strspn(text, "x") == 47, "a long title is cut");
    free(text);
    text = plain_pass(NULL, 0);
    cr_expect(*text == 0);
    free(text);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A terminal of `columns` columns: what one line of progress sends to it. */
static void on_terminal(unsigned short columns, const char *bar) {
    char text[4096] = {0}, *name;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master) || !(name = ptsname(master)))
        scratch_skip("this machine gives no pseudo terminal");
    FILE *f = fopen(name, "w");
    cr_assert(f);
    ioctl(fileno(f), TIOCSWINSZ, &(struct winsize){.ws_row = 24, .ws_col = columns});
    pleat_nn_progress p = pleat_nn_progress_start(f, "epoch 2/5", 8);
    cr_expect(p.terminal);
    double begun = now();
    pleat_nn_progress_show(&p, 4, 100, 0.5);
    pleat_nn_progress_show(&p, 5, 100, 0.4); /* too soon: not drawn */
    bool soon = now() - begun < 0.1;         /* unless the system had something else to do */
    pleat_nn_progress_end(&p);
    size_t got = 0; /* a pseudo terminal hands its data over in pieces */
    for (ssize_t n = 1; n > 0 && count_of(text, '\r') < (soon ? 3 : 4) &&
                        poll(&(struct pollfd){master, POLLIN, 0}, 1, 2000) > 0;) {
        n = read(master, text + got, sizeof text - 1 - got);
        got += n > 0 ? (size_t)n : 0;
    }
    cr_expect(count_of(text, '\n') == 0 && !strchr(text, '\033') && strstr(text, bar), "%s", text);
    cr_expect(!soon || (count_of(text, '\r') == 3 && !strstr(text, "5/8")), "%s", text);
    for (char *line = strtok(text, "\r"); line; line = strtok(NULL, "\r"))
        cr_expect(strlen(line) == (size_t)columns - 1, "%zu columns: \"%s\"", strlen(line), line);
    fclose(f);
    close(master);
}

Test(progress, one_line_on_a_terminal) {
    on_terminal(100, "epoch 2/5  [==========          ]  4/8  loss 0.5  ");
    on_terminal(30, "epoch 2/5  4/8  loss 0.5  ");
    on_terminal(12, "epoch 2/5  ");
}

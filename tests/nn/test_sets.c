/* Data sets of one's own: arrays, tables, callbacks, pairs of pictures; how they are divided, and what is
 * wrong with one. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "pleat_config.h"
#include "scratch.h"

TestSuite(sets, .init = scratch_begin, .fini = scratch_end);

enum { ITEMS = 11, H = 5, W = 7, PLANE = H * W };

/* ---- tables ------------------------------------------------------------------------------------------- */

static const char *table(const char *text) {
    put_file(in_scratch("t.csv"), text, strlen(text));
    return in_scratch("t.csv");
}

static void expect_table(const char *text, const char *columns, size_t rows, size_t width,
                         const double *values) {
    pleat_tensor *t = pleat_nn_read_csv(ctx, table(text), columns);
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK, "%s: %s", text, pleat_error(ctx)->text);
    cr_assert(pleat_rank(t) == 2 && pleat_size(t, 0) == rows && pleat_size(t, 1) == width,
              "%s: %zu rows of %zu", text, pleat_size(t, 0), pleat_size(t, 1));
    for (size_t i = 0; i < rows * width; i++)
        cr_expect_eq(pleat_f64(t)[i], values[i], "%s: number %zu is %.17g", text, i, pleat_f64(t)[i]);
}
#define NUMBERS(...) ((const double[]){__VA_ARGS__})

Test(sets, tables) {
    expect_table("1,2\n3,4\n", NULL, 2, 2, NUMBERS(1, 2, 3, 4));
    expect_table("1,2\r\n3,4", NULL, 2, 2, NUMBERS(1, 2, 3, 4));
    expect_table("a,b,c\n1,2,3\n-4.5,5e-3,+6\n", "c,a", 2, 2, NUMBERS(1, 3, -4.5, 6));
    expect_table("a;b;c\n1;2;3\n", "!b", 1, 2, NUMBERS(1, 3));
    expect_table("a\tb\tc\td\n1\t2\t3\t4\n", "1-2", 1, 2, NUMBERS(2, 3));
    expect_table("\xef\xbb\xbf\"the name, quoted\",b\n\"1\", 2 \n", "0", 1, 1, NUMBERS(1));
    expect_table("name,b\nAnna,2\nOtto,3\n", "b", 2, 1, NUMBERS(2, 3));
    expect_table("0.1\n16777217\n\n\n", NULL, 2, 1, NUMBERS(0.1, 16777217));
    expect_table("a,b\n", "b", 0, 1, NULL);
}

Test(sets, tables_that_are_refused) {
    static const struct {
        const char *text, *columns, *says;
    } wrong[] = {
        {"a,b\n1,2\n3,\n", NULL, "line 3, column 1 (b): \"\" is a missing value"},
        {"a,b\n1,2\nNA,3\n", "a", "line 3, column 0 (a): \"NA\" is not a number"},
        {"1,2\n3,nan\n", NULL, "line 2, column 1 (): \"nan\" is not a number"},
        {"1;2\n3;1,5\n", NULL, "\"1,5\" is not a number"},
        {"1,0x10\n", NULL, "\"0x10\" is not a number"},
        {"1,1e999\n", NULL, "\"1e999\" is not a number"},
        {"1,1.2.3\n", NULL, "line 1, column 1"},
        {"a,b\n1,2\n3\n", NULL, "line 3 has 1 cells, and line 1 has 2"},
        {"a,b\n1,2,3\n", NULL, "line 2 has 3 cells, and line 1 has 2"},
        {"a,b\n\n1,2\n", "a", "line 2, column 0 (a): \"\" is a missing value"},
        {"", NULL, "it is empty"},
        {" \n\n", NULL, "it is empty"},
        {"a,b\n1,2\n", "price", "has no column \"price\"; it has 0 to 1: a,b"},
        {"a,b\n1,2\n", "1-2", "has no column \"1-2\""},
        {"a,b\n1,2\n", "a,", "has no column \"\""},
        {"a,b\n1,2\n", "-1", "has no column \"-1\""},
        {"a,b\n1,2\n", "0-", "has no column \"0-\""},
        {"a,b\n1,2\n", "!a,b", "no column is chosen"},
        {"a,b,c\n1,2,3\n", "!a,!b", "has no column \"!b\"; one ! in front is for all names behind it"},
        {"a,b\n1,2\n", "a,!b", "one ! in front"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect(pleat_is_poison(pleat_nn_read_csv(ctx, table(wrong[i].text), wrong[i].columns)));
        expect_error(pleat_error(ctx)->code, pleat_error(ctx)->code, wrong[i].says);
    }
    put_file(in_scratch("t.csv"), "1,2\n3\0004", 8);
    cr_expect(pleat_is_poison(pleat_nn_read_csv(ctx, in_scratch("t.csv"), NULL)));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_FORMAT, "byte 0");
    cr_expect(pleat_is_poison(pleat_nn_read_csv(ctx, in_scratch("none.csv"), NULL)));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_IO, "none.csv: No such file");
}

/* ---- fields ------------------------------------------------------------------------------------------- */

Test(sets, fields_are_converted) {
    pleat_nn_data d = {0};
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), NUMBERS(1, 2, 3, 4, 5, 255));
    pleat_tensor *turned = pleat_permute(
        pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(3, 2), NUMBERS(1, 4, 2, 5, 3, 255)), (size_t[]){1, 0});
    pleat_tensor *big = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2), NUMBERS(16777217, 2147483648.0));
    cr_assert_eq(pleat_nn_data_add(ctx, &d, "x", PLEAT_NN_F32, x), PLEAT_OK);
    cr_assert_eq(pleat_nn_data_add(ctx, &d, "bytes", PLEAT_NN_BYTES, turned), PLEAT_OK);
    cr_assert_eq(pleat_nn_data_add(ctx, &d, "labels", PLEAT_NN_LABELS, big), PLEAT_OK);
    cr_assert_eq(pleat_nn_data_add(ctx, &d, NULL, PLEAT_NN_F64, x), PLEAT_OK);
    pleat_end(s);
    cr_expect(d.count == 2 && d.field[0].rank == 1 && d.field[0].shape[0] == 3 && d.field[2].rank == 0);
    for (size_t i = 0; i < 6; i++) {
        double v = NUMBERS(1, 2, 3, 4, 5, 255)[i];
        cr_expect(((const float *)d.field[0].data)[i] == (float)v &&
                  ((const uint8_t *)d.field[1].data)[i] == v && ((const double *)d.field[3].data)[i] == v);
    }
    const size_t *labels = d.field[2].data;
    cr_expect(labels[0] == 16777217 && labels[1] == (size_t)1 << 31);
    pleat_nn_data_free(&d);
    pleat_nn_data_free(NULL);
    cr_expect(!d.count && !d.field[0].data);
}

Test(sets, fields_that_are_refused) {
    pleat_nn_data d = {0};
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(4, 3));
    cr_assert_eq(pleat_nn_data_add(ctx, &d, "sizes", PLEAT_NN_F32, x), PLEAT_OK);
    expect_error(
        pleat_nn_data_add(ctx, &d, "price", PLEAT_NN_F32, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(5))),
        PLEAT_ERR_SHAPE, "field 1 (price) has 5 items, but sizes has 4");
    pleat_f32(x)[7] = 0.5f;
    expect_error(pleat_nn_data_add(ctx, &d, "kind", PLEAT_NN_LABELS, x), PLEAT_ERR_ARGUMENT,
                 "field kind: element 1 of item 2 is 0.5; labels are whole numbers from 0");
    pleat_f32(x)[7] = 256;
    expect_error(pleat_nn_data_add(ctx, &d, "mask", PLEAT_NN_BYTE_LABELS, x), PLEAT_ERR_ARGUMENT,
                 "element 1 of item 2 is 256; bytes are whole numbers from 0 to 255");
    pleat_f32(x)[7] = -1;
    expect_error(pleat_nn_data_add(ctx, &d, "mask", PLEAT_NN_LABELS, x), PLEAT_ERR_ARGUMENT, "is -1");
    const double large[] = {1e38, -INFINITY, NAN, -1e39};
    pleat_tensor *far = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(4), large);
    expect_error(pleat_nn_data_add(ctx, &d, "far", PLEAT_NN_F32, far), PLEAT_ERR_ARGUMENT,
                 "field far: element 0 of item 3 is -1e+39; PLEAT_NN_F32 holds numbers up to 3.4e38");
    pleat_f32(x)[7] = NAN;
    expect_error(pleat_nn_data_add(ctx, &d, "mask", PLEAT_NN_PIXELS, x), PLEAT_ERR_ARGUMENT, "is nan");
    expect_error(pleat_nn_data_add(ctx, &d, "s", PLEAT_NN_F32, pleat_zeros(ctx, PLEAT_F32, PLEAT_SCALAR)),
                 PLEAT_ERR_ARGUMENT, "[items, shape]");
    expect_error(
        pleat_nn_data_add(ctx, &d, "s", PLEAT_NN_F32, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(4, 0))),
        PLEAT_ERR_ARGUMENT, "sizes of its shape");
    expect_error(pleat_nn_data_add(ctx, &d, "s", PLEAT_NN_F32, NULL), PLEAT_ERR_ARGUMENT, "NULL");
    expect_error(pleat_nn_data_add(ctx, &d, "s", PLEAT_NN_F32, pleat_poison(ctx)), PLEAT_ERR_ARGUMENT,
                 "poison");
    expect_error(pleat_nn_data_add(ctx, &d, "s", (pleat_nn_type)9, x), PLEAT_ERR_ARGUMENT, "its type");
    for (size_t i = 1; i < PLEAT_NN_FIELDS; i++)
        cr_assert_eq(pleat_nn_data_add(ctx, &d, NULL, PLEAT_NN_F32, x), PLEAT_OK);
    expect_error(pleat_nn_data_add(ctx, &d, "s", PLEAT_NN_F32, x), PLEAT_ERR_ARGUMENT, "at most 8 fields");
    pleat_nn_data_free(&d);
}

/* ---- batches ------------------------------------------------------------------------------------------ */

static pleat_nn_batch first_batch(pleat_nn_loader *l) {
    pleat_nn_batch b;
    cr_assert(l, "%s", pleat_error(ctx)->text);
    pleat_nn_loader_start(l, 0, 0);
    cr_assert(pleat_nn_loader_next(l, &b), "%s", pleat_error(ctx)->text);
    return b;
}

static size_t numbers[ITEMS];
static double wide[ITEMS][3];
static float narrow[ITEMS];

static void count_up(void) {
    for (size_t i = 0; i < ITEMS; i++) {
        numbers[i] = ((size_t)1 << 31) + i, narrow[i] = (float)i;
        for (size_t k = 0; k < 3; k++) wide[i][k] = (double)i + (double)k / 8;
    }
}

Test(sets, batches_of_arrays) {
    count_up();
    pleat_nn_data d = {.count = ITEMS,
                       .field = {{"x", PLEAT_NN_F64, 1, {3}, .data = wide},
                                 {"labels", PLEAT_NN_LABELS, 0, {0}, .data = numbers},
                                 {"y", PLEAT_NN_F32, 0, {0}, .data = narrow},
                                 {"again", PLEAT_NN_F32, 1, {1}, .data = narrow}}};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_loader *l = pleat_nn_loader_new(ctx, .data = &d, .batch = 4, .shuffle = true, .seed = 3,
                                                 .keep_last = true, .dtype = type);
        pleat_nn_batch b = first_batch(l);
        size_t seen = 0, shape[PLEAT_MAX_RANK];
        do {
            cr_expect(b.x == b.field[0] && b.clean == b.x && b.target == b.field[2] &&
                      b.labels == b.label[1]);
            cr_expect(!b.field[1] && !b.label[0] && !b.field[4] && !b.label[4]);
            cr_expect(pleat_rank(b.x) == 2 && pleat_rank(b.target) == 1 && pleat_rank(b.field[3]) == 2);
            cr_expect_eq(pleat_dtype_of(b.x), type);
            for (size_t i = 0; i < b.n; i++, seen++) {
                cr_expect_eq(b.labels[i], numbers[b.index[i]]);
                cr_expect_eq(pleat_at(b.target, &i), narrow[b.index[i]]);
                cr_expect_eq(pleat_at(b.field[3], (size_t[]){i, 0}), narrow[b.index[i]]);
                cr_expect_eq(pleat_at(b.x, (size_t[]){i, 2}), wide[b.index[i]][2]);
            }
        } while (pleat_nn_loader_next(l, &b));
        cr_expect_eq(seen, ITEMS);
        cr_expect(pleat_nn_loader_shape(l, 0, shape) == 1 && shape[0] == 3);
        cr_expect_eq(pleat_nn_loader_shape(l, 7, shape), 0);
        pleat_nn_loader_free(l);
    }
}

/* A copy of the labels is handed out: the thread works on those of the next batch. */
Test(sets, labels_stay_until_the_next_call) {
    count_up();
    pleat_nn_data d = {
        .count = ITEMS,
        .field = {{"x", PLEAT_NN_F32, .data = narrow}, {"l", PLEAT_NN_LABELS, .data = numbers}}};
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, .data = &d, .batch = 1);
    pleat_nn_batch b = first_batch(l);
    for (size_t i = 0; i < ITEMS; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        cr_assert(b.labels[0] == numbers[i] && b.index[0] == i);
        cr_assert_eq(pleat_nn_loader_next(l, &b), i + 1 < ITEMS);
    }
    pleat_nn_loader_free(l);
}

/* One window and one direction for all images of an item, whatever their type. */
Test(sets, an_image_and_its_masks_move_alike) {
    static uint8_t pixels[ITEMS][2][PLANE], mask[ITEMS][PLANE];
    static float depth[ITEMS][PLANE];
    static size_t classes[ITEMS][PLANE];
    for (size_t i = 0; i < ITEMS; i++)
        for (size_t k = 0; k < PLANE; k++) {
            mask[i][k] = pixels[i][0][k] = (uint8_t)(1 + (i * 31 + k * 7) % 254), pixels[i][1][k] = 9;
            depth[i][k] = mask[i][k], classes[i][k] = mask[i][k] + (size_t)1000;
        }
    pleat_nn_data d = {.count = ITEMS,
                       .field = {{"x", PLEAT_NN_PIXELS, 3, {2, H, W}, .data = pixels},
                                 {"mask", PLEAT_NN_BYTES, 3, {1, H, W}, .data = mask},
                                 {"labels", PLEAT_NN_BYTE_LABELS, 2, {H, W}, .data = mask},
                                 {"depth", PLEAT_NN_F32, 2, {H, W}, .data = depth},
                                 {"classes", PLEAT_NN_LABELS, 2, {H, W}, .data = classes}}};
    pleat_nn_loader *l = pleat_nn_loader_new(
        ctx, .data = &d, .batch = ITEMS, .seed = 5,
        .transform = {.crop_pad = 1, .crop = {4, 6}, .flip = 0.5, .flip_rows = 0.5, .noise = 0.1});
    size_t moved = 0;
    for (size_t epoch = 0; epoch < 8; epoch++) {
        pleat_nn_batch b;
        pleat_nn_loader_start(l, epoch, 0);
        cr_assert(pleat_nn_loader_next(l, &b));
        for (size_t i = 0; i < ITEMS * 24; i++) {
            size_t n = i / 24, k = i % 24;
            double byte = round(255 * pleat_at(b.clean, (size_t[]){n, 0, k / 6, k % 6}));
            cr_assert_eq(pleat_f32(b.target)[i], byte);
            cr_assert_eq(pleat_f32(b.field[3])[i], byte);
            cr_assert_eq((double)b.labels[i], byte);
            cr_assert_eq((double)b.label[4][i], byte != 0 ? byte + 1000 : 0);
            moved += byte != mask[n][k / 6 * W + k % 6];
        }
    }
    cr_expect_gt(moved, 1000);
    pleat_nn_loader_free(l);
}

/* ---- callbacks ---------------------------------------------------------------------------------------- */

typedef struct painter {
    size_t fails; /* the item that cannot be made */
} painter;

static bool paint(void *user, size_t item, pleat_rng *r, void *out) {
    painter *p = user;
    float *x = out;
    for (size_t i = 0; i < 6; i++) x[i] = (float)item + (float)pleat_rng_uniform(r);
    return item != p->fails;
}

static bool paint_label(void *user, size_t item, pleat_rng *r, void *out) {
    (void)user, (void)item;
    *(size_t *)out = (size_t)(1000 * pleat_rng_uniform(r));
    return true;
}

static size_t read_all(pleat_nn_loader *l, size_t epoch, size_t first, float *x, size_t *labels) {
    pleat_nn_batch b;
    size_t n = 0;
    pleat_nn_loader_start(l, epoch, first);
    while (pleat_nn_loader_next(l, &b)) {
        memcpy(x + n * 6, pleat_f32(b.x), b.n * 6 * sizeof *x);
        for (size_t i = 0; i < b.n; i++) {
            labels[n] = b.labels[i];
            cr_assert_eq((size_t)x[n++ * 6], b.index[i]);
        }
    }
    return n;
}

Test(sets, callbacks) {
    painter p = {SIZE_MAX};
    pleat_nn_data d = {.count = ITEMS,
                       .field = {{"x", PLEAT_NN_F32, 2, {2, 3}, .fill = paint, .user = &p},
                                 {"labels", PLEAT_NN_LABELS, .fill = paint_label}}};
    float x[2][ITEMS * 6];
    size_t labels[2][ITEMS];
    pleat_nn_loader *a =
        pleat_nn_loader_new(ctx, .data = &d, .batch = 2, .shuffle = true, .seed = 4, .keep_last = true);
    pleat_nn_loader *b = pleat_nn_loader_new(ctx, .data = &d, .batch = 2, .shuffle = true, .seed = 4,
                                             .keep_last = true, .no_prefetch = true);
    cr_assert_eq(read_all(a, 1, 0, x[0], labels[0]), ITEMS);
    cr_assert_eq(read_all(b, 1, 2, x[1], labels[1]), ITEMS - 4);
    cr_expect(!memcmp(x[0] + 24, x[1], (ITEMS - 4) * 6 * sizeof(float)), "resumed or not, other numbers");
    cr_expect(!memcmp(labels[0] + 4, labels[1], (ITEMS - 4) * sizeof(size_t)));
    for (size_t i = 0; i < ITEMS; i++) /* both fields begin with the same number */
        cr_expect_eq(labels[0][i], (size_t)(1000 * (double)(x[0][i * 6] - floorf(x[0][i * 6]))), "item %zu",
                     i);
    read_all(a, 2, 0, x[1], labels[1]);
    cr_expect(memcmp(labels[0], labels[1], sizeof labels[0]), "two epochs have the same numbers");
    pleat_nn_loader_free(a);
    pleat_nn_loader_free(b);
}

Test(sets, a_callback_that_fails_ends_the_epoch) {
    painter p = {5};
    pleat_nn_data d = {.count = ITEMS,
                       .field = {{"scan", PLEAT_NN_F32, 2, {2, 3}, .fill = paint, .user = &p}}};
    for (int threaded = 0; threaded < 2; threaded++) {
        pleat_nn_loader *l = pleat_nn_loader_new(ctx, .data = &d, .batch = 2, .no_prefetch = !threaded);
        pleat_nn_batch b = first_batch(l);
        cr_expect(pleat_nn_loader_next(l, &b) && !pleat_nn_loader_next(l, &b) && !b.x);
        expect_error(pleat_error(ctx)->code, PLEAT_ERR_IO,
                     "field 0 (scan): its fill returned false for item 5");
        cr_expect(!pleat_nn_loader_next(l, &b));
        first_batch(l);
        pleat_nn_loader_free(l);
    }
}

/* ---- what a loader refuses ---------------------------------------------------------------------------- */

static void expect_refusal(const pleat_nn_data *d, pleat_nn_transform t, const char *says) {
    cr_expect_null(pleat_nn_loader_new(ctx, .data = d, .batch = 2, .transform = t), "%s", says);
    expect_error(pleat_error(ctx)->code, pleat_error(ctx)->code, says);
}

Test(sets, loaders_that_are_refused) {
    static float x[64];
    static const pleat_nn_transform none = {0}, flip = {.flip = 0.5};
    pleat_nn_images images = {.count = 2, .C = 1, .H = 2, .W = 2, .pixels = (uint8_t[8]){0}};
    pleat_nn_data d = {.count = 4};
    expect_refusal(&d, none, "the data set has no field");
    expect_refusal(&(pleat_nn_data){0}, none, "hold images or items");
    d.field[0] = (pleat_nn_field){"x", PLEAT_NN_F32, 1, {4}, .data = NULL};
    expect_refusal(&d, none, "field 0 (x): it has neither data nor fill");
    d.field[0].fill = paint, d.field[0].data = x;
    expect_refusal(&d, none, "it has both data and fill");
    d.field[0].fill = NULL, d.field[0].shape[0] = 0;
    expect_refusal(&d, none, "the sizes of its shape must be 1 or more");
    d.field[0].shape[0] = SIZE_MAX / 2;
    expect_refusal(&d, none, "fit into memory");
    d.field[0].shape[0] = 4, d.field[0].rank = 8;
    expect_refusal(&d, none, "more than 7 axes");
    d.field[0].rank = 1, d.field[0].type = PLEAT_NN_LABELS;
    expect_refusal(&d, none, "must be of numbers");
    d.field[0].type = (pleat_nn_type)17;
    expect_refusal(&d, none, "its type");
    d.field[0].type = PLEAT_NN_F32;
    expect_refusal(&d, flip, "crop and flip are for images, but x has no rows and columns");
    d.field[0].rank = 2, d.field[0].shape[1] = 3;
    d.field[1] = (pleat_nn_field){NULL, PLEAT_NN_F32, 2, {4, 4}, .data = x};
    expect_refusal(&d, flip, "those of x are 4x3, and those of field 1 (target) 4x4");
    expect_refusal(&d, (pleat_nn_transform){.crop = {9, 9}}, "crop must not be larger");
    d.field[1] = (pleat_nn_field){.name = NULL};
    expect_refusal(&d, (pleat_nn_transform){.crop = {SIZE_MAX / 8, SIZE_MAX / 8}, .crop_pad = SIZE_MAX / 8},
                   "no memory for crops of");
    expect_refusal(&d, (pleat_nn_transform){.crop = {1, SIZE_MAX / 4}, .crop_pad = SIZE_MAX / 4},
                   "no memory for a batch of 2 items");
    cr_expect_null(pleat_nn_loader_new(ctx, &images, .data = &d, .batch = 1));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "not both");
}

/* ---- splitting ---------------------------------------------------------------------------------------- */

Test(sets, splits) {
    count_up();
    pleat_nn_data d = {.count = ITEMS, .field = {{"x", PLEAT_NN_F32, .data = narrow}}}, part[2], again[2],
                  other[2];
    static const struct {
        double share;
        size_t valid;
    } shares[] = {{0.3, 3}, {0.5, 6}, {0.01, 1}, {0.999, 10}};
    for (size_t s = 0; s < 4; s++) {
        size_t seen[ITEMS] = {0};
        cr_assert_eq(pleat_nn_split(ctx, &d, shares[s].share, 7, &part[0], &part[1]), PLEAT_OK);
        cr_assert_eq(pleat_nn_split(ctx, &d, shares[s].share, 7, &again[0], &again[1]), PLEAT_OK);
        cr_expect_eq(part[1].count, shares[s].valid);
        cr_expect_eq(part[0].count, ITEMS - shares[s].valid);
        for (size_t k = 0; k < 2; k++)
            for (size_t i = 0; i < part[k].count; i++) {
                seen[part[k].index[i]]++;
                cr_expect_eq(part[k].index[i], again[k].index[i]);
            }
        for (size_t i = 0; i < ITEMS; i++) cr_expect_eq(seen[i], 1);
        for (size_t k = 0; k < 2; k++) pleat_nn_data_free(&part[k]), pleat_nn_data_free(&again[k]);
    }
    pleat_nn_split(ctx, &d, 0.5, 7, &part[0], &part[1]);
    pleat_nn_split(ctx, &d, 0.5, 8, &other[0], &other[1]);
    cr_expect(memcmp(part[0].index, other[0].index, 5 * sizeof(size_t)), "two seeds choose the same");
    pleat_nn_split(ctx, &part[1], 0.5, 7, &again[0], &again[1]); /* of a part of the items */
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, .data = &again[0], .batch = 3, .shuffle = true);
    pleat_nn_batch b = first_batch(l);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(pleat_f32(b.x)[i], (float)b.index[i]);
        cr_expect(memchr(part[1].index, (int)b.index[i], 6 * sizeof(size_t)));
    }
    pleat_nn_loader_free(l);
    for (size_t k = 0; k < 2; k++)
        pleat_nn_data_free(&part[k]), pleat_nn_data_free(&again[k]), pleat_nn_data_free(&other[k]);
    for (size_t i = 0; i < 3; i++)
        expect_error(pleat_nn_split(ctx, &d, NUMBERS(0, 1, NAN)[i], 1, &part[0], &part[1]),
                     PLEAT_ERR_ARGUMENT, "share must be");
    d.count = 1;
    expect_error(pleat_nn_split(ctx, &d, 0.5, 1, &part[0], &part[1]), PLEAT_ERR_ARGUMENT, "there are 1");
    expect_error(pleat_nn_split(ctx, NULL, 0.5, 1, &part[0], &part[1]), PLEAT_ERR_ARGUMENT, "there are 0");
}

/* ---- pairs of pictures -------------------------------------------------------------------------------- */

#ifdef PL_HAVE_PNG
static void picture(const char *name, size_t C, double level) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, C, 2, 3), level / 255);
    cr_assert_eq(pleat_nn_write_png_grid(in_scratch(name), x, 1, 1), PLEAT_OK, "%s", pleat_error(ctx)->text);
}

static void clear(const char *const *names) {
    for (; *names; names++) remove(in_scratch(*names));
}

Test(sets, pairs_of_pictures) {
    pleat_nn_data d;
    mkdir(in_scratch("x"), 0777), mkdir(in_scratch("y"), 0777);
    expect_error(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_PIXELS, &d),
                 PLEAT_ERR_FORMAT, "no PNG files in it");
    picture("x/b.png", 3, 20), picture("x/a.png", 3, 10), picture("y/b.png", 1, 2), picture("y/a.png", 1, 1);
    cr_assert_eq(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_BYTE_LABELS, &d),
                 PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_expect(d.count == 2 && d.field[0].rank == 3 && d.field[1].rank == 2 &&
              d.field[1].shape[1] == d.field[0].shape[2]);
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, .data = &d, .batch = 2);
    pleat_nn_batch b = first_batch(l);
    size_t each = d.field[1].shape[0] * d.field[1].shape[1];
    cr_expect(b.labels[each / 2] == 1 && b.labels[each + each / 2] == 2 && !b.target);
    pleat_nn_loader_free(l);
    pleat_nn_data_free(&d);
    cr_assert_eq(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_BYTES, &d),
                 PLEAT_OK);
    cr_expect(d.field[1].rank == 3 && d.field[1].shape[0] == 1 &&
              ((const uint8_t *)d.field[1].data)[each / 2] == 1);
    pleat_nn_data_free(&d);
    expect_error(pleat_nn_read_png_pairs(ctx, in_scratch("y"), in_scratch("x"), PLEAT_NN_BYTE_LABELS, &d),
                 PLEAT_ERR_FORMAT, "x/a.png has colours");
    expect_error(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_F32, &d),
                 PLEAT_ERR_ARGUMENT, "the type must be");
    expect_error(pleat_nn_read_png_pairs(ctx, NULL, in_scratch("y"), PLEAT_NN_BYTES, &d), PLEAT_ERR_ARGUMENT,
                 "a folder is NULL");
    picture("y/c.png", 1, 3);
    expect_error(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_BYTES, &d),
                 PLEAT_ERR_FORMAT, "y/c.png has no partner in");
    picture("x/aa.png", 3, 3);
    expect_error(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_BYTES, &d),
                 PLEAT_ERR_FORMAT, "x/aa.png has no partner in");
    cr_expect(!d.count && !d.field[0].data);
    clear((const char *const[]){"x/a.png", "x/b.png", "x/aa.png", "y/a.png", "y/b.png", "y/c.png", "x", "y",
                                NULL});
}
#endif

/* ---- a training run ----------------------------------------------------------------------------------- */

static pleat_tensor *squares(void *user, const pleat_nn_batch *b, double *metric) {
    (void)metric;
    return pleat_nn_mse_loss(pleat_nn_forward(user, b->x), b->target);
}

/* From the text of a table to a fitted line. */
Test(sets, a_regression) {
    char text[4000] = "size,rooms,price\n";
    for (int i = 0; i < 64; i++)
        sprintf(text + strlen(text), "%d.5,%d,%d\n", i % 8, i / 8, 2 * (i % 8) - i / 8 + 1);
    pleat_nn_data all = {0}, train, valid;
    pleat_nn_data_add(ctx, &all, "x", PLEAT_NN_F32, pleat_nn_read_csv(ctx, table(text), "!price"));
    pleat_nn_data_add(ctx, &all, "target", PLEAT_NN_F32, pleat_nn_read_csv(ctx, table(text), "price"));
    cr_assert_eq(pleat_nn_split(ctx, &all, 0.25, 1, &train, &valid), PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_loader *t = pleat_nn_loader_new(ctx, .data = &train, .batch = 8, .shuffle = true);
    pleat_nn_loader *v = pleat_nn_loader_new(ctx, .data = &valid, .batch = 16);
    pleat_nn_module *line = pleat_nn_linear(ctx, 2, 1);
    pleat_nn_optimizer *adam = pleat_nn_adam(line, .lr = 0.05);
    pleat_nn_run run;
    cr_assert_eq(pleat_nn_fit(&run, .part = {{"net", line, .opt = adam}}, .train = t, .valid = v,
                              .epochs = 100, .loss = squares, .user = line),
                 PLEAT_OK);
    cr_expect_lt(run.epoch[99].valid_loss, 1e-3);
    pleat_nn_run_free(&run);
    pleat_nn_optimizer_free(adam), pleat_nn_free(line);
    pleat_nn_loader_free(t), pleat_nn_loader_free(v);
    pleat_nn_data_free(&train), pleat_nn_data_free(&valid), pleat_nn_data_free(&all);
}

#ifdef PL_HAVE_CJSON
/* ---- a run that is interrupted ------------------------------------------------------------------------ */

static size_t steps, raise_at;

static pleat_tensor *of_filled(void *user, const pleat_nn_batch *b, double *metric) {
    (void)metric;
    if (++steps == raise_at) raise(SIGINT);
    return pleat_nn_cross_entropy_loss(pleat_nn_forward(user, pleat_reshape(b->x, PLEAT_SHAPE(b->n, 6))),
                                       .labels = b->labels);
}

static bool paint_class(void *user, size_t item, pleat_rng *r, void *out) {
    (void)user, (void)item;
    *(uint8_t *)out = pleat_rng_uniform(r) < 0.5;
    return true;
}

/* Two epochs over one part of a set that callbacks fill; the parameters to `out`. */
static void train_on_filled(const char *folder, size_t interrupted, double out[14]) {
    painter p = {SIZE_MAX};
    pleat_nn_data d = {.count = ITEMS,
                       .field = {{"x", PLEAT_NN_F32, 2, {2, 3}, .fill = paint, .user = &p},
                                 {"labels", PLEAT_NN_BYTE_LABELS, .fill = paint_class}}},
                  train, valid;
    *pleat_ctx_rng(ctx) = pleat_rng_new(1, 0);
    cr_assert_eq(pleat_nn_split(ctx, &d, 0.2, 3, &train, &valid), PLEAT_OK);
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, .data = &train, .batch = 2, .shuffle = true, .seed = 2,
                                             .transform = {.flip = 0.5, .noise = 0.1}, .keep_last = true);
    pleat_nn_module *net = pleat_nn_linear(ctx, 6, 2);
    pleat_nn_optimizer *adam = pleat_nn_adam(net, .lr = 0.05);
    steps = 0, raise_at = interrupted;
    cr_assert_eq(pleat_nn_fit(NULL, .part = {{"net", net, adam, NULL}}, .train = l, .epochs = 2,
                              .loss = of_filled, .user = net, .folder = folder, .resume = folder != NULL),
                 PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_read_f64(pleat_nn_param(net, 0), out), pleat_read_f64(pleat_nn_param(net, 1), out + 12);
    pleat_nn_optimizer_free(adam), pleat_nn_free(net), pleat_nn_loader_free(l);
    pleat_nn_data_free(&train), pleat_nn_data_free(&valid);
}

Test(sets, a_run_over_callbacks_is_resumed_to_the_same_bits) {
    double whole[14], parts[14];
    static const char *const names[] = {"run/checkpoint.safetensors", "run/best.safetensors",
                                        "run/metrics.csv", "run/.lock", "run"};
    train_on_filled(NULL, 0, whole);
    for (size_t at = 1; at <= 10; at++) {
        train_on_filled(in_scratch("run"), at, parts);
        cr_expect(at == 10 || memcmp(whole, parts, sizeof whole), "step %zu did not interrupt", at);
        train_on_filled(in_scratch("run"), 0, parts);
        cr_expect(!memcmp(whole, parts, sizeof whole), "other bits after an interruption in step %zu", at);
        for (size_t i = 0; i < 5; i++) remove(in_scratch(names[i]));
    }
}
#endif

/* PNG files and folders of them as images. The files are written by libpng here, in every colour type and depth. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <png.h>
#include <sys/stat.h>

#include "scratch.h"

TestSuite(png, .init = scratch_begin, .fini = scratch_end);

static char path[256];

static const char *in_folder(const char *name) {
    snprintf(path, sizeof path, "%s/%s", scratch_folder, name);
    return path;
}

/* One pixel value for row h, column w, sample s, in 0..2^depth - 1. */
static unsigned sample(size_t h, size_t w, size_t s, int depth) {
    unsigned largest = (1u << depth) - 1;
    return (unsigned)(h * 37 + w * 11 + s * 71) * (depth == 16 ? 257u : 1u) % (largest + 1);
}

enum { HEIGHT = 5, WIDTH = 6 };

static size_t samples_of(int colour) {
    return (size_t)(colour & PNG_COLOR_MASK_COLOR && colour != PNG_COLOR_TYPE_PALETTE ? 3 : 1) +
           (colour & PNG_COLOR_MASK_ALPHA ? 1 : 0);
}

static void write_png(const char *name, int colour, int depth, int interlace) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    FILE *f = fopen(in_folder(name), "wb");
    size_t n = samples_of(colour);
    uint8_t rows[HEIGHT][WIDTH * 4 * 2];
    png_bytep at[HEIGHT];
    cr_assert(f && !setjmp(png_jmpbuf(png)));
    png_init_io(png, f);
    png_set_IHDR(png, info, WIDTH, HEIGHT, depth, colour, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[256];
        for (int i = 0; i < 1 << depth; i++)
            palette[i] = (png_color){(png_byte)(i * 3), (png_byte)(i * 5), (png_byte)(i * 7)};
        png_set_PLTE(png, info, palette, 1 << depth);
    }
    png_write_info(png, info);
    if (depth < 8) png_set_packing(png);
    for (size_t h = 0; h < HEIGHT; h++) {
        at[h] = rows[h];
        for (size_t i = 0; i < WIDTH * n; i++) {
            unsigned v = sample(h, i / n, i % n, depth);
            if (depth == 16) rows[h][2 * i] = (uint8_t)(v >> 8), rows[h][2 * i + 1] = (uint8_t)v;
            if (depth < 16) rows[h][i] = (uint8_t)v;
        }
    }
    png_write_image(png, at);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
}

/* What channel c of the pixel should be, as a byte. */
static double expected(int colour, int depth, size_t h, size_t w, size_t c) {
    double largest = (double)((1u << depth) - 1);
    if (colour == PNG_COLOR_TYPE_PALETTE)
        return (uint8_t)(sample(h, w, 0, depth) * (c == 0 ? 3 : c == 1 ? 5 : 7));
    double v = sample(h, w, colour & PNG_COLOR_MASK_COLOR ? c : 0, depth) / largest;
    if (colour & PNG_COLOR_MASK_ALPHA) v *= sample(h, w, samples_of(colour) - 1, depth) / largest;
    return v * 255;
}

Test(png, reads_every_kind) {
    static const struct {
        int colour, depth;
        /* of 255; transparency is blended on libpng's linear scale, so there it is not compared */
        double tolerance;
    } kinds[] = {{PNG_COLOR_TYPE_GRAY, 1, 0.51},   {PNG_COLOR_TYPE_GRAY, 2, 0.51},
                 {PNG_COLOR_TYPE_GRAY, 4, 0.51},   {PNG_COLOR_TYPE_GRAY, 8, 0},
                 {PNG_COLOR_TYPE_GRAY, 16, 1},     {PNG_COLOR_TYPE_RGB, 8, 0},
                 {PNG_COLOR_TYPE_RGB, 16, 1},      {PNG_COLOR_TYPE_PALETTE, 2, 0},
                 {PNG_COLOR_TYPE_PALETTE, 8, 0},   {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 1},
                 {PNG_COLOR_TYPE_RGB_ALPHA, 8, 1}, {PNG_COLOR_TYPE_RGB_ALPHA, 16, 1}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int interlace = 0; interlace < 2; interlace++) {
            write_png("a.png", kinds[k].colour, kinds[k].depth, interlace);
            pleat_tensor *x = pleat_nn_read_png(ctx, in_folder("a.png"));
            cr_assert_not(pleat_is_poison(x), "%s", pleat_error(ctx)->text);
            size_t C = kinds[k].colour & PNG_COLOR_MASK_COLOR ? 3 : 1;
            cr_assert(pleat_size(x, 0) == 1 && pleat_size(x, 1) == C && pleat_size(x, 2) == HEIGHT &&
                      pleat_size(x, 3) == WIDTH);
            for (size_t i = 0; i < C * HEIGHT * WIDTH; i++) {
                size_t c = i / (HEIGHT * WIDTH), h = i / WIDTH % HEIGHT, w = i % WIDTH;
                double found = 255 * pleat_at(x, (size_t[]){0, c, h, w}),
                       right = expected(kinds[k].colour, kinds[k].depth, h, w, c);
                cr_assert(fabs(found - right) <= kinds[k].tolerance + 1e-4,
                          "kind %zu, interlace %d, row %zu, column %zu: %g instead of %g", k, interlace, h, w,
                          found, right);
            }
        }
}

/* The numbers of a mask are those in the file: not scaled to 255, not looked up in a palette, not blended. */
Test(png, masks_are_read_as_they_are) {
    static const struct {
        int colour, depth;
    } kinds[] = {{PNG_COLOR_TYPE_GRAY, 1},      {PNG_COLOR_TYPE_GRAY, 2},    {PNG_COLOR_TYPE_GRAY, 4},
                 {PNG_COLOR_TYPE_GRAY, 8},      {PNG_COLOR_TYPE_PALETTE, 2}, {PNG_COLOR_TYPE_PALETTE, 8},
                 {PNG_COLOR_TYPE_GRAY_ALPHA, 8}};
    mkdir(in_folder("x"), 0777), mkdir(in_folder("y"), 0777);
    write_png("x/a.png", PNG_COLOR_TYPE_RGB, 8, 0);
    pleat_nn_data d;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int labels = 0; labels < 2; labels++) {
            write_png("y/a.png", kinds[k].colour, kinds[k].depth, labels);
            cr_assert_eq(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"),
                                                 labels ? PLEAT_NN_BYTE_LABELS : PLEAT_NN_BYTES, &d),
                         PLEAT_OK, "%s", pleat_error(ctx)->text);
            for (size_t i = 0; i < HEIGHT * WIDTH; i++)
                cr_assert_eq(((const uint8_t *)d.field[1].data)[i],
                             sample(i / WIDTH, i % WIDTH, 0, kinds[k].depth), "kind %zu, pixel %zu", k, i);
            pleat_nn_data_free(&d);
        }
    write_png("y/a.png", PNG_COLOR_TYPE_GRAY, 16, 0);
    expect_error(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_BYTES, &d),
                 PLEAT_ERR_FORMAT, "y/a.png: its samples have 16 bits; as bytes they must have 8 or fewer");
    cr_assert_eq(pleat_nn_read_png_pairs(ctx, in_scratch("x"), in_scratch("y"), PLEAT_NN_PIXELS, &d),
                 PLEAT_OK);
    pleat_nn_data_free(&d);
    remove(in_folder("x/a.png")), remove(in_folder("y/a.png")), remove(in_folder("x")),
        remove(in_folder("y"));
}

Test(png, transparency_is_laid_on_black) {
    png_image p = {.version = PNG_IMAGE_VERSION, .width = 2, .height = 1, .format = PNG_FORMAT_RGBA};
    const uint8_t pixels[8] = {200, 100, 50, 255, 200, 100, 50, 0};
    cr_assert(png_image_write_to_file(&p, in_folder("t.png"), 0, pixels, 0, NULL));
    pleat_tensor *x = pleat_nn_read_png(ctx, in_folder("t.png"));
    const double right[] = {200, 0, 100, 0, 50, 0};
    for (size_t i = 0; i < 6; i++)
        cr_assert_float_eq(255 * pleat_at(x, (size_t[]){0, i / 2, 0, i % 2}), right[i], 1e-3);
}

Test(png, reads_back_what_is_written) {
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 7, 4), 0, 1);
    cr_assert_eq(pleat_nn_write_png_grid(in_folder("w.png"), x, 1, 1), PLEAT_OK);
    pleat_tensor *y = pleat_nn_read_png(ctx, in_folder("w.png"));
    cr_assert_leq(pleat_item(pleat_amax(pleat_abs(pleat_sub(x, y)))), 0.5 / 255 + 1e-6);
}

/* What counts is how many pixels there are, and not how long a side is. */
Test(png, reads_long_sides) {
    static const size_t shapes[][2] = {{2, 20000}, {20000, 2}};
    for (size_t i = 0; i < 2; i++) {
        size_t H = shapes[i][0], W = shapes[i][1];
        pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, H, W), 1);
        cr_assert_eq(pleat_nn_write_png_grid(in_folder("l.png"), x, 1, 1), PLEAT_OK);
        pleat_tensor *y = pleat_nn_read_png(ctx, in_folder("l.png"));
        cr_assert_not(pleat_is_poison(y), "%s", pleat_error(ctx)->text);
        cr_assert(pleat_size(y, 2) == H && pleat_size(y, 3) == W);
    }
}

/* ---- what is wrong --------------------------------------------------------------------------------------------- */

static void expect_refused(const char *file, pleat_status code, const char *part) {
    cr_assert(pleat_is_poison(pleat_nn_read_png(ctx, file)));
    expect_error(pleat_error(ctx)->code, code, part);
}

static unsigned crc(const uint8_t *bytes, size_t n) {
    unsigned c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= bytes[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

/* The right checksum behind a chunk of so many bytes. */
static void put_chunk_sum(uint8_t *chunk, size_t bytes) {
    unsigned c = crc(chunk + 4, 4 + bytes);
    for (int k = 0; k < 4; k++) chunk[8 + bytes + (size_t)k] = (uint8_t)(c >> (24 - 8 * k));
}

Test(png, refuses_damage) {
    static uint8_t good[8192], bad[8192];
    write_png("a.png", PNG_COLOR_TYPE_RGB, 8, 0);
    FILE *f = fopen(in_folder("a.png"), "rb");
    size_t n = fread(good, 1, sizeof good, f);
    fclose(f);
    for (size_t i = 0; i < n; i++) {
        f = fopen(in_folder("b.png"), "wb");
        fwrite(good, 1, i, f);
        fclose(f);
        pleat_tensor *x = pleat_nn_read_png(ctx, in_folder("b.png"));
        cr_assert(pleat_is_poison(x) || i >= n - 12, "cut to %zu of %zu bytes", i,
                  n); /* IEND may be missing */
        cr_assert(!pleat_is_poison(x) || pleat_error(ctx)->code == PLEAT_ERR_FORMAT);
        pleat_clear_error(ctx);
        memcpy(bad, good, n);
        bad[i] ^= 0x10;
        f = fopen(in_folder("b.png"), "wb");
        fwrite(bad, 1, n, f);
        fclose(f);
        pleat_nn_read_png(ctx, in_folder("b.png"));
        cr_assert_null(strchr(pleat_error(ctx)->text, '\n'));
        pleat_clear_error(ctx);
    }
    /* a header that claims 60000 by 60000 pixels, with the right checksum */
    memcpy(bad, good, n);
    bad[18] = bad[22] = 0xea, bad[19] = bad[23] = 0x60;
    put_chunk_sum(bad + 8, 13);
    f = fopen(in_folder("b.png"), "wb");
    fwrite(bad, 1, n, f);
    fclose(f);
    expect_refused(in_folder("b.png"), PLEAT_ERR_FORMAT, "claims 60000x60000 pixels");
    /* as many pixels as the bytes could hold if a pixel had one bit */
    bad[18] = bad[22] = 3, bad[19] = bad[23] = 0x20;
    put_chunk_sum(bad + 8, 13);
    put_file(in_folder("b.png"), bad, n);
    expect_refused(in_folder("b.png"), PLEAT_ERR_FORMAT, "claims 800x800 pixels");
    expect_refused("/nowhere.png", PLEAT_ERR_IO, "/nowhere.png");
    expect_refused(scratch_folder, PLEAT_ERR_IO, "a folder");
}

/* Appends a chunk; `length` bytes of zeros if there is no data. */
static uint8_t *put_chunk(uint8_t *to, const char *name, const uint8_t *data, size_t length) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(length >> (24 - 8 * i));
    memcpy(to + 4, name, 4);
    if (data) memcpy(to + 8, data, length);
    put_chunk_sum(to, length);
    return to + 12 + length;
}

static void put_side(uint8_t *to, size_t side) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(side >> (24 - 8 * i));
}

/* What an image becomes is larger than what is packed: eight bits for one, four samples for a palette's index, a pointer for a row.
 * Files of a header and packed zeros, which is no image, so all are refused; those that are too large by their header. */
Test(png, counts_the_bytes_that_are_made) {
    static const struct {
        size_t H, W, packed;
        uint8_t depth, colour;
        bool alpha, large;
    } files[] = {
        {16384, 16384, 33000, 1, PNG_COLOR_TYPE_PALETTE, true, true},
        {8000, 8000, 8000, 1, PNG_COLOR_TYPE_PALETTE, true, true}, /* 256 MB from 8 KB */
        {8000, 8000, 8000, 1, PNG_COLOR_TYPE_GRAY, false, false},  /* 64 MB: a blank page */
        {8000, 8000, 8000, 1, PNG_COLOR_TYPE_GRAY, true, true},
        {4000, 4000, 2000, 1, PNG_COLOR_TYPE_PALETTE, true, false},
        {4500, 4500, 2500, 1, PNG_COLOR_TYPE_PALETTE, true, true},
        {4500, 4500, 2500, 1, PNG_COLOR_TYPE_PALETTE, false, false},
        {4500, 4500, 81000, 1, PNG_COLOR_TYPE_PALETTE, true, false}, /* of a picture, not of a blank page */
        {1, (size_t)1 << 28, 33000, 1, PNG_COLOR_TYPE_GRAY, false, true},
        {15000000, 1, 15000, 1, PNG_COLOR_TYPE_GRAY, false, true}, /* it needs as many addresses of rows */
    };
    static uint8_t file[1 << 17];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        uint8_t header[13] = {0}, zeros[6] = {0}, *at = file + 8;
        memset(file, 0, sizeof file);
        memcpy(file, "\x89PNG\r\n\x1a\n", 8);
        put_side(header, files[i].W), put_side(header + 4, files[i].H);
        header[8] = files[i].depth, header[9] = files[i].colour;
        at = put_chunk(at, "IHDR", header, sizeof header);
        if (files[i].colour == PNG_COLOR_TYPE_PALETTE) at = put_chunk(at, "PLTE", zeros, 6);
        if (files[i].alpha) at = put_chunk(at, "tRNS", zeros, 2);
        at = put_chunk(at, "IDAT", NULL, files[i].packed);
        put_file(in_folder("m.png"), file, (size_t)(at - file));
        pleat_nn_read_png(ctx, in_folder("m.png"));
        bool large = strstr(pleat_error(ctx)->text, "claims") != NULL;
        cr_assert_eq(large, files[i].large, "file %zu: %s", i, pleat_error(ctx)->text);
        expect_error(pleat_error(ctx)->code, PLEAT_ERR_FORMAT, "m.png");
    }
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

static void folder(const char *name) { cr_assert_eq(mkdir(in_folder(name), 0777), 0); }

static void copy(const char *from, const char *to) {
    char a[512], b[512], command[1100];
    snprintf(a, sizeof a, "%s", in_folder(from));
    snprintf(b, sizeof b, "%s", in_folder(to));
    snprintf(command, sizeof command, "cp %s %s", a, b);
    cr_assert_eq(system(command), 0);
}

static void clear(const char *name) {
    char command[512];
    snprintf(command, sizeof command, "rm -r %s", in_folder(name));
    cr_assert_eq(system(command), 0);
}

static void expect_folder_refused(const char *name, pleat_status code, const char *part) {
    pleat_nn_images images;
    expect_error(pleat_nn_read_png_folder(ctx, in_folder(name), &images), code, part);
    cr_assert(!images.pixels && !images.labels && !images.names && !images.count);
}

Test(png, reads_folders) {
    pleat_nn_images images;
    write_png("grey.png", PNG_COLOR_TYPE_GRAY, 8, 0);
    write_png("colour.png", PNG_COLOR_TYPE_RGB, 8, 0);
    folder("d");
    expect_folder_refused("d", PLEAT_ERR_FORMAT, "no PNG files");
    copy("grey.png", "d/b.png");
    copy("grey.png", "d/a.PNG");
    copy("grey.png", "d/.hidden.png");
    copy("grey.png", "d/notes.txt");
    cr_assert_eq(pleat_nn_read_png_folder(ctx, in_folder("d"), &images), PLEAT_OK, "%s",
                 pleat_error(ctx)->text);
    cr_assert(images.count == 2 && images.C == 1 && images.H == HEIGHT && images.W == WIDTH);
    cr_assert(!images.labels && !images.names && images.classes == 0);
    for (size_t i = 0; i < 2 * HEIGHT * WIDTH; i++)
        cr_assert_eq(images.pixels[i], sample(i / WIDTH % HEIGHT, i % WIDTH, 0, 8));
    pleat_nn_images_free(&images);
    copy("colour.png", "d/c.png");
    expect_folder_refused("d", PLEAT_ERR_SHAPE, "d/c.png is [3,5,6], but ");
    expect_folder_refused("d", PLEAT_ERR_SHAPE, "d/a.PNG is [1,5,6]; all must");
    clear("d");
    clear("grey.png");
    clear("colour.png");
}

Test(png, reads_a_folder_for_each_class) {
    pleat_nn_images images;
    write_png("a.png", PNG_COLOR_TYPE_RGB, 8, 0);
    folder("d");
    folder("d/dogs");
    folder("d/cats");
    copy("a.png", "d/dogs/1.png");
    expect_folder_refused("d", PLEAT_ERR_FORMAT, "cats: a class without a PNG file");
    for (int i = 0; i < 70; i++) {
        char name[64];
        snprintf(name, sizeof name, "d/cats/%d.png", i);
        copy("a.png", name);
    }
    cr_assert_eq(pleat_nn_read_png_folder(ctx, in_folder("d"), &images), PLEAT_OK, "%s",
                 pleat_error(ctx)->text);
    cr_assert(images.count == 71 && images.classes == 2 && images.C == 3);
    cr_assert_str_eq(images.names[0], "cats");
    cr_assert_str_eq(images.names[1], "dogs");
    for (size_t i = 0; i < 71; i++) cr_assert_eq(images.labels[i], i == 70);
    pleat_nn_images_free(&images);
    copy("a.png", "d/stray.png");
    expect_folder_refused("d", PLEAT_ERR_FORMAT, "both PNG files and folders");
    expect_folder_refused("missing", PLEAT_ERR_IO, "cannot read");
    clear("d");
    clear("a.png");
}

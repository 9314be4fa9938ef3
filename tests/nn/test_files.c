/* Files: all or nothing on every way to fail; PNG and safetensors against what their specifications say. */
#define _XOPEN_SOURCE 700

#include "pleat_config.h"
#include "scratch.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#ifdef PL_HAVE_PNG
#    include <png.h>
#endif

TestSuite(file, .init = scratch_begin, .fini = scratch_end, .timeout = 60);
TestSuite(png, .init = scratch_begin, .fini = scratch_end, .timeout = 60);
TestSuite(safetensors, .init = scratch_begin, .fini = scratch_end, .timeout = 60);

/* From now on writes fail with EFBIG behind that many bytes of a file: a full disk, as far as a program can tell. */
static void limit_files(size_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = bytes, .rlim_max = RLIM_INFINITY}) == 0);
}

static void unlimit_files(void) {
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY});
}

static void expect_files(size_t want) {
    size_t temporary, n = scratch_count(&temporary);
    cr_expect(n == want && temporary == 0, "%zu files instead of %zu, %zu of them temporary", n, want,
              temporary);
}

/* ---- whole files ---------------------------------------------------------------------------------------- */

Test(file, becomes_visible_when_committed) {
    pleat_nn_file f;
    const char *path = in_scratch("new");
    umask(027);
    cr_assert(!pleat_nn_file_create(ctx, path, &f), "%s", pleat_error(ctx)->text);
    fputs("text", f.f);
    cr_expect(access(path, F_OK) != 0);
    cr_expect(!pleat_nn_file_commit(ctx, &f));
    cr_expect(!f.f && !f.path && !f.temporary);
    cr_expect(holds(path, "text"));
    struct stat s;
    cr_expect(stat(path, &s) == 0 && (s.st_mode & 0777) == 0640, "the umask decides");
    expect_files(1);
}

Test(file, replaces_or_leaves_alone) {
    pleat_nn_file f;
    const char *path = in_scratch("old");
    put_file(path, "old", 3);
    cr_assert(!pleat_nn_file_create(ctx, path, &f));
    fputs("new", f.f);
    fflush(f.f);
    cr_expect(holds(path, "old"));
    pleat_nn_file_abort(&f);
    pleat_nn_file_abort(&f);
    cr_expect(holds(path, "old"));
    cr_assert(!pleat_nn_file_create(ctx, path, &f));
    fputs("new", f.f);
    cr_expect(!pleat_nn_file_commit(ctx, &f));
    cr_expect(holds(path, "new"));
    expect_error(pleat_nn_file_commit(ctx, &f), PLEAT_ERR_ARGUMENT, "not open");
    expect_files(1);
}

Test(file, takes_names_without_a_folder_and_of_any_length) {
    pleat_nn_file f;
    char name[256];
    memset(name, 'n', 255);
    name[255] = 0;
    cr_assert(chdir(scratch_folder) == 0);
    cr_assert(!pleat_nn_file_create(ctx, name, &f), "%s", pleat_error(ctx)->text);
    fputs("x", f.f);
    cr_expect(!pleat_nn_file_commit(ctx, &f));
    cr_expect(holds(name, "x"));
    expect_files(1);
}

Test(file, follows_a_symbolic_link) {
    pleat_nn_file f;
    struct stat s;
    put_file(in_scratch("target"), "old", 3);
    cr_assert(symlink("target", in_scratch("link")) == 0);
    cr_assert(!pleat_nn_file_create(ctx, in_scratch("link"), &f));
    fputs("new", f.f);
    cr_expect(!pleat_nn_file_commit(ctx, &f));
    cr_expect(lstat(in_scratch("link"), &s) == 0 && S_ISLNK(s.st_mode));
    cr_expect(holds(in_scratch("target"), "new"));
}

Test(file, survives_a_full_disk) {
    pleat_nn_file f;
    const char *path = in_scratch("old");
    put_file(path, "old", 3);
    limit_files(1000);
    cr_assert(!pleat_nn_file_create(ctx, path, &f));
    for (int i = 0; i < 1500; i++) fputc('x', f.f); /* fits into the buffer: only the flush fails */
    expect_error(pleat_nn_file_commit(ctx, &f), PLEAT_ERR_IO, "File too large");
    cr_expect(!f.f && !f.temporary);
    cr_assert(!pleat_nn_file_create(ctx, path, &f));
    for (int i = 0; i < 1500; i++) fputc('x', f.f);
    fflush(f.f);
    pleat_status status = pleat_nn_file_commit(ctx, &f);
    unlimit_files();
    expect_error(status, PLEAT_ERR_IO, "cannot write");
    cr_expect(holds(path, "old"));
    expect_files(1);
}

Test(file, writes_straight_to_devices) {
    pleat_nn_file f;
    cr_assert(!pleat_nn_file_create(ctx, "/dev/null", &f), "%s", pleat_error(ctx)->text);
    cr_expect(!f.temporary);
    fputs("x", f.f);
    cr_expect(!pleat_nn_file_commit(ctx, &f), "%s", pleat_error(ctx)->text);
    struct stat s;
    cr_expect(stat("/dev/null", &s) == 0 && S_ISCHR(s.st_mode));
    if (access("/dev/full", W_OK)) scratch_skip("there is no /dev/full");
    cr_assert(!pleat_nn_file_create(ctx, "/dev/full", &f));
    fputs("x", f.f);
    expect_error(pleat_nn_file_commit(ctx, &f), PLEAT_ERR_IO, "cannot write /dev/full: No space left");
    cr_expect(stat("/dev/full", &s) == 0 && S_ISCHR(s.st_mode));
}

Test(file, refuses_what_cannot_be_written) {
    pleat_nn_file f;
    expect_error(pleat_nn_file_create(ctx, scratch_folder, &f), PLEAT_ERR_IO, "Is a directory");
    expect_error(pleat_nn_file_create(ctx, in_scratch("none/x"), &f), PLEAT_ERR_IO,
                 "No such file or directory");
    expect_error(pleat_nn_file_create(ctx, in_scratch("x/"), &f), PLEAT_ERR_IO, "x/");
    expect_error(pleat_nn_file_create(ctx, "", &f), PLEAT_ERR_ARGUMENT, "empty");
    expect_error(pleat_nn_file_create(ctx, NULL, &f), PLEAT_ERR_ARGUMENT, "NULL");
    cr_expect(!f.f && !f.path && !f.temporary);
    expect_files(0);
}

/* Root may do anything, so it becomes somebody else for a moment. */
static pleat_status create_as_nobody(const char *path) {
    pleat_nn_file f;
    if (getuid() == 0 && seteuid(65534)) scratch_skip("root cannot step down here");
    pleat_status status = pleat_nn_file_create(ctx, path, &f);
    if (getuid() == 0) cr_assert(seteuid(0) == 0);
    pleat_nn_file_abort(&f);
    return status;
}

Test(file, respects_permissions) {
    put_file(in_scratch("fixed"), "old", 3);
    cr_assert(chmod(in_scratch("fixed"), 0444) == 0 && chmod(scratch_folder, 0777) == 0);
    expect_error(create_as_nobody(in_scratch("fixed")), PLEAT_ERR_IO, "Permission denied");
    cr_assert(chmod(scratch_folder, 0555) == 0);
    expect_error(create_as_nobody(in_scratch("new")), PLEAT_ERR_IO, "Permission denied");
    cr_assert(chmod(scratch_folder, 0755) == 0);
    cr_expect(holds(in_scratch("fixed"), "old"));
    expect_files(1);
}

/* Two files for one target at a time: the later commit wins, and both are whole. */
Test(file, may_be_written_twice_at_once) {
    pleat_nn_file a, b;
    cr_assert(!pleat_nn_file_create(ctx, in_scratch("x"), &a));
    cr_assert(!pleat_nn_file_create(ctx, in_scratch("x"), &b));
    fputs("a", a.f);
    fputs("b", b.f);
    cr_expect(!pleat_nn_file_commit(ctx, &b));
    cr_expect(holds(in_scratch("x"), "b"));
    cr_expect(!pleat_nn_file_commit(ctx, &a));
    cr_expect(holds(in_scratch("x"), "a"));
    expect_files(1);
}

/* ---- PNG ------------------------------------------------------------------------------------------------ */

#ifdef PL_HAVE_PNG
typedef struct picture {
    size_t width, height, channels;
    uint8_t *pixels;
} picture;

static picture read_png(const char *path) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    cr_assert(png_image_begin_read_from_file(&image, path), "%s", image.message);
    bool rgb = image.format & PNG_FORMAT_FLAG_COLOR;
    cr_expect(!(image.format & PNG_FORMAT_FLAG_ALPHA));
    image.format = rgb ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    picture p = {image.width, image.height, rgb ? 3 : 1, malloc(PNG_IMAGE_SIZE(image))};
    cr_assert(p.pixels && png_image_finish_read(&image, NULL, p.pixels, 0, NULL), "%s", image.message);
    return p;
}

/* What pixel (row, column) must show, by the words of the header. */
static uint8_t expected_pixel(pleat_tensor *x, size_t columns, size_t zoom, size_t row, size_t column,
                              size_t c) {
    size_t H = pleat_size(x, 2), W = pleat_size(x, 3), y = row / zoom, u = column / zoom;
    size_t i = y / (H + 1) * columns + u / (W + 1);
    if (y % (H + 1) == H || u % (W + 1) == W || i >= pleat_size(x, 0)) return 255;
    double v = pleat_at(x, (const size_t[]){i, c, y % (H + 1), u % (W + 1)});
    if (isnan(v) || v < 0) return 0;
    return v > 1 ? 255 : (uint8_t)floor(255 * v + 0.5);
}

static void expect_grid(pleat_tensor *x, size_t columns, size_t zoom, size_t width, size_t height) {
    const char *path = in_scratch("grid.png");
    cr_assert(!pleat_nn_write_png_grid(path, x, columns, zoom), "%s", pleat_error(ctx)->text);
    picture p = read_png(path);
    cr_assert(p.width == width && p.height == height && p.channels == pleat_size(x, 1), "%zux%zux%zu",
              p.width, p.height, p.channels);
    for (size_t i = 0; i < width * height * p.channels; i++) {
        size_t c = i % p.channels, column = i / p.channels % width, row = i / p.channels / width;
        uint8_t want = expected_pixel(x, columns, zoom, row, column, c);
        cr_assert(p.pixels[i] == want, "row %zu column %zu channel %zu: %d instead of %d", row, column, c,
                  p.pixels[i], want);
    }
    free(p.pixels);
}

Test(png, shows_every_pixel) {
    pleat_tensor *grey = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(5, 1, 3, 4), -0.3, 1.3);
    pleat_tensor *rgb = pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(4, 3, 2, 5), -0.3, 1.3);
    pleat_f32(grey)[0] = NAN, pleat_f32(grey)[1] = INFINITY, pleat_f32(grey)[2] = -INFINITY;
    expect_grid(grey, 2, 3, (2 * 5 - 1) * 3, (3 * 4 - 1) * 3);
    expect_grid(rgb, 2, 2, (2 * 6 - 1) * 2, (2 * 3 - 1) * 2);
    expect_grid(rgb, 1, 1, 5, 4 * 3 - 1);
    expect_grid(rgb, 4, 1, 4 * 6 - 1, 2);
    expect_files(1);
}

/* More columns than images would only be empty. A view is drawn as well as a whole tensor. */
Test(png, few_images_and_views) {
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(3, 3, 4, 4), 0, 1);
    pleat_tensor *grey = pleat_slice(x, (const size_t[]){0, 1, 0, 0}, (const size_t[]){3, 1, 4, 4}, NULL);
    cr_expect(!pleat_nn_write_png_grid(in_scratch("a.png"), grey, SIZE_MAX, 1), "%s", pleat_error(ctx)->text);
    picture p = read_png(in_scratch("a.png"));
    cr_expect(p.width == 14 && p.height == 4 && p.channels == 1);
    free(p.pixels);
    expect_grid(grey, 2, 1, 9, 9);
}

Test(png, refuses_what_is_no_picture) {
    const char *path = in_scratch("a.png");
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1, 3, 4));
    pleat_tensor *two = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2, 3, 4));
    pleat_tensor *flat = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 4));
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 1, 3, 4));
    expect_error(pleat_nn_write_png_grid(path, two, 1, 1), PLEAT_ERR_SHAPE,
                 "x is [2,2,3,4]; it must be [n,1,H,W]");
    expect_error(pleat_nn_write_png_grid(path, flat, 1, 1), PLEAT_ERR_SHAPE, "x is [1,3,4]");
    expect_error(pleat_nn_write_png_grid(path, none, 1, 1), PLEAT_ERR_SHAPE, "not empty");
    expect_error(pleat_nn_write_png_grid(path, x, 0, 1), PLEAT_ERR_ARGUMENT, "columns is 0");
    expect_error(pleat_nn_write_png_grid(path, x, 1, 0), PLEAT_ERR_ARGUMENT, "zoom 0");
    expect_error(pleat_nn_write_png_grid(path, x, 1, 200000), PLEAT_ERR_ARGUMENT, "over 1000000 pixels");
    expect_error(pleat_nn_write_png_grid(path, x, 1, SIZE_MAX / 2), PLEAT_ERR_ARGUMENT,
                 "over 1000000 pixels");
    expect_error(pleat_nn_write_png_grid(in_scratch("none/a.png"), x, 1, 1), PLEAT_ERR_IO, "No such file");
    expect_error(pleat_nn_write_png_grid(NULL, x, 1, 1), PLEAT_ERR_ARGUMENT, "NULL");
    cr_expect(pleat_nn_write_png_grid(path, NULL, 1, 1) == PLEAT_ERR_ARGUMENT);
    pleat_tensor *poison = pleat_add(x, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(7)));
    cr_expect(pleat_nn_write_png_grid(path, poison, 1, 1) == PLEAT_ERR_ARGUMENT);
    expect_files(0);
}

Test(png, survives_a_full_disk) {
    const char *path = in_scratch("a.png");
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 100, 100), 0, 1);
    put_file(path, "old", 3);
    for (size_t limit = 0; limit < 12000; limit = 3 * limit + 1) {
        limit_files(limit);
        pleat_status status = pleat_nn_write_png_grid(path, x, 1, 1);
        unlimit_files();
        expect_error(status, PLEAT_ERR_IO, "a.png: File too large");
        cr_expect(holds(path, "old"));
        expect_files(1);
    }
    if (access("/dev/full", W_OK)) return;
    expect_error(pleat_nn_write_png_grid("/dev/full", x, 1, 1), PLEAT_ERR_IO,
                 "/dev/full: No space left on device");
}
#else
Test(png, names_the_missing_libpng) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 2, 2));
    expect_error(pleat_nn_write_png_grid(in_scratch("a.png"), x, 1, 1), PLEAT_ERR_ARGUMENT, "-Dpng=enabled");
    expect_files(0);
}
#endif

/* ---- safetensors ---------------------------------------------------------------------------------------- */

static pleat_tensor *identity(pleat_nn_module *m, pleat_tensor *x) {
    (void)m;
    return x;
}

static const pleat_nn_kind kind = {.name = "Holder", .forward = identity};

/* 0.weight f32 [2,3], 0.bias f32 [2], 1.scale f64 []: bytes 0..24..32..40 of the elements. */
static pleat_nn_module *network(pleat_ctx *c, double first) {
    pleat_tensor *weight = pleat_zeros(c, PLEAT_F32, PLEAT_SHAPE(2, 3));
    pleat_tensor *bias = pleat_zeros(c, PLEAT_F32, PLEAT_SHAPE(2));
    for (size_t i = 0; i < 6; i++) pleat_f32(weight)[i] = (float)(first + (double)i / 3);
    for (size_t i = 0; i < 2; i++) pleat_f32(bias)[i] = (float)(-first - (double)i);
    pleat_nn_module *a = pleat_nn_module_new(c, &kind, NULL, 0), *b = pleat_nn_module_new(c, &kind, NULL, 0);
    a = pleat_nn_add_param(pleat_nn_add_param(a, "weight", weight), "bias", bias);
    b = pleat_nn_add_param(b, "scale", pleat_full(c, PLEAT_F64, PLEAT_SCALAR, first / 7));
    pleat_nn_module *net = pleat_nn_add_child(pleat_nn_module_new(c, &kind, NULL, 0), "0", a);
    net = pleat_nn_add_child(net, "1", b);
    cr_assert(net, "%s", pleat_error(c)->text);
    return net;
}

/* The 40 bytes that the parameters have in a file. */
static void bytes_of(const pleat_nn_module *net, uint8_t out[40]) {
    memcpy(out, pleat_f32(pleat_nn_param(net, 0)), 24);
    memcpy(out + 24, pleat_f32(pleat_nn_param(net, 1)), 8);
    memcpy(out + 32, pleat_f64(pleat_nn_param(net, 2)), 8);
}

static void expect_same(const pleat_nn_module *a, const pleat_nn_module *b, const char *why) {
    uint8_t x[40], y[40];
    bytes_of(a, x);
    bytes_of(b, y);
    cr_expect(!memcmp(x, y, sizeof x), "%s", why);
}

#ifdef PL_HAVE_CJSON
static uint64_t little_endian(const uint8_t *b, size_t bytes) {
    uint64_t v = 0;
    while (bytes-- > 0) v = v << 8 | b[bytes];
    return v;
}

static const char *entry_of(const char *header, const char *name) {
    const char *at = strstr(header, name);
    cr_assert(at && !strstr(at + 1, name), "%s is not there once: %s", name, header);
    return at + strlen(name);
}

Test(safetensors, writes_what_the_format_says) {
    pleat_nn_module *net = network(ctx, 1.5);
    size_t bytes, H, W, begin, end;
    char type[8];
    cr_assert(!pleat_nn_save(in_scratch("m"), net), "%s", pleat_error(ctx)->text);
    uint8_t *file = get_file(in_scratch("m"), &bytes), data[40];
    size_t length = (size_t)little_endian(file, 8);
    cr_assert(bytes == 8 + length + 40 && length % 8 == 0 && file[8] == '{');
    char *header = strndup((char *)file + 8, length);
    cr_expect(strspn(strrchr(header, '}') + 1, " ") == strlen(strrchr(header, '}') + 1),
              "padded with blanks");
    cr_expect(strstr(header, "\"__metadata__\":{\"format\":\"pt\"}"));
    const char *e = entry_of(header, "\"0.weight\":");
    cr_assert(sscanf(e, "{\"dtype\":\"%7[^\"]\",\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]}", type, &H,
                     &W, &begin, &end) == 5,
              "%s", e);
    cr_expect(!strcmp(type, "F32") && H == 2 && W == 3 && begin == 0 && end == 24);
    e = entry_of(header, "\"1.scale\":");
    cr_assert(
        sscanf(e, "{\"dtype\":\"%7[^\"]\",\"shape\":[],\"data_offsets\":[%zu,%zu]}", type, &begin, &end) == 3,
        "%s", e);
    cr_expect(!strcmp(type, "F64") && begin == 32 && end == 40);
    bytes_of(net, data);
    for (size_t i = 0; i < 8; i++) {
        uint32_t bits = (uint32_t)little_endian(file + 8 + length + 4 * i, 4);
        float v;
        memcpy(&v, &bits, sizeof v);
        cr_expect(!memcmp(&v, data + 4 * i, sizeof v) && (i >= 6 || v == (float)(1.5 + (double)i / 3)));
    }
    uint64_t scale = little_endian(file + 8 + length + 32, 8);
    cr_expect(!memcmp(&scale, data + 32, sizeof scale));
    expect_files(1);
    free(header);
    free(file);
    pleat_nn_free(net);
}

Test(safetensors, comes_back_bit_for_bit) {
    pleat_nn_module *net = network(ctx, 1.5), *other = network(ctx, 9);
    pleat_f32(pleat_nn_param(net, 0))[0] = NAN;
    pleat_f32(pleat_nn_param(net, 0))[1] = -0.0f;
    pleat_f32(pleat_nn_param(net, 0))[2] = -INFINITY;
    pleat_f32(pleat_nn_param(net, 0))[3] = 1e-45f;
    cr_assert(!pleat_nn_save(in_scratch("m"), net), "%s", pleat_error(ctx)->text);
    cr_assert(!pleat_nn_load(in_scratch("m"), other), "%s", pleat_error(ctx)->text);
    expect_same(net, other, "saved and loaded");
    cr_assert(!pleat_nn_save(in_scratch("m"), other), "over the old one");
    cr_assert(!pleat_nn_load(in_scratch("m"), net));
    pleat_nn_free(net);
    pleat_nn_free(other);
}

Test(safetensors, a_network_without_parameters) {
    pleat_nn_module *net = pleat_nn_module_new(ctx, &kind, NULL, 0), *more = network(ctx, 1);
    cr_expect(!pleat_nn_save(in_scratch("m"), net), "%s", pleat_error(ctx)->text);
    cr_expect(!pleat_nn_load(in_scratch("m"), net), "%s", pleat_error(ctx)->text);
    expect_error(pleat_nn_load(in_scratch("m"), more), PLEAT_ERR_FORMAT, "0.weight is missing");
    cr_expect(!pleat_nn_save(in_scratch("m"), more));
    expect_error(pleat_nn_load(in_scratch("m"), net), PLEAT_ERR_FORMAT, "the network has no 0.weight");
    pleat_nn_free(net);
    pleat_nn_free(more);
}

/* A file of that header and `bytes` bytes of elements. */
static const char *forged(const char *header, size_t bytes) {
    const char *path = in_scratch("forged");
    size_t length = strlen(header);
    uint8_t *b = calloc(8 + length + bytes, 1);
    cr_assert(b);
    for (size_t i = 0; i < 8; i++) b[i] = (uint8_t)(length >> 8 * i);
    memcpy(b + 8, header, length);
    put_file(path, b, 8 + length + bytes);
    free(b);
    return path;
}

#    define W(dtype, shape, offsets) \
        "\"0.weight\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#    define WEIGHT W("F32", "[2,3]", "[0,24]")
#    define BIAS_AT(offsets) "\"0.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}"
#    define BIAS BIAS_AT("[24,32]")
#    define SCALE_AT(offsets) "\"1.scale\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":" offsets "}"
#    define SCALE SCALE_AT("[32,40]")

static const struct {
    pleat_status code;
    const char *header, *part;
} refused[] = {
    {PLEAT_ERR_FORMAT, "", "does not begin with {"},
    {PLEAT_ERR_FORMAT, " {" WEIGHT "," BIAS "," SCALE "}", "does not begin with {"},
    {PLEAT_ERR_FORMAT, "[]", "does not begin with {"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS "," SCALE, "not valid JSON"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS "," SCALE "} x", "not valid JSON"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS "," SCALE "}{}", "not valid JSON"},
    {PLEAT_ERR_FORMAT, "{\"0.weight\":", "not valid JSON"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS ",\"1.scale\\u0000\":{}}", "NUL"},
    {PLEAT_ERR_FORMAT, "{\"__metadata__\":{\"a\":\"\xff\"}," WEIGHT "," BIAS "," SCALE "}", "not UTF-8"},
    /* names */
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," SCALE "}", "0.bias is missing"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS "," SCALE ",\"2.x\":{}}", "the network has no 2.x"},
    {PLEAT_ERR_FORMAT, "{\"w\\n\\u001b[2J\":{}," BIAS "," SCALE "}",
     "0.weight is missing; the file has w??[2J"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS "," SCALE "," BIAS "}", "0.bias is there twice"},
    {PLEAT_ERR_FORMAT, "{" BIAS "," SCALE "," W("F32", "[2,3]", "[0,24]") ",\"0.Weight\":{}}",
     "has no 0.Weight"},
    {PLEAT_ERR_FORMAT, "{\"__metadata__\":{},\"__metadata__\":{}," WEIGHT "}", "__metadata__ is there twice"},
    {PLEAT_ERR_FORMAT, "{\"__metadata__\":{\"a\":1}," WEIGHT "}", "an object of strings"},
    {PLEAT_ERR_FORMAT, "{\"__metadata__\":[]," WEIGHT "}", "an object of strings"},
    /* type and shape */
    {PLEAT_ERR_DTYPE, "{" W("I32", "[2,3]", "[0,24]") "," BIAS "," SCALE "}",
     "0.weight is I32 in the file and F32 in the network"},
    {PLEAT_ERR_SHAPE, "{" W("F32", "[3,2]", "[0,24]") "," BIAS "," SCALE "}",
     "0.weight is [3,2] in the file and [2,3] in the network"},
    {PLEAT_ERR_SHAPE, "{" W("F32", "[6]", "[0,24]") "," BIAS "," SCALE "}", "[6] in the file and [2,3]"},
    {PLEAT_ERR_SHAPE, "{" W("F32", "[2,3,1]", "[0,24]") "," BIAS "," SCALE "}",
     "[2,3,1] in the file and [2,3]"},
    {PLEAT_ERR_SHAPE, "{" W("F32", "[]", "[0,24]") "," BIAS "," SCALE "}", "[] in the file and [2,3]"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3.5]", "[0,24]") "," BIAS "," SCALE "}", "a list of whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[-2,-3]", "[0,24]") "," BIAS "," SCALE "}", "a list of whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,\"3\"]", "[0,24]") "," BIAS "," SCALE "}", "a list of whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,1e400]", "[0,24]") "," BIAS "," SCALE "}", "a list of whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[9007199254740992]", "[0,24]") "," BIAS "," SCALE "}", "whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "6", "[0,24]") "," BIAS "," SCALE "}",
     "a dtype, a shape and data_offsets"},
    /* the entry as such */
    {PLEAT_ERR_FORMAT, "{\"0.weight\":7," BIAS "," SCALE "}", "a dtype, a shape and data_offsets"},
    {PLEAT_ERR_FORMAT, "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,3]}," BIAS "," SCALE "}",
     "a dtype, a shape"},
    {PLEAT_ERR_FORMAT,
     "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24],\"shape\":[1]}," BIAS "," SCALE
     "}",
     "each once"},
    {PLEAT_ERR_FORMAT,
     "{\"0.weight\":{\"dtype\":32,\"shape\":[2,3],\"data_offsets\":[0,24]}," BIAS "," SCALE "}",
     "a dtype, a shape"},
    /* places */
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[0,20]") "," BIAS "," SCALE "}", "two whole numbers 24 apart"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[24,0]") "," BIAS "," SCALE "}", "two whole numbers 24 apart"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[24,48]") "," BIAS "," SCALE "}", "at most 40"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[0]") "," BIAS "," SCALE "}", "two whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[]") "," BIAS "," SCALE "}", "two whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[0,24,24]") "," BIAS "," SCALE "}", "two whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[0.5,24.5]") "," BIAS "," SCALE "}", "two whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[-24,0]") "," BIAS "," SCALE "}", "two whole numbers"},
    {PLEAT_ERR_FORMAT, "{" W("F32", "[2,3]", "[1e300,1e300]") "," BIAS "," SCALE "}", "two whole numbers"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS_AT("[16,24]") "," SCALE "}",
     "0.bias begins at byte 16, but the one before ends at 24"},
    {PLEAT_ERR_FORMAT, "{" WEIGHT "," BIAS "," SCALE_AT("[24,32]") "}", "begins at byte 24"},
};

Test(safetensors, refuses_and_changes_nothing) {
    pleat_nn_module *net = network(ctx, 1.5), *copy = network(ctx, 1.5);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        expect_error(pleat_nn_load(forged(refused[i].header, 40), net), refused[i].code, refused[i].part);
        expect_same(net, copy, refused[i].header);
    }
    const char *good = "{" WEIGHT "," BIAS "," SCALE "}";
    expect_error(pleat_nn_load(forged(good, 39), net), PLEAT_ERR_FORMAT, "at most 39");
    expect_error(pleat_nn_load(forged(good, 41), net), PLEAT_ERR_FORMAT, "1 bytes behind the last tensor");
    expect_error(pleat_nn_load(forged("{" WEIGHT "," BIAS "," SCALE_AT("[33,41]") "}", 41), net),
                 PLEAT_ERR_FORMAT, "1.scale begins at byte 33, but the one before ends at 32");
    expect_same(net, copy, "places");
    cr_expect(!pleat_nn_load(forged(good, 40), net), "%s", pleat_error(ctx)->text);
    cr_expect(pleat_item(pleat_nn_param(net, 2)) == 0);
    pleat_nn_free(net);
    pleat_nn_free(copy);
}

/* Any order of names and of places, blanks, escapes and foreign metadata are fine. */
Test(safetensors, reads_what_others_write) {
    pleat_nn_module *net = network(ctx, 1.5);
    const char *header =
        "{ \"1.scale\": {\"shape\": [], \"data_offsets\": [0, 8], \"dtype\": \"F64\"},\n"
        "\"\\u0030.bias\": {\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[32,40]},"
        "\"__metadata__\":{\"format\":\"pt\",\"title\":\"x\"}," W("F32", "[2.0,3]", "[8,32]") "}   ";
    const char *path = forged(header, 40);
    FILE *f = fopen(path, "r+b");
    fseek(f, -40, SEEK_END);
    fwrite("\0\0\0\0\0\0\4\xc0", 1, 8, f); /* -2.5 */
    fseek(f, -4, SEEK_END);
    fwrite("\0\0\x88\x40", 1, 4, f); /* 4.25 */
    fclose(f);
    cr_assert(!pleat_nn_load(path, net), "%s", pleat_error(ctx)->text);
    cr_expect(pleat_item(pleat_nn_param(net, 2)) == -2.5);
    cr_expect(pleat_f32(pleat_nn_param(net, 1))[0] == 0 && pleat_f32(pleat_nn_param(net, 1))[1] == 4.25f);
    cr_expect(pleat_f32(pleat_nn_param(net, 0))[5] == 0);
    pleat_nn_free(net);
}

Test(safetensors, refuses_hostile_headers) {
    pleat_nn_module *net = network(ctx, 1.5);
    const char *path = in_scratch("bad");
    static char deep[200001] = "{\"__metadata__\":";
    memset(deep + 16, '[', sizeof deep - 17);
    expect_error(pleat_nn_load(forged(deep, 40), net), PLEAT_ERR_FORMAT, "not valid JSON");
    put_file(path, "\5\0\0\0\0\0\0\0{}\0\0\0", 13);
    expect_error(pleat_nn_load(path, net), PLEAT_ERR_FORMAT, "NUL");
    put_file(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    expect_error(pleat_nn_load(path, net), PLEAT_ERR_FORMAT, "a header of 18446744073709551615 bytes");
    put_file(path, "\3\0\0\0\0\0\0\0{}", 10);
    expect_error(pleat_nn_load(path, net), PLEAT_ERR_FORMAT, "a header of 3 bytes");
    for (size_t n = 0; n < 8; n++) {
        put_file(path, "\2\0\0\0\0\0\0\0", n);
        expect_error(pleat_nn_load(path, net), PLEAT_ERR_FORMAT, "shorter than 8 bytes");
    }
    put_file(path, "\1\0\0\1\0\0\0\0{", 9); /* 16 MiB and one byte, in a file that is long enough */
    cr_assert(truncate(path, (16 << 20) + 100) == 0);
    expect_error(pleat_nn_load(path, net), PLEAT_ERR_FORMAT, "at most 16777216");
    pleat_nn_free(net);
}

/* Cut anywhere, or with any one bit turned over, a file loads whole or not at all. */
Test(safetensors, damaged_files) {
    pleat_nn_module *net = network(ctx, 1.5), *copy = network(ctx, 1.5), *other = network(ctx, 4);
    size_t bytes;
    cr_assert(!pleat_nn_save(in_scratch("m"), other));
    uint8_t *file = get_file(in_scratch("m"), &bytes);
    for (size_t n = 0; n < bytes; n++) {
        put_file(in_scratch("cut"), file, n);
        cr_expect(pleat_nn_load(in_scratch("cut"), net) == PLEAT_ERR_FORMAT, "cut to %zu", n);
        expect_same(net, copy, "cut");
    }
    for (size_t i = 0; i < (bytes - 40) * 8; i++) {
        file[i / 8] ^= (uint8_t)(1 << i % 8);
        put_file(in_scratch("bit"), file, bytes);
        if (pleat_nn_load(in_scratch("bit"), net)) expect_same(net, copy, "bit");
        cr_expect(!pleat_assign(pleat_nn_param(net, 0), pleat_nn_param(copy, 0)));
        cr_expect(!pleat_assign(pleat_nn_param(net, 1), pleat_nn_param(copy, 1)));
        cr_expect(!pleat_assign(pleat_nn_param(net, 2), pleat_nn_param(copy, 2)));
        file[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    free(file);
    pleat_nn_free(net);
    pleat_nn_free(copy);
    pleat_nn_free(other);
}

Test(safetensors, paths_that_cannot_be_used) {
    pleat_nn_module *net = network(ctx, 1.5);
    expect_error(pleat_nn_load(in_scratch("none"), net), PLEAT_ERR_IO, "No such file");
    expect_error(pleat_nn_load(scratch_folder, net), PLEAT_ERR_IO, "a folder");
    expect_error(pleat_nn_load("/dev/zero", net), PLEAT_ERR_IO, "a device or a pipe");
    expect_error(pleat_nn_load(NULL, net), PLEAT_ERR_ARGUMENT, "NULL");
    expect_error(pleat_nn_save(in_scratch("none/m"), net), PLEAT_ERR_IO, "No such file");
    expect_error(pleat_nn_save(scratch_folder, net), PLEAT_ERR_IO, "Is a directory");
    expect_error(pleat_nn_save(NULL, net), PLEAT_ERR_ARGUMENT, "NULL");
    cr_expect(pleat_nn_save(in_scratch("m"), NULL) == PLEAT_ERR_ARGUMENT);
    cr_expect(pleat_nn_load(in_scratch("m"), NULL) == PLEAT_ERR_ARGUMENT);
    expect_files(0);
    pleat_nn_free(net);
}

Test(safetensors, survives_a_full_disk) {
    pleat_nn_module *net = network(ctx, 1.5);
    put_file(in_scratch("m"), "old", 3);
    for (size_t limit = 0; limit < 200; limit += 40) {
        limit_files(limit);
        pleat_status status = pleat_nn_save(in_scratch("m"), net);
        unlimit_files();
        expect_error(status, PLEAT_ERR_IO, "m: File too large");
        cr_expect(holds(in_scratch("m"), "old"));
        expect_files(1);
    }
    if (access("/dev/full", W_OK) == 0)
        expect_error(pleat_nn_save("/dev/full", net), PLEAT_ERR_IO, "/dev/full: No space left on device");
    pleat_nn_free(net);
}

/* More than stdio's buffer, so that a write fails long before the commit. */
Test(safetensors, large_network_on_a_full_disk) {
    pleat_nn_module *net = pleat_nn_module_new(ctx, &kind, NULL, 0);
    net = pleat_nn_add_param(net, "w", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(300, 300)));
    limit_files(100000);
    pleat_status status = pleat_nn_save(in_scratch("m"), net);
    unlimit_files();
    expect_error(status, PLEAT_ERR_IO, "m: File too large");
    expect_files(0);
    pleat_nn_free(net);
}

/* Modules deeper than a name has room: an error, not a cut name that another parameter may have, too. */
Test(safetensors, refuses_endless_names) {
    pleat_nn_module *m = network(ctx, 1);
    for (int i = 0; i < 10; i++)
        m = pleat_nn_add_child(pleat_nn_module_new(ctx, &kind, NULL, 0), "thirty_one_characters_of_a_name",
                               m);
    cr_assert(m);
    expect_error(pleat_nn_save(in_scratch("m"), m), PLEAT_ERR_ARGUMENT, "longer than 255 characters");
    expect_files(0);
    pleat_nn_free(m);
}

static size_t until_failure; /* allocations that still succeed */

static void *scarce(void *user, size_t bytes) {
    (void)user;
    if (!until_failure) return NULL;
    until_failure--;
    return malloc(bytes);
}

static void give_back(void *user, void *block) {
    (void)user;
    free(block);
}

Test(safetensors, survives_every_lack_of_memory) {
    until_failure = SIZE_MAX;
    pleat_ctx *poor = pleat_ctx_new(.threads = 1, .alloc = scarce, .free = give_back);
    pleat_nn_module *net = network(poor, 1.5), *other = network(poor, 4), *copy = network(poor, 1.5);
    cr_assert(!pleat_nn_save(in_scratch("m"), other));
    size_t failures = 0;
    for (pleat_status status = PLEAT_ERR_MEMORY; status; failures++) {
        pleat_trim(poor);
        until_failure = failures;
        status = pleat_nn_load(in_scratch("m"), net);
        cr_assert(!status || status == PLEAT_ERR_MEMORY, "%s", pleat_error(poor)->text);
        expect_same(net, status ? copy : other, "after a lack of memory");
        pleat_clear_error(poor);
    }
    cr_expect(failures > 3);
    until_failure = SIZE_MAX;
    pleat_nn_free(net);
    pleat_nn_free(other);
    pleat_nn_free(copy);
    pleat_ctx_free(poor);
}
#else
Test(safetensors, names_the_missing_cjson) {
    pleat_nn_module *net = network(ctx, 1), *copy = network(ctx, 1);
    expect_error(pleat_nn_save(in_scratch("m"), net), PLEAT_ERR_ARGUMENT, "-Dsafetensors=enabled");
    expect_error(pleat_nn_load(in_scratch("m"), net), PLEAT_ERR_ARGUMENT, "-Dsafetensors=enabled");
    expect_same(net, copy, "untouched");
    expect_files(0);
    pleat_nn_free(net);
    pleat_nn_free(copy);
}
#endif

/* NumPy's archives: what NumPy wrote is read, what is written is read back, and hostile ones are refused. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <time.h>
#include <zip.h>

#include "scratch.h"

TestSuite(npz, .init = scratch_begin, .fini = scratch_end);

static const char *fixture(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", PLEAT_ORACLE_DIR, name);
    return path;
}

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", scratch_folder, name);
    return path;
}

static void expect_values(pleat_tensor *t, pleat_dtype type, const char *shape, size_t n,
                          const double *values) {
    char text[96];
    double found[16];
    cr_assert_str_eq(pleat_shape_text(t, text, sizeof text), shape, "%s", pleat_error(ctx)->text);
    cr_assert(pleat_dtype_of(t) == type && pleat_numel(t) == n);
    pleat_read_f64(t, found);
    for (size_t i = 0; i < n; i++) cr_assert_eq(found[i], values[i]);
}

static void expect_refused(const char *path, const char *name, pleat_status code, const char *part) {
    cr_assert(pleat_is_poison(pleat_nn_read_npz(ctx, path, name)));
    expect_error(pleat_error(ctx)->code, code, part);
}

Test(npz, reads_what_numpy_wrote) {
    const char *files[] = {"numpy_stored.npz", "numpy_deflated.npz"};
    for (size_t i = 0; i < 2; i++) {
        const char *f = fixture(files[i]);
        expect_values(pleat_nn_read_npz(ctx, f, "a"), PLEAT_F32, "[2,3]", 6, (double[]){0, 1, 2, 3, 4, 5});
        expect_values(pleat_nn_read_npz(ctx, f, "b c"), PLEAT_F64, "[]", 1, (double[]){2.5});
        expect_values(pleat_nn_read_npz(ctx, f, "empty"), PLEAT_F32, "[0,4]", 0, NULL);
        expect_values(pleat_nn_read_npz(ctx, f, "folder/turned"), PLEAT_F64, "[3,2]", 6,
                      (double[]){0, 1, 2, 3, 4, 5});
        expect_values(pleat_nn_read_npz(ctx, f, "big"), PLEAT_F64, "[3]", 3, (double[]){0, 1, 2});
        expect_values(pleat_nn_read_npz(ctx, f, "whole"), PLEAT_F64, "[3]", 3, (double[]){0, 1, 2});
        expect_refused(f, "nothing", PLEAT_ERR_ARGUMENT, "there is no array nothing; it has");
        pleat_nn_npz *npz = pleat_nn_npz_open(ctx, f);
        size_t n = 0;
        while (pleat_nn_npz_name(npz, n)) n++;
        cr_assert_eq(n, 6 + i);
        cr_assert_str_eq(pleat_nn_npz_name(npz, 1), "b c");
        expect_values(pleat_nn_npz_array(npz, pleat_nn_npz_name(npz, 1)), PLEAT_F64, "[]", 1,
                      (double[]){2.5});
        expect_values(pleat_nn_npz_array(npz, "big"), PLEAT_F64, "[3]", 3, (double[]){0, 1, 2});
        cr_assert(pleat_is_poison(pleat_nn_npz_array(npz, "nothing")));
        expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "there is no array nothing; it has");
        cr_assert(pleat_is_poison(pleat_nn_npz_array(npz, NULL)));
        expect_error(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "name must have");
        pleat_nn_npz_close(npz);
    }
    cr_assert_eq(pleat_numel(pleat_nn_read_npz(ctx, fixture("numpy_deflated.npz"), "many")), 10000);
}

Test(npz, writes_what_it_reads) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4)),
                 *y = pleat_full(ctx, PLEAT_F64, PLEAT_SCALAR, NAN);
    pleat_tensor *ts[] = {pleat_permute(x, (size_t[]){1, 0}), y, pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(0))};
    const char *names[] = {"x", "deep/y", "none"};
    cr_assert_eq(pleat_nn_write_npz(in_folder("a.npz"), 3, names, ts), PLEAT_OK, "%s",
                 pleat_error(ctx)->text);
    pleat_tensor *again = pleat_nn_read_npz(ctx, in_folder("a.npz"), "x");
    cr_assert(pleat_size(again, 0) == 4 && pleat_size(again, 1) == 3);
    cr_assert_eq(pleat_item(pleat_sum(pleat_ne(again, ts[0]))), 0);
    cr_assert(isnan(pleat_item(pleat_nn_read_npz(ctx, in_folder("a.npz"), "deep/y"))));
    cr_assert_eq(pleat_numel(pleat_nn_read_npz(ctx, in_folder("a.npz"), "none")), 0);
    /* the same arrays, the same bytes */
    char first[4096], second[4096];
    FILE *f = fopen(in_folder("a.npz"), "rb");
    size_t n = fread(first, 1, sizeof first, f);
    fclose(f);
    cr_assert_eq(pleat_nn_write_npz(in_folder("a.npz"), 3, names, ts), PLEAT_OK);
    f = fopen(in_folder("a.npz"), "rb");
    cr_assert(fread(second, 1, sizeof second, f) == n && !memcmp(first, second, n));
    fclose(f);
}

Test(npz, refuses_to_write) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)), *two[] = {x, x},
                 *bad[] = {pleat_poison(ctx)};
    const char *same[] = {"a", "a"}, *up[] = {"../a"}, *root[] = {"/a"}, *none[] = {""}, *a[] = {"a"};
    const struct {
        size_t n;
        const char **names;
        pleat_tensor **ts;
        const char *part;
    } cases[] = {{2, same, two, "two arrays"},
                 {1, up, two, ".."},
                 {1, root, two, "begin with /"},
                 {1, none, two, "1 to 1000"},
                 {1, a, bad, "poison"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(pleat_nn_write_npz(in_folder("b.npz"), cases[i].n, cases[i].names, cases[i].ts),
                     PLEAT_ERR_ARGUMENT, cases[i].part);
    expect_error(pleat_nn_write_npz("/nowhere/b.npz", 1, a, two), PLEAT_ERR_IO,
                 "cannot write /nowhere/b.npz");
    expect_error(pleat_nn_write_npz("/dev/full", 1, a, two), PLEAT_ERR_IO, "/dev/full");
    cr_assert_neq(access(in_folder("b.npz"), F_OK), 0);
}

/* ---- hostile archives ------------------------------------------------------------------------------------------ */

static size_t read_all(const char *path, char *to, size_t room) {
    FILE *f = fopen(path, "rb");
    cr_assert(f);
    size_t n = fread(to, 1, room, f);
    fclose(f);
    return n;
}

static void write_all(const char *path, const char *from, size_t n) {
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(from, 1, n, f) == n && fclose(f) == 0);
}

Test(npz, survives_damage) {
    static char good[8192], bad[8192];
    size_t n = read_all(fixture("numpy_deflated.npz"), good, sizeof good);
    cr_assert_lt(n, sizeof good);
    for (size_t i = 0; i < n; i++) {
        memcpy(bad, good, n);
        bad[i] = (char)(bad[i] ^ (1 << i % 8));
        write_all(in_folder("bad.npz"), bad, n);
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *t = pleat_nn_read_npz(ctx, in_folder("bad.npz"), "a");
        if (!pleat_is_poison(t)) expect_values(t, PLEAT_F32, "[2,3]", 6, (double[]){0, 1, 2, 3, 4, 5});
        cr_assert_null(strchr(pleat_error(ctx)->text, '\n'));
        pleat_clear_error(ctx);
        pleat_end(s);
        write_all(in_folder("bad.npz"), good, i);
        cr_assert(pleat_is_poison(pleat_nn_read_npz(ctx, in_folder("bad.npz"), "a")), "cut to %zu bytes", i);
        pleat_clear_error(ctx);
    }
}

static void make_zip(const char *name, const char *text, size_t bytes, bool twice, bool secret) {
    zip_t *z = zip_open(in_folder("z.npz"), ZIP_CREATE | ZIP_TRUNCATE, NULL);
    cr_assert(z);
    for (int k = 0; k <= twice; k++) {
        /* libzip takes no name twice, so the second one gets it by way of renaming the bytes in the file */
        zip_int64_t i = zip_file_add(z, k ? "B.npy" : name, zip_source_buffer(z, text, bytes, 0), 0);
        cr_assert(i >= 0);
        if (secret) cr_assert_eq(zip_file_set_encryption(z, (zip_uint64_t)i, ZIP_EM_AES_128, "word"), 0);
    }
    cr_assert_eq(zip_close(z), 0);
}

static char *bomb(size_t bytes) {
    char *text = calloc(1, bytes);
    static const char header[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (";
    cr_assert(text);
    memcpy(text, header, sizeof header - 1);
    memset(text + sizeof header - 1, ' ', 128 - sizeof header);
    memcpy(text + sizeof header - 1, "4000000000,), }", 15);
    text[127] = '\n';
    return text;
}

Test(npz, refuses_lies) {
    expect_refused("/nowhere/a.npz", "a", PLEAT_ERR_IO, "/nowhere/a.npz");
    expect_refused(scratch_folder, "a", PLEAT_ERR_IO, "a folder");
    expect_refused(fixture("ops.txt"), "a", PLEAT_ERR_FORMAT, "not a .npz file");
    expect_refused(fixture("numpy_stored.npz"), "", PLEAT_ERR_ARGUMENT, "name must have");
    /* a header that announces 16 GB in an entry of a megabyte */
    char *text = bomb(1 << 20);
    make_zip("A.npy", text, 1 << 20, false, false);
    expect_refused(in_folder("z.npz"), "A", PLEAT_ERR_FORMAT, BY_WIDTH("truncated", "more than any file"));
    cr_assert_lt(pleat_memory(ctx).peak, 1 << 20);
    /* more bytes than the header says */
    memcpy(text + 61, "4,), }         ", 15);
    make_zip("A.npy", text, 1 << 20, false, false);
    expect_refused(in_folder("z.npz"), "A", PLEAT_ERR_FORMAT, "bytes follow");
    make_zip("A.npy", text, 144, true, false);
    static char bytes[4096];
    size_t n = read_all(in_folder("z.npz"), bytes, sizeof bytes);
    for (size_t i = 0; i + 5 < n; i++)
        if (!memcmp(bytes + i, "B.npy", 5)) bytes[i] = 'A';
    write_all(in_folder("z.npz"), bytes, n);
    expect_refused(in_folder("z.npz"), "A", PLEAT_ERR_FORMAT, "not a .npz file");
    make_zip("A.npy", text, 144, false, true);
    expect_refused(in_folder("z.npz"), "A", PLEAT_ERR_FORMAT, "encrypted");
    make_zip("a\nb.npy", text, 144, false, false);
    expect_refused(in_folder("z.npz"), "A", PLEAT_ERR_ARGUMENT, "the first is a?b.npy");
    make_zip("a\nb.npy", text, 99, false, false);
    expect_refused(in_folder("z.npz"), "a\nb", PLEAT_ERR_FORMAT, "z.npz(a?b): ");
    free(text);
}

/* ---- many arrays ----------------------------------------------------------------------------------------------- */

static void make_archive(size_t arrays, const char *text, size_t bytes) {
    char name[32];
    zip_t *z = zip_open(in_folder("many.npz"), ZIP_CREATE | ZIP_TRUNCATE, NULL);
    for (size_t i = 0; i < arrays; i++) {
        snprintf(name, sizeof name, "a%zu.npy", i);
        zip_int64_t k = zip_file_add(z, name, zip_source_buffer(z, text, bytes, 0), 0);
        cr_assert(k >= 0 && !zip_set_file_compression(z, (zip_uint64_t)k, ZIP_CM_STORE, 0));
    }
    cr_assert_eq(zip_close(z), 0);
}

/* A look at the directory of 20,000 takes a tenth of a second: at each array it would be half an hour. */
Test(npz, the_directory_is_read_once, .timeout = 60) {
    enum { ARRAYS = 20000 };
    const char *name;
    size_t n = 0;
    char *text = bomb(144);
    memcpy(text + 61, "4,), }         ", 15);
    make_archive(ARRAYS, text, 144);
    clock_t begin = clock();
    pleat_nn_npz *npz = pleat_nn_npz_open(ctx, in_folder("many.npz"));
    for (; (name = pleat_nn_npz_name(npz, n)); n++) {
        pleat_scope s = pleat_begin(ctx);
        cr_assert_eq(pleat_numel(pleat_nn_npz_array(npz, name)), 4, "%s: %s", name, pleat_error(ctx)->text);
        pleat_end(s);
        cr_assert_lt(clock() - begin, 10 * CLOCKS_PER_SEC, "%zu of %d arrays took ten seconds", n, ARRAYS);
    }
    cr_assert_eq(n, ARRAYS);
    pleat_nn_npz_close(npz);
    free(text);
}

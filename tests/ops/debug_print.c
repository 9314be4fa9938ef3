/* pleat_print against NumPy's own output (oracle/print.txt, by print_numpy.py). */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensors.h"

TestSuite(print, .init = tensors_begin, .fini = tensors_end);

enum { LINE = 1 << 14, TEXT = 1 << 15 };

/* "f32 2,3 0x1p+0 ...", or "f64 40,30 ramp" */
static pleat_tensor *tensor_of(char *line) {
    pleat_dtype dtype = strncmp(line, "f32", 3) ? PLEAT_F64 : PLEAT_F32;
    size_t shape[PLEAT_MAX_RANK], rank = 0, numel = 1;
    char *at = line + 4;
    for (; *at != ' ' && *at != '-' && *at != '\n'; at += *at == ',') {
        shape[rank] = strtoul(at, &at, 10);
        numel *= shape[rank++];
    }
    at += *at == '-';
    double *values = calloc(numel + 1, sizeof *values);
    bool ramp = strstr(at, "ramp");
    for (size_t i = 0; i < numel; i++) values[i] = ramp ? (double)i * 0.25 : strtod(at, &at);
    pleat_tensor *t = pleat_from_f64(ctx, dtype, rank, shape, values);
    free(values);
    return t;
}

/* What is printed behind the first line, into text[TEXT]. */
static void printed(const pleat_tensor *t, char *text) {
    FILE *f = tmpfile();
    cr_assert(f);
    cr_assert_eq(pleat_print(t, f), PLEAT_OK);
    rewind(f);
    cr_assert(fgets(text, TEXT, f));
    text[fread(text, 1, TEXT - 1, f)] = 0;
    fclose(f);
}

Test(print, as_numpy_prints) {
    static char line[LINE], expected[TEXT], found[TEXT];
    FILE *f = fopen(PLEAT_ORACLE_DIR "/print.txt", "r");
    size_t cases = 0;
    cr_assert(f);
    while (fgets(line, sizeof line, f)) {
        char next[200];
        pleat_scope s = pleat_begin(ctx);
        cr_assert(line[0] == '>', "%s", line);
        pleat_tensor *t = tensor_of(line + 2);
        expected[0] = 0;
        while (fgets(next, sizeof next, f) && strcmp(next, "<\n")) strcat(expected, next);
        printed(t, found);
        cr_expect(!strcmp(found, expected), "%.60s\nprinted\n%sexpected\n%s", line, found, expected);
        if (pleat_numel(t)) { /* and a view with gaps */
            printed(pleat_rank(t) < 2 ? t : gappy(t), found);
            cr_expect(!strcmp(found, expected), "%.60s, a view\nprinted\n%s", line, found);
        }
        pleat_end(s);
        cases++;
    }
    fclose(f);
    cr_expect_gt(cases, 150);
}

Test(print, begins_with_type_and_shape) {
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    EXPECT_OK(
        pleat_print(pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3), VALUES(1, 0.5, -2, 0, NAN, 3)), f));
    EXPECT_OK(pleat_print(pleat_full(ctx, PLEAT_F64, PLEAT_SCALAR, 3), f));
    fclose(f);
    cr_expect_str_eq(text, "f32 [2,3]\n[[ 1.   0.5 -2. ]\n [ 0.   nan  3. ]]\nf64 []\n3.0\n");
    free(text);
}

Test(print, poison_tells_why) {
    char *text;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)),
                 *y = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3));
    cr_expect_eq(pleat_print(pleat_add(x, y), f), PLEAT_ERR_ARGUMENT);
    pleat_clear_error(ctx);
    pleat_print(pleat_poison(ctx), f), pleat_clear_error(ctx);
    pleat_print(NULL, f);
    fclose(f);
    cr_expect_str_eq(
        text, "poison: add: [2] and [3]: sizes 2 and 3 on axis 1 from the end: equal, or one of them 1\n"
              "poison\npoison\n");
    free(text);
}

Test(print, refuses) {
    FILE *f = tmpfile(), *full = fopen("/dev/full", "w");
    EXPECT_FAILED(pleat_print(pleat_poison(ctx), f), PLEAT_ERR_ARGUMENT, "print", "poison");
    EXPECT_FAILED(pleat_print(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)), NULL), PLEAT_ERR_ARGUMENT, "print",
                  "file");
    cr_expect_eq(pleat_print(NULL, f), PLEAT_ERR_ARGUMENT);
    if (full) {
        setvbuf(full, NULL, _IONBF, 0);
        EXPECT_FAILED(pleat_print(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)), full), PLEAT_ERR_IO, "print",
                      "refuses");
        fclose(full);
    }
    fclose(f);
}

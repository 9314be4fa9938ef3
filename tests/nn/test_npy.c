/* NumPy's array files: what NumPy wrote, every legal way to write a header, hostile files, standard input and output. */
#define _XOPEN_SOURCE 700

#include "scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

TestSuite(npy, .init = scratch_begin, .fini = scratch_end, .timeout = 60);

/* ---- files by hand -------------------------------------------------------------------------------------- */

#define MAGIC "\x93NUMPY"
#define BLANKS "          "
/* Text as an array without its NUL byte: two arguments. */
#define BYTES(text) (text), sizeof(text) - 1

/* What NumPy 1.24 wrote: arange(6).reshape(2, 3) - 2.5 as <f4, version 1.0; */
static const char numpy_c[] = MAGIC
    "\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" BLANKS BLANKS BLANKS BLANKS BLANKS
    "        \n"
    "\0\0 \300\0\0\300\277\0\0\0\277\0\0\0?\0\0\300?\0\0 @";
/* arange(6).reshape(2, 3) * -1.5 as >f8 in Fortran order, version 2.0; */
static const char numpy_fortran[] = MAGIC
    "\2\0t\0\0\0{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }" BLANKS BLANKS BLANKS BLANKS BLANKS
    "       \n"
    "\200\0\0\0\0\0\0\0\300\022\0\0\0\0\0\0\277\370\0\0\0\0\0\0"
    "\300\030\0\0\0\0\0\0\300\010\0\0\0\0\0\0\300\036\0\0\0\0\0\0";
/* array(0.1), version 3.0 */
static const char numpy_scalar[] = MAGIC
    "\3\0t\0\0\0{'descr': '<f8', 'fortran_order': False, 'shape': (), }" BLANKS BLANKS BLANKS BLANKS BLANKS
    "          \n"
    "\232\231\231\231\231\231\271?";

/* A file of that version with this header text, and `data_bytes` of the bytes 0, 1, 2, ... as elements. */
static const char *forged(int version, const char *header, size_t header_bytes, size_t data_bytes) {
    const char *path = in_scratch("forged.npy");
    uint8_t b[12] = MAGIC;
    b[6] = (uint8_t)version;
    for (size_t i = 0; i < 4; i++) b[8 + i] = (uint8_t)(header_bytes >> 8 * i);
    FILE *f = fopen(path, "wb");
    cr_assert(f);
    fwrite(b, 1, version == 1 ? 10 : 12, f);
    fwrite(header, 1, header_bytes, f);
    for (size_t i = 0; i < data_bytes; i++) fputc((int)(i & 255), f);
    cr_assert(fclose(f) == 0);
    return path;
}

/* These bytes as the floats that they are in a file, whose order is little-endian. */
static void count_floats(float *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) bits |= (uint32_t)((4 * i + k) & 255) << 8 * k;
        memcpy(to + i, &bits, sizeof bits);
    }
}

/* Read that file through standard input. */
static pleat_tensor *read_through_stdin(const char *path) {
    cr_assert(freopen(path, "rb", stdin));
    return pleat_nn_read_npy(ctx, "-");
}

static void expect_refused(const char *path, pleat_status code, const char *part) {
    pleat_tensor *t = pleat_nn_read_npy(ctx, path);
    cr_expect(pleat_is_poison(t));
    expect_error(pleat_error(ctx)->code, code, part);
}

/* ---- comparing ------------------------------------------------------------------------------------------ */

static size_t bytes_of(const pleat_tensor *t) {
    return pleat_numel(t) * (pleat_dtype_of(t) == PLEAT_F32 ? 4u : 8u);
}

static const void *elements(pleat_tensor *t) {
    pleat_tensor *c = pleat_contiguous(t);
    return pleat_dtype_of(t) == PLEAT_F32 ? (const void *)pleat_f32(c) : (const void *)pleat_f64(c);
}

/* Bit for bit: a NaN keeps its payload, a zero its sign. */
static void expect_same(pleat_tensor *found, pleat_tensor *want) {
    char a[96], b[96];
    cr_assert(!pleat_is_poison(found), "%s", pleat_error(ctx)->text);
    pleat_shape_text(found, a, sizeof a), pleat_shape_text(want, b, sizeof b);
    cr_assert(!strcmp(a, b) && pleat_dtype_of(found) == pleat_dtype_of(want), "%s instead of %s", a, b);
    cr_assert(pleat_is_contiguous(found));
    cr_expect(!memcmp(elements(found), elements(want), bytes_of(want)), "%s: other elements", a);
}

static void expect_values(pleat_tensor *found, pleat_dtype dtype, size_t rank, const size_t *shape,
                          const double *values) {
    expect_same(found, pleat_from_f64(ctx, dtype, rank, shape, values));
}

static void round_trip(pleat_tensor *t) {
    const char *path = in_scratch("t.npy");
    cr_assert(!pleat_nn_write_npy(path, t), "%s", pleat_error(ctx)->text);
    expect_same(pleat_nn_read_npy(ctx, path), t);
    expect_same(read_through_stdin(path), t);
    FILE *f = fopen(path, "wb");
    cr_assert(f && !pleat_nn_put_npy(f, t) && !fclose(f), "%s", pleat_error(ctx)->text);
    expect_same(pleat_nn_read_npy(ctx, path), t);
}

/* ---- good files ----------------------------------------------------------------------------------------- */

Test(npy, reads_what_numpy_writes) {
    const double halves[] = {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5}, multiples[] = {-0.0, -1.5, -3, -4.5, -6, -7.5};
    const char *path = in_scratch("n.npy");
    put_file(path, BYTES(numpy_c));
    expect_values(pleat_nn_read_npy(ctx, path), PLEAT_F32, PLEAT_SHAPE(2, 3), halves);
    put_file(path, BYTES(numpy_fortran));
    expect_values(pleat_nn_read_npy(ctx, path), PLEAT_F64, PLEAT_SHAPE(2, 3), multiples);
    expect_values(read_through_stdin(path), PLEAT_F64, PLEAT_SHAPE(2, 3), multiples);
    put_file(path, BYTES(numpy_scalar));
    expect_values(pleat_nn_read_npy(ctx, path), PLEAT_F64, PLEAT_SCALAR, (const double[]){0.1});
}

Test(npy, writes_what_numpy_writes) {
    const float halves[] = {-2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f};
    size_t bytes;
    cr_assert(
        !pleat_nn_write_npy(in_scratch("n.npy"), pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3), halves)));
    uint8_t *file = get_file(in_scratch("n.npy"), &bytes);
    cr_expect(bytes == sizeof numpy_c - 1 && !memcmp(file, numpy_c, bytes));
    free(file);
}

Test(npy, round_trips_of_every_rank) {
    const size_t shape[] = {2, 3, 1, 2, 4, 1, 2, 3};
    for (size_t rank = 0; rank <= PLEAT_MAX_RANK; rank++) {
        round_trip(pleat_randn(ctx, PLEAT_F32, rank, shape));
        round_trip(pleat_randn(ctx, PLEAT_F64, rank, shape));
    }
    round_trip(pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(1)));
    round_trip(pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(700, 1000))); /* more than one piece of a stream */
}

Test(npy, round_trips_of_nothing) {
    const size_t huge = (size_t)1 << BY_WIDTH(
                            56, 26); /* the longest header: eight axes, and as many digits as there may be */
    round_trip(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0)));
    round_trip(pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(3, 0, 2)));
    round_trip(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 0, 0, 0, 0, 0, 0, huge)));
}

Test(npy, round_trips_of_views) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 5, 6));
    round_trip(pleat_permute(x, (const size_t[]){2, 0, 1}));
    round_trip(pleat_flip(x, PLEAT_AXES(0, 2)));
    round_trip(
        pleat_slice(x, (const size_t[]){1, 0, 1}, (const size_t[]){2, 3, 2}, (const size_t[]){2, 2, 3}));
    round_trip(pleat_broadcast_to(x, PLEAT_SHAPE(2, 4, 5, 6)));
    round_trip(pleat_exp(x));
}

Test(npy, keeps_every_bit) {
    const uint64_t bits[] = {0x7ff0000000000001, 0xfff8123456789abc, 0x8000000000000000, 1,
                             0x7ff0000000000000};
    const uint32_t short_bits[] = {0x7f800001, 0xffc12345, 0x80000000, 1, 0xff800000};
    round_trip(pleat_from(ctx, PLEAT_F64, PLEAT_SHAPE(5), bits));
    round_trip(pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(5), short_bits));
}

/* An array that was read is a leaf, not the result of what put it in order. */
Test(npy, history_and_memory) {
    put_file(in_scratch("n.npy"), BYTES(numpy_fortran));
    size_t before = pleat_memory(ctx).tensors;
    pleat_tensor *t = pleat_nn_read_npy(ctx, in_scratch("n.npy"));
    cr_expect(pleat_memory(ctx).tensors == before + 1);
    cr_expect(!pleat_nn_write_npy(in_scratch("n.npy"), pleat_permute(t, (const size_t[]){1, 0})));
    cr_expect(pleat_memory(ctx).tensors == before + 2);
    expect_refused(in_scratch("none"), PLEAT_ERR_IO, "No such file");
    cr_expect(pleat_memory(ctx).tensors == before + 2);
}

#define PAIR(descr, order, shape) "{'descr':" descr ",'fortran_order':" order ",'shape':" shape "}"

/* Each of these is [2,3] of float32 with the bytes 0, 1, 2, ... in C order, little endian. */
static const char *const headers[] = {
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n",
    "{'descr': '<f4', 'shape': (2, 3), 'fortran_order': False}",
    "{'fortran_order': False, 'descr': '<f4', 'shape': (2, 3)}",
    "{'fortran_order': False, 'shape': (2, 3), 'descr': '<f4'}",
    "{'shape': (2, 3), 'descr': '<f4', 'fortran_order': False}",
    "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
    "{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,3)}",
    "{'descr':\"<f4\",\"fortran_order\":False,'shape':(2,3,),}",
    " \n\t{ \r\n'descr'\t: '<f4'\f, 'fortran_order' :False ,'shape' : ( 2 , 3 , ) , } \t\r\n",
    "{'descr':'<f4','fortran_order':False,'shape':(2,\n3)}\n\n\n\n",
};

Test(npy, any_way_to_write_a_header) {
    float counted[6];
    count_floats(counted, 6);
    pleat_tensor *want = pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3), counted);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        for (int version = 1; version <= 3; version++) {
            expect_same(pleat_nn_read_npy(ctx, forged(version, headers[i], strlen(headers[i]), 24)), want);
            expect_same(read_through_stdin(in_scratch("forged.npy")), want);
        }
}

/* No padding, padding to 16 and 64, to the longest header of version 1, and to one that only the others can have. */
Test(npy, any_alignment) {
    static char text[70001];
    const char *header = headers[0];
    const size_t lengths[] = {strlen(header), 70, 118, 65535, 65536, 70000};
    memset(text, ' ', sizeof text);
    memcpy(text, header, strlen(header));
    pleat_tensor *want = pleat_nn_read_npy(ctx, forged(1, header, strlen(header), 24));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int version = lengths[i] < 65536 ? 1 : 2; version <= 3; version++)
            expect_same(pleat_nn_read_npy(ctx, forged(version, text, lengths[i], 24)), want);
}

/* The element at `index` of an array [2,3,4] that lies in the file in that order, if the elements count up from 0. */
static double place(const size_t *index, bool fortran) {
    return fortran ? (double)(index[0] + 2 * (index[1] + 3 * index[2]))
                   : (double)((index[0] * 3 + index[1]) * 4 + index[2]);
}

static void append_number(FILE *f, size_t width, bool big, double value) {
    const float short_value = (float)value;
    uint32_t short_bits;
    uint64_t bits;
    memcpy(&short_bits, &short_value, 4), memcpy(&bits, &value, 8);
    if (width == 4) bits = short_bits;
    for (size_t i = 0; i < width; i++) fputc((int)(bits >> 8 * (big ? width - 1 - i : i) & 255), f);
}

static void check_layout(const char *type, bool big, bool fortran) {
    char header[128];
    size_t width = strstr(type, "8") ? 8 : 4;
    int n = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3, 4)}", type,
                     fortran ? "True" : "False");
    FILE *f = fopen(forged(1, header, (size_t)n, 0), "ab");
    for (int i = 0; i < 24; i++) append_number(f, width, big, i);
    cr_assert(fclose(f) == 0);
    pleat_tensor *t = pleat_nn_read_npy(ctx, in_scratch("forged.npy"));
    cr_assert(pleat_dtype_of(t) == (width == 8 ? PLEAT_F64 : PLEAT_F32) && pleat_is_contiguous(t));
    cr_assert(pleat_rank(t) == 3, "%s: %s", header, pleat_error(ctx)->text);
    for (size_t i = 0; i < 24; i++) {
        const size_t index[] = {i / 12, i / 4 % 3, i % 4};
        cr_expect(pleat_at(t, index) == place(index, fortran), "%s: element %zu", header, i);
    }
    expect_same(read_through_stdin(in_scratch("forged.npy")), t);
}

Test(npy, byte_orders_and_fortran_order) {
    const uint16_t one = 1;
    const bool native = *(const uint8_t *)&one == 0;
    for (int fortran = 0; fortran < 2; fortran++) {
        check_layout("<f4", false, fortran), check_layout("<f8", false, fortran);
        check_layout(">f4", true, fortran), check_layout(">f8", true, fortran);
        check_layout("=f4", native, fortran), check_layout("=f8", native, fortran);
        check_layout("|f4", native, fortran), check_layout("f8", native, fortran);
    }
}

Test(npy, fortran_order_of_any_rank) {
    for (size_t rank = 0; rank <= PLEAT_MAX_RANK; rank++) {
        char header[128] = "{'descr': '<f4', 'fortran_order': True, 'shape': (";
        size_t shape[PLEAT_MAX_RANK], order[PLEAT_MAX_RANK], numel = 1;
        for (size_t k = 0; k < rank; k++) {
            shape[rank - 1 - k] = 1 + k % 3, order[k] = rank - 1 - k;
            numel *= 1 + k % 3;
            snprintf(header + strlen(header), sizeof header - strlen(header), "%zu,", 1 + k % 3);
        }
        strcat(header, ")}");
        pleat_tensor *t = pleat_nn_read_npy(ctx, forged(1, header, strlen(header), 4 * numel));
        static float counted[1024];
        count_floats(counted, numel);
        expect_same(t, pleat_permute(pleat_from(ctx, PLEAT_F32, rank, shape, counted), order));
    }
}

/* Whole numbers of every width, either order, both signs: bytes of the file, and the tensor's numbers. */
Test(npy, whole_numbers) {
    static const struct {
        const char *type, *bytes;
        pleat_dtype dtype;
        double value;
    } rows[] = {{"|b1", "\1", PLEAT_F32, 1},
                {"|u1", "\xff", PLEAT_F32, 255},
                {"|i1", "\xff", PLEAT_F32, -1},
                {"<u2", "\xfe\xff", PLEAT_F32, 65534},
                {">i2", "\xff\xfe", PLEAT_F32, -2},
                {"<i4", "\x01\x00\x00\x80", PLEAT_F64, -2147483647.0},
                {">u4", "\xff\xff\xff\xfe", PLEAT_F64, 4294967294.0},
                {"<i8", "\x01\x00\x00\x01\x00\x00\x00\x00", PLEAT_F64, 16777217},
                {"<i8", "\x00\x00\x00\x00\x00\x00\xe0\xff", PLEAT_F64, -0x1p53},
                {">u8", "\x00\x20\x00\x00\x00\x00\x00\x00", PLEAT_F64, 0x1p53}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char header[100];
        size_t width = (size_t)(rows[i].type[2] - '0');
        int n = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (2,)}",
                         rows[i].type);
        FILE *f = fopen(forged(1, header, (size_t)n, 0), "ab");
        for (int k = 0; k < 2; k++) fwrite(rows[i].bytes, 1, width, f);
        cr_assert(fclose(f) == 0);
        pleat_tensor *t = pleat_nn_read_npy(ctx, in_scratch("forged.npy"));
        cr_expect_eq(pleat_dtype_of(t), rows[i].dtype, "%s: %s", rows[i].type, pleat_error(ctx)->text);
        for (size_t k = 0; k < 2; k++) cr_expect_eq(pleat_at(t, &k), rows[i].value, "%s", rows[i].type);
        expect_same(read_through_stdin(in_scratch("forged.npy")), t);
    }
    const char *header = "{'descr': '<u8', 'fortran_order': False, 'shape': (1,)}";
    FILE *f = fopen(forged(1, header, strlen(header), 0), "ab");
    fwrite("\x01\x00\x00\x00\x00\x00\x20\x00", 1, 8, f);
    fclose(f);
    cr_expect(pleat_is_poison(pleat_nn_read_npy(ctx, in_scratch("forged.npy"))));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_DTYPE, "element 0 is beyond 2^53");
}

/* ---- hostile files -------------------------------------------------------------------------------------- */

#define GOOD PAIR("'<f4'", "False", "(2,3)")
#define TYPE(descr) PAIR(descr, "False", "(2,3)")
#define ORDER(order) PAIR("'<f4'", order, "(2,3)")
#define SIZES(shape) PAIR("'<f4'", "False", shape)

static const struct {
    pleat_status code;
    const char *header, *part;
} refused[] = {
    /* types */
    {PLEAT_ERR_DTYPE, TYPE("'|O'"), "is |O; it must be f4, f8, b1, or i or u"},
    {PLEAT_ERR_DTYPE, TYPE("'<i3'"), "<i3"},
    {PLEAT_ERR_DTYPE, TYPE("'|b4'"), "|b4"},
    {PLEAT_ERR_DTYPE, TYPE("'<c8'"), "<c8"},
    {PLEAT_ERR_DTYPE, TYPE("'<f2'"), "<f2"},
    {PLEAT_ERR_DTYPE, TYPE("'<f16'"), "<f16"},
    {PLEAT_ERR_DTYPE, TYPE("'?f4'"), "?f4"},
    {PLEAT_ERR_DTYPE, TYPE("'<<f4'"), "<<f4"},
    {PLEAT_ERR_DTYPE, TYPE("'<f'"), "<f"},
    {PLEAT_ERR_DTYPE, TYPE("'f44'"), "f44"},
    {PLEAT_ERR_DTYPE, TYPE("' <f4'"), " <f4"},
    {PLEAT_ERR_DTYPE, TYPE("''"), "is ;"},
    {PLEAT_ERR_DTYPE, TYPE("'S\033[2J\n\x9f'"), "is S?[2J ?;"},
    {PLEAT_ERR_DTYPE, TYPE("[('a', '<f4'), ('b', '<f4')]"), "is [('a', '<f4'), ('b', '<f"},
    {PLEAT_ERR_DTYPE, TYPE("('<f4', (2,))"), "('<f4', (2,))"},
    {PLEAT_ERR_FORMAT, TYPE("f4"), "a type in quotes where it has: f4,"},
    {PLEAT_ERR_FORMAT, TYPE("7"), "a type in quotes"},
    {PLEAT_ERR_DTYPE, TYPE("'<f4"), "is <f4,;"},
    {PLEAT_ERR_DTYPE, TYPE("'<f4\""), "is <f4\",;"},
    {PLEAT_ERR_FORMAT, TYPE("u'<f4'"), "a type in quotes"},
    /* keys */
    {PLEAT_ERR_FORMAT, "{}", "must have the keys descr, fortran_order and shape"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','shape':(2,3)}", "must have the keys"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','fortran_order':False}", "must have the keys"},
    {PLEAT_ERR_FORMAT, "{'shape':(2,3),'fortran_order':False}", "must have the keys"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','descr':'<f4','fortran_order':False,'shape':(2,3)}",
     "the key descr twice"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','fortran_order':False,'shape':(2,3),'shape':(2,3)}",
     "the key shape twice"},
    {PLEAT_ERR_FORMAT, "{'fortran_order':True,'fortran_order':False,'descr':'<f4','shape':(2,3)}",
     "order twice"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','fortran_order':False,'shape':(2,3),'more':1}",
     "the key more; it must"},
    {PLEAT_ERR_FORMAT, "{'Descr':'<f4','fortran_order':False,'shape':(2,3)}", "the key Descr;"},
    {PLEAT_ERR_FORMAT, "{'descr ':'<f4','fortran_order':False,'shape':(2,3)}", "the key descr ;"},
    {PLEAT_ERR_FORMAT, "{'':'<f4','fortran_order':False,'shape':(2,3)}", "the key ;"},
    {PLEAT_ERR_FORMAT, "{descr:'<f4','fortran_order':False,'shape':(2,3)}", "a key in quotes"},
    {PLEAT_ERR_FORMAT, "{1:'<f4','fortran_order':False,'shape':(2,3)}", "a key in quotes"},
    /* order */
    {PLEAT_ERR_FORMAT, ORDER("0"), "True or False where it has: 0,"},
    {PLEAT_ERR_FORMAT, ORDER("false"), "True or False"},
    {PLEAT_ERR_FORMAT, ORDER("'False'"), "True or False"},
    {PLEAT_ERR_FORMAT, ORDER("Tru"), "True or False"},
    {PLEAT_ERR_FORMAT, ORDER("Falsehood"), "a comma or }"},
    {PLEAT_ERR_FORMAT, ORDER(""), "True or False"},
    /* shapes */
    {PLEAT_ERR_FORMAT, SIZES("[2,3]"), "a tuple of sizes"},
    {PLEAT_ERR_FORMAT, SIZES("6"), "a tuple of sizes"},
    {PLEAT_ERR_FORMAT, SIZES("None"), "a tuple of sizes"},
    {PLEAT_ERR_FORMAT, SIZES("(6)"), "a comma behind a size"},
    {PLEAT_ERR_FORMAT, SIZES("(,)"), "a size or )"},
    {PLEAT_ERR_FORMAT, SIZES("(2,,3)"), "a size or )"},
    {PLEAT_ERR_FORMAT, SIZES("(2 3)"), "a comma behind a size"},
    {PLEAT_ERR_FORMAT, SIZES("(2,3"), "a comma behind a size where it has: }"},
    {PLEAT_ERR_FORMAT, SIZES("(-2,-3)"), "a size or ) where it has: -2,-3)"},
    {PLEAT_ERR_FORMAT, SIZES("(+2,3)"), "a size or )"},
    {PLEAT_ERR_FORMAT, SIZES("(02,3)"), "a size or )"},
    {PLEAT_ERR_FORMAT, SIZES("(2.0,3)"), "a comma behind a size"},
    {PLEAT_ERR_FORMAT, SIZES("(0x2,3)"), "a comma behind a size"},
    {PLEAT_ERR_FORMAT, SIZES("(1_0,3)"), "a comma behind a size"},
    {PLEAT_ERR_FORMAT, SIZES("(2e0,3)"), "a comma behind a size"},
    {PLEAT_ERR_FORMAT, SIZES("('2',3)"), "a size or )"},
    {PLEAT_ERR_FORMAT, SIZES("((2,3),)"), "a size or )"},
    {PLEAT_ERR_FORMAT, SIZES("(1,1,1,1,1,1,1,2,3)"), "more than 8 axes"},
    {PLEAT_ERR_FORMAT, SIZES("(9223372036854775808,)"), "more than any file can hold"},
    {PLEAT_ERR_FORMAT, SIZES("(18446744073709551622,)"), "more than any file can hold"},
    {PLEAT_ERR_FORMAT, SIZES("(99999999999999999999999999999,)"), "more than any file can hold"},
    {PLEAT_ERR_FORMAT, SIZES("(4294967296,4294967296)"), "more than any file can hold"},
    {PLEAT_ERR_FORMAT, SIZES("(4611686018427387904,)"), "more than any file can hold"},
    {PLEAT_ERR_FORMAT, SIZES("(0,9223372036854775807)"), "more than any file can hold"},
    {PLEAT_ERR_FORMAT, SIZES("(4294967296,4294967296,0)"), "more than any file can hold"},
    /* the dict as such */
    {PLEAT_ERR_FORMAT, "", "a { where it has: the end"},
    {PLEAT_ERR_FORMAT, "    \n", "a { where it has: the end"},
    {PLEAT_ERR_FORMAT, "[]", "a { where it has: []"},
    {PLEAT_ERR_FORMAT, "{", "a key in quotes"},
    {PLEAT_ERR_FORMAT, "{,}", "a key in quotes"},
    {PLEAT_ERR_FORMAT, "{'descr'", "a colon"},
    {PLEAT_ERR_FORMAT, "{'descr", "a key in quotes"},
    {PLEAT_ERR_FORMAT, "{'descr':", "a type in quotes"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4'", "a comma or } where it has: the end"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','fortran_order':", "True or False"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','fortran_order':False,'shape':", "a tuple"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','fortran_order':False,'shape':(", "a size or )"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4','fortran_order':False,'shape':(2,3)", "a comma or }"},
    {PLEAT_ERR_FORMAT, "{'descr' '<f4','fortran_order':False,'shape':(2,3)}", "a colon"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4' 'fortran_order':False,'shape':(2,3)}", "a comma or }"},
    {PLEAT_ERR_FORMAT, "{'descr':'<f4',,'fortran_order':False,'shape':(2,3)}", "a key in quotes"},
    {PLEAT_ERR_FORMAT, GOOD "}", "nothing behind the } where it has: }"},
    {PLEAT_ERR_FORMAT, GOOD " \n x", "nothing behind the } where it has: x"},
    {PLEAT_ERR_FORMAT, GOOD "# really", "nothing behind the }"},
    {PLEAT_ERR_FORMAT, GOOD "\x80", "nothing behind the } where it has: ?"},
    {PLEAT_ERR_FORMAT, "({'descr':'<f4','fortran_order':False,'shape':(2,3)})", "a {"},
    {PLEAT_ERR_FORMAT, "\xef\xbb\xbf" GOOD, "a { where it has: ???{"},
    /* sizes that the data does not bear out */
    {PLEAT_ERR_FORMAT, SIZES("(2,4)"), "its header says"},
    {PLEAT_ERR_FORMAT, SIZES("(1099511627776,1000)"), BY_WIDTH("its header says", "more than any file")},
};

Test(npy, refuses_hostile_headers) {
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *path = forged(1, refused[i].header, strlen(refused[i].header), 24);
        expect_refused(path, refused[i].code, refused[i].part);
        cr_expect(pleat_is_poison(read_through_stdin(path)));
        expect_error(pleat_error(ctx)->code, refused[i].code, refused[i].part);
    }
    expect_refused(forged(1, BYTES(GOOD "\0\0"), 24), PLEAT_ERR_FORMAT,
                   "nothing behind the } where it has: ??");
    expect_refused(forged(1, BYTES("{'descr\0':'<f4','fortran_order':False,'shape':(2,3)}"), 24),
                   PLEAT_ERR_FORMAT, "the key descr?;");
}

Test(npy, refuses_wrong_lengths) {
    const char *path = forged(1, BYTES(GOOD), 24);
    cr_expect(!pleat_is_poison(pleat_nn_read_npy(ctx, path)));
    for (size_t n = 0; n < 50; n++) {
        if (n == 24) continue;
        expect_refused(forged(1, BYTES(GOOD), n), PLEAT_ERR_FORMAT, "bytes long, but its header says 85");
        cr_expect(pleat_is_poison(read_through_stdin(path)));
        expect_error(pleat_error(ctx)->code, PLEAT_ERR_FORMAT,
                     n < 24 ? "standard input: truncated" : "bytes follow");
    }
    expect_refused(forged(1, BYTES(SIZES("(0,3)")), 1), PLEAT_ERR_FORMAT, "its header says 61");
    cr_expect(pleat_is_poison(read_through_stdin(in_scratch("forged.npy"))));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_FORMAT, "bytes follow");
}

Test(npy, refuses_what_is_no_npy_file) {
    const char *path = in_scratch("x.npy");
    put_file(path, BYTES(""));
    expect_refused(path, PLEAT_ERR_FORMAT, "x.npy: not a .npy file");
    put_file(path, BYTES("PK\3\4 an archive"));
    expect_refused(path, PLEAT_ERR_FORMAT, "it is a zip archive");
    put_file(path, BYTES("no array at all"));
    expect_refused(path, PLEAT_ERR_FORMAT, "does not begin with \\x93NUMPY");
    put_file(path, BYTES(MAGIC "\0\0v\0{}"));
    expect_refused(path, PLEAT_ERR_FORMAT, "version 0.0; it must be 1.0, 2.0 or 3.0");
    put_file(path, BYTES(MAGIC "\1\1v\0{}"));
    expect_refused(path, PLEAT_ERR_FORMAT, "version 1.1");
    put_file(path, BYTES(MAGIC "\4\0v\0{}"));
    expect_refused(path, PLEAT_ERR_FORMAT, "version 4.0");
    put_file(path, BYTES(MAGIC "\1\0\3\0{}"));
    expect_refused(path, PLEAT_ERR_FORMAT, "truncated: it ends within its header");
    put_file(path, BYTES(MAGIC "\2\0\xff\xff\xff\xff{}"));
    expect_refused(path, PLEAT_ERR_FORMAT, "a header of 4294967295 bytes; it must have at most 1048576");
    put_file(path, BYTES(MAGIC "\2\0\0\0\x10\0{}"));
    expect_refused(path, PLEAT_ERR_FORMAT, "truncated: it ends within its header");
}

Test(npy, refuses_paths_that_cannot_be_used) {
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2));
    size_t temporary;
    expect_refused(in_scratch("none"), PLEAT_ERR_IO, "none: No such file");
    expect_refused(scratch_folder, PLEAT_ERR_IO, "a folder");
    expect_refused("/dev/zero", PLEAT_ERR_IO, "a device or a pipe");
    expect_refused(NULL, PLEAT_ERR_ARGUMENT, "NULL");
    expect_error(pleat_nn_write_npy(in_scratch("none/x"), t), PLEAT_ERR_IO, "No such file");
    expect_error(pleat_nn_write_npy(scratch_folder, t), PLEAT_ERR_IO, "Is a directory");
    expect_error(pleat_nn_write_npy("", t), PLEAT_ERR_ARGUMENT, "empty");
    expect_error(pleat_nn_write_npy(NULL, t), PLEAT_ERR_ARGUMENT, "NULL");
    expect_error(pleat_nn_write_npy(in_scratch("x"), pleat_poison(ctx)), PLEAT_ERR_ARGUMENT, "t is poison");
    cr_expect(pleat_nn_write_npy(in_scratch("x"), NULL) == PLEAT_ERR_ARGUMENT);
    expect_error(pleat_nn_put_npy(NULL, t), PLEAT_ERR_ARGUMENT, "put_npy: f is NULL");
    expect_error(pleat_nn_put_npy(stderr, pleat_poison(ctx)), PLEAT_ERR_ARGUMENT, "put_npy: t is poison");
    cr_expect(scratch_count(&temporary) == 0 && temporary == 0);
    if (access("/dev/full", W_OK) == 0)
        expect_error(pleat_nn_write_npy("/dev/full", t), PLEAT_ERR_IO, "/dev/full: No space left on device");
}

/* What is read of a damaged file must be whole: as many bytes of elements as the file has. */
static void expect_whole_or_refused(pleat_tensor *t, size_t data_bytes, size_t bit) {
    const pleat_error_info *e = pleat_error(ctx);
    if (pleat_is_poison(t))
        cr_expect(e->code == PLEAT_ERR_FORMAT || e->code == PLEAT_ERR_DTYPE, "bit %zu: %s", bit, e->text);
    else
        cr_expect(!e->code && bytes_of(t) == data_bytes, "bit %zu: %s", bit, e->text);
    cr_expect(!strchr(e->text, '\n'), "%s", e->text);
    pleat_clear_error(ctx);
}

static void damage(const char *whole, size_t bytes, size_t data_bytes) {
    char file[256];
    const char *path = in_scratch("damaged.npy");
    memcpy(file, whole, bytes);
    for (size_t n = 0; n < bytes; n++) {
        put_file(path, file, n);
        expect_refused(path, PLEAT_ERR_FORMAT, "damaged.npy");
        cr_expect(pleat_is_poison(read_through_stdin(path)));
        expect_error(pleat_error(ctx)->code, PLEAT_ERR_FORMAT, "standard input");
    }
    for (size_t i = 0; i < bytes * 8; i++) {
        pleat_scope scope = pleat_begin(ctx);
        file[i / 8] = (char)(file[i / 8] ^ 1 << i % 8);
        put_file(path, file, bytes);
        expect_whole_or_refused(pleat_nn_read_npy(ctx, path), data_bytes, i);
        expect_whole_or_refused(read_through_stdin(path), data_bytes, i);
        file[i / 8] = (char)(file[i / 8] ^ 1 << i % 8);
        pleat_end(scope);
    }
}

Test(npy, damaged_files) {
    damage(BYTES(numpy_c), 24);
    damage(BYTES(numpy_fortran), 48);
    damage(BYTES(numpy_scalar), 8);
}

/* ---- memory and disk ------------------------------------------------------------------------------------ */

static size_t until_failure; /* allocations that still succeed */
static size_t largest;       /* allocation so far */

static void *scarce(void *user, size_t bytes) {
    (void)user;
    if (!until_failure) return NULL;
    until_failure--;
    if (bytes > largest) largest = bytes;
    return malloc(bytes);
}

static void give_back(void *user, void *block) {
    (void)user;
    free(block);
}

Test(npy, survives_every_lack_of_memory) {
    until_failure = SIZE_MAX;
    pleat_ctx *poor = pleat_ctx_new(.threads = 1, .alloc = scarce, .free = give_back);
    pleat_tensor *x = pleat_randn(poor, PLEAT_F32, PLEAT_SHAPE(30, 40));
    pleat_tensor *view = pleat_permute(x, (const size_t[]){1, 0});
    size_t failures = 0, temporary;
    put_file(in_scratch("n.npy"), BYTES(numpy_fortran));
    for (pleat_status status = PLEAT_ERR_MEMORY; status; failures++) {
        pleat_trim(poor);
        until_failure = failures;
        pleat_scope scope = pleat_begin(poor);
        pleat_nn_read_npy(poor, in_scratch("n.npy"));
        pleat_end(scope);
        pleat_trim(poor);
        pleat_nn_write_npy(in_scratch("v.npy"), view);
        status = pleat_error(poor)->code;
        cr_assert(!status || status == PLEAT_ERR_MEMORY, "%s", pleat_error(poor)->text);
        pleat_clear_error(poor);
        scratch_count(&temporary);
        cr_assert(!temporary);
    }
    cr_expect(failures > 4);
    until_failure = SIZE_MAX;
    expect_same(pleat_nn_read_npy(ctx, in_scratch("v.npy")), view);
    pleat_ctx_free(poor);
}

/* A stream's length is not known beforehand: what its header claims must not be reserved. */
Test(npy, believes_no_size) {
    until_failure = SIZE_MAX;
    pleat_ctx *counting = pleat_ctx_new(.threads = 1, .alloc = scarce, .free = give_back);
    const char *path = forged(1, BYTES(SIZES("(1048576,1048576,1000)")), 24);
    largest = 0;
    cr_assert(freopen(path, "rb", stdin));
    cr_expect(pleat_is_poison(pleat_nn_read_npy(counting, "-")));
    cr_expect(pleat_error(counting)->code == PLEAT_ERR_FORMAT, "%s", pleat_error(counting)->text);
    cr_expect(largest < 1 << 20, "%zu bytes", largest);
    pleat_ctx_free(counting);
}

Test(npy, survives_a_full_disk) {
    pleat_tensor *small = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(20));
    pleat_tensor *large = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(200, 300));
    size_t temporary;
    put_file(in_scratch("x.npy"), "old", 3);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit < 200; limit += 40) {
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, RLIM_INFINITY});
        pleat_status first = pleat_nn_write_npy(in_scratch("x.npy"), small);
        pleat_error_info why = *pleat_error(ctx);
        pleat_clear_error(ctx);
        pleat_status second = pleat_nn_write_npy(in_scratch("x.npy"), large);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
        expect_error(second, PLEAT_ERR_IO, "x.npy: File too large");
        cr_expect(first == PLEAT_ERR_IO && strstr(why.text, "x.npy: File too large"), "%s", why.text);
        cr_expect(holds(in_scratch("x.npy"), "old"));
        cr_expect(scratch_count(&temporary) == 1 && !temporary);
    }
}

/* Root may do anything, so it becomes somebody else for a moment. */
Test(npy, respects_permissions) {
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2));
    put_file(in_scratch("x.npy"), "old", 3);
    cr_assert(chmod(in_scratch("x.npy"), 0) == 0 && chmod(scratch_folder, 0755) == 0);
    if (getuid() == 0 && seteuid(65534)) scratch_skip("root cannot step down here");
    pleat_status wrote = pleat_nn_write_npy(in_scratch("x.npy"), t);
    pleat_error_info why = *pleat_error(ctx);
    pleat_clear_error(ctx);
    pleat_nn_read_npy(ctx, in_scratch("x.npy"));
    if (getuid() == 0) cr_assert(seteuid(0) == 0);
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_IO, "cannot read");
    cr_expect(wrote == PLEAT_ERR_IO && strstr(why.text, "Permission denied"), "%s", why.text);
    chmod(in_scratch("x.npy"), 0600);
    cr_expect(holds(in_scratch("x.npy"), "old"));
}

/* ---- standard input and output -------------------------------------------------------------------------- */

/* Let standard output be `fd`, which is closed; returns the old one for restore. -1 closes standard output. */
static int replace_stdout(int fd) {
    fflush(stdout);
    int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
    cr_assert(saved >= 0);
    if (fd >= 0)
        dup2(fd, STDOUT_FILENO), close(fd);
    else
        close(STDOUT_FILENO);
    return saved;
}

static void restore_stdout(int saved) {
    fflush(stdout);
    cr_assert(dup2(saved, STDOUT_FILENO) == STDOUT_FILENO);
    close(saved);
}

static void expect_unwritable(int fd, const char *part) {
    pleat_tensor *small = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3));
    pleat_tensor *large = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(300, 300));
    int saved = replace_stdout(fd);
    pleat_status first = pleat_nn_write_npy("-", small);
    pleat_error_info why = *pleat_error(ctx);
    pleat_clear_error(ctx);
    pleat_status second = pleat_nn_write_npy("-", large);
    restore_stdout(saved);
    expect_error(second, PLEAT_ERR_IO, part);
    cr_expect(first == PLEAT_ERR_IO && strstr(why.text, part), "\"%s\" does not say \"%s\"", why.text, part);
}

/* Between what the program prints before and behind it, and standard output stays open. */
Test(npy, writes_to_standard_output) {
    const float halves[] = {-2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f};
    char want[256], before[] = "before\n", behind[] = "behind\n";
    size_t bytes, n = sizeof numpy_c - 1;
    int saved = replace_stdout(open(in_scratch("out"), O_WRONLY | O_CREAT, 0600));
    printf("%s", before);
    pleat_status status = pleat_nn_write_npy("-", pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3), halves));
    printf("%s", behind);
    restore_stdout(saved);
    cr_assert(!status, "%s", pleat_error(ctx)->text);
    memcpy(want, before, 7), memcpy(want + 7, numpy_c, n), memcpy(want + 7 + n, behind, 7);
    uint8_t *file = get_file(in_scratch("out"), &bytes);
    cr_expect(bytes == n + 14 && !memcmp(file, want, bytes));
    free(file);
}

Test(npy, standard_output_that_cannot_be_written) {
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    cr_assert(pipe(ends) == 0);
    close(ends[0]);
    expect_unwritable(ends[1], "cannot write standard output: Broken pipe");
    expect_unwritable(-1, "cannot write standard output: Bad file descriptor");
    if (access("/dev/full", W_OK) == 0)
        expect_unwritable(open("/dev/full", O_WRONLY),
                          "cannot write standard output: No space left on device");
}

/* One process writes, another reads, through a pipe that is much smaller than the array. */
Test(npy, from_one_program_to_another) {
    int ends[2], result = -1;
    char name[32];
    pleat_tensor *t = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(3, 400, 500));
    fflush(NULL);
    cr_assert(pipe(ends) == 0);
    pid_t writer = fork();
    if (writer == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]), close(ends[1]);
        _exit(pleat_nn_write_npy("-", t) ? 1 : 0);
    }
    close(ends[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    expect_same(read_through_stdin(name), t);
    close(ends[0]);
    cr_expect(waitpid(writer, &result, 0) == writer && result == 0);
}

Test(npy, standard_input_that_cannot_be_read) {
    cr_expect(pleat_is_poison(read_through_stdin("/dev/null")));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_FORMAT,
                 "standard input: not a .npy file: it is too short");
    cr_expect(pleat_is_poison(read_through_stdin(scratch_folder)));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_IO, "cannot read standard input: Is a directory");
    close(STDIN_FILENO);
    clearerr(stdin);
    cr_expect(pleat_is_poison(pleat_nn_read_npy(ctx, "-")));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_IO, "cannot read standard input: Bad file descriptor");
}

/* A program may read lines before the array: what stdio has buffered of it counts. */
Test(npy, reads_on_from_where_the_program_is) {
    char line[16];
    FILE *f = fopen(in_scratch("in"), "wb");
    fputs("a title\n", f);
    fwrite(numpy_scalar, 1, sizeof numpy_scalar - 1, f);
    cr_assert(fclose(f) == 0);
    cr_assert(freopen(in_scratch("in"), "rb", stdin));
    cr_assert(fgets(line, sizeof line, stdin));
    expect_values(pleat_nn_read_npy(ctx, "-"), PLEAT_F64, PLEAT_SCALAR, (const double[]){0.1});
}

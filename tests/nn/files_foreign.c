/* Parameters that others wrote: half precision, more tensors than the network has, other names, files of torch.save. */
#define _XOPEN_SOURCE 700

#include <math.h>

#include "pleat_config.h"
#include "scratch.h"

TestSuite(foreign, .init = scratch_begin, .fini = scratch_end, .timeout = 60);

#ifdef PL_HAVE_CJSON
static pleat_tensor *identity(pleat_nn_module *m, pleat_tensor *x) {
    (void)m;
    return x;
}

static const pleat_nn_kind kind = {.name = "Holder", .forward = identity};

/* A module of one parameter "w" with n elements of 7. */
static pleat_nn_module *holder(pleat_dtype dtype, size_t n) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &kind, NULL, 0);
    return pleat_nn_add_param(m, "w", pleat_full(ctx, dtype, PLEAT_SHAPE(n), 7));
}

/* A file of that header, and these elements behind it. */
static const char *forge(const char *header, const void *elements, size_t bytes) {
    const char *path = in_scratch("forged");
    size_t length = strlen(header);
    uint8_t *b = malloc(8 + length + bytes);
    cr_assert(b);
    for (size_t i = 0; i < 8; i++) b[i] = (uint8_t)((uint64_t)length >> 8 * i);
    memcpy(b + 8, header, length);
    if (bytes) memcpy(b + 8 + length, elements, bytes);
    put_file(path, b, 8 + length + bytes);
    free(b);
    return path;
}

/* ---- half precision ------------------------------------------------------------------------------------- */

/* The value of the bits, by the definition of the format: `exponent` bits of exponent, `fraction` of fraction. */
static double defined(unsigned bits, int exponent, int fraction) {
    int e = (int)(bits >> fraction) & ((1 << exponent) - 1), bias = (1 << (exponent - 1)) - 1;
    double f = ldexp(bits & ((1u << fraction) - 1), -fraction), sign = bits & 0x8000 ? -1 : 1;
    if (e == (1 << exponent) - 1) return f > 0 ? NAN : sign * INFINITY;
    return sign * (e ? ldexp(1 + f, e - bias) : ldexp(f, 1 - bias));
}

static const struct {
    const char *name;
    int exponent, fraction;
} halves[] = {{"F16", 5, 10}, {"BF16", 8, 7}};

static const char *every_half(const char *type) {
    static uint8_t b[2 * 65536];
    char header[120];
    for (size_t i = 0; i < 65536; i++) b[2 * i] = (uint8_t)i, b[2 * i + 1] = (uint8_t)(i >> 8);
    snprintf(header, sizeof header,
             "{\"w\":{\"dtype\":\"%s\",\"shape\":[65536],\"data_offsets\":[0,131072]}}", type);
    return forge(header, b, sizeof b);
}

Test(foreign, every_half_is_read_exactly) {
    for (size_t k = 0; k < 4; k++) {
        pleat_dtype dtype = k & 1 ? PLEAT_F64 : PLEAT_F32;
        pleat_nn_module *m = holder(dtype, 65536);
        cr_assert(!pleat_nn_load(every_half(halves[k / 2].name), m), "%s", pleat_error(ctx)->text);
        pleat_tensor *t = pleat_nn_param(m, 0);
        for (unsigned i = 0; i < 65536; i++) {
            double want = defined(i, halves[k / 2].exponent, halves[k / 2].fraction);
            double got = dtype == PLEAT_F32 ? (double)pleat_const_f32(t)[i] : pleat_const_f64(t)[i];
            bool same = isnan(want) ? isnan(got) : got == want && !signbit(got) == !signbit(want);
            cr_assert(same, "%s %04x in f%d: %a instead of %a", halves[k / 2].name, i, k & 1 ? 64 : 32, got,
                      want);
        }
        pleat_nn_free(m);
    }
}

/* Which NaN it is, is kept: F16 has its fraction at the upper end of f32's, and BF16 is f32's upper half. */
Test(foreign, a_nan_of_half_precision_keeps_its_payload) {
    for (size_t k = 0; k < 2; k++) {
        pleat_nn_module *m = holder(PLEAT_F32, 65536);
        cr_assert(!pleat_nn_load(every_half(halves[k].name), m));
        const float *v = pleat_const_f32(pleat_nn_param(m, 0));
        for (unsigned i = 0; i < 65536; i++) {
            uint32_t bits, fraction = i & ((1u << halves[k].fraction) - 1);
            memcpy(&bits, v + i, 4);
            if (isnan(defined(i, halves[k].exponent, halves[k].fraction)))
                cr_assert_eq(bits, (i & 0x8000) << 16 | 0x7f800000 | fraction << (23 - halves[k].fraction));
        }
        pleat_nn_free(m);
    }
}

static const char *one_of(const char *type, const void *element, size_t bytes) {
    char header[120];
    snprintf(header, sizeof header, "{\"w\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,%zu]}}", type,
             bytes);
    return forge(header, element, bytes);
}

Test(foreign, only_a_narrower_type_is_widened) {
    static const uint8_t zero[8];
    const float third = 1.0f / 3;
    pleat_nn_module *single = holder(PLEAT_F32, 1), *wide = holder(PLEAT_F64, 1);
    cr_expect(!pleat_nn_load(one_of("F32", &third, 4), wide), "%s", pleat_error(ctx)->text);
    cr_expect(pleat_item(pleat_nn_param(wide, 0)) == (double)third);
    expect_error(pleat_nn_load(one_of("F64", zero, 8), single), PLEAT_ERR_DTYPE,
                 "w is F64 in the file and F32 in the network; it takes F16, BF16 and F32");
    expect_error(pleat_nn_load(one_of("I64", zero, 8), wide), PLEAT_ERR_DTYPE,
                 "w is I64 in the file and F64 in the network; it takes F16, BF16, F32 and F64");
    expect_error(pleat_nn_load(one_of("I32", zero, 4), single), PLEAT_ERR_DTYPE, "w is I32 in the file");
    expect_error(pleat_nn_load(one_of("F8_E4M3", zero, 1), single), PLEAT_ERR_DTYPE, "w is F8_E4M3");
    expect_error(pleat_nn_load(one_of("F16", zero, 4), single), PLEAT_ERR_FORMAT,
                 "two whole numbers 2 apart");
    cr_expect(pleat_item(pleat_nn_param(single, 0)) == 7);
    pleat_nn_free(single);
    pleat_nn_free(wide);
}

/* A run that goes on has the same bits, so its checkpoint must have the very type. */
Test(foreign, a_checkpoint_is_not_widened) {
    pleat_nn_module *single = holder(PLEAT_F32, 1), *wide = holder(PLEAT_F64, 1);
    pleat_nn_checkpoint c = {.ctx = ctx, .part = {{.name = "net", .net = single}}};
    cr_assert(!pleat_nn_save_checkpoint(in_scratch("c"), &c), "%s", pleat_error(ctx)->text);
    c.part[0].net = wide;
    expect_error(pleat_nn_load_checkpoint(in_scratch("c"), &c), PLEAT_ERR_DTYPE,
                 "net.w is F32 in the file and F64 in this run");
    pleat_nn_free(single);
    pleat_nn_free(wide);
}

/* ---- parts ----------------------------------------------------------------------------------------------- */

/* Bytes 0..8 body.conv.weight, 8..24 body.ids, 24..36 body.fc.weight, 36..40 head.weight. */
#    define BODY "\"body.conv.weight\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]}"
#    define IDS "\"body.ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[8,24]}"
#    define FC "\"body.fc.weight\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[24,36]}"
#    define HEAD "\"head.weight\":{\"dtype\":\"F8_X\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[36,40]}"

static const char *whole_model(void) {
    static const uint16_t one[] = {0x3c00, 0x3800, 0xc000, 1}; /* 1 0.5 -2 2^-24 */
    static const float fc[] = {1, 2, 3};
    uint8_t b[40] = {0};
    for (size_t i = 0; i < 4; i++) b[2 * i] = (uint8_t)one[i], b[2 * i + 1] = (uint8_t)(one[i] >> 8);
    for (size_t i = 0; i < 3; i++) {
        uint32_t bits;
        memcpy(&bits, &fc[i], 4);
        for (size_t k = 0; k < 4; k++) b[24 + 4 * i + k] = (uint8_t)(bits >> 8 * k);
    }
    return forge("{" HEAD "," BODY "," FC "," IDS "}", b, sizeof b);
}

/* conv.weight [2,2] of f32, and fc.weight with n elements of f64; all 7 */
static pleat_nn_module *two(size_t n) {
    pleat_nn_module *conv = pleat_nn_module_new(ctx, &kind, NULL, 0),
                    *fc = pleat_nn_module_new(ctx, &kind, NULL, 0);
    conv = pleat_nn_add_param(conv, "weight", pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2), 7));
    fc = pleat_nn_add_param(fc, "weight", pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(n), 7));
    pleat_nn_module *m = pleat_nn_add_child(pleat_nn_module_new(ctx, &kind, NULL, 0), "conv", conv);
    return pleat_nn_add_child(m, "fc", fc);
}

static void expect_conv(const pleat_nn_module *m) {
    const float *v = pleat_const_f32(pleat_nn_param(m, 0));
    cr_expect(v[0] == 1 && v[1] == 0.5f && v[2] == -2 && v[3] == 0x1p-24f, "%g %g %g %g", (double)v[0],
              (double)v[1], (double)v[2], (double)v[3]);
}

static void expect_found(const pleat_nn_misfits *m, size_t loaded, size_t missing, size_t other, size_t left,
                         const char *text) {
    cr_expect(m->loaded == loaded && m->missing == missing && m->other == other && m->left == left,
              "%zu %zu %zu %zu", m->loaded, m->missing, m->other, m->left);
    cr_expect(!strcmp(m->text, text), "%s", m->text);
}

Test(foreign, a_part_of_a_file_is_loaded) {
    pleat_nn_misfits found;
    pleat_nn_module *m = two(3);
    cr_assert(!pleat_nn_load_from(whole_model(), m, .prefix = "body.", .misfits = &found), "%s",
              pleat_error(ctx)->text);
    expect_found(&found, 2, 0, 0, 1, "the network has no body.ids\n");
    expect_conv(m);
    const double *fc = pleat_const_f64(pleat_nn_param(m, 1));
    cr_expect(fc[0] == 1 && fc[1] == 2 && fc[2] == 3, "%g %g %g", fc[0], fc[1], fc[2]);
    /* into a child, and strictly: the prefix alone says what belongs to it */
    pleat_nn_module *again = two(3);
    cr_assert(!pleat_nn_load_from(whole_model(), pleat_nn_child(again, 0), .prefix = "body.conv."), "%s",
              pleat_error(ctx)->text);
    expect_conv(again);
    cr_expect(pleat_const_f64(pleat_nn_param(again, 1))[0] == 7);
    pleat_nn_free(m);
    pleat_nn_free(again);
}

Test(foreign, what_does_not_fit_is_listed_and_keeps_its_values) {
    pleat_nn_misfits found;
    pleat_nn_module *m = pleat_nn_add_param(two(4), "bias", pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(2), 7));
    cr_assert(!pleat_nn_load_from(whole_model(), m, .prefix = "body.", .misfits = &found), "%s",
              pleat_error(ctx)->text);
    expect_found(&found, 1, 1, 1, 1,
                 "body.fc.weight is [3] in the file and [4] in the network\nbody.bias is missing\n"
                 "the network has no body.ids\n");
    expect_conv(m);
    cr_expect(pleat_const_f64(pleat_nn_param(m, 1))[3] == 7 && pleat_const_f32(pleat_nn_param(m, 2))[0] == 7);
    /* without a list all of it is an error that begins with the first, and nothing changes */
    pleat_nn_module *fresh = two(4);
    expect_error(pleat_nn_load_from(whole_model(), fresh, .prefix = "body."), PLEAT_ERR_SHAPE,
                 "body.fc.weight is [3] in the file and [4] in the network");
    cr_expect(pleat_const_f32(pleat_nn_param(fresh, 0))[0] == 7);
    pleat_nn_free(m);
    pleat_nn_free(fresh);
}

Test(foreign, a_wrong_prefix_is_an_error) {
    pleat_nn_misfits found;
    pleat_nn_module *m = two(3);
    expect_error(pleat_nn_load_from(whole_model(), m, .prefix = "model.", .misfits = &found),
                 PLEAT_ERR_FORMAT, "forged: no tensor fits the network; the file has head.weight");
    expect_found(&found, 0, 2, 0, 0, "model.conv.weight is missing\nmodel.fc.weight is missing\n");
    expect_error(pleat_nn_load_from(whole_model(), m, .misfits = &found), PLEAT_ERR_FORMAT, "no tensor fits");
    expect_error(pleat_nn_load_from(whole_model(), m, .prefix = "model."), PLEAT_ERR_FORMAT,
                 "model.conv.weight is missing; the file has head.weight");
    expect_error(pleat_nn_load(whole_model(), m), PLEAT_ERR_FORMAT,
                 "conv.weight is missing; the file has head");
    cr_expect(pleat_nn_load_from(whole_model(), NULL, .misfits = &found) == PLEAT_ERR_ARGUMENT);
    cr_expect(pleat_const_f32(pleat_nn_param(m, 0))[0] == 7);
    pleat_nn_free(m);
}

/* The bytes of tensors that are not read must have their place, too. */
Test(foreign, damage_is_an_error_of_parts_too) {
    static const uint8_t zero[48];
    static const char *const damaged[] = {
        "{" BODY "," IDS "," FC "}", "{" BODY "," FC "," HEAD "}",
        "{" BODY ",\"body.ids\":{}," FC "," HEAD "}",
        "{" BODY ",\"x\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[24,8]}," FC "," HEAD "}",
        "{" BODY ",\"x\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[8,1e3]}," FC "," HEAD "}"};
    pleat_nn_misfits found;
    pleat_nn_module *m = two(3);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        pleat_status status =
            pleat_nn_load_from(forge(damaged[i], zero, 40), m, .prefix = "body.", .misfits = &found);
        cr_expect(status == PLEAT_ERR_FORMAT && !found.loaded, "%s: %s", damaged[i], pleat_error(ctx)->text);
        pleat_clear_error(ctx);
        cr_expect(pleat_const_f32(pleat_nn_param(m, 0))[0] == 7);
    }
    pleat_nn_free(m);
}

Test(foreign, a_long_list_ends_with_the_number_of_the_rest) {
    static char header[40000];
    pleat_nn_misfits found;
    size_t used = (size_t)sprintf(header, "{" BODY "," IDS "," FC "," HEAD);
    for (int i = 0; i < 500; i++)
        used += (size_t)sprintf(header + used,
                                ",\"body.%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[40,40]}", i);
    strcpy(header + used, "}");
    static const uint8_t zero[40];
    pleat_nn_module *m = two(3);
    cr_assert(!pleat_nn_load_from(forge(header, zero, 40), m, .prefix = "body.", .misfits = &found), "%s",
              pleat_error(ctx)->text);
    cr_expect(found.loaded == 2 && found.left == 501);
    size_t lines = 0, more = 0;
    const char *last = found.text;
    for (const char *c = found.text; *c; c++)
        if (*c == '\n' && ++lines && c[1]) last = c + 1;
    cr_expect(sscanf(last, "and %zu more\n", &more) == 1 && lines - 1 + more == 501, "%zu lines, %s", lines,
              last);
    pleat_nn_free(m);
}

/* ---- torch.save ------------------------------------------------------------------------------------------ */

Test(foreign, files_of_torch_save_are_told) {
    static const uint8_t legacy[] = "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.";
    pleat_nn_module *m = holder(PLEAT_F32, 1);
    put_file(in_scratch("net.pt"), "PK\3\4\0\0\b\b\0\0\0\0\0\0", 14);
    expect_error(
        pleat_nn_load(in_scratch("net.pt"), m), PLEAT_ERR_FORMAT,
        "net.pt: not a safetensors file, but one of torch.save, or a zip archive; in Python: "
        "safetensors.torch.save_file(torch.load(\"in.pt\", map_location=\"cpu\"), \"out.safetensors\")");
    put_file(in_scratch("old.pt"), legacy, sizeof legacy);
    expect_error(pleat_nn_load(in_scratch("old.pt"), m), PLEAT_ERR_FORMAT, "one of torch.save");
    pleat_nn_free(m);
}
#endif

/* How errors travel: poison, the first error, scopes that are not open, and what a null pointer may do. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pleat_config.h"
#include "tensors.h"

TestSuite(state, .init = tensors_begin, .fini = tensors_end);

/* ---- poison ------------------------------------------------------------------------------------------- */

static const size_t two[] = {2, 2}, none[] = {0, 0};

static pleat_tensor *scale(pleat_tensor *x) { return pleat_scale(x, 2); }
static pleat_tensor *shift(pleat_tensor *x) { return pleat_shift(x, 2); }
static pleat_tensor *clamp(pleat_tensor *x) { return pleat_clamp(x, 0, 1); }
static pleat_tensor *sum(pleat_tensor *x) { return pleat_sum(x); }
static pleat_tensor *mean(pleat_tensor *x) { return pleat_mean(x, PLEAT_AXES(0)); }
static pleat_tensor *broadcast_to(pleat_tensor *x) { return pleat_broadcast_to(x, 2, two); }
static pleat_tensor *sum_to(pleat_tensor *x) { return pleat_sum_to(x, 2, two); }
static pleat_tensor *reshape(pleat_tensor *x) { return pleat_reshape(x, 2, two); }
static pleat_tensor *permute(pleat_tensor *x) { return pleat_permute(x, two); }
static pleat_tensor *slice(pleat_tensor *x) { return pleat_slice(x, none, two, NULL); }
static pleat_tensor *pad(pleat_tensor *x) { return pleat_pad(x, two, none, NULL); }
static pleat_tensor *flip(pleat_tensor *x) { return pleat_flip(x, 1); }
static pleat_tensor *concat(pleat_tensor *x) { return pleat_concat(1, &x, 0); }
static pleat_tensor *zeros_like(pleat_tensor *x) { return pleat_zeros_like(x); }
static pleat_tensor *full_like(pleat_tensor *x) { return pleat_full_like(x, 3); }

static pleat_tensor *(*const functions[])(pleat_tensor *) = {
    scale,        shift,         clamp,      sum,        mean,
    broadcast_to, sum_to,        reshape,    permute,    slice,
    pad,          flip,          concat,     zeros_like, full_like,
    pleat_neg,    pleat_exp,     pleat_log,  pleat_sqrt, pleat_square,
    pleat_tanh,   pleat_sigmoid, pleat_relu, pleat_step, pleat_contiguous,
    pleat_detach, pleat_keep,    pleat_hold};

static pleat_tensor *matmul(pleat_tensor *x, pleat_tensor *y) { return pleat_matmul(x, y); }
static pleat_tensor *conv2d(pleat_tensor *x, pleat_tensor *y) { return pleat_conv2d(x, y); }
static pleat_tensor *transpose(pleat_tensor *x, pleat_tensor *y) { return pleat_conv2d_transpose(x, y); }
static pleat_tensor *weight(pleat_tensor *x, pleat_tensor *y) {
    return pleat_conv2d_weight(x, y, .kernel = {1, 1});
}

static pleat_tensor *(*const functions_of_two[])(pleat_tensor *, pleat_tensor *) = {
    pleat_add, pleat_sub, pleat_mul, pleat_div, matmul, conv2d, transpose, weight};

static pleat_tensor *make_poison(void) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3));
    return pleat_add(x, whole(PLEAT_F32, PLEAT_SHAPE(4)));
}

Test(state, poison_goes_through_every_op) {
    pleat_tensor *poison = make_poison(), *x = whole(PLEAT_F64, PLEAT_SHAPE(2, 2, 2, 2)), *gx;
    pleat_error_info first = *pleat_error(ctx);
    size_t tensors = pleat_memory(ctx).tensors;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        cr_assert_eq(functions[i](poison), poison, "function %zu", i);
    for (size_t i = 0; i < sizeof functions_of_two / sizeof *functions_of_two; i++) {
        cr_assert_eq(functions_of_two[i](poison, x), poison, "function %zu", i);
        cr_assert_eq(functions_of_two[i](x, poison), poison, "function %zu", i);
    }
    cr_assert_eq(pleat_grads(poison, NULL, 1, &x, &gx, 0), PLEAT_ERR_SHAPE);
    cr_assert_eq(gx, poison);
    cr_assert_eq(memcmp(&first, pleat_error(ctx), sizeof first), 0,
                 "the first error is still the one that counts");
    cr_assert_eq(pleat_memory(ctx).tensors, tensors);
    pleat_drop(poison);
    pleat_clear_error(ctx);
    cr_assert_eq(pleat_exp(poison), poison, "poison stays poison");
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK);
}

/* An error's `input` after x1 and x2 went through pleat_concat, or with y through pleat_grads. */
static size_t input_at_fault(pleat_tensor *y, pleat_tensor *x1, pleat_tensor *x2) {
    pleat_tensor *xs[] = {x1, x2}, *g[2];
    pleat_clear_error(ctx);
    if (y)
        pleat_grads(y, NULL, 2, xs, g, PLEAT_GRADS_STRICT);
    else
        pleat_concat(2, xs, 0);
    cr_assert_neq(pleat_error(ctx)->code, PLEAT_OK);
    return pleat_error(ctx)->input;
}

Test(state, an_error_names_the_input) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2)), *z = whole(PLEAT_F32, PLEAT_SHAPE(2));
    pleat_tensor *wide = whole(PLEAT_F64, PLEAT_SHAPE(2)), *matrix = whole(PLEAT_F32, PLEAT_SHAPE(2, 2));
    cr_expect_eq(input_at_fault(NULL, x, NULL), 1);
    cr_expect_eq(input_at_fault(NULL, NULL, x), 0);
    cr_expect_eq(input_at_fault(NULL, x, wide), 1);
    cr_expect_eq(input_at_fault(NULL, x, matrix), PLEAT_NO_INPUT, "neither of two shapes");
    pleat_tensor *y = pleat_sum(pleat_square(x)), *poison = pleat_poison(ctx);
    cr_expect_eq(input_at_fault(y, x, z), 1);
    cr_expect_eq(input_at_fault(y, z, x), 0);
    cr_expect_eq(input_at_fault(y, x, NULL), 1);
    cr_expect_eq(input_at_fault(y, poison, x), 0);
    pleat_matmul(x, NULL);
    cr_expect_eq(pleat_error(ctx)->input, 0, "the first error is the one that counts");
    pleat_clear_error(ctx);
    pleat_add(x, poison);
    cr_expect(pleat_error(ctx)->code == PLEAT_OK && pleat_error(ctx)->input == PLEAT_NO_INPUT);
}

static void expect_where(const char *text, const char *where, const char *expected) {
    pleat_fail(ctx, PLEAT_ERR_CHECK, "op", "%s", text);
    pleat_error_where(ctx, where);
    cr_expect_str_eq(pleat_error(ctx)->text, expected);
    cr_expect_str_eq(pleat_error(ctx)->op, "op");
    cr_expect_eq(pleat_error(ctx)->code, PLEAT_ERR_CHECK);
    pleat_clear_error(ctx);
}

/* A text of n letters. */
static const char *letters(size_t n, char letter) {
    static char text[2][600];
    char *to = text[letter == 'a'];
    memset(to, letter, n);
    to[n] = 0;
    return to;
}

Test(state, an_error_says_where) {
    pleat_error_where(ctx, "nowhere");
    cr_expect(pleat_error(ctx)->code == PLEAT_OK && !pleat_error(ctx)->text[0]);
    pleat_error_where(NULL, "nowhere");
    expect_where("broken", NULL, "op: broken");
    expect_where("broken", "there", "there: op: broken");
    expect_where("broken", "0", "0: op: broken");
    expect_where("broken", "on\ntwo lines", "on?two lines: op: broken");
    char expected[1300];
    /* 479 characters have room: the text keeps all of its own */
    snprintf(expected, sizeof expected, "there: op: %s", letters(468, 't'));
    expect_where(letters(468, 't'), "there", expected);
    snprintf(expected, sizeof expected, "...ere: op: %s", letters(467, 't'));
    expect_where(letters(467, 't'), "somewhere", expected);
    snprintf(expected, sizeof expected, "op: %s", letters(470, 't'));
    expect_where(letters(470, 't'), "there", expected);
    snprintf(expected, sizeof expected, "...%s: op: broken", letters(464, 'a'));
    expect_where("broken", letters(590, 'a'), expected);
}

static bool copy_shape(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]);
    memcpy(c->shape, pleat_shape(c->in[0]), c->rank * sizeof *c->shape);
    return true;
}

static bool zero_forward(const pleat_call *c) {
    memset(pleat_f32(c->out), 0, pleat_numel(c->out) * sizeof(float));
    return true;
}

/* A rule that fails in a walk of its own. */
static pleat_tensor *walking_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *xs[] = {g, c->in[i]}, *gx[2];
    pleat_grads(pleat_sum(g), NULL, 2, xs, gx, PLEAT_GRADS_STRICT);
    return gx[1];
}

static const pleat_op walking_op = {"walking", copy_shape, zero_forward, walking_vjp, NULL, NULL, NULL};

Test(state, an_error_within_a_walk_names_no_x) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2)), *gx;
    pleat_tensor *y = pleat_sum(pleat_apply(&walking_op, 1, &x, NULL, 0));
    cr_expect_eq(pleat_grads(y, NULL, 1, &x, &gx, 0), PLEAT_ERR_GRADIENT);
    cr_expect_eq(pleat_error(ctx)->input, PLEAT_NO_INPUT);
    pleat_clear_error(ctx);
}

Test(state, poison_reads_as_nan) {
    pleat_tensor *poison = make_poison();
    pleat_clear_error(ctx);
    double value = 0;
    char text[16];
    pleat_read_f64(poison, &value);
    cr_assert(isnan(value) && isnan(pleat_item(poison)) && isnan(pleat_at(poison, NULL)));
    cr_assert(pleat_rank(poison) == 0 && pleat_numel(poison) == 1 && pleat_size(poison, 0) == 0);
    cr_assert(pleat_is_poison(poison) && !pleat_is_contiguous(poison) && pleat_ctx_of(poison) == ctx);
    cr_assert_str_eq(pleat_shape_text(poison, text, sizeof text), "poison");
    cr_assert_eq(pleat_poison(ctx), poison);
    cr_assert(pleat_is_poison(pleat_poison(NULL)));
}

Test(state, the_first_error_wins) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3));
    pleat_reshape(x, PLEAT_SHAPE(7));
    pleat_sum(x, PLEAT_AXES(5));
    cr_assert_eq(pleat_fail(ctx, PLEAT_ERR_IO, "later", "%d", 1), PLEAT_ERR_IO);
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_SHAPE, "reshape", "[2,3]");
    EXPECT_FAILED(pleat_fail(ctx, PLEAT_ERR_FORMAT, "mine", "%d words", 2), PLEAT_ERR_FORMAT, "mine",
                  "mine: 2 words");
    EXPECT_SAME(pleat_add(x, x), pleat_scale(x, 2)); /* an error is no obstacle for others */
}

Test(state, errors_are_cut_to_fit) {
    char op[100], text[1000];
    memset(op, 'o', sizeof op - 1), memset(text, 't', sizeof text - 1);
    op[sizeof op - 1] = text[sizeof text - 1] = 0;
    pleat_fail(ctx, PLEAT_ERR_IO, op, "%s", text);
    const pleat_error_info *e = pleat_error(ctx);
    cr_assert_eq(strlen(e->op), sizeof e->op - 1);
    cr_assert_eq(strlen(e->text), sizeof e->text - 1);
    pleat_clear_error(ctx);
}

/* What a file is called, or holds, may be anything. */
Test(state, errors_are_one_line) {
    pleat_fail(ctx, PLEAT_ERR_IO, "read\nit", "cannot read %s", "a\nb\tc\x1b[2Jd\x7f\xc3\xa9");
    cr_assert_str_eq(pleat_error(ctx)->text, "read?it: cannot read a?b?c?[2Jd?\xc3\xa9");
    cr_assert_str_eq(pleat_error(ctx)->op, "read?it");
    pleat_clear_error(ctx);
}

Test(state, how_the_library_was_built) {
    const char *info = pleat_build_info();
    cr_assert_eq(strncmp(info, "pleat " PLEAT_VERSION ", ", strlen("pleat " PLEAT_VERSION ", ")), 0, "%s",
                 info);
    cr_assert_not_null(strstr(info, PL_BLAS ? ", BLAS " : ", no BLAS, "), "%s", info);
    cr_assert_not_null(strstr(info, " baseline"), "%s", info);
    cr_assert_not_null(strstr(info, "defined bits"), "%s", info);
    cr_assert_null(strchr(info, '\n'));
    cr_assert_eq(info, pleat_build_info());
}

Test(state, only_im2col_has_other_bits) {
    static const char *const engines[] = {"auto",   "reference", "implicit_gemm",
                                          "direct", "columns",   "im2col"};
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        cr_assert_eq(setenv("PLEAT_ENGINE", engines[i], 1), 0);
        pleat_ctx *other = pleat_ctx_new(.threads = 1);
        cr_expect_eq(pleat_has_defined_bits(other), strcmp(engines[i], "im2col") != 0, "%s", engines[i]);
        pleat_ctx_free(other);
    }
    cr_expect_not(pleat_has_defined_bits(NULL));
}

Test(state, names_of_the_codes) {
    for (int code = PLEAT_OK; code <= PLEAT_ERR_FORMAT; code++) {
        cr_assert_str_neq(pleat_status_name((pleat_status)code), "unknown");
        for (int other = 0; other < code; other++)
            cr_assert_str_neq(pleat_status_name((pleat_status)code), pleat_status_name((pleat_status)other));
    }
    cr_assert_str_eq(pleat_status_name(PLEAT_ERR_MEMORY), "out of memory");
    cr_assert_str_eq(pleat_status_name((pleat_status)-1), "unknown");
    cr_assert_str_eq(pleat_status_name((pleat_status)99), "unknown");
}

/* ---- null pointers ------------------------------------------------------------------------------------- */

Test(state, null_is_poison_of_no_context) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        cr_assert(pleat_is_poison(functions[i](NULL)));
    for (size_t i = 0; i < sizeof functions_of_two / sizeof *functions_of_two; i++)
        cr_assert(pleat_is_poison(functions_of_two[i](NULL, NULL)));
    char text[8];
    double value = 0;
    pleat_tensor *gx, *x = NULL;
    cr_assert(isnan(pleat_item(NULL)) && isnan(pleat_at(NULL, NULL)) && pleat_f32(NULL) == NULL);
    pleat_read_f64(NULL, &value);
    cr_assert(isnan(value));
    cr_assert_str_eq(pleat_shape_text(NULL, text, sizeof text), "poison");
    cr_assert(pleat_numel(NULL) == 1 && pleat_rank(NULL) == 0 && pleat_ctx_of(NULL) == NULL &&
              pleat_shape(NULL) != NULL);
    cr_assert_eq(pleat_grads(NULL, NULL, 1, &x, &gx, 0), PLEAT_ERR_ARGUMENT);
    cr_assert(pleat_is_poison(gx));
    pleat_drop(NULL);
}

Test(state, a_null_context_is_harmless) {
    pleat_end(pleat_begin(NULL));
    pleat_ctx_free(NULL);
    pleat_clear_error(NULL);
    pleat_trim(NULL);
    pleat_set_threads(NULL, 3);
    cr_assert_not(pleat_set_recording(NULL, true));
    cr_assert(pleat_threads(NULL) == 1 && pleat_memory(NULL).in_use == 0 && pleat_ctx_rng(NULL) == NULL);
    cr_assert_eq(pleat_error(NULL)->code, PLEAT_ERR_MEMORY);
    cr_assert_eq(pleat_fail(NULL, PLEAT_ERR_IO, "mine", "lost"), PLEAT_ERR_IO);
    cr_assert(pleat_is_poison(pleat_zeros(NULL, PLEAT_F32, PLEAT_SHAPE(2))));
    cr_assert(pleat_is_poison(pleat_full(NULL, PLEAT_F32, PLEAT_SHAPE(2), 1)));
    cr_assert(pleat_is_poison(pleat_from(NULL, PLEAT_F32, PLEAT_SHAPE(2), NULL)));
    cr_assert(pleat_is_poison(pleat_from_f64(NULL, PLEAT_F32, PLEAT_SHAPE(2), NULL)));
    cr_assert(pleat_is_poison(pleat_randn(NULL, PLEAT_F32, PLEAT_SHAPE(2))));
    cr_assert(pleat_is_poison(pleat_uniform(NULL, PLEAT_F32, PLEAT_SHAPE(2), 0, 1)));
}

/* ---- scopes -------------------------------------------------------------------------------------------- */

Test(state, a_scope_ends_once) {
    pleat_scope outer = pleat_begin(ctx), inner = pleat_begin(ctx),
                never = {.ctx = ctx, .depth = 99, .serial = 7};
    whole(PLEAT_F32, PLEAT_SHAPE(3));
    pleat_end(outer); /* and the inner one with it */
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
    pleat_end(inner);
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "end", "not open");
    pleat_scope again = pleat_begin(ctx); /* in the place of the outer one */
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(3));
    pleat_end(outer);
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "end", "ended before");
    pleat_end(never);
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "end", "never began");
    cr_assert_eq(pleat_memory(ctx).tensors, 1, "it frees nothing");
    cr_assert_eq(pleat_numel(x), 3);
    pleat_end(again);
    pleat_end((pleat_scope){0});
}

Test(state, keep_hold_and_drop) {
    pleat_tensor *root = whole(PLEAT_F32, PLEAT_SHAPE(1));
    pleat_scope outer = pleat_begin(ctx), inner = pleat_begin(ctx);
    pleat_tensor *kept = whole(PLEAT_F32, PLEAT_SHAPE(2)), *held = whole(PLEAT_F32, PLEAT_SHAPE(3));
    pleat_tensor *twice = whole(PLEAT_F32, PLEAT_SHAPE(4)), *dropped = whole(PLEAT_F32, PLEAT_SHAPE(5));
    cr_assert_eq(pleat_keep(kept), kept);
    cr_assert_eq(pleat_hold(held), held);
    cr_assert_eq(pleat_keep(pleat_keep(twice)), twice);
    pleat_drop(dropped);
    cr_assert_eq(pleat_memory(ctx).tensors, 4);
    pleat_end(inner);
    cr_assert_eq(pleat_memory(ctx).tensors, 4);
    pleat_end(outer);
    cr_assert_eq(pleat_memory(ctx).tensors, 3);
    cr_assert_eq(pleat_keep(root), root, "there is nothing around the outermost scope");
    cr_assert_eq(pleat_keep(held), held);
    cr_assert_eq(pleat_hold(pleat_hold(held)), held);
    pleat_drop(held);
    pleat_drop(twice);
    pleat_drop(root);
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
}

Test(state, whose_scope) {
    pleat_tensor *root = whole(PLEAT_F32, PLEAT_SHAPE(1));
    pleat_scope outer = pleat_begin(ctx);
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2)), *held = pleat_hold(whole(PLEAT_F32, PLEAT_SHAPE(3)));
    pleat_scope inner = pleat_begin(ctx);
    pleat_tensor *y = whole(PLEAT_F32, PLEAT_SHAPE(4));
    cr_expect(pleat_in_scope(outer, x) && pleat_in_scope(outer, y) && pleat_in_scope(inner, y));
    cr_expect_not(pleat_in_scope(inner, x) || pleat_in_scope(outer, root) || pleat_in_scope(inner, held));
    cr_expect_not(pleat_in_scope(inner, pleat_poison(ctx)) || pleat_in_scope(inner, NULL));
    cr_expect_not(pleat_in_scope((pleat_scope){0}, y));
    pleat_keep(y);
    cr_expect(pleat_in_scope(outer, y) && !pleat_in_scope(inner, y));
    pleat_end(inner);
    cr_expect(pleat_begin(ctx).depth == inner.depth &&
              !pleat_in_scope(inner, whole(PLEAT_F32, PLEAT_SHAPE(1))));
    pleat_end(outer);
    cr_expect_not(pleat_in_scope(outer, root));
    /* a tensor that is kept by a recorded call alone */
    pleat_tensor *z = whole(PLEAT_F32, PLEAT_SHAPE(2)), *sum = pleat_sum(z);
    outer = pleat_begin(ctx);
    pleat_drop(z);
    cr_expect_not(pleat_in_scope(outer, pleat_call_of(sum)->in[0]));
    pleat_end(outer);
    pleat_drop(held);
}

Test(state, a_hundred_scopes) {
    pleat_scope scopes[100];
    for (size_t i = 0; i < 100; i++) {
        scopes[i] = pleat_begin(ctx);
        whole(PLEAT_F32, PLEAT_SHAPE(i));
    }
    for (size_t i = 100; i-- > 0;) {
        cr_assert_eq(pleat_memory(ctx).tensors, i + 1);
        pleat_end(scopes[i]);
    }
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
}

Test(state, null_arrays_are_refused) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2, 2));
    EXPECT_REFUSED(pleat_reshape(x, 1, NULL), PLEAT_ERR_ARGUMENT, "reshape", "null pointer");
    EXPECT_REFUSED(pleat_permute(x, NULL), PLEAT_ERR_ARGUMENT, "permute", "null pointer");
    EXPECT_REFUSED(pleat_slice(x, NULL, two, NULL), PLEAT_ERR_ARGUMENT, "slice", "null pointer");
    EXPECT_REFUSED(pleat_slice(x, none, NULL, NULL), PLEAT_ERR_ARGUMENT, "slice", "null pointer");
    EXPECT_REFUSED(pleat_pad(x, NULL, none, NULL), PLEAT_ERR_ARGUMENT, "pad", "null pointer");
    EXPECT_REFUSED(pleat_pad(x, two, NULL, NULL), PLEAT_ERR_ARGUMENT, "pad", "null pointer");
    EXPECT_REFUSED(pleat_broadcast_to(x, 2, NULL), PLEAT_ERR_ARGUMENT, "broadcast_to", "null pointer");
    EXPECT_REFUSED(pleat_sum_to(x, 2, NULL), PLEAT_ERR_ARGUMENT, "sum_to", "null pointer");
}

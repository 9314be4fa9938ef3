/* Debug mode: a tensor that is used after its end tells what made it; nothing crashes. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensors.h"

static void debug_begin(void) {
    tensors_begin();
    pleat_ctx_free(ctx);
    ctx = pleat_ctx_new(.threads = 2, .debug = true);
}

TestSuite(dead, .init = debug_begin, .fini = tensors_end);

static pleat_tensor *dead_sum(void) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *y = pleat_sum(x, PLEAT_AXES(0));
    pleat_end(s);
    return y;
}

Test(dead, an_op_names_the_tensor_and_its_origin) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(3)), *y = dead_sum();
    EXPECT_REFUSED(pleat_add(x, y), PLEAT_ERR_ARGUMENT, "add",
                   "tensor 1 is dead: it was made by sum([2,3]; axes 0), as tensor", "its scope has ended",
                   "pleat_keep or pleat_hold");
    EXPECT_REFUSED(pleat_exp(y), PLEAT_ERR_ARGUMENT, "exp", "tensor 0 is dead");
    pleat_add(y, x);
    cr_expect_eq(pleat_error(ctx)->input, 0);
    pleat_clear_error(ctx);
    pleat_tensor *z = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(4, 5));
    pleat_drop(z);
    EXPECT_REFUSED(pleat_mean(z), PLEAT_ERR_ARGUMENT, "mean", "made by zeros [4,5]",
                   "given back by pleat_drop");
}

Test(dead, a_look_names_the_function_that_looked) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(3)), *y = dead_sum();
    double all[3];
    const size_t index[] = {0};
    static const char *const names[] = {"item", "at",     "read_f64", "const_f32",
                                        "f64",  "assign", "assign",   "print"};
    FILE *f = tmpfile();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (i == 0) pleat_item(y);
        if (i == 1) pleat_at(y, index);
        if (i == 2) pleat_read_f64(y, all);
        if (i == 3) pleat_const_f32(y);
        if (i == 4) pleat_f64(y);
        if (i == 5) pleat_assign(x, y);
        if (i == 6) pleat_assign(y, x);
        if (i == 7) pleat_print(y, f);
        EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, names[i],
                      "the tensor is dead: it was made by sum");
    }
    fclose(f);
}

Test(dead, tensors_are_numbered_from_1) {
    pleat_ctx *own = pleat_ctx_new(.debug = true);
    pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(1));
    pleat_tensor *second = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(1));
    pleat_drop(second);
    pleat_exp(second);
    cr_expect(strstr(pleat_error(own)->text, "as tensor number 2 of"), "%s", pleat_error(own)->text);
    pleat_ctx_free(own);
}

#define EXPECT_DEAD(call)                                            \
    do {                                                             \
        (void)(call);                                                \
        cr_expect(pleat_error(ctx)->code == PLEAT_ERR_ARGUMENT &&    \
                      strstr(pleat_error(ctx)->text, "made by sum"), \
                  #call ": \"%s\"", pleat_error(ctx)->text);         \
        pleat_clear_error(ctx);                                      \
    } while (0)

Test(dead, every_look_at_it_is_reported) {
    pleat_tensor *y = dead_sum(), *x = whole(PLEAT_F32, PLEAT_SHAPE(3)), *g;
    double out[3];
    char text[100];
    pleat_attr attr[PLEAT_MAX_ATTRS];
    EXPECT_DEAD(pleat_ctx_of(y));
    EXPECT_DEAD(pleat_dtype_of(y));
    EXPECT_DEAD(pleat_rank(y));
    EXPECT_DEAD(pleat_shape(y)[0]);
    EXPECT_DEAD(pleat_size(y, 0));
    EXPECT_DEAD(pleat_numel(y));
    EXPECT_DEAD(pleat_is_poison(y));
    EXPECT_DEAD(pleat_is_contiguous(y));
    EXPECT_DEAD(pleat_f32(y));
    EXPECT_DEAD(pleat_f64(y));
    EXPECT_DEAD(pleat_const_f32(y));
    EXPECT_DEAD(pleat_const_f64(y));
    EXPECT_DEAD(pleat_item(y));
    EXPECT_DEAD(pleat_at(y, (size_t[]){0}));
    EXPECT_DEAD((pleat_read_f64(y, out), 0));
    cr_expect(isnan(out[0]));
    EXPECT_DEAD(pleat_shape_text(y, text, sizeof text));
    EXPECT_DEAD(pleat_call_attributes(pleat_call_of(y), attr));
    EXPECT_DEAD(pleat_zeros_like(y));
    EXPECT_DEAD(pleat_full_like(y, 1));
    EXPECT_DEAD(pleat_in_scope(pleat_begin(ctx), y));
    EXPECT_DEAD(pleat_keep(y));
    EXPECT_DEAD(pleat_hold(y));
    EXPECT_DEAD((pleat_drop(y), 0));
    EXPECT_DEAD(pleat_assign(x, y));
    EXPECT_DEAD(pleat_assign(y, x));
    EXPECT_DEAD(pleat_grads(y, NULL, 1, &x, &g, 0));
    EXPECT_DEAD(pleat_grads(x, y, 1, &x, &g, 0));
    EXPECT_DEAD(pleat_grads(pleat_sum(x), NULL, 1, &y, &g, 0));
}

Test(dead, what_a_gradient_needs_lives_on) {
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(2, 3)), *g;
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *y = pleat_keep(pleat_sum(pleat_square(pleat_exp(x))));
    pleat_end(s);
    EXPECT_OK(pleat_grads(y, NULL, 1, &x, &g, 0));
    EXPECT_NEAR(g, pleat_scale(pleat_square(pleat_exp(x)), 2), 1e-14);
}

/* A pointer that is used too late reads NaN, unless a sanitizer forbids to look. */
#if defined(__SANITIZE_ADDRESS__)
#    define FENCED 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define FENCED 1
#    endif
#endif
#ifdef FENCED
int __asan_address_is_poisoned(const volatile void *at);

Test(dead, elements_are_fenced_off) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1000), 3);
    const float *p = pleat_const_f32(x);
    cr_expect(!__asan_address_is_poisoned(p) && !__asan_address_is_poisoned(p + 999));
    pleat_drop(x);
    cr_expect(__asan_address_is_poisoned(p) && __asan_address_is_poisoned(p + 999));
    pleat_trim(ctx);
    pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1000));
}
#else
Test(dead, elements_become_nan) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1000), 3);
    const float *p = pleat_const_f32(x);
    pleat_tensor *view = pleat_reshape(x, PLEAT_SHAPE(10, 100));
    pleat_drop(x);
    cr_expect_eq(p[999], 3, "a view needs them");
    pleat_drop(view);
    cr_expect(isnan(p[0]) && isnan(p[999]));
    cr_expect_neq(pleat_const_f32(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1000))), p, "recycled at once");
}
#endif

Test(dead, are_forgotten_in_the_end_and_cost_no_more) {
    size_t before = pleat_memory(ctx).in_use;
    for (int i = 0; i < 300; i++) pleat_drop(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1 << 18)));
    pleat_memory_info m = pleat_memory(ctx);
    cr_expect_eq(m.in_use, before);
    cr_expect_leq(m.reserved, before + ((size_t)84 << 20), "the grave and a quarter, not %zu", m.reserved);
    pleat_trim(ctx);
    cr_expect_leq(pleat_memory(ctx).reserved, before + (1 << 20));
    pleat_tensor *first = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1));
    pleat_drop(first);
    for (int i = 0; i < 100000; i++) pleat_drop(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1)));
    EXPECT_REFUSED(pleat_exp(first), PLEAT_ERR_ARGUMENT, "exp", "dead");
}

Test(dead, the_environment_asks_for_it) {
    setenv("PLEAT_DEBUG", "1", 1);
    pleat_ctx *on = pleat_ctx_new();
    setenv("PLEAT_DEBUG", "0", 1);
    pleat_ctx *off = pleat_ctx_new();
    setenv("PLEAT_DEBUG", "yes", 1);
    pleat_ctx *odd = pleat_ctx_new();
    unsetenv("PLEAT_DEBUG");
    pleat_tensor *t = pleat_zeros(on, PLEAT_F32, PLEAT_SHAPE(2));
    pleat_drop(t);
    pleat_rank(t);
    cr_expect(strstr(pleat_error(on)->text, "dead tensor: it was made by zeros [2]"), "%s",
              pleat_error(on)->text);
    cr_expect(pleat_error(on)->code && !pleat_error(off)->code);
    cr_expect(strstr(pleat_error(odd)->text, "PLEAT_DEBUG is yes"), "%s", pleat_error(odd)->text);
    pleat_ctx_free(on), pleat_ctx_free(off), pleat_ctx_free(odd);
}

/* Edges of ops: all eight axes, copies between types along strides, and what the checkers report. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensors.h"

TestSuite(edges, .init = tensors_begin, .fini = tensors_end);

/* Parts of unequal sizes, whose strides differ, at the full rank. */
Test(edges, concat_of_eight_axes) {
    pleat_tensor *a = whole(PLEAT_F32, PLEAT_SHAPE(2, 1, 2, 1, 1, 2, 1, 3)),
                 *b = whole(PLEAT_F32, PLEAT_SHAPE(2, 1, 2, 1, 1, 2, 1, 2));
    pleat_tensor *all = pleat_concat(2, (pleat_tensor *[]){a, b}, 7);
    EXPECT_SAME(pleat_slice(all, (size_t[8]){0}, pleat_shape(a), NULL), a);
    EXPECT_SAME(pleat_slice(all, (size_t[8]){0, 0, 0, 0, 0, 0, 0, 3}, pleat_shape(b), NULL), b);
}

/* From every kind of view to every other, in both directions between the types. */
Test(edges, copies_between_types_follow_strides) {
    for (pleat_dtype from = PLEAT_F32; from <= PLEAT_F64; from++) {
        pleat_tensor *x = counted(from, PLEAT_SHAPE(4, 6));
        pleat_tensor *sources[] = {
            x, pleat_flip(x, PLEAT_AXES(0, 1)), gappy(x),
            pleat_broadcast_to(pleat_slice(x, (size_t[]){0, 0}, (size_t[]){4, 1}, NULL), PLEAT_SHAPE(4, 6)),
            pleat_permute(pleat_reshape(x, PLEAT_SHAPE(6, 4)), (size_t[]){1, 0})};
        for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
            pleat_tensor *dense =
                pleat_zeros(ctx, from == PLEAT_F32 ? PLEAT_F64 : PLEAT_F32, PLEAT_SHAPE(4, 6));
            pleat_tensor *turned = pleat_flip(pleat_zeros_like(dense), PLEAT_AXES(1)),
                         *big = pleat_zeros(ctx, pleat_dtype_of(dense), PLEAT_SHAPE(8, 18));
            pleat_tensor *apart = pleat_slice(big, (size_t[]){1, 2}, (size_t[]){4, 6}, (size_t[]){2, 3});
            pleat_tensor *to[] = {dense, turned, apart};
            for (size_t k = 0; k < 3; k++) {
                EXPECT_OK(pleat_assign(to[k], sources[i]));
                for (size_t at = 0; at < 24; at++) {
                    size_t index[] = {at / 6, at % 6};
                    cr_assert_eq(pleat_at(to[k], index), pleat_at(sources[i], index),
                                 "source %zu, goal %zu, element %zu", i, k, at);
                }
            }
        }
    }
}

/* BLAS does not like leading dimensions of 0, and says so on standard error: it must not be asked. */
Test(edges, products_over_nothing_are_quiet) {
    FILE *said = tmpfile();
    cr_assert(said && fflush(stderr) == 0);
    int kept = dup(STDERR_FILENO);
    cr_assert(kept >= 0 && dup2(fileno(said), STDERR_FILENO) >= 0);
    for (int k = 0; k < 4; k++) {
        pleat_tensor *a = k % 2 ? pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3))
                                : pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 0));
        pleat_tensor *b = k / 2 ? pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(4, 0))
                                : pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 4));
        EXPECT_SAME(pleat_matmul(a, b, .ta = k % 2, .tb = k / 2),
                    pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4)));
    }
    fflush(stderr);
    cr_assert(dup2(kept, STDERR_FILENO) >= 0);
    cr_assert_eq(lseek(fileno(said), 0, SEEK_END), 0, "something was written to standard error");
    close(kept);
    fclose(said);
}

/* ---- checkers --------------------------------------------------------------------------------------------- */

static pleat_tensor *tripled(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, 3000); }
static pleat_tensor *off_by_a_millionth(pleat_tensor *x, void *user) {
    return (void)user, pleat_scale(x, 3000 * (1 + 1e-6));
}
static pleat_tensor *nothing(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, 0); }
static pleat_tensor *something(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, 2); }

/* The error is relative to |A x| |y|: of a single number off by a millionth it is a millionth, whatever its size. */
Test(edges, adjointcheck_measures_against_both_norms) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1));
    pleat_report r;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cr_assert_eq(pleat_adjointcheck(tripled, off_by_a_millionth, x, x, .seed = seed, .report = &r),
                     PLEAT_ERR_CHECK);
        cr_assert_float_eq(r.error, 1e-6, 1e-9, "error %g", r.error);
    }
    /* there is no norm to measure against */
    cr_assert_eq(pleat_adjointcheck(nothing, something, x, x, .tries = 1, .report = &r), PLEAT_ERR_CHECK);
    cr_assert_float_eq(r.error, fabs(r.expected - r.found), 1e-12);
}

/* Poison at the n-th call. */
static pleat_tensor *tired(size_t n, pleat_tensor *const *xs, void *user) {
    size_t *calls = user;
    (void)n;
    return --*calls == 0 ? pleat_reshape(xs[0], PLEAT_SHAPE(99)) : pleat_square(xs[0]);
}

Test(edges, gradcheck_hands_on_the_function_s_own_error) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3));
    for (size_t n = 1; n < 8; n++) {
        size_t calls = n;
        pleat_report r;
        pleat_status status = pleat_gradcheck(tired, 1, &x, .user = &calls, .report = &r);
        cr_assert_eq(status, PLEAT_ERR_SHAPE, "call %zu: %s", n, r.text);
        cr_assert(!r.ok && strstr(r.text, "reshape"), "call %zu: %s", n, r.text);
        pleat_clear_error(ctx);
    }
}

/* ---- scopes ------------------------------------------------------------------------------------------------ */

static void *unless_told(void *user, size_t bytes) { return *(bool *)user ? NULL : malloc(bytes); }
static void give_back(void *user, void *block) { (void)user, free(block); }

Test(edges, a_scope_without_memory_says_how_many_are_open) {
    bool poor = false;
    pleat_ctx *own = pleat_ctx_new(.threads = 1, .alloc = unless_told, .free = give_back, .user = &poor);
    char expected[64];
    size_t n = 0;
    cr_assert_not_null(own);
    poor = true;
    while (n < 10000 && pleat_begin(own).ctx) n++;
    snprintf(expected, sizeof expected, "(%zu are open)", n);
    cr_assert_eq(pleat_error(own)->code, PLEAT_ERR_MEMORY);
    cr_assert(strstr(pleat_error(own)->text, expected), "\"%s\" does not say \"%s\"", pleat_error(own)->text,
              expected);
    pleat_ctx_free(own);
}

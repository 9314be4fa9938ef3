/* reshape, permute, slice, pad, flip, concat, contiguous, detach: element by element, as views, as adjoints. */
#include <string.h>

#include "tensors.h"

TestSuite(shapes, .init = tensors_begin, .fini = tensors_end);

/* Do two tensors share their elements? */
static bool shares(pleat_tensor *view, pleat_tensor *base) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *before = pleat_contiguous(pleat_shift(view, 0));
    pleat_assign(base, pleat_shift(base, 1));
    bool changed = !same(view, before);
    pleat_assign(base, pleat_shift(base, -1));
    pleat_end(s);
    return changed;
}

/* ---- reshape ----------------------------------------------------------------------------------------- */

Test(shapes, reshape_keeps_row_major_order) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = counted(type, PLEAT_SHAPE(2, 3, 4));
        EXPECT_SAME(pleat_reshape(x, PLEAT_SHAPE(24)), counted(type, PLEAT_SHAPE(24)));
        EXPECT_SAME(pleat_reshape(x, PLEAT_SHAPE(4, PLEAT_REST)), counted(type, PLEAT_SHAPE(4, 6)));
        EXPECT_SAME(pleat_reshape(x, PLEAT_SHAPE(PLEAT_REST)), counted(type, PLEAT_SHAPE(24)));
        EXPECT_SAME(pleat_reshape(x, PLEAT_SHAPE(24, PLEAT_REST, 1)), counted(type, PLEAT_SHAPE(24, 1, 1)));
        EXPECT_SAME(pleat_reshape(x, PLEAT_SHAPE(1, 2, 1, 3, 1, 2, 2, 1)),
                    counted(type, PLEAT_SHAPE(1, 2, 1, 3, 1, 2, 2, 1)));
        EXPECT_SAME(pleat_reshape(pleat_reshape(x, PLEAT_SHAPE(6, 4)), PLEAT_SHAPE(2, 3, 4)), x);
        cr_assert(shares(pleat_reshape(x, PLEAT_SHAPE(8, 3)), x));
    }
    pleat_tensor *one = counted(PLEAT_F32, PLEAT_SHAPE(1, 1));
    EXPECT_HOLDS(pleat_reshape(one, PLEAT_SCALAR), PLEAT_SCALAR, VALUES(1));
    EXPECT_HOLDS(pleat_reshape(pleat_reshape(one, PLEAT_SCALAR), PLEAT_SHAPE(1, PLEAT_REST, 1)),
                 PLEAT_SHAPE(1, 1, 1), VALUES(1));
}

Test(shapes, reshape_of_what_is_not_contiguous) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2, 3));
    pleat_tensor *flat = pleat_reshape(pleat_permute(x, (size_t[]){1, 0}), PLEAT_SHAPE(6));
    EXPECT_HOLDS(flat, PLEAT_SHAPE(6), VALUES(1, 4, 2, 5, 3, 6));
    cr_assert_not(shares(flat, x));
    EXPECT_HOLDS(pleat_reshape(pleat_flip(x, PLEAT_AXES(0, 1)), PLEAT_SHAPE(3, 2)), PLEAT_SHAPE(3, 2),
                 VALUES(6, 5, 4, 3, 2, 1));
    EXPECT_HOLDS(pleat_reshape(pleat_broadcast_to(x, PLEAT_SHAPE(2, 2, 3)), PLEAT_SHAPE(12)), PLEAT_SHAPE(12),
                 VALUES(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6));
    pleat_tensor *rows =
        pleat_slice(x, (size_t[]){1, 0}, (size_t[]){1, 3}, NULL); /* without gaps after all */
    EXPECT_HOLDS(pleat_reshape(rows, PLEAT_SHAPE(3)), PLEAT_SHAPE(3), VALUES(4, 5, 6));
    cr_assert(shares(pleat_reshape(rows, PLEAT_SHAPE(3)), x));
}

Test(shapes, reshape_of_empty_tensors) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 0, 3));
    EXPECT_HOLDS(pleat_reshape(x, PLEAT_SHAPE(0)), PLEAT_SHAPE(0), NULL);
    EXPECT_HOLDS(pleat_reshape(x, PLEAT_SHAPE(5, 0)), PLEAT_SHAPE(5, 0), NULL);
    EXPECT_HOLDS(pleat_reshape(x, PLEAT_SHAPE(PLEAT_REST, 7)), PLEAT_SHAPE(0, 7), NULL);
    EXPECT_REFUSED(pleat_reshape(x, PLEAT_SHAPE(PLEAT_REST, 0)), PLEAT_ERR_SHAPE, "reshape", "[2,0,3]");
    EXPECT_REFUSED(pleat_reshape(x, PLEAT_SCALAR), PLEAT_ERR_SHAPE, "reshape", "0 elements", "[]");
}

Test(shapes, contiguous_copies_only_what_has_gaps) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2, 3)), *t = pleat_permute(x, (size_t[]){1, 0});
    cr_assert_eq(pleat_contiguous(x), x);
    cr_assert_not(pleat_is_contiguous(t));
    pleat_tensor *copy = pleat_contiguous(t);
    cr_assert(pleat_is_contiguous(copy));
    EXPECT_SAME(copy, t);
    cr_assert_not(shares(copy, x));
    cr_assert(
        pleat_is_contiguous(pleat_permute(pleat_reshape(x, PLEAT_SHAPE(2, 1, 3)), (size_t[]){1, 0, 2})));
    cr_assert_not(pleat_is_contiguous(pleat_broadcast_to(x, PLEAT_SHAPE(2, 2, 3))));
    cr_assert(
        pleat_is_contiguous(pleat_permute(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 0)), (size_t[]){1, 0})));
}

Test(shapes, detach_is_a_view) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2, 3)),
                 *d = pleat_detach(pleat_permute(x, (size_t[]){1, 0}));
    EXPECT_HOLDS(d, PLEAT_SHAPE(3, 2), VALUES(1, 4, 2, 5, 3, 6));
    cr_assert(shares(d, x));
}

/* ---- permute, slice, flip: y[index] = x[where the map says] --------------------------------------------- */

Test(shapes, permute_every_order) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = counted(type, PLEAT_SHAPE(2, 3, 4, 5));
        size_t order[4];
        for (size_t n = 0; n < 256; n++) {
            unsigned seen = 0;
            for (size_t k = 0; k < 4; k++) seen |= 1u << (order[k] = n >> 2 * k & 3);
            if (seen != 15) continue;
            pleat_tensor *y = pleat_permute(x, order);
            size_t index[4] = {0}, at[4], inverse[4];
            do {
                for (size_t k = 0; k < 4; k++) at[order[k]] = index[k];
                cr_assert_eq(pleat_at(y, index), pleat_at(x, at));
            } while (next_index(4, pleat_shape(y), index));
            for (size_t k = 0; k < 4; k++) inverse[order[k]] = k;
            EXPECT_SAME(pleat_permute(y, inverse), x);
        }
        cr_assert(shares(pleat_permute(x, (size_t[]){3, 1, 0, 2}), x));
    }
    pleat_tensor *scalar = counted(PLEAT_F32, PLEAT_SCALAR);
    EXPECT_SAME(pleat_permute(scalar, NULL), scalar);
    size_t backwards[] = {7, 6, 5, 4, 3, 2, 1, 0};
    pleat_tensor *deep = counted(PLEAT_F32, PLEAT_SHAPE(1, 2, 1, 2, 3, 1, 2, 1));
    EXPECT_SAME(pleat_permute(pleat_permute(deep, backwards), backwards), deep);
}

Test(shapes, slice_with_steps) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = counted(type, PLEAT_SHAPE(3, 7, 5));
        size_t start[] = {1, 2, 0}, size[] = {2, 2, 3}, step[] = {1, 3, 2}, index[3] = {0};
        pleat_tensor *y = pleat_slice(x, start, size, step);
        do {
            size_t at[3];
            for (size_t k = 0; k < 3; k++) at[k] = start[k] + index[k] * step[k];
            cr_assert_eq(pleat_at(y, index), pleat_at(x, at));
        } while (next_index(3, size, index));
        cr_assert(shares(y, x));
        EXPECT_SAME(pleat_slice(x, (size_t[]){0, 0, 0}, pleat_shape(x), NULL), x);
    }
    pleat_tensor *line = counted(PLEAT_F64, PLEAT_SHAPE(6));
    EXPECT_HOLDS(pleat_slice(line, (size_t[]){1}, (size_t[]){2}, (size_t[]){4}), PLEAT_SHAPE(2),
                 VALUES(2, 6));
    EXPECT_HOLDS(pleat_slice(line, (size_t[]){5}, (size_t[]){1}, (size_t[]){SIZE_MAX / 2}), PLEAT_SHAPE(1),
                 VALUES(6));
    pleat_tensor *table = pleat_reshape(line, PLEAT_SHAPE(2, 3));
    EXPECT_HOLDS(pleat_slice(table, (size_t[]){1, 0}, (size_t[]){1, 3}, (size_t[]){SIZE_MAX / 2, 1}),
                 PLEAT_SHAPE(1, 3), VALUES(4, 5, 6));
    EXPECT_HOLDS(pleat_slice(line, (size_t[]){6}, (size_t[]){0}, (size_t[]){9}), PLEAT_SHAPE(0), NULL);
    EXPECT_HOLDS(pleat_slice(pleat_flip(line, 1), (size_t[]){1}, (size_t[]){3}, (size_t[]){2}),
                 PLEAT_SHAPE(3), VALUES(5, 3, 1));
    EXPECT_HOLDS(pleat_slice(pleat_sum(line), NULL, NULL, NULL), PLEAT_SCALAR, VALUES(21));
    for (size_t from = 0; from <= 6; from++)
        for (size_t by = 1; by <= 7; by++) {
            size_t rest = 0;
            for (size_t at = from; at < 6; at += by) rest++;
            EXPECT_SAME(pleat_slice(line, &from, (size_t[]){PLEAT_REST}, &by),
                        pleat_slice(line, &from, &rest, &by));
        }
}

Test(shapes, flip_every_set_of_axes) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = counted(type, PLEAT_SHAPE(2, 3, 4));
        for (unsigned axes = 0; axes < 8; axes++) {
            pleat_tensor *y = pleat_flip(x, axes);
            size_t index[3] = {0}, at[3];
            do {
                for (size_t k = 0; k < 3; k++)
                    at[k] = axes >> k & 1u ? pleat_size(x, k) - 1 - index[k] : index[k];
                cr_assert_eq(pleat_at(y, index), pleat_at(x, at));
            } while (next_index(3, pleat_shape(x), index));
            EXPECT_SAME(pleat_flip(y, axes), x);
        }
        cr_assert(shares(pleat_flip(x, PLEAT_AXES(1)), x));
    }
    EXPECT_HOLDS(pleat_flip(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2)), PLEAT_AXES(0, 1)),
                 PLEAT_SHAPE(0, 2), NULL);
}

/* ---- pad and concat ---------------------------------------------------------------------------------- */

Test(shapes, pad_writes_into_zeros) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = counted(type, PLEAT_SHAPE(2, 2));
        size_t start[] = {1, 0}, step[] = {1, 3};
        EXPECT_HOLDS(pleat_pad(x, (size_t[]){3, 4}, start, step), PLEAT_SHAPE(3, 4),
                     VALUES(0, 0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 4));
        EXPECT_HOLDS(pleat_pad(pleat_permute(x, (size_t[]){1, 0}), (size_t[]){3, 2}, start, NULL),
                     PLEAT_SHAPE(3, 2), VALUES(0, 0, 1, 3, 2, 4));
        EXPECT_SAME(pleat_pad(x, pleat_shape(x), (size_t[]){0, 0}, NULL), x);
        EXPECT_SAME(pleat_slice(pleat_pad(x, (size_t[]){5, 9}, start, step), start, pleat_shape(x), step), x);
    }
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2));
    EXPECT_HOLDS(pleat_pad(none, (size_t[]){2, 2}, (size_t[]){2, 0}, NULL), PLEAT_SHAPE(2, 2),
                 VALUES(0, 0, 0, 0));
    EXPECT_HOLDS(pleat_pad(none, (size_t[]){0, 3}, (size_t[]){0, 1}, NULL), PLEAT_SHAPE(0, 3), NULL);
    pleat_tensor *one = counted(PLEAT_F32, PLEAT_SHAPE(1));
    EXPECT_HOLDS(pleat_pad(one, (size_t[]){3}, (size_t[]){1}, (size_t[]){SIZE_MAX / 2}), PLEAT_SHAPE(3),
                 VALUES(0, 1, 0));
    EXPECT_HOLDS(pleat_pad(pleat_reshape(one, PLEAT_SHAPE(1, 1)), (size_t[]){2, 2}, (size_t[]){1, 0},
                           (size_t[]){SIZE_MAX / 2, 1}),
                 PLEAT_SHAPE(2, 2), VALUES(0, 0, 1, 0));
}

Test(shapes, concat_along_every_axis) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t axis = 0; axis < 3; axis++) {
            size_t sizes[] = {2, 3, 0, 1}, at = 0;
            pleat_tensor *parts[4];
            for (size_t i = 0; i < 4; i++) {
                size_t shape[3] = {2, 3, 2};
                shape[axis] = sizes[i];
                parts[i] = whole(type, 3, shape);
            }
            parts[1] = gappy(parts[1]);
            pleat_tensor *all = pleat_concat(4, parts, axis);
            cr_assert_eq(pleat_size(all, axis), 6);
            for (size_t i = 0; i < 4; at += sizes[i++]) {
                size_t start[3] = {0};
                start[axis] = at;
                EXPECT_SAME(pleat_slice(all, start, pleat_shape(parts[i]), NULL), parts[i]);
            }
        }
    }
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2)), *same_twice[] = {x, x};
    EXPECT_HOLDS(pleat_concat(2, same_twice, 0), PLEAT_SHAPE(4), VALUES(1, 2, 1, 2));
    EXPECT_SAME(pleat_concat(1, &x, 0), x);
}

/* ---- assign and read ---------------------------------------------------------------------------------- */

Test(shapes, assign_through_views_and_between_types) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3));
    pleat_tensor *column = pleat_slice(x, (size_t[]){0, 1}, (size_t[]){2, 1}, NULL);
    EXPECT_OK(pleat_assign(column, pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 1), VALUES(0.1, 2))));
    EXPECT_HOLDS(x, PLEAT_SHAPE(2, 3), VALUES(0, (double)0.1f, 0, 0, 2, 0));
    pleat_tensor *y = counted(PLEAT_F64, PLEAT_SHAPE(4));
    EXPECT_OK(pleat_assign(y, pleat_flip(y, 1))); /* the two overlap */
    EXPECT_HOLDS(y, PLEAT_SHAPE(4), VALUES(4, 3, 2, 1));
    EXPECT_OK(pleat_assign(pleat_flip(y, 1), counted(PLEAT_F64, PLEAT_SHAPE(4))));
    EXPECT_HOLDS(y, PLEAT_SHAPE(4), VALUES(4, 3, 2, 1));
    double out[6];
    pleat_read_f64(pleat_permute(x, (size_t[]){1, 0}), out);
    EXPECT_HOLDS(pleat_permute(x, (size_t[]){1, 0}), PLEAT_SHAPE(3, 2), out);
    cr_assert_eq(out[2], (double)0.1f);
}

/* ---- adjoints: exact on whole numbers ------------------------------------------------------------------- */

static const size_t box_start[] = {1, 0, 2}, box_size[] = {2, 3, 2}, box_step[] = {2, 1, 3},
                    box_around[] = {4, 3, 6};
static const size_t order[] = {2, 0, 1}, inverse[] = {1, 2, 0};

static pleat_tensor *slice_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_slice(x, box_start, box_size, box_step);
}
static pleat_tensor *pad_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_pad(x, box_around, box_start, box_step);
}
static pleat_tensor *flip_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_flip(x, PLEAT_AXES(0, 2));
}
static pleat_tensor *permute_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_permute(x, order);
}
static pleat_tensor *unpermute_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_permute(x, inverse);
}
static pleat_tensor *flat_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_reshape(pleat_permute(x, order), PLEAT_SHAPE(PLEAT_REST));
}
static pleat_tensor *unflat_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_permute(pleat_reshape(x, PLEAT_SHAPE(6, 4, 3)), inverse);
}
static pleat_tensor *twice_f(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_concat(2, (pleat_tensor *[]){x, pleat_flip(x, PLEAT_AXES(1))}, 1);
}
static pleat_tensor *halves_f(pleat_tensor *y, void *user) {
    (void)user;
    pleat_tensor *left = pleat_slice(y, (size_t[]){0, 0, 0}, box_around, NULL);
    pleat_tensor *right = pleat_slice(y, (size_t[]){0, 3, 0}, box_around, NULL);
    return pleat_add(left, pleat_flip(right, PLEAT_AXES(1)));
}

Test(shapes, views_and_copies_have_their_adjoints) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = whole(type, 3, box_around), *small = whole(type, 3, box_size);
        pleat_tensor *turned = pleat_permute(x, order), *flat = whole(type, PLEAT_SHAPE(72));
        pleat_tensor *wide = whole(type, PLEAT_SHAPE(4, 6, 6));
        struct {
            pleat_linear f, adjoint;
            pleat_tensor *x, *y;
        } cases[] = {{slice_f, pad_f, x, small},  {pad_f, slice_f, small, x},
                     {flip_f, flip_f, x, x},      {permute_f, unpermute_f, x, turned},
                     {flat_f, unflat_f, x, flat}, {twice_f, halves_f, x, wide}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            pleat_report r;
            pleat_adjointcheck(cases[i].f, cases[i].adjoint, cases[i].x, cases[i].y, .integers = true,
                               .report = &r);
            cr_assert(r.ok, "case %zu: %s", i, r.text);
        }
    }
}

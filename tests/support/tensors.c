/* Whole numbers and comparisons for the tests of ops/. */
#include "tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pleat_ctx *ctx;

static char text[1024];

const char *difference(void) { return text; }

void tensors_begin(void) {
    ctx = pleat_ctx_new(.threads = 2, .seed = 11);
    cr_assert(ctx);
}

void tensors_end(void) {
    /* Criterion does not count what fails in a .fini: totals.awk looks for this line */
    if (pleat_error(ctx)->code != PLEAT_OK)
        fprintf(stderr, "fixture failed: left behind: %s\n", pleat_error(ctx)->text);
    pleat_ctx_free(ctx);
}

/* ---- making ------------------------------------------------------------------------------------------ */

static void put(pleat_tensor *t, size_t i, double value) {
    if (pleat_dtype_of(t) == PLEAT_F64) {
        pleat_f64(t)[i] = value;
    } else {
        pleat_f32(t)[i] = (float)value;
    }
}

pleat_tensor *whole(pleat_dtype dtype, size_t rank, const size_t *shape) {
    pleat_tensor *t = pleat_empty(ctx, dtype, rank, shape);
    for (size_t i = 0; i < pleat_numel(t); i++) put(t, i, (double)pleat_rng_below(pleat_ctx_rng(ctx), 9) - 4);
    return t;
}

pleat_tensor *counted(pleat_dtype dtype, size_t rank, const size_t *shape) {
    pleat_tensor *t = pleat_empty(ctx, dtype, rank, shape);
    for (size_t i = 0; i < pleat_numel(t); i++) put(t, i, (double)(i + 1));
    return t;
}

pleat_tensor *as_type(pleat_tensor *t, pleat_dtype dtype) {
    pleat_tensor *other = pleat_empty(ctx, dtype, pleat_rank(t), pleat_shape(t));
    pleat_assign(other, t);
    return other;
}

pleat_tensor *gappy(pleat_tensor *t) {
    size_t rank = pleat_rank(t), big[PLEAT_MAX_RANK], start[PLEAT_MAX_RANK] = {0}, step[PLEAT_MAX_RANK];
    for (size_t k = 0; k < rank; k++) {
        step[k] = k + 2 >= rank ? 2 : 1;
        big[k] = pleat_size(t, k) * step[k];
    }
    unsigned last = 1u << (rank - 1);
    pleat_tensor *around = pleat_pad(pleat_flip(t, last), big, start, step);
    return pleat_flip(pleat_slice(around, start, pleat_shape(t), step), last);
}

pleat_tensor *largest_at(pleat_tensor *t, size_t axis) {
    size_t shape[PLEAT_MAX_RANK], rank = 0, *index = malloc((pleat_numel(t) + 1) * sizeof *index);
    for (size_t k = 0; k < pleat_rank(t); k++)
        if (k != axis) shape[rank++] = pleat_size(t, k);
    bool found = pleat_argmax(t, axis, index) == PLEAT_OK;
    pleat_tensor *y =
        found ? pleat_zeros(pleat_ctx_of(t), PLEAT_F64, rank, shape) : pleat_poison(pleat_ctx_of(t));
    for (size_t i = 0; found && i < pleat_numel(y); i++) pleat_f64(y)[i] = (double)index[i];
    free(index);
    return y;
}

bool next_index(size_t rank, const size_t *shape, size_t *index) {
    for (size_t k = rank; k-- > 0;) {
        if (++index[k] < shape[k]) return true;
        index[k] = 0;
    }
    return false;
}

double broadcast_at(const pleat_tensor *t, size_t rank, const size_t *index) {
    size_t at[PLEAT_MAX_RANK], missing = rank - pleat_rank(t);
    for (size_t k = 0; k < pleat_rank(t); k++) at[k] = pleat_size(t, k) == 1 ? 0 : index[k + missing];
    return pleat_at(t, at);
}

double rounded(pleat_dtype dtype, double x) { return dtype == PLEAT_F32 ? (double)(float)x : x; }

/* ---- comparing --------------------------------------------------------------------------------------- */

static bool shape_is(const pleat_tensor *t, size_t rank, const size_t *shape) {
    if (pleat_is_poison(t)) {
        snprintf(text, sizeof text, "poison: %s", pleat_error(ctx)->text);
        return false;
    }
    bool right = pleat_rank(t) == rank;
    for (size_t k = 0; right && k < rank; k++) right = pleat_size(t, k) == shape[k];
    if (right) return true;
    char found[200];
    size_t used =
        (size_t)snprintf(text, sizeof text, "%s instead of [", pleat_shape_text(t, found, sizeof found));
    for (size_t k = 0; k < rank; k++)
        used += (size_t)snprintf(text + used, sizeof text - used, k == 0 ? "%zu" : ",%zu", shape[k]);
    snprintf(text + used, sizeof text - used, "]");
    return false;
}

/* Notes a wrong element. */
static bool wrong_at(size_t rank, const size_t *index, double found, double expected) {
    size_t used = (size_t)snprintf(text, sizeof text, "element [");
    for (size_t k = 0; k < rank; k++)
        used += (size_t)snprintf(text + used, sizeof text - used, k == 0 ? "%zu" : ",%zu", index[k]);
    snprintf(text + used, sizeof text - used, "] is %.17g instead of %.17g", found, expected);
    return false;
}

/* The zeros of both signs are different. */
static bool same_bits(double a, double b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

bool same(const pleat_tensor *found, const pleat_tensor *expected) {
    size_t index[PLEAT_MAX_RANK] = {0};
    if (!shape_is(expected, pleat_rank(expected), pleat_shape(expected))) return false;
    if (!shape_is(found, pleat_rank(expected), pleat_shape(expected))) return false;
    if (pleat_dtype_of(found) != pleat_dtype_of(expected)) {
        snprintf(text, sizeof text, "the types differ");
        return false;
    }
    if (pleat_numel(expected) == 0) return true;
    do {
        double a = pleat_at(found, index), b = pleat_at(expected, index);
        if (!same_bits(a, b)) return wrong_at(pleat_rank(found), index, a, b);
    } while (next_index(pleat_rank(found), pleat_shape(found), index));
    return true;
}

bool near(const pleat_tensor *found, const pleat_tensor *expected, double tolerance) {
    size_t index[PLEAT_MAX_RANK] = {0};
    double scale = 1;
    if (!shape_is(found, pleat_rank(expected), pleat_shape(expected))) return false;
    if (pleat_numel(expected) == 0) return true;
    do scale = fmax(scale, fabs(pleat_at(expected, index)));
    while (next_index(pleat_rank(found), pleat_shape(found), index));
    do {
        double a = pleat_at(found, index), b = pleat_at(expected, index);
        if (!(fabs(a - b) <= tolerance * scale)) return wrong_at(pleat_rank(found), index, a, b);
    } while (next_index(pleat_rank(found), pleat_shape(found), index));
    return true;
}

bool holds(const pleat_tensor *found, size_t rank, const size_t *shape, const double *values) {
    size_t index[PLEAT_MAX_RANK] = {0};
    if (!shape_is(found, rank, shape)) return false;
    if (pleat_numel(found) == 0) return true;
    do {
        double a = pleat_at(found, index), b = *values++;
        if (!same_bits(a, b)) return wrong_at(rank, index, a, b);
    } while (next_index(rank, shape, index));
    return true;
}

/* ---- errors ------------------------------------------------------------------------------------------ */

/* Does the text name the op, at its beginning or behind the module that it happened in? */
static bool names_op(const char *said, const char *op) {
    size_t n = strlen(op);
    for (const char *at = strstr(said, op); at; at = strstr(at + 1, op))
        if ((at == said || (at > said + 1 && !strncmp(at - 2, ": ", 2))) && !strncmp(at + n, ": ", 2))
            return true;
    return false;
}

static bool error_is(pleat_status code, const char *op, const char *const parts[4]) {
    const pleat_error_info e = *pleat_error(ctx);
    pleat_clear_error(ctx);
    bool right =
        e.code == code && strcmp(e.op, op) == 0 && strchr(e.text, '\n') == NULL && names_op(e.text, op);
    const char *missing = NULL;
    for (size_t i = 0; i < 4 && parts[i] != NULL; i++) {
        if (strstr(e.text, parts[i]) == NULL) missing = parts[i];
    }
    if (right && missing == NULL) return true;
    snprintf(text, sizeof text, "error of type \"%s\" by %s: \"%s\"%s%s", pleat_status_name(e.code), e.op,
             e.text, missing != NULL ? " does not say: " : "", missing != NULL ? missing : "");
    return false;
}

bool refused(const pleat_tensor *t, pleat_status code, const char *op, const char *const parts[4]) {
    if (!pleat_is_poison(t)) {
        snprintf(text, sizeof text, "%s did not refuse", op);
        return false;
    }
    return error_is(code, op, parts);
}

bool failed(pleat_status status, pleat_status code, const char *op, const char *const parts[4]) {
    if (status != code) {
        snprintf(text, sizeof text, "%s ended with status \"%s\": %s", op, pleat_status_name(status),
                 pleat_error(ctx)->text);
        return false;
    }
    return error_is(code, op, parts);
}

/* Data sets: fields in memory, and their division into two sets. */
#include "data/fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/numbers.h"

static const char add_op[] = "data_add";
static const char unknown_type[] = "its type is none of PLEAT_NN_F32 to PLEAT_NN_BYTE_LABELS";

size_t pln_element(pleat_nn_type type) {
    static const size_t bytes[] = {sizeof(float), sizeof(double), 1, 1, sizeof(size_t), 1};
    return bytes[type];
}

bool pln_is_label(pleat_nn_type type) { return type == PLEAT_NN_LABELS || type == PLEAT_NN_BYTE_LABELS; }

void pln_labels(pleat_nn_type type, size_t n, const void *from, size_t *to) {
    if (type == PLEAT_NN_LABELS)
        memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++) to[i] = ((const uint8_t *)from)[i];
}

const char *pln_field_name(const pleat_nn_data *data, size_t k) {
    static const char *const names[PLEAT_NN_FIELDS] = {"x", "target", "2", "3", "4", "5", "6", "7"};
    return data->field[k].name ? data->field[k].name : names[k];
}

/* ---- checks -------------------------------------------------------------------------------------------- */

/* Does a member say that there is a field? */
static bool is_field(const pleat_nn_field *f) {
    return f->name || f->type || f->rank || f->shape[0] || f->data || f->fill;
}

/* The rule that field k breaks, or NULL. */
static const char *broken(const pleat_nn_field *f, size_t k, size_t count) {
    size_t bytes = count;
    if (f->type > PLEAT_NN_BYTE_LABELS) return unknown_type;
    if (k == 0 && pln_is_label(f->type))
        return "it is x, the first field, which must be of numbers, not of labels";
    if (f->rank >= PLEAT_MAX_RANK) return "an item has more than 7 axes, and a batch has one more";
    for (size_t i = 0; i < f->rank; i++)
        if (!f->shape[i] || __builtin_mul_overflow(bytes, f->shape[i], &bytes))
            return "the sizes of its shape must be 1 or more, and those of all items fit into memory";
    if (__builtin_mul_overflow(bytes, sizeof(double), &bytes))
        return "it has more elements than fit into memory";
    if (!f->data && !f->fill) return "it has neither data nor fill";
    if (f->data && f->fill) return "it has both data and fill; give one";
    return NULL;
}

pleat_status pln_check_data(pleat_ctx *ctx, const char *op, const pleat_nn_data *data, size_t *fields) {
    size_t n = 0;
    for (; n < PLEAT_NN_FIELDS && is_field(&data->field[n]); n++) {
        const char *wrong = broken(&data->field[n], n, data->count);
        if (wrong)
            return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "field %zu (%s): %s", n, pln_field_name(data, n),
                              wrong);
    }
    *fields = n;
    return n ? PLEAT_OK : pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "the data set has no field");
}

/* ---- adding -------------------------------------------------------------------------------------------- */

pleat_status pln_add_field(pleat_ctx *ctx, const char *op, pleat_nn_data *data, pleat_nn_field field,
                           size_t items) {
    size_t k = 0;
    while (k < PLEAT_NN_FIELDS && is_field(&data->field[k])) k++;
    if (k == PLEAT_NN_FIELDS)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "a data set has at most %d fields", PLEAT_NN_FIELDS);
    pleat_nn_data larger = *data;
    larger.field[k] = field;
    const char *name = pln_field_name(&larger, k);
    if (k && items != data->count)
        return pleat_fail(ctx, PLEAT_ERR_SHAPE, op, "field %zu (%s) has %zu items, but %s has %zu", k, name,
                          items, pln_field_name(data, 0), data->count);
    const char *wrong = items ? broken(&field, k, items) : "it has no items";
    if (wrong) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "field %zu (%s): %s", k, name, wrong);
    larger.count = items;
    *data = larger;
    return PLEAT_OK;
}

/* v as element i of the array; false if the type does not hold it. */
static bool put(pleat_nn_type type, double v, void *array, size_t i) {
    bool whole = v >= 0 && v == floor(v);
    switch (type) {
    case PLEAT_NN_F32:
        if (isfinite(v) && !isfinite((float)v)) return false;
        ((float *)array)[i] = (float)v;
        return true;
    case PLEAT_NN_F64:
        ((double *)array)[i] = v;
        return true;
    case PLEAT_NN_LABELS:
        if (!whole || v > 0x1p53 || v > (double)SIZE_MAX) return false;
        ((size_t *)array)[i] = (size_t)v;
        return true;
    default:
        if (!whole || v > 255) return false;
        ((uint8_t *)array)[i] = (uint8_t)v;
        return true;
    }
}

/* Convert n elements of a contiguous tensor. */
static pleat_status convert(pleat_tensor *t, const char *name, pleat_nn_type type, void *to) {
    size_t n = pleat_numel(t);
    const float *f32 = pleat_dtype_of(t) == PLEAT_F32 ? pleat_const_f32(t) : NULL;
    const double *f64 = f32 ? NULL : pleat_const_f64(t);
    for (size_t i = 0; i < n; i++) {
        double v = f32 ? (double)f32[i] : f64[i];
        if (put(type, v, to, i)) continue;
        size_t each = n / pleat_size(t, 0);
        return pleat_fail(pleat_ctx_of(t), PLEAT_ERR_ARGUMENT, add_op,
                          "field %s: element %zu of item %zu is %s; %s", name, i % each, i / each,
                          pln_rounded(v, 9).s,
                          type == PLEAT_NN_F32      ? "PLEAT_NN_F32 holds numbers up to 3.4e38"
                          : type == PLEAT_NN_LABELS ? "labels are whole numbers from 0"
                                                    : "bytes are whole numbers from 0 to 255");
    }
    return PLEAT_OK;
}

pleat_status pleat_nn_data_add(pleat_ctx *ctx, pleat_nn_data *data, const char *name, pleat_nn_type type,
                               pleat_tensor *t) {
    if (!t || pleat_is_poison(t))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, add_op, "the tensor is %s",
                          t ? "poison: an op failed before" : "NULL");
    if (!pleat_rank(t) || type > PLEAT_NN_BYTE_LABELS)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, add_op, "%s",
                          pleat_rank(t) ? unknown_type : "the tensor is []; it must be [items, shape]");
    pleat_nn_field f = {.name = name, .type = type, .rank = pleat_rank(t) - 1};
    for (size_t k = 0; k < f.rank; k++) f.shape[k] = pleat_size(t, k + 1);
    size_t bytes;
    bool fits = !__builtin_mul_overflow(pleat_numel(t), pln_element(type), &bytes);
    pleat_scope scope = pleat_begin(ctx);
    pleat_tensor *rows = pleat_contiguous(t);
    f.data = f.owned = pleat_is_poison(rows) || !fits ? NULL : malloc(bytes ? bytes : 1);
    pleat_status status = PLEAT_OK;
    if (!f.owned) status = pleat_fail(ctx, PLEAT_ERR_MEMORY, add_op, "no memory for a copy of the tensor");
    if (!status) status = convert(rows, name ? name : "without a name", type, f.owned);
    pleat_end(scope);
    if (!status) status = pln_add_field(ctx, add_op, data, f, pleat_size(t, 0));
    if (status) free(f.owned);
    return status;
}

pleat_nn_data pleat_nn_data_of_images(const pleat_nn_images *images) {
    pleat_nn_data data = {.count = images->count};
    data.field[0] = (pleat_nn_field){.name = "x",
                                     .type = PLEAT_NN_PIXELS,
                                     .rank = 3,
                                     .shape = {images->C, images->H, images->W},
                                     .data = images->pixels};
    if (images->labels)
        data.field[1] =
            (pleat_nn_field){.name = "labels", .type = PLEAT_NN_BYTE_LABELS, .data = images->labels};
    return data;
}

void pleat_nn_data_free(pleat_nn_data *data) {
    if (!data) return;
    for (size_t k = 0; k < PLEAT_NN_FIELDS; k++) free(data->field[k].owned);
    free(data->index);
    *data = (pleat_nn_data){0};
}

/* ---- splitting ----------------------------------------------------------------------------------------- */

/* The fields of `all`, which keeps their memory, with room for count items. */
static pleat_nn_data part_of(const pleat_nn_data *all, size_t count) {
    pleat_nn_data part = *all;
    for (size_t k = 0; k < PLEAT_NN_FIELDS; k++) part.field[k].owned = NULL;
    part.count = 0;
    part.index = malloc(count * sizeof *part.index);
    return part;
}

/* Both parts keep the order of `all`, so that one that is not shuffled is read from front to back. */
static void deal(const pleat_nn_data *all, const size_t *order, size_t n, bool *chosen, pleat_nn_data *train,
                 pleat_nn_data *valid) {
    for (size_t i = 0; i < n; i++) chosen[order[i]] = true;
    for (size_t i = 0; i < all->count; i++) {
        pleat_nn_data *to = chosen[i] ? valid : train;
        to->index[to->count++] = all->index ? all->index[i] : i;
    }
}

pleat_status pleat_nn_split(pleat_ctx *ctx, const pleat_nn_data *all, double share, uint64_t seed,
                            pleat_nn_data *train, pleat_nn_data *valid) {
    static const char op[] = "split";
    *train = *valid = (pleat_nn_data){0};
    if (!all || all->count < 2)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "there must be two items or more; there are %zu",
                          all ? all->count : 0);
    if (!(share > 0 && share < 1))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "share must be greater than 0 and less than 1");
    double wanted = round(share * (double)all->count), most = (double)all->count - 1;
    size_t n = wanted < 1 ? 1 : wanted > most ? all->count - 1 : (size_t)wanted;
    pleat_nn_batches order;
    pleat_status status = pleat_nn_batches_new(ctx, all->count, n, &order);
    if (status) return status;
    pleat_rng r = pleat_rng_new(seed, 0);
    pleat_nn_shuffle(&order, &r);
    bool *chosen = calloc(all->count, sizeof *chosen);
    *train = part_of(all, all->count - n), *valid = part_of(all, n);
    if (chosen && train->index && valid->index)
        deal(all, order.order, n, chosen, train, valid);
    else
        status = pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory for the numbers of %zu items", all->count);
    free(chosen);
    pleat_nn_batches_free(&order);
    if (status) pleat_nn_data_free(train), pleat_nn_data_free(valid);
    return status;
}

/* Resize and Upsample: along each axis a matrix, whose rows say which elements a result is made of; or one of the ops of ops/ that
 * have the same rows, where only H and W change. */
#include <math.h>
#include <string.h>

#include "onnx/parts.h"

enum { NEAREST, LINEAR, CUBIC };
enum { HALF_PIXEL, PYTORCH, CORNERS, ASYMMETRIC, TF_HALF, CROP };
enum { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL };

/* of an axis of a result; more would not fit anywhere */
#define MOST_SIZE (PTRDIFF_MAX / 64)

typedef struct resize {
    size_t mode, place, nearest; /* of the enums */
    double cubic_a, outside;
    bool exclude;
    double roi[2 * PLEAT_MAX_RANK];
    double scale[PLEAT_MAX_RANK], length[PLEAT_MAX_RANK]; /* of the result; with scales not rounded */
    size_t rank, in[PLEAT_MAX_RANK], out[PLEAT_MAX_RANK];
} resize;

/* The place in the input of element i of the result. */
static double place_of(const resize *r, size_t k, size_t i) {
    double x = (double)i, in = (double)r->in[k], out = (double)r->out[k], start = r->roi[k],
           end = r->roi[r->rank + k];
    const double by[] = {
        [HALF_PIXEL] = (x + 0.5) / r->scale[k] - 0.5,
        [PYTORCH] = out > 1 ? (x + 0.5) / r->scale[k] - 0.5 : 0,
        [CORNERS] = out > 1 ? x * (in - 1) / (r->length[k] - 1) : 0,
        [ASYMMETRIC] = x / r->scale[k],
        [TF_HALF] = (x + 0.5) / r->scale[k],
        [CROP] = out > 1 ? start * (in - 1) + x * (end - start) * (in - 1) / (out - 1)
                         : 0.5 * (start + end) * (in - 1),
    };
    return by[r->place];
}

static bool is_outside(const resize *r, size_t k, double x) {
    return r->place == CROP && (x < 0 || x > (double)(r->in[k] - 1));
}

static size_t clamped(double x, size_t size) {
    return x <= 0 ? 0 : x >= (double)(size - 1) ? size - 1 : (size_t)x;
}

static double rounded(size_t nearest, double x) {
    const double by[] = {
        [PREFER_FLOOR] = ceil(x - 0.5), [PREFER_CEIL] = floor(x + 0.5), [FLOOR] = floor(x), [CEIL] = ceil(x)};
    return by[nearest];
}

/* Keys's kernel at distance t. */
static double cubic(double t, double a) {
    t = fabs(t);
    return t <= 1  ? ((a + 2) * t - (a + 3)) * t * t + 1
           : t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
                   : 0;
}

/* Row i of the matrix of axis k; beyond the edge lies the edge. */
static void fill_row(const resize *r, size_t k, size_t i, double *row) {
    double x = place_of(r, k, i), first = floor(x), sum = 0;
    size_t n = r->in[k];
    if (is_outside(r, k, x)) return;
    int low = r->mode == CUBIC ? -1 : 0, high = r->mode == CUBIC ? 2 : 1;
    for (int t = low; t <= high; t++) {
        double at = first + t, distance = x - at;
        double w = r->mode == CUBIC ? cubic(distance, r->cubic_a) : 1 - fabs(distance);
        if (r->exclude && (at < 0 || at > (double)(n - 1))) continue;
        row[clamped(at, n)] += w;
        sum += w;
    }
    for (size_t c = 0; r->exclude && sum != 0 && c < n; c++) row[c] /= sum;
}

static pleat_tensor *nearest_axis(const pln_onnx_run *run, const pln_onnx_node *n, const resize *r, size_t k,
                                  pleat_tensor *x) {
    size_t *at = pln_onnx_room(run, n, r->out[k], sizeof *at);
    if (!at) return NULL;
    for (size_t i = 0; i < r->out[k]; i++) at[i] = clamped(rounded(r->nearest, place_of(r, k, i)), r->in[k]);
    pleat_tensor *y = pleat_index_select(x, k, r->out[k], at);
    return y;
}

static pleat_tensor *matrix_axis(const pln_onnx_run *run, const pln_onnx_node *n, const resize *r, size_t k,
                                 pleat_tensor *x) {
    size_t cells, shape[2] = {r->out[k], r->in[k]};
    if (__builtin_mul_overflow(shape[0], shape[1], &cells)) cells = SIZE_MAX;
    double *rows = pln_onnx_room(run, n, cells, sizeof *rows);
    if (!rows) return NULL;
    for (size_t i = 0; i < shape[0]; i++) fill_row(r, k, i, rows + i * shape[1]);
    pleat_tensor *A = pleat_from_f64(run->ctx, pleat_dtype_of(x), 2, shape, rows);
    size_t last = r->rank - 1;
    x = pleat_contiguous(pln_onnx_move_axis(x, k, last));
    size_t lines[PLEAT_MAX_RANK], count = 1;
    for (size_t i = 0; i < last; i++) count *= lines[i] = pleat_size(x, i);
    lines[last] = shape[0];
    pleat_tensor *y = pleat_matmul(pleat_reshape(x, PLEAT_SHAPE(count, shape[1])), A, .tb = true);
    return pln_onnx_move_axis(pleat_reshape(y, r->rank, lines), last, k);
}

/* Elements whose place is outside of the input on any axis get a value of their own. */
static pleat_tensor *extrapolate(const pln_onnx_run *run, const pln_onnx_node *n, const resize *r,
                                 pleat_tensor *y) {
    pleat_tensor *inside = pleat_full(run->ctx, pleat_dtype_of(y), PLEAT_SCALAR, 1);
    for (size_t k = 0; k < r->rank; k++) {
        size_t shape[PLEAT_MAX_RANK];
        double *is = pln_onnx_room(run, n, r->out[k], sizeof *is);
        for (size_t i = 0; i < r->rank; i++) shape[i] = i == k ? r->out[k] : 1;
        for (size_t i = 0; is && i < r->out[k]; i++) is[i] = !is_outside(r, k, place_of(r, k, i));
        if (!is) return pleat_poison(run->ctx);
        inside = pleat_mul(inside, pleat_from_f64(run->ctx, pleat_dtype_of(y), r->rank, shape, is));
    }
    return pleat_where(inside, y, pleat_full_like(y, r->outside));
}

/* The op that does the same along H and W, or NULL. */
static pleat_tensor *by_op(const resize *r, pleat_tensor *x) {
    bool half = r->place == HALF_PIXEL || (r->place == PYTORCH && r->out[2] > 1 && r->out[3] > 1);
    bool usual = r->mode == LINEAR ? true : r->cubic_a == -0.75 && !r->exclude;
    if (r->rank != 4 || r->out[0] != r->in[0] || r->out[1] != r->in[1] || r->mode == NEAREST || !usual)
        return NULL;
    for (size_t k = 2; k < 4; k++)
        if (r->length[k] != (double)r->out[k]) return NULL;
    if (!half && r->place != CORNERS) return NULL;
    pleat_resize_args args = {.x = x, .size = {r->out[2], r->out[3]}, .align_corners = r->place == CORNERS};
    return r->mode == LINEAR ? pleat_resize_bilinear_with(args) : pleat_resize_bicubic_with(args);
}

static bool run_resize(const pln_onnx_run *run, const pln_onnx_node *n, const resize *r, pleat_tensor *x,
                       pln_onnx_value *out) {
    for (size_t k = 0; k < r->rank; k++)
        if (!r->in[k] || !r->out[k])
            return pln_onnx_refuse(run, n, "axis %zu from size %zu to %zu; both must be 1 or more", k,
                                   r->in[k], r->out[k]);
    if (r->mode == LINEAR && r->exclude)
        return pln_onnx_refuse(run, n, "attribute exclude_outside with mode linear is not supported");
    pleat_tensor *y = by_op(r, x);
    for (size_t k = 0; !y && k < r->rank; k++) {
        if (r->in[k] == r->out[k] && r->scale[k] == 1 && r->place != CROP && r->place != TF_HALF) continue;
        x = r->mode == NEAREST ? nearest_axis(run, n, r, k, x) : matrix_axis(run, n, r, k, x);
        if (!x) return false;
        if (pleat_is_poison(x)) break;
    }
    out[0].t = y ? y : r->place == CROP ? extrapolate(run, n, r, x) : x;
    return true;
}

/* ---- arguments -------------------------------------------------------------------------------------------------- */

static void begin(resize *r, const pleat_tensor *x) {
    *r = (resize){.rank = pleat_rank(x), .place = ASYMMETRIC, .nearest = FLOOR, .cubic_a = -0.75};
    memcpy(r->in, pleat_shape(x), r->rank * sizeof *r->in);
}

/* Sizes from scales: rounded down. */
static bool take_scales(const pln_onnx_run *run, const pln_onnx_node *n, resize *r, size_t count,
                        const double *scales) {
    if (count != r->rank)
        return pln_onnx_refuse(run, n, "%zu scales for a tensor of rank %zu", count, r->rank);
    for (size_t k = 0; k < count; k++) {
        double size = floor((double)r->in[k] * scales[k]);
        if (!(scales[k] > 0 && size < (double)MOST_SIZE))
            return pln_onnx_refuse(run, n, "the scale of axis %zu must be positive, and its size below %td",
                                   k, (ptrdiff_t)MOST_SIZE);
        r->scale[k] = scales[k];
        r->length[k] = scales[k] * (double)r->in[k];
        r->out[k] = (size_t)size;
    }
    return true;
}

static bool take_sizes(const pln_onnx_run *run, const pln_onnx_node *n, resize *r,
                       const pln_onnx_list *sizes) {
    if (sizes->n != r->rank)
        return pln_onnx_refuse(run, n, "%zu sizes for a tensor of rank %zu", sizes->n, r->rank);
    for (size_t k = 0; k < r->rank; k++) {
        if (sizes->v[k] < 0 || sizes->v[k] > (int64_t)MOST_SIZE)
            return pln_onnx_refuse(run, n, "size %jd on axis %zu", (intmax_t)sizes->v[k], k);
        r->length[k] = (double)(r->out[k] = (size_t)sizes->v[k]);
        r->scale[k] = r->in[k] ? (double)r->out[k] / (double)r->in[k] : 1;
    }
    return true;
}

static bool read_scales(const pln_onnx_run *run, const pln_onnx_node *n, resize *r, pln_onnx_value v) {
    double scales[PLEAT_MAX_RANK];
    if (pleat_numel(v.t) > PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "%zu scales for a tensor of rank %zu", pleat_numel(v.t), r->rank);
    pleat_read_f64(v.t, scales);
    return take_scales(run, n, r, pleat_numel(v.t), scales);
}

static bool upsample7(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                      pln_onnx_value *out) {
    static const char *const modes[] = {"nearest", "linear", NULL};
    const pln_onnx_attr *a = pln_onnx_attr_of(n, "scales");
    double scales[PLEAT_MAX_RANK] = {0};
    resize r;
    begin(&r, in[0].t);
    if (!a || a->n > PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "attribute scales is missing or too long");
    for (size_t k = 0; k < a->n; k++) scales[k] = (double)a->floats[k];
    return pln_onnx_word(run, n, "mode", modes, &r.mode) && take_scales(run, n, &r, a->n, scales) &&
           run_resize(run, n, &r, in[0].t, out);
}

static bool resize10(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    static const char *const modes[] = {"nearest", "linear", NULL};
    resize r;
    begin(&r, in[0].t);
    return pln_onnx_word(run, n, "mode", modes, &r.mode) && read_scales(run, n, &r, in[1]) &&
           run_resize(run, n, &r, in[0].t, out);
}

static bool read_roi(const pln_onnx_run *run, const pln_onnx_node *n, resize *r, pln_onnx_value v) {
    if (r->place != CROP) return true;
    if (!v.t || pleat_numel(v.t) != 2 * r->rank)
        return pln_onnx_refuse(run, n, "tf_crop_and_resize needs a roi of %zu numbers", 2 * r->rank);
    pleat_read_f64(v.t, r->roi);
    return true;
}

static bool resize11(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const places[] = {"half_pixel", "pytorch_half_pixel",   "align_corners",
                                         "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize",
                                         NULL};
    static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
    resize r;
    pln_onnx_list sizes;
    begin(&r, in[0].t);
    r.cubic_a = pln_onnx_real(n, "cubic_coeff_a", -0.75);
    r.outside = pln_onnx_real(n, "extrapolation_value", 0);
    r.exclude = pln_onnx_int(n, "exclude_outside", 0) != 0;
    if (!pln_onnx_word(run, n, "mode", modes, &r.mode) ||
        !pln_onnx_word(run, n, "coordinate_transformation_mode", places, &r.place) ||
        !pln_onnx_word(run, n, "nearest_mode", nearest, &r.nearest) ||
        !pln_onnx_whole_input(run, n, "sizes", in[3], &sizes))
        return false;
    bool scaled = in[2].t && pleat_numel(in[2].t);
    if (scaled == (sizes.given && sizes.n > 0))
        return pln_onnx_refuse(run, n, "it must have either scales or sizes");
    return (scaled ? read_scales(run, n, &r, in[2]) : take_sizes(run, n, &r, &sizes)) &&
           read_roi(run, n, &r, in[1]) && run_resize(run, n, &r, in[0].t, out);
}

#define ATTRS \
    "coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i extrapolation_value:f mode:s nearest_mode:s"

const pln_onnx_row pln_onnx_resizes[] = {
    {"Upsample", 7, 8, "f", 1, upsample7, .attrs = "mode:s scales:F"},
    {"Upsample", 9, 9, "ff", 1, resize10, .attrs = "mode:s"},
    {"Resize", 10, 10, "ff", 1, resize10, .attrs = "mode:s"},
    {"Resize", 11, 17, "fFFW", 1, resize11, .attrs = ATTRS},
    {0},
};

/* Elements at other places: by order, by parts, by blocks. */
#include <string.h>

#include "onnx/parts.h"

static bool transpose(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                      pln_onnx_value *out) {
    pln_onnx_list list;
    size_t order[PLEAT_MAX_RANK], rank = pleat_rank(in[0].t);
    unsigned axes;
    if (!pln_onnx_ints(run, n, "perm", &list)) return false;
    if (list.given && list.n != rank)
        return pln_onnx_refuse(run, n, "attribute perm has %zu axes; the input has %zu", list.n, rank);
    if (!pln_onnx_axes(run, n, &list, rank, &axes)) return false;
    for (size_t k = 0; k < rank; k++)
        order[k] =
            list.given ? (size_t)(list.v[k] < 0 ? list.v[k] + (int64_t)rank : list.v[k]) : rank - 1 - k;
    out[0].t = pleat_permute(in[0].t, order);
    return true;
}

static bool concat(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    size_t axis;
    if (!pln_onnx_axis(run, n, pln_onnx_int(n, "axis", 0), pleat_rank(in[0].t), &axis)) return false;
    pleat_tensor **parts = pln_onnx_room(run, n, n->ins, sizeof *parts);
    if (!parts) return false;
    bool same = true;
    for (size_t i = 0; i < n->ins; i++) {
        parts[i] = in[i].t;
        same = same && in[i].type == in[0].type;
    }
    out[0].t = same ? pleat_concat(n->ins, parts, axis) : NULL;
    return same || pln_onnx_refuse(run, n, "its inputs have different types");
}

static bool split(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    size_t axis, start = 0, count = n->outs, total;
    if (!pln_onnx_axis(run, n, pln_onnx_int(n, "axis", 0), pleat_rank(in[0].t), &axis)) return false;
    total = pleat_size(in[0].t, axis);
    const pln_onnx_attr *a = pln_onnx_attr_of(n, "split");
    size_t given = a ? a->n : in[1].t ? pleat_numel(in[1].t) : count;
    if (given != count || (!a && !in[1].t && total % count))
        return pln_onnx_refuse(run, n, "%zu sizes for %zu outputs of an axis of %zu", given, count, total);
    double *sizes = in[1].t ? pln_onnx_read(run, n, in[1].t) : NULL;
    if (in[1].t && !sizes) return false;
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        int64_t part = a ? a->ints[i] : sizes ? pln_onnx_whole(sizes[i]) : (int64_t)(total / count);
        good = part >= 0 && (uint64_t)part <= total - start;
        if (good) out[i] = (pln_onnx_value){pln_onnx_cut(in[0].t, axis, start, (size_t)part, 1), in[0].type};
        start += good ? (size_t)part : 0;
    }
    return (good && start == total) ||
           pln_onnx_refuse(run, n, "the sizes of its parts must add up to %zu", total);
}

/* ---- Slice ------------------------------------------------------------------------------------------------- */

/* A bound, from the end if negative, within 0..most. */
static int64_t bounded(int64_t v, int64_t size, int64_t most) {
    if (v < 0) v = v < -size ? -1 : v + size;
    return v > most ? most : v;
}

static pleat_tensor *slice_axis(pleat_tensor *x, size_t axis, int64_t start, int64_t end, int64_t step) {
    int64_t size = (int64_t)pleat_size(x, axis);
    bool back = step < 0;
    start = bounded(start, size, back ? size - 1 : size);
    end = bounded(end, size, size);
    if (!back && start < 0) start = 0;
    if (!back && end < 0) end = 0;
    if (back) { /* of the reversed axis */
        x = pleat_flip(x, 1u << axis);
        start = size - 1 - start, end = size - 1 - end;
        step = step == INT64_MIN ? INT64_MAX : -step;
    }
    int64_t span = end - start, count = span > 0 ? (span - 1) / step + 1 : 0;
    return pln_onnx_cut(x, axis, count ? (size_t)start : 0, (size_t)count, count > 1 ? (size_t)step : 1);
}

static bool slice(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    pln_onnx_list starts, ends, axes, steps;
    unsigned unused;
    size_t axis;
    if (!pln_onnx_list_of(run, n, "starts", in[1], &starts) ||
        !pln_onnx_list_of(run, n, "ends", in[2], &ends) || !pln_onnx_list_of(run, n, "axes", in[3], &axes) ||
        !pln_onnx_whole_input(run, n, "steps", in[4], &steps) ||
        !pln_onnx_axes(run, n, &axes, pleat_rank(in[0].t), &unused))
        return false;
    if (!starts.given || starts.n != ends.n || (axes.given && axes.n != starts.n) ||
        (steps.given && steps.n != starts.n))
        return pln_onnx_refuse(run, n, "%zu starts, %zu ends, %zu axes, %zu steps", starts.n, ends.n, axes.n,
                               steps.n);
    pleat_tensor *x = in[0].t;
    for (size_t i = 0; i < starts.n; i++) {
        if (!pln_onnx_axis(run, n, axes.given ? axes.v[i] : (int64_t)i, pleat_rank(x), &axis)) return false;
        if (steps.given && !steps.v[i]) return pln_onnx_refuse(run, n, "step 0 on axis %zu", axis);
        x = slice_axis(x, axis, starts.v[i], ends.v[i], steps.given ? steps.v[i] : 1);
    }
    out[0].t = x;
    return true;
}

/* ---- repetition and blocks ----------------------------------------------------------------------------------- */

/* Each axis gets one before it, along which it is repeated. */
static bool tile(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    pln_onnx_list list;
    if (!pln_onnx_whole_input(run, n, "repeats", in[1], &list)) return false;
    size_t rank = pleat_rank(in[0].t), sizes[PLEAT_MAX_RANK];
    pleat_tensor *x = in[0].t;
    if (list.n != rank) return pln_onnx_refuse(run, n, "%zu repeats for a tensor of rank %zu", list.n, rank);
    memcpy(sizes, pleat_shape(x), rank * sizeof *sizes);
    for (size_t k = 0; k < rank; k++) {
        size_t before = 1, behind = 1;
        if (list.v[k] < 0 || (uint64_t)list.v[k] > PTRDIFF_MAX ||
            __builtin_mul_overflow(sizes[k], (size_t)list.v[k], &sizes[k]))
            return pln_onnx_refuse(run, n, "%jd repeats on axis %zu", (intmax_t)list.v[k], k);
        for (size_t i = 0; i < rank; i++) *(i < k ? &before : &behind) *= pleat_size(x, i);
        if (list.v[k] == 1) continue;
        x = pleat_broadcast_to(pleat_reshape(x, PLEAT_SHAPE(before, 1, behind)),
                               PLEAT_SHAPE(before, (size_t)list.v[k], behind));
        size_t now[PLEAT_MAX_RANK];
        for (size_t i = 0; i < rank; i++) now[i] = i <= k ? sizes[i] : pleat_size(in[0].t, i);
        x = pleat_reshape(x, rank, now);
        if (pleat_is_poison(x)) break;
    }
    out[0].t = x;
    return true;
}

static bool read_block(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *x, size_t *b) {
    int64_t size = pln_onnx_int(n, "blocksize", 0);
    if (size < 1 || size > 1 << 15 || pleat_rank(x) != 4)
        return pln_onnx_refuse(
            run, n, "attribute blocksize is %jd, the input's rank %zu; 1 to 32768, and 4, are supported",
            (intmax_t)size, pleat_rank(x));
    *b = (size_t)size;
    return true;
}

static bool depth_to_space(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                           pln_onnx_value *out) {
    static const char *const modes[] = {"DCR", "CRD", NULL};
    size_t b = 1, mode;
    if (!read_block(run, n, in[0].t, &b) || !pln_onnx_word(run, n, "mode", modes, &mode)) return false;
    pleat_tensor *x = in[0].t;
    const size_t *s = pleat_shape(x);
    if (s[1] % (b * b))
        return pln_onnx_refuse(run, n, "%zu channels are no multiple of blocksize squared, %zu", s[1], b * b);
    size_t C = s[1] / (b * b);
    if (mode == 0) /* channels [b,b,C] as [C,b,b] */
        x = pleat_reshape(
            pln_onnx_move_axis(pleat_reshape(x, PLEAT_SHAPE(s[0], b * b, C, s[2] * s[3])), 1, 2),
            PLEAT_SHAPE(s[0], s[1], s[2], s[3]));
    out[0].t = pleat_pixel_shuffle(x, b);
    return true;
}

static bool space_to_depth(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                           pln_onnx_value *out) {
    size_t b = 1;
    if (!read_block(run, n, in[0].t, &b)) return false;
    pleat_tensor *y = pleat_pixel_unshuffle(in[0].t, b);
    if (pleat_is_poison(y)) return out[0].t = y, true;
    size_t s[4] = {pleat_size(y, 0), pleat_size(y, 1), pleat_size(y, 2), pleat_size(y, 3)};
    y = pln_onnx_move_axis(pleat_reshape(y, PLEAT_SHAPE(s[0], s[1] / (b * b), b * b, s[2] * s[3])), 1, 2);
    out[0].t = pleat_reshape(y, 4, s);
    return true;
}

/* The elements on one side of a diagonal, zeros on the other. */
static bool trilu(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    double k = 0;
    pleat_tensor *x = in[0].t;
    size_t rank = pleat_rank(x);
    if (rank < 2) return pln_onnx_refuse(run, n, "input of rank %zu; it must be 2 or more", rank);
    if (in[1].t && !pln_onnx_number(run, n, "k", in[1], &k)) return false;
    size_t R = pleat_size(x, rank - 2), C = pleat_size(x, rank - 1);
    pleat_dtype dtype = pleat_dtype_of(x);
    if (!pleat_numel(x)) return out[0].t = x, true;
    pleat_tensor *row =
        pleat_shift(pleat_reshape(pleat_arange(run->ctx, dtype, 0, (double)R, 1), PLEAT_SHAPE(R, 1)), k);
    pleat_tensor *column = pleat_arange(run->ctx, dtype, 0, (double)C, 1);
    pleat_tensor *mask = pln_onnx_int(n, "upper", 1) ? pleat_ge(column, row) : pleat_le(column, row);
    out[0].t = pleat_where(mask, x, pleat_zeros_like(x));
    return true;
}

static bool cumsum(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    double number;
    size_t axis;
    if (!pln_onnx_number(run, n, "axis", in[1], &number) ||
        !pln_onnx_axis(run, n, pln_onnx_whole(number), pleat_rank(in[0].t), &axis))
        return false;
    bool reverse = pln_onnx_int(n, "reverse", 0) != 0, exclusive = pln_onnx_int(n, "exclusive", 0) != 0;
    pleat_tensor *x = reverse ? pleat_flip(in[0].t, 1u << axis) : in[0].t;
    pleat_tensor *y = pleat_cumsum(exclusive ? pln_onnx_window(x, axis, -1, pleat_size(x, axis)) : x, axis);
    out[0].t = reverse ? pleat_flip(y, 1u << axis) : y;
    return true;
}

const pln_onnx_row pln_onnx_moves[] = {
    {"Transpose", 1, 17, "a", 1, transpose, .attrs = "perm:I", .passes = true},
    {"Concat", 4, 17, "a+", 1, concat, .attrs = "axis:i"},
    {"Split", 2, 12, "a", SIZE_MAX, split, .attrs = "axis:i split:I"},
    {"Split", 13, 17, "aW", SIZE_MAX, split, .attrs = "axis:i"},
    {"Slice", 1, 9, "a", 1, slice, .attrs = "axes:I ends:I starts:I", .passes = true},
    {"Slice", 10, 17, "awwWW", 1, slice, .attrs = "", .passes = true},
    {"Tile", 6, 17, "aw", 1, tile, .attrs = ""},
    {"DepthToSpace", 1, 10, "a", 1, depth_to_space, .attrs = "blocksize:i"},
    {"DepthToSpace", 11, 17, "a", 1, depth_to_space, .attrs = "blocksize:i mode:s"},
    {"SpaceToDepth", 1, 17, "a", 1, space_to_depth, .attrs = "blocksize:i"},
    {"Trilu", 14, 17, "aW", 1, trilu, .attrs = "upper:i"},
    {"CumSum", 11, 17, "nw", 1, cumsum, .attrs = "exclusive:i reverse:i", .wraps = true},
    {0},
};

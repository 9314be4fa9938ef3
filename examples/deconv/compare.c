/* deconv compare: how far two arrays are apart, where, and whether one is the other moved by a pixel. */
#include "deconv.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: deconv compare A.npy B.npy [--rtol R] [--atol A] [--ulp N] [--channels-last] [--values]\n"
    "\n"
    "Compare B with the reference A: the largest absolute error, the largest relative error and the largest distance in\n"
    "ulp (floats in between), each with its place, and a map of the errors over the last two axes.\n"
    "\n"
    "An element is right if it equals A's, or is NaN where A's is, or is nearer than one of\n"
    "  |b - a| <= atol + rtol |a|      ulp distance <= N\n"
    "All three are 0 if not given: then every element must have the very same value (0 equals -0).\n"
    "Whole numbers are read, too: of 1 and 2 bytes as float32, of 4 and 8 as float64. Their ulp say nothing.\n"
    "--values compares the numbers of arrays of any two types.\n"
    "--channels-last says that the arrays are N,H,W,C: the map and shifts are along H and W. If B is A moved by one or two\n"
    "pixels, or turned by 180 degrees, this is said. Places are in the order of the files' axes. The path - is standard input.\n"
    "\n"
    "Exit status: 0 equal; 1 different, also in type or shape; 2 wrong arguments or unreadable files.\n";

/* ---- elements ---------------------------------------------------------------------------------------- */

typedef struct comparison {
    double rtol, atol;
    size_t ulp;
    bool single;        /* float32 */
    bool values;        /* of any types */
    bool channels_last; /* the files are [N,H,W,C], and a and b [N,C,H,W] */
    size_t rank, n;
    size_t shape[PLEAT_MAX_RANK];
    double *a, *b;
} comparison;

/* The place of x among all floats in order, so that the distance is a difference; 0 and -0 have one place. */
static int64_t place(double x, bool single) {
    if (single) {
        float f = (float)x;
        int32_t bits;
        memcpy(&bits, &f, sizeof bits);
        return bits < 0 ? -(int64_t)(bits & INT32_MAX) : bits;
    }
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? -(bits & INT64_MAX) : bits;
}

static uint64_t ulps(double a, double b, bool single) {
    int64_t i = place(a, single), j = place(b, single);
    return i < j ? (uint64_t)j - (uint64_t)i : (uint64_t)i - (uint64_t)j;
}

static bool is_right(const comparison *c, double a, double b) {
    if (a == b || (isnan(a) && isnan(b))) return true;
    if (!isfinite(a) || !isfinite(b)) return false;
    return fabs(b - a) <= c->atol + c->rtol * fabs(a) || ulps(a, b, c->single) <= c->ulp;
}

/* What is worst, and where; `at` is c->n where nothing differs. */
typedef struct worst {
    double error;
    size_t at;
} worst;

static void consider(worst *w, double error, size_t i, size_t n) {
    if (w->at == n || error > w->error) *w = (worst){error, i};
}

typedef struct findings {
    size_t wrong, differing, odd_ones,
        signs; /* odd_ones: NaN or infinite in one of both, or opposite infinities */
    size_t first_odd;
    worst absolute, relative;
    uint64_t ulp;
    size_t ulp_at;
} findings;

static findings find(const comparison *c) {
    findings f = {.absolute = {0, c->n}, .relative = {0, c->n}};
    for (size_t i = 0; i < c->n; i++) {
        double a = c->a[i], b = c->b[i];
        f.wrong += !is_right(c, a, b);
        f.signs += a == 0 && b == 0 && !signbit(a) != !signbit(b);
        if (a == b || (isnan(a) && isnan(b))) continue;
        f.differing++;
        if (!isfinite(a) || !isfinite(b)) {
            if (f.odd_ones++ == 0) f.first_odd = i;
            continue;
        }
        consider(&f.absolute, fabs(b - a), i, c->n);
        consider(&f.relative, fabs(b - a) / fabs(a), i, c->n);
        uint64_t distance = ulps(a, b, c->single);
        if (distance > f.ulp) f.ulp = distance, f.ulp_at = i;
    }
    return f;
}

/* ---- what is said ------------------------------------------------------------------------------------ */

/* As the file has its axes. */
static void print_place(const comparison *c, size_t i) {
    static const size_t last[] = {0, 2, 3, 1};
    size_t index[PLEAT_MAX_RANK];
    for (size_t k = c->rank; k-- > 0;) index[k] = i % c->shape[k], i /= c->shape[k];
    printf("[");
    for (size_t k = 0; k < c->rank; k++) printf(k ? ",%zu" : "%zu", index[c->channels_last ? last[k] : k]);
    printf("]");
}

static void print_worst(const comparison *c, const char *title, const char *amount, size_t i) {
    int digits = c->single ? 9 : 17;
    printf("%-22s %-12s at ", title, amount);
    print_place(c, i);
    printf(": A %.*g, B %.*g\n", digits, c->a[i], digits, c->b[i]);
}

static void print_findings(const comparison *c, const findings *f) {
    char amount[40];
    printf("%zu of %zu elements differ, %zu beyond the tolerance (rtol %g, atol %g, ulp %zu)\n", f->differing,
           c->n, f->wrong, c->rtol, c->atol, c->ulp);
    if (f->absolute.at < c->n) {
        snprintf(amount, sizeof amount, "%.4g", f->absolute.error);
        print_worst(c, "largest absolute error", amount, f->absolute.at);
        snprintf(amount, sizeof amount, "%.4g", f->relative.error);
        print_worst(c, "largest relative error", amount, f->relative.at);
        snprintf(amount, sizeof amount, "%" PRIu64 " ulp", f->ulp);
        print_worst(c, "largest distance", amount, f->ulp_at);
    }
    snprintf(amount, sizeof amount, "%zu times", f->odd_ones);
    if (f->odd_ones) print_worst(c, "NaN or infinite", amount, f->first_odd);
}

/* ---- the map ----------------------------------------------------------------------------------------- */

enum { MAP_ROWS = 32, MAP_COLUMNS = 64 };

/* The worst error of the elements that fall into each cell; negative: none, infinite: NaN or infinite. */
typedef struct error_map {
    size_t rows, columns;
    double cell[MAP_ROWS][MAP_COLUMNS];
    double largest; /* finite */
} error_map;

static size_t part(size_t i, size_t n, size_t cells) {
    return n <= cells ? i : (size_t)((double)i / (double)n * (double)cells);
}

static void fill_map(const comparison *c, error_map *m) {
    size_t H = c->shape[c->rank - 2], W = c->shape[c->rank - 1];
    m->rows = H < MAP_ROWS ? H : MAP_ROWS, m->columns = W < MAP_COLUMNS ? W : MAP_COLUMNS, m->largest = 0;
    for (size_t r = 0; r < MAP_ROWS; r++)
        for (size_t s = 0; s < MAP_COLUMNS; s++) m->cell[r][s] = -1;
    for (size_t i = 0; i < c->n; i++) {
        if (is_right(c, c->a[i], c->b[i])) continue;
        bool finite = isfinite(c->a[i]) && isfinite(c->b[i]);
        double error = finite ? fabs(c->b[i] - c->a[i]) : (double)INFINITY;
        double *cell = &m->cell[part(i / W % H, H, m->rows)][part(i % W, W, m->columns)];
        *cell = fmax(*cell, error);
        if (finite) m->largest = fmax(m->largest, error);
    }
}

static char symbol(double error, double largest) {
    if (error < 0) return '.';
    if (isinf(error)) return '!';
    return error >= largest / 2 ? '#' : error >= largest / 16 ? '+' : '-';
}

static void print_map(const comparison *c) {
    error_map m;
    fill_map(c, &m);
    printf(
        "\nerrors by position, the worst of all other axes (. within the tolerance, - below 1/16 of the largest,\n"
        "+ below 1/2, # above, ! NaN or infinite); %zu by %zu positions in %zu by %zu cells:\n",
        c->shape[c->rank - 2], c->shape[c->rank - 1], m.rows, m.columns);
    for (size_t r = 0; r < m.rows; r++) {
        printf("  ");
        for (size_t s = 0; s < m.columns; s++) putchar(symbol(m.cell[r][s], m.largest));
        putchar('\n');
    }
}

/* ---- a shift by a pixel ------------------------------------------------------------------------------ */

/* B[h,w] = A[h - down, w - right] wherever both exist, and these are not all one number, of which any shift
 * holds. */
static bool is_shifted(const comparison *c, ptrdiff_t down, ptrdiff_t right) {
    ptrdiff_t H = (ptrdiff_t)c->shape[c->rank - 2], W = (ptrdiff_t)c->shape[c->rank - 1];
    ptrdiff_t planes = (ptrdiff_t)c->n / (H * W);
    const double *first = NULL;
    bool varied = false;
    for (ptrdiff_t i = 0; i < planes; i++)
        for (ptrdiff_t h = down > 0 ? down : 0; h < H + (down < 0 ? down : 0); h++)
            for (ptrdiff_t w = right > 0 ? right : 0; w < W + (right < 0 ? right : 0); w++) {
                const double *a = c->a + (i * H + h - down) * W + w - right;
                if (!is_right(c, *a, c->b[(i * H + h) * W + w])) return false;
                first = first ? first : a;
                varied = varied || *a != *first;
            }
    return varied;
}

static void print_shift(const char *word, ptrdiff_t amount, const char *forwards, const char *back) {
    size_t pixels = (size_t)(amount < 0 ? -amount : amount);
    printf("%zu %s%s", pixels, word, pixels == 1 ? "" : "s");
    if (amount) printf(" %s", amount > 0 ? forwards : back);
}

/* The smallest shift of up to two pixels along each axis. */
static void tell_shift(const comparison *c) {
    for (ptrdiff_t distance = 1; distance <= 4; distance++)
        for (ptrdiff_t down = -2; down <= 2; down++)
            for (ptrdiff_t right = -2; right <= 2; right++) {
                if ((down < 0 ? -down : down) + (right < 0 ? -right : right) != distance) continue;
                if (!is_shifted(c, down, right)) continue;
                printf("B is A shifted by ");
                print_shift("row", down, "down", "up");
                printf(", ");
                print_shift("column", right, "right", "left");
                printf("\n");
                return;
            }
}

static void tell_rotation(const comparison *c) {
    size_t plane = c->shape[c->rank - 2] * c->shape[c->rank - 1];
    for (size_t i = 0; i < c->n; i++)
        if (!is_right(c, c->a[i / plane * plane + plane - 1 - i % plane], c->b[i])) return;
    printf("B is A rotated by 180 degrees\n");
}

/* ---- the command ------------------------------------------------------------------------------------- */

static bool read_tolerance(const char *text, double *out) {
    char *end;
    if (!text) return true;
    *out = strtod(text, &end);
    return ((*text >= '0' && *text <= '9') || *text == '.') && *end == 0 && isfinite(*out);
}

static int wrong_tolerance(const char *name, const char *text, const char *right) {
    return complain(EXIT_USAGE, "compare", "%s %.60s: it must be %s", name, text, right);
}

static int read_compare_arguments(int argc, char **argv, comparison *c, const char *paths[2],
                                  const char **channels_last, const char **values) {
    const char *rtol = NULL, *atol = NULL, *ulp = NULL;
    const text_option options[] = {{"--rtol", &rtol, false},   {"--atol", &atol, false},
                                   {"--ulp", &ulp, false},     {"--channels-last", channels_last, true},
                                   {"--values", values, true}, {"A.npy", &paths[0], false},
                                   {"B.npy", &paths[1], false}};
    int status = read_words("compare", argc, argv, options, sizeof options / sizeof *options);
    if (status) return status;
    const char *number = "a number, 0 or more, such as 1e-5";
    if (!read_tolerance(rtol, &c->rtol)) return wrong_tolerance("--rtol", rtol, number);
    if (!read_tolerance(atol, &c->atol)) return wrong_tolerance("--atol", atol, number);
    if (ulp && !read_count(ulp, &c->ulp)) return wrong_tolerance("--ulp", ulp, "a whole number, 0 or more");
    if (!paths[1])
        return complain(EXIT_USAGE, "compare", "two files must be given: deconv compare A.npy B.npy");
    if (strcmp(paths[0], "-") == 0 && strcmp(paths[1], "-") == 0)
        return complain(EXIT_USAGE, "compare", "both files are -; standard input can be one of them");
    return 0;
}

static bool same_kind(pleat_tensor *a, pleat_tensor *b, bool any_type) {
    bool same = (any_type || pleat_dtype_of(a) == pleat_dtype_of(b)) && pleat_rank(a) == pleat_rank(b);
    for (size_t k = 0; same && k < pleat_rank(a); k++) same = pleat_size(a, k) == pleat_size(b, k);
    return same;
}

static void print_kind(const char *title, pleat_tensor *t) {
    char shape[120];
    printf("%s: %s %s\n", title, pleat_dtype_of(t) == PLEAT_F32 ? "float32" : "float64",
           pleat_shape_text(t, shape, sizeof shape));
}

static int tell(const comparison *c) {
    findings f = find(c);
    if (f.differing == 0) {
        printf("equal: all %zu elements have the same value", c->n);
        printf(f.signs ? ", %zu zeros with the other sign\n" : "\n", f.signs);
        return EXIT_FINE;
    }
    print_findings(c, &f);
    if (f.wrong == 0) {
        printf("equal within the tolerance\n");
        return EXIT_FINE;
    }
    printf("different\n");
    if (c->rank < 2) return EXIT_DIFFERENT;
    tell_shift(c);
    tell_rotation(c);
    print_map(c);
    return EXIT_DIFFERENT;
}

/* Elements as doubles, which hold both types exactly. */
static int compare_tensors(comparison *c, pleat_tensor *a, pleat_tensor *b) {
    c->rank = pleat_rank(a), c->n = pleat_numel(a),
    c->single = pleat_dtype_of(a) == PLEAT_F32 && pleat_dtype_of(b) == PLEAT_F32;
    for (size_t k = 0; k < c->rank; k++) c->shape[k] = pleat_size(a, k);
    c->a = calloc(c->n + 1, sizeof(double)), c->b = calloc(c->n + 1, sizeof(double));
    int status = EXIT_IO;
    if (c->a && c->b) {
        pleat_read_f64(a, c->a), pleat_read_f64(b, c->b);
        status = tell(c);
    } else {
        complain(EXIT_IO, "compare", "no memory for %zu elements", c->n);
    }
    free(c->a), free(c->b);
    return status;
}

static int compare_files(pleat_ctx *ctx, comparison *c, const char *const *paths) {
    static const size_t order[] = {0, 3, 1, 2};
    pleat_tensor *t[2];
    char shape[120];
    for (int i = 0; i < 2; i++) {
        t[i] = pleat_nn_read_npy(ctx, paths[i]);
        if (pleat_is_poison(t[i])) return complain(EXIT_USAGE, "compare", "%s", pleat_error(ctx)->text);
        if (c->channels_last && pleat_rank(t[i]) != 4)
            return complain(EXIT_USAGE, "compare",
                            "--channels-last: %s is %s; it must have four axes, N,H,W,C", paths[i],
                            pleat_shape_text(t[i], shape, sizeof shape));
    }
    for (int i = 0; i < 2; i++) {
        print_kind(i ? "B" : "A", t[i]);
        if (c->channels_last) t[i] = pleat_permute(t[i], order);
    }
    if (same_kind(t[0], t[1], c->values)) return compare_tensors(c, t[0], t[1]);
    printf("different in type or shape\n");
    return EXIT_DIFFERENT;
}

static int compare(int argc, char **argv) {
    comparison c = {0};
    const char *paths[2] = {NULL, NULL}, *channels_last = NULL, *values = NULL;
    int status = read_compare_arguments(argc, argv, &c, paths, &channels_last, &values);
    if (status) return status;
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    if (!ctx) return complain(EXIT_IO, "compare", "no memory");
    c.channels_last = channels_last != NULL, c.values = values != NULL;
    status = compare_files(ctx, &c, paths);
    pleat_ctx_free(ctx);
    return status;
}

const command compare_command = {"compare", "how far two arrays are apart, where, and by which shift", help,
                                 compare};

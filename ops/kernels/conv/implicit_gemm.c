/* The panel engines: this file is compiled once for each instruction set, and PL_PANELS is the name of the table.
 *
 * A product of the family is C = A B, where A holds weights and B pixels: B's rows are (channel, tap), its columns the pixels of a
 * strip of the result. The strip's share of the source, padded with zeros and with each residue of the stride in a plane of its
 * own, is copied into cells; there every tap is a constant offset and neighbouring pixels are neighbours. So B is read from the
 * cells, and a transposed convolution is one dense product for each residue of the result's pixels (its phases), and nothing is
 * added twice.
 *
 * Vectors go over pixels (direct: a column for each cell between a strip's first pixel and its last) or over channels of the result,
 * which are then turned. In both, weights are packed in the order in which they are read. */
#include "kernels/conv/engine.h"
#include "kernels/conv/axis.h"
#include "kernels/parallel.h"
#include "kernels/simd/vectors.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* Vectors over channels of the result: up to WEIGHT_ROWS pixels by OUT_VECTORS. */
enum { OUT_VECTORS = REGISTERS == 32 ? 4 : 2 };

/* A tile is up to TALL rows by 2 vectors of sums, or up to WIDE rows by 4: as many as stay in registers. */
enum { TALL = REGISTERS == 32 ? 14 : 6, WIDE = REGISTERS == 32 ? 6 : 2 };

enum {
    DEPTH = LIMIT(576, 20),               /* rows of B in a block, unless a single channel has more */
    CELL_BYTES = LIMIT(288 * 1024, 4096), /* of the padded source */
    TURNING = 5,                          /* what turning a result costs, in products of a vector; */
    PUT = 100,                            /* and writing a row of it; */
    PUT_WHOLE = 3,                        /* and writing where rows lie behind one another, for each number */
    PIXELS = LIMIT(48, 12),               /* vectors over channels: pixels at a time */
    MOST_JOINT = LIMIT(48, 24),           /* rows of all phases together, where they are one product */
    FEW_COLUMNS = LIMIT(128, 8),          /* tasks are not cut smaller than that */
    MOST_COLUMNS = LIMIT(4096, 128),      /* of a strip, all phases together */
    SUM_BYTES = LIMIT(160 * 1024, 8192),  /* of the sums of a tile's rows */
    TASKS = 6,                            /* wanted at least, to share out among threads */
    STRIP = 32,                           /* what a strip costs beside its columns, in columns */
    PART = 4 * LIMIT(TALL, 3),            /* channels of the result, at least, to a task */
    FEW_STRIPS = 2, /* so many tasks pack the weights for themselves: that spares a way through memory */
    OUTPUTS = LIMIT(128, 20),            /* weight gradient: map channels in a block */
    WEIGHT_DEPTH = LIMIT(576, 20),       /* weight gradient: (channel, tap) pairs in a block */
    WEIGHT_ROWS = 6,                     /* weight gradient: rows of a tile */
    DOT_TAPS = 6,                        /* weight gradient by dot products: taps of a tile */
    MAP_BYTES = LIMIT(256 * 1024, 4096), /* weight gradient: of the map of a strip */
    THREAD_BYTES = 1023 * 1024,          /* of a thread's memory, at most */
    AHEAD = LIMIT(2 * 1024, 64),   /* elements of a tensor are asked for before they are read or written, */
    NEAR = LIMIT(256 * 1024, 256), /* unless it has no more than that */
    MANY_TERMS = LIMIT(256, 8),    /* where it pays to look for those that lie in padding */
};

/* Phases that are one product are at least two, so their channels are one part: a task has the sums of all. */
static_assert(MOST_JOINT <= 2 * PART, "a product of all phases would be cut into parts");

/* ---- plan -------------------------------------------------------------------------------------------- */

/* How the work is cut. It depends on the shape alone, so that results do not depend on the number of threads. */
typedef struct plan {
    axis down, along;
    size_t in, out; /* channels of the source, of the result in a group; for the weight gradient C/G, O/G */
    size_t channels, blocks;    /* of the source: in a block, and blocks */
    size_t depth;               /* rows of B in a block, at most */
    size_t images, rows, cols;  /* of a strip, in pixels of a phase */
    size_t sets, downs, alongs; /* strips over the batch and both axes */
    size_t outputs, parts;      /* of the result: in a task, and tasks */
    size_t cell_rows, pitch;    /* of one plane of one image */
    size_t plane, channel; /* cells of a plane with all its images, and of a channel with all its planes */
    bool
        direct; /* vectors go over pixels, columns that belong to no pixel included; or over channels of the result */
    bool joint;                      /* the phases are rows of one product */
    size_t shift[2];                 /* joint: the farthest, in rows and columns of cells */
    bool pack_once;                  /* the weights, before the tasks begin */
    size_t columns;                  /* of a phase of a strip, rounded up to whole vectors */
    size_t pieces, chunks;           /* weight gradient: strips in a partial sum, and partial sums */
    size_t b, cells, sums, a, index; /* bytes of each part of a thread's memory, in this order */
    size_t bytes,
        shared; /* of one thread; of what all share: packed weights, or all partial sums but the first */
} plan;

static size_t lanes(size_t element) { return VECTOR_BYTES / element; }

/* How many of `size` things, each of so many pixels, to take at a time: as many as make up `columns`, or a few less where then less
 * of the last vectors is left empty. */
static size_t even_strip(size_t size, size_t pixels, size_t columns, size_t lane) {
    size_t parts = divide_up(size, most(1, columns / pixels)), best = SIZE_MAX, count = 1;
    for (size_t i = 0; i < 4; i++) {
        size_t each = divide_up(size, parts + i), strips = divide_up(size, each);
        size_t cost = strips * (round_up(each * pixels, 2 * lane) + STRIP);
        if (cost < best) best = cost, count = each;
    }
    return count;
}

/* Strips of whole images, of whole rows, or of a part of a row, with at most `columns` pixels. */
static void cut_strips(plan *p, size_t N, size_t columns, size_t lane) {
    size_t I = p->down.pixels, J = p->along.pixels;
    p->images = 1, p->rows = 1, p->cols = J;
    if (J > columns)
        p->cols = even_strip(J, 1, columns, lane);
    else if (columns / J < I)
        p->rows = even_strip(I, J, columns, lane);
    else
        p->rows = I, p->images = even_strip(most(N, 1), I * J, columns, lane);
    p->sets = divide_up(N, p->images), p->downs = divide_up(I, p->rows), p->alongs = divide_up(J, p->cols);
    size_t beside = p->cols == J ? shared_padding(&p->along) : 0;
    size_t below = p->rows == I ? shared_padding(&p->down) : 0;
    p->pitch = p->cols + p->along.extra - beside;
    p->cell_rows = p->rows + p->down.extra - below;
    p->plane = (p->images * p->cell_rows + below) * p->pitch + beside;
    p->channel = p->down.split * p->along.split * p->plane;
}

/* Columns of a strip of so many images, rows and pixels, in whole vectors. Read from the cells, they go from the first pixel to the
 * last. */
static size_t columns_of(const plan *p, size_t images, size_t rows, size_t cols, size_t element) {
    size_t last = (images - 1) * p->cell_rows + rows + p->shift[0] - 1;
    return round_up(p->direct ? last * p->pitch + cols + p->shift[1] : images * rows * cols, lanes(element));
}

/* Channels of the source in a block of about `depth` rows. */
static size_t block_of(const plan *p, size_t taps, size_t depth) {
    return even_part(p->in, most(1, depth / most(taps, 1)));
}

static size_t all_phases(const plan *p) { return p->down.phases * p->along.phases; }

/* Phases along a row whose sums of one channel stand side by side. */
static size_t phases_beside(const plan *p) { return p->joint ? 1 : p->along.phases; }

/* Rows of the result that a thread makes at a time. */
static size_t rows_at_once(const plan *p, size_t element) {
    if (p->joint) return p->outputs * all_phases(p);
    size_t rows = p->direct ? TALL : OUT_VECTORS * lanes(element);
    return least(rows, p->direct ? p->outputs : round_up(p->outputs, lanes(element)));
}

/* Elements of a group's weights once they are packed: each belongs to one phase, at most. */
static size_t packed_size(const plan *p, size_t element) {
    size_t out = p->direct ? p->out : round_up(p->out, lanes(element));
    return p->in * taps_in_use(&p->down) * taps_in_use(&p->along) * out;
}

static void count_bytes(plan *p, size_t element) {
    size_t phases = phases_beside(p), lane = lanes(element), rows = rows_at_once(p, element);
    p->b = p->direct ? 0 : round_up((p->depth < MANY_TERMS ? PIXELS : p->columns) * rows * element, LINE);
    p->cells = round_up((p->channels * p->channel + 5 * lane) * element, LINE);
    p->sums = round_up(rows * phases * p->columns * element, LINE);
    p->a = p->pack_once ? 0 : round_up((most(rows, TALL) * p->depth + lane) * element, LINE);
    p->index = round_up(((phases + 1) * p->depth + 2 * p->columns) * sizeof(size_t), LINE);
    p->bytes = p->b + p->cells + p->sums + p->a + p->index;
}

/* Columns of a phase of a strip that the memory of a thread has room for. */
static size_t room_for_columns(const plan *p, size_t element) {
    size_t planes = p->down.split * p->along.split;
    size_t columns = least(MOST_COLUMNS, SUM_BYTES / (rows_at_once(p, element) * element)) / phases_beside(p);
    return least(columns, CELL_BYTES / (p->channels * planes * element));
}

/* Strips and parts of the result's channels, so that there are tasks enough: first as many channels to a part as pay for packing
 * the pixels again, then smaller strips. */
static void cut_tasks(plan *p, const pleat_conv_shape *g, size_t element) {
    size_t lane = lanes(element), unit = p->direct ? 1 : OUT_VECTORS * lane, all = most(g->N, 1) * g->G;
    p->outputs = p->out;
    size_t room = most(room_for_columns(p, element), lane);
    cut_strips(p, g->N, room, lane);
    size_t strips = p->sets * p->downs * p->alongs * g->G;
    size_t wanted = most(divide_up(p->out, divide_up(TASKS, most(strips, 1))), PART);
    p->outputs = least(p->out, round_up(even_part(p->out, wanted), unit));
    p->parts = divide_up(p->out, p->outputs);
    if (strips * p->parts >= TASKS) return;
    wanted = divide_up(all * p->down.pixels * p->along.pixels, divide_up(TASKS, p->parts));
    cut_strips(p, g->N, most(least(room, most(wanted, FEW_COLUMNS / p->along.phases)), lane), lane);
}

/* The plan with vectors over pixels, or over channels of the result. */
static plan product_plan_as(const pleat_conv_shape *g, size_t element, pleat_conv_op op, bool direct) {
    bool image = op == PLEAT_CONV_TRANSPOSE;
    plan p = {.in = g->C / g->G, .out = g->O / g->G, .direct = direct};
    if (image) p.in = g->O / g->G, p.out = g->C / g->G;
    p.down = (image ? image_axis : map_axis)(g, 0), p.along = (image ? image_axis : map_axis)(g, 1);
    size_t taps = most_reaches(&p.down) * most_reaches(&p.along), most_cells = CELL_BYTES / 4 * 5 / element;
    size_t unused[MOST_SPLIT];
    p.joint = direct && all_phases(&p) > 1 && p.out * all_phases(&p) <= MOST_JOINT &&
              shifts(&p.down, unused) && shifts(&p.along, unused);
    if (p.joint) p.shift[0] = most_shift(&p.down), p.shift[1] = most_shift(&p.along);
    p.channels = block_of(&p, taps, DEPTH), p.depth = p.channels * taps;
    cut_tasks(&p, g, element);
    p.channels = even_part(p.in, most(1, least(p.channels, most_cells / p.channel)));
    p.depth = p.channels * taps;
    p.blocks = divide_up(p.in, p.channels);
    p.columns = columns_of(&p, p.images, p.rows, p.cols, element);
    p.pack_once = !p.joint && p.sets * p.downs * p.alongs > (all_phases(&p) > 1 ? 0 : FEW_STRIPS);
    if (p.pack_once) p.shared = round_up((g->G * packed_size(&p, element) + lanes(element)) * element, LINE);
    count_bytes(&p, element);
    /* room for a channel's weights of a tile of rows while they are dealt out to their phases */
    size_t turned = round_up(rows_at_once(&p, element) * g->R * g->S * element, LINE),
           have = p.b + p.cells + p.sums;
    if (p.pack_once && turned > have) p.sums += turned - have, p.bytes += turned - have;
    return p;
}

/* What a strip costs for each of its pixels, in products of vectors: those themselves; writing a row of the result, which
 * costs about as much as PUT of them; and turning. A tile over channels reads more, most where there is one vector of them. */
static double cost_of(const plan *p, size_t lane) {
    double pixels = (double)(p->images * p->rows * p->cols), out = (double)p->out, depth = (double)p->depth;
    double put = PUT / (double)p->cols;
    if (p->direct) return depth * out * (double)p->columns / pixels + out * put;
    bool whole = p->along.phases * p->down.phases == 1 && p->cols == p->along.pixels;
    double padded = (double)round_up(p->out, lane);
    return depth * padded * (p->out <= lane ? 1.5 : 1) + out * (TURNING + (whole ? PUT_WHOLE : put));
}

static plan product_plan(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    plan direct = product_plan_as(g, element, op, true);
    if (direct.out <= WIDE) return direct;
    plan turned = product_plan_as(g, element, op, false);
    size_t lane = lanes(element);
    return cost_of(&direct, lane) <= cost_of(&turned, lane) ? direct : turned;
}

/* Dot products, where outer ones would leave vectors over the map's channels empty, or have rows too few for a tile. */
static bool dots_pay(const plan *p, size_t taps, size_t lane) {
    return 2 * p->out <= lane || p->in * taps <= 2 * DOT_TAPS;
}

static plan weight_plan(const pleat_conv_shape *g, size_t element) {
    plan p = {.in = g->C / g->G, .out = g->O / g->G, .down = map_axis(g, 0), .along = map_axis(g, 1)};
    size_t taps = g->R * g->S, lane = lanes(element);
    p.direct = dots_pay(&p, taps, lane);
    p.outputs = even_part(p.out, OUTPUTS);
    p.parts = divide_up(p.out, p.outputs);
    p.channels = block_of(&p, taps, WEIGHT_DEPTH);
    p.depth = round_up(p.outputs, lane);
    size_t columns = least(p.direct ? MOST_COLUMNS : LIMIT(512, 64),
                           MAP_BYTES / element / (p.direct ? p.outputs : p.depth));
    cut_strips(&p, g->N, most(columns, lane), p.direct ? lane : 1);
    p.channels = even_part(p.in, most(1, least(p.channels, CELL_BYTES / element / p.channel)));
    p.blocks = divide_up(p.in, p.channels);
    p.columns = p.direct ? p.images * p.cell_rows * p.pitch + lane : p.images * p.rows * p.cols;
    size_t rows = round_up(p.channels * taps, WEIGHT_ROWS);
    p.b = round_up((p.columns * (p.direct ? p.outputs : p.depth) + lane) * element, LINE);
    p.cells = round_up((p.channels * p.channel + 2 * lane) * element, LINE);
    p.sums = round_up(rows * p.depth * element, LINE);
    p.index = round_up((p.columns + 2 * rows) * sizeof(size_t), LINE);
    p.bytes = p.b + p.cells + p.sums + p.index;

    size_t weights = round_up(g->O * p.in * taps * element, LINE), strips = p.sets * p.downs * p.alongs;
    size_t chunks = divide_up(TASKS, g->G * p.parts * p.blocks);
    /* the partial sums take what is left of a thread's memory, or that of one copy of the weights */
    size_t room = p.bytes < THREAD_BYTES ? (THREAD_BYTES - p.bytes) / weights : 0;
    chunks = least(chunks, 1 + most(1, room));
    p.pieces = most(1, divide_up(strips, chunks));
    p.chunks = most(1, divide_up(strips, p.pieces));
    p.shared = (p.chunks - 1) * weights;
    return p;
}

/* False where the engine does not take the shape. */
static bool make_plan(const pleat_conv_shape *g, size_t element, pleat_conv_op op, plan *p) {
    if (!is_near(g)) return false;
    *p = op == PLEAT_CONV_WEIGHT ? weight_plan(g, element) : product_plan(g, element, op);
    return p->bytes <= THREAD_BYTES;
}

static size_t bytes_of(const plan *p, int threads) { return pl_bytes(p->bytes, p->shared, threads); }

static size_t workspace(const pleat_conv_shape *g, size_t element, pleat_conv_op op, int threads) {
    plan p;
    return make_plan(g, element, op, &p) ? bytes_of(&p, threads) : SIZE_MAX;
}

/* ---- bodies ------------------------------------------------------------------------------------------ */

/* What the tasks of one call share. */
typedef struct job {
    const pleat_conv_shape *g;
    plan plan;
    const void *a, *b; /* the operands, in the order of the public functions */
    void *c;           /* the result */
    char *memory;      /* what all share, then the scratch memory of each thread */
    bool transpose, relu;
    const void *bias;
} job;

/* A strip: images, pixels of a phase along both axes. */
typedef struct strip {
    part images, rows, cols;
} strip;

static strip strip_of(const plan *p, size_t N, size_t i) {
    size_t along = i % p->alongs, down = i / p->alongs % p->downs, set = i / p->alongs / p->downs;
    return (strip){part_of(N, p->images, set), part_of(p->down.pixels, p->rows, down),
                   part_of(p->along.pixels, p->cols, along)};
}

/* The scratch memory of a thread. */
typedef struct scratch {
    void *b, *cells, *sums, *a;
    size_t *index;
} scratch;

static scratch scratch_of(const job *j, size_t thread) {
    const plan *p = &j->plan;
    char *m = j->memory + p->shared + thread * p->bytes;
    scratch s = {.b = m, .cells = m + p->b, .sums = m + p->b + p->cells, .a = m + p->b + p->cells + p->sums};
    s.index = (size_t *)(void *)((char *)s.a + p->a);
    return s;
}

/* The taps of phase (a, b) for each channel of a block: how far their cells are off, and, where asked for, where their weights
 * are. Returns how many. */
static size_t number_taps(const plan *p, size_t channels, size_t a, size_t b, size_t *offset, size_t *weight,
                          size_t weight_step) {
    reach down[MOST_TAPS], along[MOST_TAPS];
    size_t n = 0, downs = reaches(&p->down, a, down), alongs = reaches(&p->along, b, along);
    for (size_t c = 0; c < channels; c++)
        for (size_t r = 0; r < downs; r++)
            for (size_t s = 0; s < alongs; s++, n++) {
                size_t plane = down[r].plane * p->along.split + along[s].plane;
                if (offset)
                    offset[n] = c * p->channel + plane * p->plane + down[r].cell * p->pitch + along[s].cell;
                if (weight) weight[n] = c * weight_step + down[r].tap * p->along.taps + along[s].tap;
            }
    return n;
}

/* Where a tap's weight is among those of its phase (a, b), which are so many. */
typedef struct dealt {
    size_t tap, a, b, at, taps;
} dealt;

/* The taps of all phases, one phase after the other. Returns how many. */
static size_t deal_taps(const plan *p, dealt *to) {
    reach down[MOST_TAPS], along[MOST_TAPS];
    size_t n = 0;
    for (size_t a = 0; a < p->down.phases; a++)
        for (size_t b = 0, downs = reaches(&p->down, a, down); b < p->along.phases; b++) {
            size_t alongs = reaches(&p->along, b, along), taps = downs * alongs;
            for (size_t k = 0; k < taps; k++) {
                size_t tap = down[k / alongs].tap * p->along.taps + along[k % alongs].tap;
                to[n++] = (dealt){tap, a, b, k, taps};
            }
        }
    return n;
}

/* The cell of every pixel of a strip: image by image, or position by position and of each all images. */
static void number_pixels(const plan *p, const strip *s, bool by_position, size_t *pixel) {
    size_t cols = s->cols.count, positions = s->rows.count * cols, images = s->images.count;
    size_t image_step = by_position ? 1 : positions, step = by_position ? images : 1;
    for (size_t image = 0; image < images; image++, pixel += image_step)
        for (size_t i = 0; i < s->rows.count; i++)
            for (size_t k = 0; k < cols; k++)
                pixel[(i * cols + k) * step] = (image * p->cell_rows + i) * p->pitch + k;
}

/* From the first to the last tap, along the columns of the image, that one of the tile's pixels has. */
static part rows_present(const plan *p, const strip *s, const presence *down, size_t column, size_t count) {
    size_t from = column / p->pitch, to = (column + count - 1) / p->pitch, rows = s->rows.count;
    if (from / p->cell_rows != to / p->cell_rows) return (part){0, down->taps};
    from = least(from % p->cell_rows, rows), to = least(to % p->cell_rows + 1, rows);
    return present(down, (part){from, to - from});
}

/* Terms of a sum: blocks of runs of so many; the beginnings of runs and of blocks are so far apart. */
typedef struct terms {
    size_t blocks, runs, run, run_step, block_step;
    bool add; /* outer products: to what is there */
} terms;

static terms all_terms(size_t count) { return (terms){1, 1, count, count, count, false}; }

/* For each channel, the terms of some of `downs` times `alongs` taps, in runs as long as can be. */
static terms some_terms(size_t channels, size_t downs, size_t alongs, part down, part along) {
    size_t taps = downs * alongs;
    if (along.count < alongs) return (terms){channels, down.count, along.count, alongs, taps, false};
    if (down.count < downs)
        return (terms){channels, 1, down.count * alongs, down.count * alongs, taps, false};
    return all_terms(channels * taps);
}

/* The rows of a channel's source that one of its planes holds. */
static part rows_held(const plan *p, const meeting *h) {
    size_t first = SIZE_MAX, end = 0;
    for (size_t f = 0; f < p->down.split; f++) {
        if (h[f].begin == h[f].end) continue;
        first = least(first, h[f].first);
        end = most(end, h[f].first + (h[f].end - h[f].begin - 1) * p->down.split + 1);
    }
    return end > 0 ? (part){first, end - first} : (part){0};
}

/* How lines of the cache are asked for some time before a strip reads or writes them: its share of a channel is too short a piece, and
 * too far from the next one, for a processor to see what comes. */
typedef struct ahead {
    size_t channels;     /* how many ahead; 0 where the tensor is near anyway */
    size_t first, piece; /* where a channel's share begins in an image, and its length, in elements */
    size_t images, image_step;
} ahead;

/* For the rows of a strip, where they are whole, in a tensor of so many elements. */
static ahead ahead_of(const plan *p, const strip *s, part rows, size_t width, size_t image_step,
                      size_t size) {
    ahead a = {.first = rows.first * width, .piece = rows.count * width};
    a.images = s->images.count, a.image_step = image_step;
    if (p->alongs == 1 && a.piece > 0 && size > NEAR) a.channels = divide_up(AHEAD, a.piece * a.images);
    return a;
}

#define T float
#define NAME(name) name##_f32
#include "kernels/simd/vectors.inc"

#include "kernels/conv/implicit_gemm_micro.inc"

#include "kernels/conv/implicit_gemm_pack.inc"

#include "kernels/conv/implicit_gemm_product.inc"
#include "kernels/conv/implicit_gemm_weight.inc"
#undef T
#undef NAME

#define T double
#define NAME(name) name##_f64
#include "kernels/simd/vectors.inc"

#include "kernels/conv/implicit_gemm_micro.inc"

#include "kernels/conv/implicit_gemm_pack.inc"

#include "kernels/conv/implicit_gemm_product.inc"
#include "kernels/conv/implicit_gemm_weight.inc"
#undef T
#undef NAME

/* ---- decisions --------------------------------------------------------------------------------------- */

/* Whether some pixel lacks some tap along an axis. */
static bool lacks_taps(const axis *a) {
    for (size_t phase = 0; phase < a->phases; phase++)
        if (!presence_of(a, phase, (part){0, a->pixels}, a->pixels + a->extra).all) return true;
    return false;
}

static unsigned char rim_of(const plan *p) {
    if (p->depth < MANY_TERMS || p->joint) return PL_RIM_IGNORED;
    bool rows = lacks_taps(&p->down), columns = !p->direct && lacks_taps(&p->along);
    return rows ? columns ? PL_RIM_BOTH : PL_RIM_ROWS : columns ? PL_RIM_COLUMNS : PL_RIM_NONE;
}

static unsigned char shared_of(const plan *p) {
    bool beside = p->pitch < p->cols + p->along.extra, below = p->cell_rows < p->rows + p->down.extra;
    return beside ? below ? PL_SHARED_BOTH : PL_SHARED_BESIDE : below ? PL_SHARED_BELOW : PL_SHARED_NONE;
}

static unsigned char fill_of(const plan *p, size_t lane) {
    size_t step = p->along.split;
    meeting m = meet(&p->along, 0, p->pitch, 0);
    bool whole = m.begin == 0 && m.end == p->pitch && p->down.split * p->along.source == p->pitch;
    if (step == 1 && whole && p->alongs == 1) return PL_FILL_WHOLE;
    if (p->pitch <= lane && step <= 2) return step == 2 ? PL_FILL_SHORT_EVENS : PL_FILL_SHORT;
    return step == 1 ? PL_FILL_LONG : step == 2 ? PL_FILL_LONG_EVENS : PL_FILL_LONG_STEPS;
}

static unsigned char store_of(const plan *p, size_t lane) {
    size_t width = p->along.result, phases = p->along.phases;
    bool full = p->cols == p->along.pixels, behind = full && all_phases(p) == 1;
    if (behind && (p->direct ? p->pitch : p->cols) == width) return PL_STORE_WHOLE;
    if (behind && width < lane) return PL_STORE_SHORT;
    if (full && phases == 2 && width / 2 < lane) return PL_STORE_SHORT_PAIRS;
    return phases == 1 ? PL_STORE_ROWS : phases == 2 ? PL_STORE_PAIRS : PL_STORE_APART;
}

static void decide_product(const plan *p, size_t lane, unsigned char *a) {
    size_t tiles = p->direct ? p->out <= WIDE ? WIDE : TALL : OUT_VECTORS * lane, rows = p->outputs;
    size_t run = store_of(p, lane) == PL_STORE_WHOLE ? p->rows * p->cols : p->cols;
    if (p->joint) rows = p->out * all_phases(p), tiles = rows <= WIDE ? WIDE : TALL;
    a[PL_FORM] = p->direct ? PL_OVER_PIXELS : PL_OVER_CHANNELS;
    a[PL_PHASES] = p->joint ? PL_JOINT : phases_decided(&p->down, &p->along);
    a[PL_PACKING] = p->pack_once ? PL_PACKED_ONCE : PL_PACKED_OFTEN;
    a[PL_TILES] = pl_count(divide_up(rows, tiles));
    a[PL_LAST_TILE] = p->direct     ? pl_rest(rows, divide_up(rows, divide_up(rows, tiles)))
                      : rows % lane ? PL_LESS
                                    : PL_FULL;
    a[PL_VECTORS] = p->direct ? pl_width(p->columns / lane) : pl_width(divide_up(p->outputs, lane));
    a[PL_RIM] = rim_of(p), a[PL_STORE] = store_of(p, lane);
    a[PL_LENGTH] = run >= lane ? PL_LENGTH_VECTORS : run >= 4 ? PL_LENGTH_QUADS : PL_LENGTH_FEW;
}

static void decide_weight(const plan *p, const pleat_conv_shape *g, size_t lane, unsigned char *a) {
    size_t rows = p->channels * g->R * g->S, tiles = p->direct ? DOT_TAPS : WEIGHT_ROWS;
    a[PL_FORM] = p->direct ? PL_DOTS : PL_OUTERS;
    a[PL_PHASES] = PL_NO_PHASES;
    a[PL_TILES] = pl_count(divide_up(rows, tiles)), a[PL_LAST_TILE] = rows % tiles ? PL_LESS : PL_FULL;
    a[PL_VECTORS] = p->direct ? pl_width(p->outputs) : pl_width(p->depth / lane);
    a[PL_LAST_VECTOR] = (p->direct ? p->cols : p->outputs) % lane ? PL_LESS : PL_FULL;
    a[PL_CHUNKS] = pl_count(p->chunks);
    a[PL_LAST_CHUNK] = pl_rest(p->sets * p->downs * p->alongs, p->pieces);
}

static pl_decisions decide(const pleat_conv_shape *g, size_t element, pleat_conv_op op) {
    plan p;
    pl_decisions d = {0};
    unsigned char *a = d.answer;
    if (!make_plan(g, element, op, &p)) return d;
    size_t lane = lanes(element), N = most(g->N, 1), source = op == PLEAT_CONV_TRANSPOSE ? g->O : g->C;
    a[PL_GROUPS] = pl_count(g->G);
    a[PL_TAPS] = taps_decided(&p.down, &p.along);
    a[PL_BLOCKS] = pl_count(p.blocks), a[PL_LAST_BLOCK] = pl_rest(p.in, p.channels);
    a[PL_PARTS] = pl_count(p.parts), a[PL_LAST_PART] = pl_rest(p.out, p.outputs);
    a[PL_CUT] = p.images > 1              ? PL_CUT_IMAGES
                : p.cols < p.along.pixels ? PL_CUT_ROW
                : p.rows < p.down.pixels  ? PL_CUT_ROWS
                                          : PL_CUT_IMAGE;
    a[PL_STRIPS] = pl_count(p.sets * p.downs * p.alongs);
    if (a[PL_STRIPS] > PL_ONE)
        a[PL_LAST_STRIP] =
            N % p.images || p.down.pixels % p.rows || p.along.pixels % p.cols ? PL_LESS : PL_FULL;
    a[PL_LAST_VECTOR] = p.images * p.rows * p.cols % lane ? PL_LESS : PL_FULL;
    a[PL_SHARED] = shared_of(&p), a[PL_FILL] = fill_of(&p, lane);
    a[PL_AHEAD] =
        p.alongs == 1 && N * source * p.down.source * p.along.source > NEAR ? PL_IS_AHEAD : PL_NOT_AHEAD;
    if (op == PLEAT_CONV_WEIGHT)
        decide_weight(&p, g, lane, a);
    else
        decide_product(&p, lane, a);
    return d;
}

static pl_outcome run(const pleat_conv_shape *g, size_t element, pleat_conv_op op, const void *a,
                      const void *b, void *c, const pleat_work *work) {
    job j = {.g = g,
             .a = a,
             .b = b,
             .c = c,
             .memory = work->memory,
             .transpose = op == PLEAT_CONV_TRANSPOSE,
             .relu = work->relu,
             .bias = work->bias};
    if (!make_plan(g, element, op, &j.plan)) return PL_NOT_TAKEN;
    if (bytes_of(&j.plan, pleat_pool_threads(work->pool)) > work->bytes) return PL_TOO_LITTLE_MEMORY;
    if (op == PLEAT_CONV_WEIGHT)
        (element == sizeof(float) ? weight_gradient_f32 : weight_gradient_f64)(&j, work->pool);
    else
        (element == sizeof(float) ? product_f32 : product_f64)(&j, work->pool);
    return PL_DONE;
}

const pl_engine PL_PANELS = {workspace, run, true, decide};

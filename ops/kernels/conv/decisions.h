/* What an engine decides from a shape, as small numbers that name no struct of its own: so that a test can ask which decisions a suite
 * has met, alone and together, whatever the engines look like inside. */
#ifndef PL_DECISIONS_H
#define PL_DECISIONS_H

#include <stddef.h>

/* A question that an engine is not asked, or that has no meaning for a shape, has the answer 0. */
typedef enum pl_question {
    PL_FORM,        /* which loops */
    PL_GROUPS,      /* how many: a count */
    PL_PHASES,      /* how the result's pixels fall into residues of the stride */
    PL_TAPS,        /* whether all are of use */
    PL_PACKING,     /* when weights are packed */
    PL_BLOCKS,      /* of the sum: a count; and the last one: a rest */
    PL_LAST_BLOCK,  /**/
    PL_PARTS,       /* of the result's channels: a count; a rest */
    PL_LAST_PART,   /**/
    PL_TILES,       /* of a part: a count; a rest */
    PL_LAST_TILE,   /**/
    PL_CUT,         /* what a strip of the result consists of */
    PL_STRIPS,      /* a count; a rest */
    PL_LAST_STRIP,  /**/
    PL_VECTORS,     /* of a strip, or a row: a width */
    PL_LAST_VECTOR, /* a rest */
    PL_RIM,         /* whether taps in padding are left out */
    PL_SHARED,      /* rows and images that share their padding */
    PL_FILL,        /* how the source is copied */
    PL_STORE,       /* how the result is written */
    PL_LENGTH,      /* of a row that is written, in vectors: whole ones, a quarter of one, less */
    PL_AHEAD,       /* whether memory is asked for before its use */
    PL_CHUNKS,      /* partial sums: a count; a rest */
    PL_LAST_CHUNK,  /**/
    PL_MARGIN,      /* rows next to which nothing may be read */
    PL_REACH,       /* rows of the source between those of a block of the result */
    PL_LAYOUT,      /* which tensors are blocked */
    PL_QUESTIONS
} pl_question;

enum { PL_ONE = 1, PL_TWO, PL_MORE };                                                     /* a count */
enum { PL_FULL = 1, PL_LESS };                                                            /* a rest */
enum { PL_WIDTH_1 = 1, PL_WIDTH_2, PL_WIDTH_3, PL_WIDTH_4, PL_WIDTH_ODD, PL_WIDTH_EVEN }; /* a width */
enum { PL_OF_COLUMNS = 1, PL_OF_IMAGE };                           /* PL_FORM of plain */
enum { PL_OVER_PIXELS = 1, PL_OVER_CHANNELS, PL_OUTERS, PL_DOTS }; /* of implicit GEMM */
enum { PL_UNROLLED = 1, PL_ANY_TAPS };                             /* of direct loops */
enum { PL_ONE_CHANNEL = 1, PL_SEVERAL_CHANNELS };                  /* of vectors over channels */
enum { PL_NO_PHASES = 1, PL_PHASE_LEFT, PL_JOINT, PL_PHASES_DOWN, PL_PHASES_ALONG, PL_PHASES_BOTH };
enum { PL_TAPS_ALL = 1, PL_TAPS_SOME, PL_TAPS_NONE }; /* none: of some phase */
enum { PL_PACKED_ONCE = 1, PL_PACKED_OFTEN };
enum { PL_CUT_IMAGES = 1, PL_CUT_IMAGE, PL_CUT_ROWS, PL_CUT_ROW };
enum { PL_RIM_IGNORED = 1, PL_RIM_NONE, PL_RIM_ROWS, PL_RIM_COLUMNS, PL_RIM_BOTH };
enum { PL_SHARED_NONE = 1, PL_SHARED_BESIDE, PL_SHARED_BELOW, PL_SHARED_BOTH };
enum {
    PL_FILL_WHOLE = 1,
    PL_FILL_SHORT,
    PL_FILL_SHORT_EVENS,
    PL_FILL_LONG,
    PL_FILL_LONG_EVENS,
    PL_FILL_LONG_STEPS,
    PL_FILL_COPY,
    PL_FILL_IN_PLACE
};
enum {
    PL_STORE_WHOLE = 1,
    PL_STORE_SHORT,
    PL_STORE_SHORT_PAIRS,
    PL_STORE_ROWS,
    PL_STORE_PAIRS,
    PL_STORE_APART
};
enum { PL_LENGTH_VECTORS = 1, PL_LENGTH_QUADS, PL_LENGTH_FEW };
enum { PL_NOT_AHEAD = 1, PL_IS_AHEAD };
enum { PL_MARGIN_ENDS = 1, PL_MARGIN_ROWS };
enum { PL_REACH_NEXT = 1, PL_REACH_HOPS, PL_REACH_SKIPS };
enum { PL_PLAIN = 1, PL_BLOCKED_X, PL_BLOCKED_Y, PL_BLOCKED_BOTH };

typedef struct pl_decisions {
    unsigned char answer[PL_QUESTIONS];
} pl_decisions;

static inline unsigned char pl_count(size_t n) { return (unsigned char)(n < PL_MORE ? n : PL_MORE); }

/* Of things that are cut into parts of `each`: whether the last part is full, where there is more than one. */
static inline unsigned char pl_rest(size_t size, size_t each) {
    return size <= each ? 0 : size % each == 0 ? PL_FULL : PL_LESS;
}

static inline unsigned char pl_width(size_t vectors) {
    if (vectors <= PL_WIDTH_4) return (unsigned char)vectors;
    return vectors % 2 ? PL_WIDTH_ODD : PL_WIDTH_EVEN;
}

#endif

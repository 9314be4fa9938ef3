/* A sum over micro-batches as an op: y = t[0] + t[1] + ..., along the tree. Of a loss L = L[0](y) + L[1](y) + ... the cotangent
 * of each t is the sum of those of all y: the same op.
 *
 * Ranks go from sum to sum in rounds, in which each says what it has come for. So a rank that fails, or has nothing to do, keeps
 * no other waiting. */
#include "mpi/joint.h"

#include <stdlib.h>
#include <string.h>

#include "elements.h"

static const char op[] = "share";

typedef enum purpose { SUM, DONE, FAILED, IDLE } purpose;

typedef struct round_note {
    uint64_t purpose, n, element;
} round_note;

/* ---- a round ---------------------------------------------------------------------------------------------- */

static size_t ranks_of(const pln_joint *j) { return pleat_nn_world_size(j->w); }

/* What others have come for, if it is not this: SUM, as long as anybody sums. */
static pleat_status meet_ranks(pln_joint *j, round_note own, round_note *others) {
    *others = own;
    if (ranks_of(j) == 1) return PLEAT_OK;
    round_note *all = malloc(ranks_of(j) * sizeof own);
    if (!all) return pln_lose(j->w, j->w->t.rank, "has no memory left");
    pleat_status status = pln_gather_equal(j->w, &own, all, sizeof own);
    bool failed = false, alike = true;
    for (size_t r = 0; r < ranks_of(j) && !status; r++) {
        failed |= all[r].purpose == FAILED;
        if (all[r].purpose == IDLE) continue;
        alike &= others->purpose == IDLE || !memcmp(others, &all[r], sizeof own);
        if (others->purpose == IDLE) *others = all[r];
    }
    free(all);
    if (failed || !alike) others->purpose = FAILED;
    return status;
}

static bool grow(char **p, size_t *room, size_t bytes) {
    if (bytes <= *room) return true;
    char *more = realloc(*p, bytes);
    if (!more) return false;
    *p = more;
    *room = bytes;
    return true;
}

static bool make_room(pln_joint *j) {
    size_t bytes;
    return !__builtin_mul_overflow(j->n * j->element, j->all, &bytes) && grow(&j->rows, &j->room, bytes);
}

/* The sum of all rows of all ranks. */
static pleat_status add_up(pln_joint *j) {
    size_t bytes = j->n * j->element;
    pleat_status status = PLEAT_OK;
    if (ranks_of(j) > 1) status = pln_gather_blocks(j->w, j->rows, bytes, j->all);
    if (status) return status;
    if (!grow(&j->sum, &j->sum_room, bytes))
        return pleat_fail(j->ctx, PLEAT_ERR_MEMORY, op, "no memory for what batch norms share");
    pln_fold(NULL, j->all, j->all, j->n, j->element, j->rows);
    memcpy(j->sum, j->rows, bytes);
    return PLEAT_OK;
}

/* The last micro-batch of the block has come. */
static void joint(void *user) {
    pln_joint *j = user;
    round_note others;
    j->arrived = 0;
    pleat_status status = meet_ranks(j, (round_note){SUM, j->n, j->element}, &others);
    if (!status && others.purpose != SUM) {
        j->failed = j->over = true;
        status = pleat_fail(j->ctx, PLEAT_ERR_ARGUMENT, op,
                            "another rank has failed, or its micro-batches call other batch norms");
    }
    if (!status) status = add_up(j);
    if (status) j->failed = true;
}

/* ---- the op ----------------------------------------------------------------------------------------------- */

static bool sum_shape(pleat_call *c) {
    memcpy(c->shape, pleat_shape(c->in[0]), pleat_rank(c->in[0]) * sizeof *c->shape);
    c->rank = pleat_rank(c->in[0]);
    return true;
}

static bool sum_forward(const pleat_call *c) {
    const pln_joint *j = *(pln_joint *const *)c->attrs;
    size_t bytes = pleat_numel(c->out) * (c->dtype == PLEAT_F32 ? sizeof(float) : sizeof(double));
    memcpy(pleat_write_now(c->out, op), j->sum, bytes);
    return true;
}

static pleat_tensor *sum_vjp(const pleat_call *c, size_t i, pleat_tensor *gy) {
    (void)i;
    return pln_joint_sum(*(pln_joint *const *)c->attrs, gy);
}

pleat_tensor *pln_joint_sum(pln_joint *j, pleat_tensor *t) {
    static const pleat_op sum = {
        .name = "joint_sum", .shape = sum_shape, .forward = sum_forward, .vjp = sum_vjp};
    if (pleat_is_poison(t) || j->failed) return pleat_poison(j->ctx);
    const void *from = pln_const_elements(pleat_contiguous(t));
    size_t n = pleat_numel(t), element = pleat_dtype_of(t) == PLEAT_F32 ? sizeof(float) : sizeof(double);
    bool alike = !j->arrived || (n == j->n && element == j->element);
    j->n = n, j->element = element;
    if (!from || !alike || !make_room(j)) {
        pleat_fail(j->ctx, from && alike ? PLEAT_ERR_MEMORY : PLEAT_ERR_ARGUMENT, op, "%s",
                   alike ? "no memory for what batch norms share" : "micro-batches call other batch norms");
        return pleat_poison(j->ctx);
    }
    memcpy(j->rows + (j->block.first + pleat_lockstep_index(j->ctx)) * n * element, from, n * element);
    j->arrived++;
    if (pleat_meet(j->ctx, joint, j) && !j->failed) return pleat_apply(&sum, 1, &t, &j, sizeof j);
    pleat_fail(j->ctx, PLEAT_ERR_ARGUMENT, op, "another micro-batch has ended before this batch norm");
    return pleat_poison(j->ctx);
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

pleat_status pln_joint_end(pln_joint *j, pleat_status status, bool *echo) {
    round_note others;
    *echo = status && j->over;
    bool lost = j->w && j->w->broken;
    while (!j->over && !lost) {
        purpose own = status ? FAILED : j->block.count ? DONE : IDLE;
        if (meet_ranks(j, (round_note){own, 0, 0}, &others)) return PLEAT_ERR_IO;
        j->over = others.purpose != SUM;
        if (others.purpose == FAILED && !status) {
            *echo = true;
            status = pleat_fail(j->ctx, PLEAT_ERR_ARGUMENT, op, "another rank has failed");
        }
        if (j->over) break;
        j->n = (size_t)others.n,
        j->element = (size_t)others.element; /* an idle rank takes part in the sum of the others */
        if (!make_room(j)) return pln_lose(j->w, j->w->t.rank, "has no memory left");
        if (add_up(j)) return PLEAT_ERR_IO;
    }
    return status;
}

void pln_joint_free(pln_joint *j) {
    free(j->rows);
    free(j->sum);
    *j = (pln_joint){0};
}

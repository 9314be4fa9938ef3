/* The tree of micro-batches, cut into blocks; and ranks that tell each other things. */
#include "world.h"

#include <math.h>

#include "tensors.h"

TestSuite(world, .init = tensors_begin, .fini = tensors_end, .timeout = 100);

/* ---- blocks ------------------------------------------------------------------------------------------------ */

enum { ALL = 40, PARTS = 12 };

static size_t top_of(size_t n) {
    size_t top = 0;
    while ((size_t)1 << top < n) top++;
    return top;
}

/* Node (l, k) of the numbers, as the rule says it. */
static float node(const float *x, size_t n, size_t l, size_t k) {
    if (l == 0) return x[k];
    float first = node(x, n, l - 1, 2 * k);
    bool second = (2 * k + 1) << (l - 1) < n;
    return second ? first + node(x, n, l - 1, 2 * k + 1) : first;
}

Test(world, blocks_cover_all) {
    for (size_t all = 0; all <= ALL; all++)
        for (size_t parts = 1; parts <= PARTS; parts++) {
            size_t at = 0;
            for (size_t k = 0; k < parts; k++) {
                pln_node b = pln_block(k, parts, all);
                cr_assert(b.first == at, "part %zu of %zu of %zu begins at %zu", k, parts, all, b.first);
                cr_assert(b.count == all / parts || b.count == all / parts + 1);
                at += b.count;
            }
            cr_assert_eq(at, all, "%zu parts of %zu", parts, all);
        }
}

/* A sum of x[first..first+count-1] by pending sums of its own, as one node. */
static float one_node(pln_node node, size_t all, const float *x) {
    pln_pending p = {.width = 1, .first = node.first, .all = all};
    pleat_tensor *nodes[PLN_MOST_NODES];
    for (size_t m = node.first; m < node.first + node.count; m++)
        cr_assert(pln_pending_put(&p, 0, pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1), (double)x[m])));
    cr_assert_eq(pln_pending_nodes(&p, 0, nodes), 1);
    float sum = (float)pleat_item(nodes[0]);
    pln_pending_free(&p);
    return sum;
}

/* The stack of pending sums over a block has the nodes that others expect of it; the sums are written to sums[]. */
static size_t expect_nodes(pln_node block, size_t all, const float *x, pln_node *nodes, float *sums) {
    pln_pending p = {.width = 1, .first = block.first, .all = all};
    pleat_tensor *found[PLN_MOST_NODES];
    size_t end = block.first + block.count, n = 0;
    pleat_scope scope = pleat_begin(ctx);
    for (size_t m = block.first; m < end; m++)
        cr_assert(pln_pending_put(&p, 0, pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1), (double)x[m])));
    size_t depth = pln_pending_nodes(&p, 0, found);
    for (size_t at = block.first; at < end; at += nodes[n++].count) {
        nodes[n] = pln_node_at(at, end, all);
        cr_assert(n < depth, "%zu..%zu of %zu: more nodes than %zu", block.first, end, all, depth);
        sums[n] = (float)pleat_item(found[n]);
        cr_assert(sums[n] == one_node(nodes[n], all, x), "%zu..%zu of %zu: node %zu", block.first, end, all,
                  n);
    }
    cr_assert_eq(n, depth);
    cr_assert((double)n <= 2 * log2((double)block.count) + 1, "%zu nodes of %zu", n, block.count);
    pln_pending_free(&p);
    pleat_end(scope);
    return n;
}

/* The nodes of all blocks, added as they join. */
static float add_blocks(size_t parts, size_t all, const float *x) {
    pln_node stack[4 * ALL], nodes[ALL];
    float sums[ALL], sum[4 * ALL];
    size_t depth = 0;
    for (size_t k = 0; k < parts; k++) {
        pln_node block = pln_block(k, parts, all);
        size_t n = block.count ? expect_nodes(block, all, x, nodes, sums) : 0;
        for (size_t i = 0; i < n; i++) {
            pln_node new = nodes[i];
            float v = sums[i];
            for (; depth && pln_joins(stack[depth - 1], new, all); depth--) {
                v = sum[depth - 1] + v;
                new = (pln_node){stack[depth - 1].first, stack[depth - 1].count + new.count};
            }
            stack[depth] = new;
            sum[depth++] = v;
        }
    }
    cr_assert(depth == 1 && stack[0].count == all, "%zu parts of %zu end in %zu nodes", parts, all, depth);
    return sum[0];
}

Test(world, blocks_add_to_the_same_bits) {
    float x[ALL];
    bool matters = false;
    for (size_t i = 0; i < ALL; i++)
        x[i] = ldexpf((float)pleat_rng_normal(pleat_ctx_rng(ctx)), (int)(i * 7 % 11));
    for (size_t all = 1; all <= ALL; all++) {
        float expected = node(x, all, top_of(all), 0), row = 0;
        for (size_t i = 0; i < all; i++) row += x[i];
        matters = matters || row != expected;
        for (size_t parts = 1; parts <= PARTS; parts++) {
            float found = add_blocks(parts, all, x);
            cr_assert_eq(found, expected, "%zu parts of %zu: %.9g, expected %.9g", parts, all, (double)found,
                         (double)expected);
        }
    }
    cr_assert(matters, "any order has these bits");
}

/* Any cut, not that of pln_block alone. */
Test(world, any_block_has_few_nodes) {
    float x[ALL], sums[ALL];
    pln_node nodes[ALL];
    for (size_t i = 0; i < ALL; i++) x[i] = (float)i;
    for (size_t all = 1; all <= ALL; all++)
        for (size_t first = 0; first < all; first++)
            for (size_t count = 1; first + count <= all; count += 1 + count / 8)
                expect_nodes((pln_node){first, count}, all, x, nodes, sums);
}

/* ---- what ranks tell each other ------------------------------------------------------------------------------ */

/* The byte that rank r has at i in round t. */
static unsigned char byte_of(size_t r, size_t i, size_t t) {
    return (unsigned char)(1 + r * 31 + i * 7 + t * 3);
}

static size_t bytes_of(size_t r, size_t t) { return (r * 5 + t) % 9; }

static void gather(member *m) {
    unsigned char mine[9], all[9 * PARTS];
    size_t bytes[PARTS], at = 0;
    for (size_t t = 0; t < 9; t++, at = 0) {
        for (size_t r = 0; r < m->ranks; r++) bytes[r] = bytes_of(r, t);
        for (size_t i = 0; i < bytes[m->rank]; i++) mine[i] = byte_of(m->rank, i, t);
        EXPECT_FINE(m, pln_gather(m->world, mine, all, bytes));
        for (size_t r = 0; r < m->ranks; at += bytes[r++])
            for (size_t i = 0; i < bytes[r]; i++)
                EXPECT(m, all[at + i] == byte_of(r, i, t), "byte %zu of rank %zu, round %zu", i, r, t);
        for (size_t i = 0; i < t; i++) mine[i] = byte_of(m->rank, i, t);
        EXPECT_FINE(m, pln_gather_equal(m->world, mine, all, t));
        for (size_t k = 0; k < m->ranks * t; k++)
            EXPECT(m, all[k] == byte_of(k / t, k % t, t), "byte %zu of equal ones, round %zu", k, t);
    }
}

static void gather_blocks(member *m) {
    double rows[21][3];
    for (size_t n = 0; n < 21; n++) {
        pln_node own = pln_block(m->rank, m->ranks, n);
        memset(rows, 0, sizeof rows);
        for (size_t i = own.first; i < own.first + own.count; i++)
            for (size_t k = 0; k < 3; k++) rows[i][k] = (double)(100 * n + 10 * i + k);
        EXPECT_FINE(m, pln_gather_blocks(m->world, rows, sizeof *rows, n));
        for (size_t i = 0; i < 21; i++)
            for (size_t k = 0; k < 3; k++)
                EXPECT(m, rows[i][k] == (i < n ? (double)(100 * n + 10 * i + k) : 0), "row %zu of %zu", i, n);
    }
}

static void broadcast(member *m) {
    unsigned char data[8 + 1];
    for (size_t bytes = 0; bytes <= 8; bytes++) {
        for (size_t i = 0; i < 9; i++) data[i] = byte_of(m->rank, i, bytes);
        EXPECT_FINE(m, pln_broadcast(m->world, data, bytes));
        for (size_t i = 0; i < 9; i++)
            EXPECT(m, data[i] == byte_of(i < bytes ? 0 : m->rank, i, bytes), "byte %zu of %zu", i, bytes);
    }
}

/* Those ranks fail whose bit is set. */
static void agree(member *m) {
    for (size_t bits = 0; bits < (size_t)1 << (m->ranks < 4 ? m->ranks : 4); bits++) {
        char part[60];
        size_t lowest = 0;
        pleat_status mine = PLEAT_OK;
        while (bits && !(bits >> lowest & 1)) lowest++;
        if (bits >> m->rank & 1)
            mine = pleat_fail(m->ctx, PLEAT_ERR_SHAPE, "test", "this is the error of %zu", m->rank);
        pleat_status status = pln_agree(m->world, mine);
        if (m->ranks == 1)
            snprintf(part, sizeof part, "test: this is the error of 0");
        else
            snprintf(part, sizeof part, "rank %zu: test: this is the error of %zu", lowest, lowest);
        if (bits)
            expect_error_of(m, status, PLEAT_ERR_SHAPE, part);
        else
            EXPECT_FINE(m, status);
    }
}

/* Of an error of all one rank speaks, and each of its own that follows. */
static void agree_and_speak(member *m) {
    pln_agree(m->world, m->rank == 0 ? pleat_fail(m->ctx, PLEAT_ERR_SHAPE, "test", "of all") : PLEAT_OK);
    EXPECT(m, pleat_nn_world_speaks(m->world) == (m->rank == 0), "of all");
    pleat_clear_error(m->ctx);
    EXPECT_FINE(m, pln_agree(m->world, PLEAT_OK));
    if (m->rank == 1) pleat_fail(m->ctx, PLEAT_ERR_SHAPE, "test", "its own");
    EXPECT(m, pleat_nn_world_speaks(m->world) == (m->rank < 2), "its own");
    pleat_clear_error(m->ctx);
}

static void who_is_who(member *m) {
    EXPECT(m, pleat_nn_world_rank(m->world) == m->rank, "%zu", pleat_nn_world_rank(m->world));
    EXPECT(m, pleat_nn_world_size(m->world) == m->ranks, "%zu", pleat_nn_world_size(m->world));
    EXPECT(m, pleat_nn_world_neighbours(m->world) == m->ranks, "%zu", pleat_nn_world_neighbours(m->world));
    EXPECT(m, pleat_nn_world_speaks(m->world) == (m->rank == 0), "without an error");
}

static void all_together(member *m) {
    who_is_who(m);
    gather(m);
    gather_blocks(m);
    broadcast(m);
    agree(m);
    agree_and_speak(m);
}

Test(world, tells_all_ranks) {
    for (size_t n = 1; n <= PARTS; n++)
        for (uint64_t seed = 0; seed < 4; seed++)
            free(run_ranks(&(ranks){.n = n, .seed = seed, .run = all_together, .what = "messages"}));
}

Test(world, none_is_one_rank) {
    cr_expect_eq(pleat_nn_world_rank(NULL), 0);
    cr_expect_eq(pleat_nn_world_size(NULL), 1);
    cr_expect_eq(pleat_nn_world_neighbours(NULL), 1);
    cr_expect(pleat_nn_world_speaks(NULL));
    cr_expect_eq(pln_agree(NULL, PLEAT_ERR_SHAPE), PLEAT_ERR_SHAPE);
    cr_expect_eq(pleat_nn_world_traffic(NULL).steps, 0);
    pleat_nn_world_free(NULL);
    pleat_nn_world *alone = pln_world_over((pleat_nn_world_args){.ctx = ctx}, (pln_transport){.size = 1});
    cr_expect_eq(pleat_nn_world_size(alone), 1);
    cr_expect_eq(pln_agree(alone, PLEAT_OK), PLEAT_OK);
    pleat_nn_world_free(alone);
}

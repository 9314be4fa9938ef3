/* The layers that golden vectors are made of: a table of edges, each in every word that the framework has for it, and random
 * layers, of which those are taken that the framework accepts. */
#include "cases.h"

#include <stdlib.h>
#include <string.h>

typedef struct edge {
    const char *note;
    size_t N, channels[2], in[2], kernel[2], stride[2], dilation[2], groups;
} edge;

static const edge edges[] = {
    {"doubling, odd kernel", 1, {2, 3}, {4, 4}, {3, 3}, {2, 2}, {1, 1}, 1},
    {"doubling, even kernel", 1, {2, 3}, {4, 4}, {4, 4}, {2, 2}, {1, 1}, 1},
    {"kernel smaller than the stride", 1, {2, 2}, {3, 3}, {2, 2}, {3, 3}, {1, 1}, 1},
    {"1x1 kernel with a stride", 1, {2, 2}, {3, 3}, {1, 1}, {2, 2}, {1, 1}, 1},
    {"one pixel", 1, {1, 1}, {1, 1}, {3, 3}, {2, 2}, {1, 1}, 1},
    {"one pixel, 1x1 kernel", 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1},
    {"one row", 1, {1, 2}, {1, 5}, {1, 3}, {1, 2}, {1, 1}, 1},
    {"two groups", 1, {4, 6}, {3, 3}, {3, 3}, {2, 2}, {1, 1}, 2},
    {"a group for each channel", 1, {3, 3}, {3, 3}, {3, 3}, {2, 2}, {1, 1}, 3},
    {"dilation", 1, {2, 2}, {4, 4}, {3, 3}, {1, 1}, {2, 2}, 1},
    {"dilation with a stride", 1, {2, 2}, {4, 4}, {3, 3}, {2, 2}, {2, 2}, 1},
    {"dilation larger than the stride", 1, {1, 1}, {4, 4}, {2, 2}, {2, 2}, {3, 3}, 1},
    {"kernel larger than the input", 1, {1, 1}, {2, 2}, {5, 5}, {1, 1}, {1, 1}, 1},
    {"axes that differ", 1, {2, 2}, {3, 5}, {4, 2}, {1, 3}, {1, 1}, 1},
    {"stride that divides neither size nor kernel", 1, {1, 2}, {5, 7}, {4, 5}, {3, 3}, {1, 1}, 1},
    {"a batch of three", 3, {2, 2}, {3, 3}, {3, 3}, {2, 2}, {1, 1}, 1},
};

enum { EDGES = sizeof edges / sizeof *edges, WORDS = PLEAT_PADDING_SAME_LOWER + 1, TRIES = 10000 };

/* ---- the list ------------------------------------------------------------------------------------------- */

static bool add(case_list *list, const vector_case *c) {
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        vector_case *more = realloc(list->at, room * sizeof *more);
        if (!more) return false;
        list->at = more, list->room = room;
    }
    list->at[list->count++] = *c;
    return true;
}

/* Does the framework accept it? */
static bool plan(vector_case *c) {
    pleat_layer *l = &c->layer;
    if (!pleat_layer_plan_for(l, c->in, c->kernel, &c->plan)) return false;
    if (l->framework != PLEAT_TENSORFLOW || !l->transpose || l->has_output_size) return true;
    l->has_output_size = true; /* it has no default there */
    memcpy(l->output_size, c->plan.out, sizeof l->output_size);
    return pleat_layer_plan_for(l, c->in, c->kernel, &c->plan);
}

/* Add it if the framework accepts it; false if memory is short. */
static bool offer(case_list *list, vector_case c) { return !plan(&c) || add(list, &c); }

/* ---- edges ---------------------------------------------------------------------------------------------- */

static vector_case from_edge(const edge *e, pleat_framework f, bool transpose, int word) {
    vector_case c = {.note = e->note, .N = e->N};
    c.layer = (pleat_layer){.framework = f,
                            .transpose = transpose,
                            .groups = e->groups,
                            .padding = (pleat_padding)word,
                            .channels_last = f == PLEAT_TENSORFLOW || f == PLEAT_KERAS};
    for (int i = 0; i < 2; i++) {
        c.channels[i] = e->channels[i], c.in[i] = e->in[i], c.kernel[i] = e->kernel[i];
        c.layer.stride[i] = e->stride[i], c.layer.dilation[i] = e->dilation[i];
    }
    return c;
}

static void set_pads(vector_case *c, ptrdiff_t top, ptrdiff_t left, ptrdiff_t bottom, ptrdiff_t right) {
    ptrdiff_t pads[4] = {top, left, bottom, right};
    memcpy(c->layer.pads, pads, sizeof pads);
}

/* The edge as it is, and padded. */
static bool add_paddings(case_list *list, vector_case c) {
    if (!offer(list, c)) return false;
    if (c.layer.padding != PLEAT_PADDING_EXPLICIT) return true;
    set_pads(&c, 1, 1, 1, 1);
    if (!offer(list, c)) return false;
    c.note = "asymmetric pads";
    set_pads(&c, 0, 1, 1, 2);
    if (!offer(list, c)) return false;
    set_pads(&c, 2, 0, 1, 1);
    return offer(list, c);
}

/* Every output padding, and every output size. */
static bool add_sizes(case_list *list, vector_case c) {
    vector_case probe = c;
    if (!c.layer.transpose || !plan(&probe)) return true;
    c.note = "every legal output size";
    c.layer.has_output_padding = true;
    size_t most[2];
    for (int i = 0; i < 2; i++)
        most[i] = c.layer.stride[i] > c.layer.dilation[i] ? c.layer.stride[i] : c.layer.dilation[i];
    for (size_t n = 0; n < most[0] * most[1]; n++) {
        c.layer.output_padding[0] = n / most[1], c.layer.output_padding[1] = n % most[1];
        if (!offer(list, c)) return false;
    }
    c.layer.has_output_padding = false, c.layer.output_padding[0] = c.layer.output_padding[1] = 0;
    c.layer.has_output_size = true;
    for (size_t h = probe.plan.least[0]; h <= probe.plan.most[0]; h++) {
        /* the widths in the other order, so that the axes do not hide each other's mistakes */
        size_t w =
            probe.plan.most[1] > h - probe.plan.least[0] ? probe.plan.most[1] - (h - probe.plan.least[0]) : 1;
        c.layer.output_size[0] = h,
        c.layer.output_size[1] = w < probe.plan.least[1] ? probe.plan.least[1] : w;
        if (!offer(list, c)) return false;
    }
    return true;
}

static bool add_edges(case_list *list, pleat_framework f, bool transpose) {
    for (size_t k = 0; k < EDGES; k++)
        for (int word = 0; word < WORDS; word++)
            if (!add_paddings(list, from_edge(&edges[k], f, transpose, word))) return false;
    for (size_t k = 0; k < EDGES; k++)
        for (int word = 0; word < WORDS; word++) {
            /* a square case with a stride of 2, one with 3, one with a dilation that exceeds the stride */
            bool chosen = k == 0 || k == 2 || k == 11;
            if (chosen && !add_sizes(list, from_edge(&edges[k], f, transpose, word))) return false;
        }
    return true;
}

/* ---- random layers -------------------------------------------------------------------------------------- */

static size_t between(pleat_rng *r, size_t least, size_t most) {
    return least + (size_t)pleat_rng_below(r, most - least + 1);
}

static vector_case draw(pleat_rng *r, pleat_framework f, bool transpose) {
    vector_case c = {.note = "random", .N = between(r, 1, 2)};
    pleat_layer *l = &c.layer;
    *l = (pleat_layer){.framework = f, .transpose = transpose, .groups = between(r, 1, 3)};
    l->padding = (pleat_padding)between(r, 0, WORDS - 1);
    l->has_output_padding = transpose && between(r, 0, 2) == 0;
    l->has_output_size = transpose && between(r, 0, 2) == 0;
    l->channels_last = (f == PLEAT_TENSORFLOW || f == PLEAT_KERAS) && between(r, 0, 3) > 0;
    for (int i = 0; i < 2; i++) {
        c.channels[i] = l->groups * between(r, 1, 3);
        c.in[i] = between(r, 1, 6), c.kernel[i] = between(r, 1, 5);
        l->stride[i] = between(r, 1, 3), l->dilation[i] = between(r, 0, 2) ? 1 : between(r, 2, 3);
        bool pads = l->padding == PLEAT_PADDING_EXPLICIT;
        l->pads[i] = pads ? (ptrdiff_t)between(r, 0, 2) : 0;
        l->pads[i + 2] = pads && f != PLEAT_TORCH ? (ptrdiff_t)between(r, 0, 2) : l->pads[i];
        l->output_padding[i] = l->has_output_padding ? between(r, 0, 2) : 0;
        l->output_size[i] = l->has_output_size ? between(r, 1, 20) : 0;
    }
    return c;
}

/* Each from a stream of its own, so that one does not depend on how many came before. */
static bool add_random(case_list *list, pleat_framework f, bool transpose, uint64_t seed) {
    pleat_rng r = pleat_rng_new(seed, 2 * list->count);
    vector_case c = {0};
    bool legal = false;
    for (int i = 0; i < TRIES && !legal; i++) {
        c = draw(&r, f, transpose);
        legal = plan(&c);
    }
    return !legal || add(list, &c);
}

bool make_cases(pleat_framework f, bool transpose, size_t most, uint64_t seed, case_list *list) {
    *list = (case_list){0};
    if (!add_edges(list, f, transpose)) return false;
    if (list->count > most) list->count = most;
    list->edges = list->count;
    while (list->count < most) {
        size_t before = list->count;
        if (!add_random(list, f, transpose, seed) || list->count == before) return false;
    }
    return true;
}

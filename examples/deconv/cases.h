/* cases.h: the layers that golden vectors are made of. */
#ifndef CASES_H
#define CASES_H

#include "deconv.h"

typedef struct vector_case {
    const char *note; /* why it is there */
    pleat_layer layer;
    pleat_layer_plan plan;
    size_t N, channels[2], in[2], kernel[2];
} vector_case;

typedef struct case_list {
    vector_case *at;
    size_t count, room;
    size_t edges; /* so many come first and are the same for every seed */
} case_list;

/* The edge cases of the framework, then random layers from the seed, up to `most` in all. Case i is the same for every
 * `most`. False if memory is short; the caller frees list->at in either case. */
bool make_cases(pleat_framework f, bool transpose, size_t most, uint64_t seed, case_list *list);

#endif

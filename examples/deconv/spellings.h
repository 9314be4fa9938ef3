/* spellings.h: all the ways in which a framework can say a layer, found by trying them. */
#ifndef SPELLINGS_H
#define SPELLINGS_H

#include "deconv.h"

/* What a layer does, apart from the words for it. */
typedef struct wanted {
    bool transpose;
    size_t in[2], kernel[2], stride[2], dilation[2], groups;
    size_t out[2];
    ptrdiff_t crop[2];
} wanted;

/* A layer in a framework's words, and how far it is from what was wanted; 0 and 0: nothing differs. */
typedef struct spelling {
    pleat_layer layer;
    pleat_layer_plan plan;
    size_t resize, shift; /* summed over both axes: difference of output size, and of crop */
} spelling;

enum { WORDS = PLEAT_PADDING_SAME_LOWER + 1 }; /* the words for padding */

/* The largest padding for which the search has an end that one waits for; the wanted layer needs no larger one. */
enum { LARGEST_PADDING = 400 };
bool searchable(const wanted *w);

/* The arguments with this word for padding that come nearest to w; among equals, those with the fewest and smallest
 * words. False if the framework refuses them all; out->plan.why is the first reason. */
bool nearest_spelling(const wanted *w, pleat_framework f, pleat_padding word, spelling *out);

bool is_exact(const spelling *s);
/* Is a nearer to what was wanted than b? The size counts before the place. */
bool is_nearer(const spelling *a, const spelling *b);

wanted wanted_of(const pleat_layer *l, const pleat_layer_plan *p, const size_t in[2], const size_t kernel[2]);

/* The layer on one channel: x [H,W] and w [R,S] as rank-4 tensors with sizes of 1 -> [1,1,P,Q]. */
pleat_tensor *apply_one_channel(const pleat_layer *l, pleat_tensor *x, pleat_tensor *w);

#endif

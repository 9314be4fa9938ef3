/* All the ways in which a framework can say a layer. No formula is turned around here: the arguments are tried one after the
 * other, and the plan that the library makes of them says how near they come. */
#include "spellings.h"

#include <string.h>

static size_t distance(ptrdiff_t a, ptrdiff_t b) { return (size_t)(a > b ? a - b : b - a); }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* What is tried along one axis. */
typedef struct choice {
    size_t begin, end, output_padding, size;
    size_t resize, shift;
} choice;

typedef struct search {
    const wanted *w;
    pleat_layer layer; /* the word for padding, and which options are given */
    size_t legal;      /* how many choices were */
    bool found[2];
    choice best[2];
    char why[sizeof((pleat_layer_plan *)0)->why]; /* the first refusal */
} search;

wanted wanted_of(const pleat_layer *l, const pleat_layer_plan *p, const size_t in[2],
                 const size_t kernel[2]) {
    wanted w = {.transpose = l->transpose, .groups = l->groups};
    for (int i = 0; i < 2; i++) {
        w.in[i] = in[i], w.kernel[i] = kernel[i];
        w.stride[i] = l->stride[i], w.dilation[i] = l->dilation[i];
        w.out[i] = p->out[i], w.crop[i] = p->crop[i];
    }
    return w;
}

bool is_exact(const spelling *s) { return s->resize == 0 && s->shift == 0; }

bool is_nearer(const spelling *a, const spelling *b) {
    return a->resize != b->resize ? a->resize < b->resize : a->shift < b->shift;
}

/* Padding beyond what the sizes need, the offset needs or the kernel covers only leads away from the wanted layer. */
static size_t largest_padding(const wanted *w, int i) {
    size_t ke = (w->kernel[i] - 1) * w->dilation[i] + 1;
    size_t small = w->transpose ? w->in[i] : w->out[i], big = w->transpose ? w->out[i] : w->in[i];
    size_t span = distance((ptrdiff_t)((small - 1) * w->stride[i] + ke), (ptrdiff_t)big);
    return larger(larger(span, distance(w->crop[i], 0)), ke) + w->stride[i];
}

bool searchable(const wanted *w) {
    return largest_padding(w, 0) <= LARGEST_PADDING && largest_padding(w, 1) <= LARGEST_PADDING;
}

/* Try c along one axis: as a layer that is the same along both. */
static void try_choice(search *s, int axis, choice c) {
    const wanted *w = s->w;
    pleat_layer l = s->layer;
    size_t in[2], kernel[2];
    for (int i = 0; i < 2; i++) {
        in[i] = w->in[axis], kernel[i] = w->kernel[axis];
        l.stride[i] = w->stride[axis], l.dilation[i] = w->dilation[axis];
        l.pads[i] = (ptrdiff_t)c.begin, l.pads[i + 2] = (ptrdiff_t)c.end;
        l.output_padding[i] = c.output_padding, l.output_size[i] = c.size;
    }
    pleat_layer_plan p;
    if (!pleat_layer_plan_for(&l, in, kernel, &p)) {
        if (!*s->why) memcpy(s->why, p.why, sizeof s->why);
        return;
    }
    s->legal++;
    c.resize = distance((ptrdiff_t)p.out[0], (ptrdiff_t)w->out[axis]);
    c.shift = distance(p.crop[0], w->crop[axis]);
    const choice *b = &s->best[axis];
    bool better = c.resize != b->resize ? c.resize < b->resize : c.shift < b->shift;
    if (s->found[axis] && !better) return;
    s->found[axis] = true;
    s->best[axis] = c;
}

static bool done(const search *s, int axis) {
    return s->found[axis] && s->best[axis].resize == 0 && s->best[axis].shift == 0;
}

/* All paddings, small ones and even ones first. */
static void try_paddings(search *s, int axis, choice c) {
    const pleat_layer *l = &s->layer;
    bool ignored = l->framework == PLEAT_ONNX && l->has_output_size;
    size_t most = l->padding == PLEAT_PADDING_EXPLICIT && !ignored ? largest_padding(s->w, axis) : 0;
    for (c.begin = 0; c.begin <= most && !done(s, axis); c.begin++) {
        c.end = c.begin;
        try_choice(s, axis, c);
        if (l->framework == PLEAT_TORCH) continue;
        for (c.end = 0; c.end <= most && !done(s, axis); c.end++)
            if (c.end != c.begin) try_choice(s, axis, c);
    }
}

/* The wanted size first, then sizes around it: one that is refused exactly may have a legal neighbour. */
static void try_sizes(search *s, int axis, choice c) {
    size_t size = s->w->out[axis], before = s->legal;
    size_t around = s->layer.has_output_size ? largest_padding(s->w, axis) : 0;
    for (size_t away = 0; away <= around && s->legal == before; away++) {
        c.size = s->layer.has_output_size ? size + away : 0;
        try_paddings(s, axis, c);
        if (!away || away >= size || s->legal > before) continue;
        c.size = size - away;
        try_paddings(s, axis, c);
    }
}

static void search_axis(search *s, int axis) {
    size_t most = larger(s->w->stride[axis], s->w->dilation[axis]) - 1;
    if (!s->layer.has_output_padding) most = 0;
    for (size_t op = 0; op <= most && !done(s, axis); op++)
        try_sizes(s, axis, (choice){.output_padding = op});
}

/* Both axes put together. */
static bool finish(search *s, spelling *out) {
    const wanted *w = s->w;
    *out = (spelling){.layer = s->layer};
    memcpy(out->plan.why, s->why, sizeof s->why);
    if (!s->found[0] || !s->found[1]) return false;
    for (int i = 0; i < 2; i++) {
        const choice *c = &s->best[i];
        out->layer.stride[i] = w->stride[i], out->layer.dilation[i] = w->dilation[i];
        out->layer.pads[i] = (ptrdiff_t)c->begin, out->layer.pads[i + 2] = (ptrdiff_t)c->end;
        out->layer.output_padding[i] = c->output_padding, out->layer.output_size[i] = c->size;
        out->resize += c->resize, out->shift += c->shift;
    }
    return pleat_layer_plan_for(&out->layer, w->in, w->kernel, &out->plan);
}

/* Groups are taken or refused whatever the sizes: a layer of one pixel tells. */
static bool takes_groups(const wanted *w, pleat_framework f, pleat_layer_plan *p) {
    pleat_layer l = {.framework = f, .transpose = w->transpose, .stride = {1, 1}, .dilation = {1, 1}};
    l.groups = w->groups;
    l.padding = f == PLEAT_KERAS ? PLEAT_PADDING_VALID : PLEAT_PADDING_EXPLICIT;
    return pleat_layer_plan_for(&l, (size_t[]){1, 1}, (size_t[]){1, 1}, p);
}

/* Does the framework have these words? Without them the search would try all their values in vain. */
static bool has_words(const pleat_layer *l) {
    bool keras = l->framework == PLEAT_KERAS, tensorflow = l->framework == PLEAT_TENSORFLOW;
    if (keras && (l->has_output_size || l->padding == PLEAT_PADDING_EXPLICIT)) return false;
    /* TensorFlow's transpose has no default for its output_shape */
    if (tensorflow && (l->has_output_padding || l->has_output_size != l->transpose)) return false;
    return l->transpose || !(l->has_output_padding || l->has_output_size);
}

bool nearest_spelling(const wanted *w, pleat_framework f, pleat_padding word, spelling *out) {
    bool any = false;
    *out = (spelling){0};
    if (!takes_groups(w, f, &out->plan)) return false;
    for (int options = 0; options < 4; options++) {
        search s = {.w = w};
        s.layer = (pleat_layer){.framework = f,
                                .transpose = w->transpose,
                                .groups = w->groups,
                                .padding = word,
                                .has_output_padding = options & 1,
                                .has_output_size = options & 2,
                                .channels_last = f == PLEAT_TENSORFLOW || f == PLEAT_KERAS};
        if (!has_words(&s.layer)) continue;
        spelling found;
        search_axis(&s, 0);
        search_axis(&s, 1);
        bool legal = finish(&s, &found);
        if (legal ? !any || is_nearer(&found, out) : !any) *out = found;
        any = any || legal;
        if (any && is_exact(out)) break; /* the options that follow are more words */
    }
    return any;
}

pleat_tensor *apply_one_channel(const pleat_layer *l, pleat_tensor *x, pleat_tensor *w) {
    pleat_layer alone = *l;
    alone.groups = 1, alone.channels_last = false;
    bool behind = l->framework == PLEAT_TENSORFLOW || l->framework == PLEAT_KERAS; /* weight [R,S,1,1] */
    size_t H = pleat_size(x, 2), W = pleat_size(x, 3), R = pleat_size(w, 2), S = pleat_size(w, 3);
    if (behind) w = pleat_reshape(w, PLEAT_SHAPE(R, S, 1, 1));
    return pleat_layer_apply(&alone, pleat_reshape(x, PLEAT_SHAPE(1, 1, H, W)), w, NULL);
}

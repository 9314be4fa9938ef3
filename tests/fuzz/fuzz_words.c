/* The command line of the program deconv, one word a line: it is a layer or one line of complaint. A layer's own words say it
 * again; and where it is legal, the nearest words of every framework are legal, and as near as they say. */
#define _GNU_SOURCE /* stderr can be set */

#include "fuzz.h"
#include "spellings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 32, LONGEST = 1 << 12 };

/* read_arguments, with what it says on standard error checked instead of printed. */
static bool read_line(int argc, char **argv, layer_arguments *out) {
    static char said[2048];
    FILE *real = stderr, *sink = fmemopen(said, sizeof said, "w");
    FUZZ_CHECK(sink, "no stream in memory");
    stderr = sink;
    int status = read_arguments("fuzz", "--from", argc, argv, out, NULL, 0);
    stderr = real;
    long length = ftell(sink);
    fclose(sink);
    FUZZ_CHECK(status == 0 || status == EXIT_USAGE, "status %d", status);
    FUZZ_CHECK((status == 0) == (length == 0), "status %d, and %ld characters of complaint", status, length);
    if (status == 0) return true;
    FUZZ_CHECK(said[length - 1] == '\n', "the complaint does not end its line");
    said[length - 1] = 0;
    FUZZ_CHECK(fuzz_is_line(said), "the complaint is not one line: '%s'", said);
    return false;
}

/* The text cut at every separator; at most MOST_WORDS pieces. */
static int split(char *text, char separator, char **words) {
    int n = 0;
    for (char *c = text; c && n < MOST_WORDS; n++) {
        words[n] = c;
        c = strchr(c, separator);
        if (c) *c++ = 0;
    }
    return n;
}

static bool same_layer(const pleat_layer *a, const pleat_layer *b) {
    return a->framework == b->framework && a->transpose == b->transpose &&
           (a->groups == b->groups || a->framework == PLEAT_TENSORFLOW) && /* there the weight says it */
           a->padding == b->padding && a->has_output_padding == b->has_output_padding &&
           a->has_output_size == b->has_output_size && a->channels_last == b->channels_last &&
           !memcmp(a->stride, b->stride, sizeof a->stride) &&
           !memcmp(a->dilation, b->dilation, sizeof a->dilation) &&
           !memcmp(a->pads, b->pads, sizeof a->pads) &&
           !memcmp(a->output_padding, b->output_padding, sizeof a->output_padding) &&
           !memcmp(a->output_size, b->output_size, sizeof a->output_size);
}

static void say_again(const pleat_layer *l) {
    char text[1024], copy[1024],
        *words[MOST_WORDS + 2] = {"--from", (char *)pleat_framework_name(l->framework)};
    layer_arguments again;
    layer_words(l, text, sizeof text);
    strcpy(copy, text);
    int n = 2 + split(copy, ' ', words + 2);
    FUZZ_CHECK(read_line(n, words, &again), "its own words are refused: %s", text);
    FUZZ_CHECK(same_layer(l, &again.layer), "its own words say another layer: %s", text);
}

static bool is_small(const layer_arguments *a) {
    for (size_t k = 0; k < 2; k++)
        if (a->input[k] > 6 || a->kernel[k] > 4 || a->layer.stride[k] > 3 || a->layer.dilation[k] > 2 ||
            a->layer.pads[k] > 4 || a->layer.pads[k + 2] > 4)
            return false;
    return true;
}

static void check_spelling(const wanted *w, const spelling *s) {
    size_t resize = 0, shift = 0;
    FUZZ_CHECK(!*s->plan.why, "found, but: %s", s->plan.why);
    for (size_t k = 0; k < 2; k++) {
        resize += (size_t)llabs((long long)s->plan.out[k] - (long long)w->out[k]);
        shift += (size_t)llabs((long long)(s->plan.crop[k] - w->crop[k]));
    }
    FUZZ_CHECK(resize == s->resize && shift == s->shift, "%zu and %zu away, not %zu and %zu", resize, shift,
               s->resize, s->shift);
    say_again(&s->layer);
}

/* Where no word for padding can say it, the first of the usual ones tells why. */
static void translate_to(const layer_arguments *a, const wanted *w, pleat_framework f) {
    spelling s, usual = {0};
    bool any = false;
    for (int word = 0; word < WORDS; word++) {
        bool found = nearest_spelling(w, f, (pleat_padding)word, &s);
        if (word == (f == PLEAT_KERAS ? PLEAT_PADDING_VALID : PLEAT_PADDING_EXPLICIT)) usual = s;
        if (f == a->layer.framework && word == (int)a->layer.padding)
            FUZZ_CHECK(found && is_exact(&s), "its own words do not say it");
        if (found) check_spelling(w, &s);
        any = any || found;
    }
    FUZZ_CHECK(any || fuzz_is_line(usual.plan.why), "refused, but: %s", usual.plan.why);
}

static void translate(const layer_arguments *a) {
    pleat_layer_plan p;
    if (!a->input[0] || !a->kernel[0] || !pleat_layer_plan_for(&a->layer, a->input, a->kernel, &p)) return;
    wanted w = wanted_of(&a->layer, &p, a->input, a->kernel);
    if (!searchable(&w) || !is_small(a)) return;
    for (int f = 0; f < PLEAT_FRAMEWORKS; f++) translate_to(a, &w, (pleat_framework)f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[LONGEST + 1];
    char *words[MOST_WORDS];
    layer_arguments a;
    if (size > LONGEST || memchr(data, 0, size)) return 0;
    if (size > 0) memcpy(text, data, size);
    text[size] = 0;
    if (!read_line(split(text, '\n', words), words, &a)) return 0;
    say_again(&a.layer);
    translate(&a);
    return 0;
}

/* The command line: a table of the words of each framework, from which arguments are read and printed. */
#include "deconv.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

int complain(int status, const char *name, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++) /* a file's name may hold anything, but this is one line */
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    fprintf(stderr, "deconv%s%s: %s\n", *name ? " " : "", name, line);
    return status;
}

int refuse_word(const char *of, const char *name, const char *text, const char *form,
                const char *const *words) {
    guess meant = {.typed = text, .length = strlen(text)};
    char question[80];
    guess_consider_all(&meant, words);
    return complain(EXIT_USAGE, of, "%s %.60s: it must be %s%s", name, text, form,
                    guess_question(&meant, question, sizeof question));
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

/* The digits at *text, which moves behind them. */
static bool take_count(const char **text, size_t *out) {
    size_t n = 0;
    const char *c = *text;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (size_t)(*c - '0'), &n) ||
            n > PTRDIFF_MAX)
            return false;
    bool found = c > *text;
    *out = n, *text = c;
    return found;
}

/* Exactly n numbers, separated. */
static bool read_list(const char *text, char separator, size_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && *text++ != separator) return false;
        if (!take_count(&text, &out[i])) return false;
    }
    return *text == 0;
}

bool read_count(const char *text, size_t *out) { return read_list(text, ',', out, 1); }

bool read_pair(const char *text, size_t out[2]) {
    if (read_list(text, ',', out, 2) || read_list(text, 'x', out, 2)) return true;
    if (!read_count(text, &out[0])) return false;
    out[1] = out[0];
    return true;
}

/* ---- the words of the layer -------------------------------------------------------------------------- */

static bool read_positive_pair(const char *text, size_t out[2]) {
    return read_pair(text, out) && out[0] > 0 && out[1] > 0;
}

static bool read_stride(const char *text, layer_arguments *a) {
    return read_positive_pair(text, a->layer.stride);
}

static bool read_dilation(const char *text, layer_arguments *a) {
    return read_positive_pair(text, a->layer.dilation);
}

static bool read_groups(const char *text, layer_arguments *a) {
    return read_count(text, &a->layer.groups) && a->layer.groups > 0;
}

static bool read_output_padding(const char *text, layer_arguments *a) {
    a->layer.has_output_padding = true;
    return read_pair(text, a->layer.output_padding);
}

static bool read_output_size(const char *text, layer_arguments *a) {
    a->layer.has_output_size = true;
    return read_positive_pair(text, a->layer.output_size);
}

static bool read_kernel(const char *text, layer_arguments *a) { return read_positive_pair(text, a->kernel); }

static bool read_input(const char *text, layer_arguments *a) { return read_positive_pair(text, a->input); }

static bool read_channels(const char *text, layer_arguments *a) {
    return read_positive_pair(text, a->channels);
}

typedef struct spelled_padding {
    const char *name;
    pleat_padding padding;
} spelled_padding;

static const spelled_padding torch_paddings[] = {{"same", PLEAT_PADDING_SAME},
                                                 {"valid", PLEAT_PADDING_VALID}};
static const spelled_padding tensorflow_paddings[] = {{"SAME", PLEAT_PADDING_SAME},
                                                      {"VALID", PLEAT_PADDING_VALID}};
static const spelled_padding onnx_paddings[] = {{"SAME_UPPER", PLEAT_PADDING_SAME_UPPER},
                                                {"SAME_LOWER", PLEAT_PADDING_SAME_LOWER},
                                                {"VALID", PLEAT_PADDING_VALID},
                                                {"NOTSET", PLEAT_PADDING_EXPLICIT}};

static bool read_spelled(const char *text, const spelled_padding *names, size_t count, layer_arguments *a) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i].name) == 0) {
            a->layer.padding = names[i].padding;
            return true;
        }
    return false;
}

/* Four paddings in the framework's order; order[i] is the place of the i-th in top, left, bottom, right. */
static bool read_pads(const char *text, const size_t order[4], layer_arguments *a) {
    size_t given[4];
    if (!read_list(text, ',', given, 4)) return false;
    for (size_t i = 0; i < 4; i++) a->layer.pads[order[i]] = (ptrdiff_t)given[i];
    return true;
}

static bool read_torch_padding(const char *text, layer_arguments *a) {
    size_t pair[2];
    if (!a->layer.transpose && read_spelled(text, torch_paddings, 2, a)) return true;
    if (!read_pair(text, pair)) return false;
    for (size_t i = 0; i < 4; i++) a->layer.pads[i] = (ptrdiff_t)pair[i % 2];
    return true;
}

static bool read_tensorflow_padding(const char *text, layer_arguments *a) {
    if (read_spelled(text, tensorflow_paddings, 2, a)) return true;
    a->layer.padding = PLEAT_PADDING_EXPLICIT;
    return read_pads(text, (const size_t[]){0, 2, 1, 3}, a);
}

static bool read_keras_padding(const char *text, layer_arguments *a) {
    return read_spelled(text, torch_paddings, 2, a);
}

static bool read_onnx_pads(const char *text, layer_arguments *a) {
    return read_pads(text, (const size_t[]){0, 1, 2, 3}, a);
}

static bool read_auto_pad(const char *text, layer_arguments *a) {
    return read_spelled(text, onnx_paddings, 4, a);
}

static bool read_format(const char *text, const char *last, const char *first, layer_arguments *a) {
    a->layer.channels_last = strcmp(text, last) == 0;
    return a->layer.channels_last || strcmp(text, first) == 0;
}

static bool read_tensorflow_format(const char *text, layer_arguments *a) {
    return read_format(text, "NHWC", "NCHW", a);
}

static bool read_keras_format(const char *text, layer_arguments *a) {
    return read_format(text, "channels_last", "channels_first", a);
}

enum { TORCH = 1 << PLEAT_TORCH, TENSORFLOW = 1 << PLEAT_TENSORFLOW, ONNX = 1 << PLEAT_ONNX };
enum { KERAS = 1 << PLEAT_KERAS, ALL = TORCH | TENSORFLOW | ONNX | KERAS };

typedef enum which_op { BOTH, TRANSPOSE_ONLY, CONV_ONLY } which_op;

typedef struct layer_option {
    const char *name;
    int frameworks; /* bits */
    which_op op;
    const char *form; /* what its argument must be */
    bool (*read)(const char *text, layer_arguments *a);
} layer_option;

#define POSITIVE "H,W or HxW, or one number for both, 1 or more"
#define NATURAL "H,W or HxW, or one number for both, 0 or more"

/* Words with one reader mean the same, in other frameworks. */
static const layer_option layer_options[] = {
    {"--stride", TORCH, BOTH, POSITIVE, read_stride},
    {"--strides", TENSORFLOW | ONNX | KERAS, BOTH, POSITIVE, read_stride},
    {"--padding", TORCH, BOTH, NATURAL " (with --op conv also same or valid)", read_torch_padding},
    {"--padding", TENSORFLOW, BOTH, "SAME, VALID or T,B,L,R, each 0 or more", read_tensorflow_padding},
    {"--padding", KERAS, BOTH, "same or valid", read_keras_padding},
    {"--pads", ONNX, BOTH, "T,L,B,R, each 0 or more", read_onnx_pads},
    {"--auto-pad", ONNX, BOTH, "NOTSET, SAME_UPPER, SAME_LOWER or VALID", read_auto_pad},
    {"--output-padding", TORCH | ONNX | KERAS, TRANSPOSE_ONLY, NATURAL, read_output_padding},
    {"--output-size", TORCH, TRANSPOSE_ONLY, POSITIVE, read_output_size},
    {"--output-shape", TENSORFLOW | ONNX, TRANSPOSE_ONLY, POSITIVE, read_output_size},
    {"--dilation", TORCH, BOTH, POSITIVE, read_dilation},
    {"--dilations", TENSORFLOW | ONNX, BOTH, POSITIVE, read_dilation},
    {"--dilation-rate", KERAS, BOTH, POSITIVE, read_dilation},
    {"--groups", TORCH, BOTH, "a whole number, 1 or more", read_groups},
    {"--groups", KERAS, CONV_ONLY, "a whole number, 1 or more", read_groups},
    {"--group", ONNX, BOTH, "a whole number, 1 or more", read_groups},
    {"--data-format", TENSORFLOW, BOTH, "NHWC or NCHW", read_tensorflow_format},
    {"--data-format", KERAS, BOTH, "channels_last or channels_first", read_keras_format},
    {"--kernel", ALL, BOTH, POSITIVE, read_kernel},
    {"--input-size", ALL, BOTH, POSITIVE, read_input},
    {"--channels", ALL, BOTH, "IN,OUT or INxOUT, or one number for both, 1 or more", read_channels},
};

enum { LAYER_OPTIONS = sizeof layer_options / sizeof *layer_options };

/* The words that an option takes besides numbers. */
static const char *const *words_of(const layer_option *o, const pleat_layer *l) {
    static const char *const none[] = {NULL}, *const torch[] = {"same", "valid", NULL},
                             *const tensorflow[] = {"SAME", "VALID", NULL},
                             *const onnx[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", NULL},
                             *const formats[] = {"NHWC", "NCHW", NULL},
                             *const keras_formats[] = {"channels_last", "channels_first", NULL};
    if (o->read == read_keras_padding || (o->read == read_torch_padding && !l->transpose)) return torch;
    if (o->read == read_tensorflow_padding) return tensorflow;
    if (o->read == read_auto_pad) return onnx;
    if (o->read == read_tensorflow_format) return formats;
    return o->read == read_keras_format ? keras_formats : none;
}

const char *const framework_words[] = {"torch", "tensorflow", "onnx", "keras", NULL};

/* ---- reading ----------------------------------------------------------------------------------------- */

typedef struct reading {
    const char *command, *framework_option; /* NULL: a command without a layer */
    int argc;
    char **argv;
    const text_option *options;
    size_t count;
    layer_arguments *out;
    bool seen[LAYER_OPTIONS];
} reading;

/* A word of the command line: an option with its argument, or an operand, without a name. */
typedef struct word {
    const char *name, *value;
    size_t length; /* of the name */
} word;

static bool word_is(word w, const char *name) {
    return w.length == strlen(name) && strncmp(w.name, name, w.length) == 0;
}

static const text_option *find_text_option(const reading *r, word w) {
    for (size_t i = 0; i < r->count; i++)
        if (w.name ? word_is(w, r->options[i].name)
                   : *r->options[i].name != '-' && *r->options[i].value == NULL)
            return &r->options[i];
    return NULL;
}

/* The option of this command that was meant. */
static guess guess_option(const reading *r, word w) {
    guess meant = {.typed = w.name, .length = w.length};
    guess_consider(&meant, "--help");
    for (size_t i = 0; i < r->count; i++)
        if (r->options[i].value && r->options[i].name[0] == '-') guess_consider(&meant, r->options[i].name);
    if (!r->framework_option) return meant;
    guess_consider(&meant, r->framework_option);
    guess_consider(&meant, "--op");
    for (size_t i = 0; i < LAYER_OPTIONS; i++) {
        const layer_option *o = &layer_options[i];
        bool taken = !find_text_option(r, (word){o->name, NULL, strlen(o->name)});
        if (taken && o->frameworks >> r->out->layer.framework & 1) guess_consider(&meant, o->name);
    }
    return meant;
}

static int unknown(const reading *r, word w) {
    guess meant = {0};
    char question[80];
    if (!w.name && r->framework_option && *w.value >= '0' && *w.value <= '9')
        return complain(EXIT_USAGE, r->command, "unknown argument '%.60s'; a pair is one word, 3,3 or 3x3",
                        w.value);
    if (w.name) meant = guess_option(r, w);
    return complain(EXIT_USAGE, r->command, "unknown %s '%.*s'%s%s'deconv %s --help' lists what there is",
                    w.name ? "option" : "argument", (int)(w.length < 60 ? w.length : 60),
                    w.name ? w.name : w.value, guess_question(&meant, question, sizeof question),
                    guess_separator(&meant), r->command);
}

/* The word at *i, which moves behind it and its argument. An argument that looks like an option was forgotten. */
static int next_word(const reading *r, int *i, word *w) {
    const char *text = r->argv[(*i)++];
    if (text[0] != '-' || text[1] == 0) {
        *w = (word){NULL, text, strlen(text)};
        return 0;
    }
    *w = (word){text, NULL, strcspn(text, "=")};
    const text_option *option = find_text_option(r, *w);
    bool flag = option && option->flag;
    if (text[w->length] == '=')
        w->value = text + w->length + 1;
    else if (!flag && *i < r->argc && strncmp(r->argv[*i], "--", 2) != 0)
        w->value = r->argv[(*i)++];
    if (flag == (w->value == NULL)) return 0;
    int length = (int)(w->length < 60 ? w->length : 60);
    if (flag) return complain(EXIT_USAGE, r->command, "%.*s takes no argument", length, text);
    bool known = option || (r->framework_option && (word_is(*w, "--op") || word_is(*w, r->framework_option)));
    for (size_t k = 0; r->framework_option && k < LAYER_OPTIONS; k++)
        known = known || word_is(*w, layer_options[k].name);
    if (!known) return unknown(r, *w);
    return complain(EXIT_USAGE, r->command, "%.*s stands alone; it takes an argument", length, text);
}

static int twice(const reading *r, const char *name) {
    return complain(EXIT_USAGE, r->command, "%s is given twice; once is right", name);
}

static int set_framework(const reading *r, const char *text) {
    pleat_layer *l = &r->out->layer;
    for (int f = 0; f < PLEAT_FRAMEWORKS; f++)
        if (strcmp(text, pleat_framework_name((pleat_framework)f)) == 0) {
            l->framework = (pleat_framework)f;
            l->channels_last = f == PLEAT_TENSORFLOW || f == PLEAT_KERAS;
            l->padding = f == PLEAT_TENSORFLOW ? PLEAT_PADDING_SAME
                         : f == PLEAT_KERAS    ? PLEAT_PADDING_VALID
                                               : PLEAT_PADDING_EXPLICIT;
            return 0;
        }
    return refuse_word(r->command, r->framework_option, text, "torch, tensorflow, onnx or keras",
                       framework_words);
}

static int set_op(const reading *r, const char *text) {
    static const char form[] = "conv_transpose or conv";
    r->out->layer.transpose = strcmp(text, "conv_transpose") == 0;
    if (r->out->layer.transpose || strcmp(text, "conv") == 0) return 0;
    if (strstr(text, "deconv")) /* the letters are nearer to conv, but it is another name of the transpose */
        return complain(EXIT_USAGE, r->command, "--op %.60s: it must be %s; did you mean conv_transpose?",
                        text, form);
    return refuse_word(r->command, "--op", text, form, (const char *const[]){"conv_transpose", "conv", NULL});
}

/* Framework and operator decide what the other words mean, so they are looked for first. */
static int read_framework(const reading *r) {
    bool framework = false, op = false;
    word w;
    for (int i = 0, status; i < r->argc;) {
        if ((status = next_word(r, &i, &w))) return status;
        if (!w.name) continue;
        bool *given = word_is(w, r->framework_option) ? &framework : word_is(w, "--op") ? &op : NULL;
        if (!given) continue;
        if (*given) return twice(r, given == &op ? "--op" : r->framework_option);
        *given = true;
        status = given == &op ? set_op(r, w.value) : set_framework(r, w.value);
        if (status) return status;
    }
    return 0;
}

/* A word that is known, but not to this framework. `other` is its row. */
static int foreign_word(const reading *r, word w, const layer_option *other) {
    pleat_framework f = r->out->layer.framework;
    const char *right = NULL;
    bool shape = strncmp(other->name, "--output", 8) == 0;
    for (size_t i = 0; i < LAYER_OPTIONS && !right; i++)
        if (layer_options[i].frameworks >> f & 1 && layer_options[i].read == other->read)
            right = layer_options[i].name;
    if (!right && f == PLEAT_KERAS && shape) right = "--output-padding";
    if (!right && f == PLEAT_TENSORFLOW && shape) right = "--output-shape";
    if (!right && (strstr(other->name, "pad") && !shape)) right = f == PLEAT_ONNX ? "--pads" : "--padding";
    return complain(EXIT_USAGE, r->command, "%s has no option %.*s; %s%s", pleat_framework_name(f),
                    (int)w.length, w.name, right ? "its word is " : "'--help' lists its words",
                    right ? right : "");
}

static int wrong_op(const reading *r, const layer_option *option) {
    bool transpose = option->op == TRANSPOSE_ONLY;
    return complain(EXIT_USAGE, r->command, "%s: in %s a %s has none; it goes with --op %s", option->name,
                    pleat_framework_name(r->out->layer.framework),
                    transpose ? "convolution" : "transposed convolution",
                    transpose ? "conv_transpose" : "conv");
}

static int read_layer_word(reading *r, word w) {
    const layer_option *other = NULL;
    for (size_t i = 0; i < LAYER_OPTIONS; i++) {
        const layer_option *option = &layer_options[i];
        if (!word_is(w, option->name)) continue;
        other = option;
        if ((option->frameworks >> r->out->layer.framework & 1) == 0) continue;
        if (r->seen[i]) return twice(r, option->name);
        r->seen[i] = true;
        if (option->op == (r->out->layer.transpose ? CONV_ONLY : TRANSPOSE_ONLY)) return wrong_op(r, option);
        if (option->read(w.value, r->out)) return 0;
        return refuse_word(r->command, option->name, w.value, option->form, words_of(option, &r->out->layer));
    }
    return other ? foreign_word(r, w, other) : unknown(r, w);
}

static int read_word(reading *r, word w) {
    const text_option *option = find_text_option(r, w);
    if (option && option->value) {
        if (*option->value) return twice(r, option->name);
        *option->value = option->flag ? option->name : w.value;
        return 0;
    }
    if (option || !w.name || !r->framework_option) return unknown(r, w);
    if (word_is(w, "--op") || word_is(w, r->framework_option)) return 0;
    return read_layer_word(r, w);
}

static bool is_given(const reading *r, bool (*read)(const char *, layer_arguments *)) {
    for (size_t i = 0; i < LAYER_OPTIONS; i++)
        if (r->seen[i] && layer_options[i].read == read) return true;
    return false;
}

static int find_contradiction(const reading *r) {
    const pleat_layer *l = &r->out->layer;
    if (l->framework == PLEAT_TORCH && l->has_output_padding && l->has_output_size)
        return complain(
            EXIT_USAGE, r->command,
            "--output-padding beside --output-size; torch works one out from the other, give one");
    if (is_given(r, read_onnx_pads) && l->padding != PLEAT_PADDING_EXPLICIT)
        return complain(EXIT_USAGE, r->command,
                        "--pads beside --auto-pad; give one of them, or --auto-pad NOTSET");
    return 0;
}

static int read_all(reading *r) {
    word w;
    for (int i = 0, status; i < r->argc;)
        if ((status = next_word(r, &i, &w)) || (status = read_word(r, w))) return status;
    return 0;
}

int read_arguments(const char *name, const char *framework_option, int argc, char **argv,
                   layer_arguments *out, const text_option *options, size_t count) {
    reading r = {name, framework_option, argc, argv, options, count, out, {false}};
    *out = (layer_arguments){.channels = {1, 1}};
    out->layer =
        (pleat_layer){.transpose = true, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1}; /* of torch */
    int status = read_framework(&r);
    if (!status) status = read_all(&r);
    return status ? status : find_contradiction(&r);
}

int read_words(const char *name, int argc, char **argv, const text_option *options, size_t count) {
    reading r = {.command = name, .argc = argc, .argv = argv, .options = options, .count = count};
    return read_all(&r);
}

/* ---- printing ---------------------------------------------------------------------------------------- */

typedef struct text {
    char *buffer;
    size_t bytes, used;
} text;

static void append(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int more = vsnprintf(t->buffer + t->used, t->bytes - t->used, format, args);
    va_end(args);
    size_t room = t->bytes - t->used - 1;
    t->used += more < 0 ? 0 : (size_t)more < room ? (size_t)more : room;
}

/* The framework's word with this reader. */
static const char *word_for(const pleat_layer *l, bool (*read)(const char *, layer_arguments *)) {
    for (size_t i = 0; i < LAYER_OPTIONS; i++)
        if (layer_options[i].frameworks >> l->framework & 1 && layer_options[i].read == read)
            return layer_options[i].name;
    return NULL;
}

static void append_spelled(text *t, const char *name, pleat_padding padding, const spelled_padding *names,
                           size_t count) {
    for (size_t i = 0; i < count; i++)
        if (names[i].padding == padding) append(t, " %s %s", name, names[i].name);
}

static void append_padding(text *t, const pleat_layer *l) {
    const ptrdiff_t *p = l->pads;
    if (l->padding != PLEAT_PADDING_EXPLICIT) {
        const spelled_padding *names = l->framework == PLEAT_TENSORFLOW ? tensorflow_paddings
                                       : l->framework == PLEAT_ONNX     ? onnx_paddings
                                                                        : torch_paddings;
        bool onnx = l->framework == PLEAT_ONNX;
        append_spelled(t, onnx ? "--auto-pad" : "--padding", l->padding, names, onnx ? 3 : 2);
    } else if (l->framework == PLEAT_TORCH) {
        append(t, " --padding %td,%td", p[0], p[1]);
    } else if (l->framework == PLEAT_TENSORFLOW) {
        append(t, " --padding %td,%td,%td,%td", p[0], p[2], p[1], p[3]);
    } else {
        append(t, " --pads %td,%td,%td,%td", p[0], p[1], p[2], p[3]);
    }
}

char *layer_words(const pleat_layer *l, char *buffer, size_t bytes) {
    text t = {buffer, bytes, 0};
    const char *groups = word_for(l, read_groups);
    append(&t, "%s%s %zu,%zu", l->transpose ? "" : "--op conv ", word_for(l, read_stride), l->stride[0],
           l->stride[1]);
    append_padding(&t, l);
    if (l->has_output_padding)
        append(&t, " --output-padding %zu,%zu", l->output_padding[0], l->output_padding[1]);
    if (l->has_output_size)
        append(&t, " %s %zu,%zu", word_for(l, read_output_size), l->output_size[0], l->output_size[1]);
    if (l->dilation[0] != 1 || l->dilation[1] != 1)
        append(&t, " %s %zu,%zu", word_for(l, read_dilation), l->dilation[0], l->dilation[1]);
    if (l->groups != 1 && groups) append(&t, " %s %zu", groups, l->groups);
    if (l->framework == PLEAT_TENSORFLOW && !l->channels_last) append(&t, " --data-format NCHW");
    if (l->framework == PLEAT_KERAS && !l->channels_last) append(&t, " --data-format channels_first");
    return buffer;
}

/* manifest.jsonl: a line of JSON for each layer. */
#include "vectors.h"

void put_sizes(FILE *f, const char *name, const size_t *sizes, size_t n) {
    fprintf(f, ", \"%s\": [", name);
    for (size_t i = 0; i < n; i++) fprintf(f, "%s%zu", i ? ", " : "", sizes[i]);
    fputc(']', f);
}

void put_word(FILE *f, const char *name, const char *word) { fprintf(f, ", \"%s\": \"%s\"", name, word); }

static void put_pads(FILE *f, const char *name, const pleat_layer *l, bool torch, bool tensorflow) {
    static const size_t orders[2][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}};
    size_t pads[4];
    for (size_t k = 0; k < 4; k++) pads[k] = (size_t)l->pads[orders[tensorflow][k]];
    put_sizes(f, name, pads, torch ? 2 : 4);
}

static void put_padding(FILE *f, const pleat_layer *l) {
    static const char *const onnx[] = {"NOTSET", "VALID", NULL, "SAME_UPPER", "SAME_LOWER"};
    bool torch = l->framework == PLEAT_TORCH, tensorflow = l->framework == PLEAT_TENSORFLOW;
    bool same = l->padding == PLEAT_PADDING_SAME;
    if (l->framework == PLEAT_ONNX) {
        put_word(f, "auto_pad", onnx[l->padding]);
        if (l->padding == PLEAT_PADDING_EXPLICIT) put_pads(f, "pads", l, false, false);
    } else if (l->padding == PLEAT_PADDING_EXPLICIT) {
        put_pads(f, "padding", l, torch, tensorflow);
    } else {
        put_word(f, "padding", tensorflow ? (same ? "SAME" : "VALID") : (same ? "same" : "valid"));
    }
}

/* The arguments under the framework's own names; what the framework has no word for is left out. */
static void put_arguments(FILE *f, const pleat_layer *l) {
    static const char *const strides[] = {"stride", "strides", "strides", "strides"};
    static const char *const dilations[] = {"dilation", "dilations", "dilations", "dilation_rate"};
    fprintf(f, ", \"arguments\": {\"%s\": [%zu, %zu]", strides[l->framework], l->stride[0], l->stride[1]);
    put_padding(f, l);
    if (l->has_output_padding) put_sizes(f, "output_padding", l->output_padding, 2);
    if (l->has_output_size)
        put_sizes(f, l->framework == PLEAT_TORCH ? "output_size" : "output_shape", l->output_size, 2);
    put_sizes(f, dilations[l->framework], l->dilation, 2);
    if (l->framework == PLEAT_TORCH || l->framework == PLEAT_ONNX)
        fprintf(f, ", \"%s\": %zu", l->framework == PLEAT_TORCH ? "groups" : "group", l->groups);
    else if (l->groups > 1)
        fprintf(f, ", \"groups\": %zu", l->groups);
    if (l->framework == PLEAT_TENSORFLOW) put_word(f, "data_format", l->channels_last ? "NHWC" : "NCHW");
    if (l->framework == PLEAT_KERAS)
        put_word(f, "data_format", l->channels_last ? "channels_last" : "channels_first");
    fputc('}', f);
}

void begin_line(const vector_job *j, const vector_case *c, size_t index, const char *dtype,
                const char *more_options) {
    FILE *f = j->manifest;
    char text[240];
    fprintf(f, "{\"name\": \"%04zu\", \"note\": \"%s\"", index, c->note);
    put_word(f, "framework", pleat_framework_name(j->framework));
    put_word(f, "op", j->transpose ? "conv_transpose" : "conv");
    put_word(f, "dtype", dtype);
    fprintf(f, ", \"integers\": %s", j->integers ? "true" : "false");
    put_arguments(f, &c->layer);
    fprintf(f, ", \"options\": \"%s%s\"", layer_words(&c->layer, text, sizeof text), more_options);
    put_sizes(f, "kernel", c->kernel, 2);
    put_sizes(f, "input_size", c->in, 2);
    put_sizes(f, "output_size", c->plan.out, 2);
    fprintf(f, ", \"crop\": [%td, %td]", c->plan.crop[0], c->plan.crop[1]);
}

void end_line(const vector_job *j, size_t index, size_t n, const char *const *names,
              pleat_tensor *const *arrays, bool files) {
    FILE *f = j->manifest;
    fputs(", \"shapes\": {", f);
    for (size_t k = 0; k < n; k++) {
        fprintf(f, "%s\"%s\": [", k ? ", " : "", names[k]);
        for (size_t i = 0; i < pleat_rank(arrays[k]); i++)
            fprintf(f, "%s%zu", i ? ", " : "", pleat_shape(arrays[k])[i]);
        fputc(']', f);
    }
    if (files) fputs("}, \"files\": {", f);
    for (size_t k = 0; files && k < n; k++)
        fprintf(f, "%s\"%s\": \"%04zu_%s.npy\"", k ? ", " : "", names[k], index, names[k]);
    fputs("}}\n", f);
}

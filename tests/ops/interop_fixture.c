/* The reader of oracle/frameworks_*.txt: a line of words for the layer, then its arrays. */
#define _POSIX_C_SOURCE 200809L

#include "interop_fixture.h"

#include <stdlib.h>
#include <string.h>

/* ---- words ------------------------------------------------------------------------------------------- */

/* n numbers with commas between them. */
static bool numbers(const char *text, size_t n, long long *out) {
    char *end;
    for (size_t i = 0; i < n; i++) {
        out[i] = strtoll(text, &end, 10);
        if (end == text || *end != (i + 1 < n ? ',' : 0)) return false;
        text = end + 1;
    }
    return true;
}

static bool sizes(const char *text, size_t n, size_t *out) {
    long long values[4];
    if (!numbers(text, n, values)) return false;
    for (size_t i = 0; i < n; i++) out[i] = (size_t)values[i];
    return true;
}

static bool yes_or_no(const char *text, bool *out) {
    *out = text[0] == '1';
    return (text[0] == '0' || text[0] == '1') && text[1] == 0;
}

static bool paddings(const char *text, ptrdiff_t out[4]) {
    long long values[4];
    if (!numbers(text, 4, values)) return false;
    for (size_t i = 0; i < 4; i++) out[i] = (ptrdiff_t)values[i];
    return true;
}

static bool framework(const char *text, pleat_framework *out) {
    for (*out = 0; *out < PLEAT_FRAMEWORKS; (*out)++)
        if (strcmp(text, pleat_framework_name(*out)) == 0) return true;
    return false;
}

static bool padding(const char *text, pleat_padding *out) {
    static const char *const names[] = {"explicit", "valid", "same", "same_upper", "same_lower"};
    for (*out = 0; *out < sizeof names / sizeof *names; (*out)++)
        if (strcmp(text, names[*out]) == 0) return true;
    return false;
}

static bool layer_word(pleat_layer *l, const char *key, const char *value) {
    if (strcmp(key, "framework") == 0) return framework(value, &l->framework);
    if (strcmp(key, "transpose") == 0) return yes_or_no(value, &l->transpose);
    if (strcmp(key, "stride") == 0) return sizes(value, 2, l->stride);
    if (strcmp(key, "dilation") == 0) return sizes(value, 2, l->dilation);
    if (strcmp(key, "groups") == 0) return sizes(value, 1, &l->groups);
    if (strcmp(key, "padding") == 0) return padding(value, &l->padding);
    if (strcmp(key, "pads") == 0) return paddings(value, l->pads);
    if (strcmp(key, "channels_last") == 0) return yes_or_no(value, &l->channels_last);
    if (strcmp(key, "output_padding") == 0)
        return l->has_output_padding = true, sizes(value, 2, l->output_padding);
    if (strcmp(key, "output_size") == 0) return l->has_output_size = true, sizes(value, 2, l->output_size);
    return false;
}

static bool word(layer_case *c, const char *key, const char *value) {
    if (strcmp(key, "x") == 0) return sizes(value, 4, c->x);
    if (strcmp(key, "w") == 0) return sizes(value, 4, c->w);
    if (strcmp(key, "bias") == 0) return yes_or_no(value, &c->bias);
    if (strcmp(key, "whole") == 0) return yes_or_no(value, &c->whole);
    if (strcmp(key, "legal") == 0) return yes_or_no(value, &c->legal);
    if (strcmp(key, "type") == 0) {
        c->doubles = strcmp(value, "f64") == 0;
        return c->doubles || strcmp(value, "f32") == 0;
    }
    return layer_word(&c->layer, key, value);
}

/* Cuts the words apart in `line`. */
static const char *words(layer_case *c, char *line) {
    char *rest = NULL, *name = strtok_r(line + strlen("case "), " \n", &rest);
    if (name == NULL || strlen(name) >= sizeof c->name) return "a case has a name of 1 to 63 characters";
    strcpy(c->name, name);
    for (char *key; (key = strtok_r(NULL, " \n", &rest)) != NULL;) {
        char *equals = strchr(key, '=');
        if (equals == NULL) return "a word of a case is key=value";
        *equals = 0;
        if (strcmp(key, "why") == 0) return NULL; /* the framework's own words, to the end of the line */
        if (!word(c, key, equals + 1)) return "a case has a word that is not known";
    }
    return NULL;
}

/* ---- files ------------------------------------------------------------------------------------------- */

static bool begins_case(const char *line) { return strncmp(line, "case ", 5) == 0; }

/* Read a line; at the end of the file it is empty. */
static void advance(layer_file *f) {
    if (getline(&f->line, &f->room, f->f) < 0 && f->line != NULL) f->line[0] = 0;
}

bool layer_file_open(layer_file *f, const char *name) {
    const char *folder = getenv("PLEAT_FIXTURES");
    *f = (layer_file){.f = NULL};
    snprintf(f->path, sizeof f->path, "%s/%s", folder != NULL ? folder : PLEAT_ORACLE_DIR, name);
    f->f = fopen(f->path, "r");
    if (f->f == NULL) return false;
    advance(f);
    return f->line != NULL;
}

void layer_file_close(layer_file *f) {
    if (f->f != NULL) fclose(f->f);
    free(f->line);
}

static bool has(const layer_case *c, const char *name) { return layer_case_array(c, name) != NULL; }

bool layer_file_next(layer_file *f, layer_case *c, const char **wrong) {
    *c = (layer_case){.count = 0};
    *wrong = NULL;
    if (f->line[0] == 0) return false;
    if (!begins_case(f->line)) return *wrong = "a case begins with the word case", false;
    snprintf(c->line, sizeof c->line, "%.*s", (int)strcspn(f->line, "\n"), f->line);
    *wrong = words(c, f->line);
    for (advance(f); *wrong == NULL && f->line[0] != 0 && !begins_case(f->line); advance(f)) {
        if (c->count == sizeof c->arrays / sizeof *c->arrays) {
            *wrong = "a case has too many arrays";
        } else {
            *wrong = oracle_parse(f->line, &c->arrays[c->count++]);
        }
    }
    if (*wrong == NULL && c->legal && !(has(c, "x") && has(c, "w") && has(c, "y")))
        *wrong = "a legal case has the arrays x, w and y";
    return *wrong == NULL;
}

/* ---- cases ------------------------------------------------------------------------------------------- */

void layer_case_free(layer_case *c) {
    for (size_t i = 0; i < c->count; i++) free(c->arrays[i].values);
    c->count = 0;
}

const oracle_array *layer_case_array(const layer_case *c, const char *name) {
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->arrays[i].name, name) == 0) return &c->arrays[i];
    return NULL;
}

const size_t *layer_case_in(const layer_case *c) { return c->x + (c->layer.channels_last ? 1 : 2); }

const size_t *layer_case_kernel(const layer_case *c) {
    bool first = c->layer.framework == PLEAT_TENSORFLOW || c->layer.framework == PLEAT_KERAS;
    return c->w + (first ? 0 : 2);
}

/* The reader of tests/oracle/: text lines into arrays. */
#define _POSIX_C_SOURCE 200809L

#include "oracle.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *oracle_parse(char *line, oracle_array *a) {
    char *at = line + strcspn(line, " "), *end;
    if (at == line || (size_t)(at - line) >= sizeof a->name)
        return "a name of 1 to 63 characters comes first";
    memcpy(a->name, line, (size_t)(at - line));
    unsigned long long n = strtoull(at, &end, 10);
    a->rank = (size_t)n;
    if (end == at || n > PLEAT_MAX_RANK) return "the rank is missing or too large";
    a->numel = 1;
    for (size_t i = 0; i < a->rank; i++) {
        n = strtoull(at = end, &end, 10);
        a->shape[i] = (size_t)n;
        if (end == at || n > strlen(line)) return "a size is missing or too large";
        a->numel *= a->shape[i];
    }
    if (strncmp(end, " :", 2)) return "a colon must follow the sizes";
    if (a->numel > strlen(line)) return "there are too few values";
    a->values = calloc(a->numel + 1, sizeof *a->values);
    if (!a->values) return "no memory";
    end += 2;
    for (size_t i = 0; i < a->numel; i++) {
        a->values[i] = strtod(at = end, &end);
        if (end == at) return "there are too few values";
    }
    return end[strspn(end, " \n")] ? "there are too many values" : NULL;
}

static const char *parse_all(FILE *f, oracle *o, char **line) {
    size_t room = 0;
    while (getline(line, &room, f) > 0) {
        oracle_array *more = realloc(o->arrays, (o->count + 1) * sizeof *more);
        if (!more) return "no memory";
        o->arrays = more;
        o->arrays[o->count] = (oracle_array){.rank = 0};
        const char *wrong = oracle_parse(*line, &o->arrays[o->count++]);
        if (wrong) return wrong;
    }
    return o->count ? NULL : "it is empty";
}

oracle *oracle_read(const char *file) {
    char path[4096], *line = NULL;
    snprintf(path, sizeof path, "%s/%s", PLEAT_ORACLE_DIR, file);
    FILE *f = fopen(path, "r");
    oracle *o = calloc(1, sizeof *o);
    const char *wrong = !f ? "cannot be opened" : !o ? "no memory" : parse_all(f, o, &line);
    if (wrong) {
        fprintf(stderr, "%s, array %zu: %s\n", path, o ? o->count : 0, wrong);
        oracle_free(o);
        o = NULL;
    }
    free(line);
    if (f) fclose(f);
    return o;
}

void oracle_free(oracle *o) {
    if (!o) return;
    for (size_t i = 0; i < o->count; i++) free(o->arrays[i].values);
    free(o->arrays);
    free(o);
}

const oracle_array *oracle_find(const oracle *o, const char *format, ...) {
    char name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (size_t i = 0; i < o->count; i++)
        if (!strcmp(o->arrays[i].name, name)) return &o->arrays[i];
    return NULL;
}

pleat_tensor *oracle_tensor(pleat_ctx *ctx, pleat_dtype dtype, const oracle_array *a) {
    return pleat_from_f64(ctx, dtype, a->rank, a->shape, a->values);
}

double oracle_error(const oracle_array *a, const pleat_tensor *t) {
    if (pleat_is_poison(t) || pleat_rank(t) != a->rank) return INFINITY;
    for (size_t i = 0; i < a->rank; i++)
        if (pleat_size(t, i) != a->shape[i]) return INFINITY;
    double *values = malloc((a->numel + 1) * sizeof *values), error = 0, scale = 1;
    if (!values) return INFINITY;
    pleat_read_f64(t, values);
    for (size_t i = 0; i < a->numel; i++) {
        double difference = fabs(values[i] - a->values[i]);
        if (!(difference <= error)) error = isnan(difference) ? INFINITY : difference;
        scale = fmax(scale, fabs(a->values[i]));
    }
    free(values);
    return error / scale;
}

/* A network as a C file: weights as constants, activations in one arena, loops of the canonical definition. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "export/export.h"
#include "module.h"
#include "pleat_nn_data.h"
#include "runtime_text.h"

#define OP "export_c"

/* ---- parts of the runtime --------------------------------------------------------------------------------------- */

/* Does the word stand in the list, between blanks? */
static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

typedef struct heading {
    char name[40], words[80]; /* words: the name and the parts that it needs */
} heading;

/* False if the line names no part. */
static bool read_heading(const char *line, heading *h) {
    if (strncmp(line, "/*@ ", 4)) return false;
    snprintf(h->words, sizeof h->words, "%.*s", (int)strcspn(line + 4, "*") - 1, line + 4);
    snprintf(h->name, sizeof h->name, "%.*s", (int)strcspn(h->words, " "), h->words);
    return true;
}

static bool needs_part(const pln_c_file *f, const char *name) {
    for (const pln_action *a = f->actions; a; a = a->next) {
        const char *part = a->pool[0] ? "conv2d_pooled" : a->rule->part;
        if (part && !strcmp(part, name)) return true;
    }
    return false;
}

/* The parts that are needed, as a list of words. A part needs parts before it alone. */
static void list_parts(const pln_c_file *f, char list[800]) {
    size_t lines = sizeof pln_text_runtime / sizeof *pln_text_runtime - 1;
    heading h;
    strcpy(list, needs_part(f, "functions") ? "functions" : "");
    while (lines-- > 0)
        if (read_heading(pln_text_runtime[lines], &h) && (needs_part(f, h.name) || has_word(list, h.name)))
            strcat(strcat(list, " "), h.words);
}

static void write_parts(pln_c_file *f) {
    char list[800];
    heading h;
    bool on = false;
    list_parts(f, list);
    for (size_t i = 0; pln_text_functions[i] && has_word(list, "functions"); i++)
        fprintf(f->to, "%s\n", pln_text_functions[i]);
    for (size_t i = 0; pln_text_runtime[i]; i++)
        if (read_heading(pln_text_runtime[i], &h))
            on = has_word(list, h.name);
        else if (on)
            fprintf(f->to, "%s\n", pln_text_runtime[i]);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------ */

/* In hexadecimal digits, with a point in every locale: exact, and quick to write. */
static void write_number(FILE *to, double v) {
    int exponent = 0;
    double m = isfinite(v) ? frexp(fabs(v), &exponent) : 0;
    if (v == 0) fputs(signbit(v) ? "-0.0" : "0", to);
    if (!isfinite(v)) fputs(isnan(v) ? "NAN" : v > 0 ? "INFINITY" : "-INFINITY", to);
    if (!(m > 0)) return;
    uint64_t digits = (uint64_t)ldexp(m, 53)
                      << 11 << 1; /* behind the point, from the highest of 64 bits on */
    fputs(v < 0 ? "-0x1." : "0x1.", to);
    for (; digits; digits <<= 4) fputc("0123456789abcdef"[digits >> 60], to);
    fprintf(to, "p%d", exponent - 1);
}

static bool next_index(size_t rank, const size_t *shape, size_t *index) {
    for (size_t k = rank; k-- > 0; index[k] = 0)
        if (++index[k] < shape[k]) return true;
    return false;
}

static void write_constant(FILE *to, const pln_area *a) {
    const pleat_tensor *t = a->constant;
    size_t index[PLEAT_MAX_RANK] = {0}, i = 0;
    fprintf(to, "static const float k%zu[%zu] = {", a->index, a->numbers);
    do {
        fputs(i++ % 8 ? ", " : i > 1 ? ",\n    " : "\n    ", to);
        write_number(to, pleat_at(t, index));
    } while (next_index(pleat_rank(t), pleat_shape(t), index));
    fputs("};\n", to);
}

/* Factors, then shifts: rescale's numbers, in double. */
static void write_norm(FILE *to, const pln_area *a) {
    const pleat_call *c = a->norm;
    long tensors = (long)c->n - 1;
    if (strcmp(c->op->name, "rescale")) pln_whole(c, "norm", 1, &tensors);
    pleat_tensor **in = c->in + (c->n - (size_t)tensors);
    size_t C = a->numbers / 2;
    fprintf(to, "static const double k%zu[%zu] = {", a->index, a->numbers);
    for (size_t i = 0; i < 2 * C; i++) {
        double factor = pleat_at(in[1], &(size_t){i % C});
        double product = factor * pleat_at(in[0], &(size_t){i % C});
        double bias = tensors > 2 ? pleat_at(in[2], &(size_t){i % C}) : 0;
        fputs(i % 4 ? ", " : i ? ",\n    " : "\n    ", to);
        write_number(to, i < C ? factor : bias - product);
    }
    fputs("};\n", to);
}

/* ---- files -------------------------------------------------------------------------------------------------------- */

/* Letters in capitals. */
typedef struct name {
    char text[64];
} name;

static name capitals(const char *text) {
    name n = {{0}};
    for (size_t i = 0; text[i]; i++)
        n.text[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]);
    return n;
}

static void write_header(pln_c_file *f) {
    const pleat_tensor *x = pleat_prepared_x(f->p), *y = pleat_prepared_result(f->p);
    name N = capitals(f->stem);
    fprintf(f->to, "/* Written by pleat. */\n#ifndef %s_H\n#define %s_H\n\n", N.text, N.text);
    fputs("#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n/* Numbers, row-major: ", f->to);
    for (int k = 0; k < 2; k++) {
        const pleat_tensor *t = k ? y : x;
        fputs(k ? "], and y [" : "x [", f->to);
        for (size_t i = 0; i < pleat_rank(t); i++) fprintf(f->to, "%s%zu", i ? "," : "", pleat_shape(t)[i]);
    }
    fprintf(f->to, "]. Bytes: of the constants, and of the static arena, which a call uses and leaves. */\n");
    fprintf(f->to, "#define %s_X %zu\n#define %s_Y %zu\n", N.text, pleat_numel(x), N.text, pleat_numel(y));
    fprintf(f->to, "#define %s_CONSTANT_BYTES %zu\n#define %s_ARENA_BYTES %zu\n\n", N.text, f->constants,
            N.text, f->arena * sizeof(float));
    fprintf(f->to, "/* y, bit for bit as pleat computes it. One call at a time: the arena is shared. */\n");
    fprintf(f->to, "void %s_forward(const float *x, float *y);\n\n", f->stem);
    fputs("#ifdef __cplusplus\n}\n#endif\n#endif\n", f->to);
}

/* GCC fuses products and sums by default where the processor can, which would be other numbers. */
static const char preamble[] = "#include <math.h>\n"
                               "#include <stddef.h>\n"
                               "#include <stdint.h>\n"
                               "#include <string.h>\n\n"
                               "#if defined __clang__\n"
                               "#pragma STDC FP_CONTRACT OFF\n"
                               "#pragma clang diagnostic ignored \"-Wunused-function\"\n"
                               "#elif defined __GNUC__\n"
                               "#pragma GCC optimize(\"fp-contract=off\")\n"
                               "#endif\n\n";

static void write_source(pln_c_file *f, bool *done) {
    fprintf(f->to, "/* Written by pleat: %s_forward, C11, without heap and libm. */\n#include \"%s.h\"\n\n",
            f->stem, f->stem);
    fputs(preamble, f->to);
    write_parts(f);
    for (const pln_area *a = f->areas; a; a = a->next)
        if (a->kind == PLN_CONSTANT && a->norm)
            write_norm(f->to, a);
        else if (a->kind == PLN_CONSTANT && a->constant && a->used)
            write_constant(f->to, a);
    if (f->arena) fprintf(f->to, "\nstatic float arena[%zu];\n", f->arena);
    fprintf(f->to, "\nvoid %s_forward(const float *in, float *out) {\n", f->stem);
    for (const pln_action *a = f->actions; a && *done; a = a->next) *done = pln_write_action(f, a);
    fputs("}\n", f->to);
}

/* Numbers that tell errors apart: from 0 to 1, by a generator of their own. */
static void draw(uint32_t *state, size_t n, float *x) {
    for (size_t i = 0; i < n; i++) {
        *state = *state * 1664525u + 1013904223u;
        x[i] = (float)(*state >> 8) / 16777216.0f;
    }
}

/* FNV-1a of the words that the numbers are. */
static uint32_t hash_of(size_t n, const float *y) {
    uint32_t hash = 2166136261u, word;
    for (size_t i = 0; i < n; i++) {
        memcpy(&word, &y[i], sizeof word);
        hash = (hash ^ word) * 16777619u;
    }
    return hash;
}

/* What the library gives for the inputs that the self-test draws. */
static bool write_expected(pln_c_file *f, size_t n, size_t m, float *x) {
    uint32_t state = 1;
    fprintf(f->to, "static const uint32_t expected[%zu] = {", f->args->test);
    for (size_t t = 0; t < f->args->test; t++) {
        draw(&state, n, x);
        if (pleat_run_f32(f->p, x, x + n) != PLEAT_OK) {
            const pleat_ctx *own = pleat_ctx_of(pleat_prepared_result(f->p));
            pleat_fail(f->ctx, PLEAT_ERR_ARGUMENT, OP, "%s", pleat_error(own)->text);
            return false;
        }
        fprintf(f->to, "%s0x%08lx",
                t % 8 ? ", "
                : t   ? ",\n    "
                      : "\n    ",
                (unsigned long)hash_of(m, x + n));
    }
    fputs("};\n", f->to);
    return true;
}

static bool write_test(pln_c_file *f) {
    size_t n = pleat_numel(pleat_prepared_x(f->p)), m = pleat_numel(pleat_prepared_result(f->p)), bytes;
    float *x = __builtin_mul_overflow(n + m, sizeof *x, &bytes) ? NULL : malloc(bytes);
    if (!x) return pleat_fail(f->ctx, PLEAT_ERR_MEMORY, OP, "no memory for the self-test"), false;
    name N = capitals(f->stem);
    fprintf(f->to, "/* Written by pleat: 0 if %s_forward gives the bits that pleat gave. */\n", f->stem);
    fprintf(f->to, "#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n\n#include \"%s.h\"\n\n",
            f->stem);
    bool done = write_expected(f, n, m, x);
    fprintf(f->to, "static float x[%s_X], y[%s_Y];\n\n", N.text, N.text);
    fprintf(f->to,
            "int main(void) {\n"
            "    uint32_t state = 1;\n"
            "    int others = 0;\n"
            "    for (int t = 0; t < %zu; t++) {\n"
            "        uint32_t hash = 2166136261u, word;\n"
            "        for (unsigned long i = 0; i < %s_X; i++) {\n"
            "            state = state * 1664525u + 1013904223u;\n"
            "            x[i] = (float)(state >> 8) / 16777216.0f;\n"
            "        }\n"
            "        %s_forward(x, y);\n"
            "        for (unsigned long i = 0; i < %s_Y; i++) {\n"
            "            memcpy(&word, &y[i], sizeof word);\n"
            "            hash = (hash ^ word) * 16777619u;\n"
            "        }\n"
            "        others += hash != expected[t];\n"
            "    }\n"
            "    printf(\"%s: %%d of %zu inputs give other bits\\n\", others);\n"
            "    return others != 0;\n"
            "}\n",
            f->args->test, N.text, f->stem, N.text, f->stem, f->args->test);
    free(x);
    return done;
}

typedef enum part { HEADER, SOURCE, TEST } part;

/* stem.h, stem.c, stem_test.c beside each other. */
static bool write_file(pln_c_file *f, part which) {
    static const char *const endings[] = {".h", ".c", "_test.c"};
    size_t length = strlen(f->args->path) - 2;
    char *path = malloc(length + 8);
    pleat_nn_file file;
    bool done = true;
    if (!path) return pleat_fail(f->ctx, PLEAT_ERR_MEMORY, OP, "no memory for a path"), false;
    memcpy(path, f->args->path, length);
    strcpy(path + length, endings[which]);
    bool created = pleat_nn_file_create(f->ctx, path, &file) == PLEAT_OK;
    free(path);
    if (!created) return false;
    f->to = file.f;
    if (which == HEADER) write_header(f);
    if (which == SOURCE) write_source(f, &done);
    if (which == TEST) done = write_test(f);
    if (done) return pleat_nn_file_commit(f->ctx, &file) == PLEAT_OK;
    pleat_nn_file_abort(&file);
    return false;
}

/* ---- the function ------------------------------------------------------------------------------------------------- */

/* The file's name without folder and ending, which must be a name in C. */
static bool find_stem(pleat_ctx *ctx, const char *path, char stem[64]) {
    const char *base = path && strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t n = base ? strlen(base) : 0;
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    bool fine = n > 2 && n < 60 && !strcmp(base + n - 2, ".c") && !strchr(letters + 53, base[0]);
    fine = fine && strspn(base, letters) == n - 2;
    if (!fine) {
        pleat_fail(
            ctx, PLEAT_ERR_ARGUMENT, OP,
            "the path is %s; it must end with a name of C, of at most 57 letters, digits and _, and .c: net.c",
            path ? path : "NULL");
        return false;
    }
    memcpy(stem, base, n - 2);
    stem[n - 2] = '\0';
    return true;
}

static bool export_c(pln_c_file *f) {
    if (pleat_dtype_of(pleat_prepared_x(f->p)) != PLEAT_F32 ||
        pleat_dtype_of(pleat_prepared_result(f->p)) != PLEAT_F32) {
        pleat_fail(f->ctx, PLEAT_ERR_DTYPE, OP, "the network is f64; only f32 has a form in C yet");
        return false;
    }
    return pln_plan_c(f) && write_file(f, HEADER) && write_file(f, SOURCE) &&
           (!f->args->test || write_file(f, TEST));
}

pleat_status pleat_nn_export_c_with(pleat_nn_export_c_args a) {
    char stem[64];
    if (!a.m) return PLEAT_ERR_ARGUMENT;
    pln_c_file f = {.ctx = a.m->ctx, .args = &a, .stem = stem};
    if (!find_stem(f.ctx, a.path, stem)) return pleat_error(f.ctx)->code;
    f.p = pleat_nn_prepare(a.m, a.rank, a.shape);
    if (!f.p) return pleat_error(f.ctx)->code;
    bool done = export_c(&f);
    pln_free_plan(&f);
    pleat_prepared_free(f.p);
    return done ? PLEAT_OK : pleat_error(f.ctx)->code;
}

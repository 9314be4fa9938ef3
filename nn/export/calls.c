/* How calls are written in C: a row for each op. An element-wise op is its expression; others call a function of runtime.c. */
#include <string.h>

#include "export/export.h"
#include "files/numbers.h"

/* ---- attributes ------------------------------------------------------------------------------------------------- */

void pln_whole(const pleat_call *c, const char *name, size_t n, long *values) {
    pleat_attr a;
    bool found = pleat_call_attribute(c, name, &a) && a.kind == PLEAT_ATTR_WHOLE;
    for (size_t i = 0; i < n; i++)
        values[i] = found && i < a.count ? (long)(a.list ? (int64_t)a.list[i] : a.whole[i]) : 0;
}

double pln_real(const pleat_call *c, const char *name) {
    pleat_attr a;
    return pleat_call_attribute(c, name, &a) && a.kind == PLEAT_ATTR_REAL ? a.real[0] : 0;
}

static long whole(const pleat_call *c, const char *name) {
    long v;
    return pln_whole(c, name, 1, &v), v;
}

/* ---- places ----------------------------------------------------------------------------------------------------- */

pln_place pln_place_of(const pln_view *v) {
    static const char *const names[] = {"arena", "in", "out", "k"};
    pln_place p;
    size_t at = v->offset + v->area->place;
    char number[24] = "", offset[24] = "";
    if (v->area->kind == PLN_CONSTANT) snprintf(number, sizeof number, "%zu", v->area->index);
    if (at) snprintf(offset, sizeof offset, " + %zu", at);
    snprintf(p.text, sizeof p.text, "%s%s%s", names[v->area->kind], number, offset);
    return p;
}

static void arguments(pln_c_file *f, const pln_view *from, const pln_view *to) {
    fprintf(f->to, "%s, %s);\n", pln_place_of(from).text, pln_place_of(to).text);
}

/* ---- element-wise ------------------------------------------------------------------------------------------------- */

enum { MOST = 3 };

/* Axes of the result, outermost first, and the strides of the result and of its operands along them. */
typedef struct nest {
    size_t rank, shape[PLEAT_MAX_RANK];
    ptrdiff_t stride[MOST][PLEAT_MAX_RANK];
} nest;

static ptrdiff_t stride_from_end(const pln_view *v, size_t k) {
    return k < v->rank && v->shape[v->rank - 1 - k] != 1 ? v->stride[v->rank - 1 - k] : 0;
}

/* Axes along which each operand goes on where the axis within ends are one. */
static nest nest_of(const pln_action *a) {
    nest all = {0}, t = {0};
    const pln_view *v[MOST] = {&a->out, &a->in[0], &a->in[1]};
    for (size_t k = a->out.rank; k-- > 0;) {
        size_t size = a->out.shape[a->out.rank - 1 - k];
        if (size == 1) continue;
        for (size_t i = 0; i <= a->n; i++) all.stride[i][all.rank] = stride_from_end(v[i], k);
        all.shape[all.rank++] = size;
    }
    for (size_t k = 0; k < all.rank; k++) {
        bool joins = t.rank > 0;
        for (size_t i = 0; i <= a->n && joins; i++)
            joins = t.stride[i][t.rank - 1] == all.stride[i][k] * (ptrdiff_t)all.shape[k];
        if (joins) t.rank--;
        t.shape[t.rank] = joins ? t.shape[t.rank] * all.shape[k] : all.shape[k];
        for (size_t i = 0; i <= a->n; i++) t.stride[i][t.rank] = all.stride[i][k];
        t.rank++;
    }
    return t;
}

static void write_element(pln_c_file *f, const pln_view *v, const nest *t, size_t i) {
    fprintf(f->to, "(%s)[", pln_place_of(v).text);
    bool any = false;
    for (size_t k = 0; k < t->rank; k++) {
        if (!t->stride[i][k]) continue;
        fprintf(f->to, "%si%zu", any ? " + " : "", k), any = true;
        if (t->stride[i][k] != 1) fprintf(f->to, " * %td", t->stride[i][k]);
    }
    fputs(any ? "]" : "0]", f->to);
}

static void write_each(pln_c_file *f, const pln_action *a) {
    static const char *const names[] = {"x", "z"};
    nest t = nest_of(a);
    pleat_attr attrs[PLEAT_MAX_ATTRS];
    size_t count = pleat_call_attributes(a->call, attrs);
    for (size_t k = 0; k < t.rank; k++)
        fprintf(f->to, "    for (int i%zu = 0; i%zu < %zu; i%zu++)\n", k, k, t.shape[k], k);
    fputs("    {\n        const float ", f->to);
    for (size_t i = 0; i < a->n; i++) {
        fprintf(f->to, "%s%s = ", i ? ", " : "", names[i]);
        write_element(f, &a->in[i], &t, i + 1);
    }
    for (size_t i = 0; i < count && i < 2 && strchr(a->rule->expression, "AB"[i]); i++)
        fprintf(f->to, ", %c = (float)%s", "AB"[i], pln_number(attrs[i].real[0]).s);
    if (strchr(a->rule->expression, 'E'))
        fprintf(f->to, ";\n        const double E = %s", pln_number(attrs[0].real[0]).s);
    fputs(";\n        ", f->to);
    write_element(f, &a->out, &t, 0);
    fprintf(f->to, " = %s;\n    }\n", a->rule->expression);
}

/* ---- convolutions --------------------------------------------------------------------------------------------------- */

static void write_conv(pln_c_file *f, const pln_action *a) {
    bool forward = a->call->op->name[6] == '\0';
    const size_t *w = pleat_shape(a->call->in[1]), *in = pleat_shape(a->call->in[0]), *out = a->call->shape;
    const size_t *x = forward ? in : out, *y = forward ? out : in;
    long s[2], d[2], pads[4];
    pln_whole(a->call, "stride", 2, s), pln_whole(a->call, "dilation", 2, d),
        pln_whole(a->call, "pads", 4, pads);
    bool relu6 = whole(a->call, "relu6"), norm = whole(a->call, "norm") > 0;
    fprintf(f->to,
            "    static const conv g%zu = {\n"
            "        %zu, %zu, %zu, %ld, %zu, %zu, %zu, %zu, %zu, %zu, {%ld, %ld}, {%ld, %ld}, {%ld, %ld},\n",
            a->out.area->index, x[0], x[1], y[1], whole(a->call, "groups"), x[2], x[3], y[2], y[3], w[2],
            w[3], s[0], s[1], d[0], d[1], pads[0], pads[1]);
    size_t bias = a->n - norm > 2 ? 2 : 0;
    fprintf(f->to, "        %s, %s, %s, %d, %s};\n", pln_place_of(&a->in[1]).text,
            bias ? pln_place_of(&a->in[2]).text : "NULL", norm ? pln_place_of(&a->in[a->n - 1]).text : "NULL",
            relu6 || whole(a->call, "relu"), relu6 ? "6" : "INFINITY");
}

static bool conv2d(pln_c_file *f, const pln_action *a) {
    write_conv(f, a);
    if (a->pool[0])
        fprintf(f->to, "    conv2d_pooled(&g%zu, %zu, %zu, ", a->out.area->index, a->pool[0], a->pool[1]);
    else
        fprintf(f->to, "    %s(&g%zu, ", a->rule->op, a->out.area->index);
    arguments(f, &a->in[0], &a->out);
    return true;
}

/* ---- others --------------------------------------------------------------------------------------------------------- */

static bool matmul(pln_c_file *f, const pln_action *a) {
    const pln_view *l = &a->in[0], *r = &a->in[1];
    bool ta = whole(a->call, "ta"), tb = whole(a->call, "tb");
    if (l->rank != 2 || r->rank != 2)
        return pln_cannot(f, a->call, "only products of two matrices have a form in C yet");
    fprintf(f->to, "    matmul(%zu, %zu, %zu, %s, (const int[2]){%td, %td}, ", a->out.shape[0], l->shape[!ta],
            a->out.shape[1], pln_place_of(l).text, l->stride[ta], l->stride[!ta]);
    fprintf(f->to, "%s, (const int[2]){%td, %td}, %s);\n", pln_place_of(r).text, r->stride[tb],
            r->stride[!tb], pln_place_of(&a->out).text);
    return true;
}

static bool pool(pln_c_file *f, const pln_action *a) {
    const size_t *in = a->in[0].shape, *out = a->out.shape;
    long k[2], s[2], p[2], d[2];
    pln_whole(a->call, "kernel", 2, k), pln_whole(a->call, "stride", 2, s), pln_whole(a->call, "pad", 2, p);
    pln_whole(a->call, "dilation", 2, d);
    fprintf(
        f->to,
        "    %s(&(const pool){%zu, {%zu, %zu}, {%zu, %zu}, {%ld, %ld}, {%ld, %ld}, {%ld, %ld}, {%ld, %ld}, %ld, %d}, ",
        strcmp(a->rule->op, "max_pool2d") ? "mean_pool2d" : "max_pool2d", in[0] * in[1], in[2], in[3], out[2],
        out[3], k[0], k[1], s[0], s[1], p[0], p[1], d[0], d[1], whole(a->call, "exclude_pad"),
        !strcmp(a->rule->op, "adaptive_avg_pool2d"));
    arguments(f, &a->in[0], &a->out);
    return true;
}

static bool nearest(pln_c_file *f, const pln_action *a) {
    const size_t *in = a->in[0].shape, *out = a->out.shape;
    fprintf(f->to, "    nearest(%zu, (const int[2]){%zu, %zu}, (const int[2]){%zu, %zu}, ", in[0] * in[1],
            in[2], in[3], out[2], out[3]);
    arguments(f, &a->in[0], &a->out);
    return true;
}

static bool bilinear(pln_c_file *f, const pln_action *a) {
    const size_t *in = a->in[0].shape, *out = a->out.shape;
    if (whole(a->call, "antialias")) return pln_cannot(f, a->call, "antialiasing has no form in C yet");
    fprintf(f->to, "    bilinear(%zu, (const int[2]){%zu, %zu}, (const int[2]){%zu, %zu}, %ld, ",
            in[0] * in[1], in[2], in[3], out[2], out[3], whole(a->call, "align_corners"));
    arguments(f, &a->in[0], &a->out);
    return true;
}

/* The summed axes, but for those of size 1, must be the last. */
static bool sum(pln_c_file *f, const pln_action *a) {
    pleat_attr axes;
    unsigned set = 0;
    const pln_view *x = &a->in[0];
    size_t n = 1, rows = 1;
    if (!pleat_call_attribute(a->call, "axes", &axes))
        return pln_cannot(f, a->call, "its axes are not known");
    for (size_t i = 0; i < axes.count; i++) set |= 1u << axes.whole[i];
    for (size_t k = x->rank; k-- > 0;) {
        if (!(set >> k & 1u))
            rows *= x->shape[k];
        else if (rows > 1 && x->shape[k] > 1)
            return pln_cannot(f, a->call, "only sums over the last axes have a form in C yet");
        else
            n *= x->shape[k];
    }
    double divisor = strcmp(a->rule->op, "mean") ? 1 : (double)n;
    fprintf(f->to, "    sum_rows(%zu, %zu, %s, ", rows, n, pln_number(divisor).s);
    arguments(f, x, &a->out);
    return true;
}

static bool softmax(pln_c_file *f, const pln_action *a) {
    size_t n = a->in[0].shape[a->in[0].rank - 1];
    fprintf(f->to, "    softmax(%zu, %zu, %d, ", pln_numbers(&a->in[0]) / n, n, a->rule->op[0] == 'l');
    arguments(f, &a->in[0], &a->out);
    return true;
}

static bool concat(pln_c_file *f, const pln_action *a) {
    size_t axis = (size_t)whole(a->call, "axis"), outer = 1, inner = 1, at = 0;
    for (size_t k = 0; k < a->out.rank; k++) *(k < axis ? &outer : &inner) *= k == axis ? 1 : a->out.shape[k];
    size_t step = inner * a->out.shape[axis];
    for (size_t i = 0; i < a->n; i++) {
        size_t n = a->in[i].shape[axis] * inner;
        fprintf(f->to, "    for (int n = 0; n < %zu; n++) memcpy(%s + n * %zu + %zu, ", outer,
                pln_place_of(&a->out).text, step, at);
        fprintf(f->to, "%s + n * %zu, %zu * sizeof(float));\n", pln_place_of(&a->in[i]).text, n, n);
        at += n;
    }
    return true;
}

/* factor x + shift in double, then relu */
static bool rescale(pln_c_file *f, const pln_action *a) {
    size_t C = a->in[0].shape[1], N = a->in[0].shape[0], pixels = pln_numbers(&a->in[0]) / N / C;
    bool relu6 = whole(a->call, "relu6"), relu = relu6 || whole(a->call, "relu");
    fprintf(f->to, "    rescale(%zu, %zu, %zu, %s, %d, %s, ", N, C, pixels, pln_place_of(&a->in[1]).text,
            relu, relu6 ? "6" : "INFINITY");
    arguments(f, &a->in[0], &a->out);
    return true;
}

/* Of groups of channels, or of the last axes. */
static bool normalize(pln_c_file *f, const pln_action *a) {
    const pln_view *x = &a->in[0];
    bool of_groups = a->rule->op[0] == 'g', relu6 = whole(a->call, "relu6"),
         relu = relu6 || whole(a->call, "relu");
    bool weight = a->n > 1 && !whole(a->call, "no_weight"), bias = a->n > 1 + (size_t)weight;
    size_t G = of_groups ? (size_t)whole(a->call, "groups") : 1, P = 1, Q = 1;
    if (of_groups) {
        P = x->shape[1] / G;
        for (size_t k = 2; k < x->rank; k++) Q *= x->shape[k];
    } else {
        for (size_t k = x->rank - (size_t)whole(a->call, "axes"); k < x->rank; k++) P *= x->shape[k];
    }
    fprintf(f->to, "    normalize(&(const norm){%zu, %zu, %zu, %zu, %s, %s, ", pln_numbers(x) / (P * Q), G, P,
            Q, pln_number(pln_real(a->call, "eps")).s, weight ? pln_place_of(&a->in[1]).text : "NULL");
    fprintf(f->to, "%s, %d, %s}, ", bias ? pln_place_of(&a->in[1 + weight]).text : "NULL", relu,
            relu6 ? "6" : "INFINITY");
    arguments(f, x, &a->out);
    return true;
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static const pln_rule rules[] = {
    {"conv2d", "conv2d", NULL, conv2d},
    {"conv2d_transpose", "conv2d_transpose", NULL, conv2d},
    {"matmul", "matmul", NULL, matmul},
    {"max_pool2d", "max_pool2d", NULL, pool},
    {"avg_pool2d", "mean_pool2d", NULL, pool},
    {"adaptive_avg_pool2d", "mean_pool2d", NULL, pool},
    {"resize_nearest", "nearest", NULL, nearest},
    {"resize_bilinear", "bilinear", NULL, bilinear},
    {"group_norm", "normalize", NULL, normalize},
    {"layer_norm", "normalize", NULL, normalize},
    {"sum", "sum", NULL, sum},
    {"mean", "sum", NULL, sum},
    {"softmax", "softmax", NULL, softmax},
    {"log_softmax", "softmax", NULL, softmax},
    {"concat", NULL, NULL, concat},
    {"rescale", "rescale", NULL, rescale},
    {"copy", NULL, "x", NULL},
    {"contiguous", NULL, "x", NULL},
    {"add", NULL, "x + z", NULL},
    {"sub", NULL, "x - z", NULL},
    {"mul", NULL, "x * z", NULL},
    {"div", NULL, "x / z", NULL},
    {"maximum", NULL, "x > z || x != x ? x : z", NULL},
    {"minimum", NULL, "x < z || x != x ? x : z", NULL},
    {"add_relu", NULL, "x + z > 0 ? x + z : (x + z == x + z ? 0 : x + z)", NULL},
    {"scale", NULL, "x * A", NULL},
    {"shift", NULL, "x + A", NULL},
    {"square", NULL, "x * x", NULL},
    {"abs", NULL, "x < 0 ? -x : x + 0.0f", NULL},
    {"relu", NULL, "x > 0 ? x : (x == x ? 0 : x)", NULL},
    {"relu6", NULL, "x > 0 ? (x < 6 ? x : 6) : (x == x ? 0 : x)", NULL},
    {"clamp", NULL, "x < A ? A : (x > B ? B : x)", NULL},
    {"leaky_relu", NULL, "x > 0 ? x : A * x", NULL},
    {"prelu", NULL, "x > 0 ? x : z * x", NULL},
    {"elu", "functions", "x > 0 ? x : A * pl_expm1_f32(x)", NULL},
    {"sigmoid", "functions", "pl_sigmoid_f32(x)", NULL},
    {"tanh", "functions", "pl_tanh_f32(x)", NULL},
    {"silu", "functions", "x * pl_sigmoid_f32(x)", NULL},
    {"softplus", "functions", "pl_softplus_f32(x)", NULL},
    {"gelu", "functions", "0.5f * x * (1 + pl_erf_f32(x * (float)0.70710678118654752440))", NULL},
    {"erf", "functions", "pl_erf_f32(x)", NULL},
    {"sqrt", "root", "(float)root((double)x)", NULL},
    {"pow", "power", "power(x, E)", NULL},
    {"exp", "functions", "pl_exp_f32(x)", NULL},
    {"log", "functions", "pl_log_f32(x)", NULL},
};

const pln_rule *pln_rule_of(const char *op) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!strcmp(rules[i].op, op)) return &rules[i];
    return NULL;
}

bool pln_write_action(pln_c_file *f, const pln_action *a) {
    char text[240];
    fprintf(f->to, "    /* %s */\n", pleat_call_text(a->call, text, sizeof text));
    if (!a->rule->expression) return a->rule->write(f, a);
    write_each(f, a);
    return true;
}

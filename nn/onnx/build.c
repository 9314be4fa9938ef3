/* The messages of a file as checked structs: names become slots, operators rows of the table, attributes plain values. */
#include <math.h>
#include <string.h>

#include "files/file.h"
#include "files/numbers.h"
#include "onnx/messages.h"

/* ---- names ------------------------------------------------------------------------------------------------ */

/* A copy of a text of the file, "" for NULL. */
static const char *copy(pln_onnx_model *m, const char *text) {
    if (!text) return "";
    size_t n = strlen(text);
    char *s = pln_onnx_take(m, n + 1, 1);
    return s ? memcpy(s, text, n) : NULL;
}

static size_t hash(const char *name) { /* FNV-1a */
    uint32_t h = 2166136261u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

/* The slot of a name, which is made if need be; false after an error. */
static bool slot_of(pln_onnx_model *m, const char *name, size_t *out) {
    size_t at = hash(name) % m->table_size;
    for (; m->table[at]; at = (at + 1) % m->table_size) {
        *out = m->table[at] - 1;
        if (!strcmp(m->slot[*out].name, name)) return true;
    }
    const char *s = copy(m, name);
    if (!s) return false;
    *out = m->slots++;
    m->slot[*out].name = s;
    m->table[at] = m->slots;
    return true;
}

/* Room for all names that the graph may have. */
static bool make_slots(pln_onnx_model *m, const PlnOnnx__Graph *g) {
    size_t n = 1 + g->n_initializer + g->n_input + g->n_output;
    for (size_t i = 0; i < g->n_node; i++) n += g->node[i]->n_input + g->node[i]->n_output;
    m->table_size = 2 * n;
    m->slot = pln_onnx_take(m, n, sizeof *m->slot);
    m->table = m->slot ? pln_onnx_take(m, m->table_size, sizeof *m->table) : NULL;
    return m->table != NULL;
}

/* A slot is made once. */
static bool make(pln_onnx_model *m, size_t slot, pln_onnx_from from, const char *by) {
    if (m->slot[slot].from != PLN_ONNX_UNMADE)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s: the value '%.80s' is made twice", by,
                              pln_shown(m->slot[slot].name).text);
    m->slot[slot].from = from;
    return true;
}

/* ---- inputs and outputs ------------------------------------------------------------------------------------ */

static bool read_dims(pln_onnx_model *m, const PlnOnnx__Shape *s, pln_onnx_port *port) {
    if (s->n_dim > PLEAT_MAX_RANK)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "'%.80s' has rank %zu; at most %d is supported",
                              pln_shown(port->name).text, s->n_dim, PLEAT_MAX_RANK);
    port->shaped = true;
    port->rank = s->n_dim;
    for (size_t i = 0; i < s->n_dim; i++) {
        const PlnOnnx__Dimension *d = s->dim[i];
        port->dim[i] = d->has_dim_value ? d->dim_value : -1;
        port->word[i] = d->dim_param ? copy(m, d->dim_param) : NULL;
        if (d->has_dim_value && d->dim_value < 0)
            return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "'%.80s' has size %jd on axis %zu",
                                  pln_shown(port->name).text, (intmax_t)d->dim_value, i);
        if (d->dim_param && !port->word[i]) return false;
    }
    return true;
}

static bool read_port(pln_onnx_model *m, const PlnOnnx__ValueInfo *v, pln_onnx_port *port) {
    const PlnOnnx__TensorType *type = v->type ? v->type->tensor_type : NULL;
    if (!v->name || !*v->name)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "an input or output of the graph has no name");
    if (!slot_of(m, v->name, &port->slot)) return false;
    port->name = m->slot[port->slot].name;
    if (!type || !type->has_elem_type || !pln_onnx_is_known(type->elem_type))
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "'%.80s' is %s, which is not supported",
                              pln_shown(v->name).text,
                              type ? pln_onnx_type_name(type->elem_type) : "no tensor");
    port->type = type->elem_type;
    return !type->shape || read_dims(m, type->shape, port);
}

/* Initializers may be named as inputs, too: these are not. */
static bool read_inputs(pln_onnx_model *m, const PlnOnnx__Graph *g) {
    m->input = pln_onnx_take(m, g->n_input + 1, sizeof *m->input);
    for (size_t i = 0, slot; m->input && i < g->n_input; i++) {
        const char *name = g->input[i]->name;
        if (name && !slot_of(m, name, &slot)) return false;
        if (name && m->slot[slot].initializer) continue;
        pln_onnx_port *port = &m->input[m->inputs];
        if (!read_port(m, g->input[i], port) || !make(m, port->slot, PLN_ONNX_INPUT, "an input"))
            return false;
        m->inputs++;
    }
    return m->input != NULL;
}

static bool read_outputs(pln_onnx_model *m, const PlnOnnx__Graph *g) {
    m->output = pln_onnx_take(m, g->n_output + 1, sizeof *m->output);
    if (!m->output) return false;
    for (size_t i = 0; i < g->n_output; i++, m->outputs++) {
        pln_onnx_port *port = &m->output[i];
        if (!read_port(m, g->output[i], port)) return false;
        if (m->slot[port->slot].from == PLN_ONNX_UNMADE)
            return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "the output '%.80s' is computed by no node",
                                  pln_shown(port->name).text);
    }
    return m->outputs || pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "the graph has no output");
}

static bool read_initializers(pln_onnx_model *m, const PlnOnnx__Graph *g) {
    char what[140];
    for (size_t i = 0, slot; i < g->n_initializer; i++) {
        const PlnOnnx__Tensor *p = g->initializer[i];
        snprintf(what, sizeof what, "initializer '%.100s'", pln_shown(p->name ? p->name : "").text);
        pln_onnx_value v;
        if (!p->name || !slot_of(m, p->name, &slot))
            return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "an initializer has no name");
        if (!pln_onnx_tensor(m, p, what, &v)) return false;
        if (!make(m, slot, PLN_ONNX_CONSTANT, what)) return pleat_drop(v.t), false;
        m->slot[slot].v = v;
        m->slot[slot].initializer = true;
    }
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------------------- */

/* A float attribute is a decimal number that somebody has written: the shortest that is this float. In f64 it is what the
 * framework computed with, and rounded to f32 it is the float again. */
static double decimal_of(float f) {
    double v = (double)f;
    for (int digits = 1; digits <= 9 && isfinite(f); digits++) {
        pln_digits text = pln_rounded((double)f, digits);
        if (pln_decimal(text.s, strlen(text.s), &v) && (float)v == f) return v;
    }
    return (double)f;
}

/* The type that the row gives the attribute, as a letter; 0: it has none of that name. */
static char type_in_row(const pln_onnx_row *row, const char *name) {
    size_t n = strlen(name);
    for (const char *at = row->attrs; at && *at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (!strncmp(at, name, n) && at[n] == ':') return at[n + 1];
    }
    return 0;
}

static bool read_attr(pln_onnx_model *m, const pln_onnx_run *run, const pln_onnx_node *n,
                      const PlnOnnx__Attribute *p, pln_onnx_attr *a) {
    static const char letters[] = "?fist?FI";
    static const char *const names[] = {"none",     "a float", "an int", "a string",
                                        "a tensor", "?",       "floats", "ints"};
    int type = p->has_type && p->type > 0 && p->type < 8 && p->type != 5 ? p->type : 0;
    if (!(a->name = copy(m, p->name))) return false;
    char wanted = type_in_row(n->row, a->name);
    if (!wanted || p->ref_attr_name)
        return pln_onnx_refuse(run, n, "attribute %.60s is not supported in opset %d",
                               pln_shown(a->name).text, m->opset);
    if (letters[type] != wanted)
        return pln_onnx_refuse(run, n, "attribute %s has type %d; it must be %s", a->name,
                               p->has_type ? (int)p->type : 0, names[strchr(letters, wanted) - letters]);
    char what[200];
    snprintf(what, sizeof what, "node %zu %.40s: attribute %s", n->number, n->op, a->name);
    a->type = type;
    a->i = p->i;
    a->f = decimal_of(p->f);
    a->n = wanted == 'F' ? p->n_floats : wanted == 'I' ? p->n_ints : 0;
    size_t bytes = wanted == 'F' ? sizeof *p->floats : sizeof *p->ints;
    void *list = pln_onnx_take(m, a->n + 1, bytes);
    if (!list) return false;
    if (a->n) memcpy(list, wanted == 'F' ? (void *)p->floats : (void *)p->ints, a->n * bytes);
    a->floats = list;
    a->ints = list;
    char *s = pln_onnx_take(m, p->s.len + 1, 1);
    if (!s) return false;
    if (p->s.len) memcpy(s, p->s.data, p->s.len);
    a->s = s;
    return wanted != 't' || (p->t ? pln_onnx_tensor(m, p->t, what, &a->t)
                                  : pln_onnx_refuse(run, n, "attribute %s is no tensor", a->name));
}

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

/* The letter of input i in a row's `in`; 0: the row has no such input. */
static char letter_of(const char *in, size_t i) {
    size_t n = strlen(in);
    bool more = n && in[n - 1] == '+';
    return i < n - more ? in[i] : more ? in[n - 2] : 0;
}

static bool read_slots(pln_onnx_model *m, size_t n, char *const *names, size_t **out) {
    *out = pln_onnx_take(m, n + 1, sizeof **out);
    for (size_t i = 0; *out && i < n; i++) {
        (*out)[i] = PLN_ONNX_NONE;
        if (*names[i] && !slot_of(m, names[i], &(*out)[i])) return false;
    }
    return *out != NULL;
}

static bool read_node_inputs(pln_onnx_model *m, const pln_onnx_run *run, pln_onnx_node *n) {
    for (size_t i = 0; i < n->ins || letter_of(n->row->in, i); i++) {
        char letter = letter_of(n->row->in, i);
        bool given = i < n->ins && n->in[i] != PLN_ONNX_NONE;
        bool variadic = i >= n->ins && strchr(n->row->in, '+') && i + 2 > strlen(n->row->in) - 1;
        if (!letter)
            return pln_onnx_refuse(run, n, "it has %zu inputs; at most %zu are supported", n->ins, i);
        if (variadic) break;
        if (!given && letter >= 'a') return pln_onnx_refuse(run, n, "input %zu is missing", i);
        if (!given) continue;
        pln_onnx_slot *s = &m->slot[n->in[i]];
        if (s->from == PLN_ONNX_UNMADE)
            return pln_onnx_refuse(run, n, "input %zu, '%.80s', is made by no node before it", i,
                                   pln_shown(s->name).text);
    }
    return true;
}

static bool read_node_outputs(pln_onnx_model *m, const pln_onnx_run *run, pln_onnx_node *n) {
    size_t wanted = 0;
    for (size_t i = 0; i < n->outs; i++) {
        if (n->out[i] == PLN_ONNX_NONE) continue;
        if (i >= n->row->most_out)
            return pln_onnx_refuse(run, n, "output %zu is not supported; there are at most %zu", i,
                                   n->row->most_out);
        if (m->slot[n->out[i]].from != PLN_ONNX_UNMADE)
            return pln_onnx_refuse(run, n, "output %zu, '%.80s', is made twice", i,
                                   pln_shown(m->slot[n->out[i]].name).text);
        m->slot[n->out[i]].from = PLN_ONNX_COMPUTED;
        wanted++;
    }
    return wanted || pln_onnx_refuse(run, n, "it has no output");
}

/* Is the operator of a domain that is not ONNX's? */
static bool is_foreign(const PlnOnnx__Node *p) {
    return p->domain && *p->domain && strcmp(p->domain, "ai.onnx");
}

/* The operators of other nodes that are not supported either, each once: "; nor are Loop, Scan". */
static void list_others(const pln_onnx_model *m, const PlnOnnx__Graph *g, const char *op, char *text,
                        size_t bytes) {
    char name[64];
    size_t used = 0;
    bool known;
    for (size_t i = 0; i < g->n_node; i++) {
        const PlnOnnx__Node *p = g->node[i];
        if (!p->op_type || !strcmp(p->op_type, op)) continue;
        if (!is_foreign(p) && pln_onnx_find_row(p->op_type, m->opset, &known)) continue;
        size_t n = (size_t)snprintf(name, sizeof name, " %.60s,", pln_shown(p->op_type).text);
        if (strstr(text, name) || used + n + 10 > bytes) continue;
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? "" : "; nor are", name);
    }
    if (used) text[used - 1] = '\0';
}

static bool refuse_operator(const pln_onnx_run *run, const pln_onnx_model *m, const PlnOnnx__Graph *g,
                            const pln_onnx_node *n, bool known) {
    const PlnOnnx__Node *p = g->node[n->number];
    bool own = is_foreign(p);
    char others[160] = "";
    list_others(m, g, n->op, others, sizeof others);
    return pln_onnx_refuse(run, n, "the operator is not supported%s%.60s%s",
                           own     ? "; its domain is "
                           : known ? " in this opset"
                                   : "",
                           own ? pln_shown(p->domain).text : "", others);
}

static bool read_node(pln_onnx_model *m, const PlnOnnx__Graph *g, pln_onnx_node *n) {
    const PlnOnnx__Node *p = g->node[n->number];
    const pln_onnx_run run = {.ctx = m->ctx, .op = "onnx_load", .path = m->path};
    bool known;
    n->opset = m->opset;
    if (!(n->op = copy(m, p->op_type)) || !(n->name = copy(m, p->name       ? p->name
                                                              : p->n_output ? p->output[0]
                                                                            : "")))
        return false;
    n->row = pln_onnx_find_row(n->op, m->opset, &known);
    if (is_foreign(p) || !n->row) return refuse_operator(&run, m, g, n, known);
    n->ins = p->n_input, n->outs = p->n_output;
    if (n->ins > m->most_in) m->most_in = n->ins;
    if (n->outs > m->most_out) m->most_out = n->outs;
    n->attr = pln_onnx_take(m, p->n_attribute + 1, sizeof *n->attr);
    for (size_t i = 0; n->attr && i < p->n_attribute; i++) {
        const char *name = p->attribute[i]->name ? p->attribute[i]->name : "";
        if (pln_onnx_has(n, name))
            return pln_onnx_refuse(&run, n, "attribute %.60s is given twice", pln_shown(name).text);
        n->attrs = i + 1;
        if (!read_attr(m, &run, n, p->attribute[i], &n->attr[i])) return false;
    }
    return n->attr && read_slots(m, n->ins, p->input, &n->in) && read_slots(m, n->outs, p->output, &n->out) &&
           read_node_inputs(m, &run, n) && read_node_outputs(m, &run, n);
}

static bool read_nodes(pln_onnx_model *m, const PlnOnnx__Graph *g) {
    m->most_in = PLN_ONNX_MOST_IN;
    m->node = pln_onnx_take(m, g->n_node + 1, sizeof *m->node);
    for (size_t i = 0; m->node && i < g->n_node; i++) {
        m->nodes = i + 1;
        m->node[i].number = i;
        if (!read_node(m, g, &m->node[i])) return false;
    }
    return m->node != NULL;
}

/* ---- the model ---------------------------------------------------------------------------------------------------- */

static bool read_opset(pln_onnx_model *m, const PlnOnnx__Model *p) {
    int64_t version = 0;
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const char *domain = p->opset_import[i]->domain;
        if (!domain || !*domain || !strcmp(domain, "ai.onnx")) version = p->opset_import[i]->version;
    }
    if (version < 1 || version > 17)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "its opset is %jd; 7 to 17 are supported",
                              (intmax_t)version);
    m->opset = (int)version;
    return true;
}

bool pln_onnx_build(pln_onnx_model *m, const PlnOnnx__Model *p) {
    const PlnOnnx__Graph *g = p->graph;
    if (!g) return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "it is no ONNX model: it has no graph");
    if (g->n_sparse_initializer)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "sparse initializers are not supported");
    if (!read_opset(m, p) || !make_slots(m, g) || !read_initializers(m, g) || !read_inputs(m, g) ||
        !read_nodes(m, g) || !read_outputs(m, g))
        return false;
    m->live = pln_onnx_take(m, m->slots, sizeof *m->live);
    m->in = m->live ? pln_onnx_take(m, m->most_in, sizeof *m->in) : NULL;
    m->out = m->in ? pln_onnx_take(m, m->most_out + 1, sizeof *m->out) : NULL;
    return m->out != NULL;
}

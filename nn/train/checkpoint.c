/* Checkpoints: everything that a run needs to go on as if it had never stopped, as one safetensors file. Numbers that are no tensors
 * are texts in its metadata, written so that they read back exactly. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "files/tensors.h"
#include "module.h"
#include "optimizer.h"

enum { RNG_TEXT = 256, KEY = 128 };

/* ---- the tensors ------------------------------------------------------------------------------------------ */

static size_t parts_of(const pleat_nn_checkpoint *c) {
    size_t n = 0;
    while (n < PLEAT_NN_PARTS && c->part[n].net) n++;
    return n;
}

static size_t count_tensors(const pleat_nn_part *p) {
    size_t n = pleat_nn_state_count(p->net);
    if (p->opt) n += pleat_nn_param_count(p->net) * pln_optimizer_states(p->opt);
    return p->ema ? n + pleat_nn_state_count(p->net) : n;
}

static pln_named *add(pln_tensors *s, pleat_tensor *t, bool whole) {
    pln_named *e = &s->named[s->n++];
    e->t = t;
    e->whole = whole;
    return e;
}

static void list_part(pln_tensors *s, const pleat_nn_part *p) {
    char name[160];
    for (size_t i = 0; i < pleat_nn_state_count(p->net); i++) {
        pln_named *e = add(s, pleat_nn_state(p->net, i), pln_state_is_whole(p->net, i));
        snprintf(e->name, sizeof e->name, "%s.%s", p->name,
                 pleat_nn_state_name(p->net, i, name, sizeof name));
    }
    for (size_t i = 0; p->opt && i < pleat_nn_param_count(p->net); i++)
        for (size_t k = 0; k < pln_optimizer_states(p->opt); k++) {
            pln_named *e = add(s, pln_optimizer_state(p->opt, i, k), false);
            snprintf(e->name, sizeof e->name, "%s.optimizer.%s.%s", p->name,
                     pleat_nn_param_name(p->net, i, name, sizeof name), pln_optimizer_state_name(p->opt, k));
        }
    for (size_t i = 0; p->ema && i < pleat_nn_state_count(p->net); i++) {
        pln_named *e = add(s, pln_ema_state(p->ema, i), pln_state_is_whole(p->net, i));
        snprintf(e->name, sizeof e->name, "%s.ema.%s", p->name,
                 pleat_nn_state_name(p->net, i, name, sizeof name));
    }
}

/* The rule that the parts break, or NULL. */
static const char *broken(const pleat_nn_checkpoint *c) {
    size_t n = parts_of(c);
    if (!n) return "part[0] must have a network";
    for (size_t i = 0; i < n; i++) {
        const pleat_nn_part *p = &c->part[i];
        if (!p->name || !*p->name || strlen(p->name) > 31)
            return "each part must have a name of 1 to 31 characters";
        for (size_t k = 0; k < i; k++)
            if (!strcmp(p->name, c->part[k].name)) return "two parts have the same name";
        if (p->opt && pln_optimizer_net(p->opt) != p->net) return "a part's optimizer must be its network's";
        if (p->ema && pln_ema_net(p->ema) != p->net) return "a part's ema must be its network's";
        if (p->ema && pln_ema_is_swapped(p->ema))
            return "a part's ema is swapped with the network; swap it back first";
    }
    return NULL;
}

static pleat_status list_tensors(pln_tensors *s, const pleat_nn_checkpoint *c, bool reading) {
    const char *wrong = broken(c);
    if (wrong) return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, s->op, "%s", wrong);
    pleat_status status = pln_tensors_are_there(s->ctx, s->op);
    if (status) return status;
    size_t n = 1;
    for (size_t i = 0; i < parts_of(c); i++) n += count_tensors(&c->part[i]);
    s->named = calloc(n, sizeof *s->named);
    if (!s->named) return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, s->op, "no memory for %zu names", n);
    for (size_t i = 0; i < parts_of(c); i++) list_part(s, &c->part[i]);
    if (!reading && !c->history) return PLEAT_OK;
    pln_named *e = add(s, reading ? NULL : c->history, false);
    snprintf(e->name, sizeof e->name, "history");
    e->optional = true;
    return PLEAT_OK;
}

/* ---- the texts -------------------------------------------------------------------------------------------- */

static void rng_text(const pleat_rng *r, char text[RNG_TEXT]) {
    snprintf(text, RNG_TEXT,
             "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64,
             r->seed, r->stream, r->counter, r->block[0], r->block[1], r->block[2], r->block[3], r->left);
}

static bool parse_rng(const char *text, pleat_rng *r) {
    char again[RNG_TEXT];
    *r = (pleat_rng){0};
    if (!text ||
        sscanf(text,
               "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu64,
               &r->seed, &r->stream, &r->counter, &r->block[0], &r->block[1], &r->block[2], &r->block[3],
               &r->left) != 8)
        return false;
    rng_text(r, again);
    return !strcmp(text, again) && r->left <= 4;
}

/* The rate and the steps of each parameter: "0.001 12 12 0". The caller frees it; NULL without memory. */
static char *optimizer_text(const pleat_nn_part *p) {
    size_t n = pleat_nn_param_count(p->net), room = 40 + 24 * n, used;
    char *text = malloc(room);
    if (!text) return NULL;
    used = (size_t)snprintf(text, room, "%.17g", pleat_nn_lr(p->opt));
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, room - used, " %.0f", pln_optimizer_steps(p->opt, i));
    return text;
}

/* Check, or check and set. */
static bool parse_optimizer(const char *text, const pleat_nn_part *p, bool set) {
    char *end;
    if (!text) return false;
    double lr = strtod(text, &end);
    if (end == text || !(lr >= 0) || lr > 1e300) return false;
    for (size_t i = 0; i < pleat_nn_param_count(p->net); i++) {
        const char *at = end;
        double steps = strtod(at, &end);
        if (end == at || !(steps >= 0) || steps > 9e15) return false;
        if (set) pln_optimizer_set_steps(p->opt, i, steps);
    }
    if (set) pleat_nn_set_lr(p->opt, lr);
    return *end == '\0';
}

/* The texts of a checkpoint in memory of their own. */
typedef struct texts {
    size_t n;
    pln_text text[2 + PLEAT_NN_PARTS + 64];
    char key[2 + PLEAT_NN_PARTS + 64][KEY];
    char rng[RNG_TEXT];
    char *optimizer[PLEAT_NN_PARTS];
} texts;

enum { MOST_NOTES = 64 };

static void add_text(texts *t, const char *prefix, const char *key, const char *text) {
    snprintf(t->key[t->n], KEY, "%s%s", prefix, key);
    t->text[t->n] = (pln_text){t->key[t->n], text};
    t->n++;
}

static bool make_texts(texts *t, const pleat_nn_checkpoint *c) {
    rng_text(pleat_ctx_rng(c->ctx), t->rng);
    add_text(t, "pleat.", "version", PLEAT_VERSION);
    add_text(t, "pleat.", "rng", t->rng);
    for (size_t i = 0; i < parts_of(c); i++) {
        if (!c->part[i].opt) continue;
        t->optimizer[i] = optimizer_text(&c->part[i]);
        if (!t->optimizer[i]) return false;
        add_text(t, "optimizer.", c->part[i].name, t->optimizer[i]);
    }
    for (size_t i = 0; i < c->notes; i++) add_text(t, "note.", c->note[i].key, c->note[i].text);
    return true;
}

static void free_texts(texts *t) {
    for (size_t i = 0; t && i < PLEAT_NN_PARTS; i++) free(t->optimizer[i]);
    free(t);
}

/* ---- saving ----------------------------------------------------------------------------------------------- */

pleat_status pleat_nn_save_checkpoint(const char *path, const pleat_nn_checkpoint *c) {
    pln_tensors s = {.ctx = c->ctx, .op = "save_checkpoint", .path = path};
    pleat_status status = list_tensors(&s, c, false);
    if (!status && c->notes > MOST_NOTES)
        status =
            pleat_fail(c->ctx, PLEAT_ERR_ARGUMENT, s.op, "%zu notes; at most %d fit", c->notes, MOST_NOTES);
    texts *t = status ? NULL : calloc(1, sizeof *t);
    if (!status && (!t || !make_texts(t, c)))
        status = pleat_fail(c->ctx, PLEAT_ERR_MEMORY, s.op, "no memory for the texts");
    if (!status) {
        s.texts = t->n;
        s.text = t->text;
        status = pln_tensors_write(&s);
    }
    free_texts(t);
    free(s.named);
    return status;
}

/* ---- loading ---------------------------------------------------------------------------------------------- */

static const char *find_text(const pln_tensors *s, const char *prefix, const char *key) {
    char name[KEY];
    snprintf(name, sizeof name, "%s%s", prefix, key);
    return pln_tensors_text(s, name);
}

static pleat_status check_texts(const pln_tensors *s, const pleat_nn_checkpoint *c, pleat_rng *rng) {
    if (!parse_rng(find_text(s, "pleat.", "rng"), rng))
        return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op,
                          "%s: not a checkpoint: its metadata has no random stream", s->path);
    for (size_t i = 0; i < parts_of(c); i++) {
        const pleat_nn_part *p = &c->part[i];
        if (p->opt && !parse_optimizer(find_text(s, "optimizer.", p->name), p, false))
            return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op,
                              "%s: the rate and steps of %s's optimizer are missing or damaged", s->path,
                              p->name);
    }
    for (size_t i = 0; i < c->notes; i++) {
        const char *text = find_text(s, "note.", c->note[i].key);
        if (text && strlen(text) >= sizeof c->note[i].text)
            return pleat_fail(s->ctx, PLEAT_ERR_FORMAT, s->op, "%s: the note %s is too long", s->path,
                              c->note[i].key);
        if (c->note[i].must && strcmp(c->note[i].must, text ? text : ""))
            return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, s->op,
                              "%s was made with %s \"%.150s\", and this run has \"%.150s\"", s->path,
                              c->note[i].key, text ? text : "", c->note[i].must);
    }
    return PLEAT_OK;
}

/* Nothing can fail from here on. */
static void take_over(pln_tensors *s, pleat_nn_checkpoint *c, pleat_rng rng) {
    pln_tensors_assign(s);
    *pleat_ctx_rng(c->ctx) = rng;
    for (size_t i = 0; i < parts_of(c); i++)
        if (c->part[i].opt) parse_optimizer(find_text(s, "optimizer.", c->part[i].name), &c->part[i], true);
    for (size_t i = 0; i < c->notes; i++) {
        const char *text = find_text(s, "note.", c->note[i].key);
        snprintf(c->note[i].text, sizeof c->note[i].text, "%s", text ? text : "");
    }
    for (size_t i = 0; i < s->n; i++)
        if (!s->named[i].t && s->named[i].fresh) c->history = pleat_keep(s->named[i].fresh);
}

pleat_status pleat_nn_load_checkpoint(const char *path, pleat_nn_checkpoint *c) {
    pln_tensors s = {.ctx = c->ctx, .op = "load_checkpoint", .path = path, .whose = "this run"};
    pleat_rng rng;
    c->history = NULL;
    pleat_scope scope = pleat_begin(c->ctx);
    pleat_status status = list_tensors(&s, c, true);
    if (!status) status = pln_tensors_read(&s);
    if (!status) status = check_texts(&s, c, &rng);
    if (!status) take_over(&s, c, rng);
    pleat_end(scope);
    pln_tensors_close(&s);
    free(s.named);
    return status;
}

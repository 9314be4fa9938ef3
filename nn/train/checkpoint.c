/* Checkpoints: the whole state of a run in one safetensors file. All of it that is not a tensor is text in
 * the metadata:
 *
 *     pleat.parts           "net, net.optimizer, net.ema": the parts, compared first, so that an error names the difference
 *     pleat.rng             the members of the context's random stream
 *     pleat.optimizer.net   the learning rate, and the number of updates of each parameter: "0.001 12 12 0"
 *     note.KEY              a note */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "files/numbers.h"
#include "files/tensors.h"
#include "module.h"
#include "optimizer.h"

enum { RNG_TEXT = 256, PARTS_TEXT = 512, KEY = 128, LONGEST_KEY = 100 };

static size_t parts_of(const pleat_nn_checkpoint *c) {
    size_t n = 0;
    while (n < PLEAT_NN_PARTS && c->part[n].net) n++;
    return n;
}

/* ---- what does not make a checkpoint ----------------------------------------------------------------------- */

static const char *broken_part(const pleat_nn_checkpoint *c, size_t i) {
    const pleat_nn_part *p = &c->part[i];
    if (!p->name || !*p->name || strlen(p->name) > 31) return "a part's name must have 1 to 31 characters";
    for (size_t k = 0; k < i; k++)
        if (!strcmp(p->name, c->part[k].name)) return "two parts have the same name";
    if (pleat_nn_ctx(p->net) != c->ctx) return "a part's network must be of the checkpoint's context";
    if (p->opt && pln_optimizer_net(p->opt) != p->net) return "a part's optimizer must be its network's";
    if (p->opt && pln_optimizer_pending(p->opt))
        return "a part's optimizer has accumulated gradients; pleat_nn_step_accumulated first";
    if (p->ema && pln_ema_net(p->ema) != p->net) return "a part's ema must be its network's";
    if (p->ema && pln_ema_is_swapped(p->ema))
        return "a part's network holds the averages of its ema; swap them back first";
    return NULL;
}

static const char *broken_note(const pleat_nn_checkpoint *c, size_t i) {
    const char *key = c->note[i].key;
    if (!key || !*key || strlen(key) > LONGEST_KEY) return "a note's key must have 1 to 100 characters";
    for (size_t k = 0; k < i; k++)
        if (!strcmp(key, c->note[k].key)) return "two notes have the same key";
    return NULL;
}

/* The rule that the checkpoint breaks, or NULL. */
static const char *broken(const pleat_nn_checkpoint *c) {
    const char *why = NULL;
    if (!c->ctx) return "the context is NULL";
    if (!parts_of(c)) return "part[0] must have a network";
    if (c->notes && !c->note) return "note is NULL";
    for (size_t i = 0; i < parts_of(c) && !why; i++) why = broken_part(c, i);
    for (size_t i = 0; i < c->notes && !why; i++) why = broken_note(c, i);
    return why;
}

/* Further rules for a checkpoint that is written. */
static const char *broken_contents(const pleat_nn_checkpoint *c) {
    const pleat_tensor *t = c->history;
    bool fine = pleat_ctx_of(t) == c->ctx && pleat_rank(t) == 2 && pleat_dtype_of(t) == PLEAT_F64;
    if (t && (pleat_is_poison(t) || !fine)) return "history must be [rows,columns] in f64, of this context";
    for (size_t i = 0; i < c->notes; i++)
        if (!memchr(c->note[i].text, 0, sizeof c->note[i].text)) return "a note's text does not end";
    return NULL;
}

/* ---- the tensors ------------------------------------------------------------------------------------------- */

static void add_part(pln_tensors *s, const pleat_nn_part *p) {
    char name[PLN_LONGEST_NAME + 2];
    for (size_t i = 0; i < pleat_nn_state_count(p->net); i++) {
        unsigned flags = pln_state_is_whole(p->net, i) ? PLN_WHOLE : 0;
        pleat_nn_state_name(p->net, i, name, sizeof name);
        pln_tensors_add(s, pleat_nn_state(p->net, i), flags, "%s.%s", p->name, name);
        if (p->ema) pln_tensors_add(s, pln_ema_state(p->ema, i), flags, "%s.ema.%s", p->name, name);
    }
    for (size_t i = 0; p->opt && i < pleat_nn_param_count(p->net); i++) {
        pleat_nn_param_name(p->net, i, name, sizeof name);
        for (size_t k = 0; k < pln_optimizer_states(p->opt); k++)
            pln_tensors_add(s, pln_optimizer_state(p->opt, i, k), 0, "%s.optimizer.%s.%s", p->name, name,
                            pln_optimizer_state_name(p->opt, k));
    }
}

/* ---- the texts --------------------------------------------------------------------------------------------- */

/* "net, net.optimizer, critic" */
static void parts_text(const pleat_nn_checkpoint *c, char text[PARTS_TEXT]) {
    size_t used = 0;
    for (size_t i = 0; i < parts_of(c); i++) {
        const pleat_nn_part *p = &c->part[i];
        used += (size_t)snprintf(text + used, PARTS_TEXT - used, "%s%s", i ? ", " : "", p->name);
        if (p->opt) used += (size_t)snprintf(text + used, PARTS_TEXT - used, ", %s.optimizer", p->name);
        if (p->ema) used += (size_t)snprintf(text + used, PARTS_TEXT - used, ", %s.ema", p->name);
    }
}

static void rng_text(const pleat_rng *r, char text[RNG_TEXT]) {
    snprintf(text, RNG_TEXT,
             "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64,
             r->seed, r->stream, r->counter, r->block[0], r->block[1], r->block[2], r->block[3], r->left);
}

static bool read_rng(const char *text, pleat_rng *r) {
    char again[RNG_TEXT];
    *r = (pleat_rng){0};
    if (sscanf(text,
               "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu64,
               &r->seed, &r->stream, &r->counter, &r->block[0], &r->block[1], &r->block[2], &r->block[3],
               &r->left) != 8)
        return false;
    rng_text(r, again);
    return !strcmp(text, again) && r->left <= 4;
}

static void say_optimizer(pln_tensors *s, const pleat_nn_part *p) {
    size_t n = pleat_nn_param_count(p->net), room = 40 * (n + 1), used;
    char key[KEY], *text = malloc(room);
    if (!text) {
        pln_tensors_fail(s, PLEAT_ERR_MEMORY, "no memory for the steps of %zu parameters", n);
        return;
    }
    used = (size_t)snprintf(text, room, "%s", pln_number(pleat_nn_lr(p->opt)).s);
    for (size_t i = 0; i < n; i++)
        used +=
            (size_t)snprintf(text + used, room - used, " %s", pln_number(pln_optimizer_steps(p->opt, i)).s);
    snprintf(key, sizeof key, "pleat.optimizer.%s", p->name);
    pln_tensors_say(s, key, text);
    free(text);
}

/* Check the text, and with `set` apply it to the optimizer. */
static bool read_optimizer(const char *text, const pleat_nn_part *p, bool set) {
    double lr, steps;
    if (!text || !pln_read_number(&text, &lr) || !pln_is_not_negative(lr)) return false;
    for (size_t i = 0; i < pleat_nn_param_count(p->net); i++) {
        if (!pln_read_number(&text, &steps) || !pln_is_not_negative(steps) || steps != floor(steps))
            return false;
        if (set) pln_optimizer_set_steps(p->opt, i, steps);
    }
    if (set) pleat_nn_set_lr(p->opt, lr);
    return !*text;
}

static const char *find_text(const pln_tensors *s, const char *prefix, const char *key) {
    char name[KEY];
    snprintf(name, sizeof name, "%s%s", prefix, key);
    return pln_tensors_text(s, name);
}

/* ---- saving ------------------------------------------------------------------------------------------------ */

static void say_all(pln_tensors *s, const pleat_nn_checkpoint *c) {
    char parts[PARTS_TEXT], rng[RNG_TEXT], key[KEY];
    parts_text(c, parts);
    rng_text(pleat_ctx_rng(c->ctx), rng);
    pln_tensors_say(s, "pleat.parts", parts);
    pln_tensors_say(s, "pleat.rng", rng);
    for (size_t i = 0; i < parts_of(c); i++)
        if (c->part[i].opt) say_optimizer(s, &c->part[i]);
    for (size_t i = 0; i < c->notes; i++) {
        snprintf(key, sizeof key, "note.%s", c->note[i].key);
        pln_tensors_say(s, key, c->note[i].text);
    }
}

static void save(pln_tensors *s, const pleat_nn_checkpoint *c) {
    for (size_t i = 0; i < parts_of(c); i++) add_part(s, &c->part[i]);
    pleat_tensor *rows = c->history ? pleat_contiguous(c->history) : NULL;
    if (rows && pleat_is_poison(rows))
        pln_tensors_fail(s, PLEAT_ERR_MEMORY, "no memory for the history");
    else if (rows)
        pln_tensors_add(s, rows, 0, "history");
    say_all(s, c);
    pln_tensors_write(s);
}

pleat_status pleat_nn_save_checkpoint(const char *path, const pleat_nn_checkpoint *c) {
    pln_tensors s = {.ctx = c ? c->ctx : NULL, .op = "save_checkpoint", .path = path};
    const char *wrong = c ? broken(c) : "the checkpoint is NULL";
    if (!wrong) wrong = broken_contents(c);
    if (wrong) return pln_tensors_fail(&s, PLEAT_ERR_ARGUMENT, "%s", wrong);
    pleat_scope scope = pleat_begin(c->ctx);
    save(&s, c);
    pleat_end(scope);
    pln_tensors_close(&s);
    return s.status;
}

/* ---- loading ----------------------------------------------------------------------------------------------- */

/* Check that the file is a checkpoint with the same parts. */
static void check_parts(pln_tensors *s, const pleat_nn_checkpoint *c, pleat_rng *rng) {
    const char *parts = pln_tensors_text(s, "pleat.parts"), *stream = pln_tensors_text(s, "pleat.rng");
    char own[PARTS_TEXT];
    parts_text(c, own);
    if (!parts || !stream || !read_rng(stream, rng))
        pln_tensors_fail(s, PLEAT_ERR_FORMAT,
                         "%s: not a checkpoint: its metadata has no parts or no random stream", s->path);
    else if (strcmp(parts, own))
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s holds %s, and this run has %s", s->path,
                         pln_shown(parts).text, pln_shown(own).text);
}

/* Write both texts, from a little before the first difference. */
static void other_note(pln_tensors *s, const pleat_nn_note *note, const char *text) {
    size_t same = 0;
    while (text[same] && text[same] == note->must[same]) same++;
    size_t from = same < 60 ? 0 : same - 20;
    const char *dots = from ? "..." : "";
    pln_tensors_fail(s, PLEAT_ERR_ARGUMENT, "%s was made with %s \"%s%s\", and this run has \"%s%s\"",
                     s->path, note->key, dots, pln_shown(text + from).text, dots,
                     pln_shown(note->must + from).text);
}

static void check_note(pln_tensors *s, const pleat_nn_note *note) {
    const char *text = find_text(s, "note.", note->key);
    if (!text) text = "";
    if (note->must && strcmp(note->must, text)) other_note(s, note, text);
    if (strlen(text) >= sizeof note->text)
        pln_tensors_fail(s, PLEAT_ERR_FORMAT,
                         "%s: the note %s has %zu characters; it must have fewer than %zu", s->path,
                         note->key, strlen(text), sizeof note->text);
}

static void check_optimizer(pln_tensors *s, const pleat_nn_part *p) {
    if (p->opt && !read_optimizer(find_text(s, "pleat.optimizer.", p->name), p, false))
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: the rate and the steps of %s.optimizer do not fit it",
                         s->path, p->name);
}

/* From here on nothing can fail. */
static void take_over(pln_tensors *s, pleat_nn_checkpoint *c, const pleat_rng *rng) {
    pln_tensors_assign(s);
    *pleat_ctx_rng(c->ctx) = *rng;
    for (size_t i = 0; i < parts_of(c); i++)
        if (c->part[i].opt)
            read_optimizer(find_text(s, "pleat.optimizer.", c->part[i].name), &c->part[i], true);
    for (size_t i = 0; i < c->notes; i++) {
        const char *text = find_text(s, "note.", c->note[i].key);
        snprintf(c->note[i].text, sizeof c->note[i].text, "%s", text ? text : "");
    }
    c->history = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (!s->named[i].t && s->named[i].fresh) c->history = pleat_keep(s->named[i].fresh);
}

static void load(pln_tensors *s, pleat_nn_checkpoint *c) {
    pleat_rng rng = {0};
    if (pln_tensors_open(s)) return;
    for (size_t i = 0; i < c->notes; i++) check_note(s, &c->note[i]);
    check_parts(s, c, &rng);
    for (size_t i = 0; i < parts_of(c); i++) add_part(s, &c->part[i]);
    pln_tensors_add(s, NULL, PLN_OPTIONAL, "history");
    if (pln_tensors_read(s)) return;
    for (size_t i = 0; i < parts_of(c); i++) check_optimizer(s, &c->part[i]);
    if (!s->status) take_over(s, c, &rng);
}

pleat_status pleat_nn_load_checkpoint(const char *path, pleat_nn_checkpoint *c) {
    pln_tensors s = {.ctx = c ? c->ctx : NULL, .op = "load_checkpoint", .path = path, .whose = "this run"};
    const char *wrong = c ? broken(c) : "the checkpoint is NULL";
    if (wrong) return pln_tensors_fail(&s, PLEAT_ERR_ARGUMENT, "%s", wrong);
    pleat_scope scope = pleat_begin(c->ctx);
    load(&s, c);
    pleat_end(scope);
    pln_tensors_close(&s);
    return s.status;
}

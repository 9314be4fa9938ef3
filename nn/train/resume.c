/* A run in a checkpoint: its position as notes, its epochs as the history. */
#define _POSIX_C_SOURCE 200809L

#include "mpi/world.h"
#include "train/train.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files/file.h"
#include "files/numbers.h"

enum { OPTIONS, PLACE, SUMS, BEST, BASE, PLATEAU, SCHEDULE, NOTES };
enum { COLUMNS = 7 };

static void name_notes(pleat_nn_note note[NOTES]) {
    static const char *const keys[NOTES] = {"options", "place",   "sums",    "best",
                                            "base",    "plateau", "schedule"};
    for (size_t i = 0; i < NOTES; i++) note[i].key = keys[i];
}

pleat_status pln_fit_make_room(pln_fit *f, size_t n) {
    /* not room for all epochs: their number is an upper bound, and may be very large */
    size_t bytes, room = n < 8 ? 8 : n + n / 2;
    if (n <= f->room) return PLEAT_OK;
    pleat_nn_epoch *more =
        __builtin_mul_overflow(room, sizeof *more, &bytes) ? NULL : realloc(f->run->epoch, bytes);
    if (!more) return pleat_fail(f->ctx, PLEAT_ERR_MEMORY, "fit", "no memory for %zu epochs", n);
    memset(more + f->room, 0, (room - f->room) * sizeof *more);
    f->run->epoch = more;
    f->room = room;
    return PLEAT_OK;
}

/* ---- saving ------------------------------------------------------------------------------------------------ */

/* Counts are stored as doubles, too: each is less than 2^53. */
static void put(pleat_nn_note *note, size_t n, const double *v) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(note->text + used, sizeof note->text - used, i ? " %s" : "%s",
                                 pln_number(v[i]).s);
}

static void put_schedule(pleat_nn_note *note, const pleat_nn_schedule *s) {
    put(note, 6,
        (const double[]){(double)s->warmup, s->warmup_from, (double)s->step, s->gamma, (double)s->cosine,
                         s->least});
}

static void write_notes(const pln_fit *f, pleat_nn_note note[NOTES]) {
    const pleat_nn_plateau *p = f->a->plateau;
    name_notes(note);
    const double place[] = {(double)f->run->epochs, (double)f->batch, (double)f->run->steps};
    snprintf(note[OPTIONS].text, sizeof note->text, "%s", f->a->options ? f->a->options : "");
    put(&note[PLACE], 3, place);
    put(&note[SUMS], 2, (const double[]){f->sum_loss, f->sum_metric});
    put(&note[BEST], 3, (const double[]){(double)f->run->best, (double)f->bad, f->best_value});
    put(&note[BASE], PLEAT_NN_PARTS, f->base);
    put_schedule(&note[SCHEDULE], &f->a->schedule);
    if (p)
        put(&note[PLATEAU], 4,
            (const double[]){p->best, (double)p->calls, (double)p->bad, (double)p->cooling});
}

static pleat_tensor *history(const pln_fit *f) {
    size_t n = f->run->epochs;
    pleat_tensor *t = pleat_empty(f->ctx, PLEAT_F64, PLEAT_SHAPE(n, COLUMNS));
    double *to = pleat_write_now(t, "a checkpoint");
    for (size_t i = 0; to && i < n; i++) {
        const pleat_nn_epoch *e = &f->run->epoch[i];
        const double row[COLUMNS] = {e->loss, e->metric,  e->valid_loss,       e->valid_metric,
                                     e->lr,   e->seconds, e->images_per_second};
        memcpy(to + i * COLUMNS, row, sizeof row);
    }
    return t;
}

static void set_parts(const pln_fit *f, pleat_nn_checkpoint *c) {
    memcpy(c->part, f->a->part, sizeof c->part);
}

pleat_status pln_fit_save(const pln_fit *f) {
    if (!f->path[PLN_CHECKPOINT]) return PLEAT_OK;
    pleat_nn_note note[NOTES] = {{.key = NULL}};
    write_notes(f, note);
    pleat_nn_checkpoint c = {.ctx = f->ctx, .notes = NOTES, .note = note};
    set_parts(f, &c);
    pleat_scope scope = pleat_begin(f->ctx);
    c.history = history(f);
    pleat_status status =
        pleat_is_poison(c.history) ? PLEAT_ERR_MEMORY : pleat_nn_save_checkpoint(f->path[PLN_CHECKPOINT], &c);
    pleat_end(scope);
    return status;
}

/* ---- resuming ---------------------------------------------------------------------------------------------- */

static bool get(const pleat_nn_note *note, size_t n, double *v) {
    const char *at = note->text;
    for (size_t i = 0; i < n; i++)
        if (!pln_read_number(&at, &v[i])) return false;
    return !*at;
}

static bool count(double v, size_t *out) {
    if (!(v >= 0 && v < 0x1p53 && v < (double)SIZE_MAX && v == floor(v))) return false;
    *out = (size_t)v;
    return true;
}

static bool read_notes(pln_fit *f, const pleat_nn_note note[NOTES]) {
    pleat_nn_plateau *p = f->a->plateau;
    double place[3], sums[2], best[3], plateau[4];
    if (!get(&note[PLACE], 3, place) || !get(&note[SUMS], 2, sums) || !get(&note[BEST], 3, best) ||
        !get(&note[BASE], PLEAT_NN_PARTS, f->base) || (p && !get(&note[PLATEAU], 4, plateau)))
        return false;
    f->sum_loss = sums[0], f->sum_metric = sums[1], f->best_value = best[2];
    if (p) p->best = plateau[0];
    return count(place[0], &f->run->epochs) && count(place[1], &f->batch) &&
           count(place[2], &f->run->steps) && count(best[0], &f->run->best) && count(best[1], &f->bad) &&
           (!p ||
            (count(plateau[1], &p->calls) && count(plateau[2], &p->bad) && count(plateau[3], &p->cooling)));
}

static pleat_status read_history(pln_fit *f, pleat_tensor *t) {
    size_t n = f->run->epochs;
    if (!t || pleat_size(t, 0) != n || pleat_size(t, 1) != COLUMNS)
        return pleat_fail(f->ctx, PLEAT_ERR_FORMAT, "fit", "%s: its history does not hold %zu epochs",
                          f->path[PLN_CHECKPOINT], n);
    pleat_status status = pln_fit_make_room(f, n);
    const double *v = status ? NULL : pleat_const_f64(t);
    for (size_t i = 0; v && i < n; i++, v += COLUMNS)
        f->run->epoch[i] = (pleat_nn_epoch){v[0], v[1], v[2], v[3], v[4], v[5], v[6]};
    return status;
}

/* Another number of epochs is allowed, and so is another schedule, which may depend on it; but the user is
 * told. */
static void compare_schedule(const pln_fit *f, const char *kept) {
    pleat_nn_note now;
    put_schedule(&now, &f->a->schedule);
    if (f->a->progress && f->run->epochs < f->a->epochs && *kept && strcmp(kept, now.text))
        fprintf(
            f->a->progress,
            "the schedule of the learning rate is not the checkpoint's: other bits than in a run that had it from "
            "the start\n");
}

static pleat_status load(pln_fit *f, pleat_nn_checkpoint *c) {
    pleat_status status = pleat_nn_load_checkpoint(f->path[PLN_CHECKPOINT], c);
    if (!status && !read_notes(f, c->note))
        status = pleat_fail(f->ctx, PLEAT_ERR_FORMAT, "fit", "%s: a checkpoint, but not of a training run",
                            f->path[PLN_CHECKPOINT]);
    if (!status) status = read_history(f, c->history);
    if (!status) compare_schedule(f, c->note[SCHEDULE].text);
    return status;
}

pleat_status pln_fit_resume(pln_fit *f) {
    if (!f->a->resume || !f->path[PLN_CHECKPOINT]) return PLEAT_OK;
    if (access(f->path[PLN_CHECKPOINT], F_OK)) /* only a missing checkpoint may be replaced by a new run */
        return errno == ENOENT ? PLEAT_OK : pln_read_failed(f->ctx, "fit", f->path[PLN_CHECKPOINT]);
    pleat_nn_note note[NOTES] = {{.key = NULL}};
    name_notes(note);
    note[OPTIONS].must = f->a->options;
    pleat_nn_checkpoint c = {.ctx = f->ctx, .notes = NOTES, .note = note};
    set_parts(f, &c);
    pleat_scope scope = pleat_begin(f->ctx);
    pleat_status status = load(f, &c);
    pleat_end(scope);
    if (status) f->run->epochs = f->run->steps = f->run->best = 0; /* the length of epoch[] */
    return status;
}

pleat_status pln_fit_send(pln_fit *f) {
    pleat_nn_world *w = f->a->world;
    double base[PLEAT_NN_PARTS], sums[3] = {f->sum_loss, f->sum_metric, f->best_value};
    size_t place[] = {f->run->epochs, f->batch, f->run->steps, f->run->best, f->bad};
    pleat_status status = PLEAT_OK;
    if (pleat_nn_world_size(w) == 1) return status;
    memcpy(base, f->base, sizeof base);
    status = pln_broadcast(w, base, sizeof base);
    if (!status) status = pln_broadcast(w, sums, sizeof sums);
    if (!status) status = pln_broadcast(w, place, sizeof place);
    if (!status && f->a->plateau) status = pln_broadcast(w, f->a->plateau, sizeof *f->a->plateau);
    if (!status) status = pln_agree(w, pln_fit_make_room(f, place[0]));
    if (!status) status = pln_broadcast(w, f->run->epoch, place[0] * sizeof *f->run->epoch);
    if (status) return status;
    memcpy(f->base, base, sizeof base);
    f->sum_loss = sums[0], f->sum_metric = sums[1], f->best_value = sums[2];
    f->run->epochs = place[0], f->batch = place[1], f->run->steps = place[2], f->run->best = place[3];
    f->bad = place[4];
    return status;
}

/* A world: ranks that wait for each other, gather and broadcast. Nothing is added here, so no order matters. */
#define _POSIX_C_SOURCE 200809L

#include "mpi/world.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "files/numbers.h"
#include "mpi/lifeline.h"

static const char op[] = "world";

size_t pleat_nn_world_rank(const pleat_nn_world *w) { return w ? w->t.rank : 0; }
size_t pleat_nn_world_size(const pleat_nn_world *w) { return w ? w->t.size : 1; }
size_t pleat_nn_world_neighbours(const pleat_nn_world *w) {
    size_t n = 0;
    for (size_t r = 0; w && r < w->t.size; r++)
        n += !strcmp(strstr(w->name[r].text, " on "), strstr(w->name[w->t.rank].text, " on "));
    return n ? n : 1;
}
bool pleat_nn_world_speaks(const pleat_nn_world *w) {
    if (!w) return true;
    return !atomic_load(&w->said) && (w->t.rank == 0 || (pleat_error(w->ctx)->code && !w->told));
}
pleat_nn_traffic pleat_nn_world_traffic(const pleat_nn_world *w) {
    return w ? w->traffic : (pleat_nn_traffic){0};
}

double pln_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint32_t pln_milliseconds(void) {
    uint32_t now = (uint32_t)(uint64_t)(pln_now() * 1e3);
    return now ? now : 1;
}

/* ---- the loss of a rank --------------------------------------------------------------------------------- */

static const char *rank_name(const pleat_nn_world *w, size_t rank) { return w->name[rank].text; }

/* Is it for this rank to say that `rank` is lost? */
static bool speaks_of(const pleat_nn_world *w, size_t rank) { return w->t.rank == (rank == 0 ? 1 : 0); }

static void say(pleat_nn_world *w, size_t rank, const char *why) {
    if (atomic_exchange(&w->said, true) || !w->messages) return;
    /* a line of progress may be unfinished */
    fprintf(w->messages, "\nrank %zu (%s) %s; the run has ended on all %zu ranks\n", rank, rank_name(w, rank),
            why, w->t.size);
    fflush(w->messages);
}

void pln_say_lost(pleat_nn_world *w, size_t rank, const char *why) {
    if (speaks_of(w, rank))
        say(w, rank, why);
    else
        atomic_store(&w->said, true);
}

pleat_status pln_lose(pleat_nn_world *w, size_t rank, const char *why) {
    size_t none = 0;
    w->broken = w->told = true;
    atomic_compare_exchange_strong(&w->lost, &none, rank + 1);
    say(w, rank, why);
    return pleat_fail(w->ctx, PLEAT_ERR_IO, op, "rank %zu (%s) %s", rank, rank_name(w, rank), why);
}

pleat_status pln_check_lost(const pleat_nn_world *w) {
    if (!w->broken) return PLEAT_OK;
    return pleat_fail(w->ctx, PLEAT_ERR_IO, op, "a rank was lost; nothing is shared any more");
}

/* ---- messages ------------------------------------------------------------------------------------------- */

static pleat_status begun(pleat_nn_world *w, pln_request *r, void *handle, size_t peer) {
    *r = (pln_request){.handle = handle, .peer = peer};
    return handle ? PLEAT_OK : pln_lose(w, peer, "cannot be reached: MPI refuses a message");
}

pleat_status pln_send(pleat_nn_world *w, pln_request *r, const void *data, size_t bytes, size_t to, int tag) {
    w->traffic.sent += (double)bytes;
    return begun(w, r, w->t.send(w->t.self, data, bytes, to, tag), to);
}

pleat_status pln_receive(pleat_nn_world *w, pln_request *r, void *data, size_t bytes, size_t from, int tag) {
    pleat_status status = begun(w, r, w->t.receive(w->t.self, data, bytes, from, tag), from);
    r->receiving = true;
    return status;
}

static pleat_status test_one(pleat_nn_world *w, pln_request *r, size_t *open, size_t *peer) {
    int done = w->t.test(w->t.self, r->handle);
    if (done) r->handle = NULL;
    if (done < 0) return pln_lose(w, r->peer, "cannot be reached: MPI reports an error");
    if (done) return PLEAT_OK;
    ++*open;
    if (*peer == SIZE_MAX) *peer = r->peer;
    return PLEAT_OK;
}

pleat_status pln_test(pleat_nn_world *w, size_t n, pln_request *r, size_t *open, size_t *peer) {
    pleat_status status = PLEAT_OK;
    for (size_t k = 0; k < 2 * n && !status; k++) { /* those that should send are to blame first */
        pln_request *one = &r[k % n];
        if (one->handle && one->receiving == (k < n)) status = test_one(w, one, open, peer);
    }
    return status;
}

/* Has rank r said of late that it waits for others? */
static bool heard_of(const pleat_nn_world *w, size_t r) {
    uint32_t at = atomic_load(&w->heard[r]);
    return at && pln_milliseconds() - at < w->timeout * 500;
}

/* Whom to blame while `peer` is waited for: not who waits as well, but the first of all who is not heard of. */
static size_t silent(const pleat_nn_world *w, size_t peer) {
    if (!heard_of(w, peer)) return peer;
    for (size_t r = 0; r < w->t.size; r++)
        if (r != w->t.rank && !heard_of(w, r)) return r;
    return peer;
}

/* A rank that waits leaves its core to those that work, at first for the shortest time. */
static void rest(size_t turns) {
    if (turns < 200)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* A process that was stopped has not waited meanwhile, and blames nobody when it goes on. */
static double time_since(double *last) {
    double now = pln_now(), passed = now - *last;
    *last = now;
    return passed < 0.5 ? passed : 0.5;
}

static pleat_status wait_until(pleat_nn_world *w, pln_look *look, void *arg, const char *what) {
    char why[160];
    double last = pln_now(), waited = 0, left = 0;
    for (size_t turn = 0;; turn++) {
        size_t open = 0, peer = SIZE_MAX;
        pleat_status status = pln_check_lost(w);
        if (!status) status = look(arg, &open, &peer);
        if (status || !open) return status;
        size_t lost = atomic_load(&w->lost), gone = atomic_load(&w->gone);
        waited += time_since(&last);
        if (lost) return pln_lose(w, lost - 1, "has died");
        if (gone && left == 0) left = last;
        if (left > 0 && last - left > 1) return pln_lose(w, gone - 1, "has left the run");
        if (waited > w->timeout / 4) atomic_store(&w->waits, true);
        if (waited > w->timeout) peer = silent(w, peer);
        /* the rank that is to say so has been waiting for as long, or a little less */
        if (waited > w->timeout + (speaks_of(w, peer) ? 0 : 1 + 0.1 * (double)w->t.rank)) {
            snprintf(why, sizeof why, "has been silent for %s s: rank %zu waits for %s",
                     pln_rounded(w->timeout, 3).s, w->t.rank, what);
            return pln_lose(w, peer, why);
        }
        rest(turn);
    }
}

pleat_status pln_wait_until(pleat_nn_world *w, pln_look *look, void *arg, const char *what) {
    pleat_status status = wait_until(w, look, arg, what);
    atomic_store(&w->waits, false);
    return status;
}

static pleat_status look_at_requests(void *arg, size_t *open, size_t *peer) {
    pleat_nn_world *w = arg;
    return pln_test(w, 2 * w->t.size, w->request, open, peer);
}

pleat_status pln_gather(pleat_nn_world *w, const void *mine, void *all, const size_t *bytes) {
    char *to = all;
    size_t rank = w->t.rank;
    pleat_status status = pln_check_lost(w);
    for (size_t r = 0; r < w->t.size; to += bytes[r++]) {
        /* what is on its way is not written, also not with what it holds */
        if (r == rank && bytes[r] && to != mine) memmove(to, mine, bytes[r]);
        if (r == rank || status) continue;
        if (bytes[r]) status = pln_receive(w, &w->request[2 * r], to, bytes[r], r, PLN_TAG_GATHER);
        if (bytes[rank] && !status)
            status = pln_send(w, &w->request[2 * r + 1], mine, bytes[rank], r, PLN_TAG_GATHER);
    }
    return status ? status : pln_wait_until(w, look_at_requests, w, "what all ranks tell each other");
}

pleat_status pln_gather_equal(pleat_nn_world *w, const void *mine, void *all, size_t bytes) {
    for (size_t r = 0; r < w->t.size; r++) w->bytes[r] = bytes;
    return pln_gather(w, mine, all, w->bytes);
}

pleat_status pln_gather_blocks(pleat_nn_world *w, void *rows, size_t bytes, size_t n) {
    for (size_t r = 0; r < w->t.size; r++) w->bytes[r] = pln_block(r, w->t.size, n).count * bytes;
    return pln_gather(w, (char *)rows + pln_block(w->t.rank, w->t.size, n).first * bytes, rows, w->bytes);
}

/* Along a binomial tree: rank r has the bytes from r without its lowest bit. */
pleat_status pln_broadcast(pleat_nn_world *w, void *data, size_t bytes) {
    size_t rank = w->t.rank, size = w->t.size, bit = 1, sent = 0;
    pleat_status status = pln_check_lost(w);
    if (!bytes) return status;
    while (bit < size && !(rank & bit)) bit *= 2;
    if (rank && !status) status = pln_receive(w, &w->request[0], data, bytes, rank - bit, PLN_TAG_BROADCAST);
    if (rank && !status) status = pln_wait_until(w, look_at_requests, w, "a copy of rank 0's state");
    while (bit /= 2)
        if (rank + bit < size && !status)
            status = pln_send(w, &w->request[sent++], data, bytes, rank + bit, PLN_TAG_BROADCAST);
    return status ? status : pln_wait_until(w, look_at_requests, w, "room for a copy of its state");
}

typedef struct verdict {
    pleat_status status;
    char text[480];
} verdict;

pleat_status pln_agree(pleat_nn_world *w, pleat_status mine) {
    if (!w || w->t.size == 1 || w->broken) return mine;
    verdict own = {.status = mine}, *all = malloc(w->t.size * sizeof own);
    if (!all) return pln_lose(w, w->t.rank, "has no memory left");
    if (mine) snprintf(own.text, sizeof own.text, "%s", pleat_error(w->ctx)->text);
    w->told = false;
    pleat_status status = pln_gather_equal(w, &own, all, sizeof own);
    for (size_t r = 0; r < w->t.size && !status; r++) {
        if (!all[r].status) continue;
        char whose[40];
        snprintf(whose, sizeof whose, "rank %zu", r);
        pleat_clear_error(w->ctx);
        w->told = true;
        status = pleat_fail(w->ctx, all[r].status, whose, "%s", all[r].text);
    }
    free(all);
    return status;
}

/* ---- making and freeing --------------------------------------------------------------------------------- */

static pleat_status learn_names(pleat_nn_world *w) {
    pln_rank_text own = {""};
    char host[40] = "";
    if (gethostname(host, sizeof host - 1)) snprintf(host, sizeof host, "unknown host");
    snprintf(own.text, sizeof own.text, "process %ld on %s", (long)getpid(), host);
    for (size_t r = 0; r < w->t.size; r++) snprintf(w->name[r].text, sizeof own.text, "not yet known");
    return pln_gather_equal(w, &own, w->name, sizeof own);
}

pleat_nn_world *pln_world_over(pleat_nn_world_args a, pln_transport t) {
    pleat_nn_world *w = calloc(1, sizeof *w);
    if (w) {
        w->ctx = a.ctx, w->t = t, w->timeout = a.timeout > 0 ? a.timeout : 60, w->messages = a.messages;
        w->bucket = a.bucket, w->check = a.check ? a.check : 100;
        w->name = calloc(t.size, sizeof *w->name);
        w->bytes = calloc(t.size, sizeof *w->bytes);
        w->request = calloc(t.size, 2 * sizeof *w->request);
        w->heard = calloc(t.size, sizeof *w->heard);
    }
    if (!w || !w->name || !w->bytes || !w->request || !w->heard) {
        pleat_fail(a.ctx, PLEAT_ERR_MEMORY, op, "no memory for a world of %zu ranks", t.size);
        if (!w && t.end) t.end(t.self, t.size > 1);
        pleat_nn_world_free(w);
        return NULL;
    }
    if (!learn_names(w)) return w;
    pleat_nn_world_free(w);
    return NULL;
}

pleat_nn_world *pleat_nn_world_new_with(pleat_nn_world_args a) {
    pln_transport t;
    if (!a.ctx) return NULL;
    if (a.timeout < 0 || a.timeout != a.timeout) {
        pleat_fail(a.ctx, PLEAT_ERR_ARGUMENT, op, "the timeout must be positive, in seconds");
        return NULL;
    }
    if (pln_mpi_start(a.ctx, &t)) return NULL;
    pleat_nn_world *w = pln_world_over(a, t);
    if (w && t.size > 1) w->line = pln_lifeline_new(w);
    return w;
}

void pleat_nn_world_free(pleat_nn_world *w) {
    if (!w) return;
    pln_lifeline_free(w->line);
    if (w->t.end) w->t.end(w->t.self, w->broken);
    free(w->name);
    free(w->bytes);
    free(w->request);
    free((void *)w->heard);
    free(w);
}

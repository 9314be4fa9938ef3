/* Batches of a data set, prefetched by a thread. The content of a batch is a function of seed, epoch and
 * number: the order is drawn from a random stream of the epoch, the transform of each item from a separate
 * stream. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/fields.h"
#include "data/loader.h"
#include "data/transform.h"
#include "hash.h"

static const char op[] = "loader_new";

/* Numbers of random streams, far from the small numbers of contexts and programs. */
#define ORDER_STREAM ((uint64_t)1 << 63)
#define ITEM_STREAM ((uint64_t)1 << 62)
#define FILL_STREAM ((uint64_t)1 << 61)

/* The one batch that is in work or ready. */
typedef struct slot {
    size_t number, first, n; /* items first..first+n-1 of the order; n 0: there is nothing to make */
    size_t whole, offset;    /* items of the whole batch, and those before the first */
    void *out[PLEAT_NN_FIELDS], *clean;
    void *given, *cut; /* one item, as it is filled, and as it is cut out */
    bool failed;       /* the fill of a field returned false: */
    size_t bad_field, bad_item;
} slot;

struct pleat_nn_loader {
    pleat_ctx *ctx;
    pleat_nn_data data; /* a copy: the caller's struct may be a variable of a function that has returned */
    size_t fields;
    bool images;                                          /* x is [..,H,W] */
    size_t image[2], size[2];                             /* of x, before and after the transform */
    size_t given[PLEAT_NN_FIELDS], each[PLEAT_NN_FIELDS]; /* elements of an item, before and after */
    pleat_nn_transform transform;
    pleat_dtype dtype;
    uint64_t seed;
    bool shuffle;
    pleat_nn_batches order;
    pln_dealing dealing;
    size_t epoch, next; /* the next batch to return */

    slot slot;
    size_t *shown[PLEAT_NN_FIELDS], *index; /* labels and items of the last batch that was returned */
    pid_t owner; /* the process that has the thread, which the child of a fork has not; 0: there is none */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the flags; while a batch is wanted the slot is the thread's */
    pthread_cond_t changed;
    bool wanted, quit;
};

/* ---- making a batch ------------------------------------------------------------------------------------ */

static size_t element_of(const pleat_nn_loader *l) {
    return l->dtype == PLEAT_F64 ? sizeof(double) : sizeof(float);
}

/* The number of an item within the fields. */
static size_t place_of(const pleat_nn_loader *l, size_t item) {
    return l->data.index ? l->data.index[item] : item;
}

/* Item `item` of field k as it is given; NULL if its fill returned false. */
static const void *fetch(pleat_nn_loader *l, size_t k, size_t item, uint64_t number) {
    const pleat_nn_field *f = &l->data.field[k];
    size_t at = place_of(l, item);
    if (f->data) return (const char *)f->data + at * l->given[k] * pln_element(f->type);
    pleat_rng r = pleat_rng_new(l->seed, FILL_STREAM | (number & (FILL_STREAM - 1)));
    if (f->fill(f->user, at, &r, l->slot.given)) return l->slot.given;
    if (!l->slot.failed) l->slot.bad_field = k, l->slot.bad_item = at;
    l->slot.failed = true;
    return NULL;
}

/* Noise and normalisation of x, number i of the batch. */
static void finish(pleat_nn_loader *l, size_t i, pleat_rng *r) {
    const pleat_nn_field *x = &l->data.field[0];
    size_t C = x->rank == 3 ? x->shape[0] : 1, at = i * l->each[0];
    pln_finish f = {&l->transform, C, l->each[0] / C, x->type == PLEAT_NN_PIXELS};
    if (l->dtype == PLEAT_F64)
        pln_finish_f64(&f, r, (double *)l->slot.out[0] + at,
                       l->slot.clean ? (double *)l->slot.clean + at : NULL);
    else
        pln_finish_f32(&f, r, (float *)l->slot.out[0] + at,
                       l->slot.clean ? (float *)l->slot.clean + at : NULL);
}

static void make_field(pleat_nn_loader *l, size_t k, size_t i, const void *from, const pln_view *view) {
    const pleat_nn_field *f = &l->data.field[k];
    size_t n = l->each[k];
    void *out = l->slot.out[k];
    if (view && f->rank >= 2) {
        pln_cut(view, l->given[k] / (view->image[0] * view->image[1]), pln_element(f->type), from,
                l->slot.cut);
        from = l->slot.cut;
    }
    if (pln_is_label(f->type))
        pln_labels(f->type, n, from, (size_t *)out + i * n);
    else if (l->dtype == PLEAT_F64)
        pln_numbers_f64(f->type, n, from, (double *)out + i * n);
    else
        pln_numbers_f32(f->type, n, from, (float *)out + i * n);
}

/* Make item `item` number i of the batch. */
static void make_item(pleat_nn_loader *l, size_t i, size_t item) {
    uint64_t number = (uint64_t)l->epoch * l->data.count + item;
    pleat_rng r = pleat_rng_new(l->seed, ITEM_STREAM | (number & (ITEM_STREAM - 1)));
    pln_view view = {.step = {1, 1}};
    if (l->images) view = pln_draw_view(&l->transform, l->image, l->size, &r);
    for (size_t k = 0; k < l->fields; k++) {
        const void *from = fetch(l, k, item, number);
        if (!from) return;
        make_field(l, k, i, from, pln_is_whole(&view) ? NULL : &view);
    }
    finish(l, i, &r);
}

static void make_batch(pleat_nn_loader *l) {
    l->slot.failed = false;
    for (size_t i = 0; i < l->slot.n && !l->slot.failed; i++)
        make_item(l, i, l->order.order[l->slot.first + i]);
}

/* Set the slot to batch `number`; false if there is none. */
static bool aim(pleat_nn_loader *l, size_t number) {
    if (number >= pleat_nn_loader_batches(l)) return false;
    size_t first = number * l->order.batch, left = l->order.count - first, micro = l->dealing.micro;
    l->slot.number = number;
    l->slot.n = l->slot.whole = left < l->order.batch ? left : l->order.batch;
    l->slot.offset = 0;
    if (micro) {
        size_t whole = l->slot.whole;
        pln_node block = pln_block(l->dealing.rank, l->dealing.ranks, whole / micro + (whole % micro > 0));
        l->slot.offset = block.count ? block.first * micro : 0;
        l->slot.n = block.count * micro;
        if (l->slot.n > whole - l->slot.offset) l->slot.n = whole - l->slot.offset;
    }
    l->slot.first = first + l->slot.offset;
    return true;
}

/* ---- the thread ---------------------------------------------------------------------------------------- */

static void *work(void *arg) {
    pleat_nn_loader *l = arg;
    pthread_mutex_lock(&l->mutex);
    while (!l->quit) {
        if (!l->wanted) {
            pthread_cond_wait(&l->changed, &l->mutex);
            continue;
        }
        pthread_mutex_unlock(&l->mutex);
        make_batch(l);
        pthread_mutex_lock(&l->mutex);
        l->wanted = false;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

static bool has_thread(const pleat_nn_loader *l) { return l->owner == getpid(); }

static void destroy_lock(pleat_nn_loader *l) {
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->mutex);
}

/* Signals are the program's business, so they must not land here. */
static void start_thread(pleat_nn_loader *l) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->changed, NULL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&l->thread, NULL, work, l) == 0)
        l->owner = getpid();
    else
        destroy_lock(l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void end_thread(pleat_nn_loader *l) {
    pthread_mutex_lock(&l->mutex);
    l->quit = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
    pthread_join(l->thread, NULL);
    destroy_lock(l);
}

/* Let the thread, if there is one, begin to make the slot's batch. */
static void request(pleat_nn_loader *l) {
    if (!has_thread(l)) return;
    pthread_mutex_lock(&l->mutex);
    l->wanted = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
}

/* Wait until the thread has finished with the slot. */
static void settle(pleat_nn_loader *l) {
    if (!has_thread(l)) return;
    pthread_mutex_lock(&l->mutex);
    while (l->wanted) pthread_cond_wait(&l->changed, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
}

void pln_loader_deal(pleat_nn_loader *l, pln_dealing dealing) {
    settle(l);
    l->dealing = dealing;
}

/* ---- making and freeing -------------------------------------------------------------------------------- */

/* The rule that the options break, or NULL. */
static const char *broken(const pleat_nn_loader_args *a, size_t count) {
    if (!count) return ".images or .data must be given, and hold images or items";
    if (a->images && a->data) return "give .images or .data, not both";
    if (!a->batch) return ".batch must be given, at least 1";
    if (a->batch > count && !a->keep_last)
        return "the batch is larger than the number of items, so there would be none; set .keep_last or a smaller batch";
    if (a->dtype != PLEAT_F32 && a->dtype != PLEAT_F64) return "dtype must be PLEAT_F32 or PLEAT_F64";
    return NULL;
}

/* Report a field of rank 2 or more whose images are not of x's size. */
static pleat_status alike(const pleat_nn_loader *l) {
    for (size_t k = 1; k < l->fields; k++) {
        const pleat_nn_field *f = &l->data.field[k];
        if (f->rank < 2 || (f->shape[f->rank - 2] == l->image[0] && f->shape[f->rank - 1] == l->image[1]))
            continue;
        return pleat_fail(
            l->ctx, PLEAT_ERR_SHAPE, op,
            "crop and flip change all images of an item alike, but those of x are %zux%zu, and those of "
            "field %zu (%s) %zux%zu",
            l->image[0], l->image[1], k, pln_field_name(&l->data, k), f->shape[f->rank - 2],
            f->shape[f->rank - 1]);
    }
    return PLEAT_OK;
}

/* Set the sizes after the transform. */
static pleat_status set_sizes(pleat_nn_loader *l) {
    const pleat_nn_field *x = &l->data.field[0];
    l->images = x->rank >= 2;
    for (size_t k = 0; k < 2; k++) l->image[k] = l->images ? x->shape[x->rank - 2 + k] : 1;
    if (!pleat_pair(l->ctx, op, "crop", l->transform.crop, NULL, false)) return PLEAT_ERR_ARGUMENT;
    const char *wrong = pln_wrong_transform(&l->transform, l->image[0], l->image[1], l->size);
    if (!l->images && pln_moves(&l->transform))
        wrong = "crop and flip are for images, but x has no rows and columns";
    if (wrong) return pleat_fail(l->ctx, PLEAT_ERR_ARGUMENT, op, "%s", wrong);
    pleat_status status = pln_moves(&l->transform) ? alike(l) : PLEAT_OK;
    for (size_t k = 0; k < l->fields && !status; k++) {
        const pleat_nn_field *f = &l->data.field[k];
        bool moved = f->rank >= 2 && pln_moves(&l->transform);
        l->given[k] = l->each[k] = 1;
        for (size_t i = 0; i < f->rank; i++)
            l->given[k] *= f->shape[i]; /* pln_check_data has checked that it fits */
        if (!moved)
            l->each[k] = l->given[k];
        else if (__builtin_mul_overflow(l->given[k] / (l->image[0] * l->image[1]), l->size[0], &l->each[k]) ||
                 __builtin_mul_overflow(l->each[k], l->size[1], &l->each[k]))
            status = pleat_fail(l->ctx, PLEAT_ERR_MEMORY, op, "no memory for crops of %zux%zu", l->size[0],
                                l->size[1]);
    }
    return status;
}

/* n items of `each` elements of `bytes` bytes; NULL, too, if that is more than there can be. */
static void *room(size_t n, size_t each, size_t bytes) {
    size_t all;
    if (__builtin_mul_overflow(n, each, &all) || __builtin_mul_overflow(all, bytes, &all)) return NULL;
    return malloc(all ? all : 1);
}

static bool allocate(pleat_nn_loader *l) {
    size_t batch = l->order.batch < l->order.count ? l->order.batch : l->order.count, given = 1, cut = 1;
    bool ok = true;
    for (size_t k = 0; k < l->fields && ok; k++) {
        bool label = pln_is_label(l->data.field[k].type);
        l->slot.out[k] = room(batch, l->each[k], label ? sizeof(size_t) : element_of(l));
        if (label) l->shown[k] = room(batch, l->each[k], sizeof(size_t));
        ok = l->slot.out[k] && (l->shown[k] || !label);
        given = given > l->given[k] ? given : l->given[k];
        cut = cut > l->each[k] ? cut : l->each[k];
    }
    if (l->transform.noise > 0) l->slot.clean = room(batch, l->each[0], element_of(l));
    l->slot.given = room(given, 1, sizeof(double)); /* no element is longer */
    l->slot.cut = room(cut, 1, sizeof(double));
    l->index = room(batch, 1, sizeof(size_t));
    return ok && (l->slot.clean || l->transform.noise <= 0) && l->slot.given && l->slot.cut && l->index;
}

static pleat_status set_up(pleat_nn_loader *l, size_t batch) {
    pleat_status status = pln_check_data(l->ctx, op, &l->data, &l->fields);
    if (!status) status = set_sizes(l);
    if (!status) status = pleat_nn_batches_new(l->ctx, l->data.count, batch, &l->order);
    if (!status && !allocate(l))
        status = pleat_fail(l->ctx, PLEAT_ERR_MEMORY, op, "no memory for a batch of %zu items", batch);
    return status;
}

pleat_nn_loader *pleat_nn_loader_new_with(pleat_nn_loader_args a) {
    pleat_nn_data data = {0};
    if (a.data)
        data = *a.data;
    else if (a.images && a.images->pixels)
        data = pleat_nn_data_of_images(a.images);
    const char *wrong = broken(&a, data.count);
    if (wrong) {
        pleat_fail(a.ctx, PLEAT_ERR_ARGUMENT, op, "%s", wrong);
        return NULL;
    }
    pleat_nn_loader *l = calloc(1, sizeof *l);
    if (!l) {
        pleat_fail(a.ctx, PLEAT_ERR_MEMORY, op, "no memory");
        return NULL;
    }
    *l = (pleat_nn_loader){.ctx = a.ctx, .data = data, .transform = a.transform, .dtype = a.dtype};
    l->seed = a.seed;
    l->shuffle = a.shuffle;
    if (set_up(l, a.batch)) {
        pleat_nn_loader_free(l);
        return NULL;
    }
    l->order.keep_last = a.keep_last;
    l->next = SIZE_MAX; /* no epoch has begun */
    if (!a.no_prefetch) start_thread(l);
    return l;
}

/* A child leaves the lock as it is: the thread may have held it, and destroying the condition waits for
 * whoever waits there. */
void pleat_nn_loader_free(pleat_nn_loader *l) {
    if (!l) return;
    if (has_thread(l)) end_thread(l);
    pleat_nn_batches_free(&l->order);
    for (size_t k = 0; k < PLEAT_NN_FIELDS; k++) {
        free(l->slot.out[k]);
        free(l->shown[k]);
    }
    free(l->slot.clean);
    free(l->slot.given);
    free(l->slot.cut);
    free(l->index);
    free(l);
}

/* ---- an epoch ------------------------------------------------------------------------------------------ */

size_t pleat_nn_loader_batches(const pleat_nn_loader *l) {
    if (!l) return 0;
    size_t whole = l->order.count / l->order.batch;
    return whole + (l->order.keep_last && l->order.count % l->order.batch);
}

size_t pleat_nn_loader_items(const pleat_nn_loader *l) {
    if (!l) return 0;
    return l->order.keep_last ? l->order.count : l->order.count / l->order.batch * l->order.batch;
}

size_t pleat_nn_loader_batch_size(const pleat_nn_loader *l) { return l ? l->order.batch : 0; }

size_t pleat_nn_loader_shape(const pleat_nn_loader *l, size_t field, size_t shape[PLEAT_MAX_RANK - 1]) {
    if (!l || field >= l->fields) return 0;
    const pleat_nn_field *f = &l->data.field[field];
    memcpy(shape, f->shape, f->rank * sizeof *shape);
    if (f->rank >= 2 && pln_moves(&l->transform)) memcpy(shape + f->rank - 2, l->size, sizeof l->size);
    return f->rank;
}

void pleat_nn_loader_start(pleat_nn_loader *l, size_t epoch, size_t first) {
    if (!l) return;
    settle(l);
    pleat_rng r = pleat_rng_new(l->seed, ORDER_STREAM | epoch);
    pleat_nn_shuffle(&l->order, l->shuffle ? &r : NULL);
    l->epoch = epoch;
    l->next = first;
    if (aim(l, first)) request(l);
}

/* A tensor of the innermost scope with a copy of the slot's data. */
static pleat_tensor *copy(pleat_nn_loader *l, size_t field, const void *from) {
    size_t shape[PLEAT_MAX_RANK] = {l->slot.n};
    return pleat_from(l->ctx, l->dtype, 1 + pleat_nn_loader_shape(l, field, shape + 1), shape, from);
}

/* Copy the slot's labels, before the slot is used again. */
static const size_t *show(pleat_nn_loader *l, size_t field) {
    return memcpy(l->shown[field], l->slot.out[field], l->slot.n * l->each[field] * sizeof(size_t));
}

/* Hand out field k; false if memory is short. */
static bool hand_out(pleat_nn_loader *l, size_t k, pleat_nn_batch *out) {
    if (pln_is_label(l->data.field[k].type)) {
        out->label[k] = show(l, k);
        if (!out->labels) out->labels = out->label[k];
        return true;
    }
    out->field[k] = copy(l, k, l->slot.out[k]);
    if (k > 0 && !out->target) out->target = out->field[k];
    return !pleat_is_poison(out->field[k]);
}

bool pleat_nn_loader_next(pleat_nn_loader *l, pleat_nn_batch *out) {
    *out = (pleat_nn_batch){0};
    if (!l || l->next >= pleat_nn_loader_batches(l)) return false;
    settle(l);
    if (!has_thread(l)) make_batch(l);
    *out = (pleat_nn_batch){.number = l->slot.number, .first = l->slot.offset, .whole = l->slot.whole};
    if (l->slot.failed) {
        l->next = SIZE_MAX;
        pleat_fail(l->ctx, PLEAT_ERR_IO, "loader_next",
                   "field %zu (%s): its fill returned false for item %zu", l->slot.bad_field,
                   pln_field_name(&l->data, l->slot.bad_field), l->slot.bad_item);
        return false;
    }
    out->n = l->slot.n;
    out->index = l->index;
    for (size_t i = 0; i < out->n; i++) l->index[i] = place_of(l, l->order.order[l->slot.first + i]);
    bool ok = true;
    for (size_t k = 0; k < l->fields && out->n; k++) ok &= hand_out(l, k, out);
    out->x = out->field[0];
    out->clean = l->slot.clean && out->n ? copy(l, 0, l->slot.clean) : out->x;
    if (out->n) ok &= !pleat_is_poison(out->clean);
    if (aim(l, ++l->next)) request(l);
    return ok;
}

/* Items at..at+n-1 of t. */
static pleat_tensor *cut(pleat_tensor *t, size_t at, size_t n) {
    size_t start[PLEAT_MAX_RANK] = {at}, size[PLEAT_MAX_RANK];
    if (!t) return NULL;
    memcpy(size, pleat_shape(t), pleat_rank(t) * sizeof *size);
    size[0] = n;
    return pleat_slice(t, start, size, NULL);
}

pleat_nn_batch pln_loader_cut(const pleat_nn_loader *l, const pleat_nn_batch *b, size_t at, size_t n) {
    pleat_nn_batch out = {
        .n = n, .number = b->number, .first = b->first + at, .whole = b->whole, .index = b->index + at};
    for (size_t k = 0; k < l->fields; k++) {
        out.field[k] = cut(b->field[k], at, n);
        if (b->label[k]) out.label[k] = b->label[k] + at * l->each[k];
        if (!out.labels) out.labels = out.label[k];
        if (k > 0 && !out.target) out.target = out.field[k];
    }
    out.x = out.field[0];
    out.clean = b->clean == b->x ? out.x : cut(b->clean, at, n);
    return out;
}

/* ---- on several ranks ---------------------------------------------------------------------------------- */

static uint64_t hash_field(const pleat_nn_loader *l, const pleat_nn_field *f, size_t k, uint64_t h) {
    size_t bytes = l->given[k] * pln_element(f->type);
    h = pln_hash(h, &f->type, sizeof f->type);
    h = pln_hash(h, f->shape, f->rank * sizeof *f->shape);
    for (size_t i = 0; f->data && i < l->data.count; i++)
        h = pln_hash(h, (const char *)f->data + place_of(l, i) * bytes, bytes);
    return h;
}

uint64_t pln_loader_hash(const pleat_nn_loader *l) {
    uint64_t h = pln_hash(PLN_HASH_START, &l->data.count, sizeof l->data.count);
    for (size_t k = 0; k < l->fields; k++) h = hash_field(l, &l->data.field[k], k, h);
    const pleat_nn_transform *t = &l->transform;
    h = pln_hash(h, (const size_t[]){t->crop_pad, t->crop[0], t->crop[1], t->centre}, 4 * sizeof(size_t));
    h = pln_hash(h, (const double[]){t->flip, t->flip_rows, t->noise}, 3 * sizeof(double));
    h = pln_hash(pln_hash(h, t->mean, sizeof t->mean), t->std, sizeof t->std);
    return pln_hash(h, (const uint64_t[]){l->seed, l->shuffle, l->order.batch, l->order.keep_last}, 32);
}

/* Batches of images, prefetched by a thread. The content of a batch is a function of seed, epoch and number:
 * the order is drawn from a random stream of the epoch, the transform of each image from a separate
 * stream. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/transform.h"
#include "pleat_nn.h"

static const char op[] = "loader_new";

/* Numbers of random streams, far from the small numbers of contexts and programs. */
#define ORDER_STREAM ((uint64_t)1 << 63)
#define IMAGE_STREAM ((uint64_t)1 << 62)

/* The one batch that is in work or ready. */
typedef struct slot {
    size_t number, first, n; /* items first..first+n-1 of the order */
    void *x, *clean;
    size_t *labels;
} slot;

struct pleat_nn_loader {
    pleat_ctx *ctx;
    pleat_nn_images
        images; /* a copy: the caller's struct may be a variable of a function that has returned */
    pleat_nn_transform transform;
    pln_picture picture;
    pleat_dtype dtype;
    uint64_t seed;
    bool shuffle;
    pleat_nn_batches order;
    size_t epoch, next; /* the next batch to return */

    slot slot;
    size_t *shown; /* the labels of the last batch that was returned */
    pid_t owner;   /* the process that has the thread, which the child of a fork has not; 0: there is none */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the flags; while a batch is wanted the slot is the thread's */
    pthread_cond_t changed;
    bool wanted, quit;
};

/* ---- making a batch --------------------------------------------------------------------------------------- */

static size_t numel(const pleat_nn_loader *l) {
    return l->images.C * l->picture.size[0] * l->picture.size[1];
}

static void make_image(pleat_nn_loader *l, size_t i, size_t item) {
    size_t each = numel(l);
    const uint8_t *pixels = l->images.pixels + item * l->images.C * l->images.H * l->images.W;
    uint64_t number = (uint64_t)l->epoch * l->images.count + item;
    pleat_rng r = pleat_rng_new(l->seed, IMAGE_STREAM | (number & (IMAGE_STREAM - 1)));
    if (l->dtype == PLEAT_F64) {
        double *clean = l->slot.clean ? (double *)l->slot.clean + i * each : NULL;
        pln_transform_f64(&l->picture, pixels, &r, (double *)l->slot.x + i * each, clean);
    } else {
        float *clean = l->slot.clean ? (float *)l->slot.clean + i * each : NULL;
        pln_transform_f32(&l->picture, pixels, &r, (float *)l->slot.x + i * each, clean);
    }
    if (l->slot.labels) l->slot.labels[i] = l->images.labels[item];
}

static void make_batch(pleat_nn_loader *l) {
    for (size_t i = 0; i < l->slot.n; i++) make_image(l, i, l->order.order[l->slot.first + i]);
}

/* Set the slot to batch `number`; false if there is none. */
static bool aim(pleat_nn_loader *l, size_t number) {
    if (number >= pleat_nn_loader_batches(l)) return false;
    size_t first = number * l->order.batch, left = l->order.count - first;
    l->slot.number = number;
    l->slot.first = first;
    l->slot.n = left < l->order.batch ? left : l->order.batch;
    return true;
}

/* ---- the thread ------------------------------------------------------------------------------------------- */

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

/* ---- making and freeing ------------------------------------------------------------------------------------ */

/* The rule that the options break, or NULL. Sets the size after the transforms. */
static const char *broken(const pleat_nn_loader_args *a, size_t size[2]) {
    if (!a->images || !a->images->pixels || !a->images->count) return ".images must be given and hold images";
    if (!a->batch) return ".batch must be given, at least 1";
    if (a->batch > a->images->count && !a->keep_last)
        return "the batch is larger than the number of images, so there would be none; set .keep_last or a smaller batch";
    if (a->dtype != PLEAT_F32 && a->dtype != PLEAT_F64) return "dtype must be PLEAT_F32 or PLEAT_F64";
    return pln_wrong_transform(&a->transform, a->images->H, a->images->W, size);
}

static bool allocate(pleat_nn_loader *l, size_t element) {
    size_t values, bytes, batch = l->order.batch < l->order.count ? l->order.batch : l->order.count;
    if (__builtin_mul_overflow(l->images.C, l->picture.size[0], &values) ||
        __builtin_mul_overflow(values, l->picture.size[1], &values) ||
        __builtin_mul_overflow(values, batch, &values) || __builtin_mul_overflow(values, element, &bytes))
        return false;
    l->slot.x = malloc(bytes ? bytes : 1);
    if (l->transform.noise > 0) l->slot.clean = malloc(bytes ? bytes : 1);
    if (l->images.labels) l->slot.labels = malloc(batch * sizeof *l->slot.labels);
    if (l->images.labels) l->shown = malloc(batch * sizeof *l->shown);
    return l->slot.x && (l->slot.clean || l->transform.noise <= 0) &&
           ((l->slot.labels && l->shown) || !l->images.labels);
}

pleat_nn_loader *pleat_nn_loader_new_with(pleat_nn_loader_args a) {
    size_t size[2];
    const char *wrong = broken(&a, size);
    if (wrong) {
        pleat_fail(a.ctx, PLEAT_ERR_ARGUMENT, op, "%s", wrong);
        return NULL;
    }
    pleat_nn_loader *l = calloc(1, sizeof *l);
    if (!l) {
        pleat_fail(a.ctx, PLEAT_ERR_MEMORY, op, "no memory");
        return NULL;
    }
    *l = (pleat_nn_loader){.ctx = a.ctx, .images = *a.images, .transform = a.transform, .dtype = a.dtype};
    l->seed = a.seed;
    l->shuffle = a.shuffle;
    l->picture = (pln_picture){a.images->C, a.images->H, a.images->W, {size[0], size[1]}, &l->transform};
    pleat_status status = pleat_nn_batches_new(a.ctx, a.images->count, a.batch, &l->order);
    l->order.keep_last = a.keep_last;
    if (!status && !allocate(l, a.dtype == PLEAT_F64 ? sizeof(double) : sizeof(float)))
        status = pleat_fail(a.ctx, PLEAT_ERR_MEMORY, op, "no memory for a batch of %zu images", a.batch);
    if (status) {
        pleat_nn_loader_free(l);
        return NULL;
    }
    l->next = SIZE_MAX; /* no epoch has begun */
    if (!a.no_prefetch) start_thread(l);
    return l;
}

/* A child leaves the lock as it is: the thread may have held it, and destroying the condition waits for whoever waits there. */
void pleat_nn_loader_free(pleat_nn_loader *l) {
    if (!l) return;
    if (has_thread(l)) end_thread(l);
    pleat_nn_batches_free(&l->order);
    free(l->slot.x);
    free(l->slot.clean);
    free(l->slot.labels);
    free(l->shown);
    free(l);
}

/* ---- an epoch ---------------------------------------------------------------------------------------------- */

size_t pleat_nn_loader_batches(const pleat_nn_loader *l) {
    if (!l) return 0;
    size_t whole = l->order.count / l->order.batch;
    return whole + (l->order.keep_last && l->order.count % l->order.batch);
}

size_t pleat_nn_loader_batch_size(const pleat_nn_loader *l) { return l ? l->order.batch : 0; }

void pleat_nn_loader_shape(const pleat_nn_loader *l, size_t shape[3]) {
    shape[0] = l ? l->images.C : 0;
    shape[1] = l ? l->picture.size[0] : 0;
    shape[2] = l ? l->picture.size[1] : 0;
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
static pleat_tensor *copy(pleat_nn_loader *l, const void *from) {
    size_t shape[4] = {l->slot.n};
    pleat_nn_loader_shape(l, shape + 1);
    return pleat_from(l->ctx, l->dtype, 4, shape, from);
}

bool pleat_nn_loader_next(pleat_nn_loader *l, pleat_nn_batch *out) {
    *out = (pleat_nn_batch){0};
    if (!l || l->next >= pleat_nn_loader_batches(l)) return false;
    settle(l);
    if (!has_thread(l)) make_batch(l);
    *out =
        (pleat_nn_batch){.n = l->slot.n, .number = l->slot.number, .index = l->order.order + l->slot.first};
    out->x = copy(l, l->slot.x);
    out->clean = l->slot.clean ? copy(l, l->slot.clean) : out->x;
    if (l->slot.labels) out->labels = memcpy(l->shown, l->slot.labels, l->slot.n * sizeof *l->shown);
    if (aim(l, ++l->next)) request(l);
    return !pleat_is_poison(out->x) && !pleat_is_poison(out->clean);
}

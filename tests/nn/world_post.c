/* The transport of world.h: boxes of letters, and one lock for all. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sched.h>

#include "world.h"

typedef struct request request;
struct request {
    request *next;
    bool receiving, done, failed;
    size_t from;
    int tag;
    void *data;
    size_t bytes;
};

typedef struct letter letter;
struct letter {
    letter *next;
    size_t from;
    int tag;
    size_t bytes, late; /* late: so often it is not there yet */
    const void *data;
    void *copy;      /* or NULL, and then: */
    request *sender; /* waits for its arrival */
};

typedef struct box {
    post *post;
    size_t rank;
    bool lost;
    letter *letters;   /* in the order in which they were sent */
    request *requests; /* those that are open, in the order in which they were made */
} box;

struct post {
    pthread_mutex_t lock;
    size_t ranks;
    box *box;
    bool random, mismatched;
    pleat_rng rng;
};

/* One time in n. */
static bool happens(post *p, uint32_t n) { return p->random && pleat_rng_u32(&p->rng) % n == 0; }

/* NULL if memory is short, as of MPI. */
static request *open_request(box *b, request r) {
    request *new = malloc(sizeof *new), **at = &b->requests;
    if (!new) return NULL;
    *new = r;
    while (*at) at = &(*at)->next;
    return *at = new;
}

static void close_request(box *b, request *r) {
    request **at = &b->requests;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    free(r);
}

/* A letter from b; a copy, or with what its sender keeps until then. NULL if memory is short. */
static letter *write_letter(const box *b, request *r, const void *data, size_t bytes, int tag) {
    letter *l = malloc(sizeof *l);
    void *copy = l && r->done ? malloc(bytes) : NULL;
    if (!l || (r->done && !copy)) {
        free(l);
        return NULL;
    }
    *l = (letter){.from = b->rank, .tag = tag, .bytes = bytes, .data = data, .sender = r};
    if (!copy) return l;
    l->data = l->copy = memcpy(copy, data, bytes);
    l->sender = NULL;
    return l;
}

static void *send(void *self, const void *data, size_t bytes, size_t to, int tag) {
    box *b = self;
    post *p = b->post;
    pthread_mutex_lock(&p->lock);
    request *r = open_request(b, (request){.done = b->lost || !happens(p, 2)});
    letter *l = r && !b->lost ? write_letter(b, r, data, bytes, tag) : NULL, **at = &p->box[to].letters;
    if (l && happens(p, 3)) l->late = pleat_rng_u32(&p->rng) % 40;
    while (*at) at = &(*at)->next;
    *at = l;
    if (r && !l && !b->lost) {
        close_request(b, r);
        r = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

static void *receive(void *self, void *data, size_t bytes, size_t from, int tag) {
    box *b = self;
    pthread_mutex_lock(&b->post->lock);
    request *r =
        open_request(b, (request){.receiving = true, .from = from, .tag = tag, .data = data, .bytes = bytes});
    pthread_mutex_unlock(&b->post->lock);
    return r;
}

/* The letter for r, if r is the first to ask for it, and it has arrived. */
static letter **letter_for(box *b, const request *r) {
    const request *first = b->requests;
    while (!first->receiving || first->from != r->from || first->tag != r->tag) first = first->next;
    letter **at = &b->letters;
    while (*at && ((*at)->from != r->from || (*at)->tag != r->tag)) at = &(*at)->next;
    return first == r && *at && (*at)->late == 0 ? at : NULL;
}

static void hand_over(box *b, request *r) {
    for (letter *l = b->letters; l; l = l->next) l->late -= l->late > 0;
    letter **at = letter_for(b, r), *l;
    if (!at) return;
    l = *at;
    r->done = true;
    r->failed = l->bytes != r->bytes;
    b->post->mismatched |= r->failed;
    if (!r->failed) memcpy(r->data, l->data, l->bytes);
    if (l->sender) l->sender->done = true;
    *at = l->next;
    free(l->copy);
    free(l);
}

static int test(void *self, void *handle) {
    box *b = self;
    request *r = handle;
    pthread_mutex_lock(&b->post->lock);
    if (r->receiving) hand_over(b, r);
    int done = r->failed ? -1 : r->done;
    if (r->done) close_request(b, r);
    bool pause = happens(b->post, 8);
    pthread_mutex_unlock(&b->post->lock);
    if (pause) sched_yield();
    return done;
}

static void end(void *self, bool broken) { (void)self, (void)broken; }

pln_transport post_transport(post *p, size_t rank) {
    return (pln_transport){&p->box[rank], rank, p->ranks, send, receive, test, end};
}

post *post_new(size_t size, uint64_t seed) {
    post *p = calloc(1, sizeof *p);
    cr_assert(p);
    *p = (post){
        .ranks = size, .box = calloc(size, sizeof(box)), .random = seed > 0, .rng = pleat_rng_new(seed, 0)};
    cr_assert(p->box);
    for (size_t r = 0; r < size; r++) p->box[r] = (box){.post = p, .rank = r};
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void post_free(post *p) {
    for (size_t r = 0; r < p->ranks; r++) {
        while (p->box[r].requests) close_request(&p->box[r], p->box[r].requests);
        for (letter *l = p->box[r].letters, *next; l; l = next) {
            next = l->next;
            free(l->copy);
            free(l);
        }
    }
    pthread_mutex_destroy(&p->lock);
    free(p->box);
    free(p);
}

void post_lose(post *p, size_t rank) {
    pthread_mutex_lock(&p->lock);
    p->box[rank].lost = true;
    pthread_mutex_unlock(&p->lock);
}

size_t post_left(const post *p) {
    size_t n = 0;
    for (size_t r = 0; r < p->ranks; r++)
        for (const letter *l = p->box[r].letters; l; l = l->next) n++;
    return n;
}

bool post_mismatched(const post *p) { return p->mismatched; }

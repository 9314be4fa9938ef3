/* Rank 0 listens, the others connect, and a thread of each rank waits for the end of its connections. A message has a
 * kind and a rank: "it has left", "it has died", which rank 0 passes on, and "it waits", so that of several that are waited for
 * the one is blamed that waits for nobody. */
#define _DEFAULT_SOURCE /* getifaddrs */

#include "mpi/lifeline.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ADDRESSES = 16, PATIENCE = 2000, HELLO = 1, LEFT = 2, DIED = 3, WAITS = 4 };

/* Where rank 0 listens, for all. */
typedef struct place {
    char port[8], address[ADDRESSES][64];
    uint64_t token; /* strangers do not know it */
} place;

/* Both have the same bytes on all machines of a world. */
typedef struct message {
    uint64_t token;
    uint32_t kind, rank;
} message;

struct pln_lifeline {
    pleat_nn_world *w;
    uint64_t token;
    size_t count; /* connections: of rank 0 one for each other rank, else one */
    struct pollfd
        *fd; /* of rank `first` + i; the last is the end of a pipe that wakes the thread; -1: closed */
    size_t *rank;
    int wake;
    pthread_t thread;
    bool running;
};

/* ---- sockets -------------------------------------------------------------------------------------------- */

static bool ready(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, PATIENCE) == 1;
}

static void tell(const pln_lifeline *l, int fd, uint32_t kind, size_t rank) {
    message m = {l->token, kind, (uint32_t)rank};
    if (fd >= 0 && send(fd, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return; /* it has ended: poll says so */
}

/* A message is shorter than what a socket takes at once, so it is never in two parts. */
static bool hear(int fd, message *m) { return recv(fd, m, sizeof *m, MSG_WAITALL) == (ssize_t)sizeof *m; }

static bool list_addresses(place *p) {
    struct ifaddrs *all;
    size_t n = 0;
    if (getifaddrs(&all)) return false;
    for (struct ifaddrs *a = all; a && n < ADDRESSES; a = a->ifa_next) {
        if (!a->ifa_addr || (a->ifa_addr->sa_family != AF_INET && a->ifa_addr->sa_family != AF_INET6))
            continue;
        socklen_t bytes =
            a->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if (!getnameinfo(a->ifa_addr, bytes, p->address[n], sizeof p->address[n], NULL, 0, NI_NUMERICHOST))
            n++;
    }
    freeifaddrs(all);
    return n > 0;
}

/* A listening socket for both families, or for the older one where there is no other; -1 after an error. */
static int listen_anywhere(place *p) {
    struct sockaddr_in6 both = {.sin6_family = AF_INET6};
    struct sockaddr_in old = {.sin_family = AF_INET};
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof bound;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), no = 0;
    if (fd >= 0) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (fd < 0 || bind(fd, (struct sockaddr *)&both, sizeof both)) {
        if (fd >= 0) close(fd);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && bind(fd, (struct sockaddr *)&old, sizeof old)) {
            close(fd);
            return -1;
        }
    }
    if (fd >= 0 && !listen(fd, SOMAXCONN) && !getsockname(fd, (struct sockaddr *)&bound, &bytes) &&
        !getnameinfo((struct sockaddr *)&bound, bytes, NULL, 0, p->port, sizeof p->port, NI_NUMERICSERV) &&
        list_addresses(p))
        return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static int connect_to(const struct addrinfo *a) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), error = 0;
    socklen_t bytes = sizeof error;
    if (fd < 0) return -1;
    if (!connect(fd, a->ai_addr, a->ai_addrlen) ||
        (ready(fd, POLLOUT) && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) && !error)) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        return fd;
    }
    close(fd);
    return -1;
}

/* Connect to the first address at which somebody answers who knows the token. */
static int find_rank_0(pln_lifeline *l, const place *p) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *a;
    int found = -1;
    for (size_t k = 0; k < ADDRESSES && *p->address[k] && found < 0; k++) {
        if (getaddrinfo(p->address[k], p->port, &hints, &a)) continue;
        message m;
        found = connect_to(a);
        freeaddrinfo(a);
        tell(l, found, HELLO, l->w->t.rank);
        if (found >= 0 && ready(found, POLLIN) && hear(found, &m) && m.token == l->token) break;
        if (found >= 0) close(found);
        found = -1;
    }
    return found;
}

/* Answer one connection; true if it is a rank's. */
static bool answer(pln_lifeline *l, int listener) {
    message m;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) return false;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (ready(fd, POLLIN) && hear(fd, &m) && m.token == l->token && m.rank > 0 && m.rank <= l->count &&
        l->fd[m.rank - 1].fd < 0) {
        l->fd[m.rank - 1].fd = fd;
        tell(l, fd, HELLO, 0);
        return true;
    }
    close(fd);
    return false;
}

/* ---- the thread ----------------------------------------------------------------------------------------- */

static void pass_on(const pln_lifeline *l, uint32_t kind, size_t rank) {
    for (size_t i = 0; i < l->count && l->w->t.rank == 0; i++)
        if (l->rank[i] != rank) tell(l, l->fd[i].fd, kind, rank);
}

static void note(const pln_lifeline *l, uint32_t kind, size_t rank) {
    pleat_nn_world *w = l->w;
    size_t none = 0;
    if (rank < w->t.size && kind == WAITS) atomic_store(&w->heard[rank], pln_milliseconds());
    if (rank >= w->t.size || (kind != DIED && kind != LEFT)) return;
    if (kind == DIED && atomic_compare_exchange_strong(&w->lost, &none, rank + 1))
        pln_say_lost(w, rank, "has died");
    none = 0;
    if (kind == LEFT) atomic_compare_exchange_strong(&w->gone, &none, rank + 1);
    pass_on(l, kind, rank);
}

/* Connection i has something to say, or has ended. */
static void listen_to(pln_lifeline *l, size_t i) {
    message m;
    bool heard = hear(l->fd[i].fd, &m);
    if (heard) note(l, m.kind, m.rank);
    if (!heard) note(l, DIED, l->rank[i]);
    if (heard && !(m.kind == LEFT && m.rank == l->rank[i])) return;
    close(l->fd[i].fd);
    l->fd[i].fd = -1; /* poll skips it */
}

static void *watch(void *arg) {
    pln_lifeline *l = arg;
    pleat_nn_world *w = l->w;
    double period = w->timeout / 8 < 10 ? w->timeout / 8 : 10, told = 0;
    while (poll(l->fd, l->count + 1, 1 + (int)(period * 1e3)) >= 0 && !l->fd[l->count].revents) {
        bool tells = atomic_load(&w->waits) && pln_now() - told > period;
        if (tells) told = pln_now();
        for (size_t i = 0; i < l->count; i++) {
            if (l->fd[i].fd >= 0 && l->fd[i].revents) listen_to(l, i);
            if (l->fd[i].fd >= 0 && tells) tell(l, l->fd[i].fd, WAITS, w->t.rank);
        }
    }
    return NULL;
}

/* Signals are the program's business. */
static bool start_thread(pln_lifeline *l) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    l->running = pthread_create(&l->thread, NULL, watch, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l->running;
}

/* ---- making and freeing --------------------------------------------------------------------------------- */

static pln_lifeline *allocate(pleat_nn_world *w) {
    pln_lifeline *l = calloc(1, sizeof *l);
    int ends[2];
    if (!l) return NULL;
    l->w = w, l->wake = -1;
    l->count = w->t.rank == 0 ? w->t.size - 1 : 1;
    l->fd = calloc(l->count + 1, sizeof *l->fd);
    l->rank = calloc(l->count, sizeof *l->rank);
    if (l->fd && l->rank && !pipe(ends)) {
        for (size_t i = 0; i < l->count; i++) {
            l->fd[i] = (struct pollfd){.fd = -1, .events = POLLIN};
            l->rank[i] = w->t.rank == 0 ? i + 1 : 0;
        }
        l->fd[l->count] = (struct pollfd){.fd = ends[0], .events = POLLIN};
        l->wake = ends[1];
        for (size_t i = 0; i < 2; i++) fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        return l;
    }
    free(l->fd);
    free(l->rank);
    free(l);
    return NULL;
}

static uint64_t draw_token(void) {
    uint64_t token = (uint64_t)getpid() ^ (uint64_t)(pln_now() * 1e9);
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, &token, sizeof token) < 0) token++;
    if (fd >= 0) close(fd);
    return token;
}

/* Ranks that do not come in time are watched by their silence alone. */
static void meet(pln_lifeline *l, int listener, const place *p) {
    double start = pln_now();
    if (l->w->t.rank > 0) l->fd[0].fd = find_rank_0(l, p);
    for (size_t answered = 0; listener >= 0 && answered < l->count && pln_now() - start < 5;)
        if (ready(listener, POLLIN)) answered += answer(l, listener);
}

pln_lifeline *pln_lifeline_new(pleat_nn_world *w) {
    place p = {.token = 0};
    pln_lifeline *l = allocate(w);
    int listener = -1;
    if (w->t.rank == 0) p.token = draw_token();
    if (l && w->t.rank == 0) listener = listen_anywhere(&p);
    if (listener < 0 && w->t.rank == 0) *p.port = 0;
    if (!pln_broadcast(w, &p, sizeof p) && l) {
        l->token = p.token;
        if (*p.port) meet(l, listener, &p);
    }
    if (listener >= 0) close(listener);
    if (l && start_thread(l)) return l;
    pln_lifeline_free(l);
    return NULL;
}

void pln_lifeline_free(pln_lifeline *l) {
    if (!l) return;
    if (l->running) {
        if (write(l->wake, "", 1) == 1) pthread_join(l->thread, NULL);
        /* who leaves because of a lost rank passes that on, as it is what the others are to say */
        size_t lost = atomic_load(&l->w->lost);
        for (size_t i = 0; i < l->count; i++)
            tell(l, l->fd[i].fd, lost ? DIED : LEFT, lost ? lost - 1 : l->w->t.rank);
    }
    for (size_t i = 0; i <= l->count; i++)
        if (l->fd[i].fd >= 0) close(l->fd[i].fd);
    close(l->wake);
    free(l->fd);
    free(l->rank);
    free(l);
}

/* The same bits for every number of threads; and in the child of a fork, which has none of them. */
#define _DEFAULT_SOURCE

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/core.h"
#include "tensors.h"

TestSuite(threads, .init = tensors_begin, .fini = tensors_end);

enum { RESULTS = 16 };

/* Some large op of every kind. Returns how many results there are. */
static size_t everything(pleat_tensor *x, pleat_tensor *y, pleat_tensor *image, pleat_tensor *w,
                         pleat_tensor **out) {
    size_t n = 0;
    out[n++] = pleat_exp(x);
    out[n++] = pleat_add(x, pleat_slice(x, (size_t[]){7, 0}, (size_t[]){1, pleat_size(x, 1)}, NULL));
    out[n++] = pleat_div(pleat_flip(x, PLEAT_AXES(1)), pleat_shift(pleat_square(x), 1));
    out[n++] = pleat_contiguous(pleat_permute(x, (size_t[]){1, 0}));
    out[n++] = pleat_sum(x);
    out[n++] = pleat_mean(x, PLEAT_AXES(0));
    out[n++] = pleat_sum(x, PLEAT_AXES(1));
    out[n++] = pleat_sum(pleat_permute(x, (size_t[]){1, 0}), PLEAT_AXES(1));
    out[n++] = pleat_matmul(x, y, .tb = true);
    out[n++] = pleat_matmul(y, x, .ta = true);
    pleat_tensor *map = pleat_conv2d(image, w, .stride = {2, 1}, .pad = {1, 1}, .groups = 2);
    out[n++] = map;
    out[n++] = pleat_conv2d_transpose(map, w, .stride = {2, 1}, .pad = {1, 1}, .groups = 2);
    out[n++] =
        pleat_conv2d_weight(image, map, .stride = {2, 1}, .pad = {1, 1}, .groups = 2, .kernel = {3, 3});
    pleat_tensor *loss = pleat_mean(pleat_square(pleat_tanh(pleat_conv2d(image, w, .groups = 2))));
    EXPECT_OK(pleat_grads(loss, NULL, 2, (pleat_tensor *[]){image, w}, out + n, 0));
    return n + 2;
}

Test(threads, results_do_not_depend_on_their_number) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = pleat_randn(ctx, type, PLEAT_SHAPE(401, 333)),
                     *y = pleat_randn(ctx, type, PLEAT_SHAPE(401, 333));
        pleat_tensor *image = pleat_randn(ctx, type, PLEAT_SHAPE(5, 8, 33, 30)),
                     *w = pleat_randn(ctx, type, PLEAT_SHAPE(6, 4, 3, 3));
        pleat_tensor *one[RESULTS], *many[RESULTS];
        pleat_set_threads(ctx, 1);
        size_t n = everything(x, y, image, w, one);
        static const int counts[] = {2, 3, 5, 2};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            pleat_set_threads(ctx, counts[i]);
            cr_assert_eq(pleat_threads(ctx), counts[i]);
            cr_assert_eq(everything(x, y, image, w, many), n);
            for (size_t k = 0; k < n; k++)
                cr_assert(same(many[k], one[k]), "result %zu, %d threads: %s", k, counts[i], difference());
        }
    }
}

Test(threads, at_least_one) {
    cr_assert_eq(pleat_threads(ctx), 2);
    pleat_set_threads(ctx, 0);
    cr_assert_eq(pleat_threads(ctx), 1);
    pleat_set_threads(ctx, -3);
    cr_assert_eq(pleat_threads(ctx), 1);
    pleat_ctx *own = pleat_ctx_new();
    cr_assert_geq(pleat_threads(own), 1);
    pleat_ctx_free(own);
}

/* Room for each thread is taken whether the threads are awake or asleep: a warm step asks for no memory, however busy the
 * machine is. */
Test(threads, awake_or_asleep_take_the_same_room) {
    pleat_ctx *own = pleat_ctx_new(.threads = 3);
    pleat_tensor *x = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(2, 24, 14, 14)),
                 *w = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(24, 24, 3, 3)),
                 *a = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(100, 100)),
                 *image = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(1, 2, 60, 60));
    size_t asked = 0;
    for (int pass = 0; pass < 4; pass++) {
        pleat_scope s = pleat_begin(own);
        pleat_exp(pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(1000, 1000))); /* wakes them */
        if (pass < 2) usleep(50000);                                     /* and they sleep again */
        if (pass == 2) asked = pleat_memory(own).allocations;
        pleat_conv2d(x, w, .pad = {1, 1});
        pleat_conv2d_transpose(x, w, .pad = {1, 1});
        pleat_conv2d_weight(x, x, .pad = {1, 1}, .kernel = {3, 3});
        pleat_matmul(a, a, .ta = true);
        pleat_resize_bilinear(image, .size = {40, 40});
        pleat_end(s);
    }
    cr_expect_eq(pleat_memory(own).allocations, asked);
    cr_expect_eq(pleat_error(own)->code, PLEAT_OK, "%s", pleat_error(own)->text);
    pleat_ctx_free(own);
}

/* A product is worth threads by its multiply-adds, which are the same in all three of the family, and not by its result's size. */
Test(threads, help_with_each_of_the_family) {
    for (int op = 0; op < 3; op++) {
        pleat_ctx *own = pleat_ctx_new(.threads = 2);
        pleat_tensor *x = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(32, 4, 32, 32)),
                     *y = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(32, 4, 30, 30)),
                     *w = pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(4, 4, 3, 3));
        cr_assert_null(own->pool);
        if (op == 0) pleat_conv2d(x, w);
        if (op == 1) pleat_conv2d_transpose(y, w);
        if (op == 2) pleat_conv2d_weight(x, y, .kernel = {3, 3});
        cr_assert_not_null(own->pool, "op %d of the family has one thread", op);
        pleat_ctx_free(own);
    }
}

typedef struct tally {
    size_t count[100];
} tally;

static void count(void *arg, size_t task) { ((tally *)arg)->count[task] += task + 1; }

/* Each task runs once: on one thread, on several, as much work as wakes them, and without a context. */
Test(threads, run_the_tasks_of_an_own_op) {
    for (int threads = 0; threads <= 3; threads++)
        for (size_t tasks = 0; tasks <= 100; tasks += 25)
            for (double work = 1; work <= 1e6; work *= 1e3) {
                tally t = {{0}};
                pleat_set_threads(ctx, threads);
                pleat_parallel(threads ? ctx : NULL, work, tasks, count, &t);
                for (size_t i = 0; i < 100; i++) cr_assert_eq(t.count[i], i < tasks ? i + 1 : 0);
                cr_assert_eq(pleat_pool_threads(ctx->pool), ctx->pool != NULL && threads ? threads : 1);
            }
    cr_assert_not_null(ctx->pool, "a million additions are worth a thread");
}

/* A worker that looks for work shares what it would not be woken for. */
Test(threads, share_less_while_they_are_awake) {
    pleat_ctx *own = pleat_ctx_new(.threads = 2);
    cr_assert_null(pl_pool_for(own, 20000), "too little to start a thread for");
    pleat_pool *pool = pl_pool_for(own, 1e6);
    cr_assert_not_null(pool);
    bool shared = false, alone = false;
    for (size_t i = 0; i < 2000 && !(shared && alone); i++) {
        pl_pool_for(own, 20000) == pool ? (shared = true) : (alone = true);
        usleep(1000); /* it is asleep after less than that, unless others keep it from running */
        if (alone && !shared) pleat_parallel(own, 1e6, 100, count, &(tally){{0}});
    }
    cr_assert(shared && alone, "shared %d, alone %d", shared, alone);
    pleat_ctx_free(own);
}

#ifdef UNBOXED /* ThreadSanitizer allows no new threads after a fork */
enum { MORE = 1 };
#else
enum { MORE = 2 };
#endif

/* The child of a fork has no workers. Returns the step at which something was wrong, or 0; a step that hangs ends by the alarm. */
static int live_on(pleat_ctx *c, pleat_tensor *x, double expected) {
    alarm(20);
    if (pleat_pool_threads(c->pool) != 1) return 1;
    if (pleat_item(pleat_sum(pleat_exp(x))) != expected) return 2;
    pleat_set_threads(c, MORE);
    if (pleat_item(pleat_sum(pleat_exp(x))) != expected) return 3;
    if (pleat_pool_threads(c->pool) != MORE) return 4;
    pleat_ctx_free(c);
    return 0;
}

Test(threads, a_child_has_one_and_frees_them) {
    for (int free_alone = 0; free_alone < 2; free_alone++) {
        pleat_ctx *own = pleat_ctx_new(.threads = 3);
        pleat_tensor *x = pleat_randn(own, PLEAT_F32, PLEAT_SHAPE(600, 333));
        double expected = pleat_item(pleat_sum(pleat_exp(x)));
        cr_assert_eq(pleat_pool_threads(own->pool), 3);
        pid_t child = fork();
        if (child == 0 && free_alone) alarm(20), pleat_ctx_free(own), _exit(0);
        if (child == 0) _exit(live_on(own, x, expected));
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status), "the child was ended by signal %d", WTERMSIG(status));
        cr_assert_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
        cr_assert_eq(pleat_pool_threads(own->pool), 3);
        cr_assert_eq(pleat_item(pleat_sum(pleat_exp(x))), expected);
        pleat_ctx_free(own);
    }
}

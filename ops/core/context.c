/* The context: memory, scopes, random stream, first error, poison. */
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "kernels/parallel.h"

static void *default_alloc(void *user, size_t bytes) {
    (void)user;
    return malloc(bytes);
}

static void default_free(void *user, void *block) {
    (void)user;
    free(block);
}

static pl_memory memory_of(const pleat_ctx_args *a) {
    bool own = a->alloc != NULL && a->free != NULL;
    return (pl_memory){.alloc = own ? a->alloc : default_alloc,
                       .free = own ? a->free : default_free,
                       .user = own ? a->user : NULL};
}

/* The environment forces a path, so that experiments and tests need no change of the program. */
static void read_environment(pleat_ctx *ctx) {
    const char *engine = getenv("PLEAT_ENGINE"), *isa = getenv("PLEAT_ISA"), *debug = getenv("PLEAT_DEBUG");
    if (!pleat_path_parse(engine, NULL, &ctx->path))
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "ctx_new",
                   "PLEAT_ENGINE is %s, not one of auto, reference, im2col, implicit_gemm, direct, columns",
                   engine);
    else if (!pleat_path_parse(engine, isa, &ctx->path))
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "ctx_new",
                   "PLEAT_ISA is %s, not one of auto, baseline, avx2, avx512", isa);
    if (debug == NULL || strcmp(debug, "0") == 0) return;
    ctx->debug = true;
    if (strcmp(debug, "1") != 0)
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "ctx_new", "PLEAT_DEBUG is %s, not one of 0, 1", debug);
}

pleat_ctx *pleat_ctx_new_with(pleat_ctx_args args) {
    enum { SCOPES = 16, PATIENCE = 12 };
    pl_memory memory = memory_of(&args);
    pleat_ctx *ctx = memory.alloc(memory.user, sizeof *ctx);
    if (ctx == NULL) return NULL;
    *ctx = (pleat_ctx){.memory = memory,
                       .recording = true,
                       .debug = args.debug,
                       .patience = PATIENCE,
                       .rng = pleat_rng_new(args.seed, 0)};
    pleat_clear_error(ctx);
    ctx->scopes = pl_take(&ctx->memory, SCOPES * sizeof *ctx->scopes);
    if (ctx->scopes == NULL) {
        memory.free(memory.user, ctx);
        return NULL;
    }
    ctx->capacity = SCOPES;
    ctx->open = PL_ROOT + 1;
    memset(ctx->scopes, 0, ctx->open * sizeof *ctx->scopes);
    ctx->poison = (pleat_tensor){.ctx = ctx, .poison = true, .numel = 1, .refs = 1, .list = PL_NOWHERE};
    pleat_set_threads(ctx, args.threads != 0 ? args.threads : pleat_cores());
    pleat_blas_single_thread();
    read_environment(ctx);
    return ctx;
}

void pleat_ctx_free(pleat_ctx *ctx) {
    if (ctx == NULL) return;
    for (size_t i = 0; i < ctx->open; i++) {
        while (ctx->scopes[i].first != NULL) pleat_drop(ctx->scopes[i].first);
    }
    pleat_pool_free(ctx->pool);
    pl_plans_free(&ctx->plans);
    pl_memory memory = ctx->memory;
    pl_exhume(&memory, &memory.handles);
    pl_give(&memory, ctx->scopes);
    pl_memory_trim(&memory);
    memory.free(memory.user, ctx);
}

bool pleat_has_defined_bits(const pleat_ctx *ctx) {
    return ctx != NULL && ctx->path.engine != PLEAT_ENGINE_IM2COL;
}

int pleat_threads(const pleat_ctx *ctx) { return ctx == NULL ? 1 : ctx->threads; }

void pleat_set_threads(pleat_ctx *ctx, int threads) {
    if (ctx == NULL) return;
    ctx->threads = threads < 1 ? 1 : threads;
    pleat_pool_free(ctx->pool);
    ctx->pool = NULL;
}

/* What a thread costs that looks for work already, and what one costs that has to be woken, as additions on
 * one thread: less than 1 and up to 80 microseconds. */
enum { WORTH_SHARING = 8192, WORTH_WAKING = 131072 };

int pl_most_threads(const pleat_ctx *ctx, double work) { return work < WORTH_SHARING ? 1 : ctx->threads; }

pleat_pool *pl_pool_for(pleat_ctx *ctx, double work) {
    if (pl_most_threads(ctx, work) == 1) return NULL;
    if (work < WORTH_WAKING && !pl_pool_is_awake(ctx->pool)) return NULL;
    if (ctx->pool == NULL) ctx->pool = pleat_pool_new(ctx->threads);
    return ctx->pool;
}

typedef struct job {
    void (*body)(void *arg, size_t task);
    void *arg;
} job;

static void run_task(void *arg, size_t task, size_t thread) {
    const job *j = arg;
    (void)thread;
    j->body(j->arg, task);
}

void pleat_parallel(pleat_ctx *ctx, double work, size_t tasks, void (*body)(void *arg, size_t task),
                    void *arg) {
    pl_parallel(ctx == NULL ? NULL : pl_pool_for(ctx, work), tasks, run_task, &(job){body, arg});
}

bool pleat_set_recording(pleat_ctx *ctx, bool on) {
    if (ctx == NULL) return false;
    bool was = ctx->recording;
    ctx->recording = on;
    return was;
}

pleat_memory_info pleat_memory(const pleat_ctx *ctx) {
    return ctx == NULL ? (pleat_memory_info){0} : ctx->memory.info;
}

void pleat_trim(pleat_ctx *ctx) {
    if (ctx != NULL) pl_memory_trim(&ctx->memory);
}

pleat_tensor *pleat_poison(pleat_ctx *ctx) {
    /* never written: functions that change a tensor ignore poison */
    static const pleat_tensor nowhere = {.poison = true, .numel = 1, .refs = 1, .list = PL_NOWHERE};
    return ctx != NULL ? &ctx->poison : (pleat_tensor *)&nowhere;
}

pleat_rng *pleat_ctx_rng(pleat_ctx *ctx) { return ctx == NULL ? NULL : &ctx->rng; }

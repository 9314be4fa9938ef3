/* Scopes: a stack of lists of tensors. A tensor is on at most one list, and the list owns one reference. */
#include <string.h>

#include "core/core.h"

void pl_list(pleat_tensor *t, size_t list) {
    pl_scope *s = &t->ctx->scopes[list];
    t->list = list;
    t->previous = NULL;
    t->next = s->first;
    if (s->first != NULL) s->first->previous = t;
    s->first = t;
}

void pl_unlist(pleat_tensor *t) {
    if (t->list == PL_NOWHERE) return;
    if (t->previous != NULL) {
        t->previous->next = t->next;
    } else {
        t->ctx->scopes[t->list].first = t->next;
    }
    if (t->next != NULL) t->next->previous = t->previous;
    t->list = PL_NOWHERE;
    t->previous = t->next = NULL;
}

static bool make_room(pleat_ctx *ctx) {
    if (ctx->open < ctx->capacity) return true;
    size_t capacity = 2 * ctx->capacity;
    pl_scope *scopes = pl_take(&ctx->memory, capacity * sizeof *scopes);
    if (scopes == NULL) return false;
    memcpy(scopes, ctx->scopes, ctx->open * sizeof *scopes);
    pl_give(&ctx->memory, ctx->scopes);
    ctx->scopes = scopes;
    ctx->capacity = capacity;
    return true;
}

pleat_scope pleat_begin(pleat_ctx *ctx) {
    if (ctx == NULL) return (pleat_scope){0};
    if (!make_room(ctx)) {
        pleat_fail(ctx, PLEAT_ERR_MEMORY, "begin", "no memory for another scope (%zu are open)",
                   ctx->open - PL_ROOT - 1);
        return (pleat_scope){0};
    }
    ctx->scopes[ctx->open] = (pl_scope){.serial = ++ctx->serial};
    return (pleat_scope){.ctx = ctx, .depth = ctx->open++, .serial = ctx->serial};
}

static void let_go(pleat_tensor *t) {
    pl_unlist(t);
    pl_release(t);
}

static bool is_open(pleat_scope s) {
    return s.depth > PL_ROOT && s.depth < s.ctx->open && s.ctx->scopes[s.depth].serial == s.serial;
}

bool pleat_in_scope(pleat_scope scope, const pleat_tensor *t) {
    if (scope.ctx == NULL || pleat_is_poison(t) || t->ctx != scope.ctx || !is_open(scope)) return false;
    return t->list != PL_NOWHERE && t->list >= scope.depth;
}

void pleat_end(pleat_scope scope) {
    pleat_ctx *ctx = scope.ctx;
    if (ctx == NULL) return; /* pleat_begin has failed and reported it */
    if (!is_open(scope)) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "end", "this scope is not open: it ended before, or never began");
        return;
    }
    while (ctx->open > scope.depth) {
        pl_scope *s = &ctx->scopes[ctx->open - 1];
        while (s->first != NULL) let_go(s->first);
        ctx->open--;
    }
}

pleat_tensor *pleat_keep(pleat_tensor *t) {
    if (t == NULL) return pleat_poison(NULL);
    if (pleat_is_poison(t) || t->list == PL_NOWHERE || t->list <= PL_ROOT) return t;
    size_t outer = t->list - 1;
    pl_unlist(t);
    pl_list(t, outer);
    return t;
}

pleat_tensor *pleat_hold(pleat_tensor *t) {
    if (t == NULL) return pleat_poison(NULL);
    if (pleat_is_poison(t) || t->list == PL_NOWHERE) return t;
    pl_unlist(t);
    pl_list(t, PL_HELD);
    return t;
}

void pleat_drop(pleat_tensor *t) {
    if (pleat_is_poison(t) || t->list == PL_NOWHERE) return;
    if (t->story != NULL) t->story->dropped = true;
    let_go(t);
}

/* Options for groups of parameters, chosen by name and rank. */
#include <string.h>

#include "optimizer.h"

/* Does the pattern, in which '*' is any text, describe all of name? On a mismatch the latest '*' takes one
 * more character. */
static bool matches(const char *pattern, const char *name) {
    const char *star = NULL, *from = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            from = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

static bool has_parameter(const pleat_nn_group *g, const pleat_nn_module *net, size_t i) {
    char name[512];
    pleat_tensor *t = pln_find(net, PLN_PARAMS, i, name, sizeof name).t;
    return (!g->max_rank || pleat_rank(t) <= g->max_rank) && (!g->names || matches(g->names, name));
}

static bool has_condition(const pleat_nn_group *g) { return g->names || g->max_rank; }
static bool has_option(const pleat_nn_group *g) {
    return g->lr_scale != 0 || g->weight_decay != 0 || g->no_decay;
}

static size_t count(const pleat_nn_group *group) {
    size_t n = 0;
    while (n < PLEAT_NN_GROUPS && (has_condition(&group[n]) || has_option(&group[n]))) n++;
    return n;
}

pln_group_options pln_group_options_of(const pln_optimizer_args *a, size_t i) {
    pln_group_options o = {1, a->weight_decay};
    for (size_t k = 0; k < count(a->group); k++) {
        const pleat_nn_group *g = &a->group[k];
        if (!has_parameter(g, a->net, i)) continue;
        if (g->lr_scale != 0) o.lr_scale = g->lr_scale;
        if (g->weight_decay != 0 || g->no_decay) o.decay = g->weight_decay;
    }
    return o;
}

/* ---- rules ----------------------------------------------------------------------------------------------- */

/* The rule that a group breaks by itself, or NULL. */
static const char *broken_rule(const pleat_nn_group *g) {
    if (!has_condition(g)) return "must have names or max_rank; .names = \"*\" is every parameter";
    if (!has_option(g)) return "must have lr_scale, weight_decay or no_decay";
    if (g->lr_scale != 0 && !pln_is_positive(g->lr_scale))
        return "has an lr_scale that is not finite and greater than 0; freeze modules with pleat_nn_freeze";
    if (!pln_is_not_negative(g->weight_decay)) return "has a weight_decay that is negative or not finite";
    if (g->no_decay && g->weight_decay != 0) return "has both weight_decay and no_decay";
    return NULL;
}

/* Report that nothing matches the k-th group, and the names that are there. */
static pleat_status refuse_empty(const pln_optimizer_args *a, size_t k) {
    const pleat_nn_group *g = &a->group[k];
    size_t n = pleat_nn_param_count(a->net), used = 0;
    bool has_star = !g->names || strchr(g->names, '*');
    char list[200] = "", name[64], rank[64] = "";
    for (size_t i = 0; i < n && i < 3; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%s\"", i ? ", " : "",
                                 pleat_nn_param_name(a->net, i, name, sizeof name));
    if (g->max_rank) snprintf(rank, sizeof rank, " with a rank of at most %zu", g->max_rank);
    return pleat_fail(pleat_nn_ctx(a->net), PLEAT_ERR_ARGUMENT, a->method->name,
                      "group %zu: no parameter%s matches \"%.100s\"%s; the names are %s%s", k, rank,
                      g->names ? g->names : "*", has_star ? "" : " ('*' would be any text)", list,
                      n > 3 ? ", ..." : "");
}

static pleat_status check_group(const pln_optimizer_args *a, size_t k) {
    const char *wrong = broken_rule(&a->group[k]);
    if (wrong)
        return pleat_fail(pleat_nn_ctx(a->net), PLEAT_ERR_ARGUMENT, a->method->name, "group %zu %s", k,
                          wrong);
    for (size_t i = 0; i < pleat_nn_param_count(a->net); i++)
        if (has_parameter(&a->group[k], a->net, i)) return PLEAT_OK;
    return refuse_empty(a, k);
}

pleat_status pln_check_groups(const pln_optimizer_args *a) {
    size_t n = count(a->group);
    pleat_status status = PLEAT_OK;
    for (size_t k = 0; k < n && !status; k++) status = check_group(a, k);
    for (size_t k = n + 1; k < PLEAT_NN_GROUPS && !status; k++)
        if (has_condition(&a->group[k]) || has_option(&a->group[k]))
            status = pleat_fail(
                pleat_nn_ctx(a->net), PLEAT_ERR_ARGUMENT, a->method->name,
                "group %zu is zero, but group %zu is not; the list ends at the first that is zero", n, k);
    return status;
}

/* Groups of parameters: what they refuse, and which parameters a pattern means. The values are PyTorch's
 * (test_optim.c). */
#include <math.h>
#include <string.h>

#include "../nn/optimizer.h"
#include "optim.h"

TestSuite(groups, .init = optim_begin, .fini = optim_end);

#define ADAM(...) pleat_nn_adam(net, .group = {__VA_ARGS__})

static void expect_refused(const pleat_nn_optimizer *made, const char *text) {
    cr_assert_null(made, "accepted: %s", text);
    cr_expect_str_eq(pleat_error(ctx)->text, text);
    cr_expect_eq(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT);
    pleat_clear_error(ctx);
}

Test(groups, that_match_nothing_are_refused) {
    pleat_nn_module *net = small_net(PLEAT_F32), *one = pleat_nn_linear(ctx, 2, 1, .no_bias = true);
    expect_refused(
        ADAM({.names = "*bias", .no_decay = true}, {.names = "1.*", .lr_scale = 0.1}),
        "adam: group 1: no parameter matches \"1.*\"; the names are \"0.weight\", \"0.bias\", \"2.weight\", ...");
    expect_refused(ADAM({.names = "0", .lr_scale = 0.1}),
                   "adam: group 0: no parameter matches \"0\" ('*' would be any text); "
                   "the names are \"0.weight\", \"0.bias\", \"2.weight\", ...");
    expect_refused(ADAM({.names = "*weight", .max_rank = 1, .no_decay = true}),
                   "adam: group 0: no parameter with a rank of at most 1 matches \"*weight\"; "
                   "the names are \"0.weight\", \"0.bias\", \"2.weight\", ...");
    expect_refused(
        pleat_nn_sgd(one, .lr = 1, .group = {{.max_rank = 1, .no_decay = true}}),
        "sgd: group 0: no parameter with a rank of at most 1 matches \"*\"; the names are \"weight\"");
    pleat_nn_free(one);
    pleat_nn_free(net);
}

Test(groups, are_refused) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    expect_refused(ADAM({.lr_scale = 0.1}),
                   "adam: group 0 must have names or max_rank; .names = \"*\" is every parameter");
    expect_refused(ADAM({.names = "*"}), "adam: group 0 must have lr_scale, weight_decay or no_decay");
    expect_refused(
        ADAM({.names = "*", .lr_scale = -1}),
        "adam: group 0 has an lr_scale that is not finite and greater than 0; freeze modules with pleat_nn_freeze");
    expect_refused(
        ADAM({.names = "*", .lr_scale = INFINITY}),
        "adam: group 0 has an lr_scale that is not finite and greater than 0; freeze modules with pleat_nn_freeze");
    expect_refused(ADAM({.names = "*", .weight_decay = NAN}),
                   "adam: group 0 has a weight_decay that is negative or not finite");
    expect_refused(ADAM({.names = "*", .weight_decay = 1, .no_decay = true}),
                   "adam: group 0 has both weight_decay and no_decay");
    expect_refused(ADAM({.names = "*", .lr_scale = 1}, {0}, {.names = "*", .lr_scale = 1}),
                   "adam: group 1 is zero, but group 2 is not; the list ends at the first that is zero");
    expect_refused(ADAM([7] = {.names = "*", .lr_scale = 1}),
                   "adam: group 0 is zero, but group 7 is not; the list ends at the first that is zero");
    pleat_nn_free(net);
}

/* The parameters of `net` whose rate the pattern scales, by a plain step from gradients of one. */
static unsigned matched(pleat_nn_module *net, const char *names) {
    double before[PARAMS], after[PARAMS];
    pleat_tensor *ones[4];
    pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 1, .group = {{.names = names, .lr_scale = 3}});
    if (!opt) return pleat_clear_error(ctx), 0;
    unsigned found = 0;
    for (size_t i = 0; i < 4; i++) ones[i] = pleat_full_like(pleat_nn_param(net, i), 1);
    read_params(net, before);
    EXPECT_OK(pleat_nn_update(opt, ones));
    read_params(net, after);
    static const size_t first[] = {0, 4, 6, 8};
    for (unsigned i = 0; i < 4; i++) found |= (before[first[i]] - after[first[i]] > 2 ? 1U : 0) << i;
    pleat_nn_optimizer_free(opt);
    return found;
}

Test(groups, patterns) {
    enum { W0 = 1, B0 = 2, W2 = 4, B2 = 8 };
    static const struct {
        const char *names;
        unsigned found;
    } cases[] = {{"*", 15},        {"**", 15},           {"", 0},
                 {"0.weight", W0}, {"0.weigh", 0},       {".weight", 0},
                 {"0.weights", 0}, {"*weight", W0 | W2}, {"*weight*", W0 | W2},
                 {"*.*i*", 15},    {"*i*s", B0 | B2},    {"*ii*", 0},
                 {"0*", W0 | B0},  {"*0*", W0 | B0},     {"0", 0},
                 {"0.*", W0 | B0}, {"*.b*s", B0 | B2},   {"2*t", W2},
                 {"2.*ias", B2},   {"?.bias", 0},        {"*b*b*", 0},
                 {"2.bias*", B2},  {"*2.bias", B2}};
    pleat_nn_module *net = small_net(PLEAT_F64);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(matched(net, cases[i].names), cases[i].found, "\"%s\": %x instead of %x", cases[i].names,
                     matched(net, cases[i].names), cases[i].found);
    pleat_nn_free(net);
}

/* All eight, the texts of which are gone after the constructor. */
Test(groups, texts_are_not_kept) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    char text[] = "*bias";
    pleat_nn_group g = {.names = text, .lr_scale = 2};
    pleat_nn_optimizer *opt = ADAM(g, g, g, g, g, g, g, g);
    memset(text, 'x', sizeof text);
    EXPECT_OK(pleat_nn_step(opt, small_loss(net)));
    cr_expect_eq(pleat_nn_lr(opt), 1e-3, "the rate is the base rate");
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

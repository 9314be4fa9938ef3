/* The whole networks that bench_nets times. PyTorch's twin of each is in peers/torch_nets.py: the same parameters, the same
 * loss. */
#ifndef PLEAT_BENCH_NETS_H
#define PLEAT_BENCH_NETS_H

#include <pleat_nn.h>

enum { NET_PARTS = 2, NET_INPUTS = 4 };

typedef struct subject subject;

/* A tensor that a step reads, [N,shape], drawn once: 0 ends a list of them. */
typedef enum net_values { NET_NO_VALUES, NET_UNIFORM, NET_NORMAL, NET_LABELS } net_values;
typedef struct net_input {
    const char *name;
    net_values values;
    size_t rank, shape[3];
} net_input;

typedef enum net_optimizer { NET_ADAM, NET_ADAMW, NET_SGD } net_optimizer;

typedef struct bench_net {
    const char *name;
    size_t params; /* of all its modules, as published, or counted by PyTorch */
    net_input input[NET_INPUTS];
    net_optimizer optimizer;
    void (*build)(subject *s); /* sets module; NULL stays where one cannot be made */
    /* part 0; a step of a generative adversarial network has a part for each of its modules */
    pleat_tensor *(*loss)(subject *s, size_t part);
    pleat_tensor *(*infer)(subject *s);
} bench_net;

extern const bench_net bench_nets[];
extern const size_t bench_net_count;
const bench_net *find_bench_net(const char *name); /* NULL: there is none */

/* A network in training. */
struct subject {
    const bench_net *net;
    size_t batch;
    bool repeatable; /* without dropout, whose masks PyTorch would draw differently */
    pleat_ctx *ctx;
    pleat_nn_module *module[NET_PARTS];
    pleat_nn_optimizer *opt[NET_PARTS];
    pleat_tensor *in[NET_INPUTS];
    size_t *labels;           /* of the input that holds labels */
    bool prepares;            /* inference is a prepared forward pass, */
    pleat_prepared *prepared; /* which is NULL until it is made */
};

/* Set net, batch and repeatable before; the rest is made here. False, with a line on stderr, if that fails. */
bool subject_start(subject *s, int threads);
void subject_stop(subject *s);
size_t subject_params(const subject *s);

/* A training step: for each part forward, loss, gradients, update. And a forward pass in evaluation, without recording. Both take
 * a subject. */
void subject_step(void *s);
void subject_infer(void *s);
/* Prepare the forward pass in evaluation; and a run of it. */
bool subject_prepare(subject *s);
void subject_run(void *s);

/* ---- own modules ------------------------------------------------------------------------------------- */

/* y = body(x) + shortcut(x), or body(x) + x; after it relu if asked for. Children "body" and "shortcut". */
pleat_nn_module *net_residual(pleat_ctx *ctx, pleat_nn_module *body, pleat_nn_module *shortcut, bool relu);
pleat_nn_module *net_plain_residual(pleat_ctx *ctx, pleat_nn_module *body, bool relu);
/* y = x and inner(x) along the channels. Child "inner". */
pleat_nn_module *net_skip(pleat_ctx *ctx, pleat_nn_module *inner);

#endif

/* The struct of a module, and helpers of several files of nn. */
#ifndef PLN_MODULE_H
#define PLN_MODULE_H

#include "pleat_nn.h"

#define PLN_NAME_BYTES 32

/* A parameter, a buffer or a child; the other pointers are NULL. */
typedef struct pln_entry {
    char name[PLN_NAME_BYTES];
    pleat_tensor *param, *buffer;
    bool whole; /* a buffer of one integer, which files store as an integer */
    pleat_nn_module *child;
} pln_entry;

/* A step of a module's forward pass that is shown as a layer of its own: a node of a graph. */
typedef struct pln_step {
    const char *name, *kind; /* kind lives as long as the program */
    size_t params;
    double macs;
    const pleat_tensor *y;
} pln_step;

/* Called after the forward pass of each module below the one that it is set on (nn/summary.c), and after each step of a module that
 * has steps. */
typedef struct pln_observer {
    void (*saw)(struct pln_observer *o, const pleat_nn_module *m, const pleat_tensor *x,
                const pleat_tensor *y);
    void (*saw_step)(struct pln_observer *o, const pleat_nn_module *m, const pln_step *step);
} pln_observer;

struct pleat_nn_module {
    pleat_ctx *ctx;
    const pleat_nn_kind *kind;
    void *attrs;
    void (*release)(const pleat_nn_module *m); /* frees what attrs points to; NULL: nothing */
    pleat_nn_module *parent;                   /* frees this module; NULL: the user does */
    bool evaluating, frozen;
    bool named; /* of a root: the context's error names a module of this tree */
    pln_observer *observer;
    /* Of a batch norm while a micro-batch is computed (nn/share_step.c), else NULL: what becomes of the running statistics r,
     * which other micro-batches share: a r + s is [a, s of the mean, s of the variance], and the number of calls. */
    pleat_tensor *statistics, *calls;
    struct pln_joint *joint; /* with the others, if all are normalised by the same mean and variance */
    size_t count;
    pln_entry *entries; /* in the order of registration */
};

/* The path of m below root, "encoder.0", in buffer[bytes]: "" for root itself. root NULL: below the root of
 * m's tree. A path that is too long loses names at its front. */
char *pln_path(const pleat_nn_module *m, const pleat_nn_module *root, char *buffer, size_t bytes);

/* A call of a forward pass that was prepared from root, behind the module that applied it:
 * "encoder.2: Conv2d: conv2d([1,3,8,8], [4,3,3,3])". */
char *pln_call_text(const pleat_prepared *p, const pleat_call *c, const pleat_nn_module *root, char *buffer,
                    size_t bytes);

/* Do both tensors exist, with the same shape? */
bool pln_same_shape(const pleat_tensor *x, const pleat_tensor *y);

/* The tensors that a walk over a tree looks for. */
typedef enum pln_what { PLN_PARAMS, PLN_STATE } pln_what;

/* Tensor i of m and its children, with its entry and owner; NULL after the last. Its name is written to
 * name[bytes], truncated to fit. */
typedef struct pln_found {
    pleat_tensor *t;
    const pln_entry *entry;
    const pleat_nn_module *owner;
} pln_found;
pln_found pln_find(const pleat_nn_module *m, pln_what what, size_t i, char *name, size_t bytes);

/* Is parameter i frozen? Is tensor i of the state dict one integer? */
bool pln_param_frozen(const pleat_nn_module *m, size_t i);
bool pln_state_is_whole(const pleat_nn_module *m, size_t i);

/* Add a buffer that files store as an integer. */
pleat_nn_module *pln_add_whole_buffer(pleat_nn_module *m, const char *name, pleat_tensor *t);

/* Free m unless another module owns it, and return NULL. */
pleat_nn_module *pln_discard(pleat_nn_module *m);

/* What a forward pass takes with it of the modules behind, in one pass over memory. */
typedef struct pln_tail {
    pleat_conv_norm norm; /* zeros: none */
    bool relu, relu6;
} pln_tail;

/* m's forward pass with a tail; NULL for modules that take none. Convolutions and their transposes
 * (nn/layers.c) take all, norms (nn/norm_layers.c) no norm. */
typedef pleat_tensor *pln_forward(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail);
pln_forward *pln_forward_with(const pleat_nn_module *m);
pln_forward *pln_norm_forward(const pleat_nn_module *m);

/* Is it a batch norm? */
bool pln_is_batch_norm(const pleat_nn_module *m);
/* The running statistics take over what `statistics` and `calls`, averages over all micro-batches, say. */
void pln_take_statistics(pleat_nn_module *m, pleat_tensor *statistics, pleat_tensor *calls);

/* Add `next` to the tail of m, if m takes it as its norm: a batch norm in evaluation, for the result of a
 * convolution, or for one of such rank, channels and type; or if it is a ReLU or ReLU6 (nn/activations.c). False otherwise. */
bool pln_take_norm(const pleat_nn_module *m, const pleat_nn_module *next, pln_tail *tail);
bool pln_take_batch_norm(const pleat_nn_module *next, size_t rank, size_t channels, pleat_dtype dtype,
                         pln_tail *tail);
bool pln_take_relu(const pleat_nn_module *next, pln_tail *tail);

/* m's forward pass by `forward` in place of the function of its kind. */
pleat_tensor *pln_forward_by(pln_forward *forward, pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail);

/* End the scope, and move y, if it belongs to it, to the scope around it; y. */
pleat_tensor *pln_leave(pleat_scope scope, pleat_tensor *y);

/* x [N,C,L] as an image [N,C,1,L] of height 1, and back: 1-D layers are 2-D layers. Views. */
pleat_tensor *pln_widen(pleat_tensor *x);
pleat_tensor *pln_narrow(pleat_tensor *x);

/* Report the rule that an argument of a constructor breaks; NULL. */
pleat_nn_module *pln_refuse(pleat_ctx *ctx, const char *layer, const char *rule);
/* The rule that a type breaks, or NULL. */
const char *pln_wrong_dtype(pleat_dtype dtype);
/* Append ", stride 2x2" to buffer[bytes], unless the pair is the usual one. */
void pln_describe_pair(char *buffer, size_t bytes, const char *what, const size_t pair[2],
                       const size_t usual[2]);
/* Report that x does not fit the layer: "x is [..]; this layer takes BEFORE SIZE AFTER"; poison. */
pleat_tensor *pln_misfit(pleat_nn_module *m, pleat_tensor *x, const char *before, size_t size,
                         const char *after);

#endif

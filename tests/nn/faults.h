/* faults.h: what is called while allocations fail. A row is a function of the library, or a family of them that differ in nothing
 * that allocates; together the rows name every public function. */
#ifndef FAULTS_H
#define FAULTS_H

#include "pleat.h"
#include "pleat_check.h"
#include "pleat_frameworks.h"
#include "pleat_kernels.h"
#include "pleat_nn.h"

/* Where a row runs, and what came out of it. */
typedef struct world {
    pleat_ctx *ctx;
    bool failed;     /* something said that it failed */
    uint64_t digest; /* of all values */
    bool described;  /* every recorded call behind a tensor that is taken must describe itself */
    size_t dead;     /* 0: tensors that are drawn live; n > 0: the n-th that is drawn is dead, and then 0 */
} world;

typedef struct row row;
struct row {
    const char *covers; /* the functions, between blanks */
    void (*run)(world *w, const row *r);
    union {
        pleat_tensor *(*unary)(pleat_tensor *);
        pleat_tensor *(*binary)(pleat_tensor *, pleat_tensor *);
        pleat_tensor *(*with_number)(pleat_tensor *, double);
        pleat_tensor *(*with_size)(pleat_tensor *, size_t);
        pleat_tensor *(*sum)(pleat_sum_args);
        pleat_tensor *(*resize)(pleat_resize_args);
        pleat_tensor *(*loss)(pleat_nn_loss_args);
        pleat_nn_module *(*module)(pleat_ctx *);
        pleat_nn_module *(*module_with_number)(pleat_ctx *, double);
        pleat_nn_module *(*module_with_size)(pleat_ctx *, size_t);
        pleat_status (*init)(pleat_tensor *, double);
    };
    const char *leaking; /* a library that loses blocks by itself when it has no memory; or NULL */
};

/* Each ends with a row without a name. */
extern const row faults_ops[], faults_nn[], faults_world[], faults_files[];

/* What faults_files read; in the folder `where`. */
void faults_files_begin(pleat_ctx *ctx, const char *where);

/* Take a value, a tensor, a status or a pointer into the world's result. */
void take_number(world *w, double v);
void take(world *w, pleat_tensor *t);
void take_status(world *w, pleat_status s);
bool take_pointer(world *w, const void *p); /* true if it is not NULL */

/* Small tensors of numbers from the context's stream, 0.1 to 0.9: away from kinks. */
pleat_tensor *drawn(world *w, size_t rank, const size_t *shape);
/* The value, and the gradients of orders one and two for n inputs. */
void take_with_gradients(world *w, pleat_tensor *y, size_t n, pleat_tensor *const *xs);

#endif

/* export.h: a network on its way to a C file. Private to nn/export. Values are dense in areas; a call becomes an action. */
#ifndef PLN_EXPORT_H
#define PLN_EXPORT_H

#include <stdio.h>

#include "pleat_nn.h"
#include "pleat_op.h"

/* The numbers of a tensor: the network's input or output, constant, or computed into the arena. */
typedef enum pln_area_kind { PLN_ARENA, PLN_INPUT, PLN_OUTPUT, PLN_CONSTANT } pln_area_kind;

typedef struct pln_area {
    pln_area_kind kind;
    size_t numbers, index;
    size_t first, last;    /* the actions that write it, and read it last */
    size_t place;          /* in the arena, in numbers */
    struct pln_area *same; /* NULL, or the area in whose place it is written */
    const pleat_tensor *constant;
    bool used; /* an action reads it */
    const pleat_call
        *norm; /* of a constant that is not a tensor: factors and shifts of a convolution or a rescale */
    struct pln_area *next;
} pln_area;

/* A view of an area. */
typedef struct pln_view {
    pln_area *area;
    size_t offset, rank, shape[PLEAT_MAX_RANK];
    ptrdiff_t stride[PLEAT_MAX_RANK];
} pln_view;

typedef struct pln_action pln_action;
typedef struct pln_c_file pln_c_file;

/* How calls of an op are written. */
typedef struct pln_rule {
    const char *op;
    const char *part;       /* of runtime.c, that it needs; or NULL */
    const char *expression; /* of an element-wise op, in x, z and the attributes a and b; or NULL */
    /* NULL for an element-wise op. False after an error: a case that is not supported. */
    bool (*write)(pln_c_file *f, const pln_action *a);
} pln_rule;

/* NULL: the op is not supported. */
const pln_rule *pln_rule_of(const char *op);

struct pln_action {
    const pln_rule *rule;
    const pleat_call *call;
    size_t n;
    pln_view in[8], out;
    size_t pool[2]; /* of a convolution: the windows of the pool behind it, or 0 */
    pln_action *next;
};

struct pln_c_file {
    pleat_ctx *ctx;
    pleat_prepared *p;
    const pleat_nn_export_c_args *args;
    const char *stem; /* the file's name without folder and ending: names begin with it */
    FILE *to;
    pln_area *areas, **last_area;
    pln_action *actions, **last_action;
    size_t count, arena, constants; /* actions; numbers of the arena; bytes of constants */
    struct known {
        const pleat_tensor *t;
        pln_view view;
        struct known *next;
    } * known;
};

/* All calls as actions, with areas in their places; the limits of flash and RAM are held. False after an error (actions.c). */
bool pln_plan_c(pln_c_file *f);
void pln_free_plan(pln_c_file *f);
/* Report that c cannot be exported; false. */
bool pln_cannot(pln_c_file *f, const pleat_call *c, const char *why);

/* Attribute `name` of c as whole numbers; missing ones are 0. And as a double. */
void pln_whole(const pleat_call *c, const char *name, size_t n, long *values);
double pln_real(const pleat_call *c, const char *name);

size_t pln_numbers(const pln_view *v);
bool pln_is_dense(const pln_view *v);
/* The text "arena + 128" (calls.c). */
typedef struct pln_place {
    char text[64];
} pln_place;
pln_place pln_place_of(const pln_view *v);
bool pln_write_action(pln_c_file *f, const pln_action *a);
#endif

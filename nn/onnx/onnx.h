/* onnx.h: an ONNX graph as plain structs, checked, and what a rule of an operator is given.
 *
 * A value is a tensor and its ONNX type. Floats are tensors of their type (16-bit floats are f32). Whole numbers and truths are
 * tensors of f64, exact up to 2^53, and an int64 beyond that is the largest or the smallest one: so every op of ops/ that moves
 * elements serves whole numbers as well, and shape arithmetic needs no second set of rules.
 */
#ifndef PLN_ONNX_H
#define PLN_ONNX_H

#include <stdint.h>

#include "module.h"

enum {
    PLN_ONNX_FLOAT = 1,
    PLN_ONNX_UINT8,
    PLN_ONNX_INT8,
    PLN_ONNX_UINT16,
    PLN_ONNX_INT16,
    PLN_ONNX_INT32,
    PLN_ONNX_INT64,
    PLN_ONNX_STRING,
    PLN_ONNX_BOOL,
    PLN_ONNX_FLOAT16,
    PLN_ONNX_DOUBLE,
    PLN_ONNX_UINT32,
    PLN_ONNX_UINT64,
    PLN_ONNX_BFLOAT16 = 16,
};

/* "float", "int64"; "type 77" is "an unknown type". Is it a float, a whole number, one that is supported? */
const char *pln_onnx_type_name(int type);
bool pln_onnx_is_float(int type);
bool pln_onnx_is_whole(int type);
bool pln_onnx_is_known(int type);
/* The type of tensors that hold it. */
pleat_dtype pln_onnx_dtype(int type);

typedef struct pln_onnx_value {
    pleat_tensor *t; /* NULL: an optional input that is not given */
    int type;
} pln_onnx_value;

typedef struct pln_onnx_attr {
    const char *name;
    int type; /* AttributeProto's: 1 float, 2 int, 3 string, 4 tensor, 6 floats, 7 ints */
    int64_t i;
    double f;
    const char *s;
    size_t n; /* of floats or ints */
    const float *floats;
    const int64_t *ints;
    pln_onnx_value t; /* held by the model */
} pln_onnx_attr;

typedef struct pln_onnx_run pln_onnx_run;
typedef struct pln_onnx_node pln_onnx_node;

/* Compute out[0..n->outs-1] from in[]; false after pln_onnx_refuse. A result that is poison is an error that the op has reported.
 * in[] has at least eight members, NULL where nothing is given. The type of a result is that of in[0] unless the rule sets another. */
typedef bool pln_onnx_rule(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                           pln_onnx_value *out);

/* An operator in a range of opsets. */
typedef struct pln_onnx_row {
    const char *name;
    int since, until; /* the first and the last opset of this meaning */
    /* A letter an input: f floats, n numbers, w whole numbers, b truths, a any; capital: optional; + repeats the one before. */
    const char *in;
    size_t most_out;
    pln_onnx_rule *rule; /* NULL: the result is the first input */
    /* The attributes, "axis:i pads:I": i int, f float, s string, t tensor, I ints, F floats. */
    const char *attrs;
    unsigned weights; /* bits of inputs that training changes, where they are initializers */
    bool passes;      /* its result is a weight if its first input is one: it moves elements only */
    bool wraps;       /* results that are whole numbers are rounded and wrapped to their type: arithmetic */
    /* multiply-adds; NULL: none worth counting */
    double (*macs)(const pln_onnx_value *in, const pleat_tensor *y);
} pln_onnx_row;

/* Families of operators, each ended by a row without a name. */
extern const pln_onnx_row pln_onnx_arithmetic[], pln_onnx_casts[], pln_onnx_constants[], pln_onnx_convs[],
    pln_onnx_functions[], pln_onnx_gathers[], pln_onnx_logic[], pln_onnx_losses[], pln_onnx_moves[],
    pln_onnx_norms[], pln_onnx_pads[], pln_onnx_pools[], pln_onnx_products[], pln_onnx_reduces[],
    pln_onnx_resizes[], pln_onnx_shapes[], pln_onnx_softmaxes[];

/* The row of an operator, or NULL. *known: is there a row of that name for another opset? */
const pln_onnx_row *pln_onnx_find_row(const char *op, int64_t opset, bool *known);

struct pln_onnx_node {
    const char *op, *name;
    size_t number; /* in the file, from 0 */
    const pln_onnx_row *row;
    int opset;
    size_t ins, outs;
    size_t *in, *out; /* slots; PLN_ONNX_NONE: not given */
    size_t attrs;
    pln_onnx_attr *attr;
};

#define PLN_ONNX_NONE SIZE_MAX
#define PLN_ONNX_MOST_IN 8 /* members that in[] has at least */

typedef enum pln_onnx_from {
    PLN_ONNX_UNMADE,
    PLN_ONNX_COMPUTED,
    PLN_ONNX_INPUT,
    PLN_ONNX_CONSTANT,
    PLN_ONNX_STATE
} pln_onnx_from;

/* A named value of the graph. */
typedef struct pln_onnx_slot {
    const char *name;
    pln_onnx_from from;
    bool initializer; /* by name in the file */
    bool weight;      /* training changes it */
    bool owned;       /* by the module, as state */
    size_t last;      /* the last node that reads it, counted from 1; SIZE_MAX: an output */
    pln_onnx_value v; /* of constants and state, held */
} pln_onnx_slot;

/* An input or output of the graph. */
typedef struct pln_onnx_port {
    const char *name;
    size_t slot;
    int type;
    bool shaped;                      /* is the shape given? */
    size_t rank;                      /* then */
    int64_t dim[PLEAT_MAX_RANK];      /* -1: any size */
    const char *word[PLEAT_MAX_RANK]; /* its name, "N", or NULL */
} pln_onnx_port;

typedef struct pln_onnx_block pln_onnx_block;
typedef struct pln_onnx_file pln_onnx_file;

typedef struct pln_onnx_model {
    pleat_ctx *ctx;
    const char *path;
    size_t bytes;           /* of the file */
    pln_onnx_file *files;   /* that hold tensors */
    pln_onnx_block *memory; /* all that the structs point to */
    size_t room;            /* bytes that may still be taken */
    int opset;
    size_t slots, nodes, inputs, outputs, most_in, most_out;
    pln_onnx_slot *slot;
    pln_onnx_node *node;
    pln_onnx_port *input, *output;
    size_t *table, table_size;       /* slots by the hash of their names */
    pln_onnx_value *live, *in, *out; /* a run's values, one for each slot; and of one node */
} pln_onnx_model;

/* One run of the graph, or of a node while constants are folded. */
struct pln_onnx_run {
    pleat_ctx *ctx;
    const char *op;   /* for errors: "onnx_load", "Onnx" */
    const char *path; /* or NULL */
    bool training;
};

/* ---- for rules (attributes.c, values.c) --------------------------------------------------------------- */

/* Report "node 3 Conv 'name': ", and a text in printf's manner; false. */
bool pln_onnx_refuse(const pln_onnx_run *run, const pln_onnx_node *n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Zeroed memory for `count` elements, until the node's scope ends: a tensor's, so that it is counted while constants are folded.
 * NULL after an error. */
void *pln_onnx_room(const pln_onnx_run *run, const pln_onnx_node *n, size_t count, size_t bytes);

/* Attributes; their types were checked when the model was loaded. */
bool pln_onnx_has(const pln_onnx_node *n, const char *name);
const pln_onnx_attr *pln_onnx_attr_of(const pln_onnx_node *n, const char *name);
int64_t pln_onnx_int(const pln_onnx_node *n, const char *name, int64_t usual);
double pln_onnx_real(const pln_onnx_node *n, const char *name, double usual);
const char *pln_onnx_text(const pln_onnx_node *n, const char *name, const char *usual);
/* The text as a place in words[], which ends with NULL; an error otherwise. */
bool pln_onnx_word(const pln_onnx_run *run, const pln_onnx_node *n, const char *name,
                   const char *const *words, size_t *place);

/* A list of whole numbers, from an attribute or an input: at most PLEAT_MAX_RANK pairs of them. */
typedef struct pln_onnx_list {
    bool given;
    size_t n;
    int64_t v[2 * PLEAT_MAX_RANK];
} pln_onnx_list;
bool pln_onnx_ints(const pln_onnx_run *run, const pln_onnx_node *n, const char *name, pln_onnx_list *list);
bool pln_onnx_whole_input(const pln_onnx_run *run, const pln_onnx_node *n, const char *what, pln_onnx_value v,
                          pln_onnx_list *list);
/* From the attribute if the operator's row has it, else from the input. */
bool pln_onnx_list_of(const pln_onnx_run *run, const pln_onnx_node *n, const char *name, pln_onnx_value v,
                      pln_onnx_list *list);

/* Every number of a list as a size from least to PTRDIFF_MAX / 8, n of them, `usual` if it is not given. */
bool pln_onnx_sizes(const pln_onnx_run *run, const pln_onnx_node *n, const char *name, size_t count,
                    int64_t least, size_t usual, size_t *out);
/* An axis from -rank to rank - 1; and bits of axes, without repetition. */
bool pln_onnx_axis(const pln_onnx_run *run, const pln_onnx_node *n, int64_t axis, size_t rank, size_t *out);
bool pln_onnx_axes(const pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_list *list, size_t rank,
                   unsigned *bits);

/* The number of a double that is whole; beyond 2^53 the largest or the smallest. */
int64_t pln_onnx_whole(double v);
/* All elements as doubles, in such memory; NULL after an error. */
double *pln_onnx_read(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *t);
/* One number, of a tensor of one element. */
bool pln_onnx_number(const pln_onnx_run *run, const pln_onnx_node *n, const char *what, pln_onnx_value v,
                     double *out);
/* A list as a value of type int64 [n], and n doubles. */
pln_onnx_value pln_onnx_of_list(pln_onnx_run *run, size_t n, const int64_t *v);
pln_onnx_value pln_onnx_of_doubles(pln_onnx_run *run, int type, size_t rank, const size_t *shape,
                                   const double *v);

/* Truths as a mask of that type; whole numbers of floats that are 0 or 1 as truths. */
pleat_tensor *pln_onnx_mask(pln_onnx_value v, pleat_dtype dtype);
pln_onnx_value pln_onnx_truths(pleat_tensor *t);
/* Round whole numbers and wrap them to their type; an error beyond 2^53. */
bool pln_onnx_wrap(const pln_onnx_run *run, const pln_onnx_node *n, pln_onnx_value *v);
/* x with these sizes; poison if they have another number of elements. */
pleat_tensor *pln_onnx_reshape(pleat_tensor *x, size_t rank, const size_t *shape);

/* ---- the parts of loading and running ------------------------------------------------------------------ */

/* Report "path: ..."; false. */
bool pln_onnx_wrong(const pln_onnx_model *m, pleat_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Zeroed memory that lives as long as the model; NULL after an error. */
void *pln_onnx_take(pln_onnx_model *m, size_t count, size_t bytes);
/* Count memory that something else takes; false if there is not so much. */
bool pln_onnx_may_take(pln_onnx_model *m, size_t bytes);
void pln_onnx_free(pln_onnx_model *m);
/* Let go of the tensors among a node's attributes. */
void pln_onnx_drop_attributes(pln_onnx_node *n);

/* The file's content as structs, or false after an error. */
bool pln_onnx_read_file(pln_onnx_model *m);

/* Take nodes away that change nothing, find the weights, compute what depends on constants only, and where each value is read last. */
bool pln_onnx_simplify(pln_onnx_model *m);
/* Weights become parameters and other floats buffers of the module; NULL after an error, after which it is freed. */
pleat_nn_module *pln_onnx_add_state(pln_onnx_model *m, pleat_nn_module *module);

/* Apply a node's rule with all checks around it; false after an error. */
bool pln_onnx_apply(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out);
/* Compute out[] from in[], tensors of the innermost scope; false after an error. */
bool pln_onnx_execute(pln_onnx_model *m, pleat_nn_module *module, pleat_tensor *const *in,
                      pleat_tensor **out);

#endif

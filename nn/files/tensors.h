/* tensors.h: named tensors and texts as a safetensors file, for files of parameters and for checkpoints.
 *
 *     pln_tensors s = {.ctx = ctx, .op = "save", .path = path};          s = {.., .op = "load", .whose = "the network"};
 *     pln_tensors_say(&s, "title", "x");                                 pln_tensors_add(&s, w, 0, "0.weight");
 *     pln_tensors_add(&s, w, 0, "0.weight");                             status = pln_tensors_read(&s);
 *     status = pln_tensors_write(&s);                                    if (!status) pln_tensors_assign(&s);
 *     pln_tensors_close(&s);                                             pln_tensors_close(&s);
 */
#ifndef PLN_TENSORS_H
#define PLN_TENSORS_H

#include "pleat_nn.h"

struct cJSON;

enum {
    PLN_WHOLE = 1,    /* whole numbers, in f64: I64 in the file */
    PLN_OPTIONAL = 2, /* the file may lack it */
    PLN_WIDENS = 4, /* the file may have a narrower floating type, of which every value is one of t's type */
    PLN_UNREAD = 8, /* set by the reader: of the file, and not read */
};

/* The types that are read, floating ones from the narrowest on; the last is any other. */
typedef enum pln_type { PLN_F16, PLN_BF16, PLN_F32, PLN_F64, PLN_I64, PLN_OTHER_TYPE } pln_type;
/* Their names in the format, and the bytes of an element. */
extern const struct pln_type_facts {
    const char *name;
    size_t width;
} pln_types[PLN_OTHER_TYPE];

/* The longest name. A buffer for names that may be longer, and are truncated, has room for one more
 * character. */
enum { PLN_LONGEST_NAME = 255 };

/* A tensor with its place in a file. */
typedef struct pln_named {
    char name[PLN_LONGEST_NAME + 1];
    pleat_tensor *t; /* reading, NULL is a matrix of f64 of any size */
    unsigned flags;
    const struct cJSON *json;           /* its entry in the header */
    pln_type type;                      /* in the file */
    size_t rank, shape[PLEAT_MAX_RANK]; /* in the file */
    size_t begin, end;                  /* its bytes, counted from the end of the header */
    pleat_tensor *fresh;                /* the tensor that was read */
} pln_named;

/* The caller sets the first members; the others are zero. The first failure is reported, and all later calls
 * do nothing, so it is enough to check the results of write, open and read. */
typedef struct pln_tensors {
    pleat_ctx *ctx;
    const char *op, *path;
    const char *whose;  /* reading: "the network", in "the network has no ..." */
    const char *prefix; /* reading: of the names in the file; "" or NULL: none. Other tensors are not read */
    bool partly;        /* reading: what does not fit is listed in `found`, and is no error */
    pleat_nn_misfits found;

    pleat_status status; /* of the first failure */
    size_t n, room;
    pln_named *named;
    struct cJSON *root; /* the header */
    FILE *f;
    size_t bytes; /* of all elements */
} pln_tensors;

/* Add the next tensor, with a name formatted as by printf. */
void pln_tensors_add(pln_tensors *s, pleat_tensor *t, unsigned flags, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* Writing: add a text in UTF-8 to the metadata. Each key is unique. */
void pln_tensors_say(pln_tensors *s, const char *key, const char *text);
/* Write everything in the order in which it was added. */
pleat_status pln_tensors_write(pln_tensors *s);

/* Open the file and read its header. */
pleat_status pln_tensors_open(pln_tensors *s);
/* The text of that key in the metadata, or NULL; valid until close. */
const char *pln_tensors_text(const pln_tensors *s, const char *key);
/* Read and check everything into named[].fresh, tensors of the innermost scope (NULL for a missing optional
 * one). The tensors of the file and those added must be the same, with equal types and shapes, unless `partly`
 * is set; then fresh is NULL where a tensor does not fit. Changes no tensor of the caller. Opens the file if
 * it is not open. Adds the tensors of the file that are not read to named, and sorts it in the order of the
 * file. */
pleat_status pln_tensors_read(pln_tensors *s);
/* Copy the tensors that were read into those of the caller; cannot fail. */
void pln_tensors_assign(pln_tensors *s);

void pln_tensors_close(pln_tensors *s);

/* ---- shared by writing (tensors.c), reading (tensors_read.c) and elements (tensors_elements.c) ----------- */

#define PLN_METADATA "__metadata__"
#define PLN_LARGEST_WHOLE 9007199254740992.0 /* up to here every integer is a double */

/* The first failure becomes s->status. */
pleat_status pln_tensors_fail(pln_tensors *s, pleat_status code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Is the text valid UTF-8, as the format requires? cJSON does not check it. */
bool pln_is_utf8(const char *text);

/* The next n bytes of the file; false if they cannot be read. */
bool pln_tensors_bytes(pln_tensors *s, void *to, size_t n);
/* Read the elements of all entries that are to be read, which are in the order of the file. */
void pln_tensors_take(pln_tensors *s);

/* The type that is written for e, and read where the file's is not narrower. */
pln_type pln_own_type(const pln_named *e);
/* Elements, of the shape in the file. */
size_t pln_named_numel(const pln_named *e);

#endif

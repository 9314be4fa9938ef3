/* pleat_nn_data.h: data sets and their sources, batches, and files of arrays. Part of pleat_nn.h.
 *
 * Images of classes, a folder for each class:
 *
 *     pleat_nn_images photos;
 *     pleat_nn_read_png_folder(ctx, "photos", &photos);
 *     pleat_nn_loader *loader = pleat_nn_loader_new(ctx, &photos, .batch = 64, .shuffle = true, .seed = 1,
 *                                                   .transform = {.flip = 0.5, .crop = {32, 32}});
 *     ... y = pleat_nn_forward(net, b->x), pleat_nn_cross_entropy_loss(y, .labels = b->labels)
 *
 * A regression from a CSV file, with a tenth of the rows for validation:
 *
 *     pleat_nn_data all = {0}, train, valid;
 *     pleat_nn_data_add(ctx, &all, "x", PLEAT_NN_F32, pleat_nn_read_csv(ctx, "houses.csv", "!price"));
 *     pleat_nn_data_add(ctx, &all, "target", PLEAT_NN_F32, pleat_nn_read_csv(ctx, "houses.csv", "price"));
 *     pleat_nn_split(ctx, &all, 0.1, 1, &train, &valid);
 *     loader = pleat_nn_loader_new(ctx, .data = &train, .batch = 32, .shuffle = true);
 *     ... y = pleat_nn_forward(net, b->x), pleat_nn_mse_loss(y, b->target)     // [n,D] and [n,1]
 *
 * Columns of unlike sizes learn better with mean 0 and variance 1. New rows need the mean and the deviation
 * of the old ones, so these are saved beside the network:
 *
 *     pleat_tensor *scale[] = {pleat_mean(x, PLEAT_AXES(0)), pleat_sqrt(pleat_var(x, PLEAT_AXES(0)))};
 *     pleat_nn_write_npz("scale.npz", 2, (const char *[]){"mean", "deviation"}, scale);
 *     x = pleat_div(pleat_sub(x, scale[0]), scale[1]);
 *
 * A new row [1,D] is scaled by what pleat_nn_read_npz returns, in f64, and goes to the network as f32:
 *
 *     y = pleat_nn_forward(net, pleat_cast(row, PLEAT_F32));
 *
 * Segmentation, from two folders of PNGs with the same names; a mask's byte is the class of its pixel:
 *
 *     pleat_nn_read_png_pairs(ctx, "images", "masks", PLEAT_NN_BYTE_LABELS, &all);
 *     loader = pleat_nn_loader_new(ctx, .data = &all, .batch = 8, .transform = {.flip = 0.5});
 *     ... y = pleat_nn_forward(net, b->x)                                                  // [n,K,H,W]
 *     ... pleat_nn_cross_entropy_loss(y, .labels = b->labels)
 *
 * Arrays of your own need no copy and no function:
 *
 *     pleat_nn_data all = {.count = 1000, .field = {{"x", PLEAT_NN_F32, 1, {13}, .data = xs},
 *                                                   {"y", PLEAT_NN_F32, 1, {1}, .data = ys}}};
 *
 * pleat_nn_fit (pleat_nn_train.h) runs over such loaders. Without it:
 *
 *     pleat_nn_batch b;
 *     for (size_t epoch = 0; epoch < 10; epoch++) {
 *         pleat_nn_loader_start(loader, epoch, 0);
 *         for (bool more = true; more;) {
 *             pleat_scope s = pleat_begin(ctx);
 *             more = pleat_nn_loader_next(loader, &b);
 *             if (more) ...
 *             pleat_end(s);
 *         }
 *     }
 *     pleat_nn_loader_free(loader);
 */
#ifndef PLEAT_NN_DATA_H
#define PLEAT_NN_DATA_H

#include <stdio.h>

#include "pleat.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- images ------------------------------------------------------------------------------------------ */

/* Images as bytes, [count,C,H,W], with a label each or without labels. */
typedef struct pleat_nn_images {
    size_t count, C, H, W;
    uint8_t *pixels; /* count*C*H*W bytes */
    uint8_t *labels; /* count bytes, or NULL */
    size_t classes;  /* the labels are 0..classes-1; 0 without labels */
    char **names;    /* of the classes, or NULL; names[k] is NUL-terminated */
} pleat_nn_images;

/* Read images (IDX3, [count,H,W] unsigned bytes) and, if labels_path is not NULL, the same number of labels
 * (IDX1). A gzip file is recognised by its content and unpacked by zlib. The format:
 * yann.lecun.com/exdb/mnist. The length of each file must match its header. On an error `out` is empty. The
 * caller frees it with pleat_nn_images_free. */
pleat_status pleat_nn_read_idx(pleat_ctx *ctx, const char *images_path, const char *labels_path,
                               pleat_nn_images *out);
/* Images of filled discs, rings, boxes, triangles and crosses [count,1,H,W] with random positions, sizes and
 * greys, and the kind (0..4) as label: generated data, which needs no files. H and W are at least 8. */
pleat_status pleat_nn_shapes(pleat_ctx *ctx, size_t count, size_t H, size_t W, uint64_t seed,
                             pleat_nn_images *out);
/* Read every *.png of a folder, or of its sub-folders, which are then the classes: at most 256, sorted by
 * name, as by torchvision's ImageFolder. Other files and hidden files are ignored. All images must have the
 * size and channels of the first. Grey images have one channel, all others three; 16 bits are reduced to 8,
 * palettes are resolved to colours, transparent pixels are blended with black. An error names the file, for
 * different sizes both files. A folder without images is an error. */
pleat_status pleat_nn_read_png_folder(pleat_ctx *ctx, const char *path, pleat_nn_images *out);
void pleat_nn_images_free(pleat_nn_images *images);

/* Images as a tensor [n,C,H,W] with values 0..1 (byte / 255). index may be NULL: images first..first+n-1. */
pleat_tensor *pleat_nn_image_batch(pleat_ctx *ctx, pleat_dtype dtype, const pleat_nn_images *images,
                                   const size_t *index, size_t first, size_t n);

/* A pass over `count` items in shuffled order, a batch at a time. */
typedef struct pleat_nn_batches {
    size_t count, batch, next; /* `next` is the number of items returned so far */
    bool keep_last;            /* also return the last, shorter batch */
    size_t *order;             /* a permutation of 0..count-1 */
} pleat_nn_batches;

pleat_status pleat_nn_batches_new(pleat_ctx *ctx, size_t count, size_t batch, pleat_nn_batches *out);
void pleat_nn_batches_free(pleat_nn_batches *b);
/* Start a new pass: a new order from r (Fisher and Yates), or 0,1,2,... if r is NULL. */
void pleat_nn_shuffle(pleat_nn_batches *b, pleat_rng *r);
/* The next batch's indices (n of them), or NULL at the end of the pass. */
const size_t *pleat_nn_next(pleat_nn_batches *b, size_t *n);

/* ---- data sets --------------------------------------------------------------------------------------- */

/* The type of a field's elements, and their meaning. */
typedef enum pleat_nn_type {
    PLEAT_NN_F32,         /* float */
    PLEAT_NN_F64,         /* double */
    PLEAT_NN_PIXELS,      /* uint8_t; in a batch byte / 255, from 0 to 1 */
    PLEAT_NN_BYTES,       /* uint8_t; in a batch the same number, from 0 to 255 */
    PLEAT_NN_LABELS,      /* size_t: class numbers, of any size */
    PLEAT_NN_BYTE_LABELS, /* uint8_t: class numbers up to 255; in a batch size_t */
} pleat_nn_type;

#define PLEAT_NN_FIELDS 8

/* One of the arrays of a data set: [items, shape]. */
typedef struct pleat_nn_field {
    const char *name; /* for errors; must stay; default "x", "target", "2", "3", ... */
    pleat_nn_type type;
    size_t rank, shape[PLEAT_MAX_RANK - 1]; /* of one item; rank 0: one number */
    const void *data;                       /* all items in row-major order, not copied; or NULL: */
    /* Write item `item` to out, elements of the field's type. It is called in the loader's thread, so it must
     * use no context and no tensor. What it draws from r depends on the loader's seed, the epoch and the
     * item; all fields of an item are given equal streams, so that an image and its mask can be drawn by the
     * same numbers. False ends the epoch with an error that names field and item. */
    bool (*fill)(void *user, size_t item, pleat_rng *r, void *out);
    void *user;  /* passed to fill */
    void *owned; /* memory that pleat_nn_data_free frees; set by the functions below */
} pleat_nn_field;

/* Items of one or more fields. Field 0 is x, the input of a network. The list ends at the first field that is
 * all zero. */
typedef struct pleat_nn_data {
    size_t count; /* of items */
    pleat_nn_field field[PLEAT_NN_FIELDS];
    /* the numbers of the items within the fields; NULL: 0..count-1. Freed by pleat_nn_data_free */
    size_t *index;
} pleat_nn_data;

/* Free the memory that the functions below allocated; what the caller wrote to a field is the caller's. */
void pleat_nn_data_free(pleat_nn_data *data);

/* Images as a data set: x [C,H,W], and their labels, if they have some, as "labels". Pixels and labels are
 * not copied. */
pleat_nn_data pleat_nn_data_of_images(const pleat_nn_images *images);

/* Add a field: a copy of t [items, shape], converted to the type. Begin with a set of zeros. The tensor can
 * be of any source; where it is made in a scope, its memory is free afterwards:
 *
 *     pleat_nn_data all = {0};
 *     pleat_scope s = pleat_begin(ctx);
 *     pleat_nn_data_add(ctx, &all, "x", PLEAT_NN_F32, pleat_nn_read_npy(ctx, "x.npy"));
 *     pleat_nn_data_add(ctx, &all, "labels", PLEAT_NN_LABELS, pleat_nn_read_npz(ctx, "more.npz", "y"));
 *     pleat_end(s);
 *
 * The first field defines the number of items. Errors: another number of items, an element that the type does
 * not hold (labels are whole numbers from 0, bytes up to 255, numbers of f32 up to 3.4e38), with its index. On
 * an error the set has not changed. */
pleat_status pleat_nn_data_add(pleat_ctx *ctx, pleat_nn_data *data, const char *name, pleat_nn_type type,
                               pleat_tensor *t);

/* Add pairs of PNGs with the same names from two folders: "x" [C,H,W] of pixels, and "target" of the given
 * type. With PLEAT_NN_PIXELS it is [C,H,W], too. With PLEAT_NN_BYTES [C,H,W] and PLEAT_NN_BYTE_LABELS [H,W]
 * it holds the numbers as they are in the file: of grey images of up to 8 bits, or the indices of a palette;
 * transparency is ignored. Items are sorted by name. Each folder has one size; pixels are converted as by
 * pleat_nn_read_png_folder. An error names a file that has no partner. `out` is empty after an error; the
 * caller frees it. */
pleat_status pleat_nn_read_png_pairs(pleat_ctx *ctx, const char *x_folder, const char *target_folder,
                                     pleat_nn_type type, pleat_nn_data *out);

/* Divide the items of `all` into two sets, by chance: valid has the given share of them, rounded, at least
 * one item, and train the others, at least one. Seed and count decide which. Both share the memory of `all`,
 * which must outlive them; the caller frees them as well. */
pleat_status pleat_nn_split(pleat_ctx *ctx, const pleat_nn_data *all, double share, uint64_t seed,
                            pleat_nn_data *train, pleat_nn_data *valid);

/* ---- loader ------------------------------------------------------------------------------------------ */

/* The transforms of an item, in the order of application; default: none. Crop and flip treat the last two
 * axes of every field of rank 2 or more alike, for instance an image and its mask; their H and W must be
 * equal. Noise, mean and std change x alone. */
typedef struct pleat_nn_transform {
    size_t crop_pad;  /* zeros added on all four sides */
    size_t crop[2];   /* the size of a random window; default: the image's size */
    bool centre;      /* take the window in the middle */
    double flip;      /* the probability of exchanging left and right, */
    double flip_rows; /* and of exchanging top and bottom */
    /* standard deviation of normal noise; PLEAT_NN_PIXELS are clipped to 0..1 afterwards; b.clean has no
     * noise */
    double noise;
    double mean[4]; /* y = (x - mean[c]) / std[c] for x [C,H,W]; a std of 0 counts as 1 */
    double std[4];  /* an x of more than four channels, or of another rank, uses [0] throughout */
} pleat_nn_transform;

typedef struct pleat_nn_loader_args {
    int unset_;
    pleat_ctx *ctx;
    /* Images, or .data: the struct is copied, and its memory must outlive the loader. */
    const pleat_nn_images *images;
    size_t batch; /* must be given */
    const pleat_nn_data *data;
    bool shuffle, keep_last;
    uint64_t seed; /* of order, transforms and fill */
    pleat_nn_transform transform;
    pleat_dtype dtype; /* of the batches' tensors; default f32 */
    bool no_prefetch;  /* make the batches in the caller's thread, with the same bits */
} pleat_nn_loader_args;

typedef struct pleat_nn_loader pleat_nn_loader;

typedef struct pleat_nn_batch {
    size_t n;             /* the number of items; 0, and no tensors, where others have all of them */
    size_t number;        /* of the batch; 0 is the first of the epoch */
    size_t first, whole;  /* items first..first+n-1 of the whole batch's; see pleat_nn_share */
    const size_t *index;  /* of the items within the fields; valid until the next call */
    pleat_tensor *x;      /* field[0] */
    pleat_tensor *clean;  /* the same without noise; x itself if the transform has no noise */
    pleat_tensor *target; /* the first field after x that is not of labels, or NULL */
    /* n times the labels of an item, of the first field of labels, or NULL; valid until the next call */
    const size_t *labels;
    /* Each field, after all transforms: a tensor [n, shape], or its labels; the other pointer is NULL. */
    pleat_tensor *field[PLEAT_NN_FIELDS];
    const size_t *label[PLEAT_NN_FIELDS];
} pleat_nn_batch;

/* Batches of a data set. A thread of the loader prefetches one batch. The content of a batch depends on seed,
 * epoch and number only: each item has a separate random stream, so threads do not matter, and a pass can
 * start at any batch. NULL, with an error, if an option is wrong (a batch of 0 or larger than the number of
 * items, a crop larger than the image, ...) or a field. Free the loader before its context. The child of a
 * fork has no such thread: there the loader makes the same batches on request. */
pleat_nn_loader *pleat_nn_loader_new_with(pleat_nn_loader_args args);
#define pleat_nn_loader_new(...) pleat_nn_loader_new_with(PLEAT_OPTIONS(pleat_nn_loader_args, __VA_ARGS__))
void pleat_nn_loader_free(pleat_nn_loader *l); /* NULL is allowed */
/* The number of batches of an epoch, and of items of a batch (the last may have fewer). */
size_t pleat_nn_loader_batches(const pleat_nn_loader *l);
size_t pleat_nn_loader_batch_size(const pleat_nn_loader *l);
size_t pleat_nn_loader_items(const pleat_nn_loader *l); /* in a pass */
/* The rank of an item of a field, and its shape after the transform. */
size_t pleat_nn_loader_shape(const pleat_nn_loader *l, size_t field, size_t shape[PLEAT_MAX_RANK - 1]);
/* Begin an epoch at batch `first`. An epoch may be abandoned at any time. */
void pleat_nn_loader_start(pleat_nn_loader *l, size_t epoch, size_t first);
/* The next batch, with tensors in the innermost scope; false at the end of the epoch, or on an error. */
bool pleat_nn_loader_next(pleat_nn_loader *l, pleat_nn_batch *out);

/* ---- files ------------------------------------------------------------------------------------------- */
/* A file is written under a temporary name in the same folder, synced to the disk, and renamed when it is
 * complete. So `path` has the old or the new content at any time, never a part of it. Symbolic links are
 * followed, also to a missing file. A replaced file keeps its permissions and, where the process is allowed
 * to set them, its owner and group. A process that is killed leaves a temporary file (.pleat-...tmp). The
 * next process that writes to the folder, on this machine and before it is restarted, removes that file. */

/* Columns of a table of numbers as text, [rows,columns] in f64. The columns are names of the header or
 * numbers from 0, separated by commas: "size,rooms" or "0-3,7"; "!id,price" is all but these two, NULL all.
 * They keep the order of the file. The first line is a header if none of its cells is a number. The separator
 * is a tab, a semicolon or a comma: the first of these that the first line contains. Decimals have a point, in
 * every locale. Lines end in LF or CRLF; the last may lack its end. A cell may be in quotes. Errors: a chosen
 * cell that is empty or not a finite number, with its line (from 1), its column (from 0) and the column's
 * name; a line with more or fewer cells than the first; a column that is not there; an empty file. */
pleat_tensor *pleat_nn_read_csv(pleat_ctx *ctx, const char *path, const char *columns);

/* Write x [n,C,H,W] with C 1 (grey) or 3 (RGB) and values 0..1 (clipped) as a PNG with `columns` images in a
 * row, each enlarged `zoom` times, with gaps of one zoomed pixel between them. A single image with zoom 1 is
 * written as it is. The byte of a value v is 255 v, rounded: k / 255.0 writes class k of a mask. */
pleat_status pleat_nn_write_png_grid(const char *path, pleat_tensor *x, size_t columns, size_t zoom);
/* A PNG as a tensor [1,C,H,W] with values 0..1; pixels are converted as by pleat_nn_read_png_folder. At most
 * 2^28 pixels; and over 64 MiB, no more than 1032 bytes of pixels for each byte of the file. */
pleat_tensor *pleat_nn_read_png(pleat_ctx *ctx, const char *path);

/* NumPy's array files (numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1 to 3.
 * Reads float32 and float64 of either byte order, in C or Fortran order, with header keys in any order; bool
 * and whole numbers of 1 and 2 bytes as f32, of 4 and 8 bytes as f64. Errors: other types, whole numbers
 * beyond 2^53, pickled objects, more than PLEAT_MAX_RANK axes, and a length that does not match the header.
 * The path "-" is standard input or standard output. Writes version 1.0, little endian, C order; t may be any
 * view. */
pleat_tensor *pleat_nn_read_npy(pleat_ctx *ctx, const char *path);
pleat_status pleat_nn_write_npy(const char *path, pleat_tensor *t);
/* The same bytes into a stream that is open for writing, such as that of a pleat_nn_file. f is neither
 * flushed nor closed. */
pleat_status pleat_nn_put_npy(FILE *f, pleat_tensor *t);

/* NumPy's archives: a zip of npy files, stored or deflated, read and written by libzip. The names are without
 * ".npy". The length of an entry must match its npy header. Memory is allocated as data arrives, so that a
 * small file cannot claim gigabytes. */
pleat_tensor *pleat_nn_read_npz(pleat_ctx *ctx, const char *path, const char *name);
/* The same for many arrays: the directory of the archive is read and checked once, when it is opened.
 *
 *     pleat_nn_npz *npz = pleat_nn_npz_open(ctx, path);
 *     const char *name;
 *     for (size_t i = 0; (name = pleat_nn_npz_name(npz, i)); i++) use(name, pleat_nn_npz_array(npz, name));
 *     pleat_nn_npz_close(npz);
 */
typedef struct pleat_nn_npz pleat_nn_npz;

pleat_nn_npz *pleat_nn_npz_open(pleat_ctx *ctx, const char *path); /* NULL after an error */
void pleat_nn_npz_close(pleat_nn_npz *npz);                        /* before its context; NULL is allowed */
/* The name of array i, valid until the next call; NULL after the last array, and if npz is NULL. */
const char *pleat_nn_npz_name(pleat_nn_npz *npz, size_t i);
pleat_tensor *pleat_nn_npz_array(pleat_nn_npz *npz, const char *name); /* NULL if npz is NULL */
pleat_status pleat_nn_write_npz(const char *path, size_t n, const char *const *names,
                                pleat_tensor *const *ts);

/* A file that becomes visible when it is complete. Create it, write to f, then commit or abort. */
typedef struct pleat_nn_file {
    FILE *f;      /* goes on after signals; fileno does not work on it: */
    int fd, lock; /* use fd */
    char *path, *temporary;
} pleat_nn_file;

pleat_status pleat_nn_file_create(pleat_ctx *ctx, const char *path, pleat_nn_file *out);
/* Flush, fsync, close, rename. On an error (also one of an earlier write) the temporary file is removed. */
pleat_status pleat_nn_file_commit(pleat_ctx *ctx, pleat_nn_file *file);
void pleat_nn_file_abort(pleat_nn_file *file);

#ifdef __cplusplus
}
#endif
#endif

/* pleat_nn_data.h: images and their sources, batches, and files of arrays. Part of pleat_nn.h.
 *
 *     pleat_nn_images train;
 *     pleat_nn_read_png_folder(ctx, "photos", &train);
 *     pleat_nn_loader *loader = pleat_nn_loader_new(ctx, &train, .batch = 64, .shuffle = true, .seed = 1,
 *                                                   .transform = {.flip = 0.5, .crop = {32, 32}});
 *     pleat_nn_batch b;
 *     for (size_t epoch = 0; epoch < 10; epoch++) {
 *         pleat_nn_loader_start(loader, epoch, 0);
 *         for (pleat_scope s = pleat_begin(ctx); pleat_nn_loader_next(loader, &b); pleat_end(s), s = pleat_begin(ctx)) {
 *             ...                                    // b.x [n,C,H,W], b.labels [n]
 *         }
 *     }
 *     pleat_nn_loader_free(loader);
 *     pleat_nn_images_free(&train);
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

/* ---- loader ------------------------------------------------------------------------------------------ */

/* The transforms of an image, in the order of application; default: none. */
typedef struct pleat_nn_transform {
    size_t crop_pad;  /* zeros added on all four sides */
    size_t crop[2];   /* the size of a random window; default: the image's size */
    bool centre;      /* take the window in the middle */
    double flip;      /* the probability of exchanging left and right, */
    double flip_rows; /* and of exchanging top and bottom */
    /* standard deviation of normal noise on values 0..1, which are clipped to 0..1 afterwards; b.clean has no
     * noise */
    double noise;
    double mean[4]; /* y = (x - mean[c]) / std[c]; a std of 0 counts as 1 */
    double std[4];  /* an image of more than four channels uses [0] for all */
} pleat_nn_transform;

typedef struct pleat_nn_loader_args {
    int unset_;
    pleat_ctx *ctx;
    const pleat_nn_images *images; /* copied; its pixels and labels must outlive the loader */
    size_t batch;                  /* must be given */
    bool shuffle, keep_last;
    uint64_t seed; /* of order and transforms */
    pleat_nn_transform transform;
    pleat_dtype dtype;
    bool no_prefetch; /* make the batches in the caller's thread, with the same bits */
} pleat_nn_loader_args;

typedef struct pleat_nn_loader pleat_nn_loader;

typedef struct pleat_nn_batch {
    size_t n;             /* the number of images */
    size_t number;        /* of the batch; 0 is the first of the epoch */
    const size_t *index;  /* of the images; valid until the next call */
    pleat_tensor *x;      /* [n,C,H,W], after all transforms */
    pleat_tensor *clean;  /* the same without noise; x itself if the transform has no noise */
    const size_t *labels; /* n class numbers, or NULL without labels; valid until the next call */
} pleat_nn_batch;

/* Batches of images. A thread of the loader prefetches one batch. The content of a batch depends on seed,
 * epoch and number only: each image has a separate random stream, so threads do not matter, and a pass can
 * start at any batch. NULL, with an error, if an option is wrong (a batch of 0 or larger than the number of
 * images, a crop larger than the image, ...). Free the loader before its context. The child of a fork has no
 * such thread: there the loader makes the same batches on request. */
pleat_nn_loader *pleat_nn_loader_new_with(pleat_nn_loader_args args);
#define pleat_nn_loader_new(...) pleat_nn_loader_new_with(PLEAT_OPTIONS(pleat_nn_loader_args, __VA_ARGS__))
void pleat_nn_loader_free(pleat_nn_loader *l); /* NULL is allowed */
/* The number of batches of an epoch, of images of a batch (the last may have fewer), and [C,H,W] of a
 * transformed image. */
size_t pleat_nn_loader_batches(const pleat_nn_loader *l);
size_t pleat_nn_loader_batch_size(const pleat_nn_loader *l);
void pleat_nn_loader_shape(const pleat_nn_loader *l, size_t shape[3]);
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

/* Write x [n,C,H,W] with C 1 (grey) or 3 (RGB) and values 0..1 (clipped) as a PNG with `columns` images in a
 * row, each enlarged `zoom` times, with gaps of one zoomed pixel. */
pleat_status pleat_nn_write_png_grid(const char *path, pleat_tensor *x, size_t columns, size_t zoom);
/* A PNG as a tensor [1,C,H,W] with values 0..1; pixels are converted as by pleat_nn_read_png_folder. At most
 * 2^28 pixels; and over 64 MiB, no more than 1032 bytes of pixels for each byte of the file. */
pleat_tensor *pleat_nn_read_png(pleat_ctx *ctx, const char *path);

/* NumPy's array files (numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1 to 3.
 * Reads float32 and float64 of either byte order, in C or Fortran order, with header keys in any order.
 * Errors: other types, pickled objects, more than PLEAT_MAX_RANK axes, and a length that does not match the
 * header. The path "-" is standard input or standard output. Writes version 1.0, little endian, C order; t
 * may be any view. */
pleat_tensor *pleat_nn_read_npy(pleat_ctx *ctx, const char *path);
pleat_status pleat_nn_write_npy(const char *path, pleat_tensor *t);

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

/* The matrix products that a layer comes down to, timed alone: what sgemm makes of their sizes, without columns; and the
 * rate of memory. */
#ifndef PLEAT_BENCH_PRODUCTS_H
#define PLEAT_BENCH_PRODUCTS_H

#include <pleat_kernels.h>

/* The three products of a convolution, whose map Y is [rows,map], weights W [rows,inner] and columns X [inner,map] for each image
 * and group: Y = W X, X = W' Y, W = Y X'. */
typedef enum product { FROM_COLUMNS, TO_COLUMNS, WEIGHT, PRODUCTS } product;

typedef struct conv_sizes {
    size_t rows, inner, map, images, groups;
} conv_sizes;

/* Milliseconds for the product of a whole batch: the fastest of columns in strips that fit a cache, or of 1, 4, 16 or all images
 * side by side; on the pool's threads (NULL: the caller's) or on one. `seconds` for each that is tried. */
double conv_product_ms(const conv_sizes *s, product p, pleat_pool *pool, double seconds);

/* The same for a linear layer, x [batch,in], w [out,in]: y = x w', x = y w, w = y' x. */
double linear_product_ms(const size_t size[3], product p, pleat_pool *pool, double seconds);

/* Milliseconds to read and write `floats` floats in all: a copy of half of them, so that as much has to fit the caches. 0 if there is
 * no memory. */
double move_ms(double floats, pleat_pool *pool, double seconds);

#endif

/* Matrix products of our own, for sizes in which they are faster than BLAS.
 *
 *     const pl_products *p = pl_products_for(&g, sizeof(float), PLEAT_CONV_AUTO);     // NULL: BLAS, see gemm.h
 *     p->run(&g, sizeof(float), a, b, c, take(p->workspace(&g, sizeof(float))));
 *
 * A product is what pl_gemm says; every size, also 0, every leading dimension. Elements of a and b that belong to no term are not
 * read, elements between the rows of c not written. Numbers that are not finite go where the sum over k of the products, in some
 * order, sends them; with accumulate = false, c is not read. The order depends on the sizes alone, so equal calls give equal
 * bits; it is another for another path, and a product and a sum are fused where the processor can. A sum of K products is at most
 * K u sum |a||b| off. */
#ifndef PL_PRODUCTS_H
#define PL_PRODUCTS_H

#include "kernels/gemm/gemm.h"
#include "kernels/pleat_kernels.h"
#include "pleat_config.h"

typedef struct pl_products {
    size_t (*workspace)(const pl_gemm *g, size_t element); /* bytes; at most PL_PRODUCTS_BYTES, often 0 */
    /* memory: the workspace, of any alignment; NULL where it has 0 bytes. */
    void (*run)(const pl_gemm *g, size_t element, const void *a, const void *b, void *c, void *memory);
} pl_products;

enum { PL_PRODUCTS_BYTES = 512 * 1024 };

/* Compiled once for each instruction set. */
extern const pl_products pl_products_any;
#ifdef PL_X86
extern const pl_products pl_products_avx2, pl_products_avx512;
#endif

/* What computes g: PLEAT_CONV_AUTO is the choice by sizes and processor, PLEAT_CONV_PLAIN is BLAS (NULL), the other paths are
 * forced, and BLAS where the processor has not what they need. */
const pl_products *pl_products_for(const pl_gemm *g, size_t element, pleat_conv_path path);

#endif

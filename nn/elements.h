/* elements.h: the elements of a contiguous tensor of either type. */
#ifndef PLN_ELEMENTS_H
#define PLN_ELEMENTS_H

#include "pleat.h"

/* To read only (pleat_const_f32); NULL, with an error, where that is NULL. To write: pleat_write_now. */
static inline const void *pln_const_elements(const pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? (const void *)pleat_const_f32(t)
                                          : (const void *)pleat_const_f64(t);
}

#endif

/* The fields of a data set. */
#ifndef PLN_FIELDS_H
#define PLN_FIELDS_H

#include "pleat_nn.h"

size_t pln_element(pleat_nn_type type); /* bytes */
bool pln_is_label(pleat_nn_type type);
/* n labels of either type as size_t. */
void pln_labels(pleat_nn_type type, size_t n, const void *from, size_t *to);
/* "x", "target", "2", or the name that the field has. */
const char *pln_field_name(const pleat_nn_data *data, size_t k);

/* Count the fields, and report under `op` what is wrong with one. */
pleat_status pln_check_data(pleat_ctx *ctx, const char *op, const pleat_nn_data *data, size_t *fields);
/* Append a field with `items` items, whose memory the set takes over, unless it is an error. */
pleat_status pln_add_field(pleat_ctx *ctx, const char *op, pleat_nn_data *data, pleat_nn_field field,
                           size_t items);

#endif

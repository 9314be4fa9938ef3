/* The PNG files of a folder. */
#ifndef PLN_PNG_FOLDER_H
#define PLN_PNG_FOLDER_H

#include "pleat_nn_data.h"

typedef struct pln_names {
    size_t count;
    char **path; /* sorted; each is freed by pln_names_free */
} pln_names;

void pln_names_free(pln_names *n);
/* The images of a folder, or its sub-folders. Errors are of `op`. */
pleat_status pln_list(pleat_ctx *ctx, const char *op, const char *folder, bool folders, pln_names *out);
/* Read the files, which must have one size, as pln_read_png does, without labels. On an error `out` is empty.
 */
pleat_status pln_read_pngs(pleat_ctx *ctx, const char *op, const pln_names *files, bool numbers,
                           pleat_nn_images *out);

#endif

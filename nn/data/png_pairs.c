/* Two folders of PNGs with the same names, as the two fields of a data set. */
#include <stdlib.h>
#include <string.h>

#include "data/fields.h"
#include "data/png_folder.h"

static const char op[] = "read_png_pairs";

typedef struct side {
    const char *folder;
    pln_names files;
    pleat_nn_images images;
} side;

static const char *name_of(const side *s, size_t i) {
    return i < s->files.count ? s->files.path[i] + strlen(s->folder) + 1 : NULL;
}

/* Report the first file without a partner. Names are sorted, so it is where they first differ. */
static pleat_status match(pleat_ctx *ctx, const side s[2]) {
    for (size_t i = 0; name_of(&s[0], i) || name_of(&s[1], i); i++) {
        const char *a = name_of(&s[0], i), *b = name_of(&s[1], i);
        int order = !a ? 1 : !b ? -1 : strcmp(a, b);
        if (order)
            return pleat_fail(ctx, PLEAT_ERR_FORMAT, op, "%s has no partner in %s",
                              s[order > 0].files.path[i], s[order < 0].folder);
    }
    return s[0].files.count ? PLEAT_OK
                            : pleat_fail(ctx, PLEAT_ERR_FORMAT, op, "%s: no PNG files in it", s[0].folder);
}

/* Move the pixels to the set. */
static pleat_status add(pleat_ctx *ctx, side *s, const char *name, pleat_nn_type type, pleat_nn_data *out) {
    pleat_nn_images *m = &s->images;
    pleat_nn_field f = {.name = name, .type = type, .data = m->pixels, .owned = m->pixels};
    if (pln_is_label(type) && m->C > 1)
        return pleat_fail(ctx, PLEAT_ERR_FORMAT, op,
                          "%s has colours; labels are the bytes of grey images, or the indices of a palette",
                          s->files.path[0]);
    size_t shape[3] = {m->C, m->H, m->W}, skip = pln_is_label(type);
    f.rank = 3 - skip;
    memcpy(f.shape, shape + skip, f.rank * sizeof *shape);
    pleat_status status = pln_add_field(ctx, op, out, f, m->count);
    if (!status) m->pixels = NULL;
    return status;
}

static pleat_status read_pairs(pleat_ctx *ctx, side s[2], pleat_nn_type type, pleat_nn_data *out) {
    pleat_status status = PLEAT_OK;
    for (size_t k = 0; k < 2 && !status; k++) status = pln_list(ctx, op, s[k].folder, false, &s[k].files);
    if (!status) status = match(ctx, s);
    for (size_t k = 0; k < 2 && !status; k++)
        status = pln_read_pngs(ctx, op, &s[k].files, k == 1 && type != PLEAT_NN_PIXELS, &s[k].images);
    if (!status) status = add(ctx, &s[0], "x", PLEAT_NN_PIXELS, out);
    if (!status) status = add(ctx, &s[1], "target", type, out);
    return status;
}

pleat_status pleat_nn_read_png_pairs(pleat_ctx *ctx, const char *x_folder, const char *target_folder,
                                     pleat_nn_type type, pleat_nn_data *out) {
    side s[2] = {{.folder = x_folder}, {.folder = target_folder}};
    *out = (pleat_nn_data){0};
    if (!x_folder || !target_folder) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "a folder is NULL");
    if (type != PLEAT_NN_PIXELS && type != PLEAT_NN_BYTES && type != PLEAT_NN_BYTE_LABELS)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op,
                          "the type must be PLEAT_NN_PIXELS, PLEAT_NN_BYTES or PLEAT_NN_BYTE_LABELS");
    pleat_status status = read_pairs(ctx, s, type, out);
    for (size_t k = 0; k < 2; k++) pln_names_free(&s[k].files), pleat_nn_images_free(&s[k].images);
    if (status) pleat_nn_data_free(out);
    return status;
}

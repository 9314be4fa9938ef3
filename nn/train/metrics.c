/* The files of a run besides checkpoints: metrics.csv, and the parameters of the best epoch. */
#define _POSIX_C_SOURCE 200809L

#include "train/train.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "files/lock.h"
#include "files/numbers.h"

pleat_status pln_fit_folder(pln_fit *f) {
    static const char *const names[] = {"metrics.csv", "checkpoint.safetensors", "best.safetensors", ".lock"};
    const char *folder = f->a->folder;
    struct stat s;
    if (!folder) return PLEAT_OK;
    if (mkdir(folder, 0777) && errno != EEXIST)
        return pleat_fail(f->ctx, PLEAT_ERR_IO, "fit", "%s: cannot make the folder: %s", folder,
                          strerror(errno));
    if (stat(folder, &s) || !S_ISDIR(s.st_mode))
        return pleat_fail(f->ctx, PLEAT_ERR_IO, "fit", "%s: is a file; the run wants a folder", folder);
    for (size_t i = 0; i < 4; i++) {
        size_t bytes = strlen(folder) + strlen(names[i]) + 2;
        f->path[i] = malloc(bytes);
        if (!f->path[i]) return pleat_fail(f->ctx, PLEAT_ERR_MEMORY, "fit", "no memory for a path");
        snprintf(f->path[i], bytes, "%s/%s", folder, names[i]);
    }
    f->lock = pln_lock_hold(f->path[PLN_LOCK]);
    /* a folder without locks may still be writable */
    if (f->lock >= 0 || errno != EWOULDBLOCK) return PLEAT_OK;
    return pleat_fail(f->ctx, PLEAT_ERR_IO, "fit",
                      "%s: another run writes into this folder; give this one a folder of its own", folder);
}

void pln_fit_leave(pln_fit *f) {
    if (f->lock >= 0) pln_lock_drop(f->path[PLN_LOCK], f->lock);
    for (size_t i = 0; i < 4; i++) free(f->path[i]);
}

static void write_row(const pln_fit *f, size_t i, FILE *out) {
    const pleat_nn_epoch *e = &f->run->epoch[i];
    bool metric = f->a->metric_name, valid = f->a->valid;
    fprintf(out, "%zu,%s", i + 1, pln_rounded(e->loss, 8).s);
    if (metric) fprintf(out, ",%s", pln_rounded(e->metric, 8).s);
    if (valid) fprintf(out, ",%s", pln_rounded(e->valid_loss, 8).s);
    if (valid && metric) fprintf(out, ",%s", pln_rounded(e->valid_metric, 8).s);
    fprintf(out, ",%s,%s,%s\n", pln_rounded(e->lr, 8).s, pln_fixed(e->seconds, 3).s,
            pln_fixed(e->images_per_second, 1).s);
}

pleat_status pln_fit_write_metrics(const pln_fit *f) {
    pleat_nn_file file;
    const char *metric = f->a->metric_name;
    if (!f->path[PLN_METRICS]) return PLEAT_OK;
    pleat_status status = pleat_nn_file_create(f->ctx, f->path[PLN_METRICS], &file);
    if (status) return status;
    fprintf(file.f, "epoch,loss%s%s%s%s%s,lr,seconds,images_per_second\n", metric ? "," : "",
            metric ? metric : "", f->a->valid ? ",valid_loss" : "", f->a->valid && metric ? ",valid_" : "",
            f->a->valid && metric ? metric : "");
    for (size_t i = 0; i < f->run->epochs; i++) write_row(f, i, file.f);
    return pleat_nn_file_commit(f->ctx, &file);
}

pleat_status pln_fit_write_best(const pln_fit *f) {
    if (!f->path[PLN_BEST]) return PLEAT_OK;
    const pleat_nn_part *p = &f->a->part[0];
    pleat_nn_ema_swap(p->ema);
    pleat_status status = pleat_nn_save(f->path[PLN_BEST], p->net);
    pleat_nn_ema_swap(p->ema);
    return status;
}

/* What the readers and writers of files share. */
#ifndef PLN_FILE_H
#define PLN_FILE_H

#include "pleat_nn.h"

/* The size in bytes of the regular file `path`. Anything else there (nothing, a folder, a device) is reported as an
 * error of `op`: a pipe would block, and a size that is known beforehand is what exposes a lying header. */
pleat_status pln_file_size(pleat_ctx *ctx, const char *op, const char *path, size_t *bytes);

/* What errno stands for: memory, or else input and output. */
pleat_status pln_status_of_errno(void);

/* Report that `path` could not be opened or read; errno says why. */
pleat_status pln_read_failed(pleat_ctx *ctx, const char *op, const char *path);

/* As fopen for reading, and fread, but a signal does not end them. */
FILE *pln_open(const char *path);
size_t pln_read(FILE *f, void *to, size_t n);

/* A stream for writing to fd, which a signal does not end, either: a FILE of fdopen would forget what it was about to write. NULL
 * with errno if there is none. */
FILE *pln_stream_to(int fd);

/* A text out of a file that fits into a message, and does nothing to the terminal that shows it. */
typedef struct pln_phrase {
    char text[120];
} pln_phrase;
pln_phrase pln_shown(const char *text);

/* Report a failed write to `file` (errno says why) and abort it. */
pleat_status pln_write_failed(pleat_ctx *ctx, const char *op, pleat_nn_file *file);

#endif

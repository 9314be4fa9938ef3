/* Helpers of all readers and writers of files. */
#ifndef PLN_FILE_H
#define PLN_FILE_H

#include "pleat_nn.h"

/* The size in bytes of the regular file `path`. A missing file, a folder or a device is an error of `op`: a
 * pipe would block, and without the size a false header could not be detected. */
pleat_status pln_file_size(pleat_ctx *ctx, const char *op, const char *path, size_t *bytes);

/* The status for errno: memory, or else input and output. */
pleat_status pln_status_of_errno(void);

/* Report that `path` could not be opened or read; errno says why. */
pleat_status pln_read_failed(pleat_ctx *ctx, const char *op, const char *path);

/* As fopen for reading, and fread, but a signal does not end them. */
FILE *pln_open(const char *path);
size_t pln_read(FILE *f, void *to, size_t n);

/* The regular file `path` as a NUL-terminated text, without a byte order mark and white space at its end. The
 * caller frees it; NULL after an error of `op`: also a file that is empty, or holds a byte 0. */
char *pln_read_text(pleat_ctx *ctx, const char *op, const char *path);

/* A stream that writes to fd and continues after signals; a FILE of fdopen would lose its buffer. NULL with
 * errno set on an error. */
FILE *pln_stream_to(int fd);

/* A text from a file, shortened for a message, without control characters. */
typedef struct pln_phrase {
    char text[120];
} pln_phrase;
pln_phrase pln_shown(const char *text);

/* Report a failed write to `file` (errno says why) and abort it. */
pleat_status pln_write_failed(pleat_ctx *ctx, const char *op, pleat_nn_file *file);

#endif

/* fuzz.h: what the fuzz targets share. A target is a function that is given bytes, and that ends the process where a promise is
 * broken; libFuzzer looks for such bytes, and driver.c runs those of a folder. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "pleat_nn_train.h"

/* ---- libFuzzer's names ------------------------------------------------------------------------------- */

/* The target. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may change bytes in its own way, to get past lengths and checksums: `size` bytes become at most `most`. Returns how
 * many there are now. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
/* libFuzzer's own way; with driver.c, a function that changes nothing. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

/* ---- promises ---------------------------------------------------------------------------------------- */

/* Print a line in printf's manner, and end the process as a crash does. */
noreturn void fuzz_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define FUZZ_CHECK(condition, ...) ((condition) ? (void)0 : fuzz_fail(__VA_ARGS__))

/* One line without control characters. */
bool fuzz_is_line(const char *text);
/* The context has an error, as one line, if `refused`, and otherwise none. The error is cleared. */
void fuzz_check_error(pleat_ctx *ctx, bool refused);
/* The same type, shape and bits. */
bool fuzz_same(const pleat_tensor *a, const pleat_tensor *b);

/* ---- numbers out of the bytes ------------------------------------------------------------------------ */

/* What is left of an input. Behind its end there are zeros, so that every input means something. */
typedef struct fuzz_bytes {
    const uint8_t *at;
    size_t left;
} fuzz_bytes;

uint8_t fuzz_byte(fuzz_bytes *b);
uint64_t fuzz_word(fuzz_bytes *b);          /* eight bytes */
size_t fuzz_below(fuzz_bytes *b, size_t n); /* 0 .. n-1, from one byte; n is at most 256 */
ptrdiff_t fuzz_within(fuzz_bytes *b, ptrdiff_t least, ptrdiff_t most); /* from one byte */

/* ---- files ------------------------------------------------------------------------------------------- */

enum { FUZZ_FILES = 2, FUZZ_ROOM = 1 << 20 };

/* The path of a file in memory with these bytes, until the next call for the same place (0 .. FUZZ_FILES-1). */
const char *fuzz_file(size_t place, const void *data, size_t size);
/* The path of a pipe that takes up to FUZZ_ROOM bytes, and afterwards what has been written to it: until the next call. Writers
 * replace files, but they write to what is none. */
const char *fuzz_pipe(void);
const uint8_t *fuzz_written(size_t *size);

#endif

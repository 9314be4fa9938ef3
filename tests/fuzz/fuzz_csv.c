/* The reader of tables: any bytes are numbers or an error. The first byte chooses the columns. What was read
 * is written as text and read again, with the same bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* t as a table, which the caller frees. */
static char *text_of(pleat_tensor *t) {
    size_t rows = pleat_size(t, 0), width = pleat_size(t, 1), used = 0;
    char *text = malloc(rows * width * 32 + 1);
    for (size_t i = 0; text && i < rows * width; i++)
        used += (size_t)sprintf(text + used, "%.17g%c", pleat_const_f64(t)[i], (i + 1) % width ? ';' : '\n');
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const columns[] = {NULL,  "0",  "1-2", "!0",
                                          "a,b", "!b", "a,",  "0-99999999999999999999"};
    fuzz_bytes b = {data, size};
    const char *chosen = columns[fuzz_below(&b, 8)];
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_tensor *t = pleat_nn_read_csv(ctx, fuzz_file(0, b.at, b.left), chosen);
    bool refused = pleat_is_poison(t);
    fuzz_check_error(ctx, refused);
    FUZZ_CHECK(refused || pleat_numel(t) <= b.left, "%zu numbers in %zu bytes", pleat_numel(t), b.left);
    char *text = !refused && pleat_numel(t) ? text_of(t) : NULL;
    if (text) {
        pleat_tensor *again = pleat_nn_read_csv(ctx, fuzz_file(0, text, strlen(text)), NULL);
        FUZZ_CHECK(fuzz_same(t, again), "it comes back different: %s", pleat_error(ctx)->text);
    }
    free(text);
    pleat_ctx_free(ctx);
    return 0;
}

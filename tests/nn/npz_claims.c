/* An archive whose directory claims more bytes than deflate can pack: refused before any of them is unpacked. */
#define _POSIX_C_SOURCE 200809L

#include <zip.h>

#include "scratch.h"

TestSuite(npz_claims, .init = scratch_begin, .fini = scratch_end);

/* Writes 1.75 GiB as the size of the entry, into both of its headers. */
static void claim(uint8_t *bytes, size_t n) {
    static const uint8_t size[4] = {0, 0, 0, 0x70};
    for (size_t i = 0; i + 46 < n; i++) {
        if (!memcmp(bytes + i, "PK\3\4", 4)) memcpy(bytes + i + 22, size, sizeof size);
        if (!memcmp(bytes + i, "PK\1\2", 4)) memcpy(bytes + i + 24, size, sizeof size);
    }
}

Test(npz_claims, more_than_deflate_can_pack) {
    static char zeros[100000];
    size_t n;
    zip_t *z = zip_open(in_scratch("claims.npz"), ZIP_CREATE, NULL);
    cr_assert(z && zip_file_add(z, "a.npy", zip_source_buffer(z, zeros, sizeof zeros, 0), 0) == 0);
    cr_assert_eq(zip_close(z), 0);
    uint8_t *bytes = get_file(in_scratch("claims.npz"), &n);
    claim(bytes, n);
    put_file(in_scratch("claims.npz"), bytes, n);
    free(bytes);
    cr_assert(pleat_is_poison(pleat_nn_read_npz(ctx, in_scratch("claims.npz"), "a")));
    expect_error(pleat_error(ctx)->code, PLEAT_ERR_FORMAT, "claims 1879048192 bytes packed into");
    cr_assert_lt(pleat_memory(ctx).peak, (size_t)1 << 20);
}

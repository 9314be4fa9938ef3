/* The reader of IDX files, plain and packed. The first two bytes say where the images end and the labels begin; no labels are
 * read where they exceed the input. */
#include "fuzz.h"

#include <string.h>
#include <zlib.h>

enum { ROOM = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes b = {data, size};
    size_t images_end = fuzz_byte(&b);
    images_end = images_end << 8 | fuzz_byte(&b);
    bool labels = images_end <= b.left;
    if (!labels) images_end = b.left;
    const char *images_path = fuzz_file(0, b.at, images_end), *labels_path = NULL;
    if (labels) labels_path = fuzz_file(1, b.at + images_end, b.left - images_end);

    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_nn_images images;
    bool refused = pleat_nn_read_idx(ctx, images_path, labels_path, &images) != PLEAT_OK;
    fuzz_check_error(ctx, refused);
    size_t bytes = images.count * images.C * images.H * images.W;
    FUZZ_CHECK(refused == !images.pixels && refused == !bytes, "%zu bytes of pixels", bytes);
    FUZZ_CHECK(!images.labels == (refused || !labels), "labels are there or not");
    FUZZ_CHECK(bytes / 1032 <= size, "%zu bytes in %zu", bytes, size);
    for (size_t i = 0; images.labels && i < images.count; i++)
        FUZZ_CHECK(images.labels[i] < images.classes, "label %d of %zu", images.labels[i], images.classes);
    if (!refused) pleat_nn_image_batch(ctx, PLEAT_F32, &images, NULL, images.count - 1, 1);
    fuzz_check_error(ctx, false);
    pleat_nn_images_free(&images);
    pleat_ctx_free(ctx);
    return 0;
}

/* ---- packed content ---------------------------------------------------------------------------------- */

enum { GZIP = 31 }; /* the largest window, and gzip's header around it */

/* Both return the number of bytes, 0 if there is no room. */
static size_t unpack(const uint8_t *from, size_t size, uint8_t *to) {
    z_stream z = {.next_in = (uint8_t *)from, .avail_in = (uInt)size, .next_out = to, .avail_out = ROOM};
    if (inflateInit2(&z, GZIP) != Z_OK) return 0;
    int code = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return code == Z_STREAM_END ? z.total_out : 0;
}

static size_t pack(const uint8_t *from, size_t size, uint8_t *to, size_t room) {
    z_stream z = {
        .next_in = (uint8_t *)from, .avail_in = (uInt)size, .next_out = to, .avail_out = (uInt)room};
    if (deflateInit2(&z, 6, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    int code = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return code == Z_STREAM_END ? z.total_out : 0;
}

/* Packed images are changed before they are packed, most of the time. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    static uint8_t content[ROOM], packed[ROOM];
    size_t end = size < 2 ? 0 : (size_t)data[0] << 8 | data[1];
    bool labels = size > 2 && end <= size - 2;
    size_t bytes = size < 4 ? 0 : labels ? end : size - 2;
    bool gzip = bytes > 2 && data[2] == 0x1f && data[3] == 0x8b;
    size_t unpacked = gzip && seed % 4 ? unpack(data + 2, bytes, content) : 0;
    if (unpacked == 0) return LLVMFuzzerMutate(data, size, most);
    unpacked = LLVMFuzzerMutate(content, unpacked, ROOM);
    size_t behind = size - 2 - bytes, again = pack(content, unpacked, packed, ROOM);
    if (again == 0 || 2 + again + behind > most) return LLVMFuzzerMutate(data, size, most);
    memmove(data + 2 + again, data + 2 + bytes, behind);
    memcpy(data + 2, packed, again);
    if (labels) data[0] = (uint8_t)(again >> 8), data[1] = (uint8_t)again;
    return 2 + again + behind;
}

/* A folder of more classes than a label can tell. */
#define _POSIX_C_SOURCE 200809L

#include <sys/stat.h>

#include "scratch.h"

TestSuite(png_folders, .init = scratch_begin, .fini = scratch_end);

Test(png_folders, more_than_256_classes) {
    char name[32];
    for (int i = 0; i < 257; i++) {
        snprintf(name, sizeof name, "class%03d", i);
        cr_assert_eq(mkdir(in_scratch(name), 0700), 0);
    }
    pleat_nn_images images;
    expect_error(pleat_nn_read_png_folder(ctx, scratch_folder, &images), PLEAT_ERR_FORMAT,
                 "holds 257 folders; a label is a byte, so at most 256");
    cr_assert_null(images.pixels);
    /* one less, and it is the first class that lacks a picture */
    cr_assert_eq(rmdir(in_scratch("class256")), 0);
    expect_error(pleat_nn_read_png_folder(ctx, scratch_folder, &images), PLEAT_ERR_FORMAT,
                 "without a PNG file");
}

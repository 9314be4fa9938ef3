/* Drawn shapes against a naive picture of the same figures, and a long progress line. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>

#include "pleat_config.h"
#include "scratch.h"

TestSuite(pictures, .init = scratch_begin, .fini = scratch_end);

static bool covers(size_t kind, double u, double v) {
    double r = u * u + v * v, far = fmax(fabs(u), fabs(v)), close = fmin(fabs(u), fabs(v));
    if (kind == 0) return r <= 1;
    if (kind == 1) return r <= 1 && r >= 0.3;
    if (kind == 2) return far <= 0.85;
    if (kind == 3) return v <= 0.8 && 2 * fabs(u) <= v + 1;
    return close <= 0.3 && far <= 1;
}

/* Each pixel from all of its sixteen points. */
static void expect_picture(size_t i, size_t H, size_t W, const pleat_nn_images *d) {
    pleat_rng rng = pleat_rng_new(6, i);
    size_t kind = (size_t)pleat_rng_below(&rng, 5);
    double radius = (double)(H < W ? H : W) * (0.2 + 0.22 * pleat_rng_uniform(&rng));
    double x = radius + ((double)W - 2 * radius) * pleat_rng_uniform(&rng);
    double y = radius + ((double)H - 2 * radius) * pleat_rng_uniform(&rng);
    double ground = 0.2 * pleat_rng_uniform(&rng), grey = 0.5 + 0.5 * pleat_rng_uniform(&rng);
    cr_assert_eq(d->labels[i], kind);
    for (size_t at = 0; at < H * W; at++) {
        int hits = 0;
        for (int k = 0; k < 16; k++)
            hits += covers(kind, ((double)(at % W) + (k % 4 + 0.5) / 4 - x) / radius,
                           ((double)(at / W) + (k / 4 + 0.5) / 4 - y) / radius);
        double v = ground + (grey - ground) * hits / 16.0;
        cr_assert_eq(d->pixels[i * H * W + at], (uint8_t)(255 * v + 0.5), "image %zu (%s), pixel %zu,%zu", i,
                     d->names[kind], at / W, at % W);
    }
}

Test(pictures, are_what_their_figures_cover) {
    pleat_nn_images d;
    cr_assert(!pleat_nn_shapes(ctx, 200, 17, 13, 6, &d));
    for (size_t i = 0; i < d.count; i++) expect_picture(i, 17, 13, &d);
    pleat_nn_images_free(&d);
}

Test(pictures, progress_tells_hours_minutes_and_seconds) {
    static const struct {
        double passed;
        const char *left;
    } cases[] = {
        {3, "ETA 9s"}, {30, "ETA 1m30s"}, {1205, "ETA 1h00m"}, {2500, "ETA 2h05m"}, {1199.7, "ETA 59m59s"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *f = tmpfile();
        char text[200] = {0};
        cr_assert_not_null(f);
        pleat_nn_progress p = pleat_nn_progress_start(f, "t", 8);
        p.started -= cases[i].passed;
        pleat_nn_progress_show(&p, 2, 100, 0.5); /* three times as long is left */
        rewind(f);
        cr_assert(fgets(text, sizeof text, f) && strstr(text, cases[i].left), "%s is not in %s",
                  cases[i].left, text);
        fclose(f);
    }
}

#ifdef PL_HAVE_PNG
Test(pictures, too_large_ones_are_refused_with_their_sizes) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 1, 8, 9));
    expect_error(pleat_nn_write_png_grid(in_scratch("a.png"), x, 2, 1000000), PLEAT_ERR_ARGUMENT,
                 "3 images of 8x9 in 2 columns, zoom 1000000: a side");
}
#endif

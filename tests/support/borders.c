/* What tests of borders share. */
#include "borders.h"

#include <stdlib.h>

double *room_for(size_t n) {
    double *numbers = calloc(n + 1, sizeof *numbers);
    cr_assert_not_null(numbers);
    return numbers;
}

double *numbers_of(pleat_tensor *t) {
    double *numbers = room_for(pleat_numel(t));
    cr_assert_not(pleat_is_poison(t), "%s", pleat_error(ctx)->text);
    pleat_read_f64(t, numbers);
    return numbers;
}

void expect_numbers(const char *what, pleat_tensor *found, const double *expected) {
    double *numbers = numbers_of(found);
    char shape[200];
    for (size_t i = 0; i < pleat_numel(found); i++)
        cr_assert(numbers[i] == expected[i], "%s: element %zu of %s is %.17g, not %.17g", what, i,
                  pleat_shape_text(found, shape, sizeof shape), numbers[i], expected[i]);
    free(numbers);
}

void on_every_number_of_threads(void (*test)(pleat_dtype type)) {
    int fewest = getenv("PLEAT_TEST_EVERY") != NULL
                     ? 3
                     : 1; /* a build that is slow looks at accesses, which are the same */
    for (int threads = fewest; threads <= 3; threads += 2)
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
            pleat_scope s = pleat_begin(ctx);
            pleat_set_threads(ctx, threads);
            test(type);
            pleat_end(s);
        }
}

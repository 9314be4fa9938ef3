/* Layers in the words of PyTorch, TensorFlow, ONNX and Keras against what these frameworks computed, and refused. The
 * cases were made by oracle/frameworks_*; one alone is run by PLEAT_CASE=NAME, those of another folder with
 * PLEAT_FIXTURES=DIR. */
#include <stdlib.h>
#include <string.h>

#include "interop_fixture.h"
#include "tensors.h"

TestSuite(interop, .init = tensors_begin, .fini = tensors_end);

/* What a framework computed in f32 can be no closer than that, unless all numbers are whole. */
static double tolerance(const layer_case *c, pleat_dtype type) {
    return c->whole ? 0 : c->doubles && type == PLEAT_F64 ? 1e-12 : 1e-5;
}

static void complain(const layer_case *c, const char *what, const char *how) {
    const char *folder = getenv("PLEAT_FIXTURES");
    cr_expect_fail("%s%s%sPLEAT_CASE=%s build/tests/test_interop: %s: %s: %s",
                   folder ? "PLEAT_FIXTURES=" : "", folder ? folder : "", folder ? " " : "", c->name, what,
                   how, c->line);
}

static pleat_tensor *array(const layer_case *c, pleat_dtype type, const char *name) {
    const oracle_array *a = layer_case_array(c, name);
    return a == NULL ? NULL : oracle_tensor(ctx, type, a);
}

static void expect_array(const layer_case *c, pleat_tensor *found, const char *name) {
    pleat_tensor *expected = array(c, pleat_dtype_of(found), name);
    if (expected != NULL && !near(found, expected, tolerance(c, pleat_dtype_of(found))))
        complain(c, name, difference());
}

static void expect_plan(const layer_case *c) {
    const size_t *in = layer_case_in(c), *kernel = layer_case_kernel(c);
    const oracle_array *y = layer_case_array(c, "y");
    pleat_layer_plan plan;
    if (!pleat_layer_plan_for(&c->layer, in, kernel, &plan)) {
        complain(c, "plan", plan.why);
        return;
    }
    for (size_t k = 0; k < 2; k++) {
        size_t out = y->shape[k + (c->layer.channels_last ? 1 : 2)];
        if (plan.out[k] != out) complain(c, "plan", "another output size");
        if (c->layer.has_output_size && (out < plan.least[k] || plan.most[k] < out))
            complain(c, "plan", "the output size is not within least..most");
    }
}

static void expect_values(const layer_case *c, pleat_dtype type) {
    pleat_tensor *xs[3] = {array(c, type, "x"), array(c, type, "w"), array(c, type, "b")}, *g[3];
    static const char *const names[] = {"gx", "gw", "gb"};
    pleat_tensor *y = pleat_layer_apply(&c->layer, xs[0], xs[1], xs[2]), *u = array(c, type, "u");
    expect_array(c, y, "y");
    if (u == NULL || pleat_is_poison(y)) return;
    size_t n = xs[2] != NULL ? 3 : 2;
    if (pleat_grads(y, u, n, xs, g, 0) != PLEAT_OK) {
        complain(c, "gradients", pleat_error(ctx)->text);
        return;
    }
    for (size_t i = 0; i < n; i++) expect_array(c, g[i], names[i]);
}

static void expect_refusal(const layer_case *c) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, 4, c->x), *w = pleat_zeros(ctx, PLEAT_F32, 4, c->w);
    pleat_tensor *y = pleat_layer_apply(&c->layer, x, w, NULL);
    char shape[100];
    if (!pleat_is_poison(y)) {
        complain(c, "accepted, though the framework refuses", pleat_shape_text(y, shape, sizeof shape));
    } else if (strchr(pleat_error(ctx)->text, '\n')) {
        complain(c, "more than one line", pleat_error(ctx)->text);
    }
}

static void expect_case(const layer_case *c) {
    pleat_scope s = pleat_begin(ctx);
    if (c->legal) {
        expect_plan(c);
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) expect_values(c, type);
    } else {
        expect_refusal(c);
    }
    pleat_clear_error(ctx);
    pleat_end(s);
}

/* Every case of a file, of which at least so many must be legal and refused. */
static void expect_file(const char *name, size_t legal, size_t refused) {
    const char *only = getenv("PLEAT_CASE"), *folder = getenv("PLEAT_FIXTURES"), *wrong = NULL;
    size_t count[2] = {0};
    layer_file f;
    layer_case c;
    if (!layer_file_open(&f, name)) {
        layer_file_close(&f);
        if (folder != NULL) cr_skip_test("%s holds no %s", folder, name);
        cr_assert_fail("%s cannot be read", f.path);
    }
    for (; layer_file_next(&f, &c, &wrong); layer_case_free(&c)) {
        if (only != NULL && strcmp(only, c.name) != 0) continue;
        expect_case(&c);
        count[c.legal]++;
    }
    layer_case_free(&c);
    layer_file_close(&f);
    cr_assert(wrong == NULL, "%s, case %s: %s", f.path, c.name, wrong);
    if (folder != NULL) fprintf(stderr, "%s: %zu legal, %zu refused\n", f.path, count[true], count[false]);
    if (folder != NULL || only != NULL) return;
    cr_assert_geq(count[true], legal, "%s: only %zu legal cases", name, count[true]);
    cr_assert_geq(count[false], refused, "%s: only %zu refused cases", name, count[false]);
}

Test(interop, torch) { expect_file("frameworks_torch.txt", 200, 100); }
Test(interop, tensorflow_and_keras) { expect_file("frameworks_tfjs.txt", 350, 100); }
Test(interop, onnx) { expect_file("frameworks_onnx.txt", 500, 150); }
Test(interop, onnx_test_data) { expect_file("frameworks_vectors.txt", 15, 0); }

/* Attention written in ops: softmax(Q K^T / sqrt(d)) V with several heads (Vaswani et al. 2017), its
 * gradients checked, and a task that needs it.
 *
 * The task: T pairs of a key (a random vector) and a class are shown, then one of the keys alone. Which class
 * went with it? Nothing about the classes can be learned by heart, as keys are new in each example: the last
 * token has to find its pair. One layer of attention learns that in seconds.
 *
 *     cc attention.c $(pkg-config --cflags --libs pleat) -lm && ./a.out
 */
#include <math.h>
#include <pleat_nn.h>

enum { N = 64, T = 8, KEY = 16, CLASSES = 4, IN = KEY + CLASSES, D = 32, HEADS = 2 };

/* x [N,T,D] -> [N,HEADS,T,D/HEADS]; views, nothing is copied */
static pleat_tensor *heads_of(pleat_tensor *x, size_t heads) {
    size_t n = pleat_size(x, 0), t = pleat_size(x, 1), d = pleat_size(x, 2);
    return pleat_permute(pleat_reshape(x, PLEAT_SHAPE(n, t, heads, d / heads)), (size_t[]){0, 2, 1, 3});
}

/* q [N,Tq,D], k [N,T,D], v [N,T,D] -> [N,Tq,D]. As torch.nn.functional.scaled_dot_product_attention on split
 * heads. */
static pleat_tensor *attention(pleat_tensor *q, pleat_tensor *k, pleat_tensor *v, size_t heads) {
    double scale = 1 / sqrt((double)(pleat_size(q, 2) / heads));
    pleat_tensor *scores =
        pleat_scale(pleat_matmul(heads_of(q, heads), heads_of(k, heads), .tb = true), scale);
    pleat_tensor *y = pleat_matmul(pleat_softmax(scores, 3), heads_of(v, heads)); /* [N,heads,Tq,D/heads] */
    return pleat_reshape(pleat_permute(y, (size_t[]){0, 2, 1, 3}),
                         PLEAT_SHAPE(pleat_size(q, 0), pleat_size(q, 1), PLEAT_REST));
}

/* ---- a module of it: the last token asks, the others answer ------------------------------------------------------ */

static pleat_tensor *recall_forward(pleat_nn_module *m, pleat_tensor *x) { /* [N,T+1,IN] -> [N,CLASSES] */
    /* the pairs, and the last token */
    pleat_tensor *part[2];
    pleat_split(x, 1, 2, (size_t[]){T, 1}, part);
    pleat_tensor *q = pleat_nn_forward(pleat_nn_child(m, 0), part[1]),
                 *k = pleat_nn_forward(pleat_nn_child(m, 1), part[0]);
    pleat_tensor *y = attention(q, k, pleat_nn_forward(pleat_nn_child(m, 2), part[0]), HEADS);
    return pleat_reshape(pleat_nn_forward(pleat_nn_child(m, 3), y), PLEAT_SHAPE(pleat_size(x, 0), CLASSES));
}

static const pleat_nn_kind recall_kind = {.name = "Recall", .forward = recall_forward};

static pleat_nn_module *recall_new(pleat_ctx *ctx) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &recall_kind, NULL, 0);
    m = pleat_nn_add_child(m, "query", pleat_nn_linear(ctx, IN, D, .no_bias = true));
    m = pleat_nn_add_child(m, "key", pleat_nn_linear(ctx, IN, D, .no_bias = true));
    m = pleat_nn_add_child(m, "value", pleat_nn_linear(ctx, IN, D));
    return pleat_nn_add_child(m, "out", pleat_nn_linear(ctx, D, CLASSES));
}

/* New examples [N,T+1,IN], and the classes that were asked for. */
static pleat_tensor *examples(pleat_ctx *ctx, size_t *labels) {
    float x[N][T + 1][IN];
    pleat_rng *r = pleat_ctx_rng(ctx);
    for (size_t n = 0; n < N; n++) {
        size_t asked = (size_t)pleat_rng_below(r, T);
        for (size_t t = 0; t < T; t++) {
            size_t class = (size_t)pleat_rng_below(r, CLASSES);
            for (size_t i = 0; i < KEY; i++) x[n][t][i] = (float)pleat_rng_normal(r);
            for (size_t i = 0; i < CLASSES; i++) x[n][t][KEY + i] = i == class;
            if (t == asked) labels[n] = class;
        }
        for (size_t i = 0; i < IN; i++) x[n][T][i] = i < KEY ? x[n][asked][i] : 0;
    }
    return pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(N, T + 1, IN), x);
}

static pleat_tensor *checked(size_t n, pleat_tensor *const *xs, void *user) {
    return (void)n, (void)user, pleat_square(attention(xs[0], xs[1], xs[2], 2));
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    pleat_report report;
    pleat_tensor *qkv[3];
    for (int i = 0; i < 3; i++) qkv[i] = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3, 4));
    pleat_status wrong = pleat_gradcheck(checked, 3, qkv, .order = 2, .report = &report);
    printf("%s\n", report.text);

    pleat_nn_module *net = recall_new(ctx);
    pleat_nn_optimizer *adam = pleat_nn_adamw(net, .lr = 1e-2);
    double accuracy = 0;
    for (int step = 1; step <= 1000 && pleat_error(ctx)->code == PLEAT_OK; step++) {
        pleat_scope s = pleat_begin(ctx);
        size_t labels[N];
        pleat_tensor *y = pleat_nn_forward(net, examples(ctx, labels));
        pleat_tensor *loss = pleat_nn_cross_entropy_loss(y, .labels = labels);
        accuracy +=
            (pleat_nn_accuracy(y, labels) - accuracy) / (step < 100 ? step : 100); /* before this step */
        pleat_nn_step(adam, loss);
        if (step % 250 == 0) printf("step %4d: loss %.4f, accuracy %.3f\n", step, pleat_item(loss), accuracy);
        pleat_end(s);
    }
    printf("the right one of %d classes in %.1f%% of new examples; by chance %.0f%%\n", CLASSES,
           100 * accuracy, 100.0 / CLASSES);

    bool failed = pleat_error(ctx)->code != PLEAT_OK;
    if (failed) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return failed || wrong || accuracy < 0.95;
}

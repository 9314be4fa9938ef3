// A C++ program on all public headers: from C++17 on with structs that are filled in, from C++20 on with designated
// initializers too. Train y = 3 a - 2 b, and differentiate one convolution whose gradient is known.
#include <pleat.h>
#include <pleat_check.h>
#include <pleat_frameworks.h>
#include <pleat_kernels.h>
#include <pleat_nn.h>
#include <pleat_nn_data.h>
#include <pleat_nn_models.h>
#include <pleat_nn_world.h>
#include <pleat_nn_train.h>
#include <pleat_op.h>

#include <cmath>
#include <cstdio>
#include <memory>

namespace {
struct Delete {
    void operator()(pleat_ctx *c) const { pleat_ctx_free(c); }
    void operator()(pleat_nn_module *m) const { pleat_nn_free(m); }
    void operator()(pleat_nn_optimizer *o) const { pleat_nn_optimizer_free(o); }
};
template <class T> using Owned = std::unique_ptr<T, Delete>;

pleat_nn_module *linear(pleat_ctx *ctx, std::size_t in, std::size_t out) {
    pleat_nn_linear_args args{};
    args.ctx = ctx;
    args.in = in;
    args.out = out;
    return pleat_nn_linear_with(args);
}

int made = 0; // modules: an argument of pleat_nn_sequential is evaluated once
pleat_nn_module *relu(pleat_ctx *ctx) {
    made++;
    return pleat_nn_relu(ctx);
}

double train(pleat_ctx *ctx) {
    Owned<pleat_nn_module> net(pleat_nn_sequential(ctx, linear(ctx, 2, 16), relu(ctx), linear(ctx, 16, 1)));
    pleat_nn_adam_args options{};
    options.net = net.get();
    options.lr = 1e-2;
    Owned<pleat_nn_optimizer> adam(pleat_nn_adam_with(options));
    double last = NAN;
    for (int i = 0; i < 500; i++) {
        pleat_scope step = pleat_begin(ctx);
        pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(64, 2), -1, 1);
        const double slopes[] = {3, -2};
        pleat_tensor *slope = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(2), slopes);
        pleat_sum_args rows{};
        rows.x = pleat_mul(x, slope);
        rows.axes = PLEAT_AXES(1);
        rows.keep = true;
        pleat_nn_loss_args loss{};
        loss.x = pleat_nn_forward(net.get(), x);
        loss.target = pleat_sum_with(rows);
        pleat_tensor *mse = pleat_nn_mse_loss_with(loss);
        pleat_nn_step(adam.get(), mse);
        last = pleat_item(mse);
        pleat_end(step);
    }
    return last;
}

double gradient(pleat_ctx *ctx) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 4, 4), 2);
    pleat_tensor *w = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 3, 3), 1), *gw = nullptr;
#if __cplusplus >= 202002L
    pleat_tensor *y = pleat_conv2d(.a = x, .b = w, .stride = {1, 1}); // the macro, with all by name
    pleat_tensor *same = pleat_conv2d_with({.a = x, .b = w});
    pleat_tensor *s = pleat_sum(.x = pleat_scale(pleat_add(y, same), 0.5));
#else
    pleat_conv_args conv{};
    conv.a = x;
    conv.b = w;
    pleat_sum_args all{};
    all.x = pleat_conv2d_with(conv);
    pleat_tensor *s = pleat_sum_with(all);
#endif
    if (pleat_grads(s, nullptr, 1, &w, &gw, 0)) return NAN;
    pleat_sum_args total{};
    total.x = gw;
    return pleat_item(pleat_sum_with(total)); // 9 weights, each of which meets 4 pixels of value 2
}
} // namespace

int main() {
    pleat_ctx_args options{};
    options.seed = 1;
    options.threads = 1;
    Owned<pleat_ctx> ctx(pleat_ctx_new_with(options));
    double loss = train(ctx.get()), sum = gradient(ctx.get());
    if (pleat_error(ctx.get())->code != PLEAT_OK) std::puts(pleat_error(ctx.get())->text);
    std::size_t map = pleat_conv_map_size(4, 3, 1, 1, 0, 0);
    std::printf("C++ %ld: loss %g, sum of the gradient %g, map %zu\n", long(__cplusplus), loss, sum, map);
    return loss < 1e-2 && sum == 72 && map == 2 && made == 1 ? 0 : 1;
}

// oneDNN's convolutions, as a server: README.md has what it reads and answers.
//
// usage: onednn [--nchw]
//
// Without --nchw every tensor has the layout that oneDNN chooses (blocked), and nothing is reordered: its best case. With it,
// tensors come and go in plain NCHW, and reorders count. The algorithm is the direct one: Winograd's has another error.
// OMP_NUM_THREADS says how many threads.
#include <algorithm>
#include <chrono>
#include <dnnl.hpp>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

using namespace dnnl;
using dims = memory::dims;
using tag = memory::format_tag;

// ---- time, as in timing.c ------------------------------------------------------------------------------

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double median_ms(const std::function<void()> &body, double seconds, double warm = 0.03) {
    std::vector<double> samples;
    body();
    body();
    for (double start = now(); now() - start < warm;) body();
    for (double start = now(); samples.size() < 5 || now() - start < seconds;) {
        double begin = now();
        body();
        samples.push_back(now() - begin);
    }
    std::sort(samples.begin(), samples.end());
    return 1e3 * samples[samples.size() / 2];
}

// ---- a shape -------------------------------------------------------------------------------------------

struct shape {
    bool deconv;
    memory::dim n, cin, h, w, cout, kh, kw, stride, pad, dil, groups, outpad;

    explicit shape(std::string row) {
        std::replace(row.begin(), row.end(), ',', ' ');
        std::istringstream words(row);
        std::string name, op;
        words >> name >> op >> n >> cin >> h >> w >> cout >> kh >> kw >> stride >> pad >> dil >> groups >> outpad;
        deconv = op == "deconv";
    }
    memory::dim out(memory::dim in, memory::dim kernel) const {
        memory::dim extent = dil * (kernel - 1) + 1;
        return deconv ? (in - 1) * stride + extent + outpad - 2 * pad : (in + 2 * pad - extent) / stride + 1;
    }
    // padding at the end of an axis, so that oneDNN's own formula gives the size
    memory::dim end(memory::dim in, memory::dim kernel) const {
        memory::dim extent = dil * (kernel - 1) + 1;
        return deconv ? pad - outpad : (out(in, kernel) - 1) * stride + extent - in - pad;
    }
    dims src() const { return {n, cin, h, w}; }
    dims dst() const { return {n, cout, out(h, kh), out(w, kw)}; }
    dims weights() const {
        if (groups > 1) return {groups, cout / groups, cin / groups, kh, kw};
        return {cout, cin, kh, kw};
    }
    // a deconvolution's weights are kept as PyTorch keeps them, input channels first
    tag plain_weights() const {
        if (groups > 1) return deconv ? tag::giohw : tag::goihw;
        return deconv ? tag::iohw : tag::oihw;
    }
};

static memory::desc any(const dims &d) { return {d, memory::data_type::f32, tag::any}; }
static memory::desc plain(const dims &d, tag t) { return {d, memory::data_type::f32, t}; }

// ---- a primitive between tensors in the caller's layouts --------------------------------------------------

class peer {
    engine cpu{engine::kind::cpu, 0};
    stream queue{cpu};
    bool nchw;

    memory filled(const memory::desc &d) {
        memory m(d, cpu);
        float *to = static_cast<float *>(m.get_data_handle());
        for (size_t i = 0; i < d.get_size() / sizeof(float); i++)
            to[i] = static_cast<float>(i * 7919 % 1013) * 0.001f - 0.5f;
        return m;
    }

    // One tensor of a primitive: its own memory, and before or after it a reorder to or from the caller's.
    struct operand {
        int name;
        memory::desc own, callers;
        bool result;
    };

    std::function<void()> call(const primitive &p, const std::vector<operand> &operands) {
        std::unordered_map<int, memory> arguments;
        std::vector<std::function<void()>> before, after;
        for (const operand &o : operands) {
            memory own = filled(o.own);
            arguments.insert({o.name, own});
            if (!nchw || o.own == o.callers) continue;
            memory callers = filled(o.callers), from = o.result ? own : callers, to = o.result ? callers : own;
            reorder r(from, to);
            (o.result ? after : before).push_back([=]() mutable { r.execute(queue, from, to); });
        }
        return [=] {
            for (auto &f : before) f();
            p.execute(queue, arguments);
            for (auto &f : after) f();
            queue.wait();
        };
    }

public:
    explicit peer(bool plain_layouts) : nchw(plain_layouts) {}

    // Forward, and forward with both gradients.
    template <class Forward, class Data, class Weights> std::pair<std::function<void()>, std::function<void()>>
    layer(const shape &s, algorithm a) {
        dims strides{s.stride, s.stride}, dilation{s.dil - 1, s.dil - 1}, begin{s.pad, s.pad};
        dims end{s.end(s.h, s.kh), s.end(s.w, s.kw)};
        memory::desc x = any(s.src()), w = any(s.weights()), y = any(s.dst());
        typename Forward::primitive_desc f({prop_kind::forward_training, a, x, w, y, strides, dilation, begin, end}, cpu);
        typename Data::primitive_desc d({a, x, w, y, strides, dilation, begin, end}, cpu, f);
        typename Weights::primitive_desc g({a, x, w, y, strides, dilation, begin, end}, cpu, f);
        memory::desc px = plain(s.src(), tag::nchw), pw = plain(s.weights(), s.plain_weights());
        memory::desc py = plain(s.dst(), tag::nchw);
        auto forward = call(Forward(f), {{DNNL_ARG_SRC, f.src_desc(), px, false},
                                         {DNNL_ARG_WEIGHTS, f.weights_desc(), pw, false},
                                         {DNNL_ARG_DST, f.dst_desc(), py, true}});
        auto data = call(Data(d), {{DNNL_ARG_DIFF_DST, d.diff_dst_desc(), py, false},
                                   {DNNL_ARG_WEIGHTS, d.weights_desc(), pw, false},
                                   {DNNL_ARG_DIFF_SRC, d.diff_src_desc(), px, true}});
        auto weights = call(Weights(g), {{DNNL_ARG_SRC, g.src_desc(), px, false},
                                         {DNNL_ARG_DIFF_DST, g.diff_dst_desc(), py, false},
                                         {DNNL_ARG_DIFF_WEIGHTS, g.diff_weights_desc(), pw, true}});
        return {forward, [=] { forward(), data(), weights(); }};
    }
};

static std::string answer(const std::string &line, bool nchw) {
    std::istringstream words(line);
    std::ostringstream text;
    double seconds, warm;
    std::string row;
    words >> seconds >> warm >> row;
    shape s(row);
    peer p(nchw);
    auto [forward, step] =
        s.deconv ? p.layer<deconvolution_forward, deconvolution_backward_data, deconvolution_backward_weights>(
                       s, algorithm::deconvolution_direct)
                 : p.layer<convolution_forward, convolution_backward_data, convolution_backward_weights>(
                       s, algorithm::convolution_direct);
    double forward_ms = median_ms(forward, seconds, warm);
    text << forward_ms << ' ' << median_ms(step, seconds);
    return text.str();
}

int main(int argc, char **argv) {
    bool nchw = argc > 1 && std::string(argv[1]) == "--nchw";
    const version_t *v = version();
    std::cout << "ready oneDNN " << v->major << '.' << v->minor << '.' << v->patch << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        try {
            std::cout << answer(line, nchw) << std::endl;
        } catch (const error &e) {
            std::cout << "error " << e.message << std::endl;
        }
    }
}

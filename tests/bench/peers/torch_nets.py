"""PyTorch's twins of the networks of bench_nets (nets.c): the same parameters, the same loss.

usage: torch_nets.py --check FOLDER
       torch_nets.py NET BATCH THREADS [--best] [--cpu]

--check: takes what `bench_nets --write FOLDER` wrote, and compares: names and shapes of all parameters, their number, each loss of
the first step (to 1e-4 of it) and the norm of its gradient (to 1e-3). Ends with 1 if anything differs.

Otherwise a server for one network: README.md has what it reads and answers. --best: of several ways to write the same step (layout,
optimizer over one tensor at a time or over all) and the same inference (eager, or traced and frozen; layout) the fastest, found by
a short trial. Without it: as tutorials write it. --cpu: processor time, of all threads together.
"""
import sys
import time

import numpy
import torch
import torch.nn as nn
import torch.nn.functional as F

from timing import median_ms

CLOCK = time.process_time if "--cpu" in sys.argv else time.perf_counter
LATENT, NOISE, CLASSES = 16, 64, 10


def status_mib(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key))


# ---- own modules ----


class Residual(nn.Module):
    def __init__(self, body, shortcut=None, relu=True):
        super().__init__()
        self.body, self.shortcut, self.relu = body, shortcut, relu

    def forward(self, x):
        y = self.body(x) + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(y) if self.relu else y


class Skip(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.cat((x, self.inner(x)), 1)


def conv(inputs, outputs, kernel, stride=1, groups=1):
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]


def conv_relu(*sizes):
    return conv(*sizes) + [nn.ReLU()]


# ---- the networks: functions that make a list of modules ----


def autoencoder():
    return [nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 32),
        nn.Linear(32, 1568), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)), nn.ConvTranspose2d(32, 16, 3, 2, 1, 1), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 3, 2, 1, 1), nn.Sigmoid())]


def vae():
    encoder = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(1568, 128),
        nn.SiLU(), nn.Linear(128, 2 * LATENT))
    decoder = nn.Sequential(
        nn.Linear(LATENT, 128), nn.SiLU(), nn.Linear(128, 1568), nn.SiLU(), nn.Unflatten(1, (32, 7, 7)),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1))
    return [nn.Sequential(encoder, decoder)]


def superresolution():
    layers = []
    for inputs, outputs, kernel in ((1, 32, 5), (32, 12, 1), (12, 12, 3), (12, 12, 3), (12, 32, 1)):
        layers += [nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2), nn.PReLU(outputs)]
    return [nn.Sequential(*layers, nn.ConvTranspose2d(32, 1, 9, 2, 4, 1))]


def wgan_gp():
    critic = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Linear(64 * 7 * 7, 1))
    generator = nn.Sequential(
        nn.Linear(NOISE, 64 * 7 * 7), nn.Unflatten(1, (64, 7, 7)), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1),
        nn.Sigmoid())
    return [critic, generator]


def classifier():
    return [nn.Sequential(
        *conv_relu(1, 32, 3), nn.MaxPool2d(2), *conv_relu(32, 48, 3), *conv_relu(48, 64, 3), nn.MaxPool2d(2),
        *conv_relu(64, 64, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, CLASSES))]


def resnet18():
    layers, inputs = conv_relu(3, 64, 3), 64
    for outputs in (64, 128, 256, 512):
        for stride in (1 if inputs == outputs else 2, 1):
            body = nn.Sequential(*conv_relu(inputs, outputs, 3, stride), *conv(outputs, outputs, 3))
            layers.append(Residual(body, None if inputs == outputs else nn.Sequential(*conv(inputs, outputs, 1, stride))))
            inputs = outputs
    return [nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))]


def mobilenetv2():
    layers, inputs = conv(3, 32, 3) + [nn.ReLU6()], 32
    for expansion, outputs, blocks, stride in ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                               (6, 160, 3, 2), (6, 320, 1, 1)):
        for stride in [stride] + [1] * (blocks - 1):
            wide = inputs * expansion
            body = conv(inputs, wide, 1) + [nn.ReLU6()] if expansion != 1 else []
            body = nn.Sequential(*body, *conv(wide, wide, 3, stride, wide), nn.ReLU6(), *conv(wide, outputs, 1))
            layers.append(Residual(body, relu=False) if stride == 1 and inputs == outputs else body)
            inputs = outputs
    return [nn.Sequential(*layers, *conv(inputs, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(1280, CLASSES))]


def unet_level(inputs, C, below):
    layers = conv_relu(inputs, C, 3) + conv_relu(C, C, 3)
    if below:
        inner = nn.Sequential(nn.MaxPool2d(2), unet_level(C, 2 * C, below - 1), nn.ConvTranspose2d(2 * C, C, 2, 2))
        layers += [Skip(inner), *conv_relu(2 * C, C, 3), *conv_relu(C, C, 3)]
    return nn.Sequential(*layers)


def unet():
    return [nn.Sequential(unet_level(3, 32, 3), nn.Conv2d(32, 1, 1))]


def dcgan_g():
    layers = []
    for inputs, outputs in ((100, 512), (512, 256), (256, 128), (128, 64)):
        stride, pad = (1, 0) if inputs == 100 else (2, 1)
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride, pad, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return [nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())]


def dcgan_d():
    layers = []
    for inputs, outputs in ((3, 64), (64, 128), (128, 256), (256, 512)):
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
        layers += [nn.BatchNorm2d(outputs)] if inputs != 3 else []
        layers.append(nn.LeakyReLU(0.2))
    return [nn.Sequential(*layers, nn.Conv2d(512, 1, 4, bias=False))]


def mlp():
    return [nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES))]


def conv1d():
    def layer(inputs, outputs, kernel):
        return [nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]

    return [nn.Sequential(
        *layer(4, 32, 7), nn.MaxPool1d(2), *layer(32, 64, 5), nn.MaxPool1d(2), *layer(64, 128, 3), *layer(128, 128, 3),
        nn.AvgPool1d(128), nn.Flatten(), nn.Linear(128, CLASSES))]


# ---- losses and inference: of the modules and the inputs by name ----


def classes_loss(m, d, part):
    return F.cross_entropy(m[0](d["x"]), d["labels"])


def distance_loss(m, d, part):
    return F.mse_loss(m[0](d["x"]), d.get("target", d["x"]))


def mask_loss(m, d, part):
    return F.binary_cross_entropy_with_logits(m[0](d["x"]), d["target"])


def vae_loss(m, d, part):
    mean, log_var = m[0][0](d["x"]).chunk(2, 1)
    logits = m[0][1](mean + d["noise"] * torch.exp(0.5 * log_var))
    likelihood = F.binary_cross_entropy_with_logits(logits, d["x"], reduction="sum") / len(mean)
    return likelihood + 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()


def wgan_gp_loss(m, d, part):
    critic, generator = m
    if part == 1:
        return -critic(generator(d["noise2"])).mean()
    with torch.no_grad():
        made = generator(d["noise"])
    real = d["x"]
    x = torch.lerp(made, real, d["mix"]).requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    norm = torch.sqrt(slope.square().sum((1, 2, 3)) + 1e-12)
    return 10 * (norm - 1).square().mean() - (critic(real).mean() - critic(made).mean())


def first_module(m, d):
    return m[0](d["x"])


def vae_infer(m, d):
    return torch.sigmoid(m[0][1](m[0][0](d["x"]).chunk(2, 1)[0]))


def wgan_gp_infer(m, d):
    return m[1](d["noise"])


# ---- the table ----


def adam(parameters, **how):
    return torch.optim.Adam(parameters, 1e-4, **how)


def adamw(parameters, **how):
    return torch.optim.AdamW(parameters, 1e-4, weight_decay=0.02, **how)


def sgd(parameters, **how):
    return torch.optim.SGD(parameters, 0.01, 0.9, weight_decay=5e-4, **how)


# name: modules, shapes of the inputs without N, loss, optimizer, inference. Noise is normal, all others uniform.
IMAGE = {"x": (1, 28, 28)}
NETS = {
    "autoencoder": (autoencoder, IMAGE, distance_loss, adam, first_module),
    "vae": (vae, IMAGE | {"noise": (LATENT,)}, vae_loss, adam, vae_infer),
    "superresolution": (superresolution, {"x": (1, 14, 14), "target": (1, 28, 28)}, distance_loss, adam, first_module),
    "wgan_gp": (wgan_gp, IMAGE | {"noise": (NOISE,), "noise2": (NOISE,), "mix": (1, 1, 1)}, wgan_gp_loss, adam, wgan_gp_infer),
    "classifier": (classifier, IMAGE | {"labels": ()}, classes_loss, adamw, first_module),
    "resnet18": (resnet18, {"x": (3, 32, 32), "labels": ()}, classes_loss, sgd, first_module),
    "mobilenetv2": (mobilenetv2, {"x": (3, 32, 32), "labels": ()}, classes_loss, sgd, first_module),
    "unet": (unet, {"x": (3, 64, 64), "target": (1, 64, 64)}, mask_loss, adam, first_module),
    "dcgan_g": (dcgan_g, {"x": (100, 1, 1), "target": (3, 64, 64)}, distance_loss, adam, first_module),
    "dcgan_d": (dcgan_d, {"x": (3, 64, 64), "target": (1, 1, 1)}, mask_loss, adam, first_module),
    "mlp": (mlp, {"x": (784,), "labels": ()}, classes_loss, adam, first_module),
    "conv1d": (conv1d, {"x": (4, 512), "labels": ()}, classes_loss, adam, first_module),
}


def draw(name, batch):
    def values(key, shape):
        if key == "labels":
            return torch.randint(0, CLASSES, (batch,))
        return torch.randn(batch, *shape) if key.startswith("noise") or name == "dcgan_g" and key == "x" else torch.rand(batch, *shape)

    return {key: values(key, shape) for key, shape in NETS[name][1].items()}


# ---- are they the same? ----


def check(name, folder):
    """None, or what is wrong."""
    build, inputs, loss_of, _, _ = NETS[name]
    try:
        with numpy.load(f"{folder}/{name}.npz") as file:
            ours = {key: torch.from_numpy(file[key].copy()) for key in file.files}
    except OSError as error:
        return str(error)
    modules, d = build(), {key: ours["in/" + key] for key in inputs}
    if "labels" in d:
        d["labels"] = d["labels"].long()
    for part, m in enumerate(modules):
        state = {key.split("/")[1]: t for key, t in ours.items() if key.startswith(f"{part}/")}
        mine, theirs = ({key: tuple(t.shape) for key, t in s.items()} for s in (state, m.state_dict()))
        if mine != theirs:
            key = next(k for k in [*mine, *theirs] if mine.get(k) != theirs.get(k))
            return f"{key} of part {part} is {mine.get(key)}, PyTorch's {theirs.get(key)}"
        m.load_state_dict(state)
        for layer in m.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0
    words = [f"{sum(p.numel() for m in modules for p in m.parameters())} parameters"]
    for part, m in enumerate(modules):
        loss = loss_of(modules, d, part)
        gradient = torch.sqrt(sum(g.double().square().sum() for g in torch.autograd.grad(loss, list(m.parameters()))))
        for what, theirs, bound in (("loss", loss, 1e-4), ("gradient", gradient, 1e-3)):
            mine, theirs = ours[f"{what}/{part}"].item(), theirs.item()
            if not abs(mine - theirs) <= bound * abs(theirs):
                return f"{what} of part {part} is {mine}, PyTorch's {theirs}"
            words.append(f"{what} {mine:.6g}, PyTorch's {theirs:.6g}")
    print(f"# {name}: {'; '.join(words)}")
    return None


# ---- a step, and inference ----


def laid_out(modules, d, layout):
    return ([m.to(memory_format=layout) for m in modules],
            {key: t.contiguous(memory_format=layout) if t.dim() == 4 else t for key, t in d.items()})


def training(name, batch, layout, **how):
    build, _, loss_of, optimizer_of, _ = NETS[name]
    modules, d = laid_out(build(), draw(name, batch), layout)
    optimizers = [optimizer_of(m.parameters(), **how) for m in modules]

    def step():
        for part, optimizer in enumerate(optimizers):
            for o in optimizers:  # the generator's loss leaves gradients in the critic
                o.zero_grad(set_to_none=bool(how))
            loss_of(modules, d, part).backward()
            optimizer.step()

    return step


class Whole(nn.Module):
    """Inference as a module, to be traced."""

    def __init__(self, infer, modules, d):
        super().__init__()
        self.infer, self.parts, self.name = infer, nn.ModuleList(modules), "noise" if infer is wgan_gp_infer else "x"

    def forward(self, x):
        return self.infer(self.parts, {self.name: x})


def inference(name, batch, layout, traced):
    build, _, _, _, infer_of = NETS[name]
    modules, d = laid_out(build(), draw(name, batch), layout)
    net = Whole(infer_of, modules, d).eval()
    x, mode = d[net.name], torch.inference_mode if traced else torch.no_grad
    if traced:
        with torch.no_grad():
            net = torch.jit.optimize_for_inference(torch.jit.trace(net, x))

    def infer():
        with mode():
            net(x)

    return infer


def layouts(name, best):
    flat = not any(len(shape) == 3 for shape in NETS[name][1].values())
    return (torch.contiguous_format, torch.channels_last)[:1 if flat or not best else 2]


def fastest(candidates):
    """The one that a short trial says: a call to warm up, then a tenth of a second, or one call. Only that one stays."""
    kept = None
    for words, make in candidates:
        try:
            body = make()
            ms = median_ms(body, 0.1, 0, 1, 1, CLOCK)
        except RuntimeError:  # a layout, or a network, that this version cannot trace
            continue
        if kept is None or ms < kept[0]:
            kept = ms, words, body
    return kept[1:]


def choose(name, batch, best):
    """The step and the inference, each with the words that say how they are written."""
    if not best:
        return (("NCHW", training(name, batch, torch.contiguous_format)),
                ("eager", inference(name, batch, torch.contiguous_format, False)))
    layout_name = {torch.contiguous_format: "NCHW", torch.channels_last: "channels_last"}
    steps = [(f"{layout_name[layout]}{'_foreach' * foreach}",
              lambda layout=layout, foreach=foreach: training(name, batch, layout, foreach=foreach))
             for layout in layouts(name, best) for foreach in (False, True)]
    infers = [(f"{layout_name[layout]}{'_traced' * traced}",
               lambda layout=layout, traced=traced: inference(name, batch, layout, traced))
              for layout in layouts(name, best) for traced in (False, True)]
    return fastest(steps), fastest(infers)


def serve(name, batch, threads, best):
    before = status_mib("VmRSS:")  # with PyTorch, before there is a tensor
    torch.set_num_threads(threads)
    (step_words, step), (infer_words, infer) = choose(name, batch, best)
    print(f"ready PyTorch {torch.__version__} {step_words} {infer_words}", flush=True)
    peak = None
    for line in sys.stdin:
        seconds, warm = map(float, line.split()[:2])
        step_ms = median_ms(step, seconds, warm, 1, 1, CLOCK)
        if peak is None:
            peak = status_mib("VmHWM:") - before
        print(f"{step_ms:.5f} {median_ms(infer, seconds / 2, warm / 4, 1, 1, CLOCK):.5f} {peak:.1f}", flush=True)


def main():
    if sys.argv[1] == "--check":
        wrong = {name: check(name, sys.argv[2]) for name in NETS}
        for name, what in wrong.items():
            if what:
                print(f"{name}: {what}", file=sys.stderr)
        sys.exit(any(wrong.values()))
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), "--best" in sys.argv)


if __name__ == "__main__":
    main()

"""Networks as PyTorch exports them, with their outputs and gradients, for tests/programs/onnx_models.c.

    /usr/bin/python3 torch_onnx.py FOLDER [NAME...]
    /usr/bin/python3 torch_onnx.py --opset N FOLDER              (all in one opset, but those that PyTorch cannot export in it)
    /usr/bin/python3 torch_onnx.py --small onnx_small.onnx       (the net of tests/nn/test_onnx.c)

FOLDER/NAME.{f32,f64}/ then has

    model.onnx                    the network in evaluation as it is: its initializers have the names of the state dict
    folded.onnx                   the same by the exporter's own choice: batch norms are folded into convolutions
    x.npy, y.npy, u.npy           input, output, and a cotangent of it
    gx.npy, g.NAME.npy            gradients of sum(u y), of x and of each parameter
    train.y.npy, train.NAME.npy   the output in training mode, and the running statistics behind it, of networks with batch norms

All numbers are computed in f64, from parameters that f32 holds exactly.
"""
import copy
import os
import shutil
import sys
import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

warnings.filterwarnings("ignore")


def conv(i, o, k=3, s=1, p=1, g=1):
    return nn.Sequential(nn.Conv2d(i, o, k, s, p, groups=g, bias=False), nn.BatchNorm2d(o))


class Block(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.one, self.two = conv(i, o, 3, s), conv(o, o)
        self.short = conv(i, o, 1, s, 0) if s > 1 or i != o else nn.Identity()

    def forward(self, x):
        return F.relu(self.two(F.relu(self.one(x))) + self.short(x))


class ResNet18(nn.Module):
    def __init__(self, w=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, w, 7, 2, 3, bias=False), nn.BatchNorm2d(w), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        sizes = [w, w, 2 * w, 4 * w, 8 * w]
        self.layers = nn.Sequential(*[nn.Sequential(Block(a, b, 1 if a == b else 2), Block(b, b, 1)) for a, b in zip(sizes, sizes[1:])])
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8 * w, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.layers(self.stem(x))), 1))


class Inverted(nn.Module):
    def __init__(self, i, o, s, t):
        super().__init__()
        e = i * t
        self.body = nn.Sequential(conv(i, e, 1, 1, 0), nn.ReLU6(), conv(e, e, 3, s, 1, e), nn.ReLU6(), conv(e, o, 1, 1, 0))
        self.adds = s == 1 and i == o

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet_v2():
    layers, i = [conv(3, 8, 3, 2), nn.ReLU6()], 8
    for t, o, n, s in [(1, 8, 1, 1), (6, 12, 2, 2), (6, 16, 2, 2), (6, 24, 2, 1)]:
        for k in range(n):
            layers.append(Inverted(i, o, s if k == 0 else 1, t))
            i = o
    return nn.Sequential(*layers, conv(i, 64, 1, 1, 0), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10))


class UNet(nn.Module):
    def __init__(self, w=8, bilinear=False):
        super().__init__()
        double = lambda i, o: nn.Sequential(conv(i, o), nn.ReLU(), conv(o, o), nn.ReLU())
        self.one, self.two, self.three = double(1, w), double(w, 2 * w), double(2 * w, 4 * w)
        up = (lambda i, o: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(i, o, 1))) if bilinear else (
            lambda i, o: nn.ConvTranspose2d(i, o, 2, 2))
        self.up2, self.back2, self.up1, self.back1 = up(4 * w, 2 * w), double(4 * w, 2 * w), up(2 * w, w), double(2 * w, w)
        self.out = nn.Conv2d(w, 2, 1)

    def forward(self, x):
        a = self.one(x)
        b = self.two(F.max_pool2d(a, 2))
        c = self.three(F.max_pool2d(b, 2))
        b = self.back2(torch.cat([self.up2(c), b], 1))
        return self.out(self.back1(torch.cat([self.up1(b), a], 1)))


def generator(w=8):
    t = lambda i, o, s, p: nn.Sequential(nn.ConvTranspose2d(i, o, 4, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(t(20, 4 * w, 1, 0), t(4 * w, 2 * w, 2, 1), t(2 * w, w, 2, 1), nn.ConvTranspose2d(w, 3, 4, 2, 1), nn.Tanh())


def discriminator(w=8):
    c = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2))
    return nn.Sequential(nn.Conv2d(3, w, 4, 2, 1), nn.LeakyReLU(0.2), c(w, 2 * w), c(2 * w, 4 * w), nn.Conv2d(4 * w, 1, 4), nn.Sigmoid(), nn.Flatten())


def fsrcnn(d=12, s=6):
    c = lambda i, o, k: nn.Sequential(nn.Conv2d(i, o, k, padding=k // 2), nn.PReLU(o))
    return nn.Sequential(c(1, d, 5), c(d, s, 1), c(s, s, 3), c(s, s, 3), c(s, d, 1), nn.ConvTranspose2d(d, 1, 9, 2, 4, output_padding=1))


def espcn(r=3):
    return nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, r * r, 3, padding=1), nn.PixelShuffle(r))


class VAE(nn.Module):
    """Without its noise: the mean is decoded, beside a penalty of both codes."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.mean, self.log_var, self.dense = nn.Linear(16 * 49, 6), nn.Linear(16 * 49, 6), nn.Linear(6, 16 * 49)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid())

    def forward(self, x):
        h = self.encoder(x).flatten(1)
        m, v = self.mean(h), self.log_var(h)
        kl = -0.5 * (1 + v - m.pow(2) - v.exp()).sum(1)
        y = self.decoder(self.dense(m).view(x.size(0), 16, 7, 7))
        return torch.cat([y.flatten(1), kl.unsqueeze(1)], 1)


class GroupNormAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.GELU(), nn.Conv2d(8, 12, 3, 2, 1), nn.GroupNorm(3, 12), nn.SiLU())
        self.norm = nn.LayerNorm([7, 7])
        self.decoder = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(12, 8, 3, 1, 1), nn.InstanceNorm2d(8, affine=True), nn.ELU(),
                                     nn.ReflectionPad2d(1), nn.ConvTranspose2d(8, 1, 3, 2, 2, 1))

    def forward(self, x):
        return self.decoder(self.norm(self.encoder(x)) * 0.5 + 1)


class Attention(nn.Module):
    def __init__(self, d=12, heads=3):
        super().__init__()
        self.heads, self.qkv, self.out, self.norm = heads, nn.Linear(d, 3 * d), nn.Linear(d, d), nn.LayerNorm(d)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-2, -1) / (d // self.heads) ** 0.5, -1)
        return x + self.out((a @ v).transpose(1, 2).reshape(n, t, d))


NETS = {
    "generator": (generator, (2, 20, 1, 1)), "discriminator": (discriminator, (2, 3, 32, 32)), "unet": (UNet, (2, 1, 24, 20)),
    "unet-bilinear": (lambda: UNet(4, True), (2, 1, 16, 20)), "resnet18": (ResNet18, (2, 3, 64, 64)),
    "mobilenet-v2": (mobilenet_v2, (2, 3, 32, 32)), "fsrcnn": (fsrcnn, (2, 1, 12, 10)), "espcn": (espcn, (2, 1, 12, 10)), "vae": (VAE, (3, 1, 28, 28)),
    "autoencoder-groupnorm": (GroupNormAE, (2, 1, 28, 28)), "attention": (Attention, (2, 5, 12)),
}


def rounded(t):
    return t.float().double()


def make(name):
    build, shape = NETS[name]
    torch.manual_seed(len(name))
    net = build().double()
    net(torch.rand(8, *shape[1:]).double())  # running statistics that are not 0 and 1
    for key, t in net.state_dict().items():
        if t.is_floating_point():
            t.copy_(rounded(t))
    return net, rounded(torch.rand(shape))


def export(net, x, path, **options):
    axes = {"x": {0: "N"}, "y": {0: "N"}}
    torch.onnx.export(net, x, path, input_names=["x"], output_names=["y"], dynamic_axes=axes, **options)


def write(root, name, dtype, opset):
    folder = os.path.join(root, f"{name}.{'f32' if dtype == torch.float32 else 'f64'}")
    os.makedirs(folder, exist_ok=True)
    put = lambda what, t: np.save(os.path.join(folder, what + ".npy"), t.detach().to(dtype).numpy())
    net, x = make(name)
    net.eval()
    typed = copy.deepcopy(net).to(dtype)
    export(typed, x.to(dtype), os.path.join(folder, "model.onnx"), opset_version=opset, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    export(typed, x.to(dtype), os.path.join(folder, "folded.onnx"), opset_version=opset)
    x.requires_grad_()
    y = net(x)
    u = rounded(torch.randn(y.shape))
    names, params = zip(*net.named_parameters())
    gx, *gs = torch.autograd.grad((u * y).sum(), [x, *params])
    for what, t in [("x", x), ("y", y), ("u", u), ("gx", gx), *[("g." + n, g) for n, g in zip(names, gs)]]:
        put(what, t)
    if any(isinstance(m, nn.BatchNorm2d) for m in net.modules()):
        for m in net.modules():
            m.train(not isinstance(m, nn.Dropout))
        put("train.y", net(x))
        for key, t in net.state_dict().items():
            if "running" in key:
                put("train." + key, t)


def small():
    """Names and shapes of this network are those of test_onnx.c's."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0), nn.Linear(64, 3)).eval()
    export(net, torch.rand(2, 1, 8, 8), sys.argv[2], opset_version=14, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)


def in_opset(opset, root):
    for name in NETS:
        for dtype in [torch.float32, torch.float64]:
            try:
                write(root, name, dtype, opset)
            except torch.onnx.errors.OnnxExporterError as e:
                shutil.rmtree(os.path.join(root, f"{name}.{'f32' if dtype == torch.float32 else 'f64'}"))
                print(f"opset {opset}: PyTorch does not export {name}: {str(e).splitlines()[0]}")


if __name__ == "__main__" and sys.argv[1] == "--small":
    small()
elif __name__ == "__main__" and sys.argv[1] == "--opset":
    in_opset(int(sys.argv[2]), sys.argv[3])
elif __name__ == "__main__":
    for i, name in enumerate(sys.argv[2:] or NETS):
        write(sys.argv[1], name, torch.float32, [13, 16, 11, 14, 9][i % 5])
        write(sys.argv[1], name, torch.float64, [16, 13, 12, 15, 11][i % 5])

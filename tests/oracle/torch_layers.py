"""Reference values of layers, computed by PyTorch in f64: result and gradients, batch_norm2d over several steps and in
evaluation, and the names of a state dict.

    /usr/bin/python3 torch_layers.py > layers.txt
"""
import torch
import torch.nn as nn

from arrays import put, short

torch.manual_seed(13)


def layer(name, module, x):
    """y = module(x), and the gradients of sum(u y) for x and the parameters, which are numbered."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(short(*p.shape))
    x.requires_grad_()
    y = module(x)
    u = short(*y.shape)
    wanted = [x, *module.parameters()]
    for i, (t, g) in enumerate(zip(wanted, torch.autograd.grad((u * y).sum(), wanted))):
        put(f"{name}.x{i}", t)
        put(f"{name}.g{i}", g)
    put(f"{name}.u", u)
    put(f"{name}.y", y)


def layers():
    image = lambda: short(2, 4, 3, 4)
    for name, module in [
            ("elu", nn.ELU(0.7)), ("gelu", nn.GELU()), ("silu", nn.SiLU()), ("softplus", nn.Softplus()),
            ("leaky_relu", nn.LeakyReLU(0.2)), ("softmax", nn.Softmax(1)), ("log_softmax", nn.LogSoftmax(1)),
            ("prelu", nn.PReLU(4)), ("prelu_one", nn.PReLU()),
            ("max_pool2d", nn.MaxPool2d((2, 3), (1, 2), (1, 1))), ("avg_pool2d", nn.AvgPool2d(2, ceil_mode=True)),
            ("adaptive", nn.AdaptiveAvgPool2d((2, 3))), ("global", nn.AdaptiveAvgPool2d(1)),
            ("nearest", nn.Upsample(scale_factor=2)), ("bilinear", nn.Upsample(scale_factor=3, mode="bilinear")),
            ("pixel_shuffle", nn.PixelShuffle(2)), ("group_norm", nn.GroupNorm(2, 4)),
            ("group_norm_plain", nn.GroupNorm(4, 4, affine=False)), ("layer_norm", nn.LayerNorm([3, 4])),
            ("layer_norm_plain", nn.LayerNorm(4, elementwise_affine=False)),
            ("batch_norm2d", nn.BatchNorm2d(4)), ("batch_norm2d_plain", nn.BatchNorm2d(4, affine=False))]:
        layer(name, module, image())


def batch_norm_steps():
    """Running statistics over three batches, and what evaluation makes of a fourth."""
    m = nn.BatchNorm2d(3, momentum=0.3)
    for i in range(3):
        x = short(2, 3, 2, 2)
        put(f"steps.{i}.x", x)
        put(f"steps.{i}.y", m(x))
        put(f"steps.{i}.mean", m.running_mean)
        put(f"steps.{i}.var", m.running_var)
    m.eval()
    x = short(1, 3, 1, 2)
    put("steps.eval.x", x)
    put("steps.eval.y", m(x))
    put("steps.eval.count", m.num_batches_tracked)


def lines():
    """1-D layers, instance norm, padding; and the names and shapes of the first ones' state."""
    for name, module in [
            ("conv1d", nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)),
            ("conv1d_plain", nn.Conv1d(4, 2, 4, bias=False)),
            ("conv_transpose1d", nn.ConvTranspose1d(4, 6, 3, stride=3, padding=1, output_padding=2, groups=2)),
            ("conv_transpose1d_plain", nn.ConvTranspose1d(4, 3, 2, dilation=3, bias=False)),
            ("max_pool1d", nn.MaxPool1d(3, 2, 1)), ("max_pool1d_apart", nn.MaxPool1d(2, 1, dilation=3, ceil_mode=True)),
            ("avg_pool1d", nn.AvgPool1d(4, 3, 2, count_include_pad=False)), ("batch_norm1d", nn.BatchNorm1d(4)),
            ("instance_norm1d", nn.InstanceNorm1d(4, affine=True))]:
        layer(name, module, short(2, 4, 9))
    layer("batch_norm1d_rows", nn.BatchNorm1d(4), short(5, 4))
    for name, module in [("instance_norm", nn.InstanceNorm2d(4)), ("instance_norm_affine", nn.InstanceNorm2d(4, affine=True)),
                         ("reflection_pad2d", nn.ReflectionPad2d((1, 2, 2, 0))),
                         ("replication_pad2d", nn.ReplicationPad2d((0, 3, 4, 1)))]:
        layer(name, module, short(2, 4, 3, 4))


layers()
batch_norm_steps()
lines()
layer("relu6", nn.ReLU6(), short(2, 4, 3, 4) * 5)

"""Reference values of layers, losses and optimizers, computed by PyTorch in f64.

    python3 tests/oracle/torch_nn.py > tests/oracle/nn.txt

The tests read nn.txt and do not need PyTorch; run this again (PyTorch 1.13 or newer) only to add cases. Each line is an
array: its name, its rank, its sizes, a colon, and its values in row-major order, which read back exactly.
"""
import torch
import torch.nn as nn

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)


def put(name, t):
    t = torch.as_tensor(t, dtype=torch.float64).detach()
    values = " ".join(repr(v).removesuffix(".0") for v in t.flatten().tolist())
    print(name, t.dim(), *t.shape, ":", values)


def short(*shape):
    """Random values that take few digits to write."""
    return (torch.randn(*shape) * 100).round() / 100


def shorten(module):
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(short(*p.shape))
    return module


def layer(name, module, x):
    """y = module(x), and the gradients of sum(u y)."""
    shorten(module)
    x.requires_grad_()
    y = module(x)
    u = short(*y.shape)
    wanted = [x, *module.parameters()]
    grads = torch.autograd.grad((u * y).sum(), wanted)
    for what, t in zip(["x", "weight", "bias"], wanted):
        put(f"{name}.{what}", t)
    put(f"{name}.u", u)
    put(f"{name}.y", y)
    for what, t in zip(["x", "weight", "bias"], grads):
        put(f"{name}.grad.{what}", t)


def linear_layers():
    layer("linear.0", nn.Linear(5, 3), short(4, 5))
    layer("linear.1", nn.Linear(5, 3, bias=False), short(2, 3, 5))
    layer("linear.2", nn.Linear(4, 2), short(4))


def conv_layer(name, kind, size, N, channels, **options):
    module = kind(*channels, **options)
    out = getattr(module, "output_padding", (0, 0))
    put(f"{name}.options", [*module.stride, *module.dilation, *module.padding, *out, module.groups])
    layer(name, module, short(N, channels[0], *size))


def conv_layers():
    c = nn.Conv2d
    conv_layer("conv2d.0", c, (7, 6), 2, (4, 6), kernel_size=(3, 2), stride=(2, 1), dilation=(1, 2), padding=(1, 0),
               groups=2)
    conv_layer("conv2d.1", c, (6, 8), 1, (3, 6), kernel_size=(2, 3), stride=(1, 3), dilation=(2, 1), padding=(2, 1),
               groups=3)
    conv_layer("conv2d.2", c, (5, 4), 3, (2, 3), kernel_size=1, stride=2, bias=False)
    conv_layer("conv2d.3", c, (8, 8), 2, (1, 2), kernel_size=3, stride=2, padding=1)
    t = nn.ConvTranspose2d
    conv_layer("conv_transpose2d.0", t, (3, 4), 2, (4, 6), kernel_size=(3, 2), stride=(2, 3), dilation=(1, 2),
               padding=(1, 0), output_padding=(1, 2), groups=2)
    # output_padding between stride and dilation; it describes the gradient of no conv2d
    conv_layer("conv_transpose2d.1", t, (4, 3), 1, (2, 3), kernel_size=(2, 3), stride=(1, 2), dilation=(3, 1),
               padding=(0, 2), output_padding=(2, 1))
    conv_layer("conv_transpose2d.2", t, (4, 4), 2, (2, 1), kernel_size=3, stride=2, padding=1, output_padding=1)
    # gaps between the kernels; and depthwise
    conv_layer("conv_transpose2d.3", t, (3, 2), 2, (3, 3), kernel_size=1, stride=2, output_padding=1, groups=3,
               bias=False)
    # without output_padding this image would have -1 rows
    conv_layer("conv_transpose2d.4", t, (1, 3), 1, (2, 2), kernel_size=(2, 3), stride=3, dilation=(2, 1),
               padding=(2, 1), output_padding=(2, 0))


def losses():
    x = torch.tensor([[0, 0, 0, 1, 1, 1, 0.5, 0.25, 1e-3, 0.999],
                      [1e-20, 1e-20, 1e-60, 1e-60, 1 - 2.0**-53, 1 - 2.0**-53, 0.125, 0.75, 0.0625, 0.3]])
    t = torch.tensor([[0, 1, 0.25, 0, 1, 0.75, 0.5, 1, 0, 1],
                      [0, 1, 0, 1, 0, 1, 0.25, 0.5, 1, 0.3]])
    put("losses.x", x)
    put("losses.target", t)
    for name, loss in ("mse", nn.functional.mse_loss), ("bce", nn.functional.binary_cross_entropy):
        x.requires_grad_()
        y = loss(x, t)
        put(f"losses.{name}.y", y)
        put(f"losses.{name}.grad.x", torch.autograd.grad(y, x)[0])


def training():
    """A hundred steps on fixed data: after each, the loss that led to it and all parameters."""
    net = shorten(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1), nn.Sigmoid()))
    start = [p.detach().clone() for p in net.parameters()]
    x, target = short(6, 1, 3, 3), torch.tensor([[0.0], [1], [1], [0], [1], [0]])
    put("training.x", x)
    put("training.target", target)
    put("training.start", torch.cat([p.flatten() for p in start]))
    runs = [("sgd", nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.5)),
            ("momentum", nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
            ("adam", nn.BCELoss(), lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.99)))]
    for name, criterion, make in runs:
        with torch.no_grad():
            for p, s in zip(net.parameters(), start):
                p.copy_(s)
        optimizer = make(net.parameters())
        loss_values, params = [], []
        for _ in range(100):
            optimizer.zero_grad()
            loss = criterion(net(x), target)
            loss.backward()
            optimizer.step()
            loss_values.append(loss.item())
            params.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
        put(f"training.{name}.losses", loss_values)
        put(f"training.{name}.params", torch.stack(params))


linear_layers()
conv_layers()
losses()
training()

"""Reference values of losses, optimizers, learning rates and averages, computed by PyTorch in f64.

    python3 tests/oracle/torch_optim.py > tests/oracle/optim.txt
"""
import torch
import torch.nn.functional as F
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim import lr_scheduler as rates
from torch.optim.swa_utils import AveragedModel

from arrays import gradients, put, short

torch.manual_seed(5)

STEPS = 100


def put12(name, t):
    """12 digits, which is what the tests compare."""
    put(name, [float("%.12g" % v) for v in torch.as_tensor(t).flatten().tolist()])


# ---- losses --------------------------------------------------------------------------------------------------


def bce(x, t, reduction):
    """F.binary_cross_entropy, and the same formula where it has no gradient for the target."""
    y = -(t * torch.log(x) + (1 - t) * torch.log1p(-x))
    y = {"mean": y.mean(), "sum": y.sum(), "none": y}[reduction]
    assert torch.allclose(y, F.binary_cross_entropy(x, t.detach(), reduction=reduction), rtol=1e-14)
    return y


def kl(mean, log_var):
    own = torch.distributions.Normal(mean, torch.exp(log_var / 2))
    return torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(1)


def losses():
    share = lambda *shape: short(*shape, low=0.05, high=0.95)
    for how in "mean", "sum", "none":
        for name, f in [("mse", F.mse_loss), ("l1", F.l1_loss)]:
            gradients(f"{name}.{how}", lambda x, t: f(x, t, reduction=how), short(2, 3), short(2, 3))
        gradients(f"huber.{how}", lambda x, t: F.huber_loss(x, t, reduction=how, delta=0.75), short(2, 4), short(2, 4))
        gradients(f"bce.{how}", lambda x, t: bce(x, t, how), share(2, 3), share(2, 3))
        gradients(f"logits.{how}", lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=how),
                  torch.tensor([[0, 3.5, -20], [-0.25, 30, 1]]), share(2, 3))
        for smoothing in 0, 0.1:
            label = f"{how}.smooth" if smoothing else how
            options = {"reduction": how, "label_smoothing": smoothing}
            gradients(f"numbers.{label}", lambda x: F.cross_entropy(x, torch.tensor([2, 0, 1, 2]), **options), short(4, 3))
            planes = torch.tensor([[[0, 2, 1]], [[1, 1, 3]]])
            gradients(f"planes.{label}", lambda x: F.cross_entropy(x, planes, **options), short(2, 4, 1, 3))
            gradients(f"shares.{label}", lambda x, t: F.cross_entropy(x, t, **options), short(2, 3), share(2, 3))
            gradients(f"share_planes.{label}", lambda x, t: F.cross_entropy(x, t, **options), short(2, 3, 2), share(2, 3, 2))
    gradients("kl", kl, short(3, 4), short(3, 4))


def weighted_losses():
    share = lambda *shape: short(*shape, low=0.05, high=0.95)
    weights = torch.tensor([0.5, 0, 3, 1.25], dtype=torch.float64)
    for how in "mean", "sum", "none":
        for smoothing in 0, 0.1:
            label = f"{how}.weight.smooth" if smoothing else f"{how}.weight"
            options = {"reduction": how, "label_smoothing": smoothing}
            gradients(f"numbers.{label}", lambda x: F.cross_entropy(x, torch.tensor([2, 0, 1, 2]), weights[:3], **options),
                      short(4, 3))
            planes = torch.tensor([[[0, 2, 1]], [[1, 1, 3]]])
            gradients(f"planes.{label}", lambda x: F.cross_entropy(x, planes, weights, **options), short(2, 4, 1, 3))
            gradients(f"shares.{label}", lambda x, t: F.cross_entropy(x, t, weights[:3], **options), short(2, 3),
                      share(2, 3))


# ---- optimizers ----------------------------------------------------------------------------------------------

net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
start = [short(*p.shape, low=-1, high=1) for p in net.parameters()]
x, target = short(5, 2), short(5, 1)


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def trajectory(name, make, norm=0, value=0, schedule=None, decay=0):
    """A hundred steps on fixed data; all parameters after each. With decay, their averages instead."""
    with torch.no_grad():
        for p, s in zip(net.parameters(), start):
            p.copy_(s)
    optimizer = make(net.parameters())
    scheduler = schedule and schedule(optimizer)
    average = decay and AveragedModel(net, avg_fn=lambda a, p, n: decay * a + (1 - decay) * p)
    if average:
        average.update_parameters(net)  # the first call copies
    params, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.mse_loss(net(x), target).backward()
        if norm:
            norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), norm))
        if value:
            torch.nn.utils.clip_grad_value_(net.parameters(), value)
        optimizer.step()
        if scheduler:
            scheduler.step()
        if average:
            average.update_parameters(net)
        params.append(flat(average.module if average else net))
    put12(f"{name}.params", torch.stack(params))
    if norms:
        put12(f"{name}.norms", torch.stack(norms))
        # the bound is met sometimes, not always
        assert 5 < sum(n > norm for n in norms) < STEPS - 5, (name, norms)


def split(params, *options):
    """A group for each parameter."""
    return [{"params": [p], **o} for p, o in zip(params, options)]


def optimizers():
    put("start", torch.cat([s.flatten() for s in start]))
    put("x", x)
    put("target", target)
    trajectory("sgd", lambda p: SGD(p, lr=0.1))
    trajectory("sgd.momentum", lambda p: SGD(p, lr=0.05, momentum=0.9))
    trajectory("sgd.nesterov", lambda p: SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.02))
    trajectory("sgd.dampening", lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01))
    trajectory("adam", lambda p: Adam(p, lr=0.02, betas=(0.8, 0.99)))
    trajectory("adam.decay", lambda p: Adam(p, weight_decay=0.1, lr=0.03))
    trajectory("adam.wgan", lambda p: Adam(p, lr=0.004, betas=(0, 0.9), eps=1e-3))
    trajectory("adamw", lambda p: AdamW(p, lr=0.05))
    trajectory("adamw.decay", lambda p: AdamW(p, lr=0.02, weight_decay=0.5))
    trajectory("rmsprop", lambda p: RMSprop(p, lr=0.01))
    # alpha and lr: so that f32 follows, whatever the order of its sums (see test_optim.c)
    trajectory("rmsprop.centered", lambda p: RMSprop(p, lr=0.005, alpha=0.95, centered=True, eps=1e-4))
    trajectory("rmsprop.momentum", lambda p: RMSprop(p, lr=0.002, momentum=0.7, weight_decay=0.05))
    trajectory("rmsprop.all", lambda p: RMSprop(p, lr=0.001, alpha=0.95, momentum=0.5, centered=True, weight_decay=0.01))
    trajectory("sgd.clip_norm", lambda p: SGD(p, lr=0.1, momentum=0.5, weight_decay=0.01), norm=0.3)
    trajectory("adam.clip_value", lambda p: Adam(p, lr=0.02), value=0.05)
    trajectory("rmsprop.clip_both", lambda p: RMSprop(p, lr=0.01), norm=0.25, value=0.1)
    trajectory("sgd.steps", lambda p: SGD(p, lr=0.2), schedule=lambda o: rates.StepLR(o, 30, gamma=0.5))
    trajectory("adam.warm_cosine", lambda p: Adam(p, lr=0.05), schedule=lambda o: warm_cosine(o))
    # groups: here by the order of the parameters, w0 b0 w2 b2; there by pattern and rank
    trajectory("adamw.groups", lambda p: AdamW(split(p, {}, {"weight_decay": 0}, {"lr": 0.02}, {"lr": 0.02, "weight_decay": 0}),
                                               lr=0.05, weight_decay=0.5))
    trajectory("sgd.groups", lambda p: SGD(split(p, {"weight_decay": 0.3}, {}, {}, {"lr": 0.4}), lr=0.1, momentum=0.5, weight_decay=0.02),
               schedule=lambda o: rates.StepLR(o, 30, gamma=0.5))
    trajectory("adam.groups", lambda p: Adam(split(p, {}, {"weight_decay": 0}, {}, {"weight_decay": 0}), lr=0.03, weight_decay=0.1),
               norm=0.3)
    trajectory("rmsprop.groups", lambda p: RMSprop(split(p, {"lr": 0.001}, {"lr": 0.003}, {}, {"lr": 0.006}), lr=0.002, momentum=0.7,
                                                   weight_decay=0.05))
    trajectory("adam.ema", lambda p: Adam(p, lr=0.03), decay=0.9)


def dice(x, t, reduction):
    """The formula of V-Net with MONAI's smoothing: torch has none."""
    y = 1 - (2 * (x * t).flatten(2).sum(2) + 0.5) / ((x * x).flatten(2).sum(2) + (t * t).flatten(2).sum(2) + 0.5)
    return {"mean": y.mean(), "sum": y.sum(), "none": y}[reduction]


def dices():
    share = lambda *shape: short(*shape, low=0.05, high=0.95)
    for how in "mean", "sum", "none":
        gradients(f"dice.{how}", lambda x, t: dice(x, t, how), share(2, 3, 2, 2), share(2, 3, 2, 2))


# ---- learning rates ------------------------------------------------------------------------------------------


def warm_cosine(o):
    warm = rates.LinearLR(o, start_factor=0.1, total_iters=20)
    return rates.SequentialLR(o, [warm, rates.CosineAnnealingLR(o, 80, eta_min=0.001)], [20])


def lr_over_time(name, base, make, count):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler, found = make(optimizer), []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    put(name, found)


def schedules():
    lr_over_time("rate.steps", 0.5, lambda o: rates.StepLR(o, 7, gamma=0.3), 40)
    lr_over_time("rate.cosine", 0.5, lambda o: rates.CosineAnnealingLR(o, 30, eta_min=0.02), 31)
    lr_over_time("rate.warmup", 0.5, lambda o: rates.LinearLR(o, total_iters=12), 20)
    lr_over_time("rate.warm_cosine", 0.05, warm_cosine, 101)
    lr_over_time("rate.warm_steps", 0.1, lambda o: rates.SequentialLR(
        o, [rates.LinearLR(o, start_factor=0.25, total_iters=5), rates.StepLR(o, 10)], [5]), 50)


def plateau(name, metrics, **options):
    """The metric of each call, and the rate after it."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler, found = rates.ReduceLROnPlateau(optimizer, **options), []
    for m in metrics:
        scheduler.step(m)
        found.append(optimizer.param_groups[0]["lr"])
    put(f"{name}.metrics", metrics)
    put(f"{name}.rates", found)


def plateaus():
    falling = [1 / (1 + 0.3 * k) if k < 12 else 0.2174 for k in range(60)]
    noisy = short(80, low=0, high=1).tolist()
    plateau("plateau.default", falling)
    plateau("plateau.max", noisy, mode="max", factor=0.5, patience=3)
    plateau("plateau.min", noisy, factor=0.5, patience=2, cooldown=4, min_lr=0.03)
    plateau("plateau.threshold", [1 - 0.004 * k for k in range(60)], threshold=0.05, patience=5, factor=0.3)
    plateau("plateau.negative", [-1 - 0.01 * (k // 4) for k in range(40)], patience=2, factor=0.7)
    plateau("plateau.broken", [float("nan"), float("inf"), 3, 2, float("nan"), 2, 2, 2, 1, float("nan")] * 3, patience=1)
    plateau("plateau.tiny", [1] * 40, patience=1, factor=0.05)


losses()
optimizers()
schedules()
plateaus()
dices()
weighted_losses()

"""The autoencoder and the classifier in PyTorch: takes parameters over from the C programs, or makes some for them.

    python3 pytorch.py test autoencoder FILE.safetensors     # the same test loss as the program that wrote it
    python3 pytorch.py test classifier FILE.safetensors      # the same accuracy
    python3 pytorch.py train autoencoder FILE.safetensors    # an epoch in PyTorch; then: autoencoder --load FILE.safetensors
    python3 pytorch.py train classifier FILE.safetensors 3   # the program's whole recipe, with seed 3 (default 0)

Needs torch, numpy and Fashion-MNIST (Debian: python3-torch, dataset-fashion-mnist). safetensors.torch.load_file reads the files,
too; this reads and writes the format by its specification, to need nothing else.
"""
import copy
import gzip
import json
import math
import sys

import numpy as np
import torch
import torch.nn as nn

DATA = "/usr/share/datasets/fashion-mnist"


def images(name):
    raw = gzip.open(f"{DATA}/{name}-images-idx3-ubyte.gz").read()
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32) / 255)


def labels(name):
    return torch.from_numpy(np.frombuffer(gzip.open(f"{DATA}/{name}-labels-idx1-ubyte.gz").read(), np.uint8, offset=8).copy())


def autoencoder():
    encoder = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
                            nn.Linear(32 * 7 * 7, 32))
    decoder = nn.Sequential(nn.Linear(32, 32 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)),
                            nn.ConvTranspose2d(32, 16, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 3, 2, 1, 1),
                            nn.Sigmoid())
    return nn.Sequential(encoder, decoder)


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c))

    def forward(self, x):
        return torch.relu(x + self.body(x))


def classifier():
    return nn.Sequential(nn.Conv2d(1, 24, 3, 1, 1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(24), nn.ReLU(), Residual(24),
                         nn.Conv2d(24, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), Residual(64), Residual(64),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10))


def read(path):
    data = open(path, "rb").read()
    n = int.from_bytes(data[:8], "little")
    types = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
    found = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            values = np.frombuffer(data[8 + n + begin:8 + n + end], types[t["dtype"]]).reshape(t["shape"])
            found[name] = torch.from_numpy(values.copy())
    return found


def write(path, state):
    header, body = {}, b""
    for name, t in state.items():
        raw = t.detach().numpy().tobytes()
        kind = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}[t.dtype]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(len(text).to_bytes(8, "little") + text + body)


def test(kind, net):
    net.eval()
    x, y, loss, right = images("t10k"), labels("t10k"), 0.0, 0
    with torch.no_grad():
        for i in range(0, len(x), 250):
            out = net(x[i:i + 250])
            if kind == "autoencoder":
                loss += nn.functional.mse_loss(out, x[i:i + 250]).item() * 250
            else:
                loss += nn.functional.cross_entropy(out, y[i:i + 250].long()).item() * 250
                right += (out.argmax(1) == y[i:i + 250]).sum().item()
    print(f"PyTorch: test loss {loss / len(x):.6f}" + (f", accuracy {right / len(x):.4f}" if right else ""))


def train_autoencoder(net):
    x = images("train")
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    for index in torch.randperm(len(x)).split(64):
        loss = nn.functional.mse_loss(net(x[index]), x[index])
        adam.zero_grad()
        loss.backward()
        adam.step()


def flip_and_shift(x):
    """Half of the images mirrored, each shifted by at most a pixel along both axes."""
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    rows = torch.arange(28) + torch.randint(3, (len(x), 1))
    cols = torch.arange(28) + torch.randint(3, (len(x), 1))
    return nn.functional.pad(x, (1, 1, 1, 1))[torch.arange(len(x))[:, None, None], 0, rows[:, :, None], cols[:, None, :]][:, None]


def train_classifier(net, epochs=20, rate=8e-3):
    """Returns the averaged network. The recipe is that of classifier.c."""
    x, y, average = images("train"), labels("train").long(), copy.deepcopy(net)
    adamw = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.1)
    batches, t = len(x) // 128, 0
    warm = batches // 2
    for _ in range(epochs):
        for index in torch.randperm(len(x))[:128 * batches].split(128):
            along = (t - warm) / (epochs * batches - warm)
            growth = 1 / 3 + 2 / 3 * t / warm
            adamw.param_groups[0]["lr"] = rate * (growth if t < warm else (1 + math.cos(math.pi * along)) / 2)
            loss = nn.functional.cross_entropy(net(flip_and_shift(x[index])), y[index], label_smoothing=0.1)
            adamw.zero_grad()
            loss.backward()
            adamw.step()
            with torch.no_grad():
                for a, p in zip(average.parameters(), net.parameters()):
                    a.lerp_(p, 0.01)
                for a, p in zip(average.buffers(), net.buffers()):
                    a.copy_(p)
            t += 1
    return average


if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("test", "train") or sys.argv[2] not in ("autoencoder", "classifier"):
    sys.exit(__doc__)
torch.manual_seed(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
model = autoencoder() if sys.argv[2] == "autoencoder" else classifier()
if sys.argv[1] == "train":
    if sys.argv[2] == "classifier":
        model = train_classifier(model)
    else:
        train_autoencoder(model)
    write(sys.argv[3], model.state_dict())
else:
    model.load_state_dict(read(sys.argv[3]))
test(sys.argv[2], model)

"""The other side of torch-files.sh: the same network in PyTorch, and safetensors files read and written by their specification.

    torch_files.py compare FILE OUTPUT      loads FILE, and compares what it makes of input.npy with OUTPUT
    torch_files.py make FILE                writes a network of its own to FILE, and what it makes of input.npy to expected.npy
    torch_files.py half FILE                the same in half precision, F16 and BF16 by turns, as a part of a larger model
    torch_files.py save FILE                writes it by torch.save
    torch_files.py match OUTPUT             compares OUTPUT with expected.npy
"""
import json
import sys

import numpy as np
import torch
import torch.nn as nn

TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}


def read(path):
    """https://github.com/huggingface/safetensors#format"""
    data = open(path, "rb").read()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    tensors = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        values = np.frombuffer(data[8 + n + begin:8 + n + end], TYPES[t["dtype"]]).reshape(t["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def write(path, tensors):
    header, body = {}, b""
    for name, t in tensors.items():
        kind = {"float32": "F32", "float64": "F64", "int64": "I64", "float16": "F16", "bfloat16": "BF16"}[str(t.dtype)[6:]]
        bits = t.detach().contiguous().reshape(-1).view(torch.int16) if kind in ("F16", "BF16") else t.detach()
        bytes_ = np.ascontiguousarray(bits.numpy()).tobytes()
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [len(body), len(body) + len(bytes_)]}
        body += bytes_
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(len(text).to_bytes(8, "little") + text + body)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.PReLU(8), nn.MaxPool2d(2),
        nn.Sequential(nn.ConvTranspose2d(8, 4, (3, 2), (2, 3), (1, 0), (1, 2), groups=2), nn.GELU(), nn.GroupNorm(2, 4)),
        nn.Flatten(), nn.Linear(4 * 14 * 22, 5), nn.LayerNorm(5))


def expect(found, right):
    error = np.abs(found - right).max() / max(1, np.abs(right).max())
    print(f"largest difference {error:.2e}")
    sys.exit(0 if error <= 1e-6 else 1)


torch.manual_seed(9)
net = network()
x = torch.from_numpy(np.load("input.npy"))
if sys.argv[1] == "compare":
    net.load_state_dict(read(sys.argv[2]))
    expect(net.eval()(x).detach().numpy(), np.load(sys.argv[3]))
elif sys.argv[1] == "make":
    for _ in range(2):
        net(x * 2 - 0.5)
    write(sys.argv[2], net.state_dict())
    np.save("expected.npy", net.eval()(x).detach().numpy())
elif sys.argv[1] == "half":
    state, larger = net.state_dict(), {"model.position_ids": torch.arange(3), "head.weight": torch.ones(2, 2)}
    for i, (name, t) in enumerate(state.items()):
        if t.dtype == torch.float32:
            half = t.to([torch.float16, torch.bfloat16][i % 2])
            state[name] = half.float()
        larger["model." + name] = half if t.dtype == torch.float32 else t
    net.load_state_dict(state)
    write(sys.argv[2], larger)
    np.save("expected.npy", net.eval()(x).detach().numpy())
elif sys.argv[1] == "save":
    torch.save(net.state_dict(), sys.argv[2], _use_new_zipfile_serialization="old" not in sys.argv[2])
else:
    expect(np.load(sys.argv[2]), np.load("expected.npy"))

"""Convolution layers of the ONNX project's own test data: every small model of one Conv or ConvTranspose on images.

    apt-get install libonnx-testdata
    python3 tests/oracle/frameworks_vectors.py /usr/share/libonnx-testdata/data > tests/oracle/frameworks_vectors.txt

The models are protocol buffers (onnx.proto); this reads the few fields that such a model has.
"""
import math
import pathlib
import struct
import sys

import fixture


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """Pairs of field number and value: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size, at = {1: (8, at), 5: (4, at)}.get(key & 7) or varint(data, at)
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def every(data, number):
    return [value for field, value in fields(data) if field == number]


def whole_numbers(values):
    """A repeated int64, packed or not."""
    out = []
    for v in values:
        at = 0
        while isinstance(v, bytes) and at < len(v):
            one, at = varint(v, at)
            out.append(one)
        if not isinstance(v, bytes):
            out.append(v)
    return [v - 2**64 if v >= 2**63 else v for v in out]


def tensor(data):
    """Name, shape and values; None for values that are not f32."""
    shape = whole_numbers(every(data, 1))
    raw = b"".join(every(data, 4) + every(data, 9))
    values = None
    if every(data, 2) == [1] and len(raw) == 4 * math.prod(shape):
        values = struct.unpack(f"<{len(raw) // 4}f", raw)
    return b"".join(every(data, 8)).decode(), shape, values


def attributes(node):
    out = {}
    for a in every(node, 5):
        name, = every(a, 1)
        text, one = every(a, 4), every(a, 3)
        out[name.decode()] = text[0].decode() if text else one[0] if one else whole_numbers(every(a, 8))
    return out


def read(folder):
    """Operator, attributes, arrays; None for another model, and for a large one."""
    graph, = every((folder / "model.onnx").read_bytes(), 7)
    nodes = every(graph, 1)
    operator = every(nodes[0], 4)[0].decode()
    if len(nodes) != 1 or operator not in ("Conv", "ConvTranspose"):
        return None
    known = {name: (shape, values) for name, shape, values in map(tensor, every(graph, 5))}
    given = [every(v, 1)[0].decode() for v in every(graph, 11)]
    for i, name in enumerate(n for n in given if n not in known):
        known[name] = tensor((folder / f"test_data_set_0/input_{i}.pb").read_bytes())[1:]
    arrays = dict(zip("xwb", (known[name.decode()] for name in every(nodes[0], 1))))
    arrays["y"] = tensor((folder / "test_data_set_0/output_0.pb").read_bytes())[1:]
    if len(arrays["x"][0]) != 4 or any(values is None or len(values) > 2000 for _, values in arrays.values()):
        return None
    return operator, attributes(nodes[0]), arrays


def put(name, operator, a, arrays):
    padding = {"NOTSET": "explicit"}.get(a.get("auto_pad", "NOTSET"), a.get("auto_pad", "").lower())
    fixture.case(name, "onnx", operator == "ConvTranspose", arrays["x"][0], arrays["w"][0], True, type="f32",
                 whole=all(v == int(v) for _, values in arrays.values() for v in values), bias="b" in arrays,
                 stride=a.get("strides", (1, 1)), dilation=a.get("dilations", (1, 1)), groups=a.get("group", 1),
                 padding=padding, pads=a.get("pads", (0, 0, 0, 0)), output_padding=a.get("output_padding"),
                 output_size=a.get("output_shape"))
    for what, (shape, values) in arrays.items():
        fixture.array(what, shape, [float(f"{v:.8g}") for v in values])


for path in sorted(pathlib.Path(sys.argv[1]).glob("*/*onv*/model.onnx")):
    found = read(path.parent)
    if found is not None:
        put(path.parent.name, *found)
    else:
        print("left out:", path.parent.name, file=sys.stderr)

#!/usr/bin/env python3
"""Make the seeds of the fuzz targets: corpus/TARGET/seed-*, small files that a fuzzer begins with.

usage: python3 tests/fuzz/seeds.py [FOLDER]

FOLDER is the place of the corpora, by default corpus/ beside this script. Files that fuzzing has found (other names) are
left alone. Needs nothing but Python; packed bytes may differ with another zlib, which does not matter.
"""
import gzip
import io
import json
import os
import struct
import sys
import zipfile
import zlib

# ---- csv ----


def csv_seeds():
    yield "plain", b"\0" + b"1,2\n3,4\n"
    yield "header", b"\4" + b"a;b;c\r\n1;2.5;-3e-4\r\n\r\n"
    yield "quotes", b"\2" + b'\xef\xbb\xbf"a, b"\t"b"\tc\n1\t"2"\t 3 '
    yield "but", b"\3" + b"name,x,y\nAnna,1,2\nOtto,3,4\n"
    yield "missing", b"\0" + b"1,2\n,4\n"
    yield "ragged", b"\0" + b"1,2\n3\n"
    yield "quote-open", b'\0' + b'1,"2\n3,4\n'
    yield "huge", b"\7" + b"1e999\n"


# ---- npy and npz ----


def npy(descr, shape, data, fortran=False, version=1, header=None):
    text = header or "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)
    text = text.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def npy_seeds():
    f4, f8 = struct.pack("<6f", 1, 2, 3, 4, -0.0, 6e-40), struct.pack(">4d", 1, 2, 3, 4)
    yield "matrix", npy("<f4", (2, 3), f4)
    yield "fortran", npy("<f4", (2, 3), f4, fortran=True)
    yield "swapped", npy(">f8", (4,), f8, version=2)
    yield "scalar", npy("<f8", (), f8[:8], version=3)
    yield "empty", npy("<f4", (0, 7), b"")
    yield "integers", npy("<i4", (6,), f4)
    yield "long", npy(">u8", (4,), f8, fortran=True)
    yield "bool", npy("|b1", (2, 3), bytes(6))
    yield "rank-8", npy("<f4", (1, 1, 2, 1, 3, 1, 1, 1), f4, fortran=True)
    yield "keys", npy("", "", f4, header='{"shape":(6,),"fortran_order":False,"descr":"<f4"}')
    yield "huge", npy("<f4", (1 << 40, 1 << 40), f4)
    yield "structure", npy("", "", f4, header="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}")


def npz(packing, **arrays):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as z:
        for name, data in arrays.items():
            z.writestr(zipfile.ZipInfo(name), data, packing)
    return out.getvalue()


def npz_seeds():
    array = npy("<f4", (2, 2), struct.pack("<4f", 1, 2, 3, 4))
    yield "stored", npz(zipfile.ZIP_STORED, **{"x.npy": array})
    yield "deflated", npz(zipfile.ZIP_DEFLATED, **{"x.npy": array})
    yield "two", npz(zipfile.ZIP_STORED, **{"x.npy": array, "b": array})
    yield "empty", npz(zipfile.ZIP_STORED)
    yield "zeros", npz(zipfile.ZIP_DEFLATED, **{"x.npy": npy("<f8", (64, 64), bytes(64 * 64 * 8))})
    yield "lzma", npz(zipfile.ZIP_LZMA, **{"x.npy": array})
    yield "control-name", npz(zipfile.ZIP_STORED, **{"a\nb.npy": array})


# ---- IDX: two bytes for the place of the labels, images, labels ----


def idx(kind, sizes, data):
    return struct.pack(">HBB", 0, kind, len(sizes)) + b"".join(struct.pack(">I", n) for n in sizes) + data


def idx_input(images, labels=None):
    end = 0xFFFF if labels is None else len(images)
    return struct.pack(">H", end) + images + (labels or b"")


def idx_seeds():
    images, labels = idx(8, (2, 2, 3), bytes(range(12))), idx(8, (2,), b"\1\4")
    packed = gzip.compress(images, mtime=0)
    yield "images", idx_input(images)
    yield "labels", idx_input(images, labels)
    yield "packed", idx_input(packed)
    yield "packed-labels", idx_input(packed, gzip.compress(labels, mtime=0))
    yield "packed-zeros", idx_input(gzip.compress(idx(8, (40, 28, 28), bytes(40 * 28 * 28)), mtime=0))
    yield "packed-huge", idx_input(gzip.compress(idx(8, (0xFFFF, 0xFFFF, 2), bytes(99)), mtime=0))
    yield "two-members", idx_input(gzip.compress(images[:10], mtime=0) + gzip.compress(images[10:], mtime=0))
    yield "short", idx_input(images[:-1])
    yield "floats", idx_input(idx(13, (1, 1, 1), bytes(4)))


# ---- PNG ----


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, between=b"", interlace=0, rows=None):
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = (width * samples * depth + 7) // 8
    if rows is None:
        rows = b"".join(bytes([h % 5]) + bytes((h * 31 + i * 7) & 255 for i in range(row)) for h in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + between + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def png_seeds():
    palette = chunk(b"PLTE", bytes(range(12)))
    yield "grey", png(5, 3, 8, 0)
    yield "bits", png(11, 2, 1, 0)
    yield "rgb", png(4, 3, 8, 2)
    yield "rgb-16", png(3, 2, 16, 2)
    yield "palette", png(6, 2, 2, 3, palette)
    yield "palette-alpha", png(6, 2, 2, 3, palette + chunk(b"tRNS", b"\0\x80"))
    yield "grey-alpha", png(3, 3, 8, 4)
    yield "rgba", png(2, 2, 16, 6)
    yield "transparent-colour", png(4, 4, 8, 0, chunk(b"tRNS", b"\0\7"))
    yield "gamma", png(3, 3, 8, 0, chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"tEXt", b"Title\0a"))
    yield "interlaced", png(8, 8, 8, 0, interlace=1, rows=bytes(1000))
    yield "huge", png(40000, 40000, 1, 0, rows=bytes(99))


# ---- safetensors ----


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, kind, shape, values in tensors:
        begin, data = len(data), data + values
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def floats(*values):
    return struct.pack("<%df" % len(values), *values)


def safetensors_seeds():
    """Of the network in fuzz_safetensors.c."""
    net = [
        ("0.weight", "F32", [2, 1, 1, 2], floats(1, 2, 3, 4)),
        ("0.bias", "F32", [2], floats(5, 6)),
        ("1.weight", "F32", [2], floats(1, 1)),
        ("1.bias", "F32", [2], floats(0, -0.0)),
        ("1.running_mean", "F32", [2], floats(0, 0)),
        ("1.running_var", "F32", [2], floats(1, 1)),
        ("1.num_batches_tracked", "I64", [], struct.pack("<q", 9)),
        ("2.weight", "F64", [1, 2], struct.pack("<2d", 1, 2)),
    ]
    yield "all", safetensors(net)
    yield "metadata", safetensors(net[::-1], {"format": "pt", "caf\u00e9": "\u20ac"})
    yield "without-batches", safetensors(net[:6] + net[7:])
    yield "missing", safetensors(net[:5])
    yield "half", safetensors([("0.weight", "BF16", [2, 1, 1, 2], bytes(8)), ("0.bias", "F16", [2], b"\0\x3c\1\0")] + net[2:])
    yield "type", safetensors([("0.weight", "I32", [2, 1, 1, 2], bytes(16))] + net[1:])
    yield "more", safetensors([("0.ids", "I64", [1], bytes(8))] + net[:5] + [("x", "F8_E4M3", [3], bytes(3))])
    yield "large-count", safetensors(net[:6] + [net[6][:3] + (struct.pack("<q", 1 << 60),)] + net[7:])
    yield "empty", safetensors([])
    yield "deep", struct.pack("<Q", 400) + b'{"a":' + b"[" * 395


def checkpoint_seeds():
    """Of the run in fuzz_checkpoint.c."""
    state = [("weight", [1, 2], floats(1, 2)), ("bias", [1], floats(3))]
    run = [("net." + n, "F32", s, v) for n, s, v in state]
    run += [("net.ema." + n, "F32", s, v) for n, s, v in state]
    run += [("net.optimizer.%s.%s" % (n, k), "F32", s, v) for n, s, v in state for k in ("exp_avg", "exp_avg_sq")]
    texts = {
        "pleat.parts": "net, net.optimizer, net.ema",
        "pleat.rng": "3 0 7 1 2 3 4 4",
        "pleat.optimizer.net": "0.25 3 3",
        "note.options": "--lr 1",
        "note.epoch": "2",
    }
    history = [("history", "F64", [2, 2], struct.pack("<4d", 1, 2, 3, 4))]
    yield "all", safetensors(run + history, texts)
    yield "without-history", safetensors(run, texts)
    yield "empty-history", safetensors(run + [("history", "F64", [0, 5], b"")], texts)
    yield "other-options", safetensors(run, dict(texts, **{"note.options": "--lr 2"}))
    yield "other-parts", safetensors(run, dict(texts, **{"pleat.parts": "critic"}))
    yield "steps", safetensors(run, dict(texts, **{"pleat.optimizer.net": "0.25 3 -1"}))
    yield "infinite-rate", safetensors(run, dict(texts, **{"pleat.optimizer.net": "inf 3 3"}))
    yield "long-note", safetensors(run, dict(texts, **{"note.epoch": "x" * 1024}))
    yield "long-options", safetensors(run, dict(texts, **{"note.options": "--lr 1" + "y" * 300}))


# ---- layers: bytes as fuzz_layer.c reads them ----


def layer(framework, transpose, padding, sizes, options=0, groups=1, channels_last=0):
    """sizes: (stride, dilation, before, after, in, kernel, output padding, output size) along H, then along W."""
    out = bytes([framework, transpose, padding, options, channels_last, 0, groups])
    for axis in sizes:
        out += bytes(axis)
    return out


def layer_seeds():
    one, two = (1, 1, 0, 0, 5, 3, 0, 0), (2, 1, 1, 1, 4, 3, 1, 0)
    for f, name in enumerate(("torch", "tensorflow", "onnx", "keras")):
        for padding in range(5):
            for transpose in range(2):
                pads = (0,) * 2 if padding else (1, 1)
                a = two[:2] + pads + two[4:6] + (1 if f != 1 else 0, 0)
                options = transpose if f != 1 else 0
                if not transpose:
                    a = a[:6] + (0, 0)
                yield "%s-%d-%d" % (name, padding, transpose), layer(f, transpose, padding, (a, one), options)
    size = (2, 1, 0, 0, 4, 3, 0, 8)
    yield "output-size", layer(1, 1, 2, (size, size), 2)
    yield "groups", layer(0, 0, 0, (two[:6] + (0, 0), one), 0, 2)
    yield "edges", layer(0, 1, 0, ((250,) * 8, (255,) * 8), 0)


# ---- convolutions: bytes as fuzz_conv.c reads them ----


def conv(batch, groups, per_group, axes, flags=(0, 0), seed=7):
    """axes: (image, map, kernel, stride, dilation, pad + 8) along H, then along W."""
    out = bytes([flags[0], flags[1], batch, groups - 1, per_group[0] - 1, per_group[1] - 1])
    for image, size, kernel, stride, dilation, pad in axes:
        out += bytes([image - 1, size - 1, kernel - 1, stride - 1, dilation - 1, pad + 8])
    return out + bytes([seed])


def conv_seeds():
    same, half, dense = (7, 7, 3, 1, 1, 1), (8, 4, 4, 2, 1, 1), (4, 1, 4, 1, 1, 0)
    gaps, long, cropped = (11, 3, 2, 4, 1, 0), (40, 5, 16, 8, 1, 4), (9, 4, 3, 2, 1, -1)
    cases = {
        "one": (1, 1, (1, 1), ((1, 1, 1, 1, 1, 0),) * 2),
        "same": (2, 1, (3, 2), (same, same)),
        "half": (1, 1, (2, 3), (half, same)),
        "depthwise": (1, 6, (1, 2), (half, half)),
        "groups": (2, 2, (3, 2), (same, gaps)),
        "dense": (2, 1, (5, 7), (dense, dense)),
        "gaps": (1, 1, (2, 3), (gaps, gaps)),
        "long": (1, 1, (2, 2), (same, long)),
        "cropped": (1, 1, (2, 2), (cropped, half)),
        "channels": (1, 1, (16, 16), (same, same)),
        "wide": (1, 1, (1, 1), ((48, 48, 3, 1, 1, 1), (48, 48, 3, 1, 1, 1))),
        "empty": (0, 1, (2, 2), (same, same)),
    }
    for name, case in cases.items():
        for op in range(3):
            yield "%s-%d" % (name, op), conv(*case, flags=(op, (3, 0, 12)[op]))


# ---- graphs: bytes as fuzz_ops.c reads them ----


def ops_seeds():
    for kind in range(60):
        yield "%02d" % kind, bytes([0, 1, kind, 4, 1, 2, 3, 4, kind] + [(kind * 7 + i * 5) & 63 for i in range(40)])
        yield "real-%02d" % kind, bytes([1, 1, 9 + kind, 4, 2, 2, 4, 5, kind] + [(kind + i * 11) & 63 for i in range(40)])


# ---- words of the program deconv ----


def words_seeds():
    lines = [
        "--from torch --kernel 3 --stride 2 --padding 1 --output-padding 1 --input-size 7",
        "--from torch --op conv --kernel 3,2 --padding same --input-size 5,4 --groups 2",
        "--from tensorflow --kernel 4 --strides 2 --padding SAME --output-shape 8 --input-size 4",
        "--from tensorflow --padding 1,1,0,2 --strides 2,2 --kernel 3 --input-size 6 --data-format NCHW",
        "--from onnx --kernel 3 --strides 2 --pads 1,0,1,2 --output-padding 1 --input-size 5 --group 1",
        "--from onnx --op conv --kernel 3 --strides 3,2 --auto-pad SAME_LOWER --input-size 7",
        "--from keras --kernel 2 --strides 3 --padding same --output-padding=1 --input-size 4",
        "--from keras --op conv --kernel 3 --padding valid --dilation-rate 2 --input-size 9 --channels 3,4",
        "--from keras --output-size 9",
        "--kernel 99999999999999999999 --input-size 1",
        "--stride 9223372036854775807 --kernel 3 --input-size 3",
    ]
    for i, line in enumerate(lines):
        yield "%02d" % i, line.replace(" ", "\n").encode()


# ---- onnx ----


def varint(v):
    v &= (1 << 64) - 1
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def field(number, value):
    """A field of protobuf: a whole number, a float, a text or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_node(op, inputs, outputs, **attributes):
    out = b"".join(field(1, i) for i in inputs.split()) + b"".join(field(2, o) for o in outputs.split()) + field(4, op)
    for name, v in attributes.items():
        kind, value = (2, field(3, v)) if isinstance(v, int) else (1, field(2, v)) if isinstance(v, float) else (3, field(4, v)) if isinstance(v, str) else (
            7, b"".join(field(8, i) for i in v))
        out += field(5, field(1, name) + value + field(20, kind))
    return field(1, out)


def onnx_tensor(name, kind, dims, data):
    return field(5, b"".join(field(1, d) for d in dims) + field(2, kind) + field(8, name) + field(9, data))


def onnx_value(number, name, kind, dims):
    shape = b"".join(field(1, field(1, d) if d >= 0 else field(2, "N")) for d in dims)
    return field(number, field(1, name) + field(2, field(1, field(1, kind) + field(2, shape))))


def onnx_model(*parts, opset=13):
    return field(7, b"".join(parts)) + field(8, field(2, opset))


def onnx_seeds():
    x, y = onnx_value(11, "x", 1, (-1, 1, 4, 4)), onnx_value(12, "y", 1, ())
    floats = lambda n: struct.pack("<%df" % n, *[i / 8 - 1 for i in range(n)])
    longs = lambda *v: struct.pack("<%dq" % len(v), *v)
    w = onnx_tensor("a.w", 1, (2, 1, 3, 3), floats(18))
    yield "conv", onnx_model(w, onnx_node("Conv", "x a.w", "h", pads=(1, 1, 1, 1), strides=(2, 1)), onnx_node("Relu", "h", "y"), x, y)
    yield "transpose", onnx_model(w, onnx_node("ConvTranspose", "x w", "y", output_shape=(9, 8), strides=(2, 2)), onnx_tensor("w", 1, (1, 2, 2, 2), floats(8)), x, y)
    yield "pools", onnx_model(onnx_node("MaxPool", "x", "h", kernel_shape=(3, 2), auto_pad="SAME_LOWER"),
                              onnx_node("AveragePool", "h", "y", kernel_shape=(2, 2), pads=(0, 1, 1, 0), ceil_mode=1), x, y)
    yield "shapes", onnx_model(onnx_node("Shape", "x", "s"), onnx_tensor("i", 7, (1,), longs(0)), onnx_node("Gather", "s i", "n"), onnx_tensor("r", 7, (1,), longs(-1)),
                               onnx_node("Concat", "n r", "t", axis=0), onnx_node("Reshape", "x t", "y"), x, y)
    yield "slice", onnx_model(onnx_tensor("b", 7, (1,), longs(-1)), onnx_tensor("e", 7, (1,), longs(-2 ** 63)), onnx_tensor("k", 7, (1,), longs(3)),
                              onnx_node("Slice", "x b e k b", "h"), onnx_node("Softmax", "h", "y", axis=-1), x, y)
    yield "resize", onnx_model(onnx_tensor("s", 1, (4,), struct.pack("<4f", 1, 1, 1.5, 2)), onnx_node("Resize", "x  s".replace("  ", " x "), "y", mode="cubic"), x, y)
    yield "norm", onnx_model(onnx_tensor("w", 1, (1,), floats(1)), onnx_node("BatchNormalization", "x w w w w", "h", epsilon=0.1), onnx_node("LRN", "h", "y", size=3), x, y)
    yield "dense", onnx_model(onnx_node("Flatten", "x", "f"), onnx_tensor("w", 1, (3, 16), floats(48)), onnx_node("Gemm", "f w", "h", transB=1, alpha=0.5),
                              onnx_node("ReduceL2", "h", "y", axes=(1,), keepdims=0), x, y, opset=11)
    yield "pad", onnx_model(onnx_node("Pad", "x", "y", mode="reflect", pads=(0, 0, 1, 2, 0, 0, 3, -1)), x, y, opset=10)
    yield "fold", onnx_model(onnx_tensor("s", 7, (2,), longs(1 << 20, 1 << 20)), onnx_node("ConstantOfShape", "s", "c"), onnx_node("Tile", "c s", "y"), y)
    yield "cycle", onnx_model(onnx_node("Relu", "b", "a"), onnx_node("Relu", "a", "b"), y)
    yield "sizes", onnx_model(onnx_tensor("w", 1, (1 << 62, 4), floats(4)), y)
    yield "external", onnx_model(field(5, field(1, 4) + field(2, 1) + field(8, "w") + field(14, 1) + field(13, field(1, "location") + field(2, "../x"))
                                       + field(13, field(1, "offset") + field(2, "-1"))), y)
    yield "types", onnx_model(onnx_tensor("h", 10, (2,), b"\0\x3c\1\0"), onnx_tensor("b", 9, (2,), b"\1\0"), onnx_node("Cast", "h", "d", to=11),
                              onnx_node("Where", "b d d", "y"), y)


TARGETS = {
    "csv": csv_seeds, "npy": npy_seeds, "npz": npz_seeds, "idx": idx_seeds, "png": png_seeds, "safetensors": safetensors_seeds,
    "checkpoint": checkpoint_seeds, "layer": layer_seeds, "conv": conv_seeds, "ops": ops_seeds, "words": words_seeds, "onnx": onnx_seeds,
}


def main():
    if len(sys.argv) > 2 or sys.argv[1:] in (["--help"], ["-h"]):
        print(__doc__.strip())
        return 0 if len(sys.argv) == 2 else 2
    folder = sys.argv[1] if len(sys.argv) == 2 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
    for target, seeds in TARGETS.items():
        place = os.path.join(folder, target)
        os.makedirs(place, exist_ok=True)
        for name in os.listdir(place):
            if name.startswith("seed-"):
                os.remove(os.path.join(place, name))
        for name, data in seeds():
            with open(os.path.join(place, "seed-" + name), "wb") as f:
                f.write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Quantised convolutions as TensorFlow Lite's reference kernels compute them, in Python's whole numbers and numpy's int64.

    deconv_int.py rows > deconv_int.txt     numbers with their multipliers and outputs, which test_quantize reads
    deconv_int.py check FOLDER              computes all layers that `deconv vectors --int8` or --int16 wrote again

Written from the sources of TensorFlow (tensorflow/lite/kernels/internal: quantization_util.cc, common.cc,
reference/integer_ops/conv.h, transpose_conv.h; kernels/kernel_util.cc) and gemmlowp (fixedpoint/fixedpoint.h).
"""
import json
import math
import os
import random
import sys
from fractions import Fraction

import numpy as np

LEAST, MOST = -(1 << 31), (1 << 31) - 1


# ---- the arithmetic ----


def half_away(x):
    """std::round of a fraction."""
    return math.floor(abs(x) + Fraction(1, 2)) * (1 if x >= 0 else -1)


def quantize_multiplier(input_scale, weight_scale, output_scale):
    scale = float(input_scale) * float(weight_scale) / float(output_scale)
    if scale == 0:
        return 0, 0
    q, shift = math.frexp(scale)
    fixed = half_away(Fraction(q) * (1 << 31))
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    return (0, 0) if shift < -31 else (fixed, shift)


def saturating_rounding_doubling_high_mul(a, b):
    if a == b == LEAST:
        return MOST
    ab = a * b
    nudge = 1 << 30 if ab >= 0 else 1 - (1 << 30)
    return int(Fraction(ab + nudge, 1 << 31))  # towards 0, as in C


def rounding_divide_by_pot(x, exponent):
    mask = (1 << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


def fits(x, bits=32):
    return -(1 << (bits - 1)) <= x < 1 << (bits - 1)


def product8(x, multiplier, shift):
    """None where the C would overflow."""
    x <<= max(shift, 0)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(x, multiplier), max(-shift, 0)) if fits(x) else None


def product16(x, multiplier, shift):
    if not (fits(x, 48) and -31 <= shift < 8):
        return None
    reduced = (multiplier + (1 << 15)) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
    total = 15 - shift
    result = (x * reduced + (1 << (total - 1))) >> total
    return result if fits(result) else None


def output(bits, x, multiplier, shift, zero_point, least, most):
    y = (product8 if bits == 8 else product16)(x, multiplier, shift)
    if y is None or not fits(y + zero_point):
        return None
    return min(max(y + zero_point, least), most)


# ---- rows ----


def print_rows(name, rows):
    print(name, 2, len(rows), len(rows[0]), ":", " ".join(repr(float(v)).removesuffix(".0") for row in rows for v in row))


def rows():
    r = random.Random(1)
    scales = [(np.float32(r.uniform(0, 1) ** 8 * 10 ** r.randint(-6, 1)), np.float32(r.uniform(0.001, 1)), np.float32(r.uniform(1e-4, 4)))
              for _ in range(300)]
    one, below = np.float32(1), np.nextafter(np.float32(1), np.float32(0))
    scales += [(one, one, one), (below, one, one), (one, one, below), (np.float32(2) ** -20, np.float32(2) ** -12, one)]
    scales += [(np.float32(2) ** -k, one, one) for k in range(0, 70)] + [(one, one, np.float32(2) ** -k) for k in range(1, 40)]
    # f 2^31 rounds to 2^31, and just not
    scales += [(np.float32(1 - 2 ** -k) * np.float32(e), np.float32(1 + 2 ** -k), one) for k in (16, 17, 18) for e in (1, 2, 0.25, 2 ** -31, 2 ** -32)]
    # 2^31 f is a half, or near it
    scales += [(np.float32(1 + 2 ** -23), np.float32(1 + 2 ** -9), one), (np.float32(2 - 2 ** -23), np.float32(1 + 2 ** -24), one),
               (below, below, one), (below, one, np.float32(1 + 2 ** -23)), (np.float32(1 + 2 ** -8), np.float32(1 - 2 ** -8), one)]
    print_rows("multiplier", [(*map(float, s), *quantize_multiplier(*s)) for s in scales])
    for bits in (8, 16):
        defined, undefined = [], []
        width = 32 if bits == 8 else 48
        edges = [0, 1, -1, 2, -2, 3, -3] + [s * (1 << k) + d for k in (7, 8, 15, 16, 30, width - 2) for s in (1, -1) for d in (-1, 0, 1)]
        edges += [(1 << (width - 1)) - 1, -(1 << (width - 1))]
        mantissas = [0, 1 << 30, (1 << 30) + 1, 3 << 29, 0x7FFEFFFF, 0x7FFF0000, 0x7FFF7FFF, 0x7FFF8000, MOST - 1, MOST]
        cases = [(x, m, s) for x in edges for m in mantissas for s in (-31, -30, -15, -9, -8, -1, 0, 1, 7, 8)]
        for _ in range(4000):
            size = r.randint(1, width - 1)
            cases.append((r.randint(-(1 << size), (1 << size) - 1), r.randint(1 << 30, MOST), r.randint(-31, 7)))
            k = r.randint(1, 20)  # halves in the second rounding
            cases.append((r.choice((1, -1)) * (2 * r.randint(0, 200) + 1) << (k - 1), 1 << 30, 1 - k))
        cases += [(3, 1 << 30, 31), (1, 1 << 30, 30), (1, 1 << 30, 33), (1 << 40, 1 << 30, -20)]
        r.shuffle(cases)
        for x, m, s in cases[:5000]:
            zero = 0 if bits == 16 else r.choice((0, -128, 127, r.randint(-128, 127)))
            least, most = (-128, 127) if bits == 8 else (-32768, 32767)
            if r.randint(0, 4) == 0:
                least, most = max(least, zero), r.randint(zero, most)
            y = output(bits, x, m, s, zero, least, most)
            if y is None:
                undefined.append((x, m, s, zero))
            else:
                defined.append((x, m, s, zero, least, most, y))
        print_rows(f"output{bits}", defined)
        print_rows(f"undefined{bits}", undefined[:300])


# ---- whole layers ----


def to_images(case, a):
    return a.transpose(0, 3, 1, 2) if case["arguments"].get("data_format") in ("NHWC", "channels_last") else a


def to_weights(case, w):
    """[channels of the map, channels of the image / groups, kh, kw]"""
    return w.transpose(3, 2, 0, 1) if case["framework"] in ("tensorflow", "keras") else w


def pair(case, *words):
    return next(case["arguments"][w] for w in words if w in case["arguments"])


def sums(case, x, w, bias):
    """x [N,C,..] and w [map,image/groups,..] in int64."""
    transpose = case["op"] == "conv_transpose"
    (sh, sw), (dh, dw) = pair(case, "stride", "strides"), pair(case, "dilation", "dilations", "dilation_rate")
    (top, left), (H, W) = case["crop"], case["output_size"]
    groups = (x.shape[1] // w.shape[0] * 1 if transpose else x.shape[1] // w.shape[1])
    if transpose:
        groups = case["arguments"].get("groups", case["arguments"].get("group", 1))
    per_map, per_image = w.shape[0] // groups, w.shape[1]
    out = np.zeros((x.shape[0], per_image * groups if transpose else w.shape[0], H, W), np.int64)
    for g in range(groups):
        maps, images = slice(g * per_map, (g + 1) * per_map), slice(g * per_image, (g + 1) * per_image)
        for r in range(w.shape[2]):
            for s in range(w.shape[3]):
                for i in range(x.shape[2] if transpose else H):
                    for j in range(x.shape[3] if transpose else W):
                        a, b = i * sh + r * dh - top, j * sw + s * dw - left
                        if not (0 <= a < (H if transpose else x.shape[2]) and 0 <= b < (W if transpose else x.shape[3])):
                            continue
                        if transpose:
                            out[:, images, a, b] += x[:, maps, i, j] @ w[maps, :, r, s]
                        else:
                            out[:, maps, i, j] += x[:, images, a, b] @ w[maps, :, r, s].T
    return out + bias[None, :, None, None]


def hex_of(a):
    """The file of hexadecimal lines that an array must have."""
    bits = a.reshape(-1).view(np.dtype(f"u{a.itemsize}"))
    return "".join(f"{int(v):0{2 * a.itemsize}x}\n" for v in bits)


def check_case(folder, case):
    a = {k: np.load(os.path.join(folder, f)) for k, f in case["files"].items()}
    for k, f in case["files"].items():
        assert list(a[k].shape) == case["shapes"][k], k
        assert open(os.path.join(folder, f.replace(".npy", ".hex"))).read() == hex_of(a[k]), k
    q, bits = case["quantization"], int(case["dtype"][3:])
    assert a["input"].dtype == a["output"].dtype == f"i{bits // 8}" and a["weight"].dtype == np.int8
    assert a["bias"].dtype == a["sum"].dtype == ("i4" if bits == 8 else "i8") and a["weight_scale"].dtype == np.float32
    x = to_images(case, a["input"]).astype(np.int64) - q["input_zero_point"]
    total = sums(case, x, to_weights(case, a["weight"]).astype(np.int64), a["bias"].astype(np.int64))
    assert (total == to_images(case, a["sum"])).all(), "sum"
    if "weight_ohwi" in a:
        order = (2, 0, 1, 3) if case["op"] == "conv_transpose" else (3, 0, 1, 2)
        assert (a["weight_ohwi"] == a["weight"].transpose(order)).all(), "weight_ohwi"
    scales = np.float32(q["input_scale"]), np.float32(q["output_scale"])
    least, most = (-128, 127) if bits == 8 else (-32768, 32767)
    for word, low, high in (("relu", 0, None), ("relu6", 0, 6), ("relu_n1_to_1", -1, 1)):
        if q["activation"] == word:
            place = [None if v is None else half_away(Fraction(float(np.float32(v) / scales[1]))) + q["output_zero_point"] for v in (low, high)]
            least, most = max(least, place[0]), most if high is None else min(most, place[1])
    assert (q["least"], q["most"]) == (least, most), "activation"
    wanted, found = np.empty(total.shape, np.int64), to_images(case, a["output"])
    for c in range(total.shape[1]):
        m, s = quantize_multiplier(scales[0], a["weight_scale"][c], scales[1])
        assert (m, s) == (a["multiplier"][c], a["shift"][c]), "multiplier"
        wanted[:, c] = np.vectorize(lambda v: output(bits, int(v), m, s, q["output_zero_point"], least, most), otypes=[np.int64])(total[:, c])
    assert (wanted == found).all(), "output"
    return np.count_nonzero((found == least) | (found == most)), found.size


def check(folder):
    clamped = elements = layers = 0
    for line in open(os.path.join(folder, "manifest.jsonl")):
        case = json.loads(line)
        try:
            some, all_ = check_case(folder, case)
        except AssertionError as e:
            sys.exit(f"{folder}: layer {case['name']}: {e}")
        clamped, elements, layers = clamped + some, elements + all_, layers + 1
    print(f"{layers} layers, {elements} outputs, {clamped} of them at an end of the range")


if __name__ == "__main__":
    if sys.argv[1:] == ["rows"]:
        rows()
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        check(sys.argv[2])
    else:
        sys.exit(__doc__)

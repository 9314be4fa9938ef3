"""Shapes as real networks have them, drawn at random. python3 draw.py SEED [COUNT] prints a list that bench_conv reads.

Each family below is a kind of layer with the sizes that published networks give it; families come in turn, and sizes by chance, so that two
seeds have different shapes of the same kinds. Tuning is judged on a seed that was not looked at before.
"""
import sys

HEADING = "name,op,n,cin,h,w,cout,kh,kw,stride,pad,dil,groups,outpad"
MOST_GFLOP, MOST_FLOATS = 4.0, 24_000_000  # of a forward pass; of image, map and kernel together


class Chance:
    """A generator of its own, so that a seed gives the same list from every version of Python (splitmix64)."""

    def __init__(self, seed):
        self.state = seed & (2**64 - 1)

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return (z ^ (z >> 31)) % n

    def of(self, *values):
        return values[self.below(len(values))]


WIDTHS = (16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512)
WIDE = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
MAPS = (7, 8, 14, 16, 20, 28, 32, 40, 56, 64, 112)


def conv(cin, cout, h, k, stride=1, pad=None, **more):
    return dict(op="conv", cin=cin, cout=cout, h=h, k=k, stride=stride, pad=(k - 1) // 2 if pad is None else pad, **more)


def deconv(cin, cout, h, k, stride, pad=0, outpad=0, **more):
    return dict(op="deconv", cin=cin, cout=cout, h=h, k=k, stride=stride, pad=pad, outpad=outpad, **more)


def body(c):  # VGG, ResNet, U-Net
    a = c.of(*WIDTHS)
    return conv(a, c.of(a, a, 2 * a), c.of(*MAPS), 3)


def down(c):
    a = c.of(*WIDTHS)
    return conv(a, c.of(a, 2 * a), c.of(*MAPS), 3, 2)


def bottleneck(c):  # ResNet-50, MobileNet's expansion and projection
    a, b = c.of(*WIDTHS), c.of(*WIDE)
    return conv(*c.of((a, b), (b, a)), c.of(*MAPS), 1)


def shortcut(c):
    a = c.of(*WIDTHS)
    return conv(a, 2 * a, c.of(*MAPS), c.of(1, 1, 1, 2), 2, 0)


def depthwise(c):  # MobileNet, EfficientNet, ConvNeXt
    a = c.of(16, 24, 40, 72, 96, 120, 144, 192, 240, 384, 480, 672, 960)
    return conv(a, a, c.of(*MAPS), c.of(3, 3, 5, 7), c.of(1, 1, 2), groups=a)


def pooling(c):  # depthwise layers that shrink a map, and blurs
    a = c.of(16, 32, 64, 96, 128, 256)
    k = c.of(2, 3, 4)
    return conv(a, a, c.of(7, 8, 14, 16, 28, 32, 56), k, c.of(k, k, 4), 0, groups=a)


def stem(c):
    k, stride = c.of((3, 1), (3, 2), (5, 1), (7, 2), (11, 4))
    return conv(c.of(1, 3), c.of(16, 24, 32, 64, 96), c.of(28, 32, 64, 96, 224), k, stride)


def patches(c):  # vision transformers, ConvNeXt
    k = c.of(2, 4, 8, 16)
    return conv(c.of(3, 3, 64, 96), c.of(96, 192, 384, 768), c.of(32, 56, 64, 96, 112, 224), k, k, 0)


def encoder(c):  # DCGAN, pix2pix, autoencoders
    a = c.of(1, 3, 16, 32, 64, 128, 256)
    return conv(a, c.of(16, 32, 64) if a <= 3 else 2 * a, c.of(7, 8, 14, 16, 28, 32, 64), c.of(3, 4, 4, 5), 2, 1)


def dilated(c):  # DeepLab, WaveNet's kin in two dimensions
    a, d = c.of(*WIDTHS), c.of(2, 3, 4, 6, 12, 18)
    return conv(a, c.of(a, 256), c.of(14, 20, 28, 32, 33, 40, 64), 3, pad=d, dil=d)


def grouped(c):  # ResNeXt, ShuffleNet, RegNet
    g = c.of(2, 3, 4, 8, 16, 32)
    a = g * c.of(4, 8, 12, 16, 24, 32)
    return conv(a, a, c.of(7, 8, 14, 16, 28, 32, 56), c.of(1, 3, 3), c.of(1, 1, 2), groups=g)


def lines(c):  # Inception's 1x7 and 7x1, text, sound
    a, k = c.of(32, 64, 96, 128, 192), c.of(3, 5, 7, 9, 15)
    if c.below(2):
        return conv(a, c.of(a, 2 * a), 1, k, c.of(1, 1, 2), 0, kh=1, w=c.of(100, 128, 256, 500, 1000, 4000))
    kh, kw = c.of((1, k), (k, 1))
    return conv(a, a, c.of(14, 17, 28, 35), kw, 1, 0, kh=kh)


def heads(c):  # classes of pixels, masks, grey pictures
    return conv(c.of(16, 32, 64, 128, 256), c.of(1, 1, 2, 3, 10, 19, 21), c.of(14, 28, 32, 56, 64, 128), c.of(1, 1, 3))


def linear(c):  # maps of one pixel: squeeze and excitation, classifiers
    return conv(c.of(*WIDE), c.of(10, 100, 16, 32, 64, 256, 1000), 1, 1)


def double(c):  # DCGAN, U-Net, autoencoders
    k, pad, outpad = c.of((4, 1, 0), (4, 1, 0), (2, 0, 0), (3, 1, 1), (5, 2, 1))
    a = c.of(16, 32, 64, 128, 256, 512)
    return deconv(a, c.of(a, a // 2, a // 2), c.of(4, 7, 8, 14, 16, 28, 32), k, 2, pad, outpad)


def first(c):  # a generator's noise
    return deconv(c.of(16, 64, 100, 128), c.of(64, 128, 256, 512), c.of(1, 1, 2, 4), c.of(4, 7), c.of(1, 1, 2))


def last(c):  # to pictures
    k, stride, pad, outpad = c.of((4, 2, 1, 0), (3, 2, 1, 1), (5, 2, 2, 1), (9, 3, 4, 2), (9, 2, 4, 1), (9, 4, 4, 3), (4, 1, 0, 0), (3, 1, 1, 0))
    return deconv(c.of(16, 32, 56, 64, 128), c.of(1, 1, 3, 3), c.of(7, 14, 16, 28, 32, 64), k, stride, pad, outpad)


def wide_step(c):  # strides as wide as the kernel, or wider; FCN's upsampling
    k, stride, pad = c.of((2, 2, 0), (4, 4, 0), (8, 8, 0), (3, 4, 0), (5, 8, 0), (16, 8, 4), (8, 4, 2))
    a = c.of(1, 8, 16, 21, 32, 64, 128)
    return deconv(a, c.of(a, max(1, a // 2)), c.of(4, 7, 8, 14, 16, 28), k, stride, pad)


def depthwise_up(c):  # bilinear upsampling
    a = c.of(16, 21, 32, 64, 128)
    return deconv(a, a, c.of(7, 8, 14, 16, 28, 32), c.of(3, 4, 4), 2, 1, groups=a)


def even(c):  # decoders that keep the size
    a = c.of(8, 16, 32, 64, 128)
    return deconv(a, c.of(a, max(1, a // 2)), c.of(7, 14, 16, 28, 32), c.of(3, 3, 5), 1, 1)


FAMILIES = (body, double, depthwise, bottleneck, last, down, stem, encoder, shortcut, grouped, wide_step, dilated, heads, patches, even, pooling,
            lines, first, depthwise_up, linear)


def sizes(s, n):
    """Multiply-adds of a forward pass, in 10^9 times two, and floats of all operands."""
    kh, w = s.get("kh", s["k"]), s.get("w", s["h"])
    dil, groups = s.get("dil", 1), s.get("groups", 1)
    taps = kh * s["k"] * s["cin"] * s["cout"] // groups
    if s["op"] == "conv":
        p, q = ((size + 2 * s["pad"] - dil * (k - 1) - 1) // s["stride"] + 1 for size, k in ((s["h"], kh), (w, s["k"])))
        given, made, pixels = s["cin"] * s["h"] * w, s["cout"] * p * q, p * q
    else:
        p, q = ((size - 1) * s["stride"] - 2 * s["pad"] + dil * (k - 1) + 1 + s["outpad"] for size, k in ((s["h"], kh), (w, s["k"])))
        given, made, pixels = s["cin"] * s["h"] * w, s["cout"] * p * q, s["h"] * w
    return (2e-9 * n * taps * pixels, n * (given + made) + taps) if p > 0 and q > 0 else (0, 0)


def draw(seed, count):
    c = Chance(seed)
    while count > 0:
        for family in FAMILIES:
            s, n = family(c), c.of(1, 1, 2, 4, 8, 16, 32, 64, 128)
            while n > 1 and (sizes(s, n)[0] > MOST_GFLOP or sizes(s, n)[1] > MOST_FLOATS):
                n //= 2
            gflop, floats = sizes(s, n)
            if not 0 < gflop <= MOST_GFLOP or floats > MOST_FLOATS or count == 0:
                continue
            yield family.__name__, n, s
            count -= 1


def main():
    if len(sys.argv) not in (2, 3) or not all(a.isdigit() for a in sys.argv[1:]):
        raise SystemExit(__doc__)
    print(HEADING)
    for i, (family, n, s) in enumerate(draw(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40)):
        print(f"{i:02}_{family}", s["op"], n, s["cin"], s["h"], s.get("w", s["h"]), s["cout"], s.get("kh", s["k"]), s["k"], s["stride"], s["pad"],
              s.get("dil", 1), s.get("groups", 1), s.get("outpad", 0), sep=",")


main()

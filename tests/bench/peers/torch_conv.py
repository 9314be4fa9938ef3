"""PyTorch's convolutions, as a server: README.md has what it reads and answers.

usage: torch_conv.py THREADS [--channels-last]
"""
import sys

import torch
import torch.nn.functional as F

from timing import median_ms

KEYS = "n cin h w cout kh kw stride pad dil groups outpad".split()


def layer(words, layout):
    """The forward pass, and forward with both gradients, as two functions."""
    s = dict(zip(KEYS, map(int, words[2:])))
    transposed = words[1] == "deconv"
    sides = (s["cin"], s["cout"] // s["groups"]) if transposed else (s["cout"], s["cin"] // s["groups"])
    x = torch.randn(s["n"], s["cin"], s["h"], s["w"]).contiguous(memory_format=layout)
    w = torch.randn(*sides, s["kh"], s["kw"]).contiguous(memory_format=layout)
    stride, pad, dil, extra = ([s[k]] * 2 for k in ("stride", "pad", "dil", "outpad"))

    def forward():
        if transposed:
            return F.conv_transpose2d(x, w, None, stride, pad, extra, s["groups"], dil)
        return F.conv2d(x, w, None, stride, pad, dil, s["groups"])

    g = torch.randn_like(forward())

    def step():
        forward()
        torch.ops.aten.convolution_backward(g, x, w, None, stride, pad, dil, transposed, extra, s["groups"],
                                            [True, True, False])

    return forward, step


def main():
    torch.set_num_threads(int(sys.argv[1]))
    layout = torch.channels_last if "--channels-last" in sys.argv else torch.contiguous_format
    print(f"ready PyTorch {torch.__version__}", flush=True)
    for line in sys.stdin:
        seconds, warm, row = line.split()
        with torch.no_grad():
            forward, step = layer(row.split(","), layout)
            forward_ms = median_ms(forward, float(seconds), float(warm))
            print(f"{forward_ms:.7f} {median_ms(step, float(seconds)):.7f}", flush=True)


main()

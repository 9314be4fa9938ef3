"""What `deconv vectors --framework onnx --onnx` wrote, read by the onnx package.

    onnx_nodes.py NODES ARRAYS      checks each model, and its data against the .npy files of the same vectors without --onnx
"""
import json
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper

nodes, arrays = sys.argv[1:]
layers = 0
for line, other in zip(open(os.path.join(nodes, "manifest.jsonl")), open(os.path.join(arrays, "manifest.jsonl"))):
    case, plain = json.loads(line), json.loads(other)
    folder = os.path.join(nodes, case["folder"])
    model = onnx.load(os.path.join(folder, "model.onnx"))
    node, = model.graph.node
    arguments = plain["arguments"]
    # the shape inference of onnx 1.12 stops at an output_shape below the input's size, and adds output_padding to the size of SAME, which
    # ONNX Runtime does not
    below = any(o < i for o, i in zip(arguments.get("output_shape", []), plain["input_size"]))
    padded_same = arguments["auto_pad"].startswith("SAME") and any(arguments.get("output_padding", []))
    onnx.checker.check_model(model, full_check=not below and not padded_same)
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    wanted = dict(arguments, kernel_shape=plain["kernel"])
    found.setdefault("auto_pad", b"NOTSET")
    assert {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()} == wanted, (case["folder"], found, wanted)
    for name, value in (("input_0", "input"), ("input_1", "weight"), ("input_2", "bias"), ("output_0", "output")):
        t = onnx.TensorProto()
        t.ParseFromString(open(os.path.join(folder, "test_data_set_0", name + ".pb"), "rb").read())
        a, b = numpy_helper.to_array(t), np.load(os.path.join(arrays, plain["files"][value]))
        assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all(), (case["folder"], name)
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == case["shapes"]["output"]
    layers += 1
print(f"{layers} nodes")

"""Small archives as NumPy writes them, stored and deflated: numpy_stored.npz, numpy_deflated.npz.

    /usr/bin/python3 numpy_npz.py
"""
import numpy as np

arrays = {"a": np.arange(6, dtype="<f4").reshape(2, 3), "b c": np.array(2.5), "empty": np.zeros((0, 4), "<f4"),
          "folder/turned": np.asfortranarray(np.arange(6.0).reshape(3, 2)), "big": np.arange(3, dtype=">f8"),
          "whole": np.arange(3)}
np.savez("numpy_stored.npz", **arrays)
np.savez_compressed("numpy_deflated.npz", **arrays, many=np.zeros((100, 100), "<f4"))

"""What a run depends on, as comment lines: processor, load, OpenBLAS with the kernels that it picked, and what it was told."""
import ctypes
import os


def first(path, key):
    with open(path) as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")


def openblas():
    try:
        blas = ctypes.CDLL("libopenblas.so.0")
        blas.openblas_get_corename.restype = blas.openblas_get_config.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        return "no libopenblas.so.0"
    return f"{blas.openblas_get_config().decode()}; kernels for {blas.openblas_get_corename().decode()}"


print(f"# cpu: {first('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
print(f"# BLAS: {openblas()}")
told = [f"{key}={value}" for key, value in os.environ.items() if key.startswith(("OPENBLAS_", "OMP_", "GOMP_", "DNNL_", "MALLOC_"))]
if told:
    print(f"# the environment tells everybody: {' '.join(told)}")

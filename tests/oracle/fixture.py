"""Cases of convolution layers as text. README.md describes the format."""



def case(name, framework, transpose, x, w, legal, **words):
    """The line that begins a case: a shape or a pair is a tuple; the framework's reason for a refusal comes last."""
    why = words.pop("why", None)
    line = [f"case {name} framework={framework} transpose={int(transpose)}"]
    for key, value in {**words, "x": x, "w": w, "legal": legal}.items():
        if value is None:
            continue
        if isinstance(value, (tuple, list)):
            value = ",".join(str(int(v)) for v in value)
        line.append(f"{key}={int(value) if isinstance(value, bool) else value}")
    if why is not None:
        line.append("why=" + " ".join(str(why).split())[:80].strip())
    print(*line)


def array(name, shape, values):
    """One array of the case: a name, the rank, the sizes, a colon, the values in row-major order."""
    text = " ".join(repr(float(v)).removesuffix(".0") for v in values)
    print(name, len(shape), *shape, (": " + text).strip())

"""How the peers that are written in Python keep time: as timing.c does."""
import time


def median_ms(body, seconds, warm=0.03, repeats=5, first=2):
    """first: calls before everything, however long they take."""
    start = time.perf_counter()
    for _ in range(first):
        body()
    if first > 1:
        start = time.perf_counter()
    while time.perf_counter() - start < warm:
        body()
    samples = []
    start = time.perf_counter()
    while len(samples) < repeats or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        body()
        samples.append(time.perf_counter() - begin)
    return 1e3 * sorted(samples)[len(samples) // 2]

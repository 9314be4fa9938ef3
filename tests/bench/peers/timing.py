"""How the peers that are written in Python keep time: as timing.c does."""
import time


def median_ms(body, seconds, warm=0.03, repeats=5, first=2, clock=time.perf_counter):
    """first: calls before everything, however long they take."""
    start = clock()
    for _ in range(first):
        body()
    if first > 1:
        start = clock()
    while clock() - start < warm:
        body()
    samples = []
    start = clock()
    while len(samples) < repeats or clock() - start < seconds:
        begin = clock()
        body()
        samples.append(clock() - begin)
    return 1e3 * sorted(samples)[len(samples) // 2]

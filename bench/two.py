"""Two vCPUs: each int row alone on the first, then a copy of it on each at once.  Throughput is the sum of
the copies' speeds, by the speed of the one that ran alone; it needs two processors of the host that are idle."""
import math
import re

ROW = re.compile(r"(ALONE|BOTH) BENCH (\S+)\s+[\d.]+ best=[\d.]+ reps=(\d+) elapsed=([\d.]+)")


def speeds(lines):
    """Repetitions in a second: of each row alone, and of its copies together."""
    alone, both = {}, {}
    for _, line in lines:
        if m := ROW.search(line):
            of = alone if m[1] == "ALONE" else both
            of[m[2]] = of.get(m[2], 0) + int(m[3]) / float(m[4])
    return alone, both


def run(boot, t):
    """boot(append) runs a guest of two vCPUs to its end: [(seconds, line)]."""
    alone, both = speeds(boot(f"console=ttyS0 quiet panic=-1 lb.t={t} lb.run=two"))
    by_row = {w: both[w] / alone[w] for w in alone if w in both}
    if not by_row:
        print("2 vCPUs: no rows came out")
        return
    mean = math.exp(sum(map(math.log, by_row.values())) / len(by_row))
    print(f"2 vCPUs on 2 cores, int.* throughput: {mean:.2f} of one's ("
          + ", ".join(f"{w.split('.')[1]} {x:.2f}" for w, x in by_row.items()) + ")")

#!/usr/bin/env python3
"""soak_judge.py - the judge of `make soak` on series that are known: what is flat, what grows, what is too short to tell."""
import math
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
sys.path.append(os.path.join(HERE, "../soak"))
import croft
import slope
from croft import check

MIB = 1 << 20


def series(hours, per_hour, noise=0.0, saw=0.0, step=0.0, spike=0.0, seed=1):
    """A sample every two seconds: growth, noise, a tooth each ten minutes, one step, one peak (MiB)."""
    dice, n, out = random.Random(seed), int(hours * 1800), []
    for i in range(n):
        t = 2.0 * i
        v = 50 + per_hour * t / 3600 + dice.gauss(0, noise) + saw * (t % 600) / 600
        v += step * (i > n // 20) + spike * (n // 2 < i < n // 2 + 20)
        out.append((t, v * MIB))
    return out


def main():
    for name, want, points in (
            ("nothing moves", "flat", series(1.5, 0)),
            ("noise", "flat", series(1.5, 0, noise=0.3)),
            ("teeth", "flat", series(1.5, 0, saw=3)),
            ("a step early on", "flat", series(1.5, 0, noise=0.1, step=2)),
            ("a peak", "flat", series(1.5, 0, noise=0.1, spike=30)),
            ("memory that is given back", "flat", series(1.5, -3, noise=0.1)),
            ("half of what may be", "flat", series(1.5, 0.5, noise=0.1)),
            ("a little too much", "grows", series(1.5, 1.3, noise=0.2)),
            ("a leak", "grows", series(0.4, 8, noise=0.2)),
            ("a leak under teeth", "grows", series(1.5, 4, noise=0.2, saw=2)),
            ("a minute of noise", "too short", series(1 / 60, 0, noise=1))):
        verdict, per_hour, error = slope.judge(points)
        check(verdict == want and math.isfinite(per_hour), name, "%s: %.2f +- %.2f" % (verdict, per_hour, error))
    for i in range(20):
        verdict, per_hour, error = slope.judge(series(1.5, 0, noise=0.5, saw=1, seed=i))
        check(verdict == "flat" and abs(per_hour) < 0.3, "chance makes no leak", "%d: %s %.2f" % (i, verdict, per_hour))
    sys.exit(croft.done())


if __name__ == "__main__":
    main()

"""slope.py - whether a series of memory sizes is flat: the judge of tests/soak/soak.py.

The slope is the median of those between all pairs (Theil-Sen), which single steps and peaks do not move; how sure it is, is
told by how much the slopes of six parts of the time differ from it.  Behind a warm-up only.
"""
import statistics

LIMIT = 1.0                             # MiB an hour
PARTS = 6


def theil_sen(points):
    """MiB an hour of [(seconds, bytes)]."""
    step = max(1, len(points) // 400)
    points = points[::step]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1:] if b[0] > a[0]]
    return statistics.median(slopes) * 3600 / (1 << 20)


def judge(points):
    """(verdict, slope, error): "flat", "grows", or "too short" where the error is more than half of the limit."""
    slope = theil_sen(points)
    # the level of each part above the line; a standard error of the slope follows from how it scatters
    n = len(points) // PARTS
    levels = [(statistics.fmean(t for t, _ in part), statistics.median(v for _, v in part))
              for part in (points[i * n:(i + 1) * n] for i in range(PARTS))]
    t_mean = statistics.fmean(t for t, _ in levels)
    v_mean = statistics.fmean(v for _, v in levels)
    per_second = slope * (1 << 20) / 3600
    rest = sum((v - v_mean - per_second * (t - t_mean)) ** 2 for t, v in levels)
    spread = sum((t - t_mean) ** 2 for t, _ in levels)
    error = (rest / (PARTS - 2) / spread) ** 0.5 * 3600 / (1 << 20)
    if error > LIMIT / 2 and slope - 3 * error < LIMIT:
        return "too short", slope, error
    return "grows" if slope >= LIMIT else "flat", slope, error

"""Makes vectors.jsonl: samples with their DSR-Scores, computed from the formulas with 50 decimals and
nothing shared with the Go code. Run it as: python3 vectors.py > vectors.jsonl"""
import json
import random
from decimal import Decimal as D, getcontext

getcontext().prec = 50


def ssr(relation, subject, obj):
    (sl, st, sr, sb), (ol, ot, o_r, ob) = ([D(str(v)) for v in box] for box in (subject, obj))
    dx, dy = (sl + sr) / 2 - (ol + o_r) / 2, (st + sb) / 2 - (ot + ob) / 2
    norm = (dx * dx + dy * dy).sqrt()
    if norm == 0:
        return D(0)
    wm, hm = (sr - sl + o_r - ol) / 2, (sb - st + ob - ot) / 2
    horizontal = dx / norm * min(D(1), abs(dx) / wm)
    vertical = -dy / norm * min(D(1), abs(dy) / hm)
    return {"R": horizontal, "L": -horizontal, "T": vertical}[relation]


def usable(frame):
    if "subject" not in frame or "object" not in frame:
        return False
    (sl, st, sr, sb), (ol, ot, o_r, ob) = frame["subject"], frame["object"]
    return sr > sl and o_r > ol and sb >= st and ob >= ot and (sb - st) + (ob - ot) > 0


def score(kind, frames):
    good = [f for f in frames if usable(f)]
    n = len(good)
    if n < 20:
        return None
    i = [ssr(kind[0], f["subject"], f["object"]) for f in good]
    f = [ssr(kind[1], f["subject"], f["object"]) for f in good]
    total = sum(i[:3]) / 3 + (i[0] - i[-1]) / 2 + sum(f[-3:]) / 3 + (f[-1] - f[0]) / 2
    return float(total / 8 + D("0.5"))


def sample(name, kind, n, start, end, size, random_seed, change=lambda k, f: f):
    r = random.Random(random_seed)
    frames = []
    for k in range(n):
        t = k / max(1, n - 1)
        x, y = (round(a + (b - a) * t + r.uniform(-3, 3), 2) for a, b in zip(start, end))
        w, h = size
        box = [x, y, round(x + w, 2), round(y + h, 2)]
        frame = change(k, {"index": k, "subject": box, "object": [380, 200, 460, 290]})
        if frame:
            frames.append(frame)
    return {"name": name, "type": kind, "frames": frames, "score": score(kind, frames)}


def without(role, when):
    return lambda k, f: {a: b for a, b in f.items() if a != role} if when(k) else f


def flat(role, when):
    def change(k, f):
        if when(k):
            box = f[role]
            f[role] = [box[0], box[1], box[0], box[3]]
        return f
    return change


SAMPLES = [
    sample("walks from left to right", "LR", 81, (100, 210), (700, 210), (90, 70), 1),
    sample("the same walk asked for backwards", "RL", 81, (100, 210), (700, 210), (90, 70), 1),
    sample("climbs from left to top", "LT", 81, (90, 220), (385, 60), (80, 60), 2),
    sample("climbs from right to top", "RT", 81, (650, 220), (385, 60), (80, 60), 3),
    sample("jumps down to the left", "TL", 49, (385, 60), (90, 220), (80, 60), 4),
    sample("jumps down to the right, boxes touching", "TR", 49, (385, 120), (430, 200), (80, 60), 5),
    sample("stays where it is", "LR", 33, (100, 210), (100, 210), (90, 70), 6),
    sample("exactly 20 usable frames", "LR", 20, (100, 210), (700, 210), (90, 70), 7),
    sample("19 usable frames", "LR", 19, (100, 210), (700, 210), (90, 70), 8),
    sample("the subject vanishes in every third frame", "LR", 60, (100, 210), (700, 210), (90, 70), 9,
           without("subject", lambda k: k % 3 == 0)),
    sample("the object is there for 18 frames", "RL", 60, (700, 210), (100, 210), (90, 70), 10,
           without("object", lambda k: k >= 18)),
    sample("masks one pixel wide at both ends", "LR", 60, (100, 210), (700, 210), (90, 70), 11,
           flat("subject", lambda k: k < 4 or k > 56)),
    sample("subject without a height", "LR", 40, (100, 240), (700, 240), (90, 0), 12),
    sample("exactly on the object", "LT", 40, (380, 200), (380, 200), (80, 90), 13,
           lambda k, f: {**f, "subject": list(f["object"])}),
]
for s in SAMPLES:
    print(json.dumps(s))

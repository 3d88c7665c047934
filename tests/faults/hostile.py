"""What strangers, crashes and bad disks make of a JSON object: one value, field or byte at a time."""

import copy
import json

ODD = (
    None, True, False, 0, -1, 1, 2**53, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e308, -1e308, 1e-320, 1.0, 3.7, "", "x",
    "0", "..", "../../etc/passwd", "/", "~nobody/x", "a" * 5000, "\n\x1b[31m", "![](http://x)", "<script>",
    "leaves_a_mark:f", "os:system", [], {}, [None], [[]], {"": None}, {"a": {"b": []}}, [0.5] * 3, ["a", 1],
)
"""Values that a field may hold instead of its own."""
RAW = ("NaN", "1e999", "-Infinity", "9" * 400, "[" * 100_000, "{\"a\":" * 3000, "\"\\ud800\"", "tru", "")
"""Texts that may stand where a value stood; none of them is JSON, or none that is meant."""
_HERE = "\0here\0"


def places(value, place=()):
    """The way to every value in a value, the whole included."""
    yield place
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield from places(each, (*place, name))


def changed(value, place, into):
    """A copy with another value in one place; `into` may be a function of the one that was there."""
    if not place:
        return into(value) if callable(into) else into
    held = copy.deepcopy(value)
    inner = held
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = into(inner[place[-1]]) if callable(into) else into
    return held


def without(value, place):
    """A copy without what is in one place."""
    return changed(value, place[:-1], lambda held: (
        {name: each for name, each in held.items() if name != place[-1]} if isinstance(held, dict)
        else [each for number, each in enumerate(held) if number != place[-1]]))


def swapped(value):
    """Every text that comes of a value when one field is of another type, is gone, or holds more than was meant."""
    for place in places(value):
        for odd in ODD:
            yield json.dumps(changed(value, place, odd)).encode()
        for raw in RAW:
            yield json.dumps(changed(value, place, _HERE)).replace(json.dumps(_HERE), raw).encode()
        yield json.dumps(changed(value, place, lambda held: [held])).encode()
        yield json.dumps(changed(value, place, lambda held: {"a": held})).encode()
        if place:
            yield json.dumps(without(value, place)).encode()
        yield json.dumps(changed(value, place, lambda held: held | {"color": "red"} if isinstance(held, dict)
                                 else held)).encode()


def damaged(text, generator, count):
    """Texts with bits flipped, an end cut off, or a piece left out or written twice."""
    for _ in range(count):
        held = bytearray(text)
        at, length = generator.randrange(len(held)), generator.randrange(1, 40)
        kind = generator.randrange(4)
        if kind == 0:
            for _ in range(generator.randrange(1, 4)):
                held[generator.randrange(len(held))] ^= 1 << generator.randrange(8)
        elif kind == 1:
            del held[at:]
        elif kind == 2:
            del held[at : at + length]
        else:
            held[at:at] = held[at : at + length]
        yield bytes(held)


def some(texts, generator, count):
    """A sample, in an order that depends on nothing but the generator."""
    texts = list(texts)
    return generator.sample(texts, min(count, len(texts)))

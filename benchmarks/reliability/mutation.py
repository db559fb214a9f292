"""Seeded damage to bytes and text."""

from __future__ import annotations

from random import Random

__all__ = ["difference", "mutated_bytes", "mutated_text"]

TOKENS = (
    "&a", "*a", "&a [*a]", "<<: *a", "!!int ''", "!!float x", "!!python/name:os.system", "!!timestamp 2000-13-45", "2000-13-45",
    "1e999", "-1e999", ".nan", ".inf", "9" * 5000, "1e9" * 50, "[" * 200, "{a: " * 200, "]", "}", "? ", "- ", ": ", "\t", "\x00",
    "\\ud800", '"\\ud800"', "\u2028", "null", "~", "true", "-1", "0", "18446744073709551616", "1e999999999MB", "-5KB", "0B", "nanMB",
    "w4a8", "w0", "w99", "4g64z", "../../etc/passwd", "subprocess:getoutput", "os:system", "''", '""', "'", '"', "#", "%YAML 9.9",
    "---", "...", "|", ">", "é", "\U0001f600", "a" * 3000,
)  # fmt: skip


def mutated_text(text: str, random: Random) -> str:
    """The text with one to four of: a slice deleted, doubled or moved, a character replaced, a token put in or in place of a word."""
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 1, 1, 2, 5, 20)))
        kind = random.randrange(6)
        if kind == 0:
            text = text[:start] + text[end:]
        elif kind == 1:
            text = text[:start] + text[start:end] * random.choice((2, 3, 50)) + text[end:]
        elif kind == 2:
            place = random.randrange(len(text) + 1)
            text = text[:place] + text[start:end] + text[place:]
        elif kind == 3:
            text = text[:start] + chr(random.choice((random.randrange(32, 127), random.randrange(0x110000)))) + text[start + 1 :]
        elif kind == 4:
            text = text[:start] + random.choice(TOKENS) + text[start:]
        else:
            words = text.split(" ")
            words[random.randrange(len(words))] = random.choice(TOKENS)
            text = " ".join(words)
    return text


def mutated_bytes(data: bytes, random: Random, head: int) -> bytes:
    """The bytes with one to four of: bits flipped, a byte set, a slice deleted, doubled or zeroed, the end cut off.

    Args:
        data: sound bytes.
        random: source of the damage.
        head: length of the header at the start, which half of the damage meets.
    """
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        start = random.randrange(max(1, min(len(changed), head) if random.random() < 0.5 else len(changed)))
        end = start + random.choice((1, 2, 8, 100))
        kind = random.randrange(6)
        if kind == 0 and changed:
            changed[start % len(changed)] ^= 1 << random.randrange(8)
        elif kind == 1 and changed:
            changed[start % len(changed)] = random.randrange(256)
        elif kind == 2:
            del changed[start:end]
        elif kind == 3:
            changed[start:start] = changed[start:end]
        elif kind == 4:
            changed[start:end] = bytes(len(changed[start:end]))
        else:
            del changed[start if random.random() < 0.3 else -random.randint(1, 64) :]
    return bytes(changed)


def difference(sound: str, mutated: str) -> str:
    """What stands in place of what, shortened: from the first changed character to the last."""
    start = next((place for place, (a, b) in enumerate(zip(sound, mutated, strict=False)) if a != b), min(len(sound), len(mutated)))
    rest = min(len(sound), len(mutated)) - start
    end = next((place for place in range(rest) if sound[-1 - place] != mutated[-1 - place]), rest)
    return f"{sound[max(0, start - 30) : len(sound) - end]!r:.150} -> {mutated[max(0, start - 30) : len(mutated) - end]!r:.300}"

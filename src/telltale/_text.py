"""Names and sentences from hostile files, made safe to show: on a terminal, in a page, in a spreadsheet.

>>> visible("gpj.\\u202eexe")
'gpj.\\\\u202eexe'
>>> csv_cell("=cmd()")
"'=cmd()"
>>> file_stem("../Müller & Söhne (1).mp4")
'Müller-Söhne-1'
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

MAX_CHARS, MAX_ENTRIES = 500, 64
"""Of one value of a file's metadata, and of a list of them: a file may hold megabytes of either."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MOST_DECIMALS = 4
_MOST_NAMED = 3
_JOINERS = "\u200c\u200d"
_SURROGATE = re.compile("[\ud800-\udfff]")
_WINDOWS_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)


def encodable(name: str | os.PathLike[str]) -> str:
    """A file name as text that any encoder takes: bytes that are not UTF-8 become \\xNN."""
    return _SURROGATE.sub(_surrogate_as_text, os.fspath(name))


def _surrogate_as_text(found: re.Match[str]) -> str:
    code = ord(found[0])
    # os.fsdecode maps the byte NN to U+DCNN (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def for_json(value: Any, *, nan_is_null: bool = False) -> Any:
    """`value` with plain JSON types and without lone surrogates, which strict readers refuse."""
    match value:
        case str():
            return encodable(value)
        case Mapping():
            return {encodable(str(key)): for_json(item, nan_is_null=nan_is_null) for key, item in value.items()}
        case list() | tuple():
            return [for_json(item, nan_is_null=nan_is_null) for item in value]
        case float() if nan_is_null and not math.isfinite(value):
            return None
        case None | bool() | int() | float():
            return value
    return encodable(str(value))


def short(value: object) -> str:
    """`value` as printable text of at most `MAX_CHARS`.

    >>> len(short("x" * 10_000))
    500
    """
    text = encodable(str(value)).replace("\0", "")
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"


def visible(text: str) -> str:
    """`text` with controls, line separators, invisible and direction-changing characters written as escapes.

    A right-to-left override makes `exe.gpj` read as a picture; an escape sequence repaints a terminal.
    """
    return "".join(_escape(char) if _is_unsafe(char) else char for char in encodable(text))


def _is_unsafe(char: str) -> bool:
    # Persian words and emoji families need the two joiners, which turn nothing round.
    if char in _JOINERS:
        return False
    # Cc controls, Cf formats (bidi, zero width), Cs surrogates, Co private, Zl and Zp line separators.
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def csv_cell(text: str) -> str:
    """`text` as a spreadsheet cell that is never read as a formula (OWASP: CSV injection)."""
    text = visible(text)
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def file_stem(path: str) -> str:
    """A folder name made from a file's name: letters, digits, `-` and `_` only, never empty, never reserved."""
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    stem = name.rsplit(".", 1)[0] if "." in name[1:] else name
    stem = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", visible(stem))).strip("-_")[:60].strip("-_")
    # Bytes, not characters, fill a file name's 255.
    while len(stem.encode("utf-8", "replace")) > 120:
        stem = stem[:-1]
    if not stem:
        return "input"
    return f"{stem}-file" if _WINDOWS_RESERVED.match(stem) else stem


def clock(seconds: float, *, tenths: bool = True) -> str:
    """A time in a video as people read it.

    >>> clock(83.25), clock(3723.0, tenths=False)
    ('1:23.2', '1:02:03')
    """
    # Rounded half to even first, so that 59.96 does not become 0:60.0.
    ticks = round(max(seconds, 0.0) * 10) if tenths else round(max(seconds, 0.0)) * 10
    whole, rest = divmod(ticks, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    head = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
    return f"{head}.{rest}" if tenths else head


def file_size(size_bytes: int) -> str:
    """
    >>> file_size(512), file_size(2_400_000)
    ('512 bytes', '2.4 MB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            return f"{value:.1f} {unit}" if value < 99.5 else f"{value:.0f} {unit}"
    raise AssertionError("unreachable")


def bit_rate(bits_per_s: float) -> str:
    """
    >>> bit_rate(960_000), bit_rate(3_100), bit_rate(400)
    ('0.96 Mbit/s', '3.1 kbit/s', '400 bit/s')
    """
    if bits_per_s < 1000:
        return f"{bits_per_s:.0f} bit/s"
    return f"{bits_per_s / 1e3:.1f} kbit/s" if bits_per_s < 1e5 else f"{bits_per_s / 1e6:.2f} Mbit/s"


def percent(p: float, *, n_decimals: int = 0) -> str:
    """A probability in per cent; never 0 % or 100 %, which no model can promise.

    >>> percent(0.934), percent(0.9991), percent(0.001), percent(0.9991, n_decimals=1)
    ('93%', '>99%', '<1%', '99.9%')
    """
    step = 10.0**-n_decimals
    if 100 * p > 100 - step / 2:
        return f">{100 - step:.{n_decimals}f}%"
    if 100 * p < step / 2:
        return f"<{step:.{n_decimals}f}%"
    return f"{100 * p:.{n_decimals}f}%"


def percents(*values: float) -> list[str]:
    """Probabilities of one sentence, with as many decimals as tell those apart that differ.

    >>> percents(0.916, 0.918), percents(0.916, 0.25)
    (['91.6%', '91.8%'], ['92%', '25%'])
    """
    texts = [percent(p) for p in values]
    for n_decimals in range(1, _MOST_DECIMALS + 1):
        if len(set(texts)) == len(set(values)):
            break
        texts = [percent(p, n_decimals=n_decimals) for p in values]
    return texts


def plural(n: int, one: str, many: str = "") -> str:
    """
    >>> plural(1, "face"), plural(3, "face"), plural(2, "person", "people")
    ('1 face', '3 faces', '2 people')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def first_few(names: Sequence[str], n: int | None = None) -> str:
    """The end of a line about `n` things, all of `names` where not said: `: ` and the first three of them.

    >>> first_few(["a", "b", "c", "d"], 2005), first_few([], 2)
    (': a, b, c, 2,002 more', '')
    """
    shown = [visible(name) for name in names[:_MOST_NAMED]]
    n_more = (len(names) if n is None else n) - len(shown)
    more = [f"{n_more:,} more"] if n_more > 0 else []
    return f": {', '.join([*shown, *more])}" if shown else ""

"""Fits the word table on the texts of sources.py and writes keypool_cli/core/word_table.py.

    python tests/benchmarks/estimator/fit.py ROOT tokenizer.json [--leave-out NAME]… [--write]

ROOT holds the unpacked packages. Needs numpy, scipy and tokenizers; takes a few minutes.
"""

import argparse
import base64
import importlib
import lzma
import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

from keypool_cli.core import code_page, word_table
from tests.benchmarks.estimator.sources import Source, load

np = importlib.import_module("numpy")
sparse = importlib.import_module("scipy.sparse")
lsqr = importlib.import_module("scipy.sparse.linalg").lsqr

WORDS, GAPS, TRIPLES = 4300, 900, 5200
FREQUENCY_POWER = 0.85
"""Frequent pieces weigh more in the fit of letters, but less than their frequency."""

PAIR_PENALTY, TRIPLE_PENALTY = 0.15, 1.0
KIND_WEIGHTS = {
    "ar_prose": 4.5, "ar_ui": 2.5, "ar_dialect": 1.2, "ar_tashkeel": 1.5, "arabizi": 0.5,
    "en_prose": 2.5, "en_ui": 1.0, "en_mixed": 1.0, "code": 2.5, "json": 1.5, "json_esc": 0.2,
    "logs_csv": 0.5, "url_b64": 0.4, "latin_eu": 0.4, "runs": 0.06, "tatweel": 0.1, "bidi": 0.15,
}  # fmt: skip
PIECE = re.compile(
    r"(?P<latin>[L]+)|(?P<arabic>[A]+)|(?P<unknown>[U]+)|(?P<gap>[^LAU0]*0|[^LAU0]+)"
)


@dataclass(slots=True)
class Tally:
    """How often pieces occurred, and the tokens they took, both weighted."""

    seen: dict[bytes, float] = field(default_factory=lambda: defaultdict(float))
    tokens: dict[bytes, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, piece: bytes, tokens: float, weight: float = 1.0) -> None:
        """Book one piece, or one source's sum of it."""
        self.seen[piece] += weight
        self.tokens[piece] += tokens * weight

    def cost(self, piece: bytes) -> float:
        """Mean tokens of the piece."""
        return self.tokens[piece] / self.seen[piece]


def classes(page: bytes) -> str:
    """L, A, U and 0 for Latin, Arabic, unknown characters and digits; a dot for the rest."""
    table = [
        "U" if slot == code_page.UNKNOWN
        else "A" if char in code_page.ARABIC_LETTERS + code_page.TASHKEEL + code_page.TATWEEL
        else "L" if char in code_page.ACCENTED or (char.isascii() and char.isalpha())
        else "0" if char.isdecimal()
        else "."
        for slot, char in enumerate(code_page.SLOTS)
    ]  # fmt: skip
    return "".join(table[byte] for byte in page)


def spans(page: bytes, shape: str) -> list[tuple[int, int, bytes, bool]]:
    """Start, end, piece and whether it is a word, exactly as code_page cuts them."""
    found: list[tuple[int, int, bytes, bool]] = []
    for match in PIECE.finditer(shape):
        start, end = match.span()
        if match.lastgroup == "gap":
            found.append((start, end, b"".join(code_page.gap_runs(page[start:end])), False))
        elif match.lastgroup != "unknown":
            cuts = [start, *_humps(page, start, end), end]
            for left, right in pairwise(cuts):
                runs = code_page.latin_runs(page[left:right])
                word = (code_page.latin_words(runs) or [page[left:right]])[0]
                found.append((left, right, word, True))
    return found


def _humps(page: bytes, start: int, end: int) -> list[int]:
    return [start + m.end() for m in re.finditer(rb"[a-z](?=[A-Z])", page[start:end])]


def measure(source: Source, tokenizer: Any) -> tuple[Tally, Tally]:
    """Words and gaps of a source: each token belongs to the first word, else gap, it touches."""
    words, gaps = Tally(), Tally()
    texts = [source.text[at : at + 3000] for at in range(0, len(source.text), 3000)]
    for text, encoding in zip(texts, tokenizer.encode_batch(texts, False), strict=True):
        page = code_page.encode(text)
        pieces = spans(page, classes(page))
        owner = [-1] * (len(text) + 1)
        for index, (start, end, _, _) in enumerate(pieces):
            owner[start:end] = [index] * (end - start)
        cost = [0] * (len(pieces) + 1)
        for start, end in encoding.offsets:
            touched = [i for i in dict.fromkeys(owner[start:end]) if i >= 0]
            word = next((i for i in touched if pieces[i][3]), None)
            cost[word if word is not None else touched[0] if touched else -1] += 1
        for (_, _, piece, is_word), tokens in zip(pieces, cost, strict=False):
            (words if is_word else gaps).add(piece, tokens)
    return words, gaps


def merge(measured: dict[str, tuple[Tally, Tally]], sources: dict[str, Source]) -> list[Tally]:
    """All sources as one text in which kinds, and sources within a kind, have their weights."""
    shares = {
        name: sources[name].weight * sqrt(min(1.0, sum(words.seen.values()) / 20_000))
        for name, (words, _) in measured.items()
    }
    of_kind: dict[str, float] = defaultdict(float)
    for name, share in shares.items():
        of_kind[sources[name].kind] += share
    merged = [Tally(), Tally()]
    for name, tallies in measured.items():
        kind = sources[name].kind
        for whole, part in zip(merged, tallies, strict=True):
            total = sum(part.seen.values()) or 1.0
            weight = 1e6 * KIND_WEIGHTS[kind] * shares[name] / of_kind[kind] / total
            for piece, seen in part.seen.items():
                whole.add(piece, part.tokens[piece] / seen, weight * seen)
    return merged


def grams(piece: bytes, kept: set[bytes]) -> list[bytes]:
    """Pairs of a piece between spaces, and those of its triples that are kept."""
    padded = b" " + piece + b" "
    pairs = [padded[i : i + 2] for i in range(len(padded) - 1)]
    return pairs + [t for i in range(len(padded) - 2) if (t := padded[i : i + 3]) in kept]


def solve(tally: Tally, pieces: list[bytes], kept: set[bytes]) -> dict[bytes, float]:
    """Ridge regression of costs on pairs and triples."""
    index: dict[bytes, int] = {}
    rows, columns = [], []
    for row, piece in enumerate(pieces):
        for gram in grams(piece, kept):
            rows.append(row)
            columns.append(index.setdefault(gram, len(index)))
    weights = np.sqrt(spread(tally, pieces))
    scale = 1 / np.array([PAIR_PENALTY if len(g) == 2 else TRIPLE_PENALTY for g in index])
    shape = (len(pieces), len(index))
    matrix = sparse.csr_matrix((weights[rows] * scale[columns], (rows, columns)), shape=shape)
    costs = np.array([tally.cost(piece) for piece in pieces])
    solution = lsqr(matrix, costs * weights, damp=1.0, iter_lim=300, atol=1e-7, btol=1e-7)[0]
    return dict(zip(index, solution * scale, strict=True))


def spread(tally: Tally, pieces: list[bytes]) -> Any:
    """Weights of pieces in the fit, 1 on average."""
    weights = np.array([tally.seen[piece] for piece in pieces]) ** FREQUENCY_POWER
    return weights / weights.mean()


def fit_letters(tally: Tally, known: set[bytes], triples: int) -> dict[bytes, float]:
    """Weights for the pieces that are not known; the triples are those that change most."""
    pieces = [piece for piece in tally.seen if piece not in known and len(piece) < 60]
    counts: dict[bytes, float] = defaultdict(float)
    for piece, weight in zip(pieces, spread(tally, pieces), strict=True):
        padded = b" " + piece + b" "
        for at in range(len(padded) - 2):
            counts[padded[at : at + 3]] += min(weight, 20.0)
    if not triples:
        return solve(tally, pieces, set())
    candidates = set(sorted(counts, key=counts.__getitem__, reverse=True)[:20_000])
    tried = solve(tally, pieces, candidates)
    gain = {g: abs(w) * sqrt(counts[g]) for g, w in tried.items() if len(g) == 3}
    return solve(tally, pieces, set(sorted(gain, key=gain.__getitem__, reverse=True)[:triples]))


def choose(tally: Tally, letters: dict[bytes, float], count: int) -> set[bytes]:
    """The pieces whose place in the table saves most error; frequency alone counts a little."""
    triples = {gram for gram in letters if len(gram) == 3}
    gain = {
        piece: seen
        * (abs(tally.cost(piece) - sum(letters.get(g, 0.0) for g in grams(piece, triples))) + 0.04)
        for piece, seen in tally.seen.items()
        if tally.seen[piece] > 0.5 and not code_page.is_marked(piece)
    }
    return set(sorted(gain, key=gain.__getitem__, reverse=True)[:count])


def known_section(tally: Tally, pieces: set[bytes], steps: int) -> bytes:
    """Lines of a cost and its pieces; ``steps`` of cost a token keep the lines few."""
    by_cost: dict[int, list[bytes]] = defaultdict(list)
    for piece in sorted(pieces):
        by_cost[round(tally.cost(piece) * steps) * word_table.UNITS // steps].append(piece)
    return b"\n".join(b"%d %s" % (c, b" ".join(ps)) for c, ps in sorted(by_cost.items()))


def gram_section(letters: dict[bytes, float], size: int) -> bytes:
    """Columns of bytes, then of weights in 1/32 token."""
    kept = sorted((g, max(-127, min(127, round(32 * w)))) for g, w in letters.items())
    # A pair that costs nothing is kept: one that was never seen costs something.
    kept = [(gram, weight) for gram, weight in kept if len(gram) == size and (weight or size == 2)]
    columns = [bytes(gram[at] for gram, _ in kept) for at in range(size)]
    return b"".join(columns) + bytes(weight & 0xFF for _, weight in kept)


def pack(sections: list[bytes]) -> str:
    """The text that word_table decodes."""
    raw = b"".join(len(section).to_bytes(3, "big") + section for section in sections)
    packed = lzma.compress(raw, lzma.FORMAT_RAW, filters=word_table.FILTERS)
    return base64.b85encode(packed).decode()


def write(packed: str) -> None:
    """Puts the packed table into its module."""
    path = Path(str(word_table.__file__))
    head = path.read_text(encoding="utf-8").partition("_PACKED: Final = (\n")[0]
    lines = [f'    "{packed[at : at + 3000]}"\n' for at in range(0, len(packed), 3000)]
    path.write_text(f"{head}_PACKED: Final = (\n{''.join(lines)})\n", encoding="utf-8")


def main() -> None:
    """Fits, and writes the table where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("tokenizer")
    parser.add_argument("--leave-out", action="append", default=[])
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(arguments.tokenizer)
    sources = load(arguments.root)
    measured = {
        name: measure(source, tokenizer)
        for name, source in sources.items()
        if name.removesuffix("_plain") not in arguments.leave_out
    }
    words, gaps = merge(measured, sources)
    known_words = choose(words, fit_letters(words, set(), TRIPLES), WORDS)
    letters = fit_letters(words, known_words, TRIPLES)
    known_gaps = choose(gaps, fit_letters(gaps, set(), 0), GAPS)
    gap_letters = fit_letters(gaps, known_gaps, 0)
    packed = pack([
        known_section(words, known_words, 8), gram_section(letters, 2), gram_section(letters, 3),
        known_section(gaps, known_gaps, 16), gram_section(gap_letters, 2),
    ])  # fmt: skip
    print(f"{len(packed)} characters packed")
    if arguments.write:
        write(packed)


if __name__ == "__main__":
    main()

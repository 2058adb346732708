"""What the demo plays: projects, keys, limits, prompts, and when something goes wrong."""

from dataclasses import dataclass

MODEL = "gemini-2.5-flash"

WINDOW_S = 10.0
"""The demo's minute, for keypool and the simulator alike, so that windows slide while you watch."""

GUARD_MS = 1500
"""Wider than usual: on a busy machine a call may leave long after its lease."""

TRAFFIC_S = 14.0
REVOKE_AT_S = 4.0
CALLERS = 16
PAUSE_S = 0.8
"""What a caller rests between two prompts."""

WAIT_S = 12.0
"""How long a caller lets keypool park a request."""

ATTEMPTS = 4
"""How often a caller retries one prompt after upstream refused it."""

LATENCY_S = 0.05


@dataclass(frozen=True, slots=True)
class Part:
    """A project in the demo. rpm, tpm: per window, known to keypool. rpd: only upstream knows it."""

    project: str
    keys: tuple[str, str]
    rpm: int
    tpm: int
    rpd: int | None = None


PARTS = (
    Part("cairo", ("cairo-web", "cairo-batch"), rpm=40, tpm=8_000, rpd=45),
    Part("muscat", ("muscat-web", "muscat-batch"), rpm=40, tpm=8_000),
    Part("oslo", ("oslo-web", "oslo-batch"), rpm=60, tpm=2_000),
)

DRY = "cairo"
"""The project that runs out of its day's requests."""

REVOKED = "muscat-web"
"""The key that is revoked in the middle."""

PROMPTS = (
    "لخّص رسالة العميل التالية في جملتين، واذكر ما يطلبه بالتحديد.",
    "Summarise the customer's message in two sentences and name what they ask for.",
    "اكتب ردًّا مهذّبًا على شكوى من تأخّر الشحنة، مع موعد تسليم جديد.",
    "Write a short release note for a fix in the export of monthly reports.",
    "حوّل هذا التاريخ إلى الصيغة الدولية: الثاني والعشرون من نوفمبر 2026.",
    "Which of these three logs shows the timeout, and what happened just before it?",
    "ترجم إلى الإنجليزية: سنعود إليكم خلال يوم عمل واحد.",
    "List five questions a new colleague should ask about our key rotation.",
)


def secret_of(key: str) -> str:
    """The made-up secret of a demo key; only the simulator accepts it."""
    return f"demo-secret-of-{key}-0123456789"

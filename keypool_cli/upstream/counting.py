"""Gemini's own token counts: countTokens with google-genai, raw where it refuses a body.

The call is free and spends no quota for generating.
Source: https://ai.google.dev/gemini-api/docs/billing (FAQ)
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import httpx2
from google import genai
from google.genai import errors, types

from keypool_cli.core.model import Secret
from keypool_cli.errors import KeypoolError
from keypool_cli.upstream.forward import UpstreamError

_VERSION: Final = "v1beta"
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 30.0
_AT_ONCE: Final = 64
_NOT_OURS: Final = 502  # an answer that is not Gemini's, such as a login page of the network


class CountRefusedError(KeypoolError):
    """Upstream answered, but with a refusal. status: HTTP's; body: the error as received."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(f"upstream refused to count tokens ({status})")
        self.status = status
        self.body = body


class TokenCounter:
    """Counts requests with keys that it is handed; keeps connections for the next call."""

    def __init__(self, upstream_url: str) -> None:
        self._url = upstream_url.rstrip("/")
        self._https: dict[str | None, httpx2.AsyncClient] = {}
        self._clients: dict[tuple[str, str | None], genai.Client] = {}

    async def count(
        self,
        secret: Secret,
        *,
        model: str,
        body: Mapping[str, object],
        proxy: str | None = None,
    ) -> int:
        """Input tokens of one generateContent body.

        proxy: the egress proxy's URL; None goes as the machine does.

        Raises CountRefusedError for a refusal, UpstreamError where no answer came.
        """
        try:
            if body.keys() == {"contents"}:
                client = self._client(secret, proxy)
                return await _count_contents(client, model, body["contents"])
            return await self._count_whole(secret, model, body, proxy)
        except httpx2.TimeoutException:
            raise UpstreamError("upstream did not answer in time", timed_out=True) from None
        except (httpx2.HTTPError, OSError) as err:
            # Not chained: what the client library says may hold the URL.
            raise UpstreamError(f"upstream did not answer ({type(err).__name__})") from None

    async def close(self) -> None:
        """Close every connection."""
        for each in self._https.values():
            await each.aclose()

    async def _count_whole(
        self, secret: Secret, model: str, body: Mapping[str, object], proxy: str | None
    ) -> int:
        """The SDK refuses tools and system instructions in countTokens; upstream takes them."""
        answer = await self._http(proxy).post(
            f"{self._url}/{_VERSION}/models/{quote(model, safe='')}:countTokens",
            headers={"x-goog-api-key": secret.text},
            json={"generateContentRequest": {"model": f"models/{model}", **body}},
        )
        try:
            found = answer.json()
        except ValueError:
            found = answer.text
        if not answer.is_success or not isinstance(found, dict):
            raise CountRefusedError(answer.status_code, found)
        return _counted(found.get("totalTokens"))

    def _http(self, proxy: str | None) -> httpx2.AsyncClient:
        http = self._https.get(proxy)
        if http is None:
            http = self._https[proxy] = httpx2.AsyncClient(
                timeout=httpx2.Timeout(_ANSWER_S, connect=_CONNECT_S),
                limits=httpx2.Limits(max_connections=_AT_ONCE),
                proxy=proxy,
            )
        return http

    def _client(self, secret: Secret, proxy: str | None) -> genai.Client:
        client = self._clients.get((secret.text, proxy))
        if client is None:
            options = types.HttpOptions(
                base_url=self._url, api_version=_VERSION, httpx_async_client=self._http(proxy)
            )
            client = genai.Client(vertexai=False, api_key=secret.text, http_options=options)
            self._clients[secret.text, proxy] = client
        return client


async def _count_contents(client: genai.Client, model: str, contents: object) -> int:
    try:
        answer = await client.aio.models.count_tokens(model=model, contents=contents)
    except errors.APIError as err:
        raise CountRefusedError(err.code or 0, err.details) from None
    except ValueError:
        raise CountRefusedError(_NOT_OURS, "the answer is not understood") from None
    return _counted(answer.total_tokens)


def _counted(tokens: object) -> int:
    if not isinstance(tokens, int):
        raise CountRefusedError(_NOT_OURS, "the answer holds no count")
    return tokens

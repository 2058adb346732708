"""LiteLLM's Router choosing among N deployments; runs in LiteLLM's own environment.

python peer.py REDIS_PORT DEPLOYMENTS SECONDS    prints selections a second
"""

import asyncio
import logging
import os
import sys
import time

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from litellm import Router  # type: ignore[import-not-found]  # there, not here

CONCURRENCY = 16
MESSAGES = [{"role": "user", "content": "Which project has room?"}]


def router(port: int, count: int) -> Router:
    """One deployment a key, as keypool has one project a key."""
    deployments = [
        {
            "model_name": "flash",
            "litellm_params": {
                "model": "gemini/gemini-2.5-flash",
                "api_key": f"key-{number}",
                "rpm": 1_000_000,
                "tpm": 1_000_000_000,
            },
        }
        for number in range(count)
    ]
    return Router(
        model_list=deployments,
        routing_strategy="usage-based-routing-v2",
        redis_host="127.0.0.1",
        redis_port=port,
    )


async def measure(found: Router, seconds: float) -> float:
    """Selections a second of callers that ask one after the other."""
    asked, begun = 0, time.monotonic()

    async def caller() -> None:
        nonlocal asked
        while time.monotonic() < begun + seconds:
            await found.async_get_available_deployment(
                model="flash", messages=MESSAGES, request_kwargs={}
            )
            asked += 1

    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    return asked / (time.monotonic() - begun)


def main() -> None:
    """Measure once."""
    logging.disable(logging.CRITICAL)
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    print(asyncio.run(measure(router(port, count), seconds)))


if __name__ == "__main__":
    main()

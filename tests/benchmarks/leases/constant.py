"""The floor of the lease benchmark: the daemon's own HTTP server with a constant JSON answer."""

import uvloop

from keypool_cli.http.address import Address
from keypool_cli.http.message import answer_json
from keypool_cli.http.rsgi import Exchange, Scope
from keypool_cli.http.server import serve

ANSWER = {"lease_id": "x" * 40, "model": "gemini-2.5-flash", "tokens_reserved": 100}


async def app(scope: Scope, proto: Exchange) -> None:
    del scope
    await proto()
    answer_json(proto, 201, ANSWER)


def main() -> None:
    """Serve until ended."""
    address = Address(host="127.0.0.1", port=0)
    uvloop.run(serve(app, address, on_ready=lambda found: print(found.url, flush=True)))


if __name__ == "__main__":
    main()

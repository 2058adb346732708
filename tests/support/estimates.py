"""Estimates by the shipped defaults alone."""

from keypool_cli.core.estimator import estimate_request, estimate_text


class Shipped:
    """What a daemon estimates before anything was calibrated or learned."""

    def request(self, body, *, model):
        return estimate_request(body, model=model)

    def text(self, text, *, model):  # noqa: ARG002 - as a daemon's estimates take it
        return estimate_text(text)

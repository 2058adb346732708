"""The estimator's calibrations, as the last probe of each model left them."""

from collections.abc import Mapping

from sqlalchemy import select

from keypool_cli.registry.change import change
from keypool_cli.registry.database import Database
from keypool_cli.registry.tables import calibrations
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import Actor, Calibration


class Calibrations:
    """The newest calibration of each model."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, model: str, payload: Mapping[str, object], *, by: Actor) -> None:
        """Replace a model's calibration."""
        with change(self._database, by) as done:
            row = {"model": model, "payload": dict(payload), "at_ms": done.at_ms}
            upsert(done.connection, calibrations, [row], key="model")
            done.event("calibration.saved", model)

    def keep(self, model: str, payload: Mapping[str, object]) -> None:
        """Replace what is stored of a model without dating it anew, logging, or a new revision."""
        row = {"model": model, "payload": dict(payload), "at_ms": self._database.now_ms()}
        with self._database.write() as connection:
            upsert(connection, calibrations, [row], key="model", keep=("at_ms",))

    def get(self, model: str) -> Calibration | None:
        """What is stored of one model."""
        query = select(calibrations).where(calibrations.c.model == model)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Calibration(row.model, row.payload, row.at_ms)

    def all(self) -> dict[str, Calibration]:
        """Calibrations by model."""
        with self._database.read() as connection:
            rows = connection.execute(select(calibrations)).all()
        return {row.model: Calibration(row.model, row.payload, row.at_ms) for row in rows}

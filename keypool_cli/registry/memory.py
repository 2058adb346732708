"""What daemons must remember beyond the live store: its epochs, and the estimator's calibrations."""

from collections.abc import Mapping

from sqlalchemy import delete, select, update

from keypool_cli.registry.change import change
from keypool_cli.registry.database import Database
from keypool_cli.registry.tables import calibrations, live_epochs
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import Actor, Calibration, LiveEpoch


class LiveEpochs:
    """Which life of the live store each model was last used in, and when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, model: str) -> LiveEpoch | None:
        """The model's epoch; None if the model was never used, so that nothing can be lost."""
        query = select(live_epochs).where(live_epochs.c.model == model)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else LiveEpoch(row.epoch, row.at_ms)

    def all(self) -> dict[str, str]:
        """Every model's epoch."""
        with self._database.read() as connection:
            return {row.model: row.epoch for row in connection.execute(select(live_epochs))}

    def set(self, model: str, epoch: str, *, at_ms: int) -> None:
        """Keep the epoch that the live store now has for a model."""
        row = {"model": model, "epoch": epoch, "at_ms": at_ms}
        with self._database.write() as connection:
            upsert(connection, live_epochs, [row], key="model")

    def forget(self, model: str, epoch: str) -> None:
        """Forget that the model was ever used, unless another life has begun meanwhile."""
        row = (live_epochs.c.model == model) & (live_epochs.c.epoch == epoch)
        with self._database.write() as connection:
            connection.execute(delete(live_epochs).where(row))

    def note_use(self, model: str, *, at_ms: int) -> None:
        """Keep that a model's live state was in use at an instant of the store's clock."""
        older = (live_epochs.c.model == model) & (live_epochs.c.at_ms < at_ms)
        with self._database.write() as connection:
            connection.execute(update(live_epochs).where(older).values(at_ms=at_ms))


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

"""Which life of the live store each model was last used in: whether it was lost since."""

from sqlalchemy import delete, select, update

from keypool_cli.registry.database import Database
from keypool_cli.registry.tables import live_epochs
from keypool_cli.registry.upsert import upsert
from keypool_cli.registry.values import LiveEpoch


class LiveEpochs:
    """The registry's epochs, one for each model that was ever used."""

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

"""One row an epoch in `metrics.csv`, kept across resumed runs, and the same for TensorBoard."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import lightning as L

from telltale.errors import require


class History(L.Callback):
    """Writes epoch, step, seconds, images a second, learning rate, training loss and the validation figures.

    A row is written before its epoch's checkpoint; on resuming, rows of epochs that will be run again are dropped.
    `metrics.csv` is the record; the TensorBoard events beside it begin a file at each start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events: Any = None
        self._start()

    def _start(self) -> None:
        self._began_s, self._loss_sum, self._n_steps = time.monotonic(), 0.0, 0
        self._n_images = self._n_right = self._n_clips = 0

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._start()
        if not trainer.is_global_zero:
            return
        rows = [row for row in read_history(self.path) if int(row["epoch"]) < trainer.current_epoch]
        if rows:
            self._write(rows)
        else:
            self.path.unlink(missing_ok=True)

    def on_train_batch_end(self, trainer: L.Trainer, _module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self._loss_sum += float(outputs["loss"])
        self._n_steps += 1
        self._n_right += outputs["n_right"]
        self._n_clips += len(batch["mask"])
        self._n_images += int(batch["mask"].sum()) * trainer.world_size

    def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
        if not self._n_steps or not trainer.is_global_zero:
            return
        seconds = time.monotonic() - self._began_s
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "seconds": round(seconds, 1),
            "images_per_s": round(self._n_images / seconds, 1),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "loss": round(self._loss_sum / self._n_steps, 5),
            "accuracy": round(self._n_right / self._n_clips, 5),
        }
        row |= {name: round(float(value), 5) for name, value in sorted(trainer.callback_metrics.items())}
        self._write([*read_history(self.path), row])
        self._tell_tensorboard(row)

    def teardown(self, *_: Any, **__: Any) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None

    def _tell_tensorboard(self, row: dict[str, Any]) -> None:
        if self._events is None:
            writer = require("tensorboardX", "train").SummaryWriter
            self._events = writer(str(self.path.parent / "tensorboard"))
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def _write(self, rows: list[dict[str, Any]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        staged = self.path.with_name(self.path.name + ".part")
        with staged.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)
        staged.replace(self.path)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows written so far; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

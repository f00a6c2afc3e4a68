"""Runs made without training."""

from dataclasses import fields

from ppocli.config.models import Config
from ppocli.records.info import RunInfo
from ppocli.records.logs import Metrics
from ppocli.records.run import new_run
from ppocli.records.writer import RunWriter

CONFIG = Config.model_validate({"env": {"id": "Some/Thing-v1"}, "train": {"seed": 3}})


def create(folder, name=None):
    """A run that has been created, and is closed again."""
    writer = RunWriter(new_run(folder, CONFIG, name))
    writer.create(CONFIG, RunInfo(versions={"torch": "2"}))
    writer.close()
    return writer.run


def columns_of(row):
    """The columns of a log with such rows."""
    return [field.name for field in fields(row) if field.name != "info"]


def metrics(**changes):
    """A row of `metrics.csv` in which every number is 1 but for the `changes`."""
    return Metrics(**dict.fromkeys(columns_of(Metrics), 1) | changes)

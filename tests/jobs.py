"""Trainings without the command line."""

from dataclasses import replace

from ppocli.records.info import Command
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training import loop
from ppocli.training.job import Job
from ppocli.training.resume import resume_job


def train(config, run, *, stop_when_solved=False, **options):
    """Train a run that does not exist yet; yields its iterations."""
    command = Command(command=["ppocli", "train"])
    job = Job(config, RunWriter(run), stop_when_solved=stop_when_solved, command=command)
    return loop.train(job, **options)


def resume(run, *overrides, allow_inexact=False, **changed):
    """Resume a run, as `train --resume` does with a `--set` for each of the `overrides`; yields its iterations."""
    job = resume_job(run, Command(overrides=list(overrides)), allow_inexact=allow_inexact)
    return loop.train(replace(job, **changed))


def trained(config, folder, **options):
    """Train a run in a folder to its end; return it, and its iterations."""
    run = Run(folder)
    return run, list(train(config, run, **options))

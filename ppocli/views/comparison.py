"""What configs have come to, beside each other."""

from collections.abc import Callable, Sequence
from string import ascii_uppercase

from ppocli.evaluation.comparison import Comparison, Difference, Scores, Times
from ppocli.views.console import out
from ppocli.views.results import table
from ppocli.views.text import NOTHING, count, duration

_HEADER = ("", "seeds", "return", "95 % over seeds", "IQM", "solved", "after", "time")


def show(found: Sequence[Comparison]) -> None:
    """Print a table for each environment, in what its configs differ, and a verdict on each but the first."""
    for comparison in found:
        out.print(comparison.env_id, markup=False, highlight=False)
        names = dict(zip(_names(len(comparison.groups)), comparison.groups, strict=True))
        for name, scores in names.items():
            out.print(f"{name}  {scores.label}", markup=False, highlight=False, soft_wrap=True)
        table(_HEADER, [_row(name, scores, _digits(comparison)) for name, scores in names.items()])
        for key in comparison.groups[0].settings:
            values = "; ".join(f"{name} {scores.settings[key]}" for name, scores in names.items())
            out.print(f"{key}: {values}", markup=False, highlight=False, soft_wrap=True)
        for line in verdicts(comparison):
            out.print(line, markup=False, highlight=False, soft_wrap=True)


def verdicts(comparison: Comparison) -> list[str]:
    """Return in a sentence of each config but the first whether it is better than that, and how sure that is."""
    (first, base), *others = zip(_names(len(comparison.groups)), comparison.groups, strict=True)
    return [
        verdict(first, name, scores.difference, (len(base.seeds), len(scores.seeds)), _digits(comparison))
        for name, scores in others
        if scores.difference is not None
    ]


def verdict(first: str, name: str, difference: Difference, seeds: tuple[int, int], digits: int = 1) -> str:
    """Return in a sentence whether one config is better than the first, of so many seeds each, and how sure that is."""
    over = f"over {seeds[0]} pairs of seeds" if difference.paired else f"over {seeds[0]} and {seeds[1]} seeds"
    apart = f"{difference.mean:+,.{digits}f}".replace("-", "−")
    if difference.interval is None:
        return f"{name} beside {first}: {apart}; one seed of a config tells nothing of its others"
    better = f"the better one in {difference.p_improvement:.0%} of pairs of runs"
    sure = f"{apart}, 95 % interval {_interval(difference.interval, digits)} {over}; {better}"
    if difference.is_told:
        return f"{name} is {'better' if difference.mean > 0 else 'worse'} than {first}: {sure}"
    needed = difference.seeds_needed
    more = f"; about {needed:,} seeds of each would (80 % power at this difference)" if needed else ""
    return f"these seeds cannot tell {name} from {first}: {sure}{more}"


def _row(name: str, scores: Scores, digits: int) -> list[str]:
    steps, seconds = scores.env_steps_to_target, scores.seconds_to_target
    return [
        name,
        str(len(scores.seeds)),
        _number(scores.mean, digits),
        NOTHING if scores.interval is None else _interval(scores.interval, digits),
        _number(scores.iqm, digits),
        NOTHING if steps is None else f"{steps.solved} of {len(scores.seeds)}",
        NOTHING if steps is None else _median(steps, count),
        NOTHING if seconds is None else _median(seconds, duration),
    ]


def _median(times: Times, words: Callable[[float], str]) -> str:
    return f"> {words(times.at_least)}" if times.median is None else words(times.median)


def _names(number: int) -> list[str]:
    """Return a letter for each config, and numbers from the 27th on."""
    return [*ascii_uppercase, *map(str, range(27, number + 1))][:number]


def _digits(comparison: Comparison) -> int:
    """Return how many decimals returns of such a size have."""
    return 1 if max(abs(scores.mean) for scores in comparison.groups) >= 10 else 3


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}".replace("-", "−")


def _interval(bounds: tuple[float, float], digits: int) -> str:
    return f"{_number(bounds[0], digits)} to {_number(bounds[1], digits)}"

"""Writes an HTML page in which a trained CartPole policy plays, its weights inside: no network, no library.

    ppocli train --config cartpole
    python examples/make_browser.py latest examples/cartpole.html

What a policy computes is a plan of `ppocli.portable`, here written as JSON into a copy of the page beside this file;
twenty lines of JavaScript do the rest.
"""

import argparse
import json
import re
from pathlib import Path

import ppocli
from ppocli.portable.plan import plan_of

PAGE = Path(__file__).with_name("cartpole.html")


def main():
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("output", type=Path)
    asked = parser.parse_args()
    plan = plan_of(ppocli.load(asked.run))
    mean, std = plan.normalizer or ([0.0] * 4, [1.0] * 4)
    layers = [{"w": weight.tolist(), "b": bias.tolist()} for weight, bias in plan.layers]
    policy = {"mean": list(map(float, mean)), "std": list(map(float, std)), "layers": layers}
    policy["activation"] = plan.activation
    written = json.dumps(policy, separators=(",", ":"))
    asked.output.write_text(re.sub(r"const POLICY = .*", f"const POLICY = {written};", PAGE.read_text(), count=1))


if __name__ == "__main__":
    main()

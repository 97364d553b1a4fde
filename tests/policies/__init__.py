"""What manifests keep to, a function a rule: it yields a sentence for each place that does not.

A rule's docstring says what it asks for. `tests/unit/k8s` asks each of every overlay, and breaks each once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from manifests import Manifests
from policies import autoscaling, configuration, network, pods, references, security

Rule = Callable[[Manifests], Iterator[str]]

RULES: dict[str, Rule] = {
    rule: check
    for module in (pods, security, configuration, references, network, autoscaling)
    for rule, check in vars(module).items()
    if inspect.isfunction(check) and check.__module__ == module.__name__ and not rule.startswith("_")
}


def broken(manifests: Manifests) -> list[str]:
    """Returns what is against the rules, each by its rule."""
    return [f"{rule}: {said}" for rule, check in RULES.items() for said in check(manifests)]

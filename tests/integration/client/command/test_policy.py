"""`eyas policy`."""

from __future__ import annotations

from tests.integration.client.command.conftest import Eyas

from fake_server import FakeServer


def test_a_policy_is_shown_and_set(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("policy", "clothing")[:2] == (0, "clothing demands nothing of its versions: eyas policy --help.\n")
    status, out, _ = eyas(
        "policy",
        "clothing",
        "--at-least",
        "accuracy=0.9",
        "--at-most",
        "log_loss=.3",
        "--max-label-drop",
        "0.05",
        "--no-significant-loss",
    )
    assert (status, out.splitlines()) == (
        0,
        [
            "clothing@production demands:",
            "  accuracy at least 0.9",
            "  log_loss at most 0.3",
            "  no label whose F1 is by more than 0.05 lower than before",
            "  no significant loss of accuracy on the pictures that the version before was tested on, too",
        ],
    )
    policy = server.received[1].request.policy
    assert (policy.name, list(policy.aliases), policy.max_label_drop) == ("models/clothing/policy", [], 0.05)
    assert eyas("policy", "clothing", "--clear")[0] == 0
    cleared = server.received[2].request.policy
    assert (list(cleared.bounds), cleared.HasField("max_label_drop"), cleared.no_significant_loss) == ([], False, False)
    assert policy.no_significant_loss

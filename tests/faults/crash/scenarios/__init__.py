"""Every operation that writes what matters, by name."""

from __future__ import annotations

from typing import Any, Final

from faults.crash.scenario import Scenario
from faults.crash.scenarios.backups import BackUp, Restore
from faults.crash.scenarios.caches import Decoded, Fetched
from faults.crash.scenarios.captured import Capture
from faults.crash.scenarios.checkpoint import Checkpoint
from faults.crash.scenarios.jobs import Folder, Jobs, NewDatabase
from faults.crash.scenarios.uploads import Collect, Upload
from faults.crash.scenarios.versions import Alias, Delete, Publish

SCENARIOS: Final[dict[str, Scenario[Any]]] = {
    "publish a version": Publish(),
    "move aliases and traffic": Alias(),
    "delete versions": Delete(),
    "upload a dataset": Upload(),
    "collect what deleted datasets leave": Collect(),
    "submit, claim, record and end a job": Jobs(),
    "make the job database": NewDatabase(),
    "lay out a job's folder": Folder(),
    "keep fetched objects": Fetched(),
    "keep decoded pictures": Decoded(),
    "keep, label and delete captured pictures": Capture(),
    "back up": BackUp(),
    "restore": Restore(),
    "write a checkpoint": Checkpoint(),
}

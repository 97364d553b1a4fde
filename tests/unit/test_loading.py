"""Nothing that can run code is ever loaded: no pickles, no code from a hub, no YAML that makes objects; held by reading every file.

ruff's rules S hold the calls that they know (pickle.load, yaml.load, eval, exec); not numpy's, torch's and joblib's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import eyas
import eyasd

FILES = sorted(path for root in (eyasd, eyas) for path in Path(root.__path__[0]).rglob("*.py"))
# Modules whose readers run what they read; the name of an error may be had of them.
RUNNING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
ERRORS = {"UnpicklingError", "PickleError"}
CALLS = {
    "torch.hub.load",
    "torch.hub.load_state_dict_from_url",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "yaml.load",
    "yaml.unsafe_load",
}
CALLS |= {"yaml.full_load", "eval", "exec", "os.system", "runpy.run_path"}
# What a call needs to be harmless.
NEEDED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)}
FORBIDDEN = {"trust_remote_code": True, "allow_pickle": True, "weights_only": False, "shell": True}

# To parse all of 600 files takes two seconds; one without these words holds none of the above.
WORDS = re.compile(
    r"pickle|dill|joblib|shelve|marshal|\b(torch|np|numpy|yaml)\.\S*load|Importer|\beval\(|\bexec\(|os\.system|run_path|trust_remote|shell=|weights_only"
)


def name_of(node: ast.expr) -> str:
    """Returns the dotted name of what is called."""
    return (
        f"{name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    )


def findings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)) if WORDS.search(source) else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in RUNNING)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in RUNNING:
            yield from (alias.name for alias in node.names if alias.name not in ERRORS)
        elif isinstance(node, ast.Call):
            yield from of_call(node)


def of_call(node: ast.Call) -> Iterator[str]:
    name = name_of(node.func)
    given = {keyword.arg: getattr(keyword.value, "value", "computed") for keyword in node.keywords}
    if name in CALLS:
        yield name
    if name in NEEDED:
        argument, value = NEEDED[name]
        if given.get(argument) is not value:
            yield f"{name} without {argument}={value}"
    for argument, value in FORBIDDEN.items():
        if argument in given and given[argument] is not (not value):
            yield f"{name}({argument}={given[argument]})"


def test_no_file_loads_what_can_run_code() -> None:
    assert len(FILES) > 300
    assert {path.name: found for path in FILES if (found := list(findings(path.read_text())))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads, UnpicklingError", "import joblib.numpy_pickle", "from dill import load",
        "torch.load(f)", "torch.load(f, weights_only=False)", "torch.load(f, weights_only=chosen)", "np.load(f)",
        "np.load(f, allow_pickle=True)", "torch.hub.load('x', 'y')", "os.system(x)",
        "yaml.load(f)", "create(trust_remote_code=True)", "create(trust_remote_code=chosen)", "eval(x)",
        "subprocess.run(x, shell=True)",
    ],
)  # fmt: skip
def test_each_is_found_where_it_is(source: str) -> None:
    assert list(findings(source))

"""Documents name what exists, and stay short."""

import math
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from penstock.adapters.mlflow.content import StrategySource, class_of
from penstock.core.bars import BARS_SCHEMA
from penstock.research.validation.leakage import check_no_lookahead

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
#: Where the paths in a document begin: the project, the library, and the tests in their table.
_ROOTS = (ROOT, ROOT / "penstock", ROOT / "tests")
_PATH = re.compile(r"`((?:[a-z_]+/)+[a-z0-9_]+\.(?:py|yaml|sql|toml))`")
#: A name of ours in a document: after its module, or alone where it begins with an underscore.
_NAME_IN = re.compile(r"`((?:[a-z_]+/)*[a-z_]+\.py):\s+([\w.]+)")
_OWN_NAME = re.compile(r"`(_[A-Za-z]\w*)(?:\(\))?`")


def test_readme_is_short() -> None:
    """A newcomer reads it in one go: what grows moves to a page of its own."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link names a file that exists, and a heading that it has."""
    path = ROOT / document
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        linked = (path.parent / name) if name else path
        if not linked.exists() or (anchor and anchor not in _anchors(linked)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_files_that_are_named_exist(document: str) -> None:
    """A path in a document is one of the repository's."""
    text = (ROOT / document).read_text(encoding="utf-8")
    missing = {
        name
        for name in _PATH.findall(text)
        if name != "strategies/near_high.py"  # the reader writes it
        and not any((root / name).exists() for root in _ROOTS)
    }
    assert not missing


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_names_that_are_named_are_defined(document: str, sources: dict[str, str]) -> None:
    """`module.py: name` is in a module of that name, and `_name` in any of ours."""
    text = (ROOT / document).read_text(encoding="utf-8")
    gone = [
        f"{module}: {name}"
        for module, name in _NAME_IN.findall(text)
        if not any(
            path.endswith(f"/{module}") and all(_defines(source, part) for part in name.split("."))
            for path, source in sources.items()
        )
    ]
    everything = "\n".join(sources.values())
    gone += [name for name in _OWN_NAME.findall(text) if not _defines(everything, name)]
    assert not gone


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """The text of every module of the project by its path."""
    folders = (ROOT / name for name in ("penstock", "flows", "tasks"))
    paths = (path for folder in folders for path in folder.rglob("*.py"))
    return {path.as_posix(): path.read_text(encoding="utf-8") for path in paths}


def _defines(source: str, name: str) -> bool:
    found = rf"^ *(?:(?:def|class) {name}\b|{name}(?:: [^=\n]+)? = )"
    return re.search(found, source, re.MULTILINE) is not None


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readmes_strategy_works() -> None:
    """The strategy that the README shows decides, keeps to its contract and sees nothing later."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    near_high = class_of(StrategySource("NearHigh", source), "README.md")
    start = datetime(2025, 1, 1, tzinfo=UTC)
    rows = [
        (symbol, start + timedelta(days=n), *[100 + 10 * math.sin(n / pace)] * 4, 1.0)
        for symbol, pace in (("AAA/USDT", 9.0), ("BBB/USDT", 30.0))
        for n in range(150)
    ]
    bars = pl.DataFrame(rows, BARS_SCHEMA, orient="row")
    strategy = near_high.from_params({"lookback_bars": 30})
    assert strategy.decide(bars)["weight"].drop_nulls().n_unique() > 1
    assert not check_no_lookahead(strategy, bars)


@pytest.mark.parametrize(
    ("target", "ends", "sentence"),
    [
        ("setup", 2, "python3.99 is not on this machine: Penstock needs Python 3.11-3.13"),
        ("down", 0, "nothing to end: there is no set-up"),
    ],
)
def test_make_names_cause_and_remedy_and_installs_nothing(
    target: str, ends: int, sentence: str, tmp_path: Path
) -> None:
    """A fresh clone: a Python that is not there, and nothing to end."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("Makefile", "requirements.lock", "requirements-uv.lock", "pyproject.toml"):
        (clone / name).symlink_to(ROOT / name)
    command = ["make", "-C", str(clone), "PYTHON=python3.99", target]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == ends
    assert sentence in made.stdout
    assert not (clone / ".venv").exists()

"""What a version consists of, under one hash: a strategy's source, its parameters and evidence.

A version is a folder of three files: manifest.json, strategy.py and evidence.json. The hashes are
checked before any of its code runs. This file needs no MLflow.
"""

import ast
import hashlib
import inspect
import json
import linecache
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.core.errors import PromotionError, StrategyError
from penstock.core.strategy import Strategy
from penstock.promotion.evidence import Evidence

MANIFEST, SOURCE, EVIDENCE = "manifest.json", "strategy.py", "evidence.json"


class Manifest(BaseModel):
    """The content of a version, with the hashes of source and evidence in place of their text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    """The strategy's name."""
    class_name: str
    """The name of the class in the source."""
    params: dict[str, float | int | str | bool]
    """The strategy's parameters."""
    source_sha256: str
    """The hash of the source file's text."""
    evidence_sha256: str
    """The hash of the evidence file's text."""
    dataset_hash: str
    """The hash of the snapshot that was searched."""
    search_id: str
    """The search that chose it."""
    environment_hash: str
    """The hash of the installed distributions."""

    @property
    def content_hash(self) -> str:
        """The SHA-256 of all fields: versions with the same hash are the same version."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return _sha256(canonical.encode())


@dataclass(frozen=True)
class StrategySource:
    """The text of a strategy's own file, and the class in it."""

    class_name: str
    text: str

    @property
    def sha256(self) -> str:
        """The hash of the text."""
        return _sha256(self.text.encode())


@dataclass(frozen=True)
class VersionContent:
    """A version that was read from its folder, with its hashes checked."""

    manifest: Manifest
    source: StrategySource
    evidence: Evidence

    def strategy(self) -> Strategy:
        """Return the strategy, built from this content's own code and parameters."""
        strategy_class = class_of(
            self.source, f"<registry {self.manifest.content_hash[:12]}>/{self.manifest.strategy}.py"
        )
        try:
            return strategy_class.from_params(dict(self.manifest.params))
        except StrategyError as error:
            raise PromotionError(
                f"version {self.manifest.content_hash[:12]} cannot be built: {error}"
            ) from error


def source_of(strategy_class: type[Strategy]) -> StrategySource:
    """Return the source file of a strategy.

    A version ships that one file. It may not import other strategy files: they would come from the
    worker's checkout and not from the version. Raises PromotionError where it does, or where there
    is no file.
    """
    try:
        lines, _ = inspect.findsource(strategy_class)
    except (OSError, TypeError):
        raise PromotionError(
            f"strategy '{strategy_class.name}' has no source file: a class from a notebook cell "
            "cannot be registered; move it to a file under strategies/"
        ) from None
    text = "".join(lines)
    for module in _imported(text):
        if module.split(".")[0] in ("strategies", "flows", "tasks", "__main__"):
            raise PromotionError(
                f"strategy '{strategy_class.name}' imports '{module}': "
                "a registered strategy's file must stand alone; "
                "import from penstock only, or move the code into the file"
            )
    return StrategySource(strategy_class.__name__, text)


def class_of(source: StrategySource, filename: str) -> type[Strategy]:
    """Run the source as a module of its own, and return the strategy class.

    Raises PromotionError where it cannot be run or has no such class.
    """
    module = ModuleType(f"penstock_registered_{source.sha256[:16]}")
    module.__file__ = filename
    # Pydantic resolves annotations through sys.modules. Tracebacks and inspect read linecache.
    sys.modules[module.__name__] = module
    linecache.cache[filename] = (
        len(source.text),
        None,
        source.text.splitlines(keepends=True),
        filename,
    )
    try:
        exec(compile(source.text, filename, "exec"), module.__dict__)
    except Exception as error:
        raise PromotionError(
            f"{filename} cannot be run: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, source.class_name, None)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise PromotionError(
            f"{filename} has no strategy class '{source.class_name}': "
            "the version is not a strategy's"
        )
    return found


def manifest_of(source: StrategySource, evidence: Evidence) -> Manifest:
    """Return the manifest of a version that is made of this source and evidence."""
    return Manifest(
        strategy=evidence.strategy,
        class_name=source.class_name,
        params=evidence.params,
        source_sha256=source.sha256,
        evidence_sha256=_sha256(_text_of(evidence).encode()),
        dataset_hash=evidence.dataset_hash,
        search_id=evidence.search_id,
        environment_hash=environment_hash(),
    )


def write_version(
    folder: Path, manifest: Manifest, source: StrategySource, evidence: Evidence
) -> None:
    """Write a version's three files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    (folder / SOURCE).write_text(source.text, encoding="utf-8", newline="")
    (folder / EVIDENCE).write_text(_text_of(evidence), encoding="utf-8", newline="")


def read_version(folder: Path, expected_hash: str | None = None) -> VersionContent:
    """Return the version in `folder`.

    `expected_hash` is the content hash that the registry has; None checks the folder only against
    itself. Raises PromotionError where a file is missing, malformed or not what its hash says.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        text = (folder / SOURCE).read_bytes().decode()
        shown = (folder / EVIDENCE).read_bytes()
        evidence = Evidence.model_validate_json(shown)
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise PromotionError(
            f"the version's files are incomplete or malformed: {error}; register it again"
        ) from error
    source = StrategySource(manifest.class_name, text)
    if source.sha256 != manifest.source_sha256:
        raise PromotionError(
            f"the source of '{manifest.strategy}' has hash {source.sha256[:12]} and its manifest "
            f"says {manifest.source_sha256[:12]}: it was changed after it was registered "
            "and will not be run"
        )
    if _sha256(shown) != manifest.evidence_sha256:
        raise PromotionError(
            f"the evidence of '{manifest.strategy}' has hash {_sha256(shown)[:12]} and its "
            f"manifest says {manifest.evidence_sha256[:12]}: it was changed after it was "
            "registered, and the version will not be run"
        )
    if expected_hash is not None and manifest.content_hash != expected_hash:
        raise PromotionError(
            f"the content of '{manifest.strategy}' has hash {manifest.content_hash[:12]} and "
            f"the registry's tag says {expected_hash[:12]}: it was changed after it was registered "
            "and will not be run"
        )
    return VersionContent(manifest, source, evidence)


@cache
def environment_hash() -> str:
    """Return the SHA-256 of the names and versions of all installed distributions.

    It is measured once per process: to read their metadata takes a third of a second.
    """
    found = sorted({f"{(d.metadata['Name'] or '').lower()}=={d.version}" for d in distributions()})
    return _sha256("\n".join(found).encode())


def _text_of(evidence: Evidence) -> str:
    return evidence.model_dump_json(indent=2)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _imported(text: str) -> list[str]:
    """Return the modules that a source text imports, at any depth.

    A relative import is '__main__'.
    """
    modules: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append("__main__" if node.level else node.module or "")
    return modules

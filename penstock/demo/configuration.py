"""The demo's configuration: the project's own files, copied into the demo's folder, with the few
changes a demo needs.

They are files, so that every command can work on what the demo left. PENSTOCK_HOME and
PENSTOCK_CONFIGS name its folders then.
"""

import shutil
from pathlib import Path
from typing import Any

import yaml

from penstock.demo.history import DemoHistory
from penstock.settings import Process, Settings

#: What the demo asks of a candidate. Everything is measured and shown. Only the technical criteria
#: must pass, so that the demo trades on any candles. The project's own thresholds are judged beside
#: it.
_THRESHOLDS = {
    "min_out_of_sample_orders": 1,
    "min_out_of_sample_sharpe": -100.0,
    "max_out_of_sample_drawdown": 1.0,
    "min_deflated_sharpe": 0.0,
    "max_turnover": 100_000.0,
    "min_sharpe_retention": None,
    "min_doubled_cost_return": -1.0,
    "min_sharpe_over_champion": -100.0,
}
CASH = 100_000


def write_configuration(source: Path, home: Path, history: DemoHistory, trials: int) -> Path:
    """Copy the configuration at `source` into `home`, changed for this history; return it."""
    folder = home / "configs"
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.yaml"):
        shutil.copyfile(path, folder / path.name)
    _change(
        folder / "universe.yaml", symbols=list(history.symbols), timeframes=_timeframes(history)
    )
    _change(folder / "promotion.yaml", daily=_THRESHOLDS)
    studies = yaml.safe_load((folder / "research.yaml").read_text(encoding="utf-8"))
    daily = studies["daily"]
    daily["search"]["trials"] = -(-trials // len(daily["strategies"]))
    _write(folder / "research.yaml", studies)
    return folder


def demo_settings(template: Settings, home: Path, configs: Path, practice_url: str) -> Settings:
    """Return settings that trade the practice exchange at `practice_url` from the demo's folder.

    The demo keeps to its own database and registry whatever the environment says: its thresholds
    let anything pass.
    """
    process = Process(
        home=home,
        configs=configs,
        env="practice",
        practice_url=practice_url,
        database_url=None,
        mlflow_url=None,
        notify_urls=template.process.notify_urls,
    )
    keys = Settings(process).practice_key_variables()
    return Settings(process, {**template.variables, **keys})


def _timeframes(history: DemoHistory) -> dict[str, Any]:
    return {
        "1d": {"start": history.start.date()},
        "1h": {"start": history.hourly_start.date(), "symbols": list(history.hourly)},
    }


def _change(path: Path, **changes: Any) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    _write(path, {**content, **changes})


def _write(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_suffix(".partial")
    draft.write_text(
        "# Written by the demo.\n" + yaml.safe_dump(content, sort_keys=False),
        encoding="utf-8",
    )
    draft.replace(path)

"""configs/portfolio.yaml and configs/research.yaml: which models share an account, and which
studies find them.
"""

from pydantic import Field, field_validator, model_validator

from penstock.core.timeframes import Timeframe
from penstock.execution.algorithms.styles import MarketStyle, Style
from penstock.execution.rebalance.slots import MissedSlots
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.research.engine.results import SearchSettings
from penstock.settings.files import Frozen


class ModelAllocation(Frozen):
    name: str
    alias: str = "champion"
    quota: float = Field(1.0, gt=0, le=1)


class Portfolio(Frozen):
    """One entry of configs/portfolio.yaml: the models that share one account, how it trades, and
    when a slot is too late.
    """

    models: tuple[ModelAllocation, ...] = Field(min_length=1)
    timeframe: Timeframe
    max_lateness_minutes: float = Field(720, gt=0)
    missed_slots: MissedSlots = MissedSlots.SKIP
    rebalancing: RebalancePolicy = RebalancePolicy()
    execution: Style = MarketStyle()

    @model_validator(mode="after")
    def _works_within_a_slot(self) -> "Portfolio":
        if isinstance(self.execution, MarketStyle):
            return self
        worked, slot = 2 * self.execution.duration.total_seconds(), self.timeframe.seconds
        if worked > slot:
            raise ValueError(
                f"execution: sells and then buys would take {worked:.0f} s of a slot of {slot} s: "
                "shorten the work, or trade less often"
            )
        return self

    @field_validator("models")
    @classmethod
    def _quotas_fit(cls, models: tuple[ModelAllocation, ...]) -> tuple[ModelAllocation, ...]:
        total = sum(model.quota for model in models)
        if total > 1 + 1e-9:
            raise ValueError(
                f"the quotas sum to {total:g}: they are fractions of one account and may not "
                "exceed 1"
            )
        return models


class Study(Frozen):
    """One entry of configs/research.yaml: what a search explores and under which name its best is
    registered.
    """

    timeframe: Timeframe
    strategies: tuple[str, ...] = Field(min_length=1)
    register_as: str
    search: SearchSettings = SearchSettings()

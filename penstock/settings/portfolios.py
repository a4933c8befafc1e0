"""configs/portfolio.yaml and configs/research.yaml: models that share an account, and studies."""

from pydantic import Field, field_validator, model_validator

from penstock.core.timeframes import Timeframe
from penstock.execution.algorithms.styles import MarketStyle, Style
from penstock.execution.rebalance.slots import MissedSlots
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.research.engine.results import SearchSettings
from penstock.settings.files import Frozen


class ModelAllocation(Frozen):
    """One registered model of a portfolio."""

    name: str = Field(description="the model's name in the registry")
    alias: str = Field("champion", description="the alias of the version that trades")
    quota: float = Field(1.0, gt=0, le=1, description="fraction of equity that the model may use")


class Portfolio(Frozen):
    """One entry of configs/portfolio.yaml: the models that share one account, and how it trades."""

    models: tuple[ModelAllocation, ...] = Field(min_length=1, description="the models")
    timeframe: Timeframe = Field(description="the bars at whose close a slot is")
    max_lateness_minutes: float = Field(
        720, gt=0, description="a slot that would start later than this is skipped"
    )
    missed_slots: MissedSlots = Field(
        MissedSlots.SKIP, description="what is done about slots that passed without a run"
    )
    rebalancing: RebalancePolicy = Field(
        RebalancePolicy(), description="which differences to the targets are traded"
    )
    execution: Style = Field(MarketStyle(), description="the style in which orders are worked")

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
                f"the quotas sum to {total:g}: "
                "they are fractions of one account and may not exceed 1"
            )
        return models


class Study(Frozen):
    """One entry of configs/research.yaml: what a search explores."""

    timeframe: Timeframe = Field(description="the bars that are searched")
    strategies: tuple[str, ...] = Field(min_length=1, description="names of the strategies")
    register_as: str = Field(description="the name under which the best is registered")
    search: SearchSettings = Field(SearchSettings(), description="how the search is run")

"""A strategy that enters whenever it may and leaves every third minute: many orders, no thought."""

from freqtrade.strategy import IStrategy
from pandas import DataFrame


class EveryMinute(IStrategy):  # type: ignore[misc]  # Freqtrade is not in this environment
    """Four pairs at once, a stop on the exchange one percent below each entry."""

    timeframe = "1m"
    startup_candle_count = 5
    minimal_roi = {"0": 0.005}  # noqa: RUF012  the name and the type are Freqtrade's
    stoploss = -0.01

    def populate_indicators(self, dataframe: DataFrame, metadata: dict[str, str]) -> DataFrame:
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict[str, str]) -> DataFrame:
        # where both are set Freqtrade does neither
        dataframe.loc[dataframe["date"].dt.minute % 3 != 0, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict[str, str]) -> DataFrame:
        dataframe.loc[dataframe["date"].dt.minute % 3 == 0, "exit_long"] = 1
        return dataframe

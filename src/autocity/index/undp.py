"""The human development indices of the United Nations Development Programme.

The HDI itself is a framework (pack "undp-hdi"); these are its adjusted forms, which no framework can hold.
Arrays go in and come out; NaN where something is missing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from autocity.index.arrays import Floats

Sex = Literal["both", "female", "male"]
LIFE: dict[Sex, tuple[float, float]] = {"both": (20.0, 85.0), "female": (22.5, 87.5), "male": (17.5, 82.5)}
SCHOOLING = (18.0, 15.0)
INCOME = (100.0, 75_000.0)
CARBON, FOOTPRINT = 76.61, 140.82
"""Highest carbon dioxide production and material footprint per person observed (tonnes), HDR 2023/24."""


def dimensions(life: Floats, expected: Floats, mean: Floats, income: Floats, sex: Sex = "both") -> Floats:
    """Health, education and income indices, each 0 to 1, on a last axis of three.

    Life expectancy in years; expected and mean years of schooling; income per person in 2017 PPP dollars.
    """
    low, high = LIFE[sex]
    health = (life - low) / (high - low)
    education = (np.minimum(expected / SCHOOLING[0], 1.0) + np.minimum(mean / SCHOOLING[1], 1.0)) / 2
    floor, ceiling = np.log(INCOME)
    wealth = (np.log(np.clip(income, *INCOME)) - floor) / (ceiling - floor)
    return np.stack([health, education, wealth], -1).clip(0.0, 1.0)


def hdi(life: Floats, expected: Floats, mean: Floats, income: Floats, sex: Sex = "both") -> Floats:
    """Human Development Index: the geometric mean of the three dimensions."""
    return np.asarray(np.cbrt(dimensions(life, expected, mean, income, sex).prod(-1)))


def gdi(female: Floats, male: Floats) -> Floats:
    """Gender Development Index: women's HDI over men's."""
    return female / male


def ihdi(dimensions: Floats, inequality: Floats) -> Floats:
    """Inequality-adjusted HDI: each dimension less its loss (`inequality`, in percent, last axis of
    three)."""
    return np.asarray(np.cbrt((dimensions * (1.0 - inequality / 100.0)).prod(-1)))


def gii(
    mortality: Floats,
    births: Floats,
    schooling: tuple[Floats, Floats],
    parliament: tuple[Floats, Floats],
    labour: tuple[Floats, Floats],
) -> Floats:
    """Gender Inequality Index, 0 (equality) to 1; pairs are (female, male) in percent.

    Maternal deaths per 100,000 births count between 10 and 1,000, births per 1,000 adolescents from 1 up.
    Shares of parliament are taken as given: the Programme itself writes 0.01 where a parliament has no women.
    """
    health = np.sqrt(10.0 / mortality.clip(10.0, 1000.0) / births.clip(1.0))
    female, male = (
        (np.sqrt(p * s) / 100.0, work / 100.0)
        for p, s, work in zip(parliament, schooling, labour, strict=True)
    )
    women = np.cbrt(health * female[0] * female[1])
    men = np.cbrt(male[0] * male[1])
    equal = 2.0 / (1.0 / women + 1.0 / men)
    reference = np.cbrt((health + 1.0) / 2 * (female[0] + male[0]) / 2 * (female[1] + male[1]) / 2)
    return np.asarray(1.0 - equal / reference)


def phdi(hdi: Floats, carbon: Floats, footprint: Floats) -> Floats:
    """Planetary pressures-adjusted HDI, from the HDI as published (three decimals), tonnes per person."""
    carbon_left, footprint_left = 1.0 - carbon / CARBON, 1.0 - footprint / FOOTPRINT
    return np.round(hdi, 3) * (carbon_left + footprint_left) / 2

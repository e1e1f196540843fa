"""Checks that every recipe of the platform passes, to run on recipes and towers of one's own.

    import pytest
    from twotower_assets.testing import CHECKS

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_tower(check):
        check({"user_tower": "shop_towers:Attention"})

A check takes the settings of a recipe, as under a name in `recipes.yaml`, and the name of an engine. It raises
`AssertionError` with a sentence where something does not hold. Here: the checks (`suite.py`) and the small market that
they run on (`example_market.py`).
"""

from twotower_assets.testing.example_market import Market, example_market
from twotower_assets.testing.suite import CHECKS, Check

__all__ = ["CHECKS", "Check", "Market", "example_market"]

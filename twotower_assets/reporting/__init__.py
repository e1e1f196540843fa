"""Charts and the HTML report: from tables of results to SVG and to one self-contained page.

Whatever turns numbers into something a person reads belongs here. What computes the numbers is in `evaluation`;
nothing here reads the lake or imports Dagster.
"""

"""Charts and the HTML report: from tables of results to SVG and to one self-contained page.

What turns numbers into something a person reads belongs here. What computes the numbers does not (see
`evaluation`), nor does anything that reads the lake or knows of Dagster.
"""

"""Ranking and popularity metrics: pure functions of arrays, with numpy and scipy and nothing else.

Arithmetic on score matrices, ranked lists and click counts belongs here. Reading tables, training models and drawing
charts do not.
"""

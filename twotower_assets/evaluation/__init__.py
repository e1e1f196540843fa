"""Ranking and popularity metrics: pure functions of arrays, with numpy and scipy and nothing else.

What belongs here is arithmetic on score matrices, ranked lists and click counts. Reading tables, training
models and drawing charts belong elsewhere.
"""

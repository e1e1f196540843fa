"""The vector index over item embeddings: build, search, measure, save and load, with FAISS and numpy.

Code that works on arrays and files belongs here. The origin of embeddings, the choice of the served index and the gates
of an index do not.
"""

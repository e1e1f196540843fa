"""The vector index over item embeddings: build, search, measure, save and load, with FAISS and numpy.

What belongs here works on arrays and files. Where the embeddings come from, which index is served and the
gate that an index must pass belong elsewhere.
"""

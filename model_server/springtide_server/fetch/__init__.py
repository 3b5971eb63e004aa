"""Brings a model from a Hugging Face hub or an S3 store into a cache before the server starts (docs/model-delivery.md).

`__main__` is the program; `deliver` says what is done in which order. `hub` and `bucket` are the two sources, which
only answer what there is and give bytes; `store` is the cache on disk; `download` moves bytes from the one to the other
and checks them.
"""

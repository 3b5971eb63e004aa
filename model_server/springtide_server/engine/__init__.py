"""Running the model.

Everything that the HTTP side knows of an engine is in `work` (what it asks for, what comes back) and in the protocol
`engine.Engine`. `batch` runs rows of many requests together, `serial` one request at a time. What decides is pure:
`queue` (who has a right to run), `cost` (what a batch takes) and `batching` (which rows, and when). torch and
transformers are imported only in `load` and what it imports, and in `memory` on a GPU, and that only by the engine's
own thread.
"""

"""Running the model.

Everything that the HTTP side knows of an engine is in `work` (what it asks for, what comes back) and in the public
names of `serial.SerialEngine`; an engine that batches replaces that one class. torch and transformers are imported only
in `load` and what it imports, and that only by the engine's own thread.
"""

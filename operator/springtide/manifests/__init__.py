"""Pure: a ModelService and the operator's settings in, the wanted child objects out."""

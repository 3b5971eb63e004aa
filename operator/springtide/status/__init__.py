"""Pure: reduced live objects in, the conditions and the status of a ModelService out."""

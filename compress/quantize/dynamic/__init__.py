"""Dynamic int8: linear layers whose input ranges are computed at each run, and embedding tables in int8."""

"""Peak memory of a run: resident set of a process, device memory of a GPU."""

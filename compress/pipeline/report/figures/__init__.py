"""Pictures of a report from its record: what each shows; `charts` draws them."""

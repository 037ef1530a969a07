"""Time of each layer, from the runtime's own profile."""

"""Export artifacts for devices, and compare their outputs with those of the torch network."""

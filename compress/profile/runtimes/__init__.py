"""Every runtime and number format of a network in one interleaved session, for `compress benchmark`."""

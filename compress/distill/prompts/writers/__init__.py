"""Who writes texts: a network, a file of answers, or an HTTP endpoint."""

"""Federated training, simulated: clients with samples of their own, and small updates between them and a server."""

from tests.profile.remote.conftest import device, server

__all__ = ["device", "server"]

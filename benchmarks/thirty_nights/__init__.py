"""Thirty nights of a small music service, good ones and bad ones: see `__main__`."""

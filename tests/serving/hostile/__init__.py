"""Requests that would take a server down, and the good clients that must not notice them."""

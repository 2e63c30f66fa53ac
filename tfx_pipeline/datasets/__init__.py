"""Catalogues in the input contract: simulated, or imported from public archives."""

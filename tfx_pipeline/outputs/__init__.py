"""What a run gives to others: files with an address, published whole; see `schemas` for their columns."""

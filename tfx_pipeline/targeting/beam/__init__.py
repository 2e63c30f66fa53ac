"""How targeting is spread over workers: columnar blocks, shards, joins, ranking and the cap, as Beam transforms.

Imports `targeting.rules` and `contract`. Imported by `targeting.data` and the targeting component.
"""

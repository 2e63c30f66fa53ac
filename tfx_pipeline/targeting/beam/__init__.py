"""How targeting is spread over workers: blocks, joins, scoring, ranking and the cap per listener, as Beam transforms.

Imports `targeting.rules`, `columnar` and `contract`. Imported by `targeting.data` and the targeting component.
"""

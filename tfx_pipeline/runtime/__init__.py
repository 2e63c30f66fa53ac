"""What every command needs around its work: console, signals, the run folder, Beam's engine, settings files.

Imports: serving.files.
Imported by: contract, datasets, evaluation, history, index_refresh, labels, local_run, models, outputs, refit,
removal, reports, targeting, tfx_extensions, the entrances.
"""

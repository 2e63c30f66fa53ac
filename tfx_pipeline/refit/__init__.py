"""The served model: fitted again on all songs after the judged model has passed, and compared with it.

Imports: bcl_keras, contract, evaluation, labels, models, runtime, serving.files, serving.refresh, tfx_extensions.
Imported by: the entrances.
"""

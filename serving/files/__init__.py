"""Files and folders that appear whole or not at all, links in place of copies, and locks on folders.

Imports: nothing of this project.
Imported by: export, protocol, refresh, request_log, savedmodel, server, tfx_pipeline.
"""

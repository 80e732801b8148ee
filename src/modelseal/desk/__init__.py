"""The publisher's desk: the workspace, sealing, publishing, backup and recovery.

``workspace.init`` and ``workspace.open`` come first; everything else takes the workspace.
"""

"""From two cameras to a rig file whose residual is known: targets, detection, solving, clock delay, first alignment.

Works offline of the pipeline and is never imported by it; what it leaves behind is a rig file (`streamfuse.rig`).
"""

"""The latency benchmark: frames offered on a schedule that never waits, timed to a subscriber, stage by stage.

`matrix` says what to run, `offered` is the camera, `measure` runs one cell in a process of its own, `figures` turns
stamps into figures, `run` goes through the cells, `report`, `plots` and `page` show them, `compare` holds two runs
against each other. It is never imported by the runtime.
"""

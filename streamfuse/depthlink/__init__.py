"""Asks a running pipeline for another depth, from another process: a tracker, a range finder, a person.

`wire` is what crosses the socket, `answers` what the run does with it, `server` and `client` are the two ends.
"""

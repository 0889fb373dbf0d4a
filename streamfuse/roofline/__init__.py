"""How much a frame needs, how much this machine can do, and how near the engines come to it: docs/roofline.md.

count.py counts, ceilings.py measures the machine, run.py measures the engines and puts the three together.
"""

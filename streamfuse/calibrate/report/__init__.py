"""What a rig file is worth, on one page: verdict, residuals, coverage, overlays, parallax against depth.

Reads a rig file, and a solution where there is one; measures nothing itself and changes neither.
"""

"""How good fused images are: the field's metrics, looks, video, and the peers to compare with.

from streamfuse.evaluation.scores import scores
scores(fused, thermal, visible)["SCD"]      # one triple of H W arrays, uint8 or float 0..255

Every metric is a torch function over images N 1 H W float on **0..255**, returning one figure per image; in float64
it is the referee, in float32 its gradient can train. The runtime never imports this package.
"""

"""Training: pairs of images in, weights with an identity card out. Never imported by the runtime."""

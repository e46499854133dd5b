"""From a video to one box per role and frame: detection, the rules of the method, and propagation."""

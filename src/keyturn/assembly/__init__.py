"""The only place that builds things, and the only one that touches the wall clock, entropy, environment and the
home's paths.
"""

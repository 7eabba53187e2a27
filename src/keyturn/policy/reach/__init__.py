"""Says what a policy can let through at all: asked without a request, answered with one."""

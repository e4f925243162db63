"""Studies made of profiles alone: the standard suite, the cost of training, the questions about the method, and their pages."""

"""What a model is made of, and what it computes at given weights, without leaving a trace in it."""

"""A local Gemini with real quota behaviour: what tests, demos and load runs call instead."""

"""Everything that a training loop talks to: settings, recorder, curves, learning rate schedule.

Nothing here knows which framework trains, or where a run is kept.
"""

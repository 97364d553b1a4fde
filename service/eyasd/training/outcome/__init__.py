"""What becomes of a trained network: calibrated, exported, proven, measured, reported. Imports `data`."""

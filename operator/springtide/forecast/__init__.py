"""Forecasts of demand: 15 minutes ahead, as quantiles, for all services at once. Inference is numpy alone."""

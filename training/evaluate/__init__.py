"""Evaluation: measures of lips, motion, pictures and drift, their judges, reports and pictures."""

"""Verdicts: `forms` are pure functions of measured numbers, `judge` gives them the records of a report's claims."""

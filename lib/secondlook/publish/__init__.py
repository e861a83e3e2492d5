"""From notebooks to pages: figures and formulas drawn from local files, training forbidden, sprites."""

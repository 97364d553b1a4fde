"""report.html: plots, tables, pictures and the page that holds them. Imports `data` and figures; no torch."""

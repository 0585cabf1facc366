"""The report: any set of run folders and grids as one finished document."""

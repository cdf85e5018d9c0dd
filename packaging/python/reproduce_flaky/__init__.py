"""The program `reproduce-flaky`, which this package brings along; there is nothing to import."""

"""Networks without their dead units."""

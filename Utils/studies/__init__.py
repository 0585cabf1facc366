"""What the conservation studies measure, and how they save and print it."""

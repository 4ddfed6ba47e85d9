"""Terminal output and interrupts."""

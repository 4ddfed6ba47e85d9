"""Tests of plugins against their contracts on tiny built-in examples (`perbench check`)."""

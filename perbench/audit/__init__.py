"""What the rows of a task give away without any model: shortcuts to its answers, and leaks of them."""

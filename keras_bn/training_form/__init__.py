"""How the training form is computed: two ways to the same numbers, one place that chooses, and derivatives of every order for both."""

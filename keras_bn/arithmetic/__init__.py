"""How it is computed: tensors in, tensors out. `dispatch` decides which way; every way gives the same numbers and derivatives of every order."""

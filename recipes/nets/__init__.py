"""The nets that recipes train."""

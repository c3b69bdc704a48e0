"""What recipes train on: images, read and checked, and numbers for regression."""

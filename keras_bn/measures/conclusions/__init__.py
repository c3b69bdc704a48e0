"""What measurements say, in three lines of plain words: pure functions of the records of a callback's `history`."""

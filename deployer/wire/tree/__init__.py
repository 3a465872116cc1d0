"""The files of a tree: one entry of each, all of them as sorted lines, and what one tree lacks of another."""

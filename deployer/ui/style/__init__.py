"""How text looks: colours, widths, wording, the names of hosts."""

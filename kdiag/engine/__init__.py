"""From observations to a ranked verdict. Pure: no clock, no network, no files."""

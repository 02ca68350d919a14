"""From a command line to points that can be measured."""

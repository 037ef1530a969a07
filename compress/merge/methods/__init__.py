"""Methods of merging, each a function of the weights of several networks."""

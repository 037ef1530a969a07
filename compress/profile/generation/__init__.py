"""Speed and memory of networks that continue texts: prompts and further tokens apart, by the length of the text."""

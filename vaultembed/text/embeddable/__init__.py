"""From a message's visible text to chunks of the text that is embedded."""

"""Files and folders of a model: where they are, what they are instead, bytes of them."""

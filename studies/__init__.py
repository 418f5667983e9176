"""What the commands share: options, data sets, studies kept on disk, and what is made of them."""

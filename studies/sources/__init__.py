"""Where the rows come from: published data sets, ICR, simulated truth, and tables of one's own."""

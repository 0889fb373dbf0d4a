"""`streamfuse ablate`: networks x losses x seeds, each trained and judged alike, in one table with a paired test."""

"""DNA barcodes: sequences, their alignment, and the distance that species are told apart by."""

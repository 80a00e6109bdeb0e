"""How well and how fast barcodes are clustered: ``python -m benchmarks.barcodes DIRECTORY``."""

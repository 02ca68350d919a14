"""MagicMind on Cambricon's MLU cards.

sdk      the only module that imports the SDK; every Status and every None becomes an error there
device   what the vendor's tools say of a card
builder  ONNX -> model file, kept with everything that decided it
stage    one model, loaded and run
backend  the seam's four methods
"""

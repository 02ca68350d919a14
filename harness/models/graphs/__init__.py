"""ONNX graphs written node by node from numpy arrays."""

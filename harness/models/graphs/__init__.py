"""ONNX graphs written from arrays; the names and shapes are those of NVIDIA's exporter."""

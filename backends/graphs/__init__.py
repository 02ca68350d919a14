"""The graph writer: rewrites ONNX files into the form a runtime executes best."""

"""Models as other programs run them: ONNX graphs, CTranslate2."""

"""Post-training quantization: equalization, SmoothQuant, AdaRound, BRECQ, GPTQ and bias correction."""
